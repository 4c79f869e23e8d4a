"""What is known of a candidate: its neighbours, their classes and gaps, its own models."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import pandas as pd

from footpass.ensemble.candidates import score_columns, scores_of
from footpass.schema import ACTIONS, N_CLASSES
from footpass.timeline import RELATIONS, SAME_PLAYER, TEAM_MATE, Timeline, pairs_within

NEAR = 25  # frames: what belongs to the same moment
FADE = 10  # frames in which the weight of a neighbour falls by e
CHAIN = 14  # candidates that are looked at before and after in the chain of possession
CHAIN_BREAK = 800  # frames without an event that end a chain
GAPS = (4, 8, 14, 22, 35, 60, 100, 200)  # frames: edges between the bins of gaps
SURE = 0.4  # probability from which a candidate counts as an event of its player
PRIOR = 20.0  # events
RATIOS_SHAPE = (2, N_CLASSES, N_CLASSES, len(RELATIONS), len(GAPS) + 1)


def transitions(truth: pd.DataFrame) -> np.ndarray:
    """How much more often than by chance an event of one class has a neighbour of a kind.

    ``(2, 9, 9, 3, 9)``: for the event before and after; class of the event; class, relation
    (`RELATIONS`) and gap (bins of `GAPS`) of that neighbour: P(neighbour | class) / P(neighbour), the
    exponential of their pointwise mutual information, shrunk by `PRIOR` events.
    """
    ordered = truth.sort_values(["half", "frame"], kind="stable")
    line, ratios = Timeline.of(ordered), []
    for step in (-1, 1):
        counts = line.neighbours(step, GAPS)
        chance = (counts.sum(axis=0) + 1) / (counts.sum() + counts[0].size)
        given = (counts + PRIOR * chance) / (counts.sum(axis=(1, 2, 3), keepdims=True) + PRIOR)
        ratios.append(given / chance)
    return np.stack(ratios)


@cache
def feature_names(models: int) -> list[str]:
    """Of the features of candidates of so many models."""
    columns = ("frame", "team", "jersey", "cls", *score_columns(models))
    none = pd.DataFrame({"half": pd.Categorical([])}).assign(**dict.fromkeys(columns, 0))
    return list(features(none, np.zeros((0, N_CLASSES)), np.ones(RATIOS_SHAPE)))


def features(candidates: pd.DataFrame, p: np.ndarray, ratios: np.ndarray) -> pd.DataFrame:
    """What speaks for and against every candidate of `merge`: float32 columns.

    ``p``, ``(N, 9)``, is the probability of every class for every candidate, as far as it is known by
    now; the chain of possession before and after is that of the candidates that are likely. ``ratios``
    are those of `transitions`.
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
            valid &= (apart < CHAIN_BREAK) & ~((relation == SAME_PLAYER) & (apart <= 3))
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
