"""Re-scoring in seconds: the models' scores, calibrated, and the chain of events that has most for it.

Logistic regression on the scores says how likely each candidate is by itself; the transitions of
train's ground truth say which of them go together (`postprocess.grammar`). The trees of
`ensemble.rescore`, which take hours, have the same macro F1 on the val matches: reports/grammar.md.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.special import logit

from footpass.configs import build, config_dataclass, read_config
from footpass.crossfit import CrossFit, Inputs, cross_fit
from footpass.ensemble.candidates import delay_of, label, merge, on_time, rate
from footpass.ensemble.classifiers import Rows, apply_logistic, calibrate, fit_logistic
from footpass.ensemble.rescore import ByClassId, Delays, Logistic, check_given, choose, known_part
from footpass.files import DataError
from footpass.postprocess.grammar import GAPS, SHAPE, decode, log_ratios
from footpass.schema import N_CLASSES, SCORE_THRESHOLD

STRENGTH = 0.4  # of the transitions beside the scores: the best on simulated matches
HOPELESS = -4.0  # log-odds under which a candidate is not considered

Finite = Annotated[float, Field(allow_inf_nan=False)]


@config_dataclass
class Chain:
    """A fitted re-scoring: everything that `apply` needs, as plain values."""

    format: Literal["footpass chain 1"]
    delays: Delays
    logistic: Logistic
    recall: ByClassId[Annotated[float, Field(gt=0, le=1)]]  # share of true events with a candidate
    transitions: tuple[tuple[tuple[tuple[Finite, ...], ...], ...], ...]  # as `decode` takes them
    rates: tuple[Annotated[float, Field(ge=0)], ...] = ()  # each model's events a half
    made_by: tuple[str, ...] = ()  # and what made them, empty where it is not known

    def __post_init__(self) -> None:
        if {len(model) for model in self.logistic} != {1 + 2 * len(self.delays)}:
            raise DataError(f"logistic: not the coefficients of {len(self.delays)} prediction files")
        if np.array(self.transitions).shape != (*SHAPE, len(GAPS) + 1):  # ValueError where rows differ
            raise DataError(f"transitions: not {(*SHAPE, len(GAPS) + 1)} numbers")


def fit(
    tables: Sequence[pd.DataFrame],
    truth: pd.DataFrame,
    train_truth: pd.DataFrame,
    strength: float = STRENGTH,
) -> Chain:
    """Fit on predictions, the most trusted first, their ground truth, and that of other matches.

    Halves are as in `rescore.fit`.
    """
    tables = known_part(tables, truth, train_truth)
    delays = [delay_of(table, truth) for table in tables]
    merged = merge(on_time(tables, delays))
    rows = Rows(merged, label(merged, truth), fold=0, simulated=False, weight=1.0)
    logistic = fit_logistic([rows])
    _, recall = calibrate([rows], [apply_logistic(logistic, merged)], truth)
    values = {
        "format": "footpass chain 1",
        "delays": delays,
        "logistic": logistic,
        "recall": recall.tolist(),
        "transitions": (strength * log_ratios(train_truth)).tolist(),
        "rates": [rate(table) for table in tables],
    }
    return build(Chain, values)


def probabilities(chain: Chain, tables: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, np.ndarray]:
    """Candidates and the ``(N, 9)`` probability of every class, from the scores alone."""
    check_given(tables, len(chain.delays))
    table = merge(on_time(tables, chain.delays))
    return table, apply_logistic(chain.logistic, table)


def apply(chain: Chain, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Re-scored events of other matches, from predictions alone."""
    events, log_odds = weighed(*probabilities(chain, tables), np.array(chain.recall))
    return events[decode(events, log_odds, np.array(chain.transitions))].reset_index(drop=True)


def weighed(table: pd.DataFrame, p: np.ndarray, recall: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Candidates, one for each class that they may be of, and how much speaks for each by itself.

    That is its log-odds, counted from the last that `rescore.choose` would keep of its class, to which
    ``p`` and ``recall`` belong. All scores are above the official threshold.
    """
    kept = choose(table, p, recall)
    least = np.ones(N_CLASSES)
    weakest = kept.groupby("cls")["score"].min()
    least[weakest.index] = (weakest - SCORE_THRESHOLD) / (1 - SCORE_THRESHOLD)
    rows, classes = np.nonzero(p[:, 1:])
    own, bar = (x.clip(1e-9, 1 - 1e-9) for x in (p[rows, classes + 1], least[classes + 1]))
    log_odds = logit(own) - logit(bar) + 1e-9  # `least` was scaled there and back
    use = log_odds > HOPELESS
    events = table.iloc[rows[use]][["half", "frame", "team", "jersey"]]
    score = SCORE_THRESHOLD + (1 - SCORE_THRESHOLD) * own[use]
    return events.assign(cls=classes[use] + 1, score=score).reset_index(drop=True), log_odds[use]


def chain_lomo(
    predictions: Mapping[str, pd.DataFrame],
    truth: pd.DataFrame,
    train_truth: pd.DataFrame,
    strength: float = STRENGTH,
    folds: int | None = None,
) -> CrossFit:
    """Events of every match, re-scored with what was fitted on the other matches.

    ``strength`` is that of `fit`, ``folds`` as of `cross_fit`.
    """

    def fit_known(inputs: Inputs, known: pd.DataFrame) -> Chain:
        return fit(list(inputs.values()), known, train_truth, strength)  # type: ignore[arg-type]

    def apply_to(chain: Chain, inputs: Inputs) -> pd.DataFrame:
        return apply(chain, list(inputs.values()))  # type: ignore[arg-type]

    return cross_fit(fit_known, apply_to, predictions, truth, folds)


def load(path: str | Path) -> Chain:
    """Read a fitted chain, written by `write_config`."""
    return read_config(path, Chain, f"a fitted chain (write one with: rescore fit --chain --out {path})")
