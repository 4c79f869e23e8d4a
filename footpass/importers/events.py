"""Events of a provider -> play-by-play, their frames found by agreement with the tracking.

A provider's clock starts at a half's kick-off and its cameras are not the tracker's, so times are off by
some seconds. An event says where it happened; the shift that puts its player there is the right one.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from footpass.data.halves import dense, events_of
from footpass.files import DataError
from footpass.importers.labels import labelled
from footpass.importers.tactical import Imported
from footpass.schema import FPS, PITCH, Tactical

# Events of a provider: seconds since the kick-off; x and y in 0..1, team 0 attacking from the left.
COLUMNS = ("seconds", "team", "jersey", "cls", "x", "y")
_SEARCH = 10 * FPS  # frames to either side
_LEAST = 10  # events that a search needs
_CLEAR = 0.3  # metres a shift must gain


@dataclass(frozen=True)
class Shift:
    """By how many frames events come later than they say, and how well each shift agrees."""

    frames: int
    shifts: np.ndarray
    metres: np.ndarray  # median distance of the players from where their events were; NaN if not known


def found_shift(events: pd.DataFrame, rows: np.ndarray, first: int) -> Shift:
    """The shift at which players are nearest to their events, columns as in `COLUMNS`.

    ``rows`` are the tactical rows of the half, ``first`` the frame of the kick-off as far as it is
    known.
    """
    shifts = np.arange(-_SEARCH, _SEARCH + 1)
    paths: dict[tuple[int, int], np.ndarray] = {}
    low, high = int(rows[:, Tactical.FRAME].min()), int(rows[:, Tactical.FRAME].max())
    team, jersey = rows[:, Tactical.TEAM], rows[:, Tactical.JERSEY]
    away = []
    for event in events.dropna(subset=["x", "y"]).itertuples():
        who = (event.team, event.jersey)
        if who not in paths:
            mine = rows[(team == event.team) & (jersey == event.jersey)]
            path = np.full((high - low + 1, 2), np.nan)
            path[mine[:, Tactical.FRAME].astype(int) - low] = mine[:, Tactical.X : Tactical.Y + 1]
            paths[who] = path * PITCH
        at = first - low + round(event.seconds * FPS) + shifts
        inside = (at >= 0) & (at <= high - low)
        where = paths[who][np.clip(at, 0, high - low)]
        distance = np.linalg.norm(where - np.array([event.x, event.y]) * PITCH, axis=1)
        away.append(np.where(inside, distance, np.nan))
    known = np.isfinite(away).all(axis=1) if away else np.zeros(0, bool)
    if known.sum() < _LEAST:
        return Shift(0, shifts, np.full(len(shifts), np.nan))
    metres = np.median(np.array(away)[known], axis=0)
    best = int(metres.argmin())
    frames = int(shifts[best]) if metres[_SEARCH] - metres[best] >= _CLEAR else 0
    return Shift(frames, shifts, metres)


def with_events(
    half: Imported, events: pd.DataFrame, name: str, kickoff: int
) -> tuple[np.ndarray, pd.DataFrame, tuple[str, ...]]:
    """A half's rows with its events as labels, its play-by-play, and what was decided.

    Events whose player has no row then (before or after the tracking) are left out.
    """
    shift = found_shift(events, half.rows, kickoff)
    events = events.sort_values("seconds", kind="stable", ignore_index=True)
    frame = kickoff + (events["seconds"] * FPS).round().astype(np.int64) + shift.frames
    # Two events of a player never share a frame.
    events["frame"] = frame + events.assign(frame=frame).groupby(["frame", "team", "jersey"]).cumcount()
    rows, placed = labelled(half.rows, events)
    notes = [_said(shift)]
    if len(events) and not placed.any():
        reason = f"none of its {len(events):,} events is of a player in the tracks then"
        raise DataError(f"{reason}: another match's events, or a clip's of another time?", half=name)
    if not placed.all():
        lost = (~placed).sum()
        notes.append(f"{lost:,} of {len(events):,} events are of nobody in the tracking then: left out")
    return rows, events_of(dense(rows, name)), tuple(notes)


def _said(shift: Shift) -> str:
    if np.isnan(shift.metres).all():
        return "events: too few of the tracking's time to find their shift; taken as 0"
    here, unshifted = np.interp([shift.frames, 0], shift.shifts, shift.metres)
    return (
        f"events come {shift.frames / FPS:+.2f} s after their clock: players are then {here:.1f} m "
        f"from where their events were (unshifted {unshifted:.1f} m)"
    )
