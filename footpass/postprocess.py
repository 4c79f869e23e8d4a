"""Post-processing of events by hand-made rules: gating, frame refinement, re-assignment, NMS.

Each step asks an `Evidence` how strongly, and exactly when, something supports an event, and changes or
drops events accordingly. Two things can be evidence: the logits of a model on pixels, and the events of
another model. Steps are pure functions table -> (table, audit); the audit says of every event what was
done to it. Their parameters are fitted by `fit_postprocess`, through `footpass.crossfit` only.

Source: the steps of arXiv 2606.09679, which tuned them on the matches it reports.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple, Self

import numpy as np
import pandas as pd

from footpass.events import halves_of, select_halves
from footpass.files import DataError
from footpass.metrics import Evaluation, bootstrap, evaluate
from footpass.schema import ACTIONS, N_CLASSES, N_ROLES, N_SLOTS, N_TEAMS


class Near(NamedTuple):
    """Evidence near events: flat arrays, sorted by ``event``, which numbers the rows of the query."""

    event: np.ndarray
    jersey: np.ndarray
    frame: np.ndarray
    strength: np.ndarray  # 0..1


class Evidence(ABC):
    """How strongly, and exactly when, something supports that a player did something around a frame."""

    halves: tuple[str, ...]

    @abstractmethod
    def near(self, events: pd.DataFrame, window: int) -> Near:
        """All evidence, within ``window`` frames, that some player of an event's team did its class."""

    @abstractmethod
    def select(self, halves: Iterable[str]) -> Self:
        """The evidence of some halves."""

    def peak(self, events: pd.DataFrame, window: int) -> tuple[np.ndarray, np.ndarray]:
        """Strongest evidence for each event's own player and class.

        Parameters
        ----------
        events
            ``N`` rows with ``half, frame, team, jersey, cls``.
        window
            In frames, inclusive.

        Returns
        -------
        tuple[np.ndarray, np.ndarray]
            Strength 0..1 and frame, both ``(N,)``; of equal peaks the nearest, then the earlier. With no
            evidence the strength is 0 and the frame the event's own; in a half that is not covered the
            strength is NaN: nothing is known, which is not evidence of absence.
        """
        strength, _, frame = self._strongest(events, window, own=True)
        return strength, frame

    def best_mate(self, events: pd.DataFrame, window: int) -> tuple[np.ndarray, np.ndarray]:
        """Strength and jersey ``(N,)`` of the team-mate with the strongest evidence for its class.

        Ties as in `peak`, then the lower jersey; with no such evidence, 0 and the event's own jersey.
        """
        strength, jersey, _ = self._strongest(events, window, own=False)
        return strength, jersey

    def _strongest(self, events: pd.DataFrame, window: int, own: bool) -> tuple[np.ndarray, ...]:
        near = self.near(events, window)
        jersey, frame = (events[name].to_numpy(copy=True) for name in ("jersey", "frame"))
        near = Near(*(values[(near.jersey == jersey[near.event]) == own] for values in near))
        strength = np.where(events["half"].isin(self.halves), 0.0, np.nan)
        if len(near.event):
            starts = np.flatnonzero(np.r_[True, near.event[1:] != near.event[:-1]])
            highest = np.maximum.reduceat(near.strength, starts)
            counts = np.diff(np.r_[starts, len(near.event)])
            near = Near(*(values[near.strength == np.repeat(highest, counts)] for values in near))
            distance = np.abs(near.frame - frame[near.event])
            order = np.lexsort((near.jersey, near.frame, distance, near.event))
            event, first = np.unique(near.event[order], return_index=True)
            best = order[first]
            strength[event] = near.strength[best]
            jersey[event], frame[event] = near.jersey[best], near.frame[best]
        return strength, jersey, frame


@dataclass(frozen=True)
class EventEvidence(Evidence):
    """Another model's events as evidence: their score, at their frame."""

    table: pd.DataFrame

    @property
    def halves(self) -> tuple[str, ...]:
        return tuple(halves_of(self.table))

    def select(self, halves: Iterable[str]) -> Self:
        return EventEvidence(select_halves(self.table, halves))

    def near(self, events: pd.DataFrame, window: int) -> Near:
        if not len(events) or not len(self.table):
            return Near(*(np.zeros(0, dtype=int) for _ in range(3)), np.zeros(0))
        # One integer per (half, team, class, frame); frames of different groups are far apart.
        span = max(events["frame"].max(), self.table["frame"].max()) + window + 1
        place, own = self._place(events, span), self._place(self.table, span)
        order = np.argsort(own, kind="stable")
        first = np.searchsorted(own[order], place - window, side="left")
        count = np.searchsorted(own[order], place + window, side="right") - first
        event = np.repeat(np.arange(len(events)), count)
        offset = np.arange(len(event)) - np.repeat(np.cumsum(count) - count, count)
        rows = order[first[event] + offset]
        return Near(event, *(self.table[name].to_numpy()[rows] for name in ("jersey", "frame", "score")))

    def _place(self, table: pd.DataFrame, span: int) -> np.ndarray:
        code = {half: number for number, half in enumerate(self.halves)}
        half = np.array([code.get(name, -1) for name in halves_of(table)])[table["half"].cat.codes]
        group = (half * N_TEAMS + table["team"].to_numpy()) * N_CLASSES + table["cls"].to_numpy()
        return group * span + table["frame"].to_numpy()


@dataclass(frozen=True)
class LogitEvidence(Evidence):
    """A model's logits as evidence: the class's probability in the slot that the player is in.

    Attributes
    ----------
    logits
        ``(9, 26, T)`` per half, absolute frames on the last axis; an open HDF5 file will do.
    jerseys
        ``(26, T)`` per half: who is in the slot, -1 where nobody is known. Players change slots and
        are substituted, so this decides anew at every frame.
    """

    logits: Mapping[str, np.ndarray]
    jerseys: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        for half, volume in self.logits.items():
            expected = (N_CLASSES, N_SLOTS, volume.shape[-1])
            if volume.shape != expected:
                raise DataError(f"half {half}: logits of shape {volume.shape} instead of {expected}")
            if half not in self.jerseys:
                raise DataError(f"half {half}: logits without the jerseys of the slots")
            if self.jerseys[half].shape != expected[1:]:
                shape = self.jerseys[half].shape
                raise DataError(f"half {half}: jerseys of shape {shape} instead of {expected[1:]}")

    @property
    def halves(self) -> tuple[str, ...]:
        return tuple(self.logits)

    def select(self, halves: Iterable[str]) -> Self:
        halves = list(halves)
        logits, jerseys = (
            {half: by_half[half] for half in halves} for by_half in (self.logits, self.jerseys)
        )
        return LogitEvidence(logits, jerseys)

    def near(self, events: pd.DataFrame, window: int) -> Near:
        parts = [Near(*(np.zeros(0, dtype=int) for _ in range(3)), np.zeros(0))]
        for half in self.halves:
            rows = np.flatnonzero(events["half"] == half)
            if len(rows):
                near = self._near_in(half, events.iloc[rows], window)
                parts.append(near._replace(event=rows[near.event]))
        near = Near(*map(np.concatenate, zip(*parts, strict=True)))
        order = np.argsort(near.event, kind="stable")
        return Near(*(values[order] for values in near))

    def _near_in(self, half: str, events: pd.DataFrame, window: int) -> Near:
        jerseys = self.jerseys[half]
        frame = events["frame"].to_numpy()
        low, high = max(frame.min() - window, 0), frame.max() + window + 1
        volume = np.asarray(self.logits[half][:, :, low:high])  # (9, 26, F)
        slots = N_ROLES * events["team"].to_numpy()[:, None] + np.arange(N_ROLES)  # (n, 13)
        frames = frame[:, None] + np.arange(-window, window + 1)  # (n, W)
        inside = (frames >= low) & (frames < low + volume.shape[-1])
        held = jerseys[slots[:, None], np.where(inside, frames, 0)[..., None]]  # (n, W, 13)
        event, step, role = np.nonzero((held >= 0) & inside[..., None])
        at = frames[event, step]
        x = volume[:, slots[event, role], at - low].astype(np.float32)  # (9, K)
        x = np.exp(x - x.max(axis=0))
        strength = x[events["cls"].to_numpy()[event], np.arange(len(event))] / x.sum(axis=0)
        return Near(event, held[event, step, role], at, strength)


@dataclass(frozen=True)
class Gate:
    """Drop events whose evidence within ``window`` frames is under their class's threshold (one of 8).

    ``own`` is the weight, 0 to 1, that the event's own score has in the mean with the evidence: a player
    who is out of the picture leaves no evidence in pixels.
    """

    thresholds: tuple[float, ...] = (0.0,) * len(ACTIONS)
    window: int = 12
    own: float = 0.0


@dataclass(frozen=True)
class Refine:
    """Add the offset of the class (one of 8), then move to the evidence's peak within ``window`` frames.

    Peaks weaker than ``least`` are not followed.
    """

    offsets: tuple[int, ...] = (0,) * len(ACTIONS)
    window: int = 0
    least: float = 0.0


@dataclass(frozen=True)
class Reassign:
    """Give events to the team-mate whose evidence within ``window`` is stronger by over ``margin``."""

    margin: float = 1.0
    window: int = 6


@dataclass(frozen=True)
class NMS:
    """Keep the best-scored of a player's events of one class at most ``window`` frames apart."""

    window: int = 0


@dataclass(frozen=True)
class PostprocessConfig:
    """The steps in their order; None leaves a step out."""

    refine: Refine | None = None
    reassign: Reassign | None = None
    gate: Gate | None = None
    nms: NMS | None = None


class Processed(NamedTuple):
    """Events after a step, and the audit: one row per event that came in, with the same index.

    Columns of the audit: ``step, fate`` (kept, moved, reassigned or dropped), ``half, team, cls, score``,
    ``frame`` and ``jersey`` before, ``to_frame`` and ``to_jersey`` after, ``strength`` of the evidence
    (NaN: none known) and ``reason``.
    """

    table: pd.DataFrame
    audit: pd.DataFrame


def gate(table: pd.DataFrame, evidence: Evidence, config: Gate) -> Processed:
    """Drop events with too little evidence; at exactly the threshold an event is kept."""
    strength, _ = evidence.peak(table, config.window)
    strength = (1 - config.own) * strength + config.own * table["score"].to_numpy()
    threshold = np.array(config.thresholds)[table["cls"].to_numpy() - ACTIONS[0]]
    weak = strength < threshold  # False where nothing is known
    return _processed("gate", table, table, ~weak, strength, "evidence under the threshold of the class")


def refine(table: pd.DataFrame, evidence: Evidence, config: Refine) -> Processed:
    """Move events to the frame of their evidence; never before frame 0."""
    offset = np.array(config.offsets)[table["cls"].to_numpy() - ACTIONS[0]]
    shifted = table.assign(frame=(table["frame"] + offset).clip(lower=0))
    strength, peak = evidence.peak(shifted, config.window)
    follow = strength >= max(config.least, np.finfo(float).tiny)
    moved = shifted.assign(frame=np.where(follow, peak, shifted["frame"]))
    return _processed("refine", table, moved, None, strength, np.where(follow, "peak", "offset"))


def reassign(table: pd.DataFrame, evidence: Evidence, config: Reassign) -> Processed:
    """Give events to team-mates with clearly stronger evidence; between equals nothing changes."""
    own, _ = evidence.peak(table, config.window)
    strength, mate = evidence.best_mate(table, config.window)
    given = strength - own > config.margin
    changed = table.assign(jersey=np.where(given, mate, table["jersey"]))
    return _processed("reassign", table, changed, None, strength - own, "evidence of a team-mate")


def nms(table: pd.DataFrame, config: NMS) -> Processed:
    """Of a player's events of one class near each other, keep the best score, of equals the first row.

    Greedy: an event is dropped only if a better one that is itself kept lies within the window.
    """
    n = len(table)
    keys = [table["half"].cat.codes, *(table[name] for name in ("team", "jersey", "cls"))]
    frame, score = table["frame"].to_numpy(), table["score"].to_numpy()
    order = np.lexsort((frame, *(np.asarray(key) for key in keys)))
    fresh = np.zeros(n, dtype=bool)
    for key in keys:
        values = np.asarray(key)[order]
        fresh[1:] |= values[1:] != values[:-1]
    place = np.cumsum(fresh) * (np.ptp(frame) + config.window + 1 if n else 0) + frame[order]
    count = np.searchsorted(place, place + config.window, side="right") - np.arange(n) - 1
    left = np.repeat(np.arange(n), count)
    right = left + 1 + np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count)
    a, b = order[left], order[right]
    a_wins = (score[a] > score[b]) | ((score[a] == score[b]) & (a < b))
    winner, loser = np.where(a_wins, a, b), np.where(a_wins, b, a)
    kept = np.ones(n, dtype=bool)
    # In rounds: who loses to nobody left is kept, and whoever is near it goes.
    while len(winner):
        beaten = np.zeros(n, dtype=bool)
        beaten[loser] = True
        gone = np.zeros(n, dtype=bool)
        gone[loser[~beaten[winner]]] = True
        kept &= ~gone
        rest = ~gone[winner] & ~gone[loser]
        winner, loser = winner[rest], loser[rest]
    return _processed(
        "nms", table, table, kept, np.full(n, np.nan), "a better event of the same player is near"
    )


def _processed(
    step: str,
    before: pd.DataFrame,
    after: pd.DataFrame,
    kept: np.ndarray | None,
    strength: np.ndarray,
    reason: str | np.ndarray,
) -> Processed:
    kept = np.ones(len(before), dtype=bool) if kept is None else kept
    moved = (after["frame"] != before["frame"]).to_numpy()
    given = (after["jersey"] != before["jersey"]).to_numpy()
    fate = np.select([~kept, given, moved], ["dropped", "reassigned", "moved"], "kept")
    audit = before[["half", "team", "cls", "score", "frame", "jersey"]].assign(
        to_frame=after["frame"], to_jersey=after["jersey"], strength=strength
    )
    audit.insert(0, "step", step)
    audit.insert(1, "fate", fate)
    audit["reason"] = np.where(fate == "kept", "", reason)
    return Processed(after[kept], audit)


def postprocess(table: pd.DataFrame, evidence: Evidence, config: PostprocessConfig) -> Processed:
    """All steps of a configuration, one after the other.

    The audit holds those of all steps; its index is the row of ``table`` that an event came from.
    """
    audits = []
    for name, step in STEPS.items():
        if getattr(config, name) is not None:
            table, audit = step(table, evidence, getattr(config, name))
            audits.append(audit)
    return Processed(table.reset_index(drop=True), pd.concat(audits) if audits else pd.DataFrame())


STEPS = {
    "refine": refine,
    "reassign": reassign,
    "gate": gate,
    "nms": lambda table, evidence, config: nms(table, config),
}


@dataclass(frozen=True)
class Search:
    """What `fit_postprocess` may choose, and how sure it must be of a gain.

    Attributes
    ----------
    steps
        Names of the steps that are used.
    per_class
        Thresholds and offsets for each class, or one for all.
    own
        See `Gate`.
    confidence
        A change is made only if, in this share of bootstrap draws of the fitting matches, it pays;
        0 takes any gain.
    """

    steps: tuple[str, ...] = tuple(STEPS)
    per_class: bool = True
    own: float = 0.0
    confidence: float = 0.0


GRIDS = {
    ("refine", "offsets"): tuple(range(-4, 5)),
    ("refine", "window"): (0, 2, 4, 6, 9, 12),
    ("refine", "least"): (0.0, 0.3, 0.5, 0.7),
    ("reassign", "margin"): (1.0, 0.8, 0.6, 0.4, 0.2, 0.0),
    ("reassign", "window"): (3, 6, 9, 12),
    ("gate", "thresholds"): tuple(i / 20 for i in range(20)),
    ("gate", "window"): (3, 6, 12, 18, 25),
    ("nms", "window"): (0, 3, 6, 12, 25, 40),
}


def fit_postprocess(
    table: pd.DataFrame, evidence: Evidence, truth: pd.DataFrame, search: Search
) -> PostprocessConfig:
    """Coordinate search for the parameters with the best macro F1, deterministic.

    From steps that change nothing, one parameter after the other takes the best value of its grid, until
    a whole round changes nothing. To be called through `footpass.crossfit` only.
    """

    @cache  # a parameter of a late step leaves what the early ones did
    def after(config: PostprocessConfig) -> pd.DataFrame:
        used = [step for step in STEPS if getattr(config, step) is not None]
        if not used:
            return table
        before = after(replace(config, **{used[-1]: None}))
        return STEPS[used[-1]](before, evidence, getattr(config, used[-1])).table

    @cache
    def scored(config: PostprocessConfig) -> Evaluation:
        return evaluate(after(config), truth)

    start = {"refine": Refine(), "reassign": Reassign(), "gate": Gate(own=search.own), "nms": NMS()}
    config = PostprocessConfig(**{step: start[step] for step in search.steps})
    for _ in range(MAX_ROUNDS):
        before = config
        for (step, name), grid in GRIDS.items():
            if step in search.steps:
                config = _best(config, step, name, grid, scored, search)
        if config == before:
            break
    return config


MAX_ROUNDS = 5


def _best(
    config: PostprocessConfig,
    step: str,
    name: str,
    grid: tuple[float, ...],
    scored: Callable[[PostprocessConfig], Evaluation],
    search: Search,
) -> PostprocessConfig:
    """The configuration with one parameter at its best value; of equals, the current, then the first."""
    part = getattr(config, step)
    old = getattr(part, name)
    by_class = isinstance(old, tuple)

    def at(value: float | tuple[float, ...]) -> PostprocessConfig:
        return replace(config, **{step: replace(part, **{name: value})})

    options = [at((value,) * len(ACTIONS) if by_class else value) for value in grid]
    results = [scored(option) for option in options]
    if not (by_class and search.per_class):
        first = int(np.argmax([result.macro_f1 for result in results]))
        return options[first] if _pays(scored(config), results[first], search.confidence) else config
    # No step looks across classes, so one result per value serves all classes.
    best = np.argmax([result.counts.f1 for result in results], axis=0)  # (8,)
    classes = zip(ACTIONS, old, best, strict=True)
    return at(
        tuple(
            grid[i]
            if _pays(_only(scored(config), c), _only(results[i], c), search.confidence)
            else value
            for c, value, i in classes
        )
    )


def _only(evaluation: Evaluation, action: int) -> Evaluation:
    predictions, truth = evaluation.predictions, evaluation.truth
    return replace(
        evaluation,
        predictions=predictions[predictions["cls"] == action],
        truth=truth[truth["cls"] == action],
    )


def _pays(old: Evaluation, new: Evaluation, confidence: float) -> bool:
    if new.macro_f1 <= old.macro_f1:
        return False
    return not confidence or bootstrap([old, new], level=2 * confidence - 1)[-1].low > 0
