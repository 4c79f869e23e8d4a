"""Detections of models that do not exist: ground truth, perturbed the way real predictions are wrong.

Rates of errors are applied to any ground truth. Those of the two released baselines on the validation
matches come with the package (``detections.json``), so that post-processing can be tried out where the
release is not at hand. What is drawn here is a caricature: errors are independent in time and between
players.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from footpass.schema import ACTIONS

# Correlation between the models of how hard an event is: at 1, whatever one misses, a model of lower
# recall misses too.
_AGREEMENT = 0.6
FALSE_ALARM_SPREAD = 50  # frames around some event: nothing is detected where play has stopped
_RATES = Path(__file__).with_name("detections.json")


@dataclass(frozen=True)
class Detector:
    """How a model errs, in figures."""

    # (2, 8, 3): share of events without and with a box, by class, that are a hit, given to the wrong
    # class, given to the wrong player; the rest is missed.
    outcome: list
    confusion: list  # (8, 8): share of each predicted class among a true class's events of wrong class
    false_alarms: list  # (8,): predictions that belong to no event, per event of the truth
    jitter: list  # (11,): quantiles, in steps of a tenth, of predicted minus true frame
    score: list  # (2, 8, 11): quantiles of the score of false and true predictions, by predicted class


def released_detectors() -> dict[str, Detector]:
    """Rates of the released TAAD and DST predictions of the validation matches."""
    return {name: Detector(**rates) for name, rates in json.loads(_RATES.read_text()).items()}


def simulate_detections(
    truth: pd.DataFrame, detectors: Mapping[str, Detector], seed: int | Sequence[int]
) -> dict[str, pd.DataFrame]:
    """A prediction table by detector, sorted by half and frame: what each makes of the same matches.

    The order of the rows and the values depend on nothing but the arguments.
    """
    rng = np.random.default_rng(seed)
    hard = rng.standard_normal(len(truth))
    return {
        name: _simulate(truth, detector, rng, np.sqrt(_AGREEMENT) * hard, np.sqrt(1 - _AGREEMENT))
        for name, detector in detectors.items()
    }


def _simulate(
    truth: pd.DataFrame, detector: Detector, rng: np.random.Generator, shared: np.ndarray, own: float
) -> pd.DataFrame:
    from scipy.special import ndtr  # slow to import

    cls, box = truth["cls"].to_numpy() - 1, truth["box_visible"].to_numpy(dtype=int)
    bounds = np.cumsum(detector.outcome, axis=-1)[box, cls]  # (N, 3)
    luck = ndtr(shared + own * rng.standard_normal(len(truth)))
    outcome = (luck[:, None] > bounds).sum(axis=1)
    found = truth.loc[outcome < 3, ["half", "frame", "team", "jersey", "cls"]]
    outcome, cls = outcome[outcome < 3], cls[outcome < 3]

    cumulative = np.cumsum(detector.confusion, axis=-1)[cls]
    drawn = (rng.random(len(cls))[:, None] * cumulative[:, -1:] > cumulative).sum(axis=1)
    found["cls"] = 1 + np.where(outcome == 1, drawn, cls)
    found["jersey"] = np.where(outcome == 2, _team_mates(found, truth, rng), found["jersey"])
    found["frame"] += np.rint(_draw(np.array(detector.jitter)[None], rng, len(found))).astype(int)

    # False alarms: some player of the match, near some event.
    count = rng.poisson(np.array(detector.false_alarms) * len(truth))
    near = truth.iloc[rng.integers(len(truth), size=count.sum())] if len(truth) else truth
    alarms = near[["half", "frame", "team", "jersey"]].assign(cls=np.repeat(list(ACTIONS), count))
    alarms["jersey"] = _team_mates(alarms, truth, rng)
    alarms["frame"] += rng.integers(-FALSE_ALARM_SPREAD, FALSE_ALARM_SPREAD + 1, size=len(alarms))

    table = pd.concat([found, alarms])
    table["frame"] = table["frame"].clip(lower=0)
    right = np.r_[outcome == 0, np.zeros(len(alarms), dtype=bool)].astype(int)
    quantiles = np.array(detector.score)[right, table["cls"].to_numpy() - 1]  # (N, 11)
    table["score"] = _draw(quantiles, rng, len(table)).clip(0, 1)
    return table.sort_values(["half", "frame"], kind="stable", ignore_index=True)


def _draw(quantiles: np.ndarray, rng: np.random.Generator, n: int) -> np.ndarray:
    """One value for each of n rows of quantiles ``(n or 1, 11)``, linear between the levels."""
    place = rng.random(n) * (quantiles.shape[1] - 1)
    rows = np.arange(n) if len(quantiles) == n else np.zeros(n, dtype=int)
    low = place.astype(int)
    return quantiles[rows, low] + (place - low) * (quantiles[rows, low + 1] - quantiles[rows, low])


def _team_mates(rows: pd.DataFrame, truth: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Jersey of some other player of each row's team who acts in the half (or the row's own)."""
    chosen = rows["jersey"].to_numpy(copy=True)
    squads = truth.groupby(["half", "team"], observed=True)["jersey"].unique()
    for (half, team), squad in squads.items():
        mine = ((rows["half"] == half) & (rows["team"] == team)).to_numpy()
        squad = np.sort(squad)
        if len(squad) > 1:
            own = np.searchsorted(squad, chosen[mine])
            chosen[mine] = squad[(own + rng.integers(1, len(squad), size=mine.sum())) % len(squad)]
    return chosen
