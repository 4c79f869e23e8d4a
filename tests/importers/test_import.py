"""A match of several files, its video and its events."""

from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest

from footpass.data.check import check
from footpass.data.halves import dense
from footpass.data.tactical import half_names, read_rows
from footpass.data.video import VideoReader, probe, write_video
from footpass.events import halves_of, read_ground_truth
from footpass.files import DataError
from footpass.importers.events import found_shift
from footpass.importers.footage import add_video
from footpass.importers.match import ImportConfig, import_match, track_files
from footpass.schema import Action, Tactical
from tests.importers.rows import ELEVEN, track, tracked

BOX = (900.0, 500.0, 40.0, 90.0)


def team(frames, side=0, offset=0, **fields):
    """Eleven players with numbers 2 to 12 who stand; the other team mirrored."""
    tracks = []
    for place, (x, y) in enumerate(ELEVEN.values()):
        at = (105 - x, 68 - y) if side else (x, y)
        box = (BOX[0] + 45 * (place - 5), BOX[1] + 100 * side, *BOX[2:])
        tracks.append(
            track(offset + place, frames, at, side, place + 2, box=box, keeper=int(place == 0))
        )
    return tracks


def clip(frames, **fields):
    both = [*team(frames), *team(frames, 1, 50)]
    return tracked(*both, picture=(1080, 1920), sides_known=True, **fields)


def test_clips_follow_each_other_and_halves_are_kept_apart(tmp_path):
    parts = [clip(range(200)), clip(range(100)), clip(range(50))]
    notes = import_match(tmp_path, parts, ImportConfig(halves=(1, 1, 2)))
    path = tmp_path / "val_tactical_data.h5"
    assert half_names(path) == ["game_1_H1", "game_1_H2"]
    first, second = (read_rows(path, name)[:, Tactical.FRAME] for name in half_names(path))
    assert (first.min(), first.max(), second.min(), second.max()) == (0, 299, 300, 349)
    assert any("starts at frame 200" in note for note in notes["game_1_H1"])
    assert check(tmp_path).fine


def test_told_starts_put_clips_where_they_are_and_nobody_is_made_up_between(tmp_path):
    config = ImportConfig(halves=(1,), starts=(100, 20_000))
    import_match(tmp_path, [clip(range(100)), clip(range(100))], config)
    rows = read_rows(tmp_path / "val_tactical_data.h5", "game_1_H1")
    assert np.unique(rows[:, Tactical.FRAME]).tolist() == [*range(100, 200), *range(20_000, 20_100)]
    assert (np.bincount(rows[:, Tactical.FRAME].astype(int))[100:200] == 22).all()


def test_a_second_import_adds_a_half_and_never_replaces_one(tmp_path):
    import_match(tmp_path, [clip(range(60))], ImportConfig())
    before = read_rows(tmp_path / "val_tactical_data.h5", "game_1_H1")
    import_match(tmp_path, [clip(range(60), half=2)], ImportConfig(starts=(500,)))
    path = tmp_path / "val_tactical_data.h5"
    np.testing.assert_array_equal(read_rows(path, "game_1_H1"), before)
    assert half_names(path) == ["game_1_H1", "game_1_H2"]
    with pytest.raises(DataError, match="there already"):
        import_match(tmp_path, [clip(range(60))], ImportConfig())


@pytest.mark.parametrize(("frames", "start"), [(200, 0), (20, 30)])
def test_a_video_that_ends_before_the_tracks_is_refused_and_nothing_is_written(tmp_path, frames, start):
    write_video(tmp_path / "short.mp4", np.zeros((30, 352, 640, 3), np.uint8))
    given = [clip(range(frames))], ImportConfig(starts=(start,))
    reason = f"its last frame is {start + frames - 1} and the video has 30 frames"
    with pytest.raises(DataError, match=reason):
        import_match(tmp_path / "out", *given, video=tmp_path / "short.mp4")
    assert not (tmp_path / "out").exists()


def test_tracks_without_positions_pass_the_check(tmp_path):
    part = clip(range(60))
    part = replace(part, table=part.table.assign(x=np.float32(np.nan), y=np.float32(np.nan)))
    import_match(tmp_path, [part], ImportConfig())
    assert check(tmp_path).fine


def test_challenge_halves_have_no_labels(tmp_path):
    import_match(tmp_path, [clip(range(60))], ImportConfig(split="challenge"))
    with h5py.File(tmp_path / "challenge_tactical_data.h5") as file:
        assert file["game_1_H1"].shape == (60 * 22, 13)


def test_boxes_without_positions_or_teams_keep_a_slot_each(tmp_path):
    nowhere = (np.nan, np.nan)
    tracks = [track(n, range(60), nowhere, team=-1, box=(50 * n, 300, 40, 90)) for n in range(20)]
    (notes,) = import_match(tmp_path, [tracked(*tracks, picture=(1080, 1920))], ImportConfig()).values()
    half = dense(read_rows(tmp_path / "val_tactical_data.h5", "game_1_H1"), "game_1_H1")
    assert (np.isfinite(half.boxes[..., 0]).sum(axis=0) == 20).all() and np.isnan(half.state[0]).all()
    assert any("no pitch positions" in note for note in notes)
    table = pd.read_csv(tmp_path / "import" / "game_1_H1.csv")
    assert table["slot"].nunique() == 20  # whose slot is whose track


def a_pass(seconds, jersey=5) -> pd.DataFrame:
    """A provider's only event."""
    what = {"seconds": [seconds], "team": 0, "jersey": jersey, "cls": Action.PASS}
    return pd.DataFrame({**what, "x": np.nan, "y": np.nan})


def test_events_become_labels_and_play_by_play_that_agree(tmp_path):
    events = pd.DataFrame(
        {
            "seconds": [0.4, 0.8, 0.8, 30.0], "team": [0, 1, 1, 0], "jersey": [5, 7, 7, 5],
            "cls": [Action.PASS, Action.DRIVE, Action.TACKLE, Action.PASS], "x": np.nan, "y": np.nan,
        }
    )  # fmt: skip
    (notes,) = import_match(tmp_path, [clip(range(60))], ImportConfig(), {1: events}).values()
    truth = read_ground_truth(tmp_path / "playbyplay_GT" / "playbyplay_val.json")
    rows = truth[["frame", "team", "jersey", "cls", "box_visible", "replay"]].to_numpy().tolist()
    assert rows == [[10, 0, 5, 2, 1, 0], [20, 1, 7, 1, 1, 0], [21, 1, 7, 7, 1, 0]]
    assert check(tmp_path).fine and any("1 of 4 events" in note for note in notes)


@pytest.mark.parametrize("first", [True, False])
def test_a_half_whose_events_nobody_says_is_not_one_without_events(tmp_path, first):
    for told in (first, not first):
        events = {1: a_pass(0.4)} if told else None
        import_match(tmp_path, [clip(range(60))], ImportConfig(game=1 + (not told)), events)
    truth = read_ground_truth(tmp_path / "playbyplay_GT" / "playbyplay_val.json")
    assert halves_of(truth) == ["game_1_H1"] and len(truth) == 1
    assert len(half_names(tmp_path / "val_tactical_data.h5")) == 2
    (fault,) = check(tmp_path).problems
    assert (fault.half, fault.reason) == ("game_2_H1", "missing, but in val_tactical_data.h5")


def test_events_of_another_match_are_refused(tmp_path):
    with pytest.raises(DataError, match="none of its 1 events is of a player in the tracks then"):
        import_match(tmp_path, [clip(range(60))], ImportConfig(), {1: a_pass(0.4, jersey=99)})
    assert not list(tmp_path.glob("*.h5"))


@pytest.mark.parametrize("late", [-60, 0, 88])
def test_the_shift_of_the_events_clock_is_found(half, late):
    _, _, rows = half
    names = ["frame", "team", "jersey", "x", "y", "cls"]
    columns = [Tactical.FRAME, Tactical.TEAM, Tactical.JERSEY, Tactical.X, Tactical.Y, Tactical.LABEL]
    acts = pd.DataFrame(rows[rows[:, Tactical.LABEL] > 0][:, columns], columns=names).dropna()
    acts = acts[acts["frame"].between(13_500, 24_000)].head(150)
    first = 13_000
    events = acts.assign(seconds=(acts["frame"] - first - late) / 25)
    assert found_shift(events, rows, first).frames == pytest.approx(late, abs=3)


def test_a_video_the_models_can_read_is_linked_and_any_other_transcoded(tmp_path):
    fine, odd = tmp_path / "fine.mp4", tmp_path / "odd.mp4"
    write_video(fine, (np.full((352, 640, 3), 10 * k, np.uint8) for k in range(20)))
    write_video(odd, (np.full((120, 200, 3), 8 * k, np.uint8) for k in range(30)), fps=50)
    assert "linked" in add_video(tmp_path, "game_1", fine)
    assert (tmp_path / "videos" / "game_1.mp4").resolve() == fine.resolve()
    assert "transcoded from 200x120 at 50" in add_video(tmp_path, "game_2", odd)
    info = probe(tmp_path / "videos" / "game_2.mp4")
    assert (info.height, info.width, info.fps, info.n_frames) == (352, 640, 25, 15)
    with VideoReader(tmp_path / "videos" / "game_2.mp4") as reader:
        levels = reader.frames([0, 5, 10]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(levels, [0, 80, 160], atol=6)  # every other picture of the 50
    with pytest.raises(DataError, match="has a video already"):
        add_video(tmp_path, "game_1", odd)
    moved = fine.rename(tmp_path / "moved.mp4")
    assert f"linked to {moved}" in add_video(tmp_path, "game_1", moved)


def test_the_files_of_a_mot_folder_are_its_texts(tmp_path):
    names = ["gt/gt.txt", "seqinfo.ini"]
    for name in (*names, "img1/000001.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    mine = [tmp_path / name for name in names]
    assert track_files([tmp_path, str(mine[0]), tmp_path / "none.json"]) == [*mine, mine[0]]


def named(frames, side, name, **fields):
    """A clip that shows one team alone, as the first that its file names."""
    return tracked(*(t.assign(team=0) for t in team(frames, side)), teams=(name, ""), **fields)


def test_a_clip_of_one_team_is_that_teams_clip(tmp_path):
    """Its only team was number 0 whatever its name, so the other team's."""
    whole = tracked(*team(range(60)), *team(range(60), 1, 50), teams=("A", "B"))
    import_match(tmp_path, [whole, named(range(60), 1, "B")], ImportConfig())
    rows = read_rows(tmp_path / "val_tactical_data.h5", "game_1_H1")
    seen = rows[(rows[:, Tactical.FRAME] >= 60) & np.isfinite(rows[:, Tactical.BOX_X])]
    assert len(seen) == 60 * 11 and (seen[:, Tactical.TEAM] == 1).all()
    with pytest.raises(DataError, match="3 teams instead of two: A, B, C"):
        import_match(tmp_path / "b", [whole, named(range(60), 1, "C")], ImportConfig())


def test_files_of_one_clock_may_share_the_frames_of_a_cut(tmp_path):
    """The second was taken to count anew, and put behind the first."""
    parts = [clip(range(60)), clip(range(59, 100))]
    (notes,) = import_match(tmp_path, parts, ImportConfig()).values()
    rows = read_rows(tmp_path / "val_tactical_data.h5", "game_1_H1")
    assert (np.bincount(rows[:, Tactical.FRAME].astype(int)) == 22).all() and rows[-1, 0] == 99
    assert any("22 rows at frames of files before it left out" in note for note in notes)


def test_events_of_a_half_in_two_files_are_counted_from_its_kick_off(tmp_path):
    """They were counted from the video's first frame, and all left out."""
    config = ImportConfig(starts=(20_000, 20_000))
    import_match(tmp_path, [clip(range(50)), clip(range(50, 80))], config, {1: a_pass(1.0)})
    truth = read_ground_truth(tmp_path / "playbyplay_GT" / "playbyplay_val.json")
    assert truth["frame"].tolist() == [20_025]


def test_events_of_other_halves_than_the_tracks_are_refused(tmp_path):
    with pytest.raises(DataError, match="the events are of half 2, the tracks of half 1"):
        import_match(tmp_path, [clip(range(60))], ImportConfig(), {2: pd.DataFrame({"team": [0]})})


def test_events_are_turned_with_the_teams_also_where_sides_are_told(tmp_path):
    """What nothing but --left could tell was asked for again by the events."""
    both = [t.assign(team=1 - t["team"]) for t in (*team(range(560), 1, 50), *team(range(560)))]
    given = tracked(*both, teams=("B", "A"))  # B attacks from the right
    place = np.array(list(ELEVEN.values())[5]) / (105, 68)  # as if B attacked from the left
    what = {"seconds": np.arange(12) / 25 + 11, "team": 0, "jersey": 7, "cls": Action.PASS}
    events = pd.DataFrame({**what, "x": place[0], "y": place[1]})
    (notes,) = import_match(tmp_path, [given], ImportConfig(left="A"), {1: events}).values()
    truth = read_ground_truth(tmp_path / "playbyplay_GT" / "playbyplay_val.json")
    assert (truth["team"] == 1).all() and len(truth) == 12
    assert "players are then 0.0 m" in next(note for note in notes if note.startswith("events"))


def test_rate_and_picture_that_no_file_says_are_the_videos(tmp_path):
    """A tracker's table of a video of 50 pictures a second was taken to be of 25, and half as long."""
    video = tmp_path / "v.mp4"
    write_video(video, (np.full((720, 1280, 3), k, np.uint8) for k in range(30)), fps=50)
    part = tracked(track(1, range(30), (50, 30), box=(100, 90, 30, 60)), fps=None)
    (notes,) = import_match(tmp_path / "a", [part], ImportConfig(), video=video).values()
    rows = read_rows(tmp_path / "a" / "val_tactical_data.h5", "game_1_H1")
    seen = rows[np.isfinite(rows[:, Tactical.BOX_X])]
    assert seen[:, Tactical.FRAME].tolist() == list(range(15))
    assert seen[0, Tactical.BOX_X : Tactical.BOX_HEIGHT + 1].tolist() == [150, 135, 45, 90]
    assert [note for note in notes if "not said" in note] == [
        "rate not said: taken as the video's 50 frames a second",
        "picture size not said: taken as the video's 1280x720",
    ]
    with pytest.raises(DataError, match="leave out --video"):
        import_match(tmp_path / "a", [part], ImportConfig(halves=(2,)), video=video)
    import_match(tmp_path / "a", [part], ImportConfig(halves=(2,), fps=30))
    rows = read_rows(tmp_path / "a" / "val_tactical_data.h5", "game_1_H2")
    assert rows[:, Tactical.FRAME].max() == 24
