"""Ensembling by rule: weighted fusion of several models' events, and what any choice can reach."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from footpass.configs import Positive, Share, config_dataclass
from footpass.ensemble.candidates import merge, scores_of
from footpass.events import halves_of
from footpass.files import DataError
from footpass.metrics import evaluate, match_events
from footpass.schema import SCORE_THRESHOLD, Action

_NotNegative = Annotated[float, Field(ge=0)]


@config_dataclass
class FusionConfig:
    """Which events of the union are kept.

    The fused score is the weighted mean of the scores of the models that have the event, times their
    share of all weights to the power of ``exponent``: with 1, a model without it has a score of 0.

    Published (PAVE, arXiv 2606.28389) are equal weights, an exponent of 0.5 and an agreement of 2 with
    tackles excepted. There, clusters of events within `TOLERANCE` are greedy, whichever models these are
    of; here (`merge`) a candidate has one event of each model at most, and the frame of the first's.
    """

    weights: Annotated[tuple[_NotNegative, ...], Field(min_length=1)]  # one a model
    agreement: Positive = 1  # models that must have an event (same player and class within `TOLERANCE`)
    threshold: Share = 0.0  # lowest fused score
    exceptions: tuple[Action, ...] = ()  # classes for which one model is enough
    exponent: _NotNegative = 1.0  # of the share of models that have an event: fewer are not worth more

    def __post_init__(self) -> None:
        if not any(self.weights):
            raise DataError(f"weights {self.weights}: one of them above 0")


def fuse(tables: Sequence[pd.DataFrame], config: FusionConfig) -> pd.DataFrame:
    """Weighted event fusion: predictions with a column ``agreement``, how many models have the event.

    Scores are mapped to above the official threshold, since what is kept is kept.
    """
    if len(config.weights) != len(tables):
        raise DataError(f"{len(config.weights)} weights for {len(tables)} prediction files")
    if config.agreement > len(tables):
        raise DataError(f"agreement of {config.agreement} models, and there are {len(tables)}")
    return _fused(merge(tables), config)


def _fused(union: pd.DataFrame, config: FusionConfig) -> pd.DataFrame:
    scores, weights, total = scores_of(union), np.array(config.weights), sum(config.weights)
    share = (scores > 0) @ weights / total
    fused = scores @ weights / total * np.where(share > 0, share, 1) ** (config.exponent - 1)
    agreement = (scores > 0).sum(axis=1)
    enough = (agreement >= config.agreement) | union["cls"].isin(config.exceptions)
    events = union[["half", "frame", "team", "jersey", "cls"]].assign(
        score=SCORE_THRESHOLD + (1 - SCORE_THRESHOLD) * fused.clip(0, 1), agreement=agreement
    )
    return events[enough & (fused >= config.threshold)].reset_index(drop=True)


def fit_fusion(
    inputs: Mapping[str, pd.DataFrame], truth: pd.DataFrame, exponents: Sequence[float] = (1.0,)
) -> FusionConfig:
    """Weights, agreement and threshold of the highest macro F1 on some halves, from a coarse grid.

    The first model's weight is 1, the others share one; tackles, which few models find, may be
    excepted from the agreement. Exponents are searched where several are given.
    """
    tables = list(inputs.values())
    union = merge(tables)
    best, best_f1 = FusionConfig((1.0,) * len(tables)), -1.0
    several, thresholds = range(1, len(tables) + 1), (i / 10 for i in range(8))
    for weight, agreement, threshold, exceptions, exponent in product(
        (0.5, 1.0), several, thresholds, ((), (Action.TACKLE,)), exponents
    ):
        if agreement == 1 and exceptions:
            continue
        weights = (1.0, *[weight] * (len(tables) - 1))
        config = FusionConfig(weights, agreement, threshold, exceptions, exponent)
        f1 = evaluate(_fused(union, config), truth).macro_f1
        if f1 > best_f1:
            best, best_f1 = config, f1
    return best


def apply_fusion(config: FusionConfig, inputs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """`fuse`, as `footpass.crossfit.cross_fit` calls it."""
    return fuse(list(inputs.values()), config)


def perfect_choice(tables: Sequence[pd.DataFrame], truth: pd.DataFrame) -> pd.DataFrame:
    """The events of the union that are true: what accepting and rejecting alone could reach."""
    union = merge(tables).assign(score=1.0)
    return union[match_events(union, truth) >= 0].reset_index(drop=True)


def perfect_players(events: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Events whose player is corrected where their class and time are right.

    An event that is a true one's but for the player (team or jersey) is given to that one's.
    """
    nobody = {"team": 0, "jersey": 0}
    known = truth[truth["half"].isin(halves_of(events))]
    taken = match_events(events, known)
    left, wanted = np.flatnonzero(taken < 0), np.setdiff1d(np.arange(len(known)), taken)
    other = match_events(events.iloc[left].assign(**nobody), known.iloc[wanted].assign(**nobody))
    taken[left[other >= 0]] = wanted[other[other >= 0]]
    corrected = events.copy()
    for name in nobody:
        corrected.loc[taken >= 0, name] = known[name].to_numpy()[taken[taken >= 0]]
    return corrected
