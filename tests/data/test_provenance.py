"""Whether data are simulated is kept by all that is made of them."""

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from footpass.__main__ import main
from footpass.data.cache import open_halves
from footpass.data.halves import events_of
from footpass.data.logits import logits_path, read_logits
from footpass.data.paths import play_by_play_path, tactical_path
from footpass.data.provenance import (
    MARK,
    REAL,
    Provenance,
    mark_file,
    mark_season,
    read_provenance,
    season_provenance,
    together,
    write_provenance,
)
from footpass.events import concat, load_json, predictions_path, write_events
from footpass.experiments.profile import load_profile
from footpass.experiments.season import find_season
from footpass.files import DataError
from footpass.simulate.season import write_season
from footpass.training.checkpoints import load_checkpoint
from tests import seasons as handmade

VAL = tactical_path("val")
MADE = Provenance(True, "0.1.0", 7, {"matches": 1, "minutes": 0.4, "video": True})


@pytest.fixture(scope="module")
def season(tmp_path_factory):
    """A season that is marked as simulated, a detector that was trained on it, its logits and events."""
    folder = tmp_path_factory.mktemp("season")
    (folder / "data" / "playbyplay_GT").mkdir(parents=True)
    events = {"game_1_H1": {(40, 0): 1, (80, 2): 2}, "game_1_H2": {(340, 20): 4}}
    for split in ("train", "val"):
        handmade.write(folder / "data", events, split)
        mark_season(folder / "data", split, MADE)
        with h5py.File(folder / "data" / tactical_path(split), "r+") as file:
            mark_file(file, MADE)
    train = ("train", "taad", "--profile", "smoke", "--epochs", "1", "--data", str(folder / "data"))
    assert main([*train, "--out", str(folder / "taad")]) == 0
    predict = (
        "predict",
        "--checkpoint",
        str(folder / "taad" / "best.pt"),
        "--out",
        str(folder / "taad"),
    )
    for split in ("train", "val"):
        assert main([*predict, "--data", str(folder / "data"), "--split", split]) == 0
    return folder


def test_the_simulator_marks_what_it_writes(tmp_path):
    for split in ("train", "challenge"):
        write_season(tmp_path, 1, 0.4, 7, split, video=False, workers=1)
        marked = read_provenance(tmp_path / tactical_path(split))
        settings = {"matches": 1, "minutes": 0.4, "video": False, "highlights": False}
        assert (marked.simulated, marked.seed, marked.settings) == (True, 7, settings)
    assert read_provenance(tmp_path / play_by_play_path("train")) == marked
    assert season_provenance(tmp_path) == marked
    assert set(load_json(tmp_path / MARK)) == {"train", "challenge"}


def test_everything_that_is_made_of_a_simulated_season_says_so(season, capsys):
    data, marked = season / "data", MADE
    halves = open_halves(data, "val")
    assert all(half.provenance == marked for half in halves.values())
    assert all(
        half.window(half.first_frame, half.end_frame).provenance.simulated for half in halves.values()
    )
    checkpoint = load_checkpoint(season / "taad" / "best.pt")
    assert checkpoint["config"]["about"]["provenance"]["seed"] == 7
    logits, events = (at(season / "taad", "val") for at in (logits_path, predictions_path))
    model = read_provenance(logits).models[0]
    assert model.startswith("TAAD ")
    assert read_provenance(logits) == read_provenance(events) == marked.by(model)
    found = find_season(load_profile("smoke"), data)
    assert found.simulated and found.source == "synthetic season"

    truth, figures = data / play_by_play_path("val"), season / "figures.json"
    write_events(concat(events_of(half) for half in halves.values()), truth)
    capsys.readouterr()
    main(
        ["evaluate", "--predictions", str(events), "--ground-truth", str(truth), "--json", str(figures)]
    )
    assert "simulated (seed 7" in capsys.readouterr().out
    assert json.loads(figures.read_text())["provenance"]["simulated"] is True
    main(["check", str(data)])
    assert "simulated (seed 7" in capsys.readouterr().out
    main(["submit", "--predictions", str(events), "--out", str(season / "entry.zip")])
    assert "no entry to a challenge" in capsys.readouterr().err
    page = season / "match.html"
    main(["report-match", "--data", str(data), "--half", next(iter(halves)), "--out", str(page)])
    assert "simulated (seed 7" in page.read_text()


@pytest.mark.parametrize("kept", ["attribute", "file"])
def test_either_mark_is_enough_wherever_the_season_lies(season, tmp_path, kept):
    shutil.copy(season / "data" / VAL, tmp_path / VAL)
    if kept == "file":
        with h5py.File(tmp_path / VAL, "r+") as file:
            del file.attrs["provenance"]
        assert season_provenance(tmp_path) == REAL
        shutil.copy(season / "data" / MARK, tmp_path)
    assert season_provenance(tmp_path).seed == 7
    assert all(half.provenance.simulated for half in open_halves(tmp_path, "val").values())


def test_settings_are_told_in_words():
    told = str(Provenance(True, "1.0", 7, {"minutes": 15.0, "video": True, "highlights": False}))
    assert told == "simulated (seed 7, version 1.0, minutes 15, video)"
    assert str(Provenance(True, "1.0", 7)) == "simulated (seed 7, version 1.0)"


def test_a_split_that_is_not_simulated_stays_real(tmp_path):
    handmade.write(tmp_path, {"game_1_H1": {(10, 0): 1}}, "val")
    mark_season(tmp_path, "train", Provenance(True))
    assert read_provenance(tmp_path / VAL) == REAL
    assert str(season_provenance(tmp_path)) == "real"


def test_what_is_made_of_several_is_simulated_if_one_is():
    made = Provenance(True, seed=3)
    assert together([REAL, made]) == made and together([REAL.by("TAAD a"), REAL]) == REAL.by("TAAD a")
    assert together([]) == REAL
    assert made.by("TAAD a").by("DST b").models == ("DST b", "TAAD a")


def test_real_events_take_the_place_of_simulated_ones(tmp_path):
    events = tmp_path / "events.json"
    write_provenance(events, Provenance(True))
    assert read_provenance(events).simulated
    write_provenance(events, REAL)
    assert read_provenance(events) == REAL


def test_beside_a_pipe_there_is_no_mark(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/stdout"):  # which may be a file
        write_provenance(path, MADE)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    assert not Path("/dev/stdout.provenance.json").exists()


@pytest.mark.parametrize("mark", ["[]", '{"val": 1}', '{"val": {"simulated": "perhaps"}}'])
def test_a_mark_that_cannot_be_read_is_an_error(tmp_path, mark):
    (tmp_path / MARK).write_text(mark)
    with pytest.raises(DataError, match=MARK.name):
        read_provenance(tmp_path / VAL)


def test_logits_of_another_season_are_refused(season, tmp_path, capsys):
    """The same halves and frames, but everybody stands elsewhere."""
    with h5py.File(season / "data" / VAL) as old, h5py.File(tmp_path / VAL, "w") as new:
        for half in old:
            rows = old[half][:]
            rows[:, 5] += 0.1
            new[half] = rows
    name, half = next(iter(open_halves(tmp_path, "val").items()))
    store = logits_path(season / "taad", "val")
    with pytest.raises(DataError, match=f"logits_val.h5: half {name}: .*another season"):
        read_logits(store, half)
    events = str(predictions_path(season / "taad", "val"))
    steps = tmp_path / "steps.json"
    fit = ("fit", "--ground-truth", str(season / "data" / play_by_play_path("val")), "--out", str(steps))
    argv = ("--predictions", events, "--evidence", str(store), "--data", str(tmp_path))
    assert main(["postprocess", fit[0], *argv, *fit[1:]]) == 2
    assert "another season" in capsys.readouterr().err
    own = open_halves(season / "data", "val")[name]
    assert np.isfinite(read_logits(store, own)).all()


def test_an_adjustment_of_another_model_is_refused(season, tmp_path, capsys):
    content = {"smoothing": 1.0, "offsets": [0.0] * 9, "model": "TAAD 0123456789ab"}
    (tmp_path / "adjustment.json").write_text(json.dumps(content))
    predict = [
        "predict",
        "--checkpoint",
        str(season / "taad" / "best.pt"),
        "--data",
        str(season / "data"),
    ]
    argv = [*predict, "--out", str(tmp_path), "--adjustment", str(tmp_path / "adjustment.json")]
    assert main(argv) == 2
    assert "an adjustment fitted on TAAD 0123456789ab" in capsys.readouterr().err
    assert not predictions_path(tmp_path, "val").exists()
