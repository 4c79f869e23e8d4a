"""Rates of a detector's errors, as they are applied: how detections.json was made."""

import numpy as np
import pandas as pd

from footpass.metrics import match_events
from footpass.schema import ACTIONS, TOLERANCE
from footpass.simulate.detections import Detector

QUANTILES = np.linspace(0, 1, 11)
OUTCOMES = ("hit", "wrong class", "wrong player", "missed")


def measure(predictions: pd.DataFrame, truth: pd.DataFrame) -> Detector:
    """Reduce a model's predictions to the rates of its errors.

    Each prediction is explained by the first that fits: the event itself; the same player's event of
    another class; a team-mate's event of this class; nothing.
    """
    n = len(ACTIONS)
    outcome, explains = np.full(len(truth), 3), np.full(len(predictions), -1)
    for kind, ignored in enumerate(({}, {"cls": 1}, {"jersey": 0})):
        free, left = np.flatnonzero(outcome == 3), np.flatnonzero(explains < 0)
        taken = match_events(
            predictions.iloc[left].assign(**ignored), truth.iloc[free].assign(**ignored), TOLERANCE
        )
        explains[left[taken >= 0]] = free[taken[taken >= 0]]
        outcome[free[taken[taken >= 0]]] = kind
    cls, said = truth["cls"].to_numpy() - 1, predictions["cls"].to_numpy() - 1
    known = explains >= 0
    right = known & (outcome[explains] == 0)
    confused = known & (outcome[explains] == 1)

    rates = np.zeros((2, n, len(OUTCOMES)))
    np.add.at(rates, (truth["box_visible"].to_numpy(dtype=int), cls, outcome), 1)
    confusion = np.zeros((n, n))
    np.add.at(confusion, (cls[explains[confused]], said[confused]), 1)
    offset = predictions["frame"].to_numpy()[known] - truth["frame"].to_numpy()[explains[known]]
    score = predictions["score"].to_numpy()
    scores = [
        [
            np.quantile(score[part & (said == c)] if (part & (said == c)).any() else score, QUANTILES)
            for c in range(n)
        ]
        for part in (~right, right)
    ]
    return Detector(
        outcome=_rounded(_normal(rates)[..., :3]),
        confusion=_rounded(_normal(confusion)),
        false_alarms=_rounded(np.bincount(said[~known], minlength=n) / max(len(truth), 1)),
        jitter=_rounded(np.quantile(offset, QUANTILES) if known.any() else 0 * QUANTILES),
        score=_rounded(np.array(scores)),
    )


def _normal(counts: np.ndarray) -> np.ndarray:
    return counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)


def _rounded(values: np.ndarray) -> list:
    return np.round(values, 4).tolist()
