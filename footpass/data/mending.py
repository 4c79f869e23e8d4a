"""Rows of the tactical data that are not as they should be, and how they are read all the same.

The official scripts skip what they cannot place, so one odd row must not cost a split: it is left out or
mended here, and named. What only looks wrong, such as positions in metres, is named and read as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from footpass.schema import (
    FPS,
    FULL_HD,
    MODEL_SIZE,
    N_ROLES,
    N_SLOTS,
    N_TEAMS,
    PITCH,
    RANGES,
    Tactical,
    counted,
    slot,
)


@dataclass(frozen=True)
class Fault:
    """Something that is wrong in some rows of a half."""

    reason: str  # what is wrong in the first of them
    rows: np.ndarray  # their numbers in the file
    remedy: str | None = None  # how they are read all the same; None: as they are, which may be right

    def __str__(self) -> str:
        more = f" (and {counted(len(self.rows) - 1, 'more row')})" if len(self.rows) > 1 else ""
        return f"{self.reason}{more}" + (f": {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class Mended:
    """Rows that all have a place of their own in a half (a copy), and what was mended."""

    rows: np.ndarray
    numbers: np.ndarray  # of the rows in the file
    faults: list[Fault]


LONGEST = 100_000  # frames, 67 minutes: one wild frame number must not fill the memory
_ANYWHERE = 1000  # no position or speed is as large in any unit
_BESIDE = 0.25  # of a pitch: as far off it may somebody be
_MANY = 50  # from how many boxes or frames on something can be said of all of them

BOX = slice(Tactical.BOX_X, Tactical.BOX_HEIGHT + 1)
_BOX = "the box ({}, {}, {}, {})"  # in reasons


def mend(rows: np.ndarray) -> Mended:
    """What can be read of a half's rows, ``(N, 14)`` or ``(N, 13)`` without labels."""
    faults = list(_misplaced(rows))
    placed = np.ones(len(rows), bool)
    for fault in faults:
        placed[fault.rows] = False
    numbers = np.flatnonzero(placed)
    with np.errstate(over="ignore"):
        rows = rows[numbers].astype(np.float32, copy=False)
    for wrong, columns, value, reason, remedy in _unusable(rows):
        for fault in _faults(rows, wrong, columns, reason, remedy):
            faults.append(replace(fault, rows=numbers[fault.rows]))
            rows[fault.rows, columns] = value
    roles, kept, shared = _seats(rows)
    rows[:, Tactical.ROLE] = roles
    astray = list(_astray(rows))
    for fault in astray:
        kept[fault.rows] = False
    faults += [replace(fault, rows=numbers[fault.rows]) for fault in (*shared, *astray)]
    return Mended(rows[kept], numbers[kept], faults)


def _misplaced(rows: np.ndarray) -> Iterator[Fault]:
    """Rows of no frame, no team or no role."""
    for column in (Tactical.FRAME, Tactical.TEAM, Tactical.ROLE):
        wrong, reason = _no_whole_number(rows, column)
        yield from _faults(rows, wrong, column, reason, "left out")
    frames = rows[:, Tactical.FRAME]
    possible = ~_no_whole_number(rows, Tactical.FRAME)[0]
    if possible.any():
        far = possible & (np.abs(frames - np.median(frames[possible])) > LONGEST)
        reason = "frame {} is hours away from the half's other frames"
        yield from _faults(rows, far, Tactical.FRAME, reason, "left out")


def _astray(rows: np.ndarray) -> Iterator[Fault]:
    """Rows of less than a second, few of all, with a second of nothing between them and the others.

    Where an event is labelled there was play: such rows are never astray.
    """
    frames = np.unique(rows[:, Tactical.FRAME])
    gaps = np.flatnonzero(np.diff(frames) > FPS)
    for apart in (frames[: gaps[0] + 1], frames[gaps[-1] + 1 :]) if len(gaps) else ():
        if len(apart) < min(FPS, len(frames) / 100):
            found = np.isin(rows[:, Tactical.FRAME], apart)
            if not (rows[found, Tactical.LABEL :] > 0).any():
                reason = "frame {} is apart from the half's other frames"
                yield from _faults(rows, found, Tactical.FRAME, reason, "left out")


def _no_whole_number(rows: np.ndarray, column: Tactical) -> tuple[np.ndarray, str]:
    values, name = rows[:, column], column.name.lower()
    low, high = RANGES[name]
    fine = (values >= low) & (values <= high) & (values == np.floor(values))
    return ~fine, f"{name} {{}} is not a whole number of {low}..{high}"


def _faults(
    rows: np.ndarray, wrong: np.ndarray, columns: Any, reason: str, remedy: str | None = None
) -> Iterator[Fault]:
    """The fault of the rows that are ``wrong``, if any; its reason shows values of the first."""
    found = np.flatnonzero(wrong)
    if len(found):
        values = (f"{value:.8g}" for value in np.atleast_1d(rows[found[0], columns]))
        yield Fault(reason.format(*values), found, remedy)


def _unusable(rows: np.ndarray) -> Iterator[tuple]:
    """Values that cannot be used: a mask of rows, their columns, what they become, reason and remedy.

    Each is found in what those before have left.
    """
    wrong, reason = _no_whole_number(rows, Tactical.JERSEY)
    wrong &= ~np.isnan(rows[:, Tactical.JERSEY])
    yield wrong, Tactical.JERSEY, np.nan, reason, "taken for unknown"
    if rows.shape[1] > Tactical.LABEL:
        wrong, reason = _no_whole_number(rows, Tactical.LABEL)
        yield wrong, Tactical.LABEL, 0, reason, "taken for no event"

    place, speed = slice(Tactical.X, Tactical.Y + 1), slice(Tactical.VX, Tactical.VY + 1)
    lost = ~(np.abs(rows[:, place]) < _ANYWHERE).all(axis=1)
    if not np.isnan(rows[:, place]).all():  # tracks may have boxes alone
        yield lost, place, np.nan, "the position ({}, {}) is none", "taken for unknown"
    rows[lost, speed] = np.nan
    wrong = ~lost & ~(np.abs(rows[:, speed]) < _ANYWHERE).all(axis=1)
    yield wrong, speed, np.nan, "the speed ({}, {}) is none", "estimated from positions"

    known = np.isfinite(rows[:, BOX])
    wrong = ~known.all(axis=1) & ~np.isnan(rows[:, BOX]).all(axis=1)
    yield wrong, BOX, np.nan, f"{_BOX} is not complete", "taken for no box"
    wrong = (np.abs(rows[:, BOX]) > 2 * max(FULL_HD)).any(axis=1)
    yield wrong, BOX, np.nan, f"{_BOX} is larger than any picture", "taken for no box"


def _seats(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Fault]]:
    """A slot of its own for every player: role of each row, which rows are kept, and what was shared.

    Of one player's rows for a slot and frame the labelled one is kept, else the last. Of several players
    the one who has the slot for longest in the half keeps it; another gets a role that his team has free
    at that frame; where none is free, one with a label is kept.
    """
    columns = [Tactical.TEAM, Tactical.ROLE, Tactical.FRAME]
    team, roles, frames = (rows[:, column].astype(np.int64) for column in columns)
    frames -= frames.min(initial=2**24)
    slots = slot(team, roles)
    cells = frames * N_SLOTS + slots
    taken, count = np.unique(cells, return_counts=True)
    shared = np.flatnonzero(np.isin(cells, taken[count > 1]))
    kept = np.ones(len(rows), bool)
    if not len(shared):
        return roles, kept, []

    player = _players(rows)
    labelled = np.zeros(len(rows), bool)
    if rows.shape[1] > Tactical.LABEL:
        labelled = rows[:, Tactical.LABEL] > 0
    single = _best(shared, (cells, player), labelled)
    stays = slots * (player.max() + 1) + player  # a player's time in a slot
    _, stay, length = np.unique(stays, return_inverse=True, return_counts=True)
    hosts = _best(single, (cells,), length[stay], labelled)
    guests = np.setdiff1d(single, hosts)
    free = np.ones((frames.max() + 1, N_TEAMS, N_ROLES), bool)
    free.reshape(-1)[taken] = False
    guests = guests[np.argsort(stay[guests], kind="stable")]
    moved = np.zeros(len(rows), bool)
    for group in np.split(guests, np.flatnonzero(np.diff(stay[guests])) + 1):
        open_to = free[frames[group], team[group[:1]]]  # (n, 13)
        for role in np.argsort(-open_to.sum(axis=0), kind="stable"):  # seldom a second one
            seated = group[open_to[:, role] & ~moved[group]]
            free[frames[seated], team[seated], role] = False
            moved[seated], roles[seated] = True, role + 1

    kept[shared] = False
    kept[guests[moved[guests]]] = True
    unmoved = np.setdiff1d(single, np.flatnonzero(moved))
    kept[_best(unmoved, (cells,), labelled, np.isin(np.arange(len(rows)), hosts))] = True
    reason = "another row is for team {} role {} at frame {} too"
    faults = [
        *_faults(rows, moved, columns, reason, "put into a role that the team has free"),
        *_faults(rows, ~kept, columns, reason, "left out"),
    ]
    return roles, kept, faults


def _players(rows: np.ndarray) -> np.ndarray:
    """A number from 0 on for each row's player: whose jersey is unknown goes by the identity."""
    jersey, identity = rows[:, Tactical.JERSEY], np.nan_to_num(rows[:, Tactical.PLAYER_ID])
    named = np.where(jersey >= 0, jersey, -1 - identity.clip(0, 999))
    return np.unique(named, return_inverse=True)[1]


def _best(rows: np.ndarray, groups: tuple[np.ndarray, ...], *ranks: np.ndarray) -> np.ndarray:
    """Of some row numbers the one of each group that is highest in rank, the last if several are."""
    keys = [key[rows] for key in (*ranks[::-1], *groups[::-1])]
    order = np.lexsort(keys)
    ends = np.zeros(len(rows), bool)
    ends[-1:] = True
    for key in keys[len(ranks) :]:
        ends[:-1] |= np.diff(key[order]) != 0
    return np.sort(rows[order[ends]])


def suspicions(rows: np.ndarray) -> Iterator[Fault]:
    """What looks wrong in rows that have a place, though nothing keeps it from being read."""
    place = rows[:, [Tactical.X, Tactical.Y]]
    off = np.flatnonzero((np.abs(place - 0.5) > 0.5 + _BESIDE).any(axis=1))
    if len(off):
        x, y = place[off[0]]
        hint = f": in metres? x / {PITCH[0]:g}, y / {PITCH[1]:g}, counted from the corner"
        hint = hint if len(off) > len(rows) / 10 else ""
        yield Fault(f"the position ({x:g}, {y:g}) is off the pitch, which is 0..1 both ways{hint}", off)

    boxes = rows[:, BOX]
    x, y, width, height = boxes.T
    flat = (width <= 0) | (height <= 0)
    yield from _faults(rows, flat, BOX, f"{_BOX} has no area")
    outside = (x + width <= 0) | (y + height <= 0) | (x >= FULL_HD[1]) | (y >= FULL_HD[0])
    picture = f"the {FULL_HD[1]}x{FULL_HD[0]} picture"
    yield from _faults(rows, outside & ~flat, BOX, f"{_BOX} lies outside {picture}")
    seen = np.flatnonzero(np.isfinite(x))
    small = np.array(FULL_HD[::-1]) / 3
    centres = boxes[seen, :2] + boxes[seen, 2:] / 2  # a box may reach out of the picture
    beyond = centres > small
    if len(seen) >= _MANY and beyond.any(axis=1).mean() < 0.01:
        scale = "x * {:g}, y * {:.6f}".format(*np.divide(FULL_HD, MODEL_SIZE)[::-1])
        video = "in pixels of the {}x{} video? {}".format(*MODEL_SIZE[::-1], scale)
        yield Fault(f"no box reaches beyond {small[0]:g}x{small[1]:g}: {video}", seen)

    frames = np.unique(rows[:, Tactical.FRAME])
    skips = np.flatnonzero(np.isin(np.diff(frames), (2, 3)))  # a longer gap may be meant: highlights
    if len(frames) >= _MANY and len(skips) > len(frames) / 100:
        before = frames[skips[0]]
        reason = f"no row for frame {before + 1:.0f}, and so {len(skips):,} times: every frame has some"
        yield Fault(reason, np.flatnonzero(rows[:, Tactical.FRAME] == before)[-1:])
