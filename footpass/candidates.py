"""Candidates for re-scoring: the union of several models' events, and what speaks for each.

A *candidate* is one player doing one thing at one moment, seen by one model or more. Tables of
candidates are event tables sorted by half and frame with a column ``score_0, score_1, ...`` per model,
0 where that model has no such event.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from footpass.events import concat, halves_of, pairs_within
from footpass.files import DataError
from footpass.metrics import match_events
from footpass.schema import ACTIONS, N_CLASSES, TOLERANCE

NEAR = 25  # frames: what belongs to the same moment
FADE = 10  # frames in which the weight of a neighbour falls by e
CHAIN = 14  # candidates that are looked at before and after in the chain of possession
BREAK = 800  # frames without an event that end a chain
GAPS = (4, 8, 14, 22, 35, 60, 100, 200)  # frames: edges between the bins of gaps
SURE = 0.4  # probability from which a candidate counts as an event of its player
SAME_PLAYER, TEAM_MATE, OPPONENT = range(3)
RELATIONS = ("same", "mate", "opponent")
_FAR = 10_000  # frames between halves on one time line


@dataclass(frozen=True)
class Timeline:
    """Events of all halves as arrays on one time line, halves too far apart to meet.

    Attributes
    ----------
    half, place, player, team, cls
        ``(N,)`` integers; ``place`` is the frame on the common line, ``player`` is unique per half.
    """

    half: np.ndarray
    place: np.ndarray
    player: np.ndarray
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


def merge(tables: Sequence[pd.DataFrame], tolerance: int = TOLERANCE) -> pd.DataFrame:
    """Union of models' events; one of the same player and class within the tolerance is one candidate.

    The frame is that of the first model that has it. A half that a model lacks is left to the others.

    Returns
    -------
    pd.DataFrame
        ``half, frame, team, jersey, cls, score_0, ...``, sorted by half and frame.

    Raises
    ------
    DataError
        If there is no table.
    """
    if not tables:
        raise DataError("no predictions to merge")
    names = score_columns(len(tables))
    keys = ["half", "frame", "team", "jersey", "cls"]
    union = concat([table[keys].iloc[:0] for table in tables]).assign(**dict.fromkeys(names, 0.0))
    for name, table in zip(names, tables, strict=True):
        seen = match_events(table, union, tolerance)
        union.loc[seen[seen >= 0], name] = table["score"].to_numpy()[seen >= 0]
        new = table.loc[seen < 0, keys].assign(**dict.fromkeys(names, 0.0))
        new[name] = table["score"].to_numpy()[seen < 0]
        union = concat([union, new])
    return union.sort_values(["half", "frame"], kind="stable", ignore_index=True)


def delay_of(table: pd.DataFrame, truth: pd.DataFrame) -> int:
    """Frames by which a model's events come late: the median of those that are right, 0 of none."""
    taken = match_events(table, truth)
    hit = taken >= 0
    late = table["frame"].to_numpy()[hit] - truth["frame"].to_numpy()[taken[hit]]
    return int(np.rint(np.median(late))) if hit.any() else 0


def on_time(tables: Sequence[pd.DataFrame], delays: Sequence[int]) -> list[pd.DataFrame]:
    """The models' events without their delays."""
    return [
        table.assign(frame=(table["frame"] - delay).clip(lower=0))
        for table, delay in zip(tables, delays, strict=True)
    ]


def score_columns(models: int) -> list[str]:
    return [f"score_{m}" for m in range(models)]


def scores_of(candidates: pd.DataFrame) -> np.ndarray:
    """``(N, models)``: the models' scores."""
    return candidates.filter(regex=r"^score_\d+$").to_numpy()


def label(candidates: pd.DataFrame, truth: pd.DataFrame) -> np.ndarray:
    """True class of every candidate, 0 where nothing happens.

    Each true event goes to one candidate of its player within the metric's tolerance: to one of its own
    class first, then to one of another class.
    """
    strength = candidates.assign(score=scores_of(candidates).sum(axis=1))
    labels = np.zeros(len(candidates), dtype=np.int64)
    open_truth = np.ones(len(truth), dtype=bool)
    for ignored in ({}, {"cls": 1}):
        left, wanted = np.flatnonzero(labels == 0), np.flatnonzero(open_truth)
        taken = match_events(strength.iloc[left].assign(**ignored), truth.iloc[wanted].assign(**ignored))
        hit = taken >= 0
        labels[left[hit]] = truth["cls"].to_numpy()[wanted[taken[hit]]]
        open_truth[wanted[taken[hit]]] = False
    return labels


def transitions(truth: pd.DataFrame, prior: float = 20.0) -> np.ndarray:
    """How much more often than by chance an event of one class has a neighbour of a kind.

    Returns
    -------
    np.ndarray
        ``(2, 9, 9, 3, 9)``: for the event before and after; class of the event; class, relation
        (`RELATIONS`) and gap (bins of `GAPS`) of that neighbour: P(neighbour | class) / P(neighbour),
        the exponential of their pointwise mutual information, shrunk by ``prior`` events.
    """
    ordered = truth.sort_values(["half", "frame"], kind="stable")
    line, ratios = Timeline.of(ordered), []
    for step in (-1, 1):
        j, same_half = line.step(step)
        gap = np.digitize(np.abs(line.place[j] - line.place), GAPS)
        cell = (line.cls, line.cls[j], line.relation(np.arange(len(j)), j), gap)
        counts = np.zeros((N_CLASSES, N_CLASSES, len(RELATIONS), len(GAPS) + 1))
        np.add.at(counts, tuple(part[same_half] for part in cell), 1)
        chance = (counts.sum(axis=0) + 1) / (counts.sum() + counts[0].size)
        given = (counts + prior * chance) / (counts.sum(axis=(1, 2, 3), keepdims=True) + prior)
        ratios.append(given / chance)
    return np.stack(ratios)


def features(candidates: pd.DataFrame, p: np.ndarray, ratios: np.ndarray) -> pd.DataFrame:
    """What speaks for and against every candidate.

    Parameters
    ----------
    candidates
        As from `merge`.
    p
        ``(N, 9)``: probability of every class for every candidate, as far as it is known by now; the
        chain of possession before and after is that of the candidates that are likely.
    ratios
        As from `transitions`.

    Returns
    -------
    pd.DataFrame
        ``(N, ...)`` float32, named for what they are.
    """
    line, scores = Timeline.of(candidates), scores_of(candidates)
    columns = {"class": line.cls, **{f"score_{m}": scores[:, m] for m in range(scores.shape[1])}}
    for name, values in (
        *_moment(line, scores, p),
        *_chain(line, p, ratios),
        *_own_chain(line, p),
        *_clock(line),
    ):
        columns[name] = values
    return pd.DataFrame({name: values.astype(np.float32) for name, values in columns.items()})


def _moment(line: Timeline, scores: np.ndarray, p: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Who else does what around the same moment."""
    n, models = scores.shape
    i, j = pairs_within(line.place, line.place, NEAR)
    i, j = i[i != j], j[i != j]
    offset = line.place[j] - line.place[i]
    relation, weight = line.relation(i, j), np.exp(-np.abs(offset) / FADE)

    def strongest(cell: np.ndarray, values: np.ndarray, cells: int) -> np.ndarray:
        best = np.zeros(n * cells)
        np.maximum.at(best, i * cells + cell, values)
        return best.reshape(n, cells)

    kinds = [(r, action) for r in RELATIONS for action in ACTIONS]
    for m in range(models):
        best = strongest(relation * len(ACTIONS) + line.cls[j] - 1, scores[j, m] * weight, len(kinds))
        for (r, action), values in zip(kinds, best.T, strict=True):
            yield f"near_{m}_{r}_{action.label}", values
        rival = (line.cls[i] == line.cls[j]) & (relation == TEAM_MATE)
        yield f"rival_{m}", strongest(np.zeros_like(i), np.where(rival, scores[j, m], 0), 1)[:, 0]
        yield f"crowd_{m}", np.bincount(i, scores[j, m], minlength=n)
    yield "crowd", np.bincount(i, minlength=n)
    for action in ACTIONS:
        best = strongest(relation, p[j, action] * weight, len(RELATIONS))
        for r, values in zip(RELATIONS, best.T, strict=True):
            yield f"likely_{r}_{action.label}", values
    likely = 1 - p[j, 0]
    for name, within in (("before", offset < 0), ("after", offset > 0), ("now", np.abs(offset) <= 8)):
        cell = np.bincount(i * 3 + relation, likely * within, minlength=3 * n).reshape(n, 3)
        for r, values in zip(RELATIONS, cell.T, strict=True):
            yield f"mass_{name}_{r}", values


def _chain(line: Timeline, p: np.ndarray, ratios: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """What comes right before and after, when every candidate is an event only with some probability.

    The k-th candidate before is the previous event with its own probability times that of all nearer
    ones being none.
    """
    n, rows = len(p), np.arange(len(p))
    happens = 1 - p[:, 0]
    for side, (name, direction) in enumerate((("before", -1), ("after", 1))):
        open_ = np.ones(n)  # probability that the neighbour has not been met yet
        kind = np.zeros((n, N_CLASSES, len(RELATIONS)))
        gap, met, support = np.zeros(n), np.zeros(n), np.zeros((N_CLASSES, n))
        for step in range(1, CHAIN + 1):
            j, valid = line.step(direction * step)
            apart = np.abs(line.place[j] - line.place)
            relation = line.relation(rows, j)
            # The same player within 3 frames is another reading of the same moment.
            valid &= (apart < BREAK) & ~((relation == SAME_PLAYER) & (apart <= 3))
            weight = np.where(valid, open_ * happens[j], 0)
            open_ = np.where(valid, open_ * (1 - happens[j]), open_)
            kind[rows, line.cls[j], relation] += weight
            gap += weight * np.minimum(apart, 300)
            met += weight
            support += weight * ratios[side][:, line.cls[j], relation, np.digitize(apart, GAPS)]
        yield f"{name}_gap", gap / (met + 1e-3)
        yield f"{name}_met", met
        for action in ACTIONS:
            yield f"{name}_pmi_{action.label}", np.log((support[action] + 0.02) / (met + 0.02))
            for r, relation_name in enumerate(RELATIONS):
                yield f"{name}_{relation_name}_{action.label}", kind[:, action, r]


def _own_chain(line: Timeline, p: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The same player's previous and next likely event: how long ago, and of which class."""
    n = len(p)
    order = np.lexsort((line.place, line.player))
    sure = (1 - p[:, 0] > SURE)[order]
    index = np.arange(n)
    before = np.r_[-1, np.maximum.accumulate(np.where(sure, index, -1))[:-1]]
    after = np.r_[np.minimum.accumulate(np.where(sure, index, n)[::-1])[::-1][1:], n]
    for name, j in (("before", before[:n]), ("after", after[-n:] if n else after[:0])):
        known, at = (j >= 0) & (j < n), order[j.clip(0, max(n - 1, 0))]
        known &= line.player[at] == line.player[order]
        gap, kind = np.empty(n), np.empty(n)
        gap[order] = np.where(known, np.abs(line.place[at] - line.place[order]), 5000)
        kind[order] = np.where(known, line.cls[at], 0)
        yield f"own_{name}_gap", gap
        yield f"own_{name}_class", kind


def _clock(line: Timeline) -> Iterator[tuple[str, np.ndarray]]:
    """Frames since the half's first candidate and to its last."""
    first, last = np.diff(line.half, prepend=-1) != 0, np.diff(line.half, append=-1) != 0
    half = np.cumsum(first) - 1
    yield "since_start", line.place - line.place[first][half]
    yield "to_end", line.place[last][half] - line.place
