"""The sequence model at work: its loss on a batch of windows, and halves to events."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from footpass.checkpoints import load_checkpoint, load_model
from footpass.configs import build, plain
from footpass.events import class_counts, concat
from footpass.files import DataError, fingerprint, locked, make_folder, tactical_path
from footpass.halves import events_of, open_halves
from footpass.inference import read_logits
from footpass.losses import token_losses, token_weights
from footpass.metrics import evaluate
from footpass.models.dst import DST, FUSIONS, DSTConfig
from footpass.models.player_dst import PlayerDST, PlayerDSTConfig, answer_losses
from footpass.models.reference import load_reference, read_public
from footpass.recipes import logits_path
from footpass.schema import N_CLASSES, N_ROLES, N_SLOTS, PAD, TOLERANCE, State, Token
from footpass.simulate.logits import simulate_logits
from footpass.simulate.season import write_season
from footpass.tokens import decode
from footpass.training import TrainConfig, train
from footpass.windows import (
    FixedWindows,
    Recorded,
    Sample,
    Source,
    WindowConfig,
    WindowDataset,
    collate,
    grouped,
)

AnyDST = DST | PlayerDST


@dataclass(frozen=True)
class Rehearsal:
    """Matches that are simulated to learn from before the real ones, and how.

    Their detectors are made up too (`simulate.logits`); nothing in them comes from the data but
    the real play-by-play's statistics.
    """

    matches: int
    minutes: float
    train: TrainConfig


@dataclass(frozen=True)
class DSTRecipe:
    """A DST, the windows it learns from, and how.

    Attributes
    ----------
    model
        Says by its kind which it is: the published DST, or the one for little data.
    weighting
        Of the classes in the action loss (`losses.WEIGHTINGS`).
    smoothing
        Of labels (`losses.token_losses`).
    rehearsal
        What is learned before; None: nothing.
    """

    model: DSTConfig | PlayerDSTConfig
    windows: WindowConfig
    train: TrainConfig
    weighting: str = "none"
    smoothing: float = 0.05
    rehearsal: Rehearsal | None = None

    def __post_init__(self) -> None:
        if self.model.span != self.windows.span:
            raise DataError(
                f"the model is for windows of {self.model.span} frames, not of {self.windows.span}"
            )


_MODELS = {DSTConfig: DST, PlayerDSTConfig: PlayerDST}
# The prior is a handful of numbers that are wrong at first and may learn fast.
_REHEARSED = TrainConfig(batch=16, rates={"": 2e-3, "prior.": 3e-2}, warmup=30, clip=1.0)
_TUNED = TrainConfig(batch=16, rates={"": 5e-4, "prior.": 1e-2}, warmup=30, clip=1.0)
# In `study` the detectors have not learned from the matches that are tuned on: there is nothing to hide.
_TUNED_SIZES = PlayerDSTConfig(forget=0.0)
DST_RECIPES: dict[str, DSTRecipe] = {
    "smoke": DSTRecipe(
        PlayerDSTConfig(span=100, player=8, width=16, heads=2, feedforward=32),
        WindowConfig(span=100, per_half=8),
        replace(_TUNED, epochs=1),
        rehearsal=Rehearsal(1, 0.4, replace(_REHEARSED, epochs=1)),
    ),
    "demo": DSTRecipe(
        _TUNED_SIZES,
        WindowConfig(span=375, per_half=100),
        replace(_TUNED, epochs=2),
        rehearsal=Rehearsal(12, 15.0, replace(_REHEARSED, epochs=2, milestones=(1,))),
    ),
    "study": DSTRecipe(
        replace(_TUNED_SIZES, player=32, width=128, feedforward=256),
        WindowConfig(span=375, per_half=100),
        replace(_TUNED, epochs=6, milestones=(4,)),
        rehearsal=Rehearsal(40, 15.0, replace(_REHEARSED, epochs=10, milestones=(6, 9), decay=0.25)),
    ),
    "paper": DSTRecipe(
        DSTConfig(),
        WindowConfig(),
        TrainConfig(
            epochs=12,
            batch=96,
            rates={"": 2.5e-4},
            warmup=1000,
            milestones=(3, 6, 8),
            precision="bf16",
            workers=8,
            save_every=500,
        ),
    ),
}


def train_dst(
    recipe: DSTRecipe,
    halves: Callable[[int], Mapping[str, Source]],
    counts: np.ndarray,
    run_dir: str | Path,
    device: torch.device | str = "cpu",
    validate: Callable[[Any], Mapping[str, float]] | None = None,
    start: str | Path | None = None,
) -> list[dict]:
    """Train a DST, or go on with a run that was interrupted; rows per epoch as of `training.train`.

    Parameters
    ----------
    halves
        Of an epoch's number: the halves to draw windows from.
    counts
        ``(8,)`` training events by class, for the weights.
    validate
        As in `training.train`, such as `sequence_figures`.
    start
        A checkpoint of a model of these sizes, to begin with its weights; random ones by default.

    Raises
    ------
    DataError
        If the halves have not as many logit volumes as the model reads, or as in `WindowDataset` and
        `training.train`.
    """
    torch.manual_seed(recipe.train.seed)
    model = _MODELS[type(recipe.model)](recipe.model).to(device)
    if start:
        _begin_with(model, start)
    weights = torch.as_tensor(token_weights(counts, recipe.weighting), dtype=torch.float32)
    first = _epoch(recipe, halves, 0)
    return train(
        model,
        recipe.train,
        lambda epoch: _epoch(recipe, halves, epoch) if epoch else first,
        lambda net, batch: sequence_loss(net, batch, weights.to(device), recipe.smoothing),
        run_dir,
        validate,
        collate,
        about={
            "windows": plain(recipe.windows),
            "weighting": recipe.weighting,
            "smoothing": recipe.smoothing,
            "start": fingerprint(start) if start else None,
            "lessons": _mark(first, counts),  # a run must not go on with other halves or logits
        },
    )


def _mark(samples: WindowDataset | list[Sample], counts: np.ndarray) -> str:
    """Of what a run learns from: the class counts, and the first, middle and last window of an epoch."""
    digest = hashlib.sha256(np.asarray(counts, "<i8").tobytes())
    for i in (0, len(samples) // 2, len(samples) - 1) if len(samples) else ():
        for part in samples[i]:
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:12]


def _begin_with(model: AnyDST, path: str | Path) -> None:
    """Take the weights of a checkpoint whose config may differ in what is no size."""
    content = load_checkpoint(path, {"kind": type(model).__name__})
    try:
        model.load_state_dict(content["model"])
    except RuntimeError as error:
        raise DataError(f"{path}: weights of other sizes to begin with: {error}") from error


def rehearse_dst(
    recipe: DSTRecipe, run_dir: str | Path, device: torch.device | str = "cpu"
) -> list[dict]:
    """Train a DST on simulated matches, as its recipe's rehearsal says; rows as of `train_dst`.

    The matches are kept in ``run_dir``, and are not those of a default season.
    """
    rehearsal, season = recipe.rehearsal, Path(run_dir, "season")
    if rehearsal is None:
        raise DataError("a recipe without a rehearsal: nothing to train on")
    make_folder(season)
    with locked(season):  # of several processes, the first simulates
        if not (season / tactical_path("train")).is_file():
            sizes = rehearsal.matches, rehearsal.minutes, _REHEARSAL_SEED
            write_season(season, *sizes, "train", video=False)
    halves = {}
    for number, (name, half) in enumerate(open_halves(season, "train").items()):
        rng = np.random.default_rng([_REHEARSAL_SEED, number])
        halves[name] = Recorded(half, *simulate_logits(half, rng, FUSIONS[recipe.model.fusion]))
    counts = class_counts(concat(events_of(one.half) for one in halves.values()))
    recipe = replace(recipe, train=rehearsal.train, weighting="none")
    return train_dst(recipe, lambda epoch: halves, counts, run_dir, device)


_REHEARSAL_SEED = 1000  # default seasons have seed 0


def _epoch(
    recipe: DSTRecipe, halves: Callable[[int], Mapping[str, Source]], epoch: int
) -> WindowDataset | list[Sample]:
    seed = recipe.train.seed
    data = WindowDataset(halves(epoch), recipe.windows, seed, epoch)
    if not recipe.windows.sparse:  # all are equally long
        return data
    return grouped([data[i] for i in range(len(data))], recipe.train.batch, (seed, epoch))


def load_dst(path: str | Path, public: bool = False) -> tuple[AnyDST, WindowConfig]:
    """A trained DST of either kind on the CPU, and the windows that it is for.

    Parameters
    ----------
    public
        The file is a checkpoint of the public repository, at the published sizes.

    Raises
    ------
    DataError
        If the file is missing, damaged, or of another model.
    """
    if public:
        published = DST(DSTConfig(mask_memory=False))  # its decoder was trained to read padding
        load_reference(published, read_public(path))
        return published, WindowConfig()
    model, config = load_model(path, {kind: sizes for sizes, kind in _MODELS.items()})
    return model, build(WindowConfig, config["about"]["windows"])


def open_recorded(data_dir: str | Path, split: str, runs: Sequence[str | Path]) -> dict[str, Recorded]:
    """Halves of a split with the logits of one or two runs (`recipes.logits_path`).

    Raises
    ------
    DataError
        If the data or the logits of a half are not there, or do not fit together.
    """
    halves = open_halves(data_dir, split)
    return {
        name: Recorded(half, *(read_logits(logits_path(run, split), half) for run in runs))
        for name, half in halves.items()
    }


def sequence_figures(
    model: AnyDST,
    halves: Mapping[str, Source],
    truth: pd.DataFrame,
    windows: WindowConfig,
    batch: int = 64,
) -> dict[str, float]:
    """``macro_f1`` and ``micro_f1`` of the events that a model writes of halves."""
    counts = evaluate(write_events(model, halves, windows, batch=batch), truth).counts
    return {"macro_f1": counts.macro_f1, "micro_f1": counts.micro["f1"]}


def sequence_loss(
    model: nn.Module, batch: Sample, weights: Tensor | None = None, smoothing: float = 0.05
) -> tuple[Tensor, int]:
    """Loss of writing the windows' tokens, each from those before it, and how many tokens there are.

    Parameters
    ----------
    weights, smoothing
        As in `losses.token_losses`.
    """
    device = next(model.parameters()).device
    features, frames, tokens = (torch.as_tensor(part).to(device, non_blocking=True) for part in batch)
    bare: Any = getattr(model, "module", model)  # of a model that several processes train
    _check_inputs(bare, features)
    target = tokens[:, 1:]
    if isinstance(bare, PlayerDST):
        losses = answer_losses(model(features, frames, tokens), target, weights, smoothing)
    else:
        losses = token_losses(model(features, frames, tokens[:, :-1]), target, weights, smoothing)
    return losses.sum(), int((target[..., Token.ACTION] != PAD).sum())


def write_events(
    model: AnyDST,
    halves: Mapping[str, Source],
    config: WindowConfig,
    stride: int | None = None,
    batch: int = 16,
    max_events: int = 50,
    beams: int = 1,
) -> pd.DataFrame:
    """Events of halves, as the model writes them window by window.

    Windows overlap, and each answers for its own frames only (`tokens.windows`), so an event near a
    border is taken from the window that sees it whole. Where two windows disagree about the frame, and
    both claim the event, the better one is kept.

    Parameters
    ----------
    model
        On the device that it is on; it is put into evaluation mode.
    stride
        Frames between windows; half a window by default.
    batch
        Windows decoded together.
    max_events, beams
        As in `DST.write`.

    Returns
    -------
    pd.DataFrame
        ``half, frame, team, jersey, cls, score``, by half and frame; the score is the probability of the
        class. Events of players whose jersey is never known have jersey -1.

    Raises
    ------
    DataError
        If the halves have not as many logit volumes as the model reads, or as in `Recorded.cut`.
    """
    data = FixedWindows(halves, config, stride or max(1, config.span // 2))
    device = next(model.parameters()).device
    model.eval()
    rows, codes, owners = [], [], []
    code = {name: number for number, name in enumerate(halves)}
    places = enumerate(data.places)
    for samples in DataLoader(data, batch_size=batch, collate_fn=collate):
        features, frames = samples.features.to(device), samples.frames.to(device)
        _check_inputs(model, features)
        for written in model.write(features, frames, max_events, beams):
            owner, (half, window) = next(places)
            events = decode(written.tokens.cpu().numpy(), window.start)  # (n, 3)
            own = (events[:, 0] >= window.own_start) & (events[:, 0] < window.own_stop)
            frame, slots, cls = events[own].T
            score = written.scores.cpu().numpy()[own]
            jersey = half.jersey_at(slots, frame)
            rows.append(np.stack([frame, slots // N_ROLES, jersey, cls, score], axis=1))
            codes.append(np.full(len(frame), code[half.name]))
            owners.append(np.full(len(frame), owner))
    values = np.concatenate(rows)
    table = pd.DataFrame(values[:, :4].astype(np.int64), columns=["frame", "team", "jersey", "cls"])
    table["score"] = values[:, 4]
    table.insert(0, "half", pd.Categorical.from_codes(np.concatenate(codes), categories=list(halves)))
    return table.drop(index=_claimed_twice(table, np.concatenate(owners))).sort_values(
        ["half", "frame"], kind="stable", ignore_index=True
    )


def _check_inputs(model: AnyDST, features: Tensor) -> None:
    if features.shape[-1] == model.config.inputs:
        return
    wanted, given = (
        (inputs - N_SLOTS * len(State)) // (N_SLOTS * N_CLASSES)
        for inputs in (model.config.inputs, features.shape[-1])
    )
    raise DataError(
        f"fusion {model.config.fusion!r} reads the logits of {wanted} model(s), the halves have {given}"
    )


def _claimed_twice(table: pd.DataFrame, owner: np.ndarray) -> np.ndarray:
    """Rows of events that the window before or after claims too, with a better score."""
    who = ["half", "team", "jersey", "cls"]
    order = np.lexsort([table["frame"], *(table[column] for column in who[1:]), table["half"].cat.codes])
    a, b = order[:-1], order[1:]  # neighbours of a player and class
    same = (table[who].to_numpy()[a] == table[who].to_numpy()[b]).all(axis=1)
    frame, score = table["frame"].to_numpy(), table["score"].to_numpy()
    twice = same & (owner[a] != owner[b]) & (frame[b] - frame[a] <= TOLERANCE)
    return np.where(score[a] < score[b], a, b)[twice]
