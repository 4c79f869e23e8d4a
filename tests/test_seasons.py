"""The notebooks' data: what is found is used, and no more of it than a profile asks for."""

import json

import pytest
import seasons as handmade

from footpass import seasons
from footpass.files import DataError
from footpass.halves import events_of
from footpass.seasons import SEASON_SIZES, SeasonSize, default_season, find_season

H1, H2 = "game_1_H1", "game_1_H2"


@pytest.fixture
def real(tmp_path):
    for split in ("train", "val"):
        handmade.write(tmp_path, {H1: {(10, 0): 1, (100, 2): 2}, H2: {(330, 0): 3}}, split)
    return tmp_path


def test_named_data_are_used_as_far_as_the_profile_goes(real, monkeypatch):
    monkeypatch.setitem(SEASON_SIZES, "demo", SeasonSize(train=1, val=1, minutes=0.08))
    season = find_season("demo", real)
    assert not season.simulated and season.folder == real
    halves = {name: entry.half for name, entry in season.footage("val").items()}
    # 0.04 minutes a half are 60 frames.
    assert {name: (half.first_frame, half.n_frames) for name, half in halves.items()} == {
        H1: (3, 60),
        H2: (300, 60),
    }
    assert events_of(halves[H1])["frame"].tolist() == [10]


def test_the_paper_profile_uses_everything(real):
    footage = find_season("paper", real).footage("train")
    assert [entry.half.n_frames for entry in footage.values()] == [180, 120]


def test_data_are_found_by_their_variable_but_not_for_the_tests(real, monkeypatch):
    monkeypatch.setenv("FOOTPASS_DATA", str(real))
    monkeypatch.setattr(seasons, "default_season", lambda profile: real / "made")
    assert find_season("demo").folder == real
    assert find_season("smoke").folder == real / "made" and find_season("smoke").simulated


def test_the_season_is_simulated_once(tmp_path, monkeypatch):
    made = []
    (tmp_path / "season-demo").mkdir()
    monkeypatch.setattr(seasons, "write_season", lambda *args: made.append(args))
    folder = default_season("demo", tmp_path)
    size = SEASON_SIZES["demo"]
    assert folder == tmp_path / "season-demo"
    assert made == [
        (folder, size.train, size.minutes, size.seed, "train"),
        (folder, size.val, size.minutes, size.seed, "val"),
    ]
    assert default_season("demo", tmp_path) == folder and len(made) == 2
    # One of another size, or one that was broken off, is made anew.
    (folder / "season.json").write_text(json.dumps({"train": 1, "val": 1, "minutes": 1.0, "seed": 0}))
    default_season("demo", tmp_path)
    assert len(made) == 4
    (folder / "season.json").unlink()
    default_season("demo", tmp_path)
    assert len(made) == 6


def test_the_paper_profile_needs_data(monkeypatch, tmp_path):
    monkeypatch.setattr(seasons, "data_dir", lambda: None)
    with pytest.raises(DataError, match="profile paper needs real data: set FOOTPASS_DATA"):
        find_season("paper")
