"""Halves: the rows of the tactical data as dense arrays."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from footpass.data.mending import Fault, mend
from footpass.data.provenance import REAL, Provenance
from footpass.files import DataError
from footpass.schema import FPS, FULL_HD, MODEL_SIZE, N_ROLES, N_SLOTS, PITCH, State, Tactical, slot

# Frames by which a half, its video and its logits may differ at the end; if more, they do not belong
# together.
SLACK = 3 * FPS


@dataclass(frozen=True, eq=False)
class HalfMatch:
    """One half as arrays over the 26 slots and all frames from its first to its last.

    The arrays of a prepared half are read-only views of files: a window reads its own pages only.
    """

    name: str  # as in the files, for example game_18_H1
    first_frame: int  # of index 0 of T, absolute in the match's video
    # float32 (5, 26, T), components as in `State`. Where a slot has nobody, the first four are NaN.
    state: np.ndarray
    # float32 (26, T, 4), x1, y1, x2, y2 in pixels of `MODEL_SIZE`, as the models pool them; not clipped
    # to the picture, NaN where the player is not visible.
    boxes: np.ndarray
    jersey: np.ndarray  # int16 (26, T), -1 where unknown
    labels: np.ndarray | None  # int8 (26, T), the `Action` whose anchor it is; None: challenge
    provenance: Provenance = REAL

    @property
    def n_frames(self) -> int:
        """T."""
        return self.jersey.shape[1]

    @property
    def end_frame(self) -> int:
        """One more than the last frame."""
        return self.first_frame + self.n_frames

    def window(self, start: int, stop: int) -> "HalfMatch":
        """The frames ``start`` to ``stop - 1``, absolute like ``first_frame``; shares the arrays."""
        if not self.first_frame <= start <= stop <= self.end_frame:
            known = f"its frames are {self.first_frame}..{self.end_frame - 1}"
            raise DataError(f"no window {start}..{stop - 1}: {known}", half=self.name)
        part = slice(start - self.first_frame, stop - self.first_frame)
        return replace(
            self,
            first_frame=start,
            state=self.state[:, :, part],
            boxes=self.boxes[:, part],
            jersey=self.jersey[:, part],
            labels=None if self.labels is None else self.labels[:, part],
        )

    def jersey_at(self, slots: int | np.ndarray, frames: int | np.ndarray) -> np.ndarray:
        """Jersey in a slot at an absolute frame: the nearest known before it, else after it.

        Takes arrays that broadcast against each other; -1 where the slot never has a known jersey.
        """
        slots, frames = np.broadcast_arrays(slots, frames)
        found = np.full(slots.shape, -1, np.int16)
        for one in np.unique(slots):
            jerseys = np.ascontiguousarray(self.jersey[one])
            known = np.flatnonzero(jerseys >= 0)
            if len(known):
                asked = slots == one
                before = np.searchsorted(known, frames[asked] - self.first_frame, side="right") - 1
                found[asked] = jerseys[known[np.maximum(before, 0)]]
        return found


def events_of(half: HalfMatch) -> pd.DataFrame:
    """Event table of a half's labels, the same as its play-by-play ground truth."""
    if half.labels is None:
        raise DataError("a challenge half has no labels", half=half.name)
    at, slots = np.nonzero(half.labels.T)
    visible = half.state[State.VISIBLE].T[at] > 0  # (events, 26)
    jersey = half.jersey.T[at, slots]
    seen = {"box_visible": visible[np.arange(len(at)), slots], "replay": ~visible.any(axis=1)}
    return event_table(half, at, slots, jersey, half.labels.T[at, slots], **seen)


def event_table(
    half: HalfMatch,
    at: np.ndarray,
    slots: np.ndarray,
    jersey: np.ndarray,
    cls: np.ndarray,
    **columns: np.ndarray,
) -> pd.DataFrame:
    """Event table of a half; ``at`` counts frames from its first, all arrays are ``(N,)``."""
    return pd.DataFrame(
        {
            "half": pd.Categorical.from_codes(np.zeros(len(at), int), categories=[half.name]),
            "frame": at + half.first_frame,
            "team": slots // N_ROLES,
            "jersey": jersey.astype(np.int64),
            "cls": cls.astype(np.int64),
            **columns,
        }
    )


def dense(rows: np.ndarray, name: str, where: str | Path = "rows") -> HalfMatch:
    """Arrays of a half's rows, ``(N, 14)`` or ``(N, 13)``, in any order; odd ones are read as in `mend`.

    ``where`` is named in errors.
    """
    cells, first, _ = _cells(rows, name, where)
    return _half(name, first, cells, labelled=rows.shape[1] > Tactical.LABEL)


# What a slot holds at a frame. One record of 40 bytes in time-major order: a window of a half is a
# single stretch of its file, and a half is one open file.
_CELL = np.dtype(
    [("state", "<f4", len(State)), ("boxes", "<f4", 4), ("jersey", "<i2"), ("label", "i1")], align=True
)

_NOBODY = np.array(([np.nan] * 4 + [0], [np.nan] * 4, -1, 0), _CELL)


def _cells(rows: np.ndarray, name: str, where: str | Path) -> tuple[np.ndarray, int, list[Fault]]:
    """Records ``(T, 26)`` of a half's rows, its first frame, and what was mended."""
    mended = mend(rows)
    if not len(mended.rows):
        fault = mended.faults[0] if mended.faults else "there are none"
        raise DataError(f"no row has a place: {fault}", where, name)
    rows = mended.rows
    frames = rows[:, Tactical.FRAME].astype(np.int64)
    slots = slot(rows[:, Tactical.TEAM].astype(np.int64), rows[:, Tactical.ROLE].astype(np.int64))
    first = int(frames.min())
    cells = np.full((int(frames.max()) - first + 1, N_SLOTS), _NOBODY)
    at = frames - first, slots
    corner = rows[:, Tactical.BOX_X : Tactical.BOX_Y + 1]
    size = rows[:, Tactical.BOX_WIDTH : Tactical.BOX_HEIGHT + 1]
    scale = np.divide(MODEL_SIZE, FULL_HD)[::-1]  # x, y
    boxes = np.hstack([corner * scale, (corner + size) * scale])  # x1, y1, x2, y2
    cells["boxes"][at] = boxes
    cells["state"][..., : State.VISIBLE][at] = rows[:, Tactical.X : Tactical.VY + 1]
    cells["state"][..., State.VISIBLE][at] = np.isfinite(boxes).all(axis=1)
    cells["jersey"][at] = np.nan_to_num(rows[:, Tactical.JERSEY], nan=-1)
    if rows.shape[1] > Tactical.LABEL:
        cells["label"][at] = rows[:, Tactical.LABEL]
    _estimate_speeds(cells)
    return cells, first, mended.faults


def _estimate_speeds(cells: np.ndarray) -> None:
    """Give a speed to who has only a position: from where he is a frame before and after."""
    place, speed = cells["state"][..., : State.VX], cells["state"][..., State.VX : State.VISIBLE]
    at, who = np.nonzero(np.isfinite(place).all(axis=-1) & np.isnan(speed).any(axis=-1))

    def neighbour(step: int) -> np.ndarray:
        other = np.clip(at + step, 0, len(cells) - 1)
        same = cells["jersey"][other, who] == cells["jersey"][at, who]
        return np.where(same & np.isfinite(place[other, who]).all(axis=-1), other, at)

    before, after = neighbour(-1), neighbour(1)
    moved = (place[after, who] - place[before, who]) * np.asarray(PITCH, np.float32)
    speed[at, who] = moved * FPS / np.maximum(after - before, 1)[:, None]


def _half(
    name: str, first: int, cells: np.ndarray, labelled: bool, provenance: Provenance = REAL
) -> HalfMatch:
    return HalfMatch(
        name,
        first,
        state=cells["state"].transpose(2, 1, 0),  # (5, 26, T)
        boxes=cells["boxes"].transpose(1, 0, 2),  # (26, T, 4)
        jersey=cells["jersey"].T,  # (26, T)
        labels=cells["label"].T if labelled else None,  # (26, T)
        provenance=provenance,
    )
