"""Events on one line of time: which are near each other, and which only repeat another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from footpass.events import halves_of
from footpass.schema import N_CLASSES

SAME_PLAYER, TEAM_MATE, OPPONENT = range(3)
RELATIONS = ("same", "mate", "opponent")
_FAR = 10_000  # frames between halves on one time line


@dataclass(frozen=True)
class Timeline:
    """Events of all halves as ``(N,)`` integers on one time line, halves too far apart to meet."""

    half: np.ndarray
    place: np.ndarray  # frame on the common line
    player: np.ndarray  # unique per half
    team: np.ndarray
    cls: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame, halves: Sequence[str] | None = None) -> "Timeline":
        """The rows of a table; several tables share a line if they are given the same halves."""
        number = {half: i for i, half in enumerate(halves or halves_of(table))}
        codes = np.array([number[half] for half in halves_of(table)] or [0], dtype=np.int64)
        half = codes[table["half"].cat.codes]
        team = table["team"].to_numpy()
        player = (half * 10 + team) * 10_000 + table["jersey"].to_numpy() + 1
        place = half * (2**31 + _FAR) + table["frame"].to_numpy()
        return cls(half, place, player, team, table["cls"].to_numpy())

    def relation(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Who j is to i: `SAME_PLAYER`, `TEAM_MATE` or `OPPONENT`."""
        same_team = self.team[i] == self.team[j]
        return np.where(self.player[i] == self.player[j], SAME_PLAYER, np.where(same_team, 1, 2))

    def step(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Row ``step`` further on for every row, clipped, and whether it is of the same half."""
        j = np.arange(len(self.half)) + step
        inside = (j >= 0) & (j < len(j))
        j = j.clip(0, max(len(j) - 1, 0))
        return j, inside & (self.half[j] == self.half)

    def neighbours(self, step: int, gaps: Sequence[int]) -> np.ndarray:
        """Counts ``(9, 9, 3, len(gaps) + 1)`` of rows, which are in the order of time.

        By class, and by class, relation (`RELATIONS`) and gap (bin of frames between the edges ``gaps``)
        of the row ``step`` further on.
        """
        j, same_half = self.step(step)
        gap = np.digitize(np.abs(self.place[j] - self.place), gaps)
        cell = (self.cls, self.cls[j], self.relation(np.arange(len(j)), j), gap)
        counts = np.zeros((N_CLASSES, N_CLASSES, len(RELATIONS), len(gaps) + 1))
        np.add.at(counts, tuple(part[same_half] for part in cell), 1)
        return counts


def pairs_within(a: np.ndarray, b: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """All ``(i, j)`` with ``|a[i] - b[j]| <= reach``, sorted by i; ``b`` is sorted."""
    first, count = np.searchsorted(b, a - reach, side="left"), np.zeros(len(a), dtype=np.int64)
    some = np.flatnonzero(first < len(b))
    some = some[b[first[some]] <= a[some] + reach]  # the others have none: no second search for them
    count[some] = np.searchsorted(b, a[some] + reach, side="right") - first[some]
    i = np.repeat(np.arange(len(a)), count)
    return i, np.repeat(first - np.cumsum(count) + count, count) + np.arange(len(i))


def suppress(
    groups: Sequence[np.ndarray], frame: np.ndarray, score: np.ndarray, window: int
) -> np.ndarray:
    """Non-maximum suppression, bool ``(N,)``: of events near each other the best stays, or the first.

    Greedy: an event is dropped only if a better one that is itself kept lies within ``window`` frames.
    Events meet only where all ``groups``, ``(N,)`` each, are equal.
    """
    n = len(frame)
    order = np.lexsort((frame, *groups))
    fresh = np.zeros(n, dtype=bool)
    for key in groups:
        values = key[order]
        fresh[1:] |= values[1:] != values[:-1]
    place = np.cumsum(fresh) * (np.ptp(frame) + window + 1 if n else 0) + frame[order]
    count = np.searchsorted(place, place + window, side="right") - np.arange(n) - 1
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
    return kept
