"""The classifiers behind re-scoring: boosted trees, logistic regression, calibration.

Every one is per class and fitted on one of two folds or both; `ensemble.rescore` puts them together.
Probabilities are ``(N, 9)``, column 0 is what the other classes leave.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import lightgbm as lgb
import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from tqdm.auto import tqdm

from footpass.ensemble.candidates import scores_of
from footpass.ensemble.config import Boosting
from footpass.ensemble.trees import booster
from footpass.schema import ACTIONS, N_CLASSES, Action

# A candidate of one class that may really be of another: the only confusions that leave more than one
# candidate in a hundred. (Where a model confuses rarer classes, another has the right one.)
CHANGES = ((Action.DRIVE, Action.PASS), (Action.PASS, Action.DRIVE))
FOLDS = (0, 1)
P_NAMES = ["p_this", "p_own"]  # of the features that depend on the class that is asked about
PARTS = ((0,), (1,), (0, 1))  # folds that the linear classifiers are fitted on
LINEAR_C = 0.01  # scikit-learn's inverse strength of the linear classifiers' penalty
CLIP = 4.0  # standard deviations beyond which a feature says no more to them


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


def _regression(x: np.ndarray, hit: np.ndarray, weight: np.ndarray, c: float = 1.0) -> list[float]:
    """Intercept and coefficients of a logistic regression."""
    if not hit.any() or hit.all():  # nothing to learn: the smoothed share
        return [float(logit((hit.sum() + 1) / (len(hit) + 2))), *[0.0] * x.shape[1]]
    model = LogisticRegression(C=c, max_iter=200).fit(x, hit, weight)
    return [*model.intercept_.tolist(), *model.coef_[0].tolist()]


def fit_logistic(sets: Sequence[Rows]) -> list[list[float]]:
    """Intercept and coefficients per class, on the scores alone."""
    table = pd.concat([rows.candidates for rows in sets])
    y = np.concatenate([rows.labels for rows in sets])
    weight = np.concatenate([np.full(len(rows.labels), rows.weight) for rows in sets])
    x, models = np.hstack([scores_of(table), scores_of(table) > 0]), []
    for action in ACTIONS:
        own = (table["cls"] == action).to_numpy()
        models.append(_regression(x[own], y[own] == action, weight[own]))
    return models


def apply_logistic(models: Sequence[Sequence[float]], table: pd.DataFrame) -> np.ndarray:
    """``(N, 9)``: every candidate is of its own class or nothing."""
    p, x = np.zeros((len(table), N_CLASSES)), np.hstack([scores_of(table), scores_of(table) > 0])
    for action, (intercept, *coefficients) in zip(ACTIONS, models, strict=True):
        own = (table["cls"] == action).to_numpy()
        p[own, action] = expit(intercept + x[own] @ np.array(coefficients))
    return closed(p)


def _for_class(
    x: pd.DataFrame, p: np.ndarray, cls: np.ndarray, action: Action, rows: np.ndarray
) -> pd.DataFrame:
    """Features of some candidates as candidates of one class."""
    return x.iloc[rows].assign(**dict(zip(P_NAMES, (p[rows, action], p[rows, cls[rows]]), strict=True)))


def _training(
    sets: Sequence[Rows],
    x: Sequence[pd.DataFrame],
    p: Sequence[np.ndarray],
    action: Action,
    folds: Sequence[int],
    most: int,
    draw: np.random.Generator,
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray] | None:
    """Features of the candidates for a class in some folds, which are it, and their weights."""
    parts, hits, weights = [], [], []
    for rows, values, q in zip(sets, x, p, strict=True):
        if rows.fold not in folds:
            continue
        cls = rows.candidates["cls"].to_numpy()
        use = np.flatnonzero(_considered(cls, action))
        if rows.simulated and len(use) > most:
            use = np.sort(draw.choice(use, most, replace=False))
        parts.append(_for_class(values, q, cls, action, use))
        hits.append(rows.labels[use] == action)
        weights.append(np.full(len(use), float(rows.weight)))
    if not any(map(len, parts)):
        return None
    return pd.concat(parts), np.concatenate(hits), np.concatenate(weights)


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
        seed = int(seeds[fold, action - 1])
        known = _training(sets, x, p, action, [fold], config.rows, np.random.default_rng(seed))
        return known and _boost(*known, config, seed)

    jobs = list(product(FOLDS, ACTIONS))
    # Two at a time on one thread each: LightGBM releases the interpreter, and its own threads are
    # slower than one on a busy machine.
    with ThreadPoolExecutor(2) as pool:
        texts = list(tqdm(pool.map(job, *zip(*jobs, strict=True)), "trees", len(jobs), leave=False))
    return [texts[: len(ACTIONS)], texts[len(ACTIONS) :]]


def _boost(x: pd.DataFrame, y: np.ndarray, weight: np.ndarray, config: Boosting, seed: int) -> str:
    parameters = {
        "objective": "binary",
        "learning_rate": config.lr,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.least_rows,
        # Thresholds drawn at random (Geurts et al. 2006): the best ones know the few donors by heart.
        "extra_trees": True,
        "feature_fraction": config.share,
        "bagging_fraction": 0.7 if len(y) > 1 else 1.0,  # of one row, LightGBM would draw none
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "max_bin": 63,
        # A higher score of a model never speaks against an event.
        "monotone_constraints": [int(name.startswith(("score_", "p_this"))) for name in x],
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        "verbose": -1,
    }
    return lgb.train(parameters, lgb.Dataset(x, y, weight=weight), config.trees).model_to_string()


def parsed(
    trees: Sequence[Sequence[str | None]], names: Sequence[str]
) -> list[list[lgb.Booster | None]]:
    """Models of one stage, ready to be applied to features of these names."""
    return [[booster(text, names) if text else None for text in fold] for fold in trees]


def apply_trees(
    boosters: Sequence[lgb.Booster | None], x: pd.DataFrame, p: np.ndarray, table: pd.DataFrame
) -> np.ndarray:
    """``(N, 9)``."""

    def predict(booster: lgb.Booster, values: pd.DataFrame) -> np.ndarray:
        return np.asarray(booster.predict(values.to_numpy(np.float64), num_threads=1))

    return _applied(boosters, predict, x, p, table)


def fit_linear(
    sets: Sequence[Rows],
    x: Sequence[pd.DataFrame],
    p: Sequence[np.ndarray],
    config: Boosting,
    rng: np.random.Generator,
) -> list[list[list | None]]:
    """Models ``[part][class - 1]``: logistic regression on the same features as the trees.

    A model is its intercept, then the means, scales and coefficients of the features.
    """

    def job(part: tuple[int, ...], action: Action) -> list | None:
        known = _training(sets, x, p, action, part, config.rows, rng)
        if known is None:
            return None
        values = _on_one_scale(known[0])
        mean, scale = values.mean(axis=0), values.std(axis=0) + 1e-6
        values = ((values - mean) / scale).clip(-CLIP, CLIP)
        intercept, *coefficients = _regression(values, *known[1:], LINEAR_C)
        return [intercept, mean.tolist(), scale.tolist(), coefficients]

    return [[job(part, action) for action in ACTIONS] for part in PARTS]


def apply_linear(
    models: Sequence[Sequence | None], x: pd.DataFrame, p: np.ndarray, table: pd.DataFrame
) -> np.ndarray:
    """``(N, 9)``."""

    def predict(model: Sequence, values: pd.DataFrame) -> np.ndarray:
        intercept, (mean, scale, coefficients) = model[0], np.array(model[1:])
        values = ((_on_one_scale(values) - mean) / scale).clip(-CLIP, CLIP)
        return expit(intercept + values @ coefficients)

    return _applied(models, predict, x, p, table)


def _on_one_scale(values: pd.DataFrame) -> np.ndarray:
    """Probabilities as logits, in which evidence adds up."""
    logits = logit(values[P_NAMES].astype(np.float64).clip(1e-4, 1 - 1e-4))
    return values.assign(**logits).to_numpy(np.float64)


def _applied(
    models: Sequence[lgb.Booster | Sequence | None],
    predict: Callable[..., np.ndarray],
    x: pd.DataFrame,
    p: np.ndarray,
    table: pd.DataFrame,
) -> np.ndarray:
    result, cls = np.zeros(p.shape), table["cls"].to_numpy()
    for action, model in zip(ACTIONS, models, strict=True):
        rows = np.flatnonzero(_considered(cls, action))
        if model and len(rows):
            result[rows, action] = predict(model, _for_class(x, p, cls, action, rows))
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
