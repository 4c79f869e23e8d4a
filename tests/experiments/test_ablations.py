"""The ablation grid: its file, who does what, tables of its rows."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from footpass.experiments import grid as ablations
from footpass.experiments.engine import compute
from footpass.experiments.grid import (
    Grid,
    Outcome,
    Row,
    effects,
    evaluations,
    open_grid,
    read_grid,
    scores,
)
from footpass.experiments.profile import load_profile
from footpass.files import PROJECT, DataError
from footpass.workers import open_workers
from tests.cluster import cluster, kill_one_at_work
from tests.tables import predictions, truth


def test_the_projects_grid_has_every_extension_alone_and_left_out():
    grid = read_grid(ablations.GRID)
    assert len(grid.seeds) >= 3
    assert {row.model for row in grid.rows} == {"taad", "gnn", "dst"}
    assert {row.weighting for row in grid.rows} == {"none", "inverse", "sqrt", "effective"}
    full = next(row for row in grid.rows if "full system" in row.name)
    assert (full.fusion, full.weighting, full.postprocess, full.ensemble) == (
        "concat",
        "sqrt",
        True,
        True,
    )
    without = [row for row in grid.rows if row.against == full.name]
    assert {(row.fusion, row.weighting, row.postprocess, row.ensemble) for row in without} == {
        ("none", "sqrt", True, True),
        ("concat", "none", True, True),
        ("concat", "sqrt", False, True),
    }
    assert [seed for row, seed in grid.jobs() if row.model != "dst"] == [grid.seeds[0]] * 2


def test_short_profiles_take_the_first_seed_alone():
    assert open_grid(None, load_profile("demo")).seeds == read_grid(ablations.GRID).seeds[:1]
    assert open_grid(None, load_profile("study")) == read_grid(ablations.GRID)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("seeds = [0", "not TOML"),
        ("seeds = [0]", "Grid.rows: Field required"),
        ('seeds = 0\n[[rows]]\nname = "a"', "Grid.seeds = 0: Input should be"),
        ('seeds = ["0"]\n[[rows]]\nname = "a"', "Grid.seeds.0 = '0'"),
        ("seeds = [0]\nrows = []", "at least 1 item"),
        ('seeds = [0]\n[[rows]]\nname = "a"\n[[rows]]\nname = "a"', "two rows are called 'a'"),
        ('seeds = [0]\n[[rows]]\nname = "a"\nagainst = "b"', "compared with 'b', which is no row"),
        ('seeds = [0]\n[[rows]]\nname = "a"\nmodel = "rnn"', "Grid.rows.0.model"),
        ('seeds = [0]\n[[rows]]\nname = "a"\nsteps = true', "Grid.rows.0.steps: no such field"),
    ],
)
def test_bad_grids_are_refused(tmp_path, text, reason):
    path = tmp_path / "grid.toml"
    path.write_text(text)
    with pytest.raises(DataError, match="grid.toml") as error:
        read_grid(path)
    assert reason in str(error.value)


class FakeStudy(ablations.Study):
    """Says what it is asked for instead of doing it."""

    def pretrains(self, fusion):
        return True


def graph_of(*rows, seeds=(0, 1)):
    study = FakeStudy("nowhere", load_profile("smoke"), season=None)
    return ablations._graph(study, Grid(rows, seeds))


def test_what_rows_have_in_common_is_one_task_and_comes_before_them():
    full = Row("full", fusion="concat", weighting="sqrt", ensemble=True)
    graph = graph_of(Row("TAAD", "taad"), Row("DST"), full)
    taad, gnn = ("taad",), ("gnn",)
    plain, fused = ("dst", "none", "none", 1), ("dst", "concat", "sqrt", 1)
    count = Counter(task[0] for task in graph)
    assert count == {"taad": 1, "gnn": 1, "pretraining": 2, "dst": 4, "watch": 8, "row": 5}
    assert graph[gnn] == {taad}
    assert {("pretraining", "none"), ("watch", "val", taad)} <= graph[plain]
    assert {("pretraining", "concat"), ("watch", "val", gnn), ("watch", "val", taad)} <= graph[fused]
    assert {("watch", "val", plain), ("watch", "val", fused)} <= graph["row", full, 1]
    done = set()
    for task, needed in graph.items():  # as one process does them
        assert needed <= done
        done.add(task)


def note(study, task):
    """Write down that a task is done, and that those before it were."""
    name, needed = task
    assert all((study.folder / one).exists() for one in needed)
    if name == "broken":
        raise DataError("cannot be done")
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    (study.folder / name).touch()


def noted(folder, names: str, workers: int) -> list[str]:
    """Do tasks by letter, each after the one before."""
    study = ablations.Study(folder, load_profile("smoke"), season=None)
    graph, before = {}, ()
    for name in names.split():
        graph[name, before] = frozenset([list(graph)[-1]] if before else [])
        before = (name,)
    with open_workers(workers, None) as executor:
        compute(study, graph, note, executor)
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_begins_when_those_before_it_are_done(tmp_path, workers):
    assert noted(tmp_path, "a b c", workers) == ["a", "b", "c"]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_error_of_a_task_is_that_of_the_whole(tmp_path, workers):
    with pytest.raises(DataError, match="cannot be done"):
        noted(tmp_path, "a broken c", workers)
    assert not (tmp_path / "c").exists()


def test_the_end_of_a_worker_is_said(tmp_path):
    with pytest.raises(ChildProcessError, match="ended from outside"):
        noted(tmp_path, "a killed", 2)


def test_less_than_one_worker_and_a_scheduler_that_is_not_there_are_refused():
    with pytest.raises(DataError, match="at least 1"), open_workers(0, None):
        pass
    with pytest.raises(DataError, match="is the scheduler up"), open_workers(1, "tcp://127.0.0.1:1"):
        pass


@pytest.fixture
def results():
    """Row a finds nothing; row b finds the drive with one seed of two."""
    true = truth((10, 0, 7, 1), (500, 1, 3, 2))
    events = {frame: predictions((frame, 0, 7, 1, 0.9)) for frame in (10, 400)}
    outcomes = {"a": [Outcome(events[400], {})], "b": [Outcome(events[k], {}) for k in (10, 400)]}
    return evaluations(outcomes, true)


def test_scores_are_means_over_seeds(results):
    table = scores(results, samples=200)
    assert table.loc["a", "macro F1"] == 0 and table.loc["b", "macro F1"] == pytest.approx(1 / 16)
    assert table.loc["b", ["seeds", "worst seed", "best seed"]].tolist() == pytest.approx([2, 0, 1 / 8])
    assert table.loc["b", "recall, box"] == pytest.approx(1 / 4)
    assert ablations.by_class(results).loc["b"].tolist() == [0.5, 0, 0, 0, 0, 0, 0, 0]


def test_effects_are_paired_and_name_what_they_are_against(results):
    grid = Grid((Row("a"), replace(Row("b"), against="a")), (0, 1))
    table = effects(grid, results, samples=200)
    assert table.index.tolist() == ["b"] and table.loc["b", "against"] == "a"
    assert table.loc["b", "change"] == pytest.approx(1 / 16)


GRID = """
seeds = [0, 1]
[[rows]]
name = "TAAD"
model = "taad"
[[rows]]
name = "DST"
against = "TAAD"
[[rows]]
name = "DST, its steps and itself"
postprocess = true
ensemble = true
"""


def ablate(name: str, grid: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "footpass", "ablate", "--profile", "smoke", "--name", name]
    return subprocess.Popen(
        [*command, "--set", "ablations.seeds=2", "--grid", str(grid), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen) -> tuple[str, list[str]]:
    """Its table, and the stages that it has made."""
    out, log = process.communicate()
    assert process.returncode == 0, log
    return out, re.findall(r"(\S+): not there yet", log)


@pytest.fixture
def runs():
    """Names of folders below runs/, which are gone afterwards."""
    names = [f"test-grid-{os.getpid()}-{number}" for number in range(2)]
    yield names
    for name in names:
        shutil.rmtree(PROJECT / "runs" / name, ignore_errors=True)


@pytest.mark.slow
def test_three_dask_workers_one_killed_make_the_table_of_one_process(tmp_path, runs):
    """The scheduler and its workers are processes of their own, as on several machines."""
    grid = tmp_path / "grid.toml"
    grid.write_text(GRID)
    one, made = ended(ablate(runs[0], grid))
    kinds = Counter(Path(path).name.partition("-")[0] for path in made)
    assert kinds == {"taad": 1, "pretraining": 1, "dst": 2, "row": 5}
    again, later = ended(ablate(runs[0], grid, "--workers", "2"))
    assert again == one and not later

    with cluster(tmp_path, 3) as client:
        spread = ablate(runs[1], grid, "--dask", client.scheduler.address)
        stages = PROJECT / "runs" / runs[1] / "stages"
        while not list(stages.glob("pretraining-*/log.jsonl")) and spread.poll() is None:
            time.sleep(0.1)
        kill_one_at_work(client)
        assert ended(spread)[0] == one
        assert len(client.scheduler_info()["workers"]) == 2
