"""Post-processing of events by hand-made rules: re-assignment, gating, frame refinement, NMS.

Each step asks an `Evidence` how strongly, and exactly when, something supports an event, and changes or
drops events accordingly. Steps are pure functions table -> (table, audit); the audit says of every event
what was done to it. Their parameters are fitted by `fit_postprocess`, through `footpass.crossfit` only.

Source: the steps of arXiv 2606.09679, which tuned them on the matches it reports. There the gate comes
first; here re-assignment does, since an event of the wrong player has no evidence and would be dropped.
Where nothing is known of a player, an event is neither dropped nor given to somebody else.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from footpass.configs import build, check_types, plain
from footpass.crossfit import Apply, Fit, Inputs
from footpass.events import load_json
from footpass.evidence import Evidence, as_evidence
from footpass.files import DataError, atomic_write
from footpass.metrics import Evaluation, bootstrap, evaluate, match_events
from footpass.schema import ACTIONS, TOLERANCE


@dataclass(frozen=True)
class Reassign:
    """Give events to the team-mate whose evidence within ``window`` is stronger by over ``margin``."""

    margin: float = 1.0
    window: int = 6

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Gate:
    """Drop events whose evidence within ``window`` frames is under their class's threshold (one of 8).

    ``own`` is the weight, 0 to 1, that the event's own score has in the mean with the evidence: a player
    who is out of the picture leaves no event of a model on pixels. Where nothing is known
    (`Evidence.known`), as logits know nothing of players without a box, an event stays.
    """

    thresholds: tuple[float, ...] = (0.0,) * len(ACTIONS)
    window: int = 12
    own: float = 0.0

    def __post_init__(self) -> None:
        _check(self, "thresholds")


@dataclass(frozen=True)
class Refine:
    """Add the offset of the class (one of 8), then move to the evidence's peak within ``window`` frames.

    Peaks weaker than ``least`` are not followed.
    """

    offsets: tuple[int, ...] = (0,) * len(ACTIONS)
    window: int = 0
    least: float = 0.0

    def __post_init__(self) -> None:
        _check(self, "offsets")


@dataclass(frozen=True)
class NMS:
    """Keep the best-scored of a player's events of one class at most ``window`` frames apart."""

    window: int = 0

    def __post_init__(self) -> None:
        _check(self)


def _check(step: Reassign | Gate | Refine | NMS, by_class: str | None = None) -> None:
    check_types(step)
    name = type(step).__name__
    if step.window < 0:
        raise DataError(f"{name}: window {step.window} is negative")
    if by_class and len(getattr(step, by_class)) != len(ACTIONS):
        count = len(getattr(step, by_class))
        raise DataError(f"{name}: {count} {by_class} instead of {len(ACTIONS)}, one a class")


@dataclass(frozen=True)
class PostprocessConfig:
    """The steps in their order; None leaves a step out."""

    reassign: Reassign | None = None
    gate: Gate | None = None
    refine: Refine | None = None
    nms: NMS | None = None


class Fate(IntEnum):
    """What a step did to an event; of several the last."""

    KEPT = 0
    MOVED = 1
    REASSIGNED = 2
    DROPPED = 3


class Reason(IntEnum):
    """Why: a team-mate has more evidence, it has too little, its peak, the class's offset, a double."""

    NONE = 0
    TEAM_MATE = 1
    WEAK = 2
    PEAK = 3
    OFFSET = 4
    DOUBLE = 5


class Processed(NamedTuple):
    """Events after a step, and the audit: one row per event that came in, with the same index.

    Columns of the audit: ``step``, ``fate`` and ``reason`` (names of `Fate` and `Reason` in lower case),
    ``half, team, cls, score``, ``frame`` and ``jersey`` before, ``to_frame`` and ``to_jersey`` after,
    and ``strength``, which the step went by (of `reassign`: the team-mate's lead; NaN: nothing known).
    """

    table: pd.DataFrame
    audit: pd.DataFrame


def reassign(table: pd.DataFrame, evidence: Evidence, config: Reassign) -> Processed:
    """Give events to team-mates with clearly stronger evidence; between equals nothing changes."""
    own, _ = evidence.peak(table, config.window)
    strength, mate = evidence.best_mate(table, config.window)
    lead = strength - own
    given = lead > config.margin  # False where nothing is known
    changed = table.assign(jersey=np.where(given, mate, table["jersey"]))
    return _processed("reassign", table, changed, Reason.TEAM_MATE, strength=lead)


def gate(table: pd.DataFrame, evidence: Evidence, config: Gate) -> Processed:
    """Drop events with too little evidence; at exactly the threshold an event is kept."""
    strength, _ = evidence.peak(table, config.window)
    strength = (1 - config.own) * strength + config.own * table["score"].to_numpy()
    threshold = np.array(config.thresholds)[table["cls"].to_numpy() - ACTIONS[0]]
    weak = strength < threshold  # False where nothing is known
    return _processed("gate", table, table, Reason.WEAK, ~weak, strength)


def refine(table: pd.DataFrame, evidence: Evidence, config: Refine) -> Processed:
    """Move events to the frame of their evidence; never before frame 0."""
    offset = np.array(config.offsets)[table["cls"].to_numpy() - ACTIONS[0]]
    shifted = table.assign(frame=(table["frame"] + offset).clip(lower=0))
    strength, peak = evidence.peak(shifted, config.window)
    follow = (strength > 0) & (strength >= config.least)
    moved = shifted.assign(frame=np.where(follow, peak, shifted["frame"]))
    reason = np.where(follow, Reason.PEAK, Reason.OFFSET)
    return _processed("refine", table, moved, reason, strength=strength)


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
    return _processed("nms", table, table, Reason.DOUBLE, kept)


def _processed(
    step: str,
    before: pd.DataFrame,
    after: pd.DataFrame,
    reason: Reason | np.ndarray,
    kept: np.ndarray | None = None,
    strength: np.ndarray | float = np.nan,
) -> Processed:
    kept = np.ones(len(before), dtype=bool) if kept is None else kept
    frame, to_frame, jersey, to_jersey = (
        part[name].to_numpy() for name in ("frame", "jersey") for part in (before, after)
    )
    fate = np.where(frame != to_frame, Fate.MOVED, Fate.KEPT)
    fate = np.where(jersey != to_jersey, Fate.REASSIGNED, fate)
    fate = np.where(kept, fate, Fate.DROPPED)
    audit = {
        "step": pd.Categorical.from_codes(np.full(len(before), list(STEPS).index(step)), list(STEPS)),
        "fate": _named(fate, Fate),
        "reason": _named(np.where(fate == Fate.KEPT, Reason.NONE, reason), Reason),
        **{name: before[name] for name in ("half", "team", "cls", "score")},
        **{"frame": frame, "to_frame": to_frame, "jersey": jersey, "to_jersey": to_jersey},
        "strength": strength,
    }
    return Processed(after[kept], pd.DataFrame(audit, index=before.index))


def _named(codes: np.ndarray, names: type[IntEnum]) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, [member.name.lower() for member in names])


def postprocess(table: pd.DataFrame, evidence: Evidence, config: PostprocessConfig) -> Processed:
    """All steps of a configuration, one after the other.

    The audit holds those of all steps; its index is the row of ``table`` that an event came from.
    """
    audits = []
    table = table.reset_index(drop=True)
    for name, step in STEPS.items():
        if getattr(config, name) is not None:
            table, audit = step(table, evidence, getattr(config, name))
            audits.append(audit)
    return Processed(table.reset_index(drop=True), pd.concat(audits) if audits else pd.DataFrame())


def judge(audit: pd.DataFrame, truth: pd.DataFrame, tolerance: int = TOLERANCE) -> pd.DataFrame:
    """An audit with column ``verdict``: did a change help, hurt, or neither?

    A change helps if it turns a miss into a hit or drops a false positive. Each step is judged by the
    events that came into it, matched as the metric matches them.
    """
    verdict = pd.Series("neither", index=range(len(audit)))
    audit = audit.reset_index(names="event")
    for _, rows in audit.groupby("step", observed=True):
        stays = rows[rows["fate"] != "dropped"]
        after = stays.assign(frame=stays["to_frame"], jersey=stays["to_jersey"])
        was_hit = pd.Series(match_events(rows, truth, tolerance) >= 0, rows.index)
        is_hit = pd.Series(match_events(after, truth, tolerance) >= 0, after.index)
        gone = rows.index.difference(stays.index)
        verdict[gone[~was_hit[gone]]], verdict[gone[was_hit[gone]]] = "helped", "hurt"
        changed = stays.index[stays["fate"] != "kept"]
        verdict[changed[is_hit[changed] & ~was_hit[changed]]] = "helped"
        verdict[changed[was_hit[changed] & ~is_hit[changed]]] = "hurt"
    return audit.assign(verdict=verdict)


STEPS: dict[str, Callable[[pd.DataFrame, Evidence, Any], Processed]] = {
    "reassign": reassign,
    "gate": gate,
    "refine": refine,
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

    def __post_init__(self) -> None:
        for step in self.steps:
            if step not in STEPS:
                raise DataError(f"no step {step!r}: there are {', '.join(STEPS)}")
        if self.confidence and not 0.5 <= self.confidence < 1:
            raise DataError(f"confidence {self.confidence} is neither 0 nor within 0.5..1")


GRIDS = {
    ("reassign", "margin"): (1.0, 0.8, 0.6, 0.4, 0.2, 0.0),
    ("reassign", "window"): (3, 6, 9, 12),
    ("gate", "thresholds"): tuple(i / 20 for i in range(20)),
    ("gate", "window"): (3, 6, 12, 18, 25),
    ("refine", "offsets"): tuple(range(-4, 5)),
    ("refine", "window"): (0, 2, 4, 6, 9, 12),
    ("refine", "least"): (0.0, 0.3, 0.5, 0.7),
    ("nms", "window"): (0, 3, 6, 12, 25, 40),
}
MAX_ROUNDS = 5


def recipe(search: Search) -> tuple[Fit, Apply]:
    """``fit`` and ``apply`` for `footpass.crossfit`, of the inputs ``events`` and ``evidence``."""

    def fit(inputs: Inputs, truth: pd.DataFrame) -> PostprocessConfig:
        return fit_postprocess(inputs["events"], as_evidence(inputs["evidence"]), truth, search)

    def apply(config: PostprocessConfig, inputs: Inputs) -> pd.DataFrame:
        return postprocess(inputs["events"], as_evidence(inputs["evidence"]), config).table

    return fit, apply


def search(per_class: bool = False) -> Search:
    """All steps, as published with a number for each class, or with one for all.

    With one for all, and the event's own score beside the evidence, the gain holds on matches that the
    steps were not fitted on (notebook 06).
    """
    return Search() if per_class else Search(per_class=False, own=0.5)


FORMAT = "footpass postprocess 1"


def save(config: PostprocessConfig, path: str | Path) -> None:
    """Write fitted steps as JSON."""
    with atomic_write(path) as stream:
        json.dump({"format": FORMAT, "steps": plain(config)}, stream, indent=1)


def load(path: str | Path) -> PostprocessConfig:
    """Read what `save` has written.

    Raises
    ------
    DataError
        If it is no such file, or a value makes no sense.
    """
    content = load_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path}: no fitted steps ({FORMAT})")
    try:
        return build(PostprocessConfig, content["steps"])
    except (DataError, TypeError, AttributeError, KeyError) as error:
        raise DataError(f"{path}: {error}") from error


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

    start = {"reassign": Reassign(), "gate": Gate(own=search.own), "refine": Refine(), "nms": NMS()}
    first: dict[str, Any] = {step: start[step] for step in search.steps}
    config = PostprocessConfig(**first)
    for _ in range(MAX_ROUNDS):
        before = config
        for (step, name), grid in GRIDS.items():
            if step in search.steps:
                config = _best(config, step, name, grid, scored, search)
        if config == before:
            break
    return config


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
