"""The lowest score of each class that is worth keeping."""

import numpy as np
import pandas as pd

from footpass.metrics import evaluate
from footpass.schema import ACTIONS


def fit_thresholds(table: pd.DataFrame, truth: pd.DataFrame) -> tuple[float, ...]:
    """The threshold of each class, ``(8,)``, with the best F1; to be called through `cross_fit` only.

    Predictions are matched in order of falling score, so dropping the lowest leaves the other matches as
    they are: one evaluation serves all thresholds. Of equals it is the lowest.
    """
    result, best = evaluate(table, truth), []
    for action in ACTIONS:
        rows = result.predictions[result.predictions["cls"] == action].sort_values("score")
        score, hit = rows["score"].to_numpy(), rows["truth"].to_numpy() >= 0
        true = int((result.truth["cls"] == action).sum())
        kept, found = np.arange(len(rows), 0, -1), hit[::-1].cumsum()[::-1]  # from each row on
        f1 = 2 * found / (kept + true)
        first = np.r_[True, score[1:] > score[:-1]]  # equal scores stay or go together
        best.append(float(score[np.where(first, f1, -1.0).argmax()]) if len(rows) else 0.0)
    return tuple(best)


def apply_thresholds(table: pd.DataFrame, thresholds: tuple[float, ...]) -> pd.DataFrame:
    """The events with at least the score of their class."""
    lowest = np.array(thresholds)[table["cls"].to_numpy() - ACTIONS[0]]
    return table[table["score"] >= lowest].reset_index(drop=True)
