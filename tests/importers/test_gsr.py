"""Game-state files in every form they come in."""

import json
import tracemalloc

import numpy as np
import pytest

from footpass.files import DataError
from footpass.importers.gsr import read_gsr
from footpass.importers.tracks import GOALKEEPER, PLAYER, UNKNOWN, cleaned, oriented, with_picture
from tests.importers.rows import annotation, game_state


def test_an_annotation_becomes_a_row(tmp_path):
    info = {"version": "1.3", "frame_rate": "25", "game_time_start": "2 - 00:00"}
    images = [{"image_id": "2021000001", "height": 720, "width": 1280}]
    entry = annotation("2021000031", track=7.0, x=10.5, y=-34.0)
    half = read_gsr(game_state(tmp_path / "a.json", [entry], info=info, images=images))
    row = half.table.iloc[0]
    assert (row["frame"], row["track"], row["team"], row["jersey"], row["keeper"]) == (
        30,
        7,
        0,
        10,
        PLAYER,
    )
    assert (row["x"], row["y"]) == pytest.approx((0.6, 0.0))  # y grows towards the camera
    assert row[["box_x", "box_y", "box_w", "box_h"]].tolist() == [900, 500, 40, 90]
    assert (half.fps, half.half, half.picture, half.sides_known) == (25, 2, (720, 1280), True)


def test_a_half_in_odd_digits_is_not_said(tmp_path):
    info = {"game_time_start": "\u00b2 - 00:00"}
    assert read_gsr(game_state(tmp_path / "a.json", [annotation(0)], info=info)).half is None


def test_tracklabs_predictions_of_an_own_video(tmp_path):
    entry = annotation(12, jersey=None, team="right")
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"predictions": [entry]}))
    row = read_gsr(path).table.iloc[0]
    assert (row["frame"], row["team"], row["jersey"]) == (12, 1, UNKNOWN)


def test_referee_ball_pitch_and_detections_without_a_track_are_left_out(tmp_path):
    entries = [annotation(n, role=role) for n, role in enumerate(("referee", "ball", "other", "player"))]
    entries += [{"image_id": 1, "category_id": 5, "lines": {}}, annotation(5, track=None)]
    assert read_gsr(game_state(tmp_path / "c.json", entries)).table["frame"].tolist() == [3]


def test_a_jersey_that_is_no_number_is_unknown_and_counted(tmp_path):
    """Who reads numbers off shirts may see an O for a zero; all else in the file stays."""
    read = ("1O", "123", "99999", "10", None)
    entries = [annotation(n, jersey=jersey) for n, jersey in enumerate(read)]
    half = read_gsr(game_state(tmp_path / "c.json", [*entries, annotation(5, track=None)]))
    assert half.table["jersey"].tolist() == [UNKNOWN] * 3 + [10, UNKNOWN]
    assert half.notes == (
        "3 jerseys that are no number of 0..99 taken as unknown",
        "1 boxes that no track took up left out",
    )


def test_soccertracks_player_id_is_the_track(tmp_path):
    entry = annotation(1, track=None)
    entry["attributes"]["player_id"] = 4001
    assert read_gsr(game_state(tmp_path / "d.json", [entry])).table["track"].tolist() == [4001]


def test_a_goalkeeper_without_a_team_belongs_to_the_goal_he_stands_in(tmp_path):
    entries = [
        annotation(0, 1, x=-48, role="goalkeeper", team=None),
        annotation(0, 2, x=48, role="goalkeeper", team=None),
    ]
    table = read_gsr(game_state(tmp_path / "e.json", entries)).table
    assert table["team"].tolist() == [0, 1] and (table["keeper"] == GOALKEEPER).all()


def test_what_python_writes_for_no_number_is_none(tmp_path):
    """A calibration that failed is NaN there: the file was refused as no JSON."""
    entries = [annotation(0, x=float("nan"), jersey=float("nan")), annotation(1, x=-float("inf"))]
    entries += [annotation(2, jersey="None", bbox_image={"x": None, "y": 1, "w": 2, "h": 3}, n="NaN.")]
    table = read_gsr(game_state(tmp_path / "n.json", entries)).table
    assert table["x"].isna().tolist() == [True, True, False]
    assert table["jersey"].tolist() == [UNKNOWN, 10, UNKNOWN] and np.isnan(table["box_x"][2])


def test_the_rate_of_a_file_with_sorted_keys_is_found_behind_its_annotations(tmp_path):
    entry = {**annotation(0), "pad": "x" * (2 << 20)}
    info = {"frame_rate": "50", "game_time_start": "2 - 00:00"}
    half = read_gsr(game_state(tmp_path / "s.json", [entry], info=info))
    assert (half.fps, half.half) == (50, 2)


def test_clubs_instead_of_sides_are_two_teams_whose_sides_are_found(tmp_path):
    """They were dropped, and everybody given to either team in turn."""
    entries = [annotation(0, 1, team="home"), annotation(0, 2, team="away"), annotation(0, 3, team=None)]
    half = read_gsr(game_state(tmp_path / "c.json", entries))
    assert half.teams == ("away", "home") and not half.sides_known
    assert half.table["team"].tolist() == [1, 0, UNKNOWN]


def test_a_picture_without_a_size_and_a_track_of_minus_one_say_nothing(tmp_path):
    images = [{"image_id": "1", "height": None, "width": None}]
    path = game_state(tmp_path / "p.json", [annotation(0), annotation(0, track=-1)], images=images)
    half = read_gsr(path)
    assert half.picture is None and half.fps is None and half.table["track"].tolist() == [1]


def crowd(flip_y=False, size=1.0) -> list[dict]:
    """Two hundred players: who stands nearer to the camera stands lower in the picture."""
    rng = np.random.default_rng(0)
    entries = []
    for number in range(200):
        x, y = rng.uniform(-50, 50), rng.uniform(-30, 30)
        box = {"x": (960 + 15 * x) * size, "y": (500 + 8 * y) * size, "w": 30 * size, "h": 60 * size}
        entries.append(annotation(number // 20, number, x, -y if flip_y else y, bbox_image=box))
    return entries


def test_positions_whose_y_points_away_from_the_camera_are_turned_round(tmp_path):
    true = oriented(read_gsr(game_state(tmp_path / "f.json", crowd())))
    turned = oriented(read_gsr(game_state(tmp_path / "g.json", crowd(flip_y=True))))
    np.testing.assert_allclose(true.table["y"], turned.table["y"], atol=1e-6)
    assert not true.notes and "y runs against the picture" in turned.notes[0]


def test_a_picture_size_that_boxes_go_beyond_is_not_believed(tmp_path):
    images = [{"image_id": "1", "height": 720, "width": 1280}]
    half = with_picture(read_gsr(game_state(tmp_path / "h.json", crowd(), images=images)), None)
    assert "taken as 1920x1080" in half.notes[0]
    half = with_picture(read_gsr(game_state(tmp_path / "i.json", crowd(size=2.0))), (2160, 3840))
    assert half.table["box_w"].iloc[0] == pytest.approx(30)


def test_positions_far_off_the_pitch_are_not_believed_but_their_boxes_are(tmp_path):
    half = cleaned(read_gsr(game_state(tmp_path / "j.json", [annotation(0, x=70), annotation(1, x=57)])))
    assert half.table["x"].isna().tolist() == [True, False] and half.table["box_x"].notna().all()


def test_a_pickled_state_is_refused_unread(tmp_path):
    with pytest.raises(DataError, match="would run code"):
        read_gsr(tmp_path / "state.pklz")


def test_memory_does_not_grow_with_the_file(tmp_path):
    """A file ten times as long needs ten times the rows (of 45 bytes), and nothing else."""

    def peak(n: int) -> int:
        path = game_state(tmp_path / f"{n}.json", [annotation(k, k % 22) for k in range(n)])
        size = path.stat().st_size
        tracemalloc.start()
        read_gsr(path)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert used < size  # a parsed file takes several times its size
        return used

    assert peak(10_000) - peak(5_000) < 5_000 * 150
