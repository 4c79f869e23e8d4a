"""The stages of a study: each model is trained once, whoever asks for it first.

A stage's folder is named after all that its result depends on: the recipe, the season, the stages before
it. So notebooks and the ablation grid share what they train, a changed recipe makes a folder of its own,
and what was broken off goes on where it stopped.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from footpass import zoo
from footpass.data.cache import Footage
from footpass.data.halves import HalfMatch, events_of
from footpass.data.logits import logits_path, made_by, read_logits
from footpass.data.provenance import Provenance, write_marked
from footpass.detectors.calibration import fit_calibration
from footpass.detectors.predict import Run, predict_together
from footpass.detectors.recipes import TAADRecipe
from footpass.detectors.spotting import (
    SMOOTHINGS,
    UNADJUSTED,
    LogitAdjustment,
    events_from_store,
    fit_adjustment,
    read_adjustment,
    write_adjustment,
)
from footpass.detectors.train import fine_tuning, on_features, train_detector
from footpass.events import (
    class_counts,
    concat,
    match_of,
    predictions_path,
    read_predictions,
    select_halves,
)
from footpass.experiments.pretraining import pretrain_dst, pretraining_recipe
from footpass.experiments.profile import Profile, varied
from footpass.experiments.season import Season
from footpass.experiments.stage import Reading, Stage
from footpass.files import DataError, fingerprint, made_anew, sources
from footpass.metrics import evaluate
from footpass.models.losses import token_weights
from footpass.models.transformer import FUSIONS
from footpass.schema import FPS
from footpass.sequence.decode import (
    load_dst,
    predict_events,
    with_logits,
    without_weights,
    written_by,
)
from footpass.sequence.recipes import DSTRecipe
from footpass.sequence.sources import Recorded
from footpass.sequence.train import fine_tuning as dst_fine_tuning
from footpass.sequence.train import train_dst
from footpass.simulate.logits import perfect_logits
from footpass.simulate.season import EDITION
from footpass.training.distributed import locked_by_first
from footpass.training.loop import finished_rows
from footpass.training.optim import resolve_precision

log = logging.getLogger(__name__)
# The code that writes a DST's events.
DECODING: tuple[str, ...] = ("sequence/decode.py", "sequence/tokens.py", "sequence/windows.py")
DECODING += ("models/dst.py", "models/player_dst.py", "models/slots.py", "models/transformer.py")
# And that which adjusts a detector's logits.
ADJUSTING = ("detectors/spotting.py", "detectors/calibration.py", "metrics.py", "timeline.py")
_ALONE = 5  # times the epochs, of a DST without a pre-training
_DST_OF = {"none": "dst", "concat": "dst-gnn"}  # in the zoo, by fusion


def _once(method: Callable[..., Any]) -> Callable[..., Any]:
    """A study asks often for what it has: look at the files of a stage once a process."""

    @wraps(method)
    def remembered(self: "Study", *args: Any, **kwargs: Any) -> Any:
        key = (method.__name__, *(arg.dir if isinstance(arg, Stage) else arg for arg in args))
        key += tuple(sorted(kwargs.items()))
        if key not in self.known:
            self.known[key] = method(self, *args, **kwargs)
        return self.known[key]

    return remembered


@dataclass(frozen=True)
class Study:
    """All that is trained on one season in one profile."""

    folder: Path  # of the stages' folders
    profile: Profile
    season: Season
    device: torch.device | str = "cpu"  # where to compute (`training.distributed.join_processes`)
    kinetics: str | Path | None = None  # file with weights for the video backbone; random ones without
    # What it has been asked for and answered so far.
    known: dict[tuple, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def footage(self) -> dict[str, dict[str, Footage]]:
        """Halves and their videos by split."""
        return {split: self.season.footage(split) for split in ("train", "val")}

    @cached_property
    def truth(self) -> dict[str, pd.DataFrame]:
        """Events by split."""
        return {
            split: concat(events_of(entry.half) for entry in part.values())
            for split, part in self.footage.items()
        }

    @cached_property
    def training_footage(self) -> dict[str, Footage]:
        """What the detectors learn from: train matches, and highlights of more where there are some."""
        return self._matches | self.season.highlights()

    @property
    def _matches(self) -> dict[str, Footage]:
        """The train matches that detectors learn from."""
        footage, held_out = self.footage["train"], self._held_out
        return {name: entry for name, entry in footage.items() if name not in held_out}

    def watched(self, split: str) -> dict[str, Footage]:
        """Halves of a split that detectors watch as a whole; of train, those kept from them, if any."""
        footage = self.footage[split]
        held_out = self._held_out if split == "train" else None
        return {name: entry for name, entry in footage.items() if not held_out or name in held_out}

    @property
    def _chosen_on(self) -> dict[str, Footage]:
        """What a detector's best epoch is chosen on: train matches kept from it, or else val."""
        return self.watched("train") if self._held_out else self.footage["val"]

    @cached_property
    def _held_out(self) -> set[str]:
        count = self.season.size.held_out if self.season.size else 0
        halves = self.footage["train"]
        matches = list(dict.fromkeys(map(match_of, halves)))
        return {name for name in halves if match_of(name) in matches[max(1, len(matches) - count) :]}

    @cached_property
    def _season_fingerprint(self) -> str:
        """Of the matches that stages learn from and are chosen on: more of val train nothing anew."""
        learned = self._matches, self.footage["train"], self._chosen_on
        watched = [self.profile.stride] if self.profile.stride else []
        return fingerprint(*(part for footage in learned for part in _content(footage)), *watched)

    def _lessons(self, recipe: TAADRecipe) -> tuple[dict[str, Footage], list[Any]]:
        """What a detector learns from, and its highlights' content: no other stage looks at these."""
        matches, learned = self._matches, self.training_footage
        if not recipe.train.epochs:  # it learns nothing, and is the same whatever is shown
            return matches, []
        return learned, [*_content({name: learned[name] for name in learned if name not in matches})]

    @_once
    def fingerprint_of(self, split: str) -> str:
        """Of the halves of a split that are watched: what is computed of them is made anew with them."""
        return fingerprint(*_content(self.watched(split)))

    @property
    def trained(self) -> list[dict[str, Any]]:
        """The stages so far, for ``metrics.json``: how long each took, and at which revision."""
        studies = [self, *(one for one in self.known.values() if isinstance(one, Study))]
        known = [one for study in studies for one in study.known.values()]
        stages = {one.dir: one for one in known if isinstance(one, Stage)}
        return [
            {"stage": one.dir.name, "seconds": one.train_seconds, "revisions": one.revisions}
            for one in stages.values()
        ]

    @_once
    def of_variant(self, name: str | None) -> "Study":
        """The study of a variant of the profile, itself without one; what both train is trained once."""
        if name is None:
            return self
        return replace(self, profile=varied(self.profile, name), known={})

    @_once
    def taad(self, seed: int = 0, scratch: bool = False) -> Stage:
        """TAAD, trained on the season's pixels; from ``scratch`` whatever the profile starts from."""
        known, kept, kinetics = self.profile.from_zoo("taad"), self._kept, self.kinetics
        if kinetics and (known or kept):
            other = "features" if kept else 'start = "zoo"'
            raise DataError(f"weights of Kinetics, and {other}: a backbone begins with one of them")
        known, kept = (None, None) if scratch else (known, kept)
        start = zoo.resolve(known) if known else None
        # A file, an address, or nothing
        begin = start or kept or (Path(kinetics) if kinetics and Path(kinetics).is_file() else kinetics)
        return self._detector("taad", seed, start, begin, zoo=known, keeps=kept)

    @_once
    def gnn(self, seed: int = 0) -> Stage:
        """TAAD + GNN, which starts from that of the zoo, or else from the TAAD of the same seed.

        Where the profile has ``features``, it starts from neither.
        """
        known, kept = self.profile.from_zoo("gnn"), self._kept
        taad = None if known or kept else self.taad(seed)
        start = taad.checkpoint if taad else zoo.resolve(known) if known else None
        begin = taad.dir.name if taad else start or kept
        return self._detector("gnn", seed, start, begin, start=taad, zoo=known, keeps=kept)

    def _detector(self, name: str, seed: int, checkpoint: Path | None, begin: Any, **of: Any) -> Stage:
        """A detector that goes on from a checkpoint, or from the features that it keeps.

        What it begins with is part of its folder's name; ``of`` are fields of its `Stage`.
        """
        recipe, kept = getattr(self.profile, name), of["keeps"]
        if checkpoint:
            recipe = fine_tuning(recipe, checkpoint)
        elif kept:
            recipe = on_features(recipe, kept)
        recipe = replace(recipe, train=replace(recipe.train, seed=seed))
        (footage, more), val = self._lessons(recipe), self._chosen_on
        to: dict = {"start": checkpoint, "features": kept}
        to["kinetics"] = self.kinetics if name == "taad" else None
        with self.stage(name, recipe, begin, *val, *more, of=f"seed{seed}") as run:
            rows = train_detector(recipe, footage, val, run, self.device, **to)
        return Stage(name, run, rows, recipe, **of)

    @property
    def _kept(self) -> Path | None:
        """The detector whose features the profile's keep."""
        return zoo.resolve(self.profile.features) if self.profile.features else None

    @_once
    def dst(
        self,
        fusion: str = "none",
        weighting: str = "none",
        seed: int = 0,
        pretrained: bool = True,
        reads: Reading = "detectors",
    ) -> Stage:
        """A DST on the logits of TAAD, with ``fusion`` on those of TAAD + GNN too.

        Nothing is chosen on val: the model is the one after the last epoch. The detectors are those of
        seed 0, whatever its own seed. It goes on from that of the zoo, or else from a pre-training. One
        that is not ``pretrained`` learns from the season alone, with the pre-training's learning rates
        and for `_ALONE` times as many epochs.
        """
        recipe = self._dst_recipe(fusion)
        known = self.profile.from_zoo(_DST_OF[fusion]) if pretrained else None
        start = zoo.resolve(known) if known else None
        if start:
            recipe = replace(dst_fine_tuning(recipe, start), pretraining=None)
            if weighting != "none" and not recipe.train.epochs:
                raise DataError(f"weights {weighting!r} of a model that learns nothing: 0 epochs")
        if recipe.pretraining and not pretrained:
            epochs = _ALONE * recipe.train.epochs
            alone = replace(recipe.pretraining.train, epochs=epochs, milestones=(2 * epochs // 3,))
            recipe = replace(recipe, pretraining=None, train=alone)
        train = replace(recipe.train, seed=seed)
        recipe = replace(recipe, train=train, weighting=weighting)
        depends: list[Any] = [stage.dir.name for stage in self._detectors(fusion, reads)]
        depends += self.watched("train")  # the halves whose logits it learns from
        told = [] if reads == "detectors" else [reads]
        depends += told
        pretraining = self.pretraining(fusion) if recipe.pretraining else None
        if start:
            depends.append(start)
        if pretraining:
            depends.append(pretraining.dir.name)
            start = pretraining.checkpoint
        of = "-".join([fusion, *told, weighting, f"seed{seed}", *["alone"] * (not pretrained)])
        with self.stage("dst", recipe, *depends, of=of) as run:
            halves = self.recorded("train", fusion, reads)
            counts = class_counts(self.truth["train"])
            rows = train_dst(recipe, lambda epoch: halves, counts, run, self.device, start=start)
        return Stage("dst", run, rows, recipe, pretraining, known, reads)

    def pretrains(self, fusion: str) -> bool:
        """Whether a DST goes on from a pre-training of its own."""
        return bool(self._dst_recipe(fusion).pretraining) and not self.profile.from_zoo(_DST_OF[fusion])

    @_once
    def pretraining(self, fusion: str = "none") -> Stage:
        """What a DST has learned of simulated matches, whatever weighting and seed come after."""
        recipe = pretraining_recipe(self._dst_recipe(fusion))
        with self.stage("pretraining", recipe, EDITION, of=fusion) as run:
            # The folder's name says what it learns from: to find it finished, nothing is simulated.
            rows = finished_rows(run, recipe.train.epochs)
            rows = rows or pretrain_dst(recipe, run, self.device, shared=self.folder)
        return Stage("pretraining", run, rows, recipe)

    def _dst_recipe(self, fusion: str) -> DSTRecipe:
        recipe = self.profile.dst
        return replace(recipe, model=replace(recipe.model, fusion=fusion))

    def recorded(
        self, split: str, fusion: str = "none", reads: Reading = "detectors"
    ) -> dict[str, Recorded]:
        """Halves with the logits that a DST reads, which are made if they are not there."""
        stages = self._detectors(fusion, reads)
        for stage in stages:
            self.predict(stage, split)
        halves = {name: entry.half for name, entry in self.watched(split).items()}
        stores = [logits_path(stage.dir, split) for stage in stages]
        found = with_logits(halves, stores)
        if reads == "detectors":
            return found
        models = [made_by(store) for store in stores]
        if reads == "oracle":
            models.append("oracle")
            logits = {name: (*one.logits, perfect_logits(one.half)) for name, one in found.items()}
        else:
            fitted = [self.calibration(stage) for stage in stages]
            logits = {name: _adjusted(one.logits, fitted) for name, one in found.items()}
        return {name: Recorded(half, *logits[name], models=models) for name, half in halves.items()}

    def _detectors(self, fusion: str, reads: Reading = "detectors") -> list[Stage]:
        count = FUSIONS[fusion] - (reads == "oracle")  # which is the last one
        return [detector() for detector in (self.taad, self.gnn)[:count]]

    @_once
    def predict(self, stage: Stage, split: str) -> pd.DataFrame:
        """Events that a stage's model finds, once its logits of the split are written."""
        return self._written(stage, split) if stage.name == "dst" else self.watch([stage], split)[0]

    def watch(self, detectors: Sequence[Stage], split: str) -> list[pd.DataFrame]:
        """As `predict`, of several detectors: each picture is decoded once, common features too."""
        fitted = [UNADJUSTED if split == "train" else self.adjustment(stage) for stage in detectors]
        each = zip(detectors, fitted, strict=True)
        runs = [Run(stage.checkpoint, stage.dir, adjustment) for stage, adjustment in each]
        device = torch.device(self.device)
        (precision,) = {stage.recipe.train.precision for stage in detectors}
        how = device, resolve_precision(precision, device)
        return predict_together(runs, self.watched(split), split, *how, stride=self.profile.stride)

    def adjustment(self, stage: Stage, smooth: bool = True) -> LogitAdjustment:
        """Of a detector, fitted on the train matches that it never learned; none if it learned all.

        Not ``smooth``, the offsets alone are fitted: to see what each is worth.
        """
        name, smoothings = ("adjustment", SMOOTHINGS) if smooth else ("adjustment_offsets", (0.0,))

        def fit(logits: Mapping[str, np.ndarray], halves: Mapping[str, HalfMatch]) -> LogitAdjustment:
            truth = select_halves(self.truth["train"], halves)
            return fit_adjustment(logits, halves, truth, stage.without_box, smoothings)

        return self._fitted(stage, name, fit)

    def calibration(self, stage: Stage) -> LogitAdjustment:
        """Of a detector, fitted as its `adjustment` is, but for likelihood; none if it learned all."""
        without_box = stage.without_box
        return self._fitted(stage, "calibration", lambda x, of: fit_calibration(x, of, without_box))

    def _fitted(self, stage: Stage, name: str, fit: Callable[..., LogitAdjustment]) -> LogitAdjustment:
        """What ``fit(logits, halves)`` makes of the train halves that a detector never learned; kept."""
        if not self._held_out:
            return UNADJUSTED
        path = stage.dir / f"{name}.json"
        with locked_by_first(stage.dir), made_anew(path, fingerprint(*sources(*ADJUSTING))) as missing:
            if missing:
                self.predict(stage, "train")
                halves = {half: entry.half for half, entry in self.watched("train").items()}
                store = logits_path(stage.dir, "train")
                fitted = fit({half: read_logits(store, one) for half, one in halves.items()}, halves)
                write_adjustment(fitted, path, made_by(store))
            return read_adjustment(path)

    def adjustment_scores(self, stage: Stage) -> pd.DataFrame:
        """Scores of a detector's events on val without adjustment, and with each part of it."""
        halves = {name: entry.half for name, entry in self.watched("val").items()}
        self.predict(stage, "val")
        parts = {"none": UNADJUSTED}
        if self._held_out:
            parts |= {"offsets": self.adjustment(stage, smooth=False)}
            parts |= {"offsets and smoothing": self.adjustment(stage)}
        rows = {}
        for part, adjustment in parts.items():
            store = logits_path(stage.dir, "val")
            events = events_from_store(store, halves, stage.without_box, adjustment)
            result = evaluate(events, self.truth["val"])
            rows[part] = {
                "smoothing": adjustment.smoothing,
                "predictions": len(events),
                **result.counts.micro,
                "macro F1": result.macro_f1,
            }
        return pd.DataFrame(rows).T.rename_axis("adjustment").astype({"predictions": int})

    def _written(self, stage: Stage, split: str) -> pd.DataFrame:
        path = predictions_path(stage.dir, split)
        made_of = fingerprint(self.fingerprint_of(split), *sources(*DECODING))
        with locked_by_first(stage.dir), made_anew(path, made_of) as missing:
            if missing:
                events, made = self.decoded(stage, split)
                write_marked(events, path, made)
            return read_predictions(path)  # before anybody writes those of more or fewer matches

    def decoded(
        self, stage: Stage, split: str, weighting: str = "none"
    ) -> tuple[pd.DataFrame, Provenance]:
        """What a DST writes of a split, after the class weights of a ``weighting`` are divided out."""
        model, windows = load_dst(stage.checkpoint)
        model = without_weights(model, token_weights(class_counts(self.truth["train"]), weighting))
        halves = self.recorded(split, model.config.fusion, stage.reads)
        events = predict_events(model.to(self.device), halves, windows)
        return events, written_by(model, stage.checkpoint, halves)

    @contextmanager
    def stage(self, name: str, recipe: object, *depends: Any, of: str = "") -> Iterator[Path]:
        """The folder of a stage, for this process alone as long as it trains there.

        It is made of a recipe, a dataclass, and of what else its result depends on (`fingerprint`), such
        as the names of other stages' folders. ``of`` is, for the folder's name, what sets it apart from
        its like: ``concat-sqrt-seed1``.
        """
        made_of = fingerprint(recipe, self._season_fingerprint, *depends)
        folder = self.folder / "-".join(filter(None, (name, of, made_of[:8])))
        with suppress(OSError):  # another worker has made it, or the lock will say why it cannot be
            folder.mkdir(parents=True)
            log.warning("%s: not there yet, so it is made now", folder)
        with locked_by_first(folder):
            yield folder


def _adjusted(logits: Sequence[np.ndarray], fitted: Sequence[LogitAdjustment]) -> tuple[np.ndarray, ...]:
    """Each volume by its adjustment, float16 as they come."""
    each = zip(logits, fitted, strict=True)
    return tuple(adjust(volume).astype(np.float16) for volume, adjust in each)


def _content(footage: Mapping[str, Footage]) -> Iterator[Any]:
    """All events of some halves, ten seconds' positions and boxes each, and the videos' sizes."""
    for name, entry in footage.items():
        half, some = entry.half, np.s_[..., :: 10 * FPS]
        events = events_of(half)[["frame", "team", "jersey", "cls"]]
        yield from (name, half.first_frame, half.end_frame, events, entry.video.stat().st_size)
        yield from (half.state[some], half.boxes[:, :: 10 * FPS], half.provenance)
