"""What a tracker would see of a simulated match, against the official files of the same match."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from footpass.__main__ import main
from footpass.data.paths import tactical_path
from footpass.files import DataError
from footpass.schema import PITCH, Role, Tactical
from footpass.simulate.season import simulate_half, write_season
from footpass.simulate.tracker_files import write_trackers
from footpass.simulate.trackers import TrackerErrors, track

MINUTES = 2.0
METRES = np.array(PITCH)
PERFECT = TrackerErrors()


@pytest.fixture(scope="module")
def season(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("season")
    write_season(folder, 1, MINUTES, 0, "val", video=False, workers=1)
    for form in ("gsr", "mot", "kloppy"):
        write_trackers(folder, form, PERFECT, 1, MINUTES, 0, "val", workers=1)
    return folder


def official(season: Path, half: str) -> pd.DataFrame:
    """The official rows of a half whose player has a box."""
    with h5py.File(season / tactical_path("val")) as file:
        rows = pd.DataFrame(file[half][:], columns=[column.name for column in Tactical])
    return rows[rows["BOX_X"].notna()].reset_index(drop=True)


@pytest.fixture(scope="module")
def half():
    return simulate_half(2001, 0, 4.0, 0)


@pytest.mark.parametrize("half", ["game_2001_H1", "game_2001_H2"])
def test_game_state_says_what_the_official_rows_say(season, half):
    content = json.loads((season / "as_gsr" / f"{half}.json").read_text())
    frame_of = {image["image_id"]: int(image["file_name"][:6]) - 1 for image in content["images"]}
    rows = pd.DataFrame(
        {
            "FRAME": frame_of[one["image_id"]],
            "id": one["track_id"],
            "JERSEY": float(one["attributes"]["jersey"] or "nan"),
            "TEAM": ("left", "right").index(one["attributes"]["team"]),
            "keeper": one["attributes"]["role"] == "goalkeeper",
            "X": (one["bbox_pitch"]["x_bottom_middle"] + 52.5) / 105,
            "Y": (one["bbox_pitch"]["y_bottom_middle"] + 34) / 68,
            "BOX_X": one["bbox_image"]["x"],
            "BOX_HEIGHT": one["bbox_image"]["h"],
            "middle": one["bbox_image"]["x_center"] - one["bbox_image"]["w"] / 2,
        }
        for one in content["annotations"]
        if one["category_id"] != 4
    )
    truth = official(season, half)
    for column, within in (("FRAME", 0), ("JERSEY", 0), ("TEAM", 0), ("X", 5.1e-4), ("Y", 5.1e-4)):
        np.testing.assert_allclose(rows[column], truth[column], rtol=0, atol=within, err_msg=column)
    np.testing.assert_allclose(rows[["BOX_X", "BOX_HEIGHT"]], truth[["BOX_X", "BOX_HEIGHT"]], atol=0.01)
    np.testing.assert_allclose(rows["middle"], rows["BOX_X"], atol=0.011)
    assert (rows["keeper"] == (truth["ROLE"] == Role.GK)).all()
    assert (truth.groupby(rows["id"])["PLAYER_ID"].nunique() == 1).all()  # a player, a track
    assert len(content["images"]) == content["info"]["seq_length"] == MINUTES / 2 * 60 * 25


def test_mot_boxes_stand_where_the_players_stand(season):
    folder = season / "as_mot" / "game_2001_H2"
    columns = ["FRAME", "track", "x", "y", "w", "h"]
    boxes = pd.read_csv(folder / "gt" / "gt.txt", names=columns, usecols=range(6))
    named = dict(
        line.strip().removeprefix("trackletID_").split("= ")
        for line in (folder / "gameinfo.ini").read_text().splitlines()
        if line.startswith("trackletID")
    )
    ball = boxes["track"].map(lambda number: named[str(number)] == "ball;1")
    boxes = boxes[~ball].assign(FRAME=boxes["FRAME"] - 1).reset_index(drop=True)
    truth = official(season, "game_2001_H2")
    team = np.where(truth["TEAM"] == 0, "left", "right")
    role = np.where(truth["ROLE"] == Role.GK, "goalkeeper", "player")
    for number, jersey, side, who in zip(boxes["track"], truth["JERSEY"], team, role, strict=True):
        if jersey >= 0:  # not a substitute whose number nobody has read yet
            assert named[str(number)] == f"{who} team {side};{jersey:.0f}"

    homographies = pd.read_csv(folder / "homography.csv").set_index("frame")
    to_pitch = homographies.loc[boxes["FRAME"] + 1].to_numpy().reshape(-1, 3, 3)
    full = truth["BOX_HEIGHT"] > 1.5 * truth["BOX_WIDTH"]  # not cut off by the picture's edge
    foot = np.column_stack([boxes["x"] + boxes["w"] / 2, boxes["y"] + boxes["h"], np.ones(len(boxes))])
    x, y, scale = np.einsum("nij,nj->ni", to_pitch, foot).T
    off = np.hypot(x / scale + 52.5 - truth["X"] * 105, y / scale + 34 - truth["Y"] * 68)[full]
    assert np.median(off) < 0.4  # a box ends a little below the feet
    assert np.quantile(off, 0.99) < 2.5


def test_kloppy_loads_the_match_with_positions_and_names_right_to_a_centimetre(season):
    skillcorner = pytest.importorskip("kloppy.skillcorner")
    folder = season / "as_kloppy"
    dataset = skillcorner.load(
        meta_data=str(folder / "game_2001_match.json"),
        raw_data=str(folder / "game_2001_tracking.json"),
    ).transform(to_coordinate_system="kloppy")
    found = pd.DataFrame(
        {
            "period": frame.period.id,
            "FRAME": frame.frame_id * 2.5,
            "JERSEY": player.jersey_no,
            "ground": player.team.ground.value,
            "X": data.coordinates.x,
            "Y": data.coordinates.y,
        }
        for frame in dataset.records
        for player, data in frame.players_data.items()
    )
    for period in (1, 2):
        truth = official(season, f"game_2001_H{period}").dropna(subset="JERSEY")
        ours = found[found["period"] == period].dropna(subset="JERSEY")
        left = "home" if period == 1 else "away"  # the teams change sides
        ours = ours.assign(TEAM=np.where(ours["ground"] == left, 0.0, 1.0))
        whole = ours[ours["FRAME"] % 1 == 0]
        both = whole.merge(truth, on=["FRAME", "TEAM", "JERSEY"], suffixes=("", "_true"))
        assert len(both) == len(whole) == (truth["FRAME"] % 5 == 0).sum()
        off = (both[["X", "Y"]] - both[["X_true", "Y_true"]].to_numpy()) * METRES
        assert np.abs(off.to_numpy()).max() < 0.06  # the official ones are rounded
        # Between two frames of 25 a second he is between his places of then.
        halfway = ours[ours["FRAME"] % 1 == 0.5].assign(FRAME=lambda rows: rows["FRAME"] - 0.5)
        near = halfway.merge(truth, on=["FRAME", "TEAM", "JERSEY"], suffixes=("", "_true"))
        assert len(near) == len(halfway) > 1000
        steps = np.hypot(*((near[["X", "Y"]] - near[["X_true", "Y_true"]].to_numpy()) * METRES).T.values)
        speed = np.hypot(near["VX"], near["VY"])
        assert np.abs(steps - speed / 50).max() < 0.09  # two rounded places
    first = {p.jersey_no: p.starting_position.code for p in dataset.metadata.teams[0].players}
    assert first[1] == "GK"


def test_a_tracker_without_errors_reads_the_names_of_its_tracks(half):
    motion, shots = half
    rows = track(motion, shots, PERFECT, [0])
    players = rows[rows["role"] != "ball"]
    assert len(players) == np.isfinite(shots.boxes[..., 0]).sum()
    per_track = players.groupby("track")[["team", "jersey"]].nunique()
    assert (per_track == 1).all(axis=None) and len(per_track) == 22
    assert rows["frame"].is_monotonic_increasing


def test_each_dial_does_what_it_says(half):
    motion, shots = half
    perfect = track(motion, shots, PERFECT, [0])

    missed = track(motion, shots, TrackerErrors(missed=0.2), [0])
    assert 1 - len(missed) / len(perfect) == pytest.approx(0.2, abs=0.02)

    noisy = track(motion, shots, TrackerErrors(noise=1.5), [0])
    off = (noisy[["x", "y"]] - perfect[["x", "y"]]) * METRES
    np.testing.assert_allclose(off.std(), 1.5, atol=0.15)
    pd.testing.assert_frame_equal(noisy.drop(columns=["x", "y"]), perfect.drop(columns=["x", "y"]))

    broken = track(motion, shots, TrackerErrors(break_tracks=6), [0])
    lasts = broken[broken["role"] != "ball"].groupby("track")["frame"].agg(["min", "max"])
    assert 2 < (lasts["max"] - lasts["min"]).mean() / 25 < 6  # shorter where he leaves the picture
    gaps = broken.groupby("track")["frame"].diff()
    assert gaps.max() <= 26
    pd.testing.assert_frame_equal(broken.drop(columns="track"), perfect.drop(columns="track"))

    errors = TrackerErrors(break_tracks=6, unknown_jerseys=0.3, wrong_jerseys=0.2)
    misread = track(motion, shots, errors, [0])
    players = misread["role"] != "ball"
    said = misread[players].groupby("track")["jersey"].first()
    true = perfect[players].groupby(misread["track"])["jersey"].first()
    assert (said == -1).mean() == pytest.approx(0.3, abs=0.06)
    wrong = said[(said != -1) & (said != true)]
    assert len(wrong) / len(said) == pytest.approx(0.2, abs=0.05)
    squads = perfect[players].groupby("team")["jersey"].unique()
    team = misread[players].groupby("track")["team"].first()
    assert all(number in squads[team[which]] for which, number in wrong.items())


def test_more_of_one_error_changes_nothing_about_the_others(half):
    motion, shots = half
    errors = TrackerErrors(break_tracks=6, unknown_jerseys=0.15, wrong_jerseys=0.03, noise=1)
    one, other = (track(motion, shots, replace(errors, noise=noise), [5]) for noise in (1, 2))
    pd.testing.assert_frame_equal(one.drop(columns=["x", "y"]), other.drop(columns=["x", "y"]))


def test_the_same_seed_writes_the_same_files(season, tmp_path):
    write_trackers(tmp_path, "gsr", PERFECT, 1, MINUTES, 0, "val", workers=1)
    name = Path("as_gsr", "game_2001_H1.json")
    assert (tmp_path / name).read_bytes() == (season / name).read_bytes()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"break_tracks": -1.0}, "break_tracks -1.0"),
        ({"noise": float("nan")}, "noise nan"),
        ({"missed": 1.5}, "missed 1.5"),
        ({"unknown_jerseys": 0.7, "wrong_jerseys": 0.4}, "not shares of one whole"),
    ],
)
def test_errors_that_make_no_sense_are_refused(wrong, reason):
    with pytest.raises(DataError, match=reason):
        TrackerErrors(**wrong)


def test_the_command_writes_a_tracker_s_files_beside_the_season(tmp_path, capsys):
    plain = ["simulate", "--matches", "1", "--minutes", "0.5", "--no-video", "--workers", "1", "--out"]
    dials = "--break-tracks 2 --unknown-jerseys .15 --wrong-jerseys .03 --noise 1 --missed .05"
    assert main([*plain, str(tmp_path / "a"), "--as", "gsr", "mot", *dials.split()]) == 0
    names = {str(path.relative_to(tmp_path / "a")) for path in tmp_path.glob("a/as_*/*")}
    assert names == {
        *(f"as_gsr/game_1001_H{half}.json" for half in (1, 2)),
        *(f"as_mot/game_1001_H{half}" for half in (1, 2)),
    }
    assert "as_mot" in capsys.readouterr().out
    for wrong, reason in (
        (["--noise", "1"], "a tracker's errors need --as"),
        (["--as", "gsr", "--highlights"], "a tracker sees whole halves"),
        (["--as", "gsr", "--missed", "5"], "missed 5.0 is not within 0..1"),
    ):
        assert main([*plain, str(tmp_path / "b"), *wrong]) == 2
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
