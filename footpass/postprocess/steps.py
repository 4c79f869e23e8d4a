"""Post-processing of events by hand-made rules: re-assignment, gating, frame refinement, NMS.

Each step asks an `Evidence` how strongly, and exactly when, something supports an event, and changes or
drops events accordingly. Steps are pure functions table -> (table, audit); the audit says of every event
what was done to it. Their parameters are fitted by `fit_postprocess`, through `footpass.crossfit` only.

Source: the steps of arXiv 2606.09679, which tuned them on the matches it reports. There the gate comes
first; here re-assignment does, since an event of the wrong player has no evidence and would be dropped.
Where nothing is known of a player, an event is neither dropped nor given to somebody else.
"""

from collections.abc import Callable
from dataclasses import asdict
from enum import IntEnum
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import AliasChoices, Field

from footpass.configs import Share, config_dataclass
from footpass.metrics import match_events
from footpass.postprocess.evidence import Evidence
from footpass.schema import ACTION_LABELS, ACTIONS, SCORE_THRESHOLD
from footpass.timeline import suppress

Window = Annotated[int, Field(ge=0, le=1000)]  # frames
BY_CLASS = Field(min_length=len(ACTIONS), max_length=len(ACTIONS))
Offset = Annotated[int, Field(ge=-1000, le=1000)]


@config_dataclass
class Reassign:
    """Give events to the team-mate whose evidence within ``window`` is stronger by over ``margin``."""

    margin: Annotated[float, Field(ge=-1, le=1)] = 1.0
    window: Window = 6


@config_dataclass
class Gate:
    """Drop events whose evidence within ``window`` frames is under their class's threshold (one of 8).

    ``own`` is the weight, 0 to 1, that the event's own score has in the mean with the evidence: a player
    who is out of the picture leaves no event of a model on pixels. Where nothing is known
    (`Evidence.known`), as logits know nothing of players without a box, an event stays.
    """

    thresholds: Annotated[tuple[Share, ...], BY_CLASS] = (0.0,) * len(ACTIONS)
    window: Window = 12
    own: Share = 0.0


@config_dataclass
class Refine:
    """Add the offset of the class (one of 8), then move to the evidence's peak within ``window`` frames.

    Peaks weaker than ``min_strength`` are not followed.
    """

    offsets: Annotated[tuple[Offset, ...], BY_CLASS] = (0,) * len(ACTIONS)
    window: Window = 0
    min_strength: Annotated[Share, Field(validation_alias=AliasChoices("min_strength", "least"))] = 0.0


@config_dataclass
class NMS:
    """Keep the best-scored of a player's events of one class at most ``window`` frames apart."""

    window: Window = 0


@config_dataclass
class PostprocessConfig:
    """The steps in their order; None leaves a step out."""

    reassign: Reassign | None = None
    gate: Gate | None = None
    refine: Refine | None = None
    nms: NMS | None = None


def describe(config: PostprocessConfig) -> dict[str, str]:
    """Parameters of the steps as a table shows them: one value, or those of classes that are not 0."""
    shown = {}
    for step, values in asdict(config).items():
        for name, value in (values or {}).items():
            if isinstance(value, tuple):
                each = zip(ACTION_LABELS, value, strict=True)
                value = value[0] if len(set(value)) == 1 else ", ".join(f"{c} {v}" for c, v in each if v)
            shown[f"{step}: {name}"] = str(value)
    return shown


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
    follow = (strength > 0) & (strength >= config.min_strength)
    moved = shifted.assign(frame=np.where(follow, peak, shifted["frame"]))
    reason = np.where(follow, Reason.PEAK, Reason.OFFSET)
    return _processed("refine", table, moved, reason, strength=strength)


def nms(table: pd.DataFrame, config: NMS) -> Processed:
    """Of a player's events of one class near each other, keep the best, as `timeline.suppress`."""
    groups = [table["half"].cat.codes, *(table[name] for name in ("team", "jersey", "cls"))]
    groups = [np.asarray(key) for key in groups]
    kept = suppress(groups, table["frame"].to_numpy(), table["score"].to_numpy(), config.window)
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
    table = table.reset_index(drop=True)
    audits = [_processed("nms", table[:0], table[:0], Reason.NONE).audit]  # columns, even without steps
    for name, step in STEPS.items():
        if getattr(config, name) is not None:
            table, audit = step(table, evidence, getattr(config, name))
            audits.append(audit)
    return Processed(table.reset_index(drop=True), pd.concat(audits))


def judge(audit: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """An audit with column ``verdict``: did a change help, hurt, or neither?

    A change helps if it turns a miss into a hit or drops a false positive. Each step is judged by the
    events that came into it, matched as the metric matches them: those under its threshold do not count.
    """
    verdict = pd.Series("neither", index=range(len(audit)))
    audit = audit.reset_index(names="event")
    for _, rows in audit[audit["score"] >= SCORE_THRESHOLD].groupby("step", observed=True):
        stays = rows[rows["fate"] != "dropped"]
        after = stays.assign(frame=stays["to_frame"], jersey=stays["to_jersey"])
        was_hit = pd.Series(match_events(rows, truth) >= 0, rows.index)
        is_hit = pd.Series(match_events(after, truth) >= 0, after.index)
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
