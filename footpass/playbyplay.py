"""DST from play-by-play alone: trained on real events and simulated detections of them.

The tactical data and the logits of the training matches are gated; their 91,327 events are public, and
so are a detector's events of the three validation matches. What is known of the detector from some of
these (`footpass.patches`) is pasted onto the training events, anew in each epoch; the DST learns to
write the events from the detections, and is applied to the real detections of another match.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from footpass.crossfit import CrossFit, Inputs, cross_fit
from footpass.events import class_counts, concat, halves_of, match_of, select_halves
from footpass.evidence import as_evidence
from footpass.files import DataError
from footpass.halves import HalfMatch, events_of, open_halves
from footpass.inference import NMS_WINDOW, events_from_logits
from footpass.models.dst import DST, FUSIONS, DSTConfig
from footpass.patches import Patches, cut_patches, paste
from footpass.postprocess import Refine, refine
from footpass.release import load_release
from footpass.schema import FPS
from footpass.sequence import (
    DSTRecipe,
    load_dst,
    open_recorded,
    sequence_figures,
    train_dst,
    write_events,
)
from footpass.simulate.detections import Detector, released_detectors, simulate_detections
from footpass.training import LAST, TrainConfig
from footpass.windows import Detected, Recorded, WindowConfig, detected


def _from_detections(sizes: DSTConfig, per_half: int, train: TrainConfig, **more: str) -> DSTRecipe:
    windows = WindowConfig(sizes.span, per_half, augment="players", sparse=True)
    return DSTRecipe(sizes, windows, train, **more)


_SMALL = DSTConfig(
    span=375, width=128, heads=4, encoder_layers=2, decoder_layers=2, feedforward=512, dropout=0.0
)
BEAMS = 3  # of decoding, where every event counts
PLAY_BY_PLAY_RECIPES: dict[str, DSTRecipe] = {
    "smoke": _from_detections(
        replace(_SMALL, span=100, width=32, feedforward=64),
        4,
        TrainConfig(epochs=1, batch=8, rates={"": 1e-3}),
    ),
    "demo": _from_detections(
        _SMALL, 100, TrainConfig(epochs=12, batch=32, rates={"": 1e-3}, warmup=50, clip=1.0)
    ),
    "study": _from_detections(
        _SMALL,
        190,
        TrainConfig(
            epochs=10,
            batch=32,
            accumulate=2,
            rates={"": 1e-3},
            warmup=150,
            milestones=(6, 8),
            decay=0.3,
            clip=1.0,
        ),
        weighting="sqrt",
    ),
}


@dataclass(frozen=True)
class Task:
    """Matches to learn from and matches to be scored on, with simulated detections.

    Attributes
    ----------
    train, held_out
        Ground truth.
    detectors
        Either patches of real detections (`footpass.patches`) or rates of errors by detector
        (`footpass.simulate.detections`): what detections are drawn from, anew in each epoch.
    source, files
        What it is, in words, for captions, and of which files; none where all is simulated.
    """

    train: pd.DataFrame
    held_out: pd.DataFrame
    detectors: Patches | Mapping[str, Detector]
    source: str = ""
    files: tuple[Path, ...] = ()
    seed: int = 0

    def halves(self, epoch: int, volumes: int = 1) -> dict[str, Detected]:
        """Training halves with the detections of the first ``volumes`` detectors."""
        return self._detected(self.train, epoch, volumes)

    def scored(self, volumes: int = 1) -> dict[str, Detected]:
        """Halves to be scored, with detections that were never trained on."""
        return self._detected(self.held_out, _SCORED, volumes)

    def evidence(self) -> dict[str, pd.DataFrame]:
        """The detections of the scored halves, by detector."""
        return self._drawn(self.held_out, _SCORED)

    def _detected(self, truth: pd.DataFrame, epoch: int, volumes: int) -> dict[str, Detected]:
        tables = list(self._drawn(truth, epoch).values())
        if len(tables) < volumes:
            raise DataError(f"{volumes} detectors to be fused, there are {len(tables)}")
        return detected(tables[:volumes], truth)

    def _drawn(self, truth: pd.DataFrame, epoch: int) -> dict[str, pd.DataFrame]:
        seed = (self.seed, epoch)
        if isinstance(self.detectors, Patches):
            tables = paste(self.detectors, truth, np.random.default_rng(seed))
            return {f"detector {number}": table for number, table in enumerate(tables, 1)}
        return simulate_detections(truth, self.detectors, seed)


_SCORED = 2**32 - 1  # the "epoch" of the detections that are scored: never one to train on


def train_on_play_by_play(
    recipe: DSTRecipe, train_truth: pd.DataFrame, patches: Patches, run_dir: str | Path
) -> DST:
    """A DST that has learned from pasted detections, as it is after the last epoch: none is scored."""
    train_dst(
        recipe,
        Task(train_truth, train_truth, patches, seed=recipe.train.seed).halves,
        class_counts(train_truth),
        run_dir,
    )
    return load_dst(Path(run_dir, LAST))[0]


def leave_one_match_out(
    recipe: DSTRecipe,
    train_truth: pd.DataFrame,
    detections: dict[str, pd.DataFrame],
    truth: pd.DataFrame,
    run_dir: str | Path,
) -> CrossFit:
    """Events of every match by a DST whose detections were simulated from the other matches alone.

    Its events are moved to the first detector's, where these have one of the player and class near.

    Parameters
    ----------
    train_truth
        Ground truth of matches without detections.
    detections
        By model; as many as the recipe's model reads volumes.
    truth
        Ground truth of the matches with detections.
    run_dir
        A folder for each match held out is made in it; finished ones are not trained again.
    """

    def fit(inputs: Inputs, known: pd.DataFrame) -> DST:
        fitted_on = dict.fromkeys(match_of(half) for half in halves_of(known))
        patches = cut_patches(known, list(inputs.values()))
        return train_on_play_by_play(recipe, train_truth, patches, Path(run_dir, "+".join(fitted_on)))

    def apply(model: DST, inputs: Inputs) -> pd.DataFrame:
        first, *_ = inputs.values()
        events = write_events(
            model, detected(list(inputs.values())), recipe.windows, batch=64, beams=BEAMS
        )
        # A detector keeps one detection of a player and class within `NMS_WINDOW` frames, so an event
        # that near to one can only be meant to be there.
        return refine(events, as_evidence(first), Refine(window=NMS_WINDOW)).table

    return cross_fit(fit, apply, detections, truth)


# ---------------------------------------------------------------------------------------------------
# Comparisons on simulated detections


@dataclass(frozen=True)
class TaskSize:
    """Matches to train on and to be scored on; ``minutes`` of each half at most."""

    train: int
    held_out: int
    minutes: float = 60.0


TASK_SIZES = {
    "smoke": TaskSize(1, 1, minutes=2),
    "demo": TaskSize(16, 1, minutes=30),
    "study": TaskSize(44, 4),
}


def find_task(
    profile: str,
    detectors: Literal["patches", "rates"],
    seed: int = 0,
    folder: str | Path | None = None,
) -> Task:
    """A task of the public train events where they are at hand, else of simulated ones.

    Parameters
    ----------
    detectors
        ``"patches"``: one detector, made of patches of the released TAAD's detections on val.
        ``"rates"``: two, simulated: ``TAAD`` errs as often as the released one, ``GNN`` is a stand-in
        for TAAD + GNN, which is not released.
    folder
        A clone of the public repository; as in `release.load_release` by default.

    Raises
    ------
    DataError
        If there is no such profile here.
    """
    if profile not in TASK_SIZES:
        raise DataError(f"profile {profile}: choose one of {', '.join(TASK_SIZES)}")
    size = TASK_SIZES[profile]
    release = load_release(folder, matches=size.train + size.held_out, seed=seed)
    matches = list(dict.fromkeys(map(match_of, halves_of(release.train))))
    train, held_out = (
        _beginning(
            select_halves(release.train, [h for h in halves_of(release.train) if match_of(h) in part]),
            size.minutes,
        )
        for part in (matches[: size.train], matches[-size.held_out :])
    )
    if detectors == "patches":
        drawn = cut_patches(release.val, [release.predictions["TAAD"]])
        source = f"{release.source}, detections pasted like TAAD's"
    else:
        taad = released_detectors()["TAAD"]
        drawn = {"TAAD": taad, "GNN": gnn_stand_in(taad)}
        source = f"{release.source}, simulated detectors"
    return Task(train, held_out, drawn, source, release.files, seed)


@dataclass(frozen=True)
class LogitTask:
    """The same with real logits: the splits train and val of a data folder.

    Attributes
    ----------
    folder
        With the tactical data.
    runs
        Folders of runs with logits of both splits: TAAD's, then those to be fused with them.
    """

    folder: str | Path
    runs: tuple[str | Path, ...]
    source: str = "logits of models"
    files: tuple[Path, ...] = ()

    @cached_property
    def train(self) -> pd.DataFrame:
        return _truth(open_halves(self.folder, "train"))

    @cached_property
    def held_out(self) -> pd.DataFrame:
        return _truth(open_halves(self.folder, "val"))

    def halves(self, epoch: int, volumes: int = 1) -> dict[str, Recorded]:
        """Training halves with the logits of the first ``volumes`` runs; the same in all epochs."""
        return open_recorded(self.folder, "train", self.runs[:volumes])

    def scored(self, volumes: int = 1) -> dict[str, Recorded]:
        """Halves to be scored."""
        return open_recorded(self.folder, "val", self.runs[:volumes])

    def evidence(self) -> dict[str, pd.DataFrame]:
        """What the logits of each run say by themselves."""
        halves = self.scored(len(self.runs)).values()
        return {
            f"{Path(run).name}, by itself": concat(
                events_from_logits(one.logits[number], one.half) for one in halves
            )
            for number, run in enumerate(self.runs)
        }


def _truth(halves: Mapping[str, HalfMatch]) -> pd.DataFrame:
    return concat(events_of(half) for half in halves.values())


def _beginning(truth: pd.DataFrame, minutes: float) -> pd.DataFrame:
    first = truth.groupby("half", observed=True)["frame"].transform("min")
    return truth[truth["frame"] < first + minutes * 60 * FPS].reset_index(drop=True)


def gnn_stand_in(taad: Detector) -> Detector:
    """A detector with 0.4 of the false alarms, and half as often the wrong class or player.

    It sees who TAAD sees and is more precise, as the published TAAD + GNN is (F1 52 against 36); nothing
    else about it is real.
    """
    outcome = np.array(taad.outcome)  # (2, 8, 3): hit, wrong class, wrong player
    outcome[..., 0] += outcome[..., 1:].sum(axis=-1) / 2
    outcome[..., 1:] /= 2
    alarms = 0.4 * np.array(taad.false_alarms)
    return replace(taad, outcome=outcome.tolist(), false_alarms=alarms.tolist())


class Learned(NamedTuple):
    """A trained model, its rows per epoch (`training.train`) and its events of the scored halves."""

    model: DST
    rows: list[dict]
    events: pd.DataFrame


def learn(
    task: Task | LogitTask, recipe: DSTRecipe, run_dir: str | Path, start: str | Path | None = None
) -> Learned:
    """Train a DST on a task and apply it, as it is after the last epoch.

    Each epoch is scored on one of the halves that are scored at the end: for curves, not for a choice.

    Parameters
    ----------
    start
        A checkpoint with the weights to begin with.
    """
    volumes = FUSIONS[recipe.model.fusion]
    scored = task.scored(volumes)
    shown = list(scored)[:1]
    rows = train_dst(
        recipe,
        lambda epoch: task.halves(epoch, volumes),
        class_counts(task.train),
        run_dir,
        validate=partial(
            sequence_figures,
            halves={name: scored[name] for name in shown},
            truth=select_halves(task.held_out, shown),
            windows=recipe.windows,
        ),
        start=start,
    )
    model, windows = load_dst(Path(run_dir, LAST))
    return Learned(model, rows, write_events(model, scored, windows, batch=64))


def learn_weightings(
    task: Task,
    recipe: DSTRecipe,
    run_dir: str | Path,
    schemes: Sequence[str],
    seeds: Sequence[int],
    epochs: int,
) -> dict[str, list[pd.DataFrame]]:
    """Events by class weighting, of each seed: one run of the recipe, then ``epochs`` more of each.

    All go on from the same model for as long, so they have one budget.
    """
    base = Path(run_dir, "base")
    learn(task, recipe, base)
    events: dict[str, list[pd.DataFrame]] = {scheme: [] for scheme in schemes}
    for seed in seeds:
        again = replace(recipe.train, seed=1 + seed, epochs=epochs, milestones=())
        for scheme in schemes:
            folder = Path(run_dir, f"{scheme}-{seed}")
            weighted = replace(recipe, weighting=scheme, train=again)
            events[scheme].append(learn(task, weighted, folder, base / LAST).events)
    return events
