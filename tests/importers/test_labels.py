"""Corrected events as labels of tactical data."""

import numpy as np
import pandas as pd
import pytest

from footpass.__main__ import main
from footpass.data.check import check
from footpass.data.paths import play_by_play_path, tactical_path, video_path
from footpass.data.provenance import Provenance, mark_season, read_provenance
from footpass.data.tactical import read_rows
from footpass.events import read_ground_truth, select_halves, write_events
from footpass.importers.labels import labelled
from footpass.schema import Tactical
from tests import seasons
from tests.tables import truth

HALF = "game_1_H1"
FIRST = seasons.FIRST[HALF]


@pytest.fixture
def folder(tmp_path):
    """A season whose labels are one pass a half, and corrected events of its first half."""
    for name in ("data", "own"):
        (tmp_path / name).mkdir()
    old = {half: {(seasons.FIRST[half] + 40, 2): 2} for half in seasons.FIRST}
    seasons.write(tmp_path / "data", old, split="val")
    right = [(FIRST + 41, 0, 32, 3), (FIRST + 60, 1, 45, 5), (FIRST + 60, 0, 30, 7)]
    write_events(truth(*right, halves=(HALF,)), tmp_path / "corrected.json")
    return tmp_path


def label(folder, *more, events="corrected.json"):
    paths = ["--events", folder / events, "--data", folder / "data", "--out", folder / "new"]
    return main(["label", *map(str, [*paths, *more])])


def test_corrected_events_become_the_only_labels(folder, capsys):
    assert label(folder) == 0
    assert "train, 3 of 3 events" in capsys.readouterr().out
    rows = read_rows(folder / "new" / tactical_path("train"), HALF)
    old = read_rows(folder / "data" / tactical_path("val"), HALF)
    np.testing.assert_array_equal(rows[:, : Tactical.LABEL], old[:, : Tactical.LABEL])
    found = rows[rows[:, Tactical.LABEL] > 0]
    columns = [Tactical.FRAME, Tactical.TEAM, Tactical.JERSEY, Tactical.LABEL]
    assert {tuple(map(int, row[columns])) for row in found} == {
        (FIRST + 41, 0, 32, 3),
        (FIRST + 60, 1, 45, 5),
        (FIRST + 60, 0, 30, 7),
    }
    wrong = {problem.file for problem in check(folder / "new").problems}
    assert wrong == {"videos/game_1.mp4"}  # its size: play-by-play and labels agree
    assert (folder / "new" / video_path("game_1")).samefile(folder / "data" / video_path("game_1"))


def test_a_link_to_a_video_that_is_gone_is_replaced(folder):
    link = folder / "new" / video_path("game_1")
    link.parent.mkdir(parents=True)
    link.symlink_to("gone.mp4")
    assert label(folder) == 0
    assert link.samefile(folder / "data" / video_path("game_1"))


def test_labelled_matches_stay_simulated(folder):
    mark_season(folder / "data", "val", Provenance(True, "0.1.0", 3))
    assert label(folder) == 0
    for file in (tactical_path("train"), play_by_play_path("train")):
        assert read_provenance(folder / "new" / file).seed == 3


def test_flags_are_what_the_rows_show(folder):
    """Slot 5, jersey 35, has no box in the first 20 frames; the file says otherwise."""
    hidden = FIRST + next(at for at in range(180) if seasons.hidden(5, FIRST + at))
    write_events(truth((hidden, 0, 35, 1, True, True), halves=(HALF,)), folder / "corrected.json")
    assert label(folder) == 0
    (event,) = read_ground_truth(folder / "new" / play_by_play_path("train")).itertuples()
    assert not event.box_visible and not event.replay


def test_events_without_a_player_are_named_and_left_out(folder, capsys):
    wrong = truth((FIRST + 5, 0, 99, 1), (FIRST + 6, 0, 30, 1), (FIRST + 6, 0, 30, 2), halves=(HALF,))
    write_events(wrong, folder / "corrected.json")
    assert label(folder) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"left out: {HALF}, frame {FIRST + 5}: no row of player 99 of team 0")
    assert told[-1].endswith("train, 1 of 3 events")
    kept = read_ground_truth(folder / "new" / play_by_play_path("train"))
    assert kept["cls"].tolist() == [2]  # of two the later


def test_an_event_without_a_number_is_the_only_such_player_s():
    rows = np.zeros((3, 14), np.float32)
    rows[:, Tactical.FRAME], rows[:, Tactical.TEAM] = 10, (0, 0, 1)
    rows[:, Tactical.JERSEY] = 7, np.nan, np.nan
    found, placed = labelled(rows, truth((10, 0, -1, 4)))
    assert placed.all() and found[:, Tactical.LABEL].tolist() == [0, 4, 0]
    rows[0, Tactical.JERSEY] = np.nan
    found, placed = labelled(rows[:, :13], truth((10, 0, -1, 4)))
    assert not placed.any() and found[:, Tactical.LABEL].tolist() == [0, 0, 0]


def test_labelling_with_its_own_truth_changes_nothing(folder):
    own = {
        half: {(seasons.FIRST[half] + 40, 2): 2, (seasons.FIRST[half] + 70, 15): 8}
        for half in seasons.FIRST
    }
    seasons.write(folder / "own", own, split="val")
    for half in seasons.FIRST:
        rows = read_rows(folder / "own" / tactical_path("val"), half)
        events = rows[rows[:, Tactical.LABEL] > 0]
        columns = [Tactical.FRAME, Tactical.TEAM, Tactical.JERSEY, Tactical.LABEL]
        table = truth(*(tuple(map(int, row[columns])) for row in events), halves=(half,))
        again, placed = labelled(rows, table)
        assert placed.all()
        np.testing.assert_array_equal(again, rows)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--split", "train"), "no train_tactical_data.h5 in it"),
        (("--events", "nowhere.json"), "nowhere.json: cannot be read"),
        (("--out", "data", "--to", "val"), "val_tactical_data.h5: there already"),
        (("--out", "known"), "playbyplay_train.json: there already"),
    ],
)
def test_bad_requests_are_one_clear_line(folder, monkeypatch, capsys, options, reason):
    monkeypatch.chdir(folder)
    known = folder / "known" / play_by_play_path("train")
    known.parent.mkdir(parents=True)
    known.touch()
    assert label(folder, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and reason in line


def test_a_half_that_the_data_do_not_have_is_named(folder, capsys):
    events = read_ground_truth(folder / "corrected.json")
    both = pd.concat([events, events.assign(half="game_9_H1")])
    both["half"] = pd.Categorical(both["half"], categories=[HALF, "game_9_H1"])
    write_events(both, folder / "corrected.json")
    assert label(folder) == 2
    assert "half game_9_H1: not there, and there are events of it" in capsys.readouterr().err
    assert not (folder / "new").exists()
    write_events(select_halves(both, [HALF]), folder / "corrected.json")
    assert label(folder) == 0


def test_the_halves_of_a_match_come_from_a_page_each(folder, capsys):
    second = "game_1_H2"
    write_events(truth((seasons.FIRST[second] + 5, 0, 32, 2), halves=(second,)), folder / "second.json")
    both = [str(folder / "corrected.json"), str(folder / "second.json")]
    given = ["--data", str(folder / "data"), "--out", str(folder / "new")]
    assert main(["label", "--events", *both, *given]) == 0
    assert len(read_rows(folder / "new" / tactical_path("train"), second))
    assert "4 of 4 events" in capsys.readouterr().out


@pytest.mark.parametrize("again", [True, False])
def test_files_of_no_half_or_of_the_same_are_refused(folder, capsys, again):
    write_events(truth(halves=(HALF,) if again else ()), folder / "other.json")
    given = ["--events", str(folder / "corrected.json"), str(folder / "other.json")]
    given += ["--data", str(folder / "data"), "--out", str(folder / "new")]
    assert main(["label", *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert ("in another of these files too" if again else "no half in it") in line
    assert not (folder / "new").exists()
