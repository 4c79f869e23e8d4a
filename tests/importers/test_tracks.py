"""Other rates of frames: on a straight line nothing may be lost."""

import numpy as np
import pytest

from footpass.files import DataError
from footpass.importers.sides import sided
from footpass.importers.tracks import GOALKEEPER, UNKNOWN, at_25_fps, doubted, pitch_fractions
from tests.importers.rows import track, tracked


@pytest.mark.parametrize("fps", [10, 12.5, 25, 29.97, 30, 50, 60])
def test_a_player_who_runs_straight_on_is_where_he_is_at_every_25th_of_a_second(fps):
    seconds = np.arange(0, 8, 1 / fps)
    path = np.column_stack([20 + 5 * seconds, 30 + 2 * seconds])
    box = np.column_stack([100 * seconds, 50 * seconds, 0 * seconds + 20, 0 * seconds + 40])
    half = at_25_fps(tracked(track(1, np.arange(len(seconds)), path, box=box), fps=fps))
    found = half.table
    assert half.fps == 25 and (np.diff(found["frame"]) == 1).all()
    assert len(found) == pytest.approx(8 * 25, abs=3)
    at = found["frame"].to_numpy() / 25
    np.testing.assert_allclose(found["x"] * 105, 20 + 5 * at, atol=1e-3)
    np.testing.assert_allclose(found["box_x"], 100 * at, atol=1e-2)


def test_what_a_track_does_not_show_for_a_second_is_not_made_up():
    frames = np.r_[0:10, 40:50]
    found = at_25_fps(tracked(track(1, frames, (50, 30)), fps=10)).table["frame"]
    assert not found.between(24, 99).any() and found.max() == 122


def test_tracks_do_not_run_into_each_other():
    half = tracked(track(1, range(10), (10, 10)), track(2, range(10), (90, 60)), fps=10)
    found = at_25_fps(half).table
    assert sorted(set(np.round(found["x"] * 105))) == [10, 90]


def test_metres_from_the_centre_and_from_a_corner():
    grid = np.stack(np.meshgrid(np.linspace(2, 103, 9), np.linspace(2, 66, 9)), -1).reshape(-1, 2)
    expected = grid / [105, 68]
    np.testing.assert_allclose(pitch_fractions(grid, "t.csv")[0], expected)
    np.testing.assert_allclose(pitch_fractions(grid - [52.5, 34], "t.csv")[0], expected)


@pytest.mark.parametrize(("speed", "doubts"), [(9, 0), (30, 1)])
def test_players_faster_than_anybody_are_doubted(speed, doubts, caplog):
    """As where a table counts seconds and not frames, or its frames are of another rate."""
    metres = np.column_stack([5 + speed * np.arange(60) / 25, np.full(60, 30)])
    half = tracked(track(1, range(60), metres))
    assert len(doubted(half).notes) - len(half.notes) == doubts == len(caplog.records)


def test_goalkeepers_tell_the_sides():
    frames = range(60)
    half = tracked(
        track(1, frames, (100, 34), team=0, keeper=GOALKEEPER),
        track(2, frames, (5, 34), team=1, keeper=GOALKEEPER),
        track(3, frames, (40, 34), team=0),
        track(4, frames, (60, 34), team=1),
        track(5, frames, (2, 34), team=UNKNOWN, keeper=GOALKEEPER),
    )
    assert sided(half).table.groupby("track")["team"].first().tolist() == [1, 0, 1, 0, UNKNOWN]
    assert sided(half, left=0).table.groupby("track")["team"].first().tolist() == [0, 1, 0, 1, UNKNOWN]


def test_mean_positions_tell_the_sides_where_nobody_is_said_to_keep_goal():
    frames = range(60)
    half = tracked(track(1, frames, (60, 34), team=0), track(2, frames, (40, 30), team=1))
    assert sided(half).table.groupby("track")["team"].first().tolist() == [1, 0]


@pytest.mark.parametrize("other", [(50.5, 30), (np.nan, np.nan)])
def test_sides_that_nothing_tells_must_be_told(other):
    frames = range(60)
    half = tracked(track(1, frames, (50, 34), team=0), track(2, frames, other, team=1))
    with pytest.raises(DataError, match="--left"):
        sided(half)
