"""The ablation grid: its file, who does what, tables of its rows."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from footpass.configs import PROFILES, override
from footpass.experiments import grid as ablations
from footpass.experiments.comparing import by_class, effects, evaluations, findings, gains, scores
from footpass.experiments.engine import compute
from footpass.experiments.grid import Model, Outcome
from footpass.experiments.profile import load_profile
from footpass.experiments.rows import GRID as PROJECTS
from footpass.experiments.rows import Grid, Row, open_grid, read_grid
from footpass.files import PROJECT, DataError
from footpass.metrics import Interval, compare
from footpass.postprocess.steps import STEPS
from footpass.workers import open_workers
from tests.cluster import cluster, kill_one_at_work
from tests.tables import predictions, truth


def test_the_projects_grid_has_every_extension_alone_and_left_out():
    grid = read_grid(PROJECTS)
    assert len(grid.seeds) >= 3 and len(grid.detector_seeds) >= 2
    rows = {row.name: row for row in grid.rows}
    full, plain = rows["full system"], rows["DST"]
    everything = dict(fusion="concat", weighting="sqrt", steps=full.steps, ensemble=True)
    assert full.steps == tuple(STEPS) and full == replace(full, **everything)

    def changes(row, base):
        """What a row has that its base has not, of all but names."""
        return {
            field.name
            for field in fields(Row)
            if field.name not in ("name", "group", "against")
            if getattr(row, field.name) != getattr(base, field.name)
        }

    alone = [row for row in grid.rows if row.group == plain.group and "DST" in row.against]
    added = [changes(row, plain) for row in alone]
    assert all({part} in added for part in everything if part != "ensemble")
    assert {row.steps for row in alone} > {("reassign",), ("gate",), ("refine",)}
    assert rows["+ GNN fusion and ensemble"].against == ("DST", "+ GNN fusion")
    without = [changes(row, full) for row in grid.rows if row.group == "one left out"]
    assert sorted(map(sorted, without)) == sorted([part] for part in everything)


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_has_what_its_rows_are_of(name):
    assert open_grid(None, load_profile(name)).rows


def test_short_profiles_have_few_rows_and_the_first_seeds():
    demo, study = (open_grid(None, load_profile(name)) for name in ("demo", "study"))
    whole = read_grid(PROJECTS)
    assert (
        (study.rows, study.seeds) == (whole.rows, whole.seeds)
        and demo.seeds == whole.seeds[:1]
        and demo.detector_seeds == (0,)
    )
    groups = {"detectors", "player-wise DST", "player-wise, full system"}
    assert {row.group for row in demo.rows} == groups and len(demo.rows) <= 13


def test_detectors_that_learn_nothing_have_one_seed():
    def seeds(profile):
        grid = open_grid(None, profile)
        made = Counter(row.name for row, _ in grid.jobs())
        return [made[name] for name in ("TAAD", "TAAD + GNN", "TAAD, temporal transformer", "DST")]

    mine = override(load_profile("study"), "taad.train.epochs=0")
    assert seeds(mine) == [1, 2, 1, 3]  # TAAD + GNN still learns
    mine = override(mine, "gnn.train.epochs=0")
    assert seeds(mine) == [1, 1, 1, 3]
    variants = {**mine.variants, "transformer": {"taad": {"train": {"epochs": 2}}}}
    assert seeds(replace(mine, variants=variants)) == [1, 1, 2, 3]


def test_heads_have_all_seeds_and_are_watched_with_together():
    """They learn in minutes, and what looks at the pictures is common to them."""
    variants = {"kept": {"features": "zoo:taad"}}
    variants["other"] = {"features": "zoo:taad", "taad": {"model": {"temporal": "transformer"}}}
    profile = replace(load_profile("smoke"), variants=variants)
    rows = Row("a", model="taad", variant="kept"), Row("b", model="taad", variant="other")
    rows += Row("c", model="gnn", variant="kept"), Row("d", model="taad")
    grid = Grid(rows, (0, 1), heads=("a", "b", "c"))
    graph = ablations._graph(FakeStudy("nowhere", profile, season=None), grid)
    watched = [models for kind, *models in graph if kind == "watch"]
    heads = ("taad", "kept"), ("taad", "other"), ("gnn", "kept")
    together = [Model(kind, name, (seed,)) for seed in (0, 1) for kind, name in heads]
    alone = Model("taad", None, (0,))
    assert watched == [["train", *together], ["val", *together], ["train", alone], ["val", alone]]
    assert not any(graph["train", model] for model in together)  # a TAAD + GNN needs no TAAD of its own
    assert graph["row", rows[2], 1] >= {("watch", "val", *together)}


def test_the_projects_grid_is_as_short_by_its_path(monkeypatch):
    monkeypatch.chdir(PROJECT)
    demo = load_profile("demo")
    assert open_grid("notebooks/ablations.toml", demo) == open_grid(None, demo)


def test_groups_and_variants_that_are_not_there_are_named(tmp_path):
    demo = load_profile("demo")
    wrong = replace(demo, ablations=replace(demo.ablations, groups=("detectrs",)))
    with pytest.raises(DataError, match="no rows 'detectrs'.*there are detectors, .*published DST"):
        open_grid(None, wrong)
    path = tmp_path / "grid.toml"
    path.write_text('seeds = [0]\n[[rows]]\nname = "a"\nvariant = "B"')
    with pytest.raises(DataError, match="row 'a' is of variant 'B', which profile demo has not"):
        open_grid(path, demo)
    (row,) = open_grid(path, load_profile("smoke")).rows  # whatever group, of a file of one's own
    assert row.variant == "B"


@pytest.mark.parametrize(
    "text, reason",
    [
        ("seeds = [0", "not TOML"),
        ("seeds = [0]", "Grid.rows: Field required"),
        ('seeds = 0\n[[rows]]\nname = "a"', "Grid.seeds = 0: Input should be"),
        ('seeds = ["0"]\n[[rows]]\nname = "a"', "Grid.seeds.0 = '0'"),
        ("seeds = [0]\nrows = []", "at least 1 item"),
        ('seeds = [0]\n[[rows]]\nname = "a"\nfusion = "sum"', "rows.0.fusion = 'sum'"),
        ('seeds = [0]\n[[rows]]\nname = "a"\nweighting = "root"', "rows.0.weighting = 'root'"),
        ('seeds = [0]\n[[rows]]\nname = "a"\n[[rows]]\nname = "a"', "two rows are called 'a'"),
        ('seeds = [0]\n[[rows]]\nname = "a"\nagainst = ["b"]', "compared with 'b', which is no row"),
        ('seeds = [0]\n[[rows]]\nname = "a"\nrescore = true\nthresholds = true', "neither"),
        ('seeds = [0]\n[[rows]]\nname = "a"\nrescore = "scores"\nsteps = ["gate"]', "neither"),
        ('seeds = [0]\n[[rows]]\nname = "a"\nrescore = "trees"', "rows.0.rescore = 'trees'"),
        ('seeds = [0]\n[[rows]]\nname = "a"\nmodel = "rnn"', "Grid.rows.0.model"),
        ('seeds = [0]\n[[rows]]\nname = "a"\nmodel = "gnn"\nweighting = "sqrt"', "is of a DST"),
        ('seeds = [0]\n[[rows]]\nname = "a"\njudge_unseen = true', "judge_unseen is of steps"),
        ('seeds = [0]\n[[rows]]\nname = "a"\nstep = true', "Grid.rows.0.step: no such field"),
        ('seeds = [0]\n[[rows]]\nname = "a"\ndivide_weights = true', "of a weighted DST"),
        ('seeds = [0]\n[[rows]]\nname = "a"\nmembers = ["B", "B"]', "each is another variant"),
        ('seeds = [0]\n[[rows]]\nname = "a"\nvariant = "B"\nmembers = ["B"]', "each is another"),
        ('seeds = [0]\n[[rows]]\nname = "a"\nreads = "oracle"', "in place of the second detector"),
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
    graph = graph_of(Row("TAAD", model="taad"), Row("DST"), full)
    taad, gnn = Model("taad", None, (0,)), Model("gnn", None, (0,))
    plain = Model("dst", None, ("none", "none", 1, "detectors"))
    fused = Model("dst", None, ("concat", "sqrt", 1, "detectors"))
    count = Counter(task[0] for task in graph)
    assert count == {"train": 6, "pretraining": 2, "watch": 8, "row": 5}
    assert graph["train", gnn] == {("train", taad)}
    watched = {("watch", "val", taad), ("watch", "val", gnn)}
    assert graph["train", plain] == {("pretraining", None, "none"), ("watch", "val", taad)}
    assert graph["train", fused] == {("pretraining", None, "concat"), *watched}
    assert {("watch", "val", plain), ("watch", "val", fused)} <= graph["row", full, 1]
    done = set()
    for task, needed in graph.items():  # as one process does them
        assert needed <= done
        done.add(task)


def test_variants_have_models_of_their_own_where_they_change_something():
    members = Row("four", variant="A", members=("B", "D"))
    oracle = Row("oracle", variant="A", fusion="concat", reads="oracle")
    graph = graph_of(Row("T", model="taad", variant="transformer"), members, oracle, seeds=(0,))
    trained = {task[1] for task in graph if task[0] == "train"}
    assert {(model.kind, model.variant) for model in trained if model.kind != "dst"} == {
        ("taad", None),
        ("taad", "transformer"),
    }
    dsts = {(model.variant, model.of[0], model.of[-1]) for model in trained if model.kind == "dst"}
    assert dsts == {(name, "none", "detectors") for name in "ABD"} | {("A", "concat", "oracle")}


def test_a_variant_that_is_used_in_another_way_has_models_of_its_own():
    variants = {"apart": {"stride": 3}, "new": {"start": "random"}, "same": {"start": "zoo"}}
    profile = replace(load_profile("smoke"), start="zoo", stride=None, variants=variants)
    study = FakeStudy("nowhere", profile, season=None)
    graph = ablations._graph(study, Grid(tuple(Row(name, variant=name) for name in variants), (0,)))
    trained = {(task[1].kind, task[1].variant) for task in graph if task[0] == "train"}
    assert trained == {(kind, name) for kind in ("taad", "dst") for name in ("apart", "new", None)}


def test_detectors_have_seeds_of_their_own():
    grid = Grid((Row("GNN", model="gnn"), Row("DST")), seeds=(0, 1, 2), detector_seeds=(0, 1))
    assert [(row.name, seed) for row, seed in grid.jobs()] == [
        ("GNN", 0), ("DST", 0), ("GNN", 1), ("DST", 1), ("DST", 2)
    ]  # fmt: skip
    study = FakeStudy("nowhere", load_profile("smoke"), season=None)
    graph = ablations._graph(study, grid)
    assert {task[1].of for task in graph if task[0] == "train" and task[1].kind == "taad"} == {
        (0,),
        (1,),
    }
    assert graph["train", Model("gnn", None, (1,))] == {("train", Model("taad", None, (1,)))}


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


def test_what_comes_first_in_the_graph_is_done_first(tmp_path):
    """Three models and a row of each, with one worker: each row before the next model."""
    graph = {}
    for name in "abc":
        graph["train", name] = frozenset()
        graph["row", name] = frozenset([("train", name)])
    with ThreadPoolExecutor(1) as executor:
        study = ablations.Study(tmp_path, load_profile("smoke"), season=None)
        compute(study, graph, partial(log_to, tmp_path / "log"), executor, at_once=1)
    done = (tmp_path / "log").read_text().split()
    assert done == ["train-a", "row-a", "train-b", "row-b", "train-c", "row-c"]


def log_to(path, study, task):
    with path.open("a") as stream:
        print(*task, sep="-", file=stream)


def test_the_end_of_a_worker_is_said(tmp_path):
    with pytest.raises(ChildProcessError, match="ended from outside"):
        noted(tmp_path, "a killed", 2)


def test_less_than_one_worker_and_a_scheduler_that_is_not_there_are_refused(monkeypatch):
    monkeypatch.setattr("footpass.workers._WITH_PARENT", "raise SystemExit('{}')")
    for workers, where, reason in (
        (0, None, "at least 1"),
        (1, "tcp://127.0.0.1:1", "is the scheduler up"),
        (1, "nonsense", "is the scheduler up"),
        (1, "local", "has ended at its start"),
    ):
        with pytest.raises(DataError, match=reason), open_workers(workers, where):
            pass


@pytest.mark.slow
def test_dask_workers_of_this_machine_end_with_a_parent_that_is_killed():
    program = """
import os
import time

from footpass.workers import dask_workers

if __name__ == "__main__":
    with dask_workers("local", 2) as executor:
        print(executor.submit(os.getpid).result(), flush=True)
        time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        parent.stdout.readline()
        children = psutil.Process(parent.pid).children()
        assert len(children) == 3  # and a scheduler
        parent.kill()
    until = time.monotonic() + 20
    while any(map(at_work, children)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(at_work, children))


def at_work(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # which nobody has asked about yet
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def results():
    """Row a finds nothing; row b finds the drive with one seed of two."""
    true = truth((10, 0, 7, 1), (500, 1, 3, 2))
    events = {frame: predictions((frame, 0, 7, 1, 0.9)) for frame in (10, 400)}
    outcomes = {"a": [Outcome(events[400], {})], "b": [Outcome(events[k], {}) for k in (10, 400)]}
    return evaluations(outcomes, true)


def test_scores_are_means_over_seeds(results):
    table = scores(results, compare(results, samples=200))
    assert table.loc["a", "macro F1"] == 0 and table.loc["b", "macro F1"] == pytest.approx(1 / 16)
    assert table.loc["b", ["seeds", "worst seed", "best seed"]].tolist() == pytest.approx([2, 0, 1 / 8])
    assert table.loc["b", "recall, box"] == pytest.approx(1 / 4)
    assert by_class(results).loc["b"].tolist() == [0.5, 0, 0, 0, 0, 0, 0, 0]


def test_effects_are_paired_and_name_what_they_are_against(results):
    grid = Grid((Row("a"), Row("b", group="why", against=("a", "absent"))), (0, 1))
    table = effects(grid, results, samples=200)
    assert table.index.tolist() == ["b"]
    assert table.loc["b", ["group", "against"]].tolist() == ["why", "a"]
    assert table.loc["b", "change"] == pytest.approx(1 / 16)
    low, high = table.loc["b", ["low", "high"]]
    assert gains(table) == {("b", "a"): Interval(1 / 16, low, high)}
    assert findings(table, "b", "c").startswith("- b against a: macro F1 +0.062 (+0.000 to +0.")
    plus = findings(table.rename({"b": "+ b"}), "+ b")
    assert plus.startswith("- \\+ b against a")
    assert findings(table, "a") == "Not among the rows of this profile."


def test_a_dst_is_set_against_the_detector_that_it_reads(results):
    """Seed 0 of b finds the drive, seed 1 does not."""
    rows = Row("b", model="taad"), Row("a", against=("b",))
    for seeds, change in (((0, 1), -1 / 8), ((1, 0), 0), ((1, 2), -1 / 16)):
        table = effects(Grid(rows, (0,), seeds), results, samples=20)
        assert table.loc["a", "change"] == pytest.approx(change)
    heads = Grid(rows, (1, 0), heads=("b",))  # whose seeds are those of DSTs
    assert effects(heads, results, samples=20).loc["a", "change"] == pytest.approx(0)
    table = effects(Grid((rows[0], Row("a", model="gnn", against=("b",))), (0,), (0, 1)), results)
    assert table.loc["a", "change"] == pytest.approx(-1 / 16)


GRID = """
seeds = [0, 1]
[[rows]]
name = "TAAD"
model = "taad"
[[rows]]
name = "DST"
against = ["TAAD"]
[[rows]]
name = "DST, its steps and itself"
steps = ["reassign", "gate", "refine", "nms"]
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
