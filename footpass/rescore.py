"""Learned re-scoring: which of several models' events are true, decided in the light of all of them.

1. Candidates are the union of the models' events (`footpass.candidates`).
2. The matches with predictions and ground truth are two folds. Patches of the detections of each are pasted
   onto half of the further ground truth (`footpass.patches`), so each fold has its own real and simulated
   rows, and no detection is in both.
3. In stages, each fold's classifiers give the *other* fold's rows probabilities, from which the next
   stage's features are made: first logistic regression on the scores, then boosted trees on everything,
   the likely chain of possession before and after included.
4. Probabilities are calibrated, and the recall of the candidates measured, on the real rows of the fold
   that a classifier has not seen.
5. Per class, the k candidates that maximise the expected F1 are kept.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from tqdm.auto import tqdm

from footpass import candidates as candidates_module
from footpass import patches as patches_module
from footpass.candidates import features, label, merge, scores_of, transitions
from footpass.crossfit import cross_fit
from footpass.events import concat, halves_of, load_json, match_of, select_halves
from footpass.files import DataError, atomic_write
from footpass.patches import PatchConfig, cut_patches, paste
from footpass.schema import ACTIONS, N_CLASSES, SCORE_THRESHOLD, Action

# A candidate of one class that may really be of another: the only confusions that leave more than one
# candidate in a hundred. (Where a model confuses rarer classes, another has the right one.)
CHANGES = ((Action.DRIVE, Action.PASS), (Action.PASS, Action.DRIVE))
FOLDS = (0, 1)


@dataclass(frozen=True)
class RescoreConfig:
    """Settings of the re-scoring.

    Attributes
    ----------
    train_matches
        Matches of the further ground truth that are used, drawn at random; None for all.
    repeats
        Independent simulations and fits that are averaged.
    stages
        Rounds of boosted trees; the last ``averaged`` of them are averaged.
    real_weight
        Weight of a row that is not simulated.
    rows
        Most rows per class and fold; more are sampled.
    without
        Beginnings of the names of features that are left out.
    trees, leaves, rate, least_rows, share
        Boosting: trees per class, leaves per tree, learning rate, rows per leaf, share of the features
        that a split chooses from.
    """

    train_matches: int | None = None
    repeats: int = 2
    stages: int = 2
    averaged: int = 2
    real_weight: float = 8.0
    rows: int = 25_000
    without: tuple[str, ...] = ()
    trees: int = 80
    leaves: int = 12
    rate: float = 0.06
    least_rows: int = 30
    share: float = 0.3
    patches: PatchConfig = PatchConfig()


PROFILES = {
    "smoke": RescoreConfig(train_matches=2, repeats=1, stages=1, trees=10, rows=3000),
    "demo": RescoreConfig(train_matches=24, repeats=1, stages=1, trees=60, rows=8000),
    "study": RescoreConfig(),
}
PROFILES["paper"] = PROFILES["study"]


@dataclass(frozen=True)
class Rescorer:
    """A fitted pipeline: everything that `apply` needs, as plain values.

    Attributes
    ----------
    ratios
        Class transitions of the further ground truth (`candidates.transitions`).
    models
        ``[repeat][stage][fold][class - 1]``: of stage 0 the intercept and coefficients of a logistic
        regression, of later ones the text of a LightGBM model.
    shift
        ``(9,)``: added to the logit of each class's probability.
    recall
        ``(9,)``: share of the true events that have a candidate.
    """

    config: RescoreConfig
    n_models: int
    ratios: np.ndarray
    models: list
    shift: np.ndarray
    recall: np.ndarray

    @cached_property
    def boosters(self) -> list:
        """The trees, parsed; laid out like ``models`` without stage 0."""
        return [
            [[[lgb.Booster(model_str=text) for text in fold] for fold in stage] for stage in stages[1:]]
            for stages in self.models
        ]

    def importance(self) -> pd.Series:
        """Share of the gain of all splits by feature, the mean over all trees' classes."""
        shares = []
        for booster in (
            b for repeat in self.boosters for stage in repeat for fold in stage for b in fold
        ):
            gain = pd.Series(booster.feature_importance("gain"), booster.feature_name())
            shares.append(gain / max(gain.sum(), 1e-12))
        return pd.concat(shares, axis=1).fillna(0).mean(axis=1).sort_values(ascending=False)


@dataclass(frozen=True)
class _Rows:
    """Candidates with their labels, and how much they count in training."""

    candidates: pd.DataFrame
    labels: np.ndarray
    fold: int
    weight: float

    @property
    def simulated(self) -> bool:
        return self.weight == 1


def fit(
    tables: Sequence[pd.DataFrame],
    truth: pd.DataFrame,
    train_truth: pd.DataFrame,
    config: RescoreConfig | None = None,
    seed: int = 0,
) -> Rescorer:
    """Fit the pipeline.

    Parameters
    ----------
    tables
        Predictions, one table per model, the most trusted first.
    truth
        Ground truth of the halves in ``tables``.
    train_truth
        Ground truth of other matches, for which there are no predictions.

    Raises
    ------
    DataError
        If there are fewer than two halves to fit on, or none of train.
    """
    config = config or PROFILES["study"]
    shared = set(halves_of(truth)) & set(halves_of(train_truth))
    if shared:
        raise DataError(f"half {min(shared)} is in the train ground truth too: leave it out there")
    folds, rng = _folds(truth), np.random.default_rng(seed)
    ratios = transitions(train_truth)
    fitted = [
        _fit_once(tables, truth, train_truth, folds, ratios, config, rng)
        for _ in tqdm(range(config.repeats), desc="repeats", leave=False)
    ]
    real = [rows for rows in fitted[0][1] if not rows.simulated]
    p = [np.mean([held_out[f] for *_, held_out in fitted], axis=0) for f in range(len(real))]
    shift, recall = _calibrate(real, p, truth)
    models = [models for models, *_ in fitted]
    return Rescorer(config, len(tables), ratios, models, shift, recall)


def probabilities(rescorer: Rescorer, tables: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, np.ndarray]:
    """Candidates and the ``(N, 9)`` calibrated probability of every class (0: nothing of it all).

    Raises
    ------
    DataError
        If there are not as many tables as the pipeline was fitted on.
    """
    if len(tables) != rescorer.n_models:
        raise DataError(f"fitted on {rescorer.n_models} prediction files, given {len(tables)}")
    table, finals = merge(tables), []
    for logistic, boosters in zip(
        (models[0] for models in rescorer.models), rescorer.boosters, strict=True
    ):
        history = [np.mean([_apply_logistic(fold, table) for fold in logistic], axis=0)]
        for stage in boosters:
            x = _features(table, history[-1], rescorer.ratios, rescorer.config)
            p = [_apply_trees(fold, x, history[-1], table) for fold in stage]
            history.append(np.mean(p, axis=0))
        finals.append(np.mean(history[-min(rescorer.config.averaged, len(boosters)) :], axis=0))
    p = np.mean(finals, axis=0)
    return table, _closed(np.where(p > 0, _shifted(p, rescorer.shift), 0))


def apply(rescorer: Rescorer, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Re-scored events of other matches, from predictions alone.

    Returns
    -------
    pd.DataFrame
        Prediction table; all scores are above the official threshold, since what is kept is kept.
    """
    table, p = probabilities(rescorer, tables)
    return decode(table, p, rescorer.recall)


def decode(candidates: pd.DataFrame, p: np.ndarray, recall: np.ndarray) -> pd.DataFrame:
    """Keep, per class, the k likeliest candidates with the highest expected F1.

    That is 2 * (sum of their probabilities) / (k + N), where N, the number of true events, is the sum of
    all probabilities over the recall of the candidates (a plug-in of the expectation; see Lipton et al.,
    "Optimal thresholding of classifiers to maximize F1 measure", 2014).

    Parameters
    ----------
    p
        ``(N, 9)`` probabilities.
    recall
        ``(9,)``.
    """
    kept = []
    for action in ACTIONS:
        order = np.argsort(-p[:, action], kind="stable")
        order = order[p[order, action] > 0]
        hits = np.cumsum(p[order, action])
        if not len(hits):
            continue
        expected = 2 * hits / (1 + np.arange(len(hits)) + hits[-1] / recall[action])
        order = order[: 1 + int(np.argmax(expected))]
        score = SCORE_THRESHOLD + (1 - SCORE_THRESHOLD) * p[order, action].clip(0, 1)
        rows = candidates.iloc[order][["half", "frame", "team", "jersey"]]
        kept.append(rows.assign(cls=int(action), score=score))
    empty = candidates.iloc[:0][["half", "frame", "team", "jersey", "cls"]].assign(score=0.0)
    table = pd.concat([empty, *kept]) if kept else empty
    return table.sort_values(["half", "frame"], kind="stable", ignore_index=True)


def rescore_lomo(
    predictions: Mapping[str, pd.DataFrame],
    truth: pd.DataFrame,
    train_truth: pd.DataFrame,
    config: RescoreConfig | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
) -> tuple[pd.DataFrame, dict[str, Rescorer]]:
    """Every match re-scored by a pipeline that never saw that match's ground truth.

    Parameters
    ----------
    predictions
        By name; their order is that of trust.
    cache
        Folder of fitted pipelines, by the content of all they depend on; None: fit anew.

    Returns
    -------
    (pd.DataFrame, dict)
        Prediction table, and the pipeline of every match.
    """
    config = config or PROFILES["study"]

    def fit_cached(inputs: Mapping[str, pd.DataFrame], known: pd.DataFrame) -> Rescorer:
        tables = list(inputs.values())
        if cache is None:
            return fit(tables, known, train_truth, config, seed)
        path = Path(cache) / f"rescore-{_key(tables, known, train_truth, config, seed)}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            save(fit(tables, known, train_truth, config, seed), path)
        return load(path)

    result = cross_fit(
        fit_cached, lambda model, inputs: apply(model, [*inputs.values()]), predictions, truth
    )
    return result.table, result.models


def save(rescorer: Rescorer, path: str | Path) -> None:
    """Write a fitted pipeline as JSON, atomically: numbers and LightGBM's own text, no code."""
    content = {
        "format": "footpass rescore 1",
        "config": asdict(rescorer.config),
        "n_models": rescorer.n_models,
        "ratios": rescorer.ratios.tolist(),
        "models": rescorer.models,
        "shift": rescorer.shift.tolist(),
        "recall": rescorer.recall.tolist(),
    }
    with atomic_write(path) as stream:
        json.dump(content, stream)


def load(path: str | Path) -> Rescorer:
    """Read a fitted pipeline.

    Raises
    ------
    DataError
        If the file is not one.
    """
    content = load_json(path)
    if not isinstance(content, dict) or content.get("format") != "footpass rescore 1":
        raise DataError(f"{path}: not a fitted re-scoring (write one with: rescore fit --out {path})")
    try:
        config = dict(content["config"])
        config["patches"] = PatchConfig(**_tuples(config["patches"]))
        rescorer = Rescorer(
            config=RescoreConfig(**_tuples(config)),
            n_models=int(content["n_models"]),
            ratios=np.array(content["ratios"], dtype=float),
            models=content["models"],
            shift=np.array(content["shift"], dtype=float),
            recall=np.array(content["recall"], dtype=float),
        )
        assert rescorer.shift.shape == rescorer.recall.shape == (N_CLASSES,)
        assert rescorer.boosters  # parses the trees
    except (AssertionError, KeyError, TypeError, ValueError, lgb.basic.LightGBMError) as error:
        raise DataError(f"{path}: a damaged re-scoring: {error!r:.200}") from error
    return rescorer


def _tuples(values: dict) -> dict:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def _key(
    tables: Sequence[pd.DataFrame],
    truth: pd.DataFrame,
    train: pd.DataFrame,
    config: RescoreConfig,
    seed: int,
) -> str:
    """Hash of everything that a fit depends on, the code that makes it included."""
    digest = hashlib.sha256(json.dumps([asdict(config), seed, lgb.__version__]).encode())
    for module in (__file__, candidates_module.__file__, patches_module.__file__):
        digest.update(Path(module).read_bytes())
    for table in (*tables, truth, train):
        digest.update(json.dumps(halves_of(table)).encode())
        digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:16]


def _folds(truth: pd.DataFrame) -> dict[str, int]:
    """Fold of every half: matches in turn, or halves where there is one match."""
    halves = halves_of(truth)
    matches = list(dict.fromkeys(map(match_of, halves)))
    if len(halves) < 2:
        raise DataError(f"cannot fit on {len(halves)} halves with predictions: needs two or more")
    if len(matches) == 1:
        return {half: i % 2 for i, half in enumerate(halves)}
    return {half: matches.index(match_of(half)) % 2 for half in halves}


def _fit_once(
    tables: Sequence[pd.DataFrame],
    truth: pd.DataFrame,
    train_truth: pd.DataFrame,
    folds: Mapping[str, int],
    ratios: np.ndarray,
    config: RescoreConfig,
    rng: np.random.Generator,
) -> tuple[list, list[_Rows], list[np.ndarray]]:
    """Models ``[stage][fold][class - 1]``, all rows, and held-out probabilities of the real ones."""
    sets = _training_rows(tables, truth, train_truth, folds, config, rng)
    logistic = [_fit_logistic([rows for rows in sets if rows.fold == f]) for f in FOLDS]
    p = [_apply_logistic(logistic[1 - rows.fold], rows.candidates) for rows in sets]
    models, history = [logistic], [p]
    for _ in tqdm(range(config.stages), desc="stages", leave=False):
        x = [_features(rows.candidates, q, ratios, config) for rows, q in zip(sets, p, strict=True)]
        trees = _fit_trees(sets, x, p, config, rng)
        boosters = [[lgb.Booster(model_str=text) for text in fold] for fold in trees]
        p = [
            _apply_trees(boosters[1 - rows.fold], values, q, rows.candidates)
            for rows, values, q in zip(sets, x, p, strict=True)
        ]
        models.append(trees)
        history.append(p)
    last = history[-min(config.averaged, config.stages) :]
    real = [i for i, rows in enumerate(sets) if not rows.simulated]
    return models, sets, [np.mean([stage[i] for stage in last], axis=0) for i in real]


def _training_rows(
    tables: Sequence[pd.DataFrame],
    truth: pd.DataFrame,
    train_truth: pd.DataFrame,
    folds: Mapping[str, int],
    config: RescoreConfig,
    rng: np.random.Generator,
) -> list[_Rows]:
    matches = sorted({match_of(half) for half in halves_of(train_truth)})
    chosen = rng.permutation(matches)[: config.train_matches]
    sets = []
    for fold in FOLDS:
        own = [half for half, f in folds.items() if f == fold]
        real = [_cut(table, own) for table in tables]
        known = select_halves(truth, own)
        sets.append(_rows(real, known, fold, config.real_weight))
        others = set(chosen[fold::2])
        wanted = select_halves(train_truth, [h for h in halves_of(train_truth) if match_of(h) in others])
        if len(wanted):
            pasted = paste(cut_patches(known, real, config.patches), wanted, rng, config.patches)
            sets.append(_rows(pasted, wanted, fold, 1))
    return sets


def _rows(tables: Sequence[pd.DataFrame], truth: pd.DataFrame, fold: int, weight: float) -> _Rows:
    merged = merge(tables)
    return _Rows(merged, label(merged, truth), fold, weight)


def _cut(table: pd.DataFrame, halves: Sequence[str]) -> pd.DataFrame:
    return select_halves(table, [half for half in halves if half in halves_of(table)])


def _considered(cls: np.ndarray, action: Action) -> np.ndarray:
    """Candidates that may be of a class."""
    changed = [source for source, target in CHANGES if target == action]
    return (cls == action) | np.isin(cls, changed)


def _score_features(table: pd.DataFrame) -> np.ndarray:
    scores = scores_of(table)
    return np.hstack([scores, scores > 0])


def _fit_logistic(sets: Sequence[_Rows]) -> list[list[float]]:
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


def _apply_logistic(models: Sequence[Sequence[float]], table: pd.DataFrame) -> np.ndarray:
    """``(N, 9)``: every candidate is of its own class or nothing."""
    p, x = np.zeros((len(table), N_CLASSES)), _score_features(table)
    for action, (intercept, *coefficients) in zip(ACTIONS, models, strict=True):
        own = (table["cls"] == action).to_numpy()
        p[own, action] = expit(intercept + x[own] @ np.array(coefficients))
    return _closed(p)


def _features(
    table: pd.DataFrame, p: np.ndarray, ratios: np.ndarray, config: RescoreConfig
) -> pd.DataFrame:
    x = features(table, p, ratios)
    return x[[name for name in x if not name.startswith(config.without)]] if config.without else x


def _for_class(
    x: pd.DataFrame, p: np.ndarray, cls: np.ndarray, action: Action, rows: np.ndarray
) -> pd.DataFrame:
    """Features of some candidates as candidates of one class."""
    return x.iloc[rows].assign(p_this=p[rows, action], p_own=p[rows, cls[rows]])


def _fit_trees(
    sets: Sequence[_Rows],
    x: Sequence[pd.DataFrame],
    p: Sequence[np.ndarray],
    config: RescoreConfig,
    rng: np.random.Generator,
) -> list[list[str]]:
    """Models ``[fold][class - 1]`` as LightGBM's text."""
    seeds = rng.integers(2**31, size=(len(FOLDS), len(ACTIONS)))

    def job(fold: int, action: Action) -> str:
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
        return _boost(
            pd.concat(parts),
            np.concatenate(ys),
            np.concatenate(weights),
            config,
            int(seeds[fold, action - 1]),
        )

    jobs = [(fold, action) for fold in FOLDS for action in ACTIONS]
    # Two at a time, each on one thread: LightGBM releases the interpreter, and its own threads wait badly
    # on a busy machine.
    with ThreadPoolExecutor(2) as pool:
        texts = list(tqdm(pool.map(lambda j: job(*j), jobs), total=len(jobs), desc="trees", leave=False))
    return [texts[: len(ACTIONS)], texts[len(ACTIONS) :]]


def _boost(x: pd.DataFrame, y: np.ndarray, weight: np.ndarray, config: RescoreConfig, seed: int) -> str:
    # A higher score of a model never speaks against an event.
    rising = [int(name.startswith(("score_", "p_this"))) for name in x]
    parameters = {
        "objective": "binary",
        "learning_rate": config.rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.least_rows,
        "feature_fraction": config.share,
        "bagging_fraction": 0.7,
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


def _apply_trees(
    boosters: Sequence[lgb.Booster], x: pd.DataFrame, p: np.ndarray, table: pd.DataFrame
) -> np.ndarray:
    """``(N, 9)``."""
    result, cls = np.zeros(p.shape), table["cls"].to_numpy()
    for action, booster in zip(ACTIONS, boosters, strict=True):
        rows = np.flatnonzero(_considered(cls, action))
        if len(rows):
            values = _for_class(x, p, cls, action, rows).to_numpy(np.float64)
            result[rows, action] = booster.predict(values, num_threads=1)
    return _closed(result)


def _closed(p: np.ndarray) -> np.ndarray:
    """Class 0 is what the others leave; where they exceed 1, they are scaled down."""
    p = p.copy()
    p[:, 0] = 0
    p /= np.maximum(p.sum(axis=1, keepdims=True), 1)
    p[:, 0] = 1 - p.sum(axis=1)
    return p


def _shifted(p: np.ndarray, shift: np.ndarray) -> np.ndarray:
    return expit(logit(p.clip(1e-9, 1 - 1e-9)) + shift)


def _calibrate(
    real: Sequence[_Rows], p: Sequence[np.ndarray], truth: pd.DataFrame
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
