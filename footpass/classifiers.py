"""The classifiers behind re-scoring: logistic regression on scores, boosted trees, calibration.

Every one is per class and fitted on one of two folds; `footpass.rescore` puts them together.
Probabilities are ``(N, 9)``, column 0 is what the other classes leave.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from tqdm.auto import tqdm

from footpass.candidates import scores_of
from footpass.schema import ACTIONS, N_CLASSES, Action

# A candidate of one class that may really be of another: the only confusions that leave more than one
# candidate in a hundred. (Where a model confuses rarer classes, another has the right one.)
CHANGES = ((Action.DRIVE, Action.PASS), (Action.PASS, Action.DRIVE))
FOLDS = (0, 1)


@dataclass(frozen=True)
class Boosting:
    """Settings of the boosted trees.

    Attributes
    ----------
    rows
        Most simulated rows per class; more are sampled.
    trees, leaves, rate, least_rows
        Trees per class, leaves per tree, learning rate, rows per leaf.
    share
        Share of the features that a tree is given.
    """

    rows: int = 25_000
    trees: int = 80
    leaves: int = 12
    rate: float = 0.06
    least_rows: int = 30
    share: float = 0.3


@dataclass(frozen=True)
class Rows:
    """Candidates with their labels, and how much they count in training."""

    candidates: pd.DataFrame
    labels: np.ndarray
    fold: int
    simulated: bool
    weight: float


def _considered(cls: np.ndarray, action: Action) -> np.ndarray:
    """Candidates that may be of a class."""
    changed = [source for source, target in CHANGES if target == action]
    return (cls == action) | np.isin(cls, changed)


def _score_features(table: pd.DataFrame) -> np.ndarray:
    scores = scores_of(table)
    return np.hstack([scores, scores > 0])


def fit_logistic(sets: Sequence[Rows]) -> list[list[float]]:
    """Intercept and coefficients per class."""
    table = pd.concat([rows.candidates for rows in sets])
    y = np.concatenate([rows.labels for rows in sets])
    weight = np.concatenate([np.full(len(rows.labels), rows.weight) for rows in sets])
    x, models = _score_features(table), []
    for action in ACTIONS:
        own = (table["cls"] == action).to_numpy()
        hit = y[own] == action
        if not hit.any() or hit.all():  # nothing to learn: the smoothed share
            models.append([float(logit((hit.sum() + 1) / (len(hit) + 2))), *[0.0] * x.shape[1]])
            continue
        model = LogisticRegression().fit(x[own], hit, weight[own])
        models.append([*model.intercept_.tolist(), *model.coef_[0].tolist()])
    return models


def apply_logistic(models: Sequence[Sequence[float]], table: pd.DataFrame) -> np.ndarray:
    """``(N, 9)``: every candidate is of its own class or nothing."""
    p, x = np.zeros((len(table), N_CLASSES)), _score_features(table)
    for action, (intercept, *coefficients) in zip(ACTIONS, models, strict=True):
        own = (table["cls"] == action).to_numpy()
        p[own, action] = expit(intercept + x[own] @ np.array(coefficients))
    return closed(p)


def _for_class(
    x: pd.DataFrame, p: np.ndarray, cls: np.ndarray, action: Action, rows: np.ndarray
) -> pd.DataFrame:
    """Features of some candidates as candidates of one class."""
    return x.iloc[rows].assign(p_this=p[rows, action], p_own=p[rows, cls[rows]])


def fit_trees(
    sets: Sequence[Rows],
    x: Sequence[pd.DataFrame],
    p: Sequence[np.ndarray],
    config: Boosting,
    rng: np.random.Generator,
) -> list[list[str | None]]:
    """Models ``[fold][class - 1]`` as LightGBM's text, None for a class without candidates."""
    seeds = rng.integers(2**31, size=(len(FOLDS), len(ACTIONS)))

    def job(fold: int, action: Action) -> str | None:
        # One generator per job: the result does not depend on which thread is first.
        draw = np.random.default_rng(seeds[fold, action - 1])
        parts, ys, weights = [], [], []
        for rows, values, q in zip(sets, x, p, strict=True):
            if rows.fold != fold:
                continue
            cls = rows.candidates["cls"].to_numpy()
            use = np.flatnonzero(_considered(cls, action))
            if rows.simulated and len(use) > config.rows:
                use = np.sort(draw.choice(use, config.rows, replace=False))
            parts.append(_for_class(values, q, cls, action, use))
            ys.append(rows.labels[use] == action)
            weights.append(np.full(len(use), float(rows.weight)))
        if not any(map(len, parts)):
            return None
        return _boost(
            pd.concat(parts),
            np.concatenate(ys),
            np.concatenate(weights),
            config,
            int(seeds[fold, action - 1]),
        )

    jobs = [(fold, action) for fold in FOLDS for action in ACTIONS]
    # Two at a time on one thread each: LightGBM releases the interpreter, and its own threads are
    # slower than one on a busy machine.
    with ThreadPoolExecutor(2) as pool:
        texts = list(tqdm(pool.map(lambda j: job(*j), jobs), total=len(jobs), desc="trees", leave=False))
    return [texts[: len(ACTIONS)], texts[len(ACTIONS) :]]


def _boost(x: pd.DataFrame, y: np.ndarray, weight: np.ndarray, config: Boosting, seed: int) -> str:
    # A higher score of a model never speaks against an event.
    rising = [int(name.startswith(("score_", "p_this"))) for name in x]
    parameters = {
        "objective": "binary",
        "learning_rate": config.rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.least_rows,
        "feature_fraction": config.share,
        "bagging_fraction": 0.7 if len(y) > 1 else 1.0,  # of one row, LightGBM would draw none
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "max_bin": 63,
        "monotone_constraints": rising,
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        "verbose": -1,
    }
    return lgb.train(parameters, lgb.Dataset(x, y, weight=weight), config.trees).model_to_string()


def parsed(trees: Sequence[Sequence[str | None]]) -> list[list[lgb.Booster | None]]:
    """Models of one stage, ready to be applied."""
    return [[text and lgb.Booster(model_str=text) for text in fold] for fold in trees]


def apply_trees(
    boosters: Sequence[lgb.Booster | None], x: pd.DataFrame, p: np.ndarray, table: pd.DataFrame
) -> np.ndarray:
    """``(N, 9)``."""
    result, cls = np.zeros(p.shape), table["cls"].to_numpy()
    for action, booster in zip(ACTIONS, boosters, strict=True):
        rows = np.flatnonzero(_considered(cls, action))
        if booster and len(rows):
            values = _for_class(x, p, cls, action, rows).to_numpy(np.float64)
            result[rows, action] = booster.predict(values, num_threads=1)
    return closed(result)


def closed(p: np.ndarray) -> np.ndarray:
    """Class 0 is what the others leave; where they exceed 1, they are scaled down."""
    p = p.copy()
    p[:, 0] = 0
    p /= np.maximum(p.sum(axis=1, keepdims=True), 1)
    p[:, 0] = 1 - p.sum(axis=1)
    return p


def shifted(p: np.ndarray, shift: np.ndarray) -> np.ndarray:
    return expit(logit(p.clip(1e-9, 1 - 1e-9)) + shift)


def calibrate(
    real: Sequence[Rows], p: Sequence[np.ndarray], truth: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Shift of every class's logits, and recall of its candidates, from held-out real rows.

    The simulated matches have their own class frequencies, so probabilities are off by a constant factor
    of the odds; a slope too would be fitted to a few dozen events. The shift's prior is N(0, 0.5).
    """
    q, y = np.concatenate(p), np.concatenate([rows.labels for rows in real])
    shift, recall = np.zeros(N_CLASSES), np.ones(N_CLASSES)
    for action in ACTIONS:
        rows = q[:, action] > 0
        x, hit = logit(q[rows, action].clip(1e-9, 1 - 1e-9)), y[rows] == action
        shift[action] = brentq(lambda a, x=x, hit=hit: (expit(x + a) - hit).sum() + 4 * a, -50, 50)
        recall[action] = (hit.sum() + 1) / ((truth["cls"] == action).sum() + 2)
    return shift, recall.clip(max=1)
