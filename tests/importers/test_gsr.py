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
