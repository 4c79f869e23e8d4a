"""The ablation grid: its file, who does what, tables of its rows."""

import re
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace

import pandas as pd
import pytest

from footpass.experiments import grid as ablations
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
from footpass.files import Busy, DataError
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


def test_rows_that_others_are_at_come_last_and_nothing_is_done_twice(monkeypatch):
    """A worker that finds the first row taken does the second, then asks for the first again."""
    asked = []

    def run_row(study, row, seed):
        asked.append(row.name)
        assert not study.waits
        if asked == ["a"]:
            raise Busy("a: another process is at work there")
        return Outcome(pd.DataFrame(), {})

    monkeypatch.setattr(ablations, "run_row", run_row)
    monkeypatch.setattr(ablations, "POLL", 0.0)
    study = ablations.Study("nowhere", load_profile("smoke"), season=None)
    done = ablations.run_grid(study, Grid((Row("a"), Row("b")), (7,)))
    assert asked == ["a", "b", "a"] and list(done) == ["a", "b"]
    assert all(len(outcomes) == 1 for outcomes in done.values())


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


WORKER = """
import logging, sys
from pathlib import Path
from footpass.experiments import grid as ablations
from footpass.experiments.profile import load_profile
from footpass.experiments.season import find_season
from footpass.experiments.stages import Study

logging.basicConfig(level=logging.WARNING)
ablations.POLL = 0.2
smoke = load_profile("smoke")
study = Study(Path(sys.argv[1]), smoke, find_season(smoke))
grid = ablations.read_grid(sys.argv[2])
results = ablations.evaluations(ablations.run_grid(study, grid), study.truth["val"])
print(ablations.scores(results, samples=50).to_json())
"""
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


@pytest.mark.slow
def test_two_workers_do_every_row_once_and_a_third_finds_all_done(tmp_path):
    grid = tmp_path / "grid.toml"
    grid.write_text(GRID)
    command = [sys.executable, "-c", WORKER, str(tmp_path / "stages"), str(grid)]

    def start(name: str, stack: ExitStack) -> subprocess.Popen:
        # Into files: one worker waits for the other, which must not wait for somebody to read its pipe.
        with open(tmp_path / f"{name}.out", "w") as out, open(tmp_path / f"{name}.log", "w") as log:
            worker = subprocess.Popen(command, stdout=out, stderr=log)
        stack.callback(worker.kill)  # nothing where it is over
        return worker

    made, tables = [], []
    for names in (("one", "two"), ("three",)):
        with ExitStack() as stack:
            codes = [worker.wait() for worker in [start(name, stack) for name in names]]
        logs = "".join((tmp_path / f"{name}.log").read_text() for name in names)
        assert not any(codes), logs
        tables += [(tmp_path / f"{name}.out").read_text() for name in names]
        # Progress bars share lines with the log.
        made.append(re.findall(r"WARNING:[\w.]+:(\S+): not there yet", logs))
    first, later = made
    folders = [path for path in (tmp_path / "stages").iterdir()]
    kinds = Counter(folder.name.partition("-")[0] for folder in folders)
    assert kinds == {"taad": 1, "pretraining": 1, "dst": 2, "row": 5}
    assert sorted(first) == sorted(map(str, folders))
    assert not later and len(set(tables)) == 1
