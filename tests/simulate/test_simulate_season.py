"""The synthetic season: physics, the broadcast, the files."""

from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footpass.__main__ import main
from footpass.data.cache import open_footage, open_halves
from footpass.data.halves import events_of
from footpass.data.paths import play_by_play_path, tactical_path, video_path
from footpass.data.provenance import read_provenance
from footpass.data.tactical import read_rows
from footpass.data.video import VideoReader, probe
from footpass.events import match_of, read_ground_truth, select_halves
from footpass.files import DataError
from footpass.schema import FPS, FULL_HD, MODEL_SIZE, PITCH, SPLITS, Action, Role, State, Tactical
from footpass.simulate import season
from footpass.simulate.events import simulate_match
from footpass.simulate.motion import move
from tests.simulate.lineups import infer_lineup

SEED = 4


@pytest.fixture(scope="module")
def played():
    """The second half of a match of an hour: it has substitutions."""
    return season.simulate_half(game=1, half=1, minutes=60, seed=SEED)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A written season: one match of half a minute, with video."""
    out = tmp_path_factory.mktemp("season")
    season.write_season(out, 1, minutes=0.5, seed=SEED, workers=1)
    return out


def top_speed(xy):
    """m/s, by walking along the path."""
    return max(
        np.hypot(*(player[i + 1] - player[i])) * FPS for player in xy for i in range(len(player) - 1)
    )


def script_of(rows):
    columns = ["frame", "team", "jersey", "cls", "box_visible", "replay"]
    table = pd.DataFrame(rows, columns=columns)
    table = table.astype(dict.fromkeys(columns[:4], int))
    return table.assign(half=pd.Categorical(["game_1_H1"] * len(table)))


# Motion -------------------------------------------------------------------------------------------


def test_nobody_runs_faster_than_a_sprinter(played):
    motion, _ = played
    assert 7 < top_speed(motion.xy[:, :4000]) < 11
    assert np.linalg.norm(np.diff(motion.xy, axis=1), axis=2).max() * FPS < 11
    assert 1.2 < np.linalg.norm(motion.velocity, axis=2).mean() < 2.6  # 6 to 13 km in 90 minutes


def test_the_actor_is_at_the_ball_at_every_anchor(played):
    motion, _ = played
    for event in motion.script.itertuples():
        assert motion.jersey[event.figure, event.step] == event.jersey
        distance = np.hypot(*(motion.xy[event.figure, event.step] - motion.ball[event.step, :2]))
        assert distance < 2, event


def test_where_events_happen_follows_their_class(played):
    motion, _ = played
    script, (length, width) = motion.script, PITCH
    at = motion.xy[script.figure, script.step]
    ahead = np.where(script.team == 0, at[:, 0], length - at[:, 0])  # metres from the own goal line
    from_line = np.minimum(at[:, 1], width - at[:, 1])
    throw, cross, shot = (script.cls == one for one in (Action.THROW_IN, Action.CROSS, Action.SHOT))
    assert throw.sum() > 2 and cross.sum() > 2 and shot.sum() > 1
    assert from_line[throw].max() < 1
    assert np.median(from_line[cross]) < 15 and np.median(ahead[cross]) > 75
    assert np.median(ahead[shot]) > 80
    assert np.median(motion.ball[script.step[script.cls == Action.HEADER], 2]) > 1.8


def test_a_driver_keeps_the_ball():
    rows = [(100, 0, 7, 1, True, False), (175, 0, 7, 2, True, False)]
    rng = np.random.default_rng(0)
    script = script_of(rows)
    motion = move(script, infer_lineup(script, range(50, 250), rng), rng)
    figure = motion.script["figure"][0]
    between = slice(51, 120)
    gap = np.linalg.norm(motion.xy[figure, between] - motion.ball[between, :2], axis=1)
    assert gap.max() < 2


def test_roles_fill_22_slots_and_follow_the_line_up():
    match = simulate_match(1, 60, SEED)
    lineup = match.lineup[match.lineup["half"] == "game_1_H2"]
    motion, _ = season.simulate_half(game=1, half=1, minutes=60, seed=SEED)
    assert lineup["start"].nunique() > 4  # swaps of roles and substitutions
    for stint in lineup.itertuples():
        for frame in (stint.start, stint.stop - 1):
            step = frame - motion.first_frame
            team = slice(11 * stint.team, 11 * stint.team + 11)
            place = motion.jersey[team, step].tolist().index(stint.jersey)
            assert motion.role[team, step][place] == stint.role
    for team in (motion.role[:11], motion.role[11:]):
        assert all(len(set(roles)) == 11 for roles in team[:, ::50].T.tolist())


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_script_can_be_played(data):
    """Even events that nobody could reach: the limits of the body come first."""
    steps = data.draw(st.lists(st.integers(0, 299), max_size=40, unique=True))
    who = st.tuples(st.integers(0, 1), st.integers(1, 11), st.integers(1, 8), st.booleans())
    rows = [(70 + step, *data.draw(who), False) for step in sorted(steps)]
    rng = np.random.default_rng(0)
    script = script_of(rows)
    motion = move(script, infer_lineup(script, range(70, 370), rng), rng)
    assert np.linalg.norm(np.diff(motion.xy, axis=1), axis=2).max() * FPS < 11
    step, figure = motion.script["step"], motion.script["figure"]
    assert np.isfinite(motion.ball).all()
    assert (np.linalg.norm(motion.xy[figure, step] - motion.ball[step, :2], axis=1) < 2).all()


def test_real_scripts_can_be_played(release):
    truth = read_ground_truth(release / "playbyplay_GT" / "playbyplay_val.json")
    script = select_halves(truth, ["game_24_H2"])
    frames = range(int(script["frame"].min()) - 20, int(script["frame"].max()) + 20)
    rng = np.random.default_rng(0)
    lineup = infer_lineup(script, frames, rng)
    assert (lineup.groupby("team")["jersey"].nunique() > 11).any()  # it had substitutions
    keepers = lineup[lineup["role"] == Role.GK]
    motion = move(script, lineup, rng)
    assert len(motion.script) == len(script) and len(keepers) >= 2
    assert np.linalg.norm(np.diff(motion.xy, axis=1), axis=2).max() * FPS < 11


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([(100, 0, 1, 2, True, False), (100, 1, 2, 2, True, False)], "two events at frame 100"),
        (
            [(100 + j, 0, (j - 1) % 12 + 1, 2, 1, 0) for j in range(1, 25)],
            "12th player of team 0 at frame 112",
        ),
    ],
)
def test_scripts_that_make_no_sense(rows, reason):
    script = script_of(rows)
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match=reason):
        move(script, infer_lineup(script, range(50, 200), rng), rng)


def test_a_script_must_fit_its_line_up():
    script = script_of([(100, 0, 7, 2, True, False)])
    rng = np.random.default_rng(0)
    lineup = infer_lineup(script, range(50, 200), rng)
    with pytest.raises(DataError, match="player 99 of team 0 is not in the line-up at frame 100"):
        move(script.assign(jersey=99), lineup, rng)
    with pytest.raises(DataError, match=r"frames 300\.\.300 go beyond the line-up"):
        move(script.assign(frame=300), lineup, rng)
    with pytest.raises(DataError, match="not 11 players of team 0 at frame 50"):
        move(script, lineup[lineup["jersey"] != lineup["jersey"].iloc[0]], rng)


# Broadcast ----------------------------------------------------------------------------------------


def test_9_to_12_players_are_in_view_and_nobody_in_replays(played):
    _, shots = played
    has_box = np.isfinite(shots.boxes).all(axis=2)
    assert 9 < has_box[:, ~shots.replay].sum(axis=0).mean() < 12
    assert not has_box[:, shots.replay].any() and 0.05 < shots.replay.mean() < 0.35
    assert (np.isfinite(shots.boxes).any(axis=2) == has_box).all()


def test_boxes_and_replays_follow_the_script(played):
    motion, shots = played
    has_box = np.isfinite(shots.boxes[..., 0])[motion.script["figure"], motion.script["step"]]
    assert (has_box != motion.script["box_visible"]).mean() < 0.02
    assert (shots.replay[motion.script["step"]] != motion.script["replay"]).mean() < 0.02


def test_boxes_lie_in_the_picture_around_the_player(played):
    motion, shots = played
    x, y, wide, high = np.moveaxis(shots.boxes, -1, 0)
    seen = np.isfinite(x)
    height, width = FULL_HD
    assert (x[seen] >= 0).all() and (y[seen] >= 0).all() and (wide[seen] > 0).all()
    assert ((x + wide)[seen] <= width + 1e-6).all() and ((y + high)[seen] <= height + 1e-6).all()
    belly = np.concatenate([motion.xy, np.full((*motion.xy.shape[:2], 1), 1.0)], axis=2)
    at = shots.project(belly)
    live = seen & ~shots.replay & (x > 0) & (x + wide < width)  # not cut by the picture's edge
    assert (np.abs(at[..., 0] - x - wide / 2)[live] < 0.6 * wide[live]).all()
    inside = (at[..., 1] > y) & (at[..., 1] < y + high)
    assert inside[live].mean() > 0.97


def test_the_camera_is_a_pinhole(played):
    motion, shots = played
    for frame in (10, 999, 5000):
        position, target, focal = shots.position[frame], shots.target[frame], shots.focal[frame]
        distance = np.linalg.norm(target - position)

        def seen(point, frame=frame):
            return shots.project(np.asarray(point)[None, None], np.array([frame]))[0, 0]

        # What it looks at is in the middle; a metre there is focal / distance pixels.
        np.testing.assert_allclose(seen(target), [FULL_HD[1] / 2, FULL_HD[0] / 2, focal / distance])
        across = np.cross([0, 0, 1], target - position)
        beside = seen(target + across / np.linalg.norm(across))
        np.testing.assert_allclose(np.abs(beside - seen(target)), [focal / distance, 0, 0], atol=1e-6)
        right, high, near = (seen(target + np.eye(3)[axis]) for axis in (0, 2, 1))
        assert right[0] > seen(target)[0]
        assert high[1] < seen(target)[1] < near[1]
        # The flat pictures are warped by the same camera.
        ground = np.array([*motion.ball[frame, :2], 0])
        x, y, depth = shots.lenses(np.array([frame]))[0] @ (ground - position)
        np.testing.assert_allclose([x / depth, y / depth], seen(ground)[:2])


def test_the_camera_has_the_ball_in_view_at_live_anchors(played):
    motion, shots = played
    live = motion.script["step"][~shots.replay[motion.script["step"]]]
    at = shots.project(motion.ball)[live]
    inside = ((at[:, :2] > 0) & (at[:, :2] < FULL_HD[::-1])).all(axis=1)
    assert inside.mean() > 0.97


# Files --------------------------------------------------------------------------------------------


def test_play_by_play_and_tactical_labels_are_one_and_the_same(folder):
    truth = read_ground_truth(folder / play_by_play_path("train"))
    halves = open_halves(folder, "train")
    assert list(halves) == ["game_1001_H1", "game_1001_H2"]
    for name, half in halves.items():
        expected = truth[truth["half"] == name].reset_index(drop=True)
        assert len(expected) > 3
        pd.testing.assert_frame_equal(events_of(half), expected, check_categorical=False)


def test_positions_and_velocities_of_the_seen_are_the_matches_to_a_thousandth_of_the_pitch(played):
    motion, shots = played
    rows = season.tactical_rows(motion, shots, (2, 1)).reshape(-1, 22, len(Tactical))
    seen = np.isfinite(shots.boxes[..., 0].T)
    place, speed = rows[..., Tactical.X : Tactical.Y + 1], rows[..., Tactical.VX : Tactical.VY + 1]
    off = np.abs(place * PITCH - motion.xy.transpose(1, 0, 2))[seen]
    assert (off <= np.array(PITCH) / 2000 + 1e-4).all()
    np.testing.assert_allclose(speed[seen], motion.velocity.transpose(1, 0, 2)[seen], atol=1e-4)


def test_where_the_unseen_are_is_an_estimate_that_does_not_know_them(played):
    """Elsewhere on the pitch while nobody sees him, a player is written to the same place."""
    motion, shots = played
    unseen = np.isnan(shots.boxes[..., :1])
    moved = replace(motion, xy=motion.xy + 20 * unseen)
    rows = [season.tactical_rows(one, shots, (2, 1)) for one in (motion, moved)]
    place = slice(Tactical.X, Tactical.Y + 1)
    np.testing.assert_array_equal(rows[0][:, place], rows[1][:, place])
    true = (motion.xy / PITCH).transpose(1, 0, 2).reshape(-1, 2)
    off = np.linalg.norm((rows[0][:, place] - true) * PITCH, axis=1)
    hidden = unseen[..., 0].T.ravel()
    assert 1 < np.median(off[hidden]) < 6


def test_teams_change_sides_and_player_ids_do_not(folder):
    first, second = (read_rows(folder / tactical_path("train"), f"game_1001_H{h}") for h in (1, 2))
    club = {player: team for player, team in first[:, [Tactical.PLAYER_ID, Tactical.TEAM]].tolist()}
    both = [(p, t) for p, t in second[:, [Tactical.PLAYER_ID, Tactical.TEAM]].tolist() if p in club]
    assert len(both) > 1000 and all(team == 1 - club[player] for player, team in both)


def test_a_substitute_is_not_known_by_number_at_first(played):
    motion, shots = played
    rows = season.tactical_rows(motion, shots, (2, 1)).reshape(-1, 22, len(Tactical))
    changes = np.argwhere(np.diff(motion.jersey, axis=1) != 0)
    assert len(changes) >= 4
    unread = np.isnan(rows[..., Tactical.JERSEY])
    assert unread[tuple(changes[:, ::-1].T + np.array([[1], [0]]))].any()
    assert 0 < unread.sum() <= len(changes) * 5 * FPS
    labelled = rows[..., Tactical.LABEL] > 0
    assert labelled.sum() == len(motion.script) and not (labelled & unread).any()


def test_the_video_covers_both_halves_and_shows_the_players(folder):
    path = folder / video_path("game_1001")
    halves = open_halves(folder, "train")
    info = probe(path)
    assert (info.height, info.width, info.fps) == (*MODEL_SIZE, FPS)
    assert info.n_frames == halves["game_1001_H2"].end_frame
    reader = VideoReader(path)
    background, inside = [], []
    for half in halves.values():  # the second one: is the video joined at the right frame?
        for index in range(20, half.n_frames, 90):
            picture = reader.frames([half.first_frame + index])[0].astype(int)
            green = (picture[..., 1] > picture[..., 0] + 15) & (picture[..., 1] > picture[..., 2] + 15)
            boxes = half.boxes[half.state[State.VISIBLE, :, index] > 0, index]
            for x1, y1, x2, y2 in boxes.tolist():
                third = (x2 - x1) / 3
                top, bottom = round(y1 + 0.2 * (y2 - y1)), round(y1 + 0.6 * (y2 - y1))
                inside.append(green[top:bottom, round(x1 + third) : round(x2 - third)].mean())
            background.append(green[120:].mean())
    assert len(inside) > 40
    assert np.mean(background) > 0.8 and np.mean(inside) < 0.25


def test_players_keep_their_shirts_when_the_teams_change_sides(folder):
    """Median colour of each player's chest, by player, in the two halves."""
    reader = VideoReader(folder / video_path("game_1001"))
    colours = []
    for number in (1, 2):
        rows = read_rows(folder / tactical_path("train"), f"game_1001_H{number}")
        chests: dict[int, list] = {}
        for frame in np.unique(rows[:, Tactical.FRAME])[::25]:
            picture = reader.frames([int(frame)])[0]
            seen = (rows[:, Tactical.FRAME] == frame) & np.isfinite(rows[:, Tactical.BOX_X])
            for row in rows[seen]:
                x = (row[Tactical.BOX_X] + row[Tactical.BOX_WIDTH] / 2) / 3
                y = (row[Tactical.BOX_Y] + 0.3 * row[Tactical.BOX_HEIGHT]) / (1080 / 352)
                chest = picture[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].reshape(-1, 3)
                chests.setdefault(int(row[Tactical.PLAYER_ID]), []).extend(chest.tolist())
        colours.append({player: np.median(pixels, axis=0) for player, pixels in chests.items()})
    both = [player for player in colours[0] if player in colours[1] and player % 100 != 1]
    close = [np.abs(colours[0][player] - colours[1][player]).max() < 60 for player in both]
    assert len(both) > 8 and np.mean(close) > 0.7


def test_same_seed_same_rows_with_and_without_video(folder, tmp_path):
    season.write_season(tmp_path / "a", 1, minutes=0.5, seed=SEED, video=False, workers=1)
    season.write_season(tmp_path / "b", 1, minutes=0.5, seed=SEED + 1, video=False, workers=1)
    rows, again, other = (
        read_rows(out / tactical_path("train"), "game_1001_H2")
        for out in (folder, tmp_path / "a", tmp_path / "b")
    )
    assert rows.tobytes() == again.tobytes() != other.tobytes()
    assert not list((tmp_path / "a" / "videos").iterdir())
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        ".lock", "train_tactical_data.h5", "playbyplay_GT", "videos", "simulated.json",
    }  # fmt: skip


def test_halves_in_parallel_are_the_same(folder, tmp_path):
    season.write_season(tmp_path, 1, minutes=0.5, seed=SEED, video=False, workers=2)
    for name in ("game_1001_H1", "game_1001_H2"):
        rows = [read_rows(out / tactical_path("train"), name) for out in (folder, tmp_path)]
        assert rows[0].tobytes() == rows[1].tobytes()


def test_splits_share_no_match_and_the_challenge_hides_its_labels(tmp_path):
    halves = []
    for split in SPLITS:
        halves += season.write_season(
            tmp_path, 1, minutes=0.1, seed=SEED, split=split, video=False, workers=1
        )
    assert len({match_of(half) for half in halves}) == len(SPLITS)
    with h5py.File(tmp_path / tactical_path("challenge")) as file:
        assert {table.shape[1] for table in file.values()} == {len(Tactical) - 1}
    assert not (tmp_path / play_by_play_path("challenge")).exists()
    truth = read_ground_truth(tmp_path / season.HIDDEN_TRUTH)
    assert set(truth["half"].cat.categories) == set(halves[-2:])


@pytest.mark.parametrize("changed", [False, True])
def test_a_run_that_was_broken_off_goes_on_unless_the_simulator_is_another(
    tmp_path, monkeypatch, changed
):
    real, done = season.render, []

    def breaks(motion, *rest):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(motion.first_frame)
        return real(motion, *rest)

    monkeypatch.setattr(season, "render", breaks)
    with pytest.raises(KeyboardInterrupt):
        season.write_season(tmp_path, 1, minutes=0.2, seed=SEED, workers=1)
    assert not (tmp_path / tactical_path("train")).exists()
    assert not (tmp_path / video_path("game_1001")).exists()
    monkeypatch.setattr(season, "EDITION", season.EDITION + changed)
    monkeypatch.setattr(season, "render", lambda *args: done.append(args[0].first_frame) or real(*args))
    season.write_season(tmp_path, 1, minutes=0.2, seed=SEED, workers=1)
    assert len(done) - changed == len(set(done)) == 2  # each half was rendered once
    halves = open_halves(tmp_path, "train")
    assert probe(tmp_path / video_path("game_1001")).n_frames == halves["game_1001_H2"].end_frame


def test_a_season_that_grows_is_as_if_made_at_once(tmp_path):
    size = {"minutes": 0.1, "seed": SEED, "workers": 1}
    season.write_season(tmp_path / "grown", 1, **size)
    video = tmp_path / "grown" / video_path("game_1001")
    made = video.stat().st_mtime_ns
    halves = season.write_season(tmp_path / "grown", 2, **size, kept=1)
    assert season.write_season(tmp_path / "whole", 2, **size) == halves
    assert video.stat().st_mtime_ns == made
    grown, whole = (open_footage(tmp_path / name, "train") for name in ("grown", "whole"))
    assert list(grown) == list(whole) == halves
    for name, entry in grown.items():
        assert entry.video.read_bytes() == whole[name].video.read_bytes()
    files = [tmp_path / name / tactical_path("train") for name in ("grown", "whole")]
    for name in halves:
        rows, others = (read_rows(file, name) for file in files)
        assert rows.tobytes() == others.tobytes()
    assert read_provenance(files[0]) == read_provenance(files[1])


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (["--matches", "0"], "0 matches: not within 1..999"),
        (["--minutes", "0"], "0.0 minutes a match: not within 0..600"),
        (["--minutes", "0.005"], "a half of 4 frames is too short"),
        (["--split", "test"], "invalid choice: 'test'"),
        (["--workers", "-1"], "-1 workers"),
    ],
)
def test_bad_arguments_write_nothing(option, reason, tmp_path, capsys):
    assert main(["simulate", "--out", str(tmp_path / "out"), *option]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_data_that_are_there_are_not_overwritten(tmp_path, capsys):
    (tmp_path / "train_tactical_data.h5").write_bytes(b"real")
    assert main(["simulate", "--out", str(tmp_path), "--minutes", "0.1", "--no-video"]) == 2
    assert "train_tactical_data.h5: there already" in capsys.readouterr().err
    assert (tmp_path / "train_tactical_data.h5").read_bytes() == b"real"


def test_where_nothing_can_be_written(tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert main(["simulate", "--out", str(tmp_path / "out"), "--minutes", "0.1", "--no-video"]) == 2
    assert "out: cannot be made: File exists" in capsys.readouterr().err


def test_survey_measures_what_is_written(folder):
    events, halves = season.survey(1, minutes=0.5, seed=SEED, workers=1)
    pd.testing.assert_frame_equal(events, read_ground_truth(folder / play_by_play_path("train")))
    rows = read_rows(folder / tactical_path("train"), "game_1001_H1")
    has_box = np.isfinite(rows[:, Tactical.BOX_X]).reshape(-1, 22)
    live = has_box.any(axis=1)
    assert halves["players with a box"][0] == pytest.approx(has_box[live].sum(axis=1).mean())
    assert halves["rows with a box"][0] == pytest.approx(has_box.mean())


# Highlights ---------------------------------------------------------------------------------------


def test_highlights_are_the_seconds_around_rare_events(tmp_path):
    minutes = 8
    assert main(
        ["simulate", "--out", str(tmp_path), "--matches", "2", "--minutes", str(minutes), "--seed",
         str(SEED), "--highlights", "--workers", "1"]
    ) == 0  # fmt: skip
    halves = open_halves(tmp_path, "train")
    assert list(halves) == ["game_4001_H1", "game_4002_H1"]
    for name, half in halves.items():
        motion, shots = season.simulate_half(int(name[5:9]), 0, minutes, SEED)
        script = motion.script
        rare = script[~script["cls"].isin([Action.DRIVE, Action.PASS])]
        rare = rare[np.isfinite(shots.boxes[rare["figure"], rare["step"], 0])]
        assert len(rare) > 1
        shown = [t for t in range(len(motion.ball)) if (abs(rare["step"] - t) <= FPS).any()]
        assert half.n_frames == len(shown) and half.first_frame == motion.first_frame
        # What is shown is the match as it was played: cuts change no position and no velocity.
        assert probe(tmp_path / video_path(match_of(name))).n_frames == half.end_frame
        kept = script[script["step"].isin(shown)]
        events = events_of(half)
        assert [shown[frame - half.first_frame] for frame in events["frame"]] == kept["step"].tolist()
        for event, (_, was) in zip(events.itertuples(), kept.iterrows(), strict=True):
            assert (event.team, event.jersey, event.cls) == (was["team"], was["jersey"], was["cls"])
            slot = 13 * was["team"] + motion.role[was["figure"], was["step"]] - 1
            state = half.state[:, slot, event.frame - half.first_frame]
            if not event.box_visible:
                continue  # where nobody can see where he is
            np.testing.assert_allclose(
                state[:2] * PITCH, motion.xy[was["figure"], was["step"]], atol=0.06
            )
            np.testing.assert_allclose(
                state[2:4], motion.velocity[was["figure"], was["step"]], atol=0.01
            )


def test_a_half_without_highlights_is_refused(tmp_path, capsys):
    assert main(["simulate", "--out", str(tmp_path), "--matches", "1", "--minutes", "0.1",
                 "--highlights", "--workers", "1"]) == 2  # fmt: skip
    assert "no rare event to show" in capsys.readouterr().err
