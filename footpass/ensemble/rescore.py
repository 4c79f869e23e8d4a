"""Learned re-scoring: which of several models' events are true, decided in the light of all of them.

1. Candidates are the union of the models' events, each model's delay taken off (`ensemble.features`).
2. The matches with predictions and ground truth are two folds. Snippets of the detections of each are
   pasted onto half of the further ground truth (`simulate.copy_paste`), so each fold has its own real
   and simulated rows, and no detection is in both.
3. In stages, each fold's classifiers give the *other* fold's rows probabilities, from which the next
   stage's features are made: first logistic regression on the scores, then boosted trees on everything,
   the likely chain of possession before and after included.
4. Probabilities are calibrated, and the recall of the candidates measured, on the real rows of the fold
   that a classifier has not seen.
5. Per class, the k candidates that maximise the expected F1 are kept.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import lightgbm as lgb
import numpy as np
import pandas as pd
from pydantic import Field
from tqdm.auto import tqdm

from footpass.configs import build, check_seed, config_dataclass, plain, read_config, write_config
from footpass.crossfit import CrossFit, cross_fit, cut
from footpass.ensemble.candidates import delay_of, label, merge, on_time, rate
from footpass.ensemble.classifiers import (
    FOLDS,
    P_NAMES,
    Rows,
    apply_linear,
    apply_logistic,
    apply_trees,
    calibrate,
    closed,
    fit_linear,
    fit_logistic,
    fit_trees,
    parsed,
    shifted,
)
from footpass.ensemble.config import RescoreConfig
from footpass.ensemble.features import RATIOS_SHAPE, feature_names, features, transitions
from footpass.events import halves_of, match_of, select_halves
from footpass.files import DataError, fingerprint, make_folder, sources
from footpass.schema import ACTIONS, N_CLASSES, SCORE_THRESHOLD
from footpass.simulate.copy_paste import cut_snippets, paste

T = TypeVar("T")
ByClass = Annotated[tuple[T, ...], Field(min_length=len(ACTIONS), max_length=len(ACTIONS))]
ByClassId = Annotated[tuple[T, ...], Field(min_length=N_CLASSES, max_length=N_CLASSES)]
# Frames by which each model's events come late (`candidates.delay_of`).
Delays = Annotated[tuple[Annotated[int, Field(ge=-10_000, le=10_000)], ...], Field(max_length=50)]
Logistic = ByClass[tuple[float, ...]]  # intercept and coefficients on the scores
Linear = ByClass[tuple[float, tuple[float, ...], tuple[float, ...], tuple[float, ...]] | None]
Ratios = tuple[tuple[tuple[tuple[tuple[float, ...], ...], ...], ...], ...]


@config_dataclass
class Boosted:
    """Classifiers of a stage: LightGBM's texts by fold and class, and what `fit_linear` gives by class.

    None stands for a class without candidates.
    """

    trees: tuple[ByClass[str | None], ByClass[str | None]]
    linear: Linear


Stage = tuple[Logistic, Logistic] | Boosted


@config_dataclass
class Rescorer:
    """A fitted pipeline: everything that `apply` needs, as plain values."""

    format: Literal["footpass rescore 3"]
    config: RescoreConfig
    delays: Delays
    ratios: Ratios  # class transitions of the further ground truth (`features.transitions`)
    # Of every repeat its stages: the first logistic regression, by fold, then boosted trees.
    models: Annotated[
        tuple[Annotated[tuple[Stage, ...], Field(max_length=101)], ...],
        Field(min_length=1, max_length=1000),
    ]
    shift: ByClassId[Annotated[float, Field(ge=-100, le=100)]]  # of the logit of a probability
    recall: ByClassId[Annotated[float, Field(gt=0, le=1)]]  # share of true events with a candidate
    rates: tuple[Annotated[float, Field(ge=0)], ...] = ()  # each model's events a half
    made_by: tuple[str, ...] = ()  # and what made them, empty where it is not known

    def __post_init__(self) -> None:
        for first, stages in self.repeats:
            if type(first) is not tuple or {type(stage) for stage in stages} != {Boosted}:
                raise DataError("models: a repeat is logistic regression, then boosted trees")
        logistic = {len(model) for first, _ in self.repeats for fold in first for model in fold}
        linear = [model for _, stages in self.repeats for s in stages for model in s.linear if model]
        if logistic != {1 + 2 * len(self.delays)}:
            raise DataError(f"models: {logistic} coefficients for {len(self.delays)} prediction files")
        if {len(part) for model in linear for part in model[1:]} - {len(self.names)}:
            raise DataError(f"models: not as many coefficients as the {len(self.names)} features")
        if any(min(scale) <= 0 for _, _, scale, _ in linear):
            raise DataError("models: a scale that is not above 0")
        ratios = np.array(self.ratios)  # ValueError where its rows differ
        if ratios.shape != RATIOS_SHAPE or ratios.min() < 0:
            raise DataError(f"ratios: not {RATIOS_SHAPE} numbers from 0 on")

    @property
    def repeats(self) -> list[tuple[Any, list[Any]]]:
        """The logistic regression and the later stages of each repeat."""
        return [(first, stages) for first, *stages in self.models]

    @cached_property
    def names(self) -> list[str]:
        """Of the features, in their order."""
        return [*_kept(feature_names(len(self.delays)), self.config), *P_NAMES]

    @cached_property
    def boosters(self) -> list:
        """The trees, checked and parsed; laid out like ``models`` without stage 0."""
        return [[parsed(stage.trees, self.names) for stage in stages] for _, stages in self.repeats]

    def importance(self) -> pd.Series:
        """Share of the gain of all splits by feature, the mean over all trees' classes."""
        shares = []
        stages = (stage for repeat in self.boosters for stage in repeat)
        for booster in (b for stage in stages for fold in stage for b in fold if b):
            gain = pd.Series(booster.feature_importance("gain"), booster.feature_name())
            shares.append(gain / max(gain.sum(), 1e-12))
        return pd.concat(shares, axis=1).fillna(0).mean(axis=1).sort_values(ascending=False)


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
        Ground truth of halves in ``tables``; what these have of others is left alone.
    train_truth
        Ground truth of other matches, for which there are no predictions.
    """
    config = config or RescoreConfig()
    check_seed(seed)
    tables = known_part(tables, truth, train_truth)
    folds, rng = _folds(truth), np.random.default_rng(seed)
    delays, rates = [delay_of(table, truth) for table in tables], [rate(table) for table in tables]
    tables = on_time(tables, delays)
    ratios = transitions(train_truth)
    fitted = [
        _fit_once(tables, truth, train_truth, folds, ratios, config, rng)
        for _ in tqdm(range(config.repeats), desc="repeats", leave=False)
    ]
    real = [rows for rows in fitted[0][1] if not rows.simulated]
    p = [np.mean([held_out[f] for *_, held_out in fitted], axis=0) for f in range(len(real))]
    shift, recall = calibrate(real, p, truth)
    values = {
        "format": "footpass rescore 3",
        "config": plain(config),
        "delays": delays,
        "ratios": ratios.tolist(),
        "models": [models for models, *_ in fitted],
        "shift": shift.tolist(),
        "recall": recall.tolist(),
        "rates": rates,
    }
    return build(Rescorer, values)


def probabilities(rescorer: Rescorer, tables: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, np.ndarray]:
    """Candidates and the ``(N, 9)`` calibrated probability of every class (0: nothing of it all)."""
    check_given(tables, len(rescorer.delays))
    table, ratios, finals = merge(on_time(tables, rescorer.delays)), np.array(rescorer.ratios), []
    for (logistic, stages), boosters in zip(rescorer.repeats, rescorer.boosters, strict=True):
        p, blends = np.mean([apply_logistic(fold, table) for fold in logistic], axis=0), []
        for stage, folds in zip(stages, boosters, strict=True):
            x = _features(table, p, ratios, rescorer.config)
            linear = apply_linear(stage.linear, x, p, table)
            p = np.mean([apply_trees(fold, x, p, table) for fold in folds], axis=0)
            blends.append((p + linear) / 2)
        finals.append(np.mean(blends[-rescorer.config.averaged :], axis=0))
    p = np.mean(finals, axis=0)
    return table, closed(np.where(p > 0, shifted(p, np.array(rescorer.shift)), 0))


def known_part(
    tables: Sequence[pd.DataFrame], truth: pd.DataFrame, train_truth: pd.DataFrame
) -> list[pd.DataFrame]:
    """Predictions of the halves whose ground truth is known; the further ground truth is of others."""
    for number, table in enumerate(tables, 1):
        _meets(table, truth, f"prediction file {number}", "the ground truth")
    halves, predicted = halves_of(truth), {half for table in tables for half in halves_of(table)}
    shared = set(halves) & set(halves_of(train_truth))
    if shared:
        raise DataError(f"half {min(shared)} is in the train ground truth too: leave it out there")
    absent = set(halves) - predicted
    if absent:
        raise DataError(f"half {min(absent)} is in no prediction file: leave it out of the truth too")
    return [cut(table, halves) for table in tables]


def check_given(tables: Sequence[pd.DataFrame], models: int) -> None:
    """As many tables as there were in fitting, of the same matches."""
    if len(tables) != models:
        raise DataError(f"fitted on {models} prediction files, given {len(tables)}")
    for number, other in enumerate(tables[1:], 2):
        _meets(other, tables[0], f"prediction file {number}", "the first")


def _meets(table: pd.DataFrame, other: pd.DataFrame, name: str, others: str) -> None:
    """A model may lack halves; of nothing but other halves, its file is the wrong one."""
    halves, known = set(halves_of(table)), set(halves_of(other))
    if halves and known and not halves & known:
        raise DataError(f"{name}: no half in common with {others}: of another split?")


def apply(rescorer: Rescorer, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Re-scored events of other matches, from predictions alone.

    All scores are above the official threshold, since what is kept is kept.
    """
    table, p = probabilities(rescorer, tables)
    return choose(table, p, np.array(rescorer.recall))


def choose(table: pd.DataFrame, p: np.ndarray, recall: np.ndarray) -> pd.DataFrame:
    """Keep, per class, the k likeliest candidates with the highest expected F1.

    That is 2 * (sum of their probabilities) / (k + N), where N, the number of true events, is the sum of
    all probabilities over the recall of the candidates (a plug-in of the expectation; see Lipton et al.,
    "Optimal thresholding of classifiers to maximize F1 measure", 2014). ``p`` is ``(N, 9)``, ``recall``
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
        rows = table.iloc[order][["half", "frame", "team", "jersey"]]
        kept.append(rows.assign(cls=int(action), score=score))
    empty = table.iloc[:0][["half", "frame", "team", "jersey", "cls"]].assign(score=0.0)
    events = pd.concat([empty, *kept])
    return events.sort_values(["half", "frame"], kind="stable", ignore_index=True)


def rescore_lomo(
    predictions: Mapping[str, pd.DataFrame],
    truth: pd.DataFrame,
    train_truth: pd.DataFrame,
    config: RescoreConfig | None = None,
    seed: int = 0,
    cache_dir: str | Path | None = None,
    folds: int | None = None,
) -> CrossFit:
    """Events of every match and its pipeline, which never saw that match's ground truth.

    Parameters
    ----------
    predictions
        By name; their order is that of trust.
    cache_dir
        Folder of fitted pipelines, by the content of all they depend on; None: fit anew.
    folds
        As of `cross_fit`.
    """
    config = config or RescoreConfig()

    def fit_cached(inputs: Mapping[str, pd.DataFrame], known: pd.DataFrame) -> Rescorer:
        tables = list(inputs.values())
        if cache_dir is None:
            return fit(tables, known, train_truth, config, seed)
        code = sources("ensemble", "simulate/copy_paste.py", "metrics.py", "timeline.py", "schema.py")
        made_of = fingerprint(config, seed, lgb.__version__, *code, *tables, known, train_truth)
        path = Path(cache_dir) / f"rescore-{made_of}.json"
        if not path.is_file():
            make_folder(path.parent)
            write_config(fit(tables, known, train_truth, config, seed), path)
        return load(path)

    def apply_to(rescorer: Rescorer, inputs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        return apply(rescorer, list(inputs.values()))

    return cross_fit(fit_cached, apply_to, predictions, truth, folds)


def load(path: str | Path) -> Rescorer:
    """Read a fitted pipeline, written by `write_config`: numbers and LightGBM's own text, no code."""
    what = f"a fitted re-scoring (write one with: rescore fit --out {path})"
    rescorer = read_config(path, Rescorer, what)
    try:
        rescorer.boosters  # noqa: B018  # parses the trees
    except DataError as error:
        raise DataError(f"not {what}: {error.reason}", path) from error
    return rescorer


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
) -> tuple[list, list[Rows], list[np.ndarray]]:
    """Models of all stages, all rows, and held-out probabilities of the real ones."""
    sets = _training_rows(tables, truth, train_truth, folds, config, rng)
    real = [i for i, rows in enumerate(sets) if not rows.simulated]
    logistic = [fit_logistic([rows for rows in sets if rows.fold == f]) for f in FOLDS]
    p = [apply_logistic(logistic[1 - rows.fold], rows.candidates) for rows in sets]
    models: list = [logistic]
    blends = []
    for stage in tqdm(range(1, config.stages + 1), desc="stages", leave=False):
        x = [_features(rows.candidates, q, ratios, config) for rows, q in zip(sets, p, strict=True)]
        trees = fit_trees(sets, x, p, config.boosting, rng)
        linear = fit_linear(sets, x, p, config.boosting, rng)
        models.append({"trees": trees, "linear": linear[-1]})
        # Held out, the linear classifiers are those of one fold.
        p_linear = [apply_linear(linear[1 - sets[i].fold], x[i], p[i], sets[i].candidates) for i in real]
        boosters = parsed(trees, [*x[0], *P_NAMES])
        # What the last stage says of simulated rows is asked by nobody.
        for i in range(len(sets)) if stage < config.stages else real:
            p[i] = apply_trees(boosters[1 - sets[i].fold], x[i], p[i], sets[i].candidates)
        blends.append([(p[i] + q) / 2 for i, q in zip(real, p_linear, strict=True)])
    held_out = [np.mean(stages, axis=0) for stages in zip(*blends[-config.averaged :], strict=True)]
    return models, sets, held_out


def _training_rows(
    tables: Sequence[pd.DataFrame],
    truth: pd.DataFrame,
    train_truth: pd.DataFrame,
    folds: Mapping[str, int],
    config: RescoreConfig,
    rng: np.random.Generator,
) -> list[Rows]:
    matches = sorted({match_of(half) for half in halves_of(train_truth)})
    chosen = rng.permutation(matches)[: config.train_matches]
    sets = []
    for fold in FOLDS:
        own = [half for half, f in folds.items() if f == fold]
        real = [cut(table, own) for table in tables]
        known = select_halves(truth, own)
        sets.append(_rows(real, known, fold, False, config.real_weight))
        others = set(chosen[fold::2])
        wanted = select_halves(train_truth, [h for h in halves_of(train_truth) if match_of(h) in others])
        if len(wanted):
            pasted = paste(cut_snippets(known, real, config.snippets), wanted, rng, config.snippets)
            sets.append(_rows(pasted, wanted, fold, True, 1.0))
    return sets


def _rows(
    tables: Sequence[pd.DataFrame], truth: pd.DataFrame, fold: int, simulated: bool, weight: float
) -> Rows:
    merged = merge(tables)
    return Rows(merged, label(merged, truth), fold, simulated, weight)


def _features(
    table: pd.DataFrame, p: np.ndarray, ratios: np.ndarray, config: RescoreConfig
) -> pd.DataFrame:
    x = features(table, p, ratios)
    return x[_kept(list(x), config)] if config.without else x


def _kept(names: Sequence[str], config: RescoreConfig) -> list[str]:
    return [name for name in names if not name.startswith(config.without)]
