"""The ablation study: the rows of a grid file, each made once, by as many workers as there are.

What rows have in common is a stage (`experiments.stages`) and trained once.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from footpass.crossfit import cross_fit
from footpass.data.logits import logits_path, read_logits
from footpass.data.provenance import read_provenance, write_marked
from footpass.ensemble import chain, rescore
from footpass.ensemble.fusion import FusionConfig, apply_fusion, fit_fusion
from footpass.events import match_of, predictions_path, read_predictions
from footpass.experiments.engine import Graph, Task, compute
from footpass.experiments.rows import Grid, Row
from footpass.experiments.stages import ADJUSTING, DECODING, Stage, Study
from footpass.files import DataError, sources
from footpass.models.transformer import FUSIONS
from footpass.postprocess.evidence import LogitEvidence, Remembered
from footpass.postprocess.search import fit_postprocess, search
from footpass.postprocess.steps import PostprocessConfig, postprocess
from footpass.postprocess.thresholds import apply_thresholds, fit_thresholds

FOLDS = 5  # of val matches: were each left out alone, thirty would take a hundred times as long as three
# Code that whatever is fitted on val depends on.
_MATCHING = ("crossfit.py", "metrics.py", "schema.py", "timeline.py")
# What a model depends on: recipes of a profile, and which models of the zoo it starts from.
_RECIPES = {"taad": ("taad",), "gnn": ("taad", "gnn"), "dst": ("taad", "gnn", "dst")}
_STARTS = _RECIPES | {"dst": ("taad", "gnn", "dst", "dst-gnn")}


class Model(NamedTuple):
    """A model of a row: which of `Study`'s methods makes it, of which variant, and of what."""

    kind: str
    variant: str | None
    of: tuple[Any, ...]


class Outcome(NamedTuple):
    """A finished row."""

    events: pd.DataFrame  # on val
    stages: dict[str, Stage]  # that made them


def run_grid(
    study: Study, grid: Grid, executor: Executor | None = None, at_once: int | None = None
) -> dict[str, list[Outcome]]:
    """All rows, by name with an outcome per seed; those that are finished are read.

    Without an ``executor`` they are made in this process (`experiments.engine.compute`).
    """
    fitted = [row for row in grid.rows if row.fitted]
    if fitted and len(set(map(match_of, study.footage["val"]))) < 2:  # found before hours of training
        reason = f"{fitted[0].name!r} is fitted on other val matches, and there is but one"
        raise DataError(f"row {reason}: leave out the group {fitted[0].group!r} (ablations.groups)")
    compute(study, _graph(study, grid), _do, executor, at_once)
    return {
        name: [run_row(study, row, seed) for row, seed in grid.jobs() if row.name == name]
        for name in (row.name for row in grid.rows)
    }


def _graph(study: Study, grid: Grid) -> Graph:
    """Tasks: ``("train", model)``, ``("watch", split, *models)`` finds events, pre-trainings, rows."""
    graph: dict[Task, frozenset[Task]] = {}
    together = _together(study, grid)

    def add(*task: Any, after: Iterable[Task] = ()) -> Task:
        graph[task] = frozenset(after)
        return task

    def trained(model: Model) -> Task:
        needed = []
        if model.kind == "gnn" and not study.of_variant(model.variant).profile.features:
            needed.append(trained(_model(study, "taad", model.variant, *model.of)))
        if model.kind == "dst":
            fusion, *_, reads = model.of
            if study.of_variant(model.variant).pretrains(fusion):
                needed.append(add("pretraining", model.variant, fusion))
            kinds = ("taad", "gnn")[: FUSIONS[fusion] - (reads == "oracle")]
            needed += [watched(_model(study, kind, model.variant, 0)) for kind in kinds]
        return add("train", model, after=needed)

    def watched(model: Model) -> Task:
        """On val; a detector first on train, from which it is told how to read its logits."""
        models = together.get(model, [model])
        done = [trained(one) for one in models]
        if model.kind != "dst":
            done = [add("watch", "train", *models, after=done)]
        return add("watch", "val", *models, after=done)

    for row, seed in grid.jobs():
        add("row", row, seed, after=[watched(model) for model in _models(study, row, seed).values()])
    return graph


def _together(study: Study, grid: Grid) -> dict[Model, list[Model]]:
    """Detectors that keep the same features, which are computed once for all of them."""
    groups: dict[Any, list[Model]] = {}
    for row, seed in grid.jobs():
        for model in _models(study, row, seed).values():
            own = study.of_variant(model.variant).profile
            if own.features and model.kind != "dst":
                recipe = getattr(own, model.kind)
                how = own.features, own.stride, recipe.train.precision, recipe.clips.frames
                group = groups.setdefault((*how, recipe.clips.size), [])
                group += [model] * (model not in group)
    return {model: group for group in groups.values() for model in group}


def _models(study: Study, row: Row, seed: int) -> dict[str, Model]:
    """The models of a row by their part in it; DSTs read the detectors of seed 0."""
    models, detectors = {}, 0 if row.model == "dst" else seed
    if row.model != "gnn":
        models["taad"] = _model(study, "taad", row.variant, detectors)
    if row.model == "gnn" or (row.fusion != "none" and row.reads != "oracle"):
        models["gnn"] = _model(study, "gnn", row.variant, detectors)
    if row.model == "dst":
        of = row.fusion, row.weighting, seed, row.reads
        models["dst"] = _model(study, "dst", row.variant, *of)
        models |= {f"member {name}": _model(study, "dst", name, *of) for name in row.members}
    if row.ensemble:
        models["partner"] = _model(study, "dst", row.variant, "none", "none", seed, "detectors")
    return models


def _model(study: Study, kind: str, variant: str | None, *of: Any) -> Model:
    """Of no variant where that changes nothing of what the model depends on: it is trained once."""
    own, plain = (
        [profile.stride, profile.features, *(getattr(profile, recipe) for recipe in _RECIPES[kind])]
        + [profile.from_zoo(start) for start in _STARTS[kind]]
        for profile in (study.of_variant(variant).profile, study.profile)
    )
    return Model(kind, None if own == plain else variant, of)


def _made(study: Study, model: Model) -> Stage:
    own = study.of_variant(model.variant)
    if model.kind != "dst":
        return getattr(own, model.kind)(*model.of)
    *of, reads = model.of
    return own.dst(*of, reads=reads)


def _events_of(study: Study, model: Model, split: str = "val") -> pd.DataFrame:
    return study.of_variant(model.variant).predict(_made(study, model), split)


def _do(study: Study, task: Task) -> None:
    name, *of = task
    if name == "row":
        run_row(study, *of)
    elif name == "watch":
        split, *models = of
        if len(models) == 1:
            _events_of(study, models[0], split)
        else:
            stages = [_made(study, model) for model in models]
            study.of_variant(models[0].variant).watch(stages, split)
    elif name == "pretraining":
        variant, fusion = of
        study.of_variant(variant).pretraining(fusion)
    else:
        _made(study, *of)


def run_row(study: Study, row: Row, seed: int) -> Outcome:
    """One row with one seed; a finished one is read from its file."""
    models = _models(study, row, seed)
    stages = {part: _made(study, model) for part, model in models.items()}
    made_of: list[Any] = [stage.dir.name for stage in stages.values()]
    made_of += [study.fingerprint_of("val"), FOLDS]
    made_of += sources(*DECODING, *ADJUSTING)  # its events are made anew with these
    if row.rescore:
        code = sources("ensemble", "postprocess/grammar.py", "simulate/copy_paste.py", *_MATCHING)
        made_of += [study.profile.ablations.rescore, *code]
    if row.thresholds or row.steps or row.ensemble or row.members:
        code = sources("postprocess", "ensemble/fusion.py", "ensemble/candidates.py", *_MATCHING)
        made_of += [search(), *code]
    # Another name is no other row; its seed is that of its models.
    recipe = asdict(replace(row, name="", group="", against=()))
    del recipe["seed"]
    parts = [
        part
        for part in ("divide_weights", "thresholds", "steps", "ensemble", "members", "rescore")
        if getattr(row, part)
    ]
    of = [row.variant or "", row.model, row.fusion, row.weighting, *parts, f"seed{seed}"]
    with study.stage("row", recipe, *made_of, of="-".join(filter(None, of))) as folder:
        path = predictions_path(folder, "val")
        if not path.is_file():
            events = _row_events(study, row, models, seed)
            made = read_provenance(predictions_path(stages[row.model].dir, "val"))
            write_marked(events, path, made.by(*(f"{part} {folder.name}" for part in parts[::-1])))
    return Outcome(read_predictions(path), stages)


def _row_events(study: Study, row: Row, models: Mapping[str, Model], seed: int) -> pd.DataFrame:
    truth = study.truth["val"]
    inputs: dict[str, Any] = {"events": _own_events(study, row, models[row.model])}
    others = [part for part in models if part == "partner" or part.startswith("member")]
    inputs |= {part: _events_of(study, models[part]) for part in others}
    detector = models.get("gnn") or models["taad"]
    if row.rescore:
        inputs["detector"] = _events_of(study, detector)
        train = study.truth["train"]
        if row.rescore is True:
            config = study.profile.ablations.rescore
            return rescore.rescore_lomo(inputs, truth, train, config, seed, folds=FOLDS).table
        strength = chain.STRENGTH if row.rescore == "grammar" else 0.0
        return chain.chain_lomo(inputs, truth, train, strength, FOLDS).table
    if row.steps:
        store = logits_path(_made(study, detector).dir, "val")
        lineups = {name: entry.half for name, entry in study.footage["val"].items()}
        logits = {name: read_logits(store, half) for name, half in lineups.items()}
        inputs["evidence"] = Remembered(LogitEvidence(logits, lineups, row.judge_unseen))
    if not (row.thresholds or row.steps or others):
        return inputs["events"]
    return cross_fit(partial(_fit, row), _apply, inputs, truth, FOLDS).table


def _own_events(study: Study, row: Row, model: Model) -> pd.DataFrame:
    if row.divide_weights:
        return study.of_variant(model.variant).decoded(_made(study, model), "val", row.weighting)[0]
    return _events_of(study, model)


class _Pipeline(NamedTuple):
    """What a row fits, all of it on the same matches, and none on those that it is applied to."""

    thresholds: dict[str, tuple[float, ...]]  # by table, as are the steps
    steps: dict[str, PostprocessConfig]
    fusion: FusionConfig | None = None


def _fit(row: Row, inputs: Mapping[str, Any], truth: pd.DataFrame) -> _Pipeline:
    fitted = _Pipeline({}, {})
    if row.thresholds:
        for name, table in _processed(fitted, inputs).items():
            fitted.thresholds[name] = fit_thresholds(table, truth)
    if row.steps:
        evidence, wanted = inputs["evidence"], replace(search(), steps=row.steps)
        for name, table in _processed(fitted, inputs).items():
            fitted.steps[name] = fit_postprocess(table, evidence, truth, wanted)
    tables = _processed(fitted, inputs)
    if len(tables) == 1:
        return fitted
    exponents = (0.5, 1.0) if row.members else (1.0,)
    return fitted._replace(fusion=fit_fusion(tables, truth, exponents))


def _apply(pipeline: _Pipeline, inputs: Mapping[str, Any]) -> pd.DataFrame:
    tables = _processed(pipeline, inputs)
    return apply_fusion(pipeline.fusion, tables) if pipeline.fusion else tables["events"]


def _processed(pipeline: _Pipeline, inputs: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    tables = {name: table for name, table in inputs.items() if name != "evidence"}
    for name, thresholds in pipeline.thresholds.items():
        tables[name] = apply_thresholds(tables[name], thresholds)
    for name, config in pipeline.steps.items():
        tables[name] = postprocess(tables[name], inputs["evidence"], config).table
    return tables
