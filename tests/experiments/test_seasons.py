"""The notebooks' data: what is found is used, and no more of it than a profile asks for."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from footpass.data.halves import events_of
from footpass.data.logits import logits_path
from footpass.data.provenance import Provenance, mark_season
from footpass.detectors.spotting import SMOOTHINGS, LogitAdjustment, events_from_store
from footpass.events import halves_of
from footpass.experiments import season as seasons
from footpass.experiments import stages
from footpass.experiments.profile import SeasonSize, load_profile
from footpass.experiments.season import Season, default_season, find_season
from footpass.experiments.stages import Study
from footpass.files import DataError, fingerprint, locked, revision
from tests import seasons as handmade

DEMO, SMOKE = load_profile("demo"), load_profile("smoke")
H1, H2 = "game_1_H1", "game_1_H2"


@pytest.fixture
def real(tmp_path):
    for split in ("train", "val"):
        handmade.write(tmp_path, {H1: {(10, 0): 1, (100, 2): 2}, H2: {(330, 0): 3}}, split)
    return tmp_path


def test_named_data_are_used_as_far_as_the_profile_goes(real):
    season = find_season(replace(DEMO, season=SeasonSize(train=1, val=1, minutes=0.08)), real)
    assert not season.simulated and season.folder == real
    halves = {name: entry.half for name, entry in season.footage("val").items()}
    # 0.04 minutes a half are 60 frames.
    assert {name: (half.first_frame, half.n_frames) for name, half in halves.items()} == {
        H1: (3, 60),
        H2: (300, 60),
    }
    assert events_of(halves[H1])["frame"].tolist() == [10]


def test_the_paper_profile_uses_everything(real):
    footage = find_season(load_profile("paper"), real).footage("train")
    assert [entry.half.n_frames for entry in footage.values()] == [180, 120]


def test_data_are_found_by_their_variable_but_not_for_the_tests(real, monkeypatch):
    monkeypatch.setenv("FOOTPASS_DATA", str(real))
    monkeypatch.setattr(seasons, "default_season", lambda profile: real / "made")
    (real / "made").mkdir()
    handmade.write(real / "made", {H1: {(10, 0): 1}}, "train")
    mark_season(real / "made", "train", Provenance(True))
    assert find_season(DEMO).folder == real
    assert find_season(SMOKE).folder == real / "made" and find_season(SMOKE).simulated


def test_the_season_is_simulated_once(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(seasons, "write_season", lambda *args, **more: made.append((*args, more)))
    folder = default_season(DEMO, tmp_path)
    size = DEMO.season
    assert folder.parent == tmp_path and folder.name.startswith("season-demo-")
    assert made == [
        (folder, size.train, size.minutes, size.seed, "train", {"kept": 0}),
        (folder, size.val, size.minutes, size.seed, "val", {"kept": 0}),
    ]
    assert default_season(DEMO, tmp_path) == folder and len(made) == 2
    (folder / "season.json").write_text("[")  # nobody knows what is there
    default_season(DEMO, tmp_path)
    assert len(made) == 4 and made[-1][-1] == {"kept": 0}


def test_a_season_of_other_settings_leaves_the_first_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(seasons, "write_season", lambda *args, **more: None)
    sizes = [replace(DEMO.season, **other) for other in ({}, {"seed": 9}, {"minutes": 0.5}, {"val": 9})]
    folders = [default_season(replace(DEMO, season=size), tmp_path) for size in sizes]
    assert len(set(folders)) == 3 and folders[0] == folders[3]  # more matches are no other season


def test_a_season_that_grows_keeps_what_it_has(tmp_path, monkeypatch):
    size, made, broken = SeasonSize(2, 1, 0.08, seed=3, highlights=7), [], {5}

    def write(folder, matches, *args, kept, **more):
        if matches in broken:
            raise KeyboardInterrupt
        made.append((folder.name.endswith("highlights"), matches, kept))

    def wanted(**others):
        made.clear()
        default_season(replace(DEMO, season=replace(size, **others)), tmp_path)
        return made

    monkeypatch.setattr(seasons, "write_season", write)
    assert wanted() == [(False, 2, 0), (False, 1, 0), (True, 7, 0)]
    with pytest.raises(KeyboardInterrupt):
        wanted(val=5)
    assert wanted() == []  # what was there is still whole
    broken.clear()
    assert wanted(val=5) == [(False, 5, 1)]
    assert wanted(train=1, highlights=0, held_out=1) == []  # fewer are enough


def test_of_processes_that_come_at_once_one_simulates(tmp_path, monkeypatch):
    asked = []

    def write(folder, *size, **more):
        asked.append(folder)
        time.sleep(0.05)

    monkeypatch.setattr(seasons, "write_season", write)
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: default_season(SMOKE, tmp_path), range(4)))
    assert asked == [*folders] * 2  # train and val, once


def test_the_paper_profile_needs_data(monkeypatch, tmp_path):
    monkeypatch.setattr(seasons, "data_dir", lambda: None)
    with pytest.raises(DataError, match="profile paper needs real data: set FOOTPASS_DATA"):
        find_season(load_profile("paper"))


def test_highlights_are_simulated_beside_the_season_and_real_data_have_none(tmp_path, monkeypatch, real):
    made = []
    monkeypatch.setattr(seasons, "write_season", lambda *args, **more: made.append((args, more)))
    shown = replace(DEMO, season=SeasonSize(1, 1, 0.08, seed=3, highlights=7))
    folder = default_season(shown, tmp_path)
    beside = folder.with_name(f"{folder.name}-highlights")
    assert made[-1] == ((beside, 7), {"seed": 3, "highlights": True, "kept": 0})
    assert find_season(shown, real).highlights() == {}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Two matches to learn from and one to be scored on, and highlights of another."""
    folder = tmp_path_factory.mktemp("drawn") / "made"
    events = {"H1": {(40, 0): 1, (80, 2): 2}, "H2": {(340, 20): 4, (390, 2): 2}}
    for split, matches in (("train", (1001, 1002)), ("val", (2001,))):
        halves = {f"game_{match}_{half}": events[half] for match in matches for half in events}
        handmade.write(folder, halves, split)
    handmade.write(folder.with_name("made-highlights"), {"game_4001_H1": events["H1"]})
    return folder


def test_detectors_watch_what_they_have_not_learned_from(tmp_path, drawn, real):
    """Two matches, of which the second is kept from them; highlights join the first."""
    size = SeasonSize(2, 1, 0.4, held_out=1, highlights=1)
    study = Study(tmp_path / "stages", DEMO, Season(drawn, Provenance(True), size))
    assert list(study.training_footage) == ["game_1001_H1", "game_1001_H2", "game_4001_H1"]
    assert list(study.watched("train")) == ["game_1002_H1", "game_1002_H2"]
    assert list(study.watched("val")) == ["game_2001_H1", "game_2001_H2"]
    # Without a number, all matches serve both.
    study = Study(tmp_path / "stages", DEMO, find_season(DEMO, real))
    assert list(study.training_footage) == list(study.watched("train")) == [H1, H2]


def test_a_detector_is_adjusted_on_what_it_has_not_learned_from(tmp_path, drawn, monkeypatch):
    season = Season(drawn, Provenance(True), SeasonSize(2, 1, 0.4, held_out=1))
    held_out, chosen = ["game_1002_H1", "game_1002_H2"], LogitAdjustment(1.0, (-1.0, *[0.5] * 8))
    asked = []

    def fit(logits, halves, truth, without_box, smoothings):
        assert set(halves_of(truth)) <= set(held_out)
        asked.append((list(logits), list(halves), without_box, tuple(smoothings)))
        return chosen

    monkeypatch.setattr(stages, "fit_adjustment", fit)
    study = Study(tmp_path / "stages", SMOKE, season)
    taad = study.taad()
    found = study.predict(taad, "val")
    halves = {name: entry.half for name, entry in study.footage["val"].items()}
    store = logits_path(taad.dir, "val")
    pd.testing.assert_frame_equal(found, events_from_store(store, halves, adjustment=chosen))
    table = study.adjustment_scores(taad)
    assert table.index.tolist() == ["none", "offsets", "offsets and smoothing"]
    assert asked == [(held_out, held_out, False, SMOOTHINGS), (held_out, held_out, False, (0.0,))]
    # It is kept with the detector; a season without a match to spare has none.
    kept = Study(tmp_path / "stages", SMOKE, season).adjustment(taad)
    assert kept == replace(chosen, model=f"TAAD {fingerprint(taad.checkpoint)}")
    assert study.trained == [
        {"stage": taad.dir.name, "seconds": taad.train_seconds, "revisions": (revision(),)}
    ]
    study = Study(tmp_path / "stages", SMOKE, Season(drawn, Provenance(True), None))
    assert study.adjustment(taad) == LogitAdjustment() and len(asked) == 2


def test_of_workers_who_start_together_one_announces_a_stage(tmp_path, drawn, caplog):
    study = Study(tmp_path / "stages", SMOKE, Season(drawn, Provenance(True), None))
    workers, names = 4, [f"stage{i}" for i in range(200)]
    start = threading.Barrier(workers)

    def work(_) -> list[Path]:
        folders = []
        for name in names:
            start.wait()
            with study.stage(name, SeasonSize(1, 1, 1.0)) as folder:
                folders.append(folder)
        return folders

    with study.stage("before", SeasonSize(1, 1, 1.0)):
        pass  # reads the season, which nobody races for
    caplog.clear()
    with ThreadPoolExecutor(workers) as pool:
        (folders,) = set(map(tuple, pool.map(work, range(workers))))
    said = [f"{folder}: not there yet, so it is made now" for folder in folders]
    announced = [text for record in caplog.records if "waiting" not in (text := record.getMessage())]
    assert sorted(announced) == sorted(said)


TOGETHER = """
import sys
from pathlib import Path
from footpass.training.distributed import join_processes, rank_and_world
from footpass.training.distributed import locked_by_first
from footpass.files import DataError

folder = Path(sys.argv[1])
join_processes()
for name in ("held", "free"):
    try:
        with locked_by_first(folder / name, waits=False):
            said = "at work"
    except DataError:
        said = "busy"
    (folder / f"{name}, {rank_and_world()[0]}").write_text(said)
"""


@pytest.mark.slow
def test_processes_that_compute_together_find_a_stage_busy_together(tmp_path):
    """Else one would go on to another stage while the others wait to start with this one."""
    (tmp_path / "held").mkdir()
    (tmp_path / "together.py").write_text(TOGETHER)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    with locked(tmp_path / "held"):
        subprocess.run([*launch, str(tmp_path / "together.py"), str(tmp_path)], check=True)
    said = {path.name: path.read_text() for path in tmp_path.glob("*, ?")}
    assert said == {"held, 0": "busy", "held, 1": "busy", "free, 0": "at work", "free, 1": "at work"}
