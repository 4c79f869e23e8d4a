"""The ablation study: the rows of a grid file, each computed once by as many workers as there are.

Start the same command in several terminals, or on several machines with a shared folder: a worker takes
what nobody else is at. What rows have in common is a stage (`footpass.stages`) and trained once.
"""

import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from footpass import rescore
from footpass.clips import ClipDataset
from footpass.configs import build
from footpass.crossfit import cross_fit
from footpass.ensemble import FusionConfig, apply_fusion, fit_fusion
from footpass.events import read_predictions, write_events
from footpass.evidence import load_logits
from footpass.files import DataError
from footpass.inference import frames_per_second
from footpass.memory import LiveBytes
from footpass.metrics import SPLITS, Evaluation, bootstrap, evaluate
from footpass.models.taad import TAAD
from footpass.postprocess import PostprocessConfig, fit_postprocess, postprocess, search
from footpass.recipes import TAAD_RECIPES, ClipLoss, logits_path, predictions_path
from footpass.runs import PROJECT
from footpass.schema import ACTION_LABELS
from footpass.stages import Busy, Stage, Study
from footpass.training import autocast

GRID = PROJECT / "notebooks" / "ablations.toml"
POLL = 10.0  # seconds between looks at rows that other workers are at


@dataclass(frozen=True)
class Row:
    """One row of the study: what it is made of.

    Attributes
    ----------
    model
        Whose events: ``taad``, ``gnn`` or ``dst``.
    fusion, weighting
        Of the DST (`models.dst.FUSIONS`, `losses.WEIGHTINGS`).
    postprocess
        The steps of `footpass.postprocess`, held out by match.
    ensemble
        Fusion by rule with the events of the plain DST, held out by match.
    rescore
        Learned re-scoring of its events and the detector's, held out by match.
    against
        Name of the row that it is compared with.
    """

    name: str
    model: Literal["taad", "gnn", "dst"] = "dst"
    fusion: str = "none"
    weighting: str = "none"
    postprocess: bool = False
    ensemble: bool = False
    rescore: bool = False
    against: str | None = None


@dataclass(frozen=True)
class Grid:
    """Rows, and the seeds that those with a DST are trained with."""

    rows: tuple[Row, ...]
    seeds: tuple[int, ...]

    def jobs(self) -> Iterator[tuple[Row, int]]:
        """Every row with every one of its seeds; detectors, which cost the most, have the first only."""
        for seed in self.seeds:
            for row in self.rows:
                if row.model == "dst" or seed == self.seeds[0]:
                    yield row, seed


class Outcome(NamedTuple):
    """A finished row: its events on val, and the stages that made them."""

    events: pd.DataFrame
    stages: dict[str, Stage]


def read_grid(path: str | Path) -> Grid:
    """A grid from a TOML file: ``seeds`` and a table ``rows`` of `Row`.

    Raises
    ------
    DataError
        If the file is not such a grid, two rows have one name, or a row is compared with none of them.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no readable grid: {error}") from error
    if set(content) != {"seeds", "rows"} or not all(type(s) is int for s in content["seeds"]):
        raise DataError(f"{path}: a grid has seeds, a list of whole numbers, and rows")
    try:
        rows = tuple(build(Row, row) for row in content["rows"])
    except (DataError, TypeError) as error:
        raise DataError(f"{path}: {error}") from error
    grid = Grid(rows, tuple(content["seeds"]))
    names = [row.name for row in grid.rows]
    for row in grid.rows:
        if names.count(row.name) > 1:
            raise DataError(f"{path}: two rows are called {row.name!r}")
        if row.against is not None and row.against not in names:
            raise DataError(
                f"{path}: row {row.name!r} is compared with {row.against!r}, which is no row"
            )
    return grid


def open_grid(path: str | Path | None, profile: str) -> Grid:
    """The grid of a file, by default the project's; in the short profiles with its first seed alone."""
    grid = read_grid(path or GRID)
    return grid if profile in ("study", "paper") else replace(grid, seeds=grid.seeds[:1])


def run_grid(study: Study, grid: Grid) -> dict[str, list[Outcome]]:
    """All rows, by name with an outcome per seed; those that are finished are read.

    Rows that another worker is at are left to it, and waited for in the end.
    """
    impatient = replace(study, waits=False)
    done: dict[tuple[str, int], Outcome] = {}
    left = list(grid.jobs())
    with tqdm(total=len(left), desc="grid", unit="row") as progress:
        while left:
            busy = []
            for row, seed in left:
                progress.set_postfix_str(f"{row.name}, seed {seed}")
                try:
                    done[row.name, seed] = run_row(impatient, row, seed)
                    progress.update()
                except Busy:
                    busy.append((row, seed))
            if len(busy) == len(left):
                time.sleep(POLL)
            left = busy
    return {
        row.name: [done[row.name, seed] for seed in grid.seeds if (row.name, seed) in done]
        for row in grid.rows
    }


def run_row(study: Study, row: Row, seed: int) -> Outcome:
    """One row with one seed; a finished one is read from its file.

    Raises
    ------
    Busy
        If another worker is at it or at a stage of it, and the study does not wait.
    """
    stages = dict(_stages(study, row, seed))
    made_by = [stage.dir.name for stage in stages.values()]
    recipe = replace(row, name="", against=None)  # another name is no other row
    with study.stage("row", recipe, *made_by) as folder:
        path = predictions_path(folder, "val")
        if not path.is_file():
            write_events(_events(study, row, stages, seed), path)
    return Outcome(read_predictions(path), stages)


def _stages(study: Study, row: Row, seed: int) -> Iterator[tuple[str, Stage]]:
    if row.model != "gnn":
        yield "taad", study.taad()
    if row.model == "gnn" or row.fusion != "none":
        yield "gnn", study.gnn()
    if row.model == "dst":
        yield "dst", study.dst(row.fusion, row.weighting, seed)
    if row.ensemble:
        yield "partner", study.dst("none", "none", seed)


def _events(study: Study, row: Row, stages: Mapping[str, Stage], seed: int) -> pd.DataFrame:
    detector = stages.get("gnn") or stages["taad"]
    events = study.predict(stages[row.model], "val")
    truth = study.truth["val"]
    if row.rescore:
        tables = {"events": events, "detector": study.predict(detector, "val")}
        config = rescore.PROFILES["demo"]
        return rescore.rescore_lomo(tables, truth, study.truth["train"], config, seed)[0]
    if not (row.postprocess or row.ensemble):
        return events
    inputs: dict[str, Any] = {"events": events}
    if row.ensemble:
        inputs["partner"] = study.predict(stages["partner"], "val")
    lineups = {name: entry.half for name, entry in study.footage["val"].items()}
    inputs["evidence"] = load_logits(logits_path(detector.dir, "val"), lineups)
    return cross_fit(partial(_fit, row), _apply, inputs, truth).table


class _Pipeline(NamedTuple):
    steps: dict[str, PostprocessConfig]
    fusion: FusionConfig | None


def _fit(row: Row, inputs: Mapping[str, Any], truth: pd.DataFrame) -> _Pipeline:
    """Steps and fusion, both from the same fitting matches: neither sees the one they are applied to."""
    names = [name for name in inputs if name != "evidence"]
    steps = {}
    if row.postprocess:
        steps = {n: fit_postprocess(inputs[n], inputs["evidence"], truth, search()) for n in names}
    if not row.ensemble:
        return _Pipeline(steps, None)
    return _Pipeline(steps, fit_fusion(_stepped(steps, inputs), truth))


def _apply(pipeline: _Pipeline, inputs: Mapping[str, Any]) -> pd.DataFrame:
    tables = _stepped(pipeline.steps, inputs)
    return apply_fusion(pipeline.fusion, tables) if pipeline.fusion else tables["events"]


def _stepped(
    steps: Mapping[str, PostprocessConfig], inputs: Mapping[str, Any]
) -> dict[str, pd.DataFrame]:
    tables = {name: table for name, table in inputs.items() if name != "evidence"}
    return tables | {
        name: postprocess(tables[name], inputs["evidence"], config).table
        for name, config in steps.items()
    }


# ---------------------------------------------------------------------------------------------------
# Tables of the study

Evaluations = Mapping[str, Sequence[Evaluation]]  # by row, one a seed


def evaluations(outcomes: Mapping[str, Sequence[Outcome]], truth: pd.DataFrame) -> Evaluations:
    """Every row's events against the truth."""
    return {name: [evaluate(o.events, truth) for o in runs] for name, runs in outcomes.items()}


def scores(results: Evaluations, **options: Any) -> pd.DataFrame:
    """Macro F1 by row, the mean over its seeds with the 90 % interval, and recall by visibility.

    Parameters
    ----------
    options
        Of `metrics.bootstrap`.
    """
    intervals = bootstrap(results.values(), **options)[: len(results)]
    rows = []
    for (name, runs), interval in zip(results.items(), intervals, strict=True):
        single = [run.macro_f1 for run in runs]
        row = {"row": name, "seeds": len(runs), "macro F1": interval.value, "low": interval.low}
        row |= {"high": interval.high, "worst seed": min(single), "best seed": max(single)}
        row["micro F1"] = np.mean([run.counts.micro["f1"] for run in runs])
        for split in SPLITS:
            recalls = [run.splits()[split].micro["recall"] for run in runs]
            row[f"recall, {split.replace('_', ' ')}"] = np.mean(recalls)
        rows.append(row)
    return pd.DataFrame(rows).set_index("row")


def effects(grid: Grid, results: Evaluations, **options: Any) -> pd.DataFrame:
    """By how much each row differs from the one it is compared with, paired, with the 90 % interval."""
    rows = []
    for row in grid.rows:
        if row.against is not None:
            change = bootstrap([results[row.against], results[row.name]], **options)[2]
            rows.append((row.name, row.against, change.value, change.low, change.high))
    return pd.DataFrame(rows, columns=["row", "against", "change", "low", "high"]).set_index("row")


def by_class(results: Evaluations) -> pd.DataFrame:
    """F1 by row and class, the mean over seeds."""
    f1 = {name: np.mean([run.counts.f1 for run in runs], axis=0) for name, runs in results.items()}
    table = pd.DataFrame(f1, pd.Index(ACTION_LABELS, name="class")).T
    return table.rename_axis("row")


class Cost(NamedTuple):
    """What a stage takes: parameters, peak bytes of a training step, video frames a second.

    The last is None for a model that reads no video.
    """

    parameters: int
    step_bytes: int
    frames_per_second: float | None


def stage_cost(study: Study, stage: Stage) -> Cost:
    """Measure a stage; a training step of its recipe is taken for it."""
    model, loss, batch, precision = study.a_step(stage)
    with LiveBytes() as live:
        with autocast(torch.device(study.device), precision):
            value = loss(model.train(), batch)[0]
        value.backward()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    speed = frames_per_second(logits_path(stage.dir, "val"))
    return Cost(parameters, live.peak, speed)


def costs(study: Study, outcomes: Mapping[str, Sequence[Outcome]]) -> pd.DataFrame:
    """What a row takes, with the first of its seeds.

    Parameters, training time and time per frame are sums over the stages that it is made of, training
    time over those too that these have gone on from; memory is that of the largest.
    """
    known: dict[Path, Cost] = {}
    rows = []
    for name, (outcome, *_) in outcomes.items():
        for stage in outcome.stages.values():
            if stage.dir not in known:
                known[stage.dir] = stage_cost(study, stage)
        stages = {stage.dir: stage for stage in outcome.stages.values()}
        parts = [known[folder] for folder in stages]
        trained = {folder: stage.train_seconds for folder, stage in stages.items()}
        for stage in stages.values():
            if stage.start:
                trained[stage.start.dir] = stage.start.train_seconds
        speeds = [part.frames_per_second for part in parts if part.frames_per_second]
        rows.append(
            {
                "row": name,
                "parameters": sum(part.parameters for part in parts),
                "training, s": sum(trained.values()),
                "peak of a step, MiB": max(part.step_bytes for part in parts) / 2**20,
                "video, frames/s": 1 / sum(1 / speed for speed in speeds) if speeds else None,
            }
        )
    return pd.DataFrame(rows).set_index("row")


def checkpointing(study: Study, steps: int = 4) -> pd.DataFrame:
    """TAAD's first training steps with and without recomputing the backbone: losses, memory, time.

    The same clips and the same weights to begin with, plain gradient descent.
    """
    recipe = TAAD_RECIPES[study.profile]
    dataset = ClipDataset(list(study.footage["train"].values()), recipe.clips, recipe.augmentation)
    loader = DataLoader(dataset, recipe.train.batch)
    batches = list(islice(loader, steps))
    loss = ClipLoss(recipe.background)
    rows = []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = TAAD(replace(recipe.model, checkpoint_backbone=recompute)).to(study.device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        times, peak = [], 0
        for number, batch in enumerate(batches):
            began = time.perf_counter()
            with LiveBytes() if number == 0 else nullcontext() as live:
                with autocast(torch.device(study.device), recipe.train.precision):
                    value = loss(model, batch)[0]
                value.backward()
            peak = live.peak if live else peak
            optimizer.step()
            optimizer.zero_grad()
            times.append(time.perf_counter() - began)
        rows.append(
            {
                "backbone": "recomputed" if recompute else "kept",
                "loss of the last step": float(value.detach()),
                "peak, MiB": peak / 2**20,
                "seconds a step": min(times[1:] or times),  # the first one is measured, and slower
            }
        )
    return pd.DataFrame(rows).set_index("backbone")
