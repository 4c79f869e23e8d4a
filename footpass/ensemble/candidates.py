"""Candidates for re-scoring: the union of several models' events, and what speaks for each.

A *candidate* is one player doing one thing at one moment, seen by one model or more. Tables of
candidates are event tables sorted by half and frame with a column ``score_0, score_1, ...`` per model,
0 where that model has no such event.
"""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from footpass.events import concat, halves_of
from footpass.files import DataError
from footpass.metrics import match_events

log = logging.getLogger(__name__)


def merge(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Union of models' events; one of the same player and class within the tolerance is one candidate.

    The frame is that of the first model that has it. A half that a model lacks is left to the others.
    """
    if not tables:
        raise DataError("no predictions to merge")
    names = score_columns(len(tables))
    keys = ["half", "frame", "team", "jersey", "cls"]
    union = concat([table[keys].iloc[:0] for table in tables]).assign(**dict.fromkeys(names, 0.0))
    for name, table in zip(names, tables, strict=True):
        seen = match_events(table, union)
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


def rate(table: pd.DataFrame) -> float:
    """Events a half."""
    return len(table) / max(1, len(halves_of(table)))


def check_order(
    tables: Sequence[pd.DataFrame],
    made_by: Sequence[str],
    rates: Sequence[float],
    fitted_by: Sequence[str],
) -> None:
    """Prediction files that are swapped are refused, and those of other models than in fitting named.

    Where files do not say what made them (``made_by``, ``fitted_by`` are empty), they are taken for
    swapped if their numbers of events, which tell a detector from a sequence model, fit those of another
    order of the fitted ``rates`` e times better.
    """
    swapped = False
    if all([*made_by, *fitted_by]) and len(made_by) == len(fitted_by):
        swapped = list(made_by) != list(fitted_by) and sorted(made_by) == sorted(fitted_by)
        if not swapped and list(made_by) != list(fitted_by):
            log.warning("fitted on events of %s, given those of %s", fitted_by, made_by)
    elif len(tables) == len(rates):
        given, known = np.log1p([rate(table) for table in tables]), np.log1p(rates)
        best = np.abs(np.sort(given) - np.sort(known)).sum()  # of all orders
        swapped = np.abs(given - known).sum() - best > 1
    if swapped:
        raise DataError("--predictions in another order than the re-scoring was fitted in")
