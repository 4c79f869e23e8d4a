"""The ablation study: the rows of a grid file, each made once, by as many workers as there are.

What rows have in common is a stage (`experiments.stages`) and trained once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from footpass.configs import Count, build, config_dataclass, read_toml
from footpass.crossfit import cross_fit
from footpass.data.logits import logits_path
from footpass.data.provenance import read_provenance, write_marked
from footpass.ensemble import rescore
from footpass.ensemble.fusion import FusionConfig, apply_fusion, fit_fusion
from footpass.events import predictions_path, read_predictions
from footpass.experiments.engine import Graph, Task, compute
from footpass.experiments.profile import Profile
from footpass.experiments.stages import Stage, Study
from footpass.files import PROJECT, DataError, sources
from footpass.metrics import SUBSETS, Evaluation, compare, evaluate
from footpass.models.transformer import FUSIONS
from footpass.postprocess.evidence import load_logits
from footpass.postprocess.search import fit_postprocess, search
from footpass.postprocess.steps import PostprocessConfig, postprocess
from footpass.schema import ACTION_LABELS

GRID = PROJECT / "notebooks" / "ablations.toml"


@config_dataclass
class Row:
    """One row of the study: what it is made of."""

    name: str
    model: Literal["taad", "gnn", "dst"] = "dst"  # whose events: taad, gnn or dst
    # Of the DST (`models.transformer.FUSIONS`, `losses.WEIGHTINGS`).
    fusion: str = "none"
    weighting: str = "none"
    postprocess: bool = False  # the steps of `footpass.postprocess`, held out by match
    ensemble: bool = False  # fusion by rule with the events of the plain DST, held out by match
    rescore: bool = False  # learned re-scoring of its events and the detector's, held out by match
    against: str | None = None  # name of the row that it is compared with


@config_dataclass
class Grid:
    """Rows, and the seeds that those with a DST are trained with."""

    rows: Annotated[tuple[Row, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Count, ...], Field(min_length=1)]

    def jobs(self) -> Iterator[tuple[Row, int]]:
        """Every row with every one of its seeds; detectors, which cost the most, have the first only."""
        for seed in self.seeds:
            for row in self.rows:
                if row.model == "dst" or seed == self.seeds[0]:
                    yield row, seed


class Outcome(NamedTuple):
    """A finished row."""

    events: pd.DataFrame  # on val
    stages: dict[str, Stage]  # that made them


def read_grid(path: str | Path) -> Grid:
    """A grid from a TOML file: ``seeds`` and a table ``rows`` of `Row`."""
    content = read_toml(path)
    try:
        grid = build(Grid, content)
    except DataError as error:
        raise error.at(path) from error
    names = [row.name for row in grid.rows]
    for row in grid.rows:
        if names.count(row.name) > 1:
            raise DataError(f"two rows are called {row.name!r}", path)
        if row.against is not None and row.against not in names:
            raise DataError(f"row {row.name!r} is compared with {row.against!r}, which is no row", path)
    return grid


def open_grid(path: str | Path | None, profile: Profile) -> Grid:
    """The grid of a file, by default the project's, with as many of its seeds as the profile says."""
    grid = read_grid(path or GRID)
    return replace(grid, seeds=grid.seeds[: profile.ablations.seeds])


def run_grid(study: Study, grid: Grid, executor: Executor | None = None) -> dict[str, list[Outcome]]:
    """All rows, by name with an outcome per seed; those that are finished are read.

    Without an ``executor`` they are made in this process (`experiments.engine`).
    """
    compute(study, _graph(study, grid), _do, executor)
    return {
        name: [run_row(study, row, seed) for row, seed in grid.jobs() if row.name == name]
        for name in (row.name for row in grid.rows)
    }


def _graph(study: Study, grid: Grid) -> Graph:
    """Tasks: ``(kind, ...)`` trains a model, ``("watch", split, model)`` finds its events, and rows."""
    graph: dict[Task, frozenset[Task]] = {}

    def add(*task: Any, after: Iterable[Task] = ()) -> Task:
        graph[task] = frozenset(after)
        return task

    def trained(model: Task) -> Task:
        kind, *of = model
        needed = [trained(("taad",))] if kind == "gnn" else []
        if kind == "dst":
            needed += [add("pretraining", of[0])] if study.pretrains(of[0]) else []
            needed += [watched(one) for one in (("taad",), ("gnn",))[: FUSIONS[of[0]]]]
        return add(*model, after=needed)

    def watched(model: Task) -> Task:
        """On val; a detector first on train, from which it is told how to read its logits."""
        done = trained(model)
        if model[0] != "dst":
            done = add("watch", "train", model, after=[done])
        return add("watch", "val", model, after=[done])

    for row, seed in grid.jobs():
        add("row", row, seed, after=[watched(model) for model in _models(row, seed).values()])
    return graph


def _models(row: Row, seed: int) -> dict[str, Task]:
    """The models of a row by their part in it; which of `Study`'s methods makes each, and of what."""
    models: dict[str, Task] = {}
    if row.model != "gnn":
        models["taad"] = ("taad",)
    if row.model == "gnn" or row.fusion != "none":
        models["gnn"] = ("gnn",)
    if row.model == "dst":
        models["dst"] = ("dst", row.fusion, row.weighting, seed)
    if row.ensemble:
        models["partner"] = ("dst", "none", "none", seed)
    return models


def _made(study: Study, model: Task) -> Stage:
    kind, *of = model
    return getattr(study, kind)(*of)


def _do(study: Study, task: Task) -> None:
    name, *of = task
    if name == "row":
        run_row(study, *of)
    elif name == "watch":
        split, model = of
        study.predict(_made(study, model), split)
    else:
        _made(study, task)


def run_row(study: Study, row: Row, seed: int) -> Outcome:
    """One row with one seed; a finished one is read from its file."""
    stages = {part: _made(study, model) for part, model in _models(row, seed).items()}
    made_of: list[Any] = [stage.dir.name for stage in stages.values()]
    if row.rescore:
        made_of += [study.profile.ablations.rescore, *sources("ensemble", "simulate/copy_paste.py")]
    if row.postprocess or row.ensemble:
        made_of += [search(), *sources("postprocess", "ensemble/fusion.py")]
    recipe = replace(row, name="", against=None)  # another name is no other row
    parts = [part for part in ("postprocess", "ensemble", "rescore") if getattr(row, part)]
    of = "-".join([row.model, row.fusion, row.weighting, *parts, f"seed{seed}"])
    with study.stage("row", recipe, *made_of, of=of) as folder:
        path = predictions_path(folder, "val")
        if not path.is_file():
            events = _events(study, row, stages, seed)
            made = read_provenance(predictions_path(stages[row.model].dir, "val"))
            write_marked(events, path, made.by(*(f"{part} {folder.name}" for part in parts[::-1])))
    return Outcome(read_predictions(path), stages)


def _events(study: Study, row: Row, stages: Mapping[str, Stage], seed: int) -> pd.DataFrame:
    detector = stages.get("gnn") or stages["taad"]
    events = study.predict(stages[row.model], "val")
    truth = study.truth["val"]
    if row.rescore:
        tables = {"events": events, "detector": study.predict(detector, "val")}
        config = study.profile.ablations.rescore
        return rescore.rescore_lomo(tables, truth, study.truth["train"], config, seed)[0]
    if not (row.postprocess or row.ensemble):
        return events
    inputs: dict[str, Any] = {"events": events}
    if row.ensemble:
        inputs["partner"] = study.predict(stages["partner"], "val")
    lineups = {name: entry.half for name, entry in study.footage["val"].items()}
    inputs["evidence"] = load_logits(logits_path(detector.dir, "val"), lineups)
    return cross_fit(partial(_fit, row), _apply, inputs, truth).table


_Pipeline = tuple[dict[str, PostprocessConfig], FusionConfig | None]


def _fit(row: Row, inputs: Mapping[str, Any], truth: pd.DataFrame) -> _Pipeline:
    """Steps and fusion, both from the same fitting matches: neither sees the one they are applied to."""
    names = [name for name in inputs if name != "evidence"]
    steps = {}
    if row.postprocess:
        steps = {n: fit_postprocess(inputs[n], inputs["evidence"], truth, search()) for n in names}
    return steps, fit_fusion(_stepped(steps, inputs), truth) if row.ensemble else None


def _apply(pipeline: _Pipeline, inputs: Mapping[str, Any]) -> pd.DataFrame:
    steps, fusion = pipeline
    tables = _stepped(steps, inputs)
    return apply_fusion(fusion, tables) if fusion else tables["events"]


def _stepped(
    steps: Mapping[str, PostprocessConfig], inputs: Mapping[str, Any]
) -> dict[str, pd.DataFrame]:
    tables = {name: table for name, table in inputs.items() if name != "evidence"}
    return tables | {
        name: postprocess(tables[name], inputs["evidence"], config).table
        for name, config in steps.items()
    }


Evaluations = Mapping[str, Sequence[Evaluation]]  # by row, one a seed


def evaluations(outcomes: Mapping[str, Sequence[Outcome]], truth: pd.DataFrame) -> Evaluations:
    """Every row's events against the truth."""
    return {name: [evaluate(o.events, truth) for o in runs] for name, runs in outcomes.items()}


def scores(results: Evaluations, **options: Any) -> pd.DataFrame:
    """Macro F1 by row, the mean over its seeds with the 90 % interval, and recall by visibility.

    The options are those of `metrics.compare`.
    """
    intervals, rows = compare(results, **options).scores, []
    for name, runs in results.items():
        interval = intervals[name]
        single = [run.macro_f1 for run in runs]
        row = {"row": name, "seeds": len(runs), "macro F1": interval.value, "low": interval.low}
        row |= {"high": interval.high, "worst seed": min(single), "best seed": max(single)}
        row["micro F1"] = np.mean([run.counts.micro["f1"] for run in runs])
        for split in SUBSETS:
            recalls = [run.splits()[split].micro["recall"] for run in runs]
            row[f"recall, {split.replace('_', ' ')}"] = np.mean(recalls)
        rows.append(row)
    return pd.DataFrame(rows).set_index("row")


def effects(grid: Grid, results: Evaluations, **options: Any) -> pd.DataFrame:
    """By how much each row differs from the one it is compared with, paired, with the 90 % interval."""
    rows = []
    for row in grid.rows:
        if row.against is not None:
            pair = {name: results[name] for name in (row.against, row.name)}
            change = compare(pair, row.against, **options).gains[row.name]
            rows.append((row.name, row.against, change.value, change.low, change.high))
    return pd.DataFrame(rows, columns=["row", "against", "change", "low", "high"]).set_index("row")


def by_class(results: Evaluations) -> pd.DataFrame:
    """F1 by row and class, the mean over seeds."""
    f1 = {name: np.mean([run.counts.f1 for run in runs], axis=0) for name, runs in results.items()}
    table = pd.DataFrame(f1, pd.Index(ACTION_LABELS, name="class")).T
    return table.rename_axis("row")
