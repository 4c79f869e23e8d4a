"""Evidence: how strongly, and exactly when, something supports that a player did something.

Two things can support a model's events: the logits of a model on pixels, and another model's events.
Both answer the same question, so post-processing does not care which it is given.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from footpass.data.halves import HalfMatch
from footpass.data.hdf5 import names_in
from footpass.data.logits import read_logits
from footpass.events import halves_of, select_halves
from footpass.files import DataError
from footpass.schema import N_CLASSES, N_ROLES, N_SLOTS, N_TEAMS, RANGES, State
from footpass.timeline import pairs_within


class Near(NamedTuple):
    """Evidence near events: flat arrays, sorted by ``event``, which numbers the rows of the query."""

    event: np.ndarray
    jersey: np.ndarray
    frame: np.ndarray
    strength: np.ndarray  # 0..1


_NO_LINEUP = "logits without tactical data, which say who is in a slot: of another split?"
NOTHING = Near(*(np.zeros(0, dtype) for dtype in (np.int64, np.int64, np.int64, np.float64)))


class Evidence(ABC):
    """How strongly, and exactly when, something supports that a player did something."""

    @property
    @abstractmethod
    def halves(self) -> tuple[str, ...]:
        """The halves that are covered."""

    @abstractmethod
    def near(self, events: pd.DataFrame, window: int, own: bool = False) -> Near:
        """All evidence, within ``window`` frames, that some player of an event's team did its class.

        With ``own``, that of the event's own player only, which is less work.
        """

    @abstractmethod
    def select(self, halves: Iterable[str]) -> "Evidence":
        """The evidence of some halves."""

    def known(self, events: pd.DataFrame, window: int) -> np.ndarray:
        """Bool ``(N,)``: whether it could tell of events, in the halves that are covered."""
        covered = np.array([half in self.halves for half in halves_of(events)], dtype=bool)
        return covered[events["half"].cat.codes]

    def peak(self, events: pd.DataFrame, window: int) -> tuple[np.ndarray, np.ndarray]:
        """Strength (0..1) and frame of the strongest evidence for each event's own player and class.

        Both are ``(N,)``; ``window`` is in frames, inclusive. Of equal peaks it is the nearest, then the
        earlier. With no evidence the strength is 0 and the frame the event's own; where nothing can be
        `known`, which is not evidence of absence, the strength is NaN.
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
        near = self.near(events, window, own)
        jersey, frame = (events[name].to_numpy(copy=True) for name in ("jersey", "frame"))
        near = Near(*(values[(near.jersey == jersey[near.event]) == own] for values in near))
        strength = np.zeros(len(events))
        alone = np.setdiff1d(np.arange(len(events)), near.event)  # nothing speaks for these
        strength[alone[~self.known(events.iloc[alone], window)]] = np.nan
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

    def __post_init__(self) -> None:
        if "score" not in self.table:
            raise DataError("evidence is made of predictions: the table has no score")

    @property
    def halves(self) -> tuple[str, ...]:
        return tuple(halves_of(self.table))

    def select(self, halves: Iterable[str]) -> "EventEvidence":
        return EventEvidence(select_halves(self.table, halves))

    def near(self, events: pd.DataFrame, window: int, own: bool = False) -> Near:
        if not len(events) or not len(self.table):
            return NOTHING
        place, (order, places) = self._place(events), self._sorted
        event, near = pairs_within(place, places, window)
        rows = order[near]
        if own:
            mine = self.table["jersey"].to_numpy()[rows] == events["jersey"].to_numpy()[event]
            event, rows = event[mine], rows[mine]
        return Near(event, *(self.table[name].to_numpy()[rows] for name in ("jersey", "frame", "score")))

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        place = self._place(self.table)
        order = np.argsort(place, kind="stable")
        return order, place[order]

    def _place(self, table: pd.DataFrame) -> np.ndarray:
        """One integer per (half, team, class, frame); frames of different groups are far apart."""
        code = {half: number for number, half in enumerate(self.halves)}
        codes = np.array([code.get(name, -1) for name in halves_of(table)], dtype=np.int64)
        team, cls, frame = table[["team", "cls", "frame"]].to_numpy().T
        half = codes[table["half"].cat.codes]
        return ((half * N_TEAMS + team) * N_CLASSES + cls) * 2**32 + frame


@dataclass(frozen=True)
class LogitEvidence(Evidence):
    """A model's logits as evidence: the class's probability in the slot that the player is in.

    Who is on the pitch but has no box within the window of an event may have done it or not: pixels do
    not tell. So nothing is known of them, even where the logits are those of a graph model, which speaks
    of them too (listening to it lowered macro F1 by 0.03 on the study's val matches, which are therefore
    a little in its favour).

    Attributes
    ----------
    logits
        ``(9, 26, T)`` per half, on the frames of its line-up.
    lineups
        Who is in which slot. Players change slots and are substituted, so every frame is looked up.
    unseen
        Whether a player of whom nothing is seen is taken to have done nothing.
    """

    logits: Mapping[str, np.ndarray]
    lineups: Mapping[str, HalfMatch]
    unseen: bool = False

    def __post_init__(self) -> None:
        for half, volume in self.logits.items():
            if half not in self.lineups:
                raise DataError(_NO_LINEUP, half=half)
            expected = (N_CLASSES, N_SLOTS, self.lineups[half].n_frames)
            if volume.shape != expected:
                raise DataError(f"logits of shape {volume.shape} instead of {expected}", half=half)

    @property
    def halves(self) -> tuple[str, ...]:
        return tuple(self.logits)

    def select(self, halves: Iterable[str]) -> "LogitEvidence":
        logits = {half: self.logits[half] for half in halves}
        lineups = {half: replace(self.lineups[half], labels=None) for half in logits}
        return replace(self, logits=logits, lineups=lineups)

    def near(self, events: pd.DataFrame, window: int, own: bool = False) -> Near:
        parts = [NOTHING]
        for half, rows, asked in self._by_half(events):
            frames, slots, jersey, present, visible = self._around(half, asked, window)
            known = present & visible
            if own:
                known &= jersey == asked["jersey"].to_numpy()[:, None, None]
            event, step, role = np.nonzero(known)
            frame, slot = frames[event, step], slots[event, role]
            x = self.logits[half][:, slot, frame - self.lineups[half].first_frame].astype(np.float32)
            p = np.exp(x - x.max(axis=0))  # (9, K), in half the time of SciPy's softmax
            strength = p[asked["cls"].to_numpy()[event], np.arange(len(event))] / p.sum(axis=0)
            parts.append(Near(rows[event], jersey[event, step, role], frame, strength))
        near = Near(*map(np.concatenate, zip(*parts, strict=True)))
        order = np.argsort(near.event, kind="stable")
        return Near(*(values[order] for values in near))

    def known(self, events: pd.DataFrame, window: int) -> np.ndarray:
        known = super().known(events, window)
        if self.unseen:
            return known
        for half, rows, asked in self._by_half(events):
            _, _, jersey, present, visible = self._around(half, asked, window)
            own = present & (jersey == asked["jersey"].to_numpy()[:, None, None])
            absent = ~own.any(axis=(1, 2)) & (asked["jersey"].to_numpy() >= 0)  # whose number is known
            known[rows] = (own & visible).any(axis=(1, 2)) | absent
        return known

    def _by_half(self, events: pd.DataFrame) -> Iterator[tuple[str, np.ndarray, pd.DataFrame]]:
        """Covered halves with events: which rows these are, and they."""
        rows_of = events.groupby("half", observed=True).indices
        for half in self.halves:
            if half in rows_of:
                yield half, rows_of[half], events.iloc[rows_of[half]]

    def _around(self, half: str, asked: pd.DataFrame, window: int) -> tuple[np.ndarray, ...]:
        """Frames ``(N, W)`` around events of a half, and the slots ``(N, 13)`` of their teams.

        And ``(N, W, 13)`` jerseys in these slots at these frames, who is on the pitch, who has a box.
        """
        lineup = self.lineups[half]
        frames = asked["frame"].to_numpy()[:, None] + np.arange(-window, window + 1)
        inside = (frames >= lineup.first_frame) & (frames < lineup.end_frame)
        index = np.where(inside, frames - lineup.first_frame, 0)
        slots = N_ROLES * asked["team"].to_numpy()[:, None] + np.arange(N_ROLES)
        place = slots[:, None], index[..., None]
        jersey = lineup.jersey_at(slots[:, None], frames[..., None])  # as events get theirs
        visible = lineup.state[State.VISIBLE][place] > 0
        taken = visible | np.isfinite(lineup.state[State.X][place])
        return frames, slots, jersey, taken & (jersey >= 0) & inside[..., None], visible


class Remembered(Evidence):
    """Evidence that a search asks about the same events again and again: each is looked up once.

    What is selected from it shares what it remembers, so the folds of a cross-fit, which have most of
    their matches in common, look an event up once.
    """

    def __init__(self, source: Evidence) -> None:
        self.source = source
        self._numbers = {half: number for number, half in enumerate(source.halves, start=1)}
        # By window and `own`: the events, sorted, and what was found for them.
        self._found: dict[tuple[int, bool], tuple[np.ndarray, ...]] = {}

    @property
    def halves(self) -> tuple[str, ...]:
        return self.source.halves

    def select(self, halves: Iterable[str]) -> "Remembered":
        part = copy.copy(self)
        part.source = self.source.select(halves)
        return part

    def near(self, events: pd.DataFrame, window: int, own: bool = False) -> Near:
        return self.source.near(events, window, own)

    def known(self, events: pd.DataFrame, window: int) -> np.ndarray:
        return self.source.known(events, window)

    def _strongest(self, events: pd.DataFrame, window: int, own: bool) -> tuple[np.ndarray, ...]:
        asked = self._names(events)
        found = self._found.get((window, own), (np.zeros(0, np.int64),) * 4)
        unknown = np.flatnonzero(~np.isin(asked, found[0]))
        if len(unknown):
            names, first = np.unique(asked[unknown], return_index=True)
            answers = self.source._strongest(events.iloc[unknown[first]], window, own)
            both = [np.concatenate(parts) for parts in zip(found, (names, *answers), strict=True)]
            order = np.argsort(both[0])
            found = self._found[window, own] = tuple(values[order] for values in both)
        at = np.searchsorted(found[0], asked)
        return tuple(values[at] for values in found[1:])

    def _names(self, events: pd.DataFrame) -> np.ndarray:
        """``(N,)`` int64: equal for events of which the same is known; 0 for the half of what is not."""
        covered = set(self.halves)
        codes = [self._numbers[half] if half in covered else 0 for half in halves_of(events)]
        name = np.array(codes, dtype=np.int64)[events["half"].cat.codes]
        for column in ("team", "cls", "jersey", "frame"):
            low, high = RANGES[column]
            name = name * (high - low + 1) + events[column].to_numpy() - low
        return name


def load_logits(path: str | Path, lineups: Mapping[str, HalfMatch]) -> LogitEvidence:
    """Evidence from the halves of a logit store, which must all have a line-up.

    It is read whole, some 30 MB a half: fitting asks hundreds of times, and the file is compressed.
    """
    names = names_in(path)
    for name in names:
        if name not in lineups:
            raise DataError(_NO_LINEUP, path, name)
    return LogitEvidence({name: read_logits(path, lineups[name]) for name in names}, lineups)


def as_evidence(source: pd.DataFrame | Evidence) -> Evidence:
    """A prediction table as evidence; evidence as it is."""
    return EventEvidence(source) if isinstance(source, pd.DataFrame) else source
