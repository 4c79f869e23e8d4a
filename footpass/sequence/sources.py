"""Halves to cut windows from: recorded ones with logits, or detections that stand for logits."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd

from footpass.data.halves import HalfMatch
from footpass.data.provenance import REAL, Provenance
from footpass.events import halves_of
from footpass.files import DataError
from footpass.schema import N_CLASSES, N_ROLES, N_SLOTS, N_TEAMS, Mirror, State, slot


class Excerpt(NamedTuple):
    """Some frames of a half; the second but last axis of every array is the slot."""

    state: np.ndarray  # float32 (5, 26, T) as in `HalfMatch`
    logits: tuple[np.ndarray, ...]  # (9, 26, T) each
    labels: np.ndarray | None  # int8 (26, T); None where they are not known


class Source(Protocol):
    """A half to cut windows from."""

    name: str
    first_frame: int
    end_frame: int
    provenance: Provenance  # of its data, and of what made its logits in their order

    def cut(self, start: int, stop: int) -> Excerpt:
        """The frames ``start`` to ``stop - 1``, absolute."""

    def jersey_at(self, slots: int | np.ndarray, frames: int | np.ndarray) -> np.ndarray:
        """As `HalfMatch.jersey_at`."""


def mirrored(excerpt: Excerpt, mirror: Mirror) -> Excerpt:
    """The same play on the mirrored pitch: positions, velocities, teams and roles change together."""
    return with_slots(excerpt, mirror.slots)._replace(state=mirror.state(excerpt.state))


def with_slots(excerpt: Excerpt, slots: Sequence[int] | np.ndarray) -> Excerpt:
    """The slots in another order: slot i becomes what slot ``slots[i]`` was."""
    order = np.asarray(slots)
    return Excerpt(
        excerpt.state[:, order],
        tuple(volume[:, order] for volume in excerpt.logits),
        None if excerpt.labels is None else excerpt.labels[order],
    )


class Recorded:
    """A tactical half with the logits, ``(9, 26, T)`` each, of up to four models.

    ``models`` say what made each of them, as far as it is known (`Provenance.models`).
    """

    def __init__(self, half: HalfMatch, *logits: np.ndarray, models: Sequence[str | None] = ()) -> None:
        self.half, self.logits = half, logits
        self.provenance = half.provenance.by(*(model or "unknown" for model in models))
        self.name, self.first_frame, self.end_frame = half.name, half.first_frame, half.end_frame
        for number, volume in enumerate(logits, 1):
            if volume.shape != (N_CLASSES, N_SLOTS, half.n_frames):
                raise DataError(
                    f"logit volume {number} of shape {volume.shape} instead of "
                    f"{(N_CLASSES, N_SLOTS, half.n_frames)}: made from other data? make it anew",
                    half=half.name,
                )

    def cut(self, start: int, stop: int) -> Excerpt:
        window = self.half.window(start, stop)
        part = slice(start - self.first_frame, stop - self.first_frame)
        logits = tuple(volume[..., part] for volume in self.logits)
        return Excerpt(window.state, logits, window.labels)

    def jersey_at(self, slots: int | np.ndarray, frames: int | np.ndarray) -> np.ndarray:
        return self.half.jersey_at(slots, frames)


# A class that nobody detects has logit 0; one detected with a score of `QUIET` has too, but the released
# files have none as low. Peaks are `LOUD` times as high as their logits, since they are alone: the layer
# that reads them starts with weights for hundreds of inputs that differ from 0.
QUIET, LOUD = 0.1, 5.0


class Detected:
    """A half of which only detections are known: each is a peak of one frame in a volume of zeros.

    Each prediction table (`footpass.events`), of this half alone, is a logit volume; ground truth is
    there to learn from. A player has no role here. The slots of a team are filled in the order in which
    its players are first detected; a player who is detected no more makes room for a later one.
    """

    def __init__(
        self, name: str, detections: Sequence[pd.DataFrame], truth: pd.DataFrame | None = None
    ) -> None:
        self.name, self.provenance = name, REAL
        known = [*detections, *([] if truth is None else [truth])]
        frames = np.concatenate([table["frame"].to_numpy() for table in known] or [[]])
        if not len(frames):
            raise DataError("no detections and no events", half=name)
        self.first_frame, self.end_frame = int(frames.min()), int(frames.max()) + 1
        self.stints = _stints(pd.concat([table[["frame", "team", "jersey"]] for table in known]))
        self._peaks = [self._rows(table) for table in detections]
        self._events = None if truth is None else self._rows(truth)

    def _rows(self, table: pd.DataFrame) -> tuple[np.ndarray, ...]:
        """Frame, slot, class and logit, by frame."""
        table = table.sort_values("frame", kind="stable")
        place = self.stints.set_index(["team", "jersey"])["slot"]
        slots = place.loc[pd.MultiIndex.from_frame(table[["team", "jersey"]])].to_numpy()
        score = table["score"].to_numpy().clip(1e-4, 1 - 1e-4) if "score" in table else QUIET
        logit = LOUD * (np.log(score / (1 - score)) - np.log(QUIET / (1 - QUIET)))
        frame, cls = table["frame"].to_numpy(), table["cls"].to_numpy()
        return frame, slots, cls, np.broadcast_to(logit, len(table))

    def cut(self, start: int, stop: int) -> Excerpt:
        length = stop - start
        state = np.broadcast_to(np.float32(np.nan), (len(State), N_SLOTS, length))
        logits = []
        for rows in self._peaks:
            volume = np.zeros((N_CLASSES, N_SLOTS, length), np.float32)
            frame, slots, cls, logit = _between(rows, start, stop)
            np.maximum.at(volume, (cls, slots, frame - start), logit.astype(np.float32))
            logits.append(volume)
        labels = None
        if self._events is not None:
            labels = np.zeros((N_SLOTS, length), np.int8)
            frame, slots, cls, _ = _between(self._events, start, stop)
            labels[slots, frame - start] = cls
        return Excerpt(state, tuple(logits), labels)

    def jersey_at(self, slots: int | np.ndarray, frames: int | np.ndarray) -> np.ndarray:
        slots, frames = np.broadcast_arrays(slots, frames)
        found = np.full(slots.shape, -1, np.int16)
        for one, stints in self.stints.groupby("slot"):
            asked = slots == one
            begun = np.searchsorted(stints["start"].to_numpy(), frames[asked], side="right") - 1
            found[asked] = stints["jersey"].to_numpy()[np.maximum(begun, 0)]
        return found


def _between(rows: tuple[np.ndarray, ...], start: int, stop: int) -> tuple[np.ndarray, ...]:
    part = slice(*np.searchsorted(rows[0], (start, stop)))
    return tuple(column[part] for column in rows)


def _stints(seen: pd.DataFrame) -> pd.DataFrame:
    """Rows ``team, jersey, slot, start, stop`` of a half's players, by their first frame."""
    spans = seen.groupby(["team", "jersey"])["frame"].agg(["min", "max"]).reset_index()
    spans = spans.sort_values(["min", "team", "jersey"], ignore_index=True)
    free = np.full((N_TEAMS, N_ROLES), -1)  # last frame of whoever had the slot
    slots = []
    for row in spans.itertuples():
        role = int(free[row.team].argmin())
        free[row.team, role] = row.max
        slots.append(slot(row.team, role + 1))
    return spans.assign(slot=slots).rename(columns={"min": "start", "max": "stop"})


def detected(
    detections: Sequence[pd.DataFrame], truth: pd.DataFrame | None = None
) -> dict[str, Detected]:
    """Halves by name, from play-by-play alone: those of ``truth``, else of the first detections."""
    names = halves_of(detections[0] if truth is None else truth)
    for number, table in enumerate(detections, 1):
        missing = [name for name in names if name not in halves_of(table)]
        if missing:
            raise DataError(f"detections {number} have no half {', '.join(missing)}")
    tables = [dict(list(table.groupby("half", observed=False))) for table in detections]
    events = {} if truth is None else dict(list(truth.groupby("half", observed=False)))
    return {name: Detected(name, [table[name] for table in tables], events.get(name)) for name in names}
