"""A study's trained models for the zoo: weights, cards, and the small match that both are checked on."""

import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from footpass.configs import write_config
from footpass.data.cache import open_footage
from footpass.data.halves import events_of
from footpass.detectors.predict import load_detector, predict
from footpass.events import concat
from footpass.experiments.stages import Stage, Study
from footpass.files import DataError, fingerprint
from footpass.metrics import compare, evaluate
from footpass.sequence.decode import load_dst, open_recorded, write_predictions
from footpass.simulate.season import write_season
from footpass.zoo import ZOO, Card, Score, add, adjustment, card, cards, weights

LIMITS = (
    "It has seen synthetic matches only and never a real player: in real video it finds little and is "
    "wrong often, until it is fine-tuned."
)


class _Model(NamedTuple):
    """What a card says of a model, what it reads, and how a `Study` is asked for it."""

    what: str
    stage: str
    fusion: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


_MODELS = {
    "taad": _Model("TAAD: what each player with a box does, from pixels.", "taad"),
    "gnn": _Model("TAAD + GNN: what every player does, from pixels, positions and neighbours.", "gnn"),
    "dst": _Model("DST: the events, from TAAD's logits and all positions.", "dst", ("none",), ("taad",)),
    "dst-gnn": _Model(
        "DST: the events, from the logits of TAAD and of TAAD + GNN, and all positions.",
        "dst",
        ("concat",),
        ("taad", "gnn"),
    ),
}


def publish_models(study: Study, names: Collection[str] = (), zoo: Path = ZOO) -> list[Path]:
    """Put trained models of a study into the zoo; the files of their weights.

    Parameters
    ----------
    study
        What it has not trained or scored yet, it does now.
    names
        Some of ``taad``, ``gnn``, ``dst`` and ``dst-gnn``; all by default. What one reads must be among
        them, or be there already.
    """
    strange = set(names) - set(_MODELS)
    if strange:
        raise DataError(f"no model {', '.join(sorted(strange))}: choose of {', '.join(_MODELS)}")
    for name, model in _MODELS.items():
        if name in (names or _MODELS):
            stage = getattr(study, model.stage)(*model.fusion)
            add(name, stage.checkpoint, _card(study, stage, model), zoo, _called_here(study, model, zoo))
    with TemporaryDirectory() as work:
        there = [name for name in _MODELS if name in cards(zoo)]
        for name, score, speed in trial(there, Path(work), zoo):
            measured = replace(card(name, zoo), check=round(score, 4), frames_per_second=round(speed, 1))
            write_config(measured, zoo / f"{name}.json", indent=1)
    return [weights(name, zoo) for name in there]


def _called_here(study: Study, model: _Model, zoo: Path) -> dict[str, str]:
    """What the study calls the models whose logits it read, and what the zoo does."""
    called = {}
    for read in model.reads:
        kind, stage = card(read, zoo).kind, getattr(study, _MODELS[read].stage)()
        here = fingerprint(weights(read, zoo))
        called[f"{kind} {fingerprint(stage.checkpoint)}"] = f"{kind} {here}"
    return called


def _card(study: Study, stage: Stage, model: _Model) -> Card:
    size, pretraining = study.profile.season, study.profile.dst.pretraining
    if size is None or not study.season.simulated:
        raise DataError("models of real data are not to be published: see the terms of the data")
    data = (
        f"synthetic season of profile {study.profile.name} (seed {size.seed}): {size.train} matches of "
    )
    data += f"{size.minutes:g} minutes, highlights of {size.highlights} more"
    if model.reads and pretraining:
        data += f"; before them {pretraining.matches} of {pretraining.minutes:g} without pictures"
    result = {model.what: evaluate(study.predict(stage, "val"), study.truth["val"])}
    score = compare(result, block_minutes=study.season.block_minutes).scores[model.what]
    matches = f"{size.val} synthetic matches of {size.minutes:g} minutes"
    adjusted = None if model.reads else study.adjustment(stage)
    trained = (load_dst if model.reads else load_detector)(stage.checkpoint)[0]
    return Card(
        what=model.what,
        kind=type(trained).__name__,
        data=data,
        seed=0,
        revision=", ".join(each or "unknown" for each in stage.revisions),
        parameters=sum(part.numel() for part in trained.parameters()),
        limits=LIMITS,
        licence="MIT",
        scores=(Score(matches, size.val * size.minutes, score.value, score.low, score.high),),
        reads=model.reads,
        smoothing=adjusted.smoothing if adjusted else 0.0,
        offsets=adjusted.offsets if adjusted else (),
    )


def trial(names: Iterable[str], folder: Path, zoo: Path = ZOO) -> Iterator[tuple[str, float, float]]:
    """Name, micro F1 and frames a second of models of the zoo on a small match, simulated in ``folder``.

    It is too small to say how good a model is, and enough to see whether it is the one that it was. What
    a sequence model reads comes before it in ``names``.
    """
    write_season(folder, matches=1, minutes=_TRIAL_MINUTES, seed=_TRIAL_SEED, split="val")
    footage = open_footage(folder, "val")
    truth = concat(events_of(entry.half) for entry in footage.values())
    frames = sum(entry.half.n_frames for entry in footage.values())
    for name in names:
        path, reads, began = weights(name, zoo), card(name, zoo).reads, time.monotonic()
        if reads:
            halves = open_recorded(folder, "val", [folder / read for read in reads])
            events = write_predictions(path, halves, folder / name, "val")
        else:
            adjusted = adjustment(f"zoo:{name}", zoo)
            events = predict(path, footage, folder / name, "val", adjustment=adjusted)
        yield name, evaluate(events, truth).counts.micro["f1"], frames / (time.monotonic() - began)


_TRIAL_MINUTES, _TRIAL_SEED = 0.4, 2000  # no season that is learned from or scored on has this seed
