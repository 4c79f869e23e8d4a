"""The data check: a sound season, and a copy of it damaged in one way at a time, reported exactly."""

import json
import os
import shutil

import h5py
import numpy as np
import pytest

from footpass.__main__ import main
from footpass.data.check import check
from footpass.data.halves import dense, events_of
from footpass.data.tactical import read_rows, write_tactical
from footpass.data.video import write_video
from footpass.events import concat, write_events
from footpass.files import DataError
from footpass.schema import MODEL_SIZE, Tactical

NAN = np.nan
FRAMES, PLAYERS = 40, 22
TACTICAL, EVENTS = "val_tactical_data.h5", "playbyplay_GT/playbyplay_val.json"
H1, H2 = "game_1_H1", "game_1_H2"


def half_rows(first):
    """22 players over 40 frames, row 22 t + p; odd players have a box, but nobody from frame 30 on.

    Events: a pass of player 1 (team 0, jersey 2) with a box at frame 5, a drive of player 12 (team 1,
    jersey 13) without one at frame 9, and a throw-in of player 2 (team 0, jersey 3) in the replay
    at frame 33. Each is counted from the half's first frame.
    """
    rows = np.full((FRAMES * PLAYERS, len(Tactical)), NAN, np.float32)
    player = np.tile(np.arange(PLAYERS), FRAMES)
    frame = np.repeat(np.arange(FRAMES), PLAYERS)
    rows[:, Tactical.FRAME] = first + frame
    rows[:, Tactical.TEAM] = player // 11
    rows[:, Tactical.ROLE] = player % 11 + 1
    rows[:, Tactical.JERSEY] = player + 1
    rows[:, Tactical.X : Tactical.VY + 1] = (0.5, 0.5, 0, 0)
    seen = (player % 2 == 1) & (frame < 30)
    rows[seen, Tactical.BOX_X : Tactical.LABEL] = (900, 500, 40, 90)
    rows[:, Tactical.LABEL] = 0
    for at, who, cls in ((5, 1, 2), (9, 12, 1), (33, 2, 4)):
        rows[PLAYERS * at + who, Tactical.LABEL] = cls
    return rows


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    (folder / "playbyplay_GT").mkdir()
    (folder / "videos").mkdir()
    rows = {H1: half_rows(0), H2: half_rows(45)}
    write_tactical(folder / TACTICAL, rows.items())
    events = concat(events_of(dense(half, name)) for name, half in rows.items())
    write_events(events, folder / EVENTS)
    write_tactical(folder / "challenge_tactical_data.h5", {"game_0_H1": half_rows(0)[:, :13]}.items())
    for match, count in (("game_0", 40), ("game_1", 90)):
        pictures = (np.full((*MODEL_SIZE, 3), number, np.uint8) for number in range(count))
        write_video(folder / "videos" / f"{match}.mp4", pictures)
    return folder


@pytest.fixture
def season(sound, tmp_path):
    """A copy of the sound season that may be damaged."""
    return shutil.copytree(sound, tmp_path / "season")


def change_rows(season, half, change, name=TACTICAL):
    """Write the tactical file again, one half of it changed."""
    with h5py.File(season / name) as file:
        rows = {key: file[key][:] for key in file}
    rows[half] = change(rows[half])
    write_tactical(season / name, rows.items())


def set_values(*changes):
    """A change of some values of rows: (row, column, value)."""

    def change(rows):
        for row, column, value in changes:
            rows[row, column] = value
        return rows

    return change


def change_events(season, change):
    content = json.loads((season / EVENTS).read_text())
    change(content)
    (season / EVENTS).write_text(json.dumps(content))


def found(season):
    return [(p.file, p.half, list(p.rows), p.reason) for p in check(season).problems]


def test_a_sound_season_is_fine(sound):
    result = check(sound)
    assert result.problems == () and result.fine
    assert {item.name: item.note for item in result.items if item.found} == {
        TACTICAL: "2 halves, 1,760 rows, real",
        EVENTS: "2 halves, 6 events",
        "videos of val": "1 of 1 matches",
        "challenge_tactical_data.h5": "1 half, 880 rows, real",
        "videos of challenge": "1 of 1 matches",
    }


def test_what_is_missing_is_named_with_its_source(sound):
    missing = {item.name: item.note for item in check(sound).items if not item.found}
    assert list(missing) == [
        "train_tactical_data.h5",
        "playbyplay_GT/playbyplay_train.json",
        "videos of train",
    ]
    assert "tactical_data_TRAIN.zip" in missing["train_tactical_data.h5"]
    assert "videos_352x640_TRAIN.zip" in missing["videos of train"]
    assert "clone of the public" in missing["playbyplay_GT/playbyplay_train.json"]


def test_data_in_the_folders_of_the_archives_is_fine(season):
    for old, new in (
        (TACTICAL, f"tactical_data_VAL/{TACTICAL}"),
        ("videos", "videos_352x640_VAL"),
        ("playbyplay_GT", "FOOTPASS/playbyplay_GT"),
    ):
        (season / new).parent.mkdir(exist_ok=True)
        (season / old).rename(season / new)
    result = check(season)
    assert result.fine
    assert f"tactical_data_VAL/{TACTICAL}" in [item.name for item in result.items]


def test_a_season_without_videos_is_fine(season):
    shutil.rmtree(season / "videos")
    assert check(season).fine


# --- rows


@pytest.mark.parametrize(
    ("changes", "rows", "reason"),
    [
        ([(7, Tactical.ROLE, 14)], [7], "role 14 is not a whole number of 1..13: left out"),
        (
            [(8, Tactical.ROLE, 0), (700, Tactical.ROLE, 21)],
            [8, 700],
            "role 0 is not a whole number of 1..13: left out",
        ),
        ([(7, Tactical.TEAM, 3)], [7], "team 3 is not a whole number of 0..1: left out"),
        (
            [(7, Tactical.FRAME, NAN)],
            [7],
            "frame nan is not a whole number of 0..16777215: left out",
        ),
        (
            [(7, Tactical.JERSEY, 7.5)],
            [7],
            "jersey 7.5 is not a whole number of -1..999: taken for unknown",
        ),
        (
            [(7, Tactical.LABEL, 9), (8, Tactical.LABEL, NAN)],
            [7, 8],
            "label 9 is not a whole number of 0..8: taken for no event",
        ),
        (
            [(6, Tactical.X, np.inf), (7, Tactical.Y, NAN)],
            [6, 7],
            "the position (inf, 0.5) is none: taken for unknown",
        ),
        ([(7, Tactical.VY, NAN)], [7], "the speed (0, nan) is none: estimated from positions"),
        (
            [(7, Tactical.X, 52.5)],
            [7],
            "the position (52.5, 0.5) is off the pitch, which is 0..1 both ways",
        ),
        (
            [(7, Tactical.BOX_WIDTH, 1e30)],
            [7],
            "the box (900, 500, 1e+30, 90) is larger than any picture: taken for no box",
        ),
        (
            [(7, Tactical.BOX_X, 1920)],
            [7],
            "the box (1920, 500, 40, 90) lies outside the 1920x1080 picture",
        ),
        (
            [(7, Tactical.BOX_Y, -90), (9, Tactical.BOX_X, -1000)],
            [7, 9],
            "the box (900, -90, 40, 90) lies outside the 1920x1080 picture",
        ),
        ([(7, Tactical.BOX_WIDTH, 0)], [7], "the box (900, 500, 0, 90) has no area"),
        (
            [(7, Tactical.BOX_X, -5), (7, Tactical.BOX_WIDTH, 0)],  # once, though outside as well
            [7],
            "the box (-5, 500, 0, 90) has no area",
        ),
        (
            [(7, Tactical.BOX_HEIGHT, NAN)],
            [7],
            "the box (900, 500, 40, nan) is not complete: taken for no box",
        ),
        (
            [(11, Tactical.TEAM, 0), (33, Tactical.TEAM, 0)],
            [11, 33],
            "another row is for team 0 role 1 at frame 45 too: put into a role that the team has free",
        ),
    ],
)
def test_wrong_rows_are_reported(season, changes, rows, reason):
    change_rows(season, H2, set_values(*changes))
    assert found(season) == [(TACTICAL, H2, rows, reason)]


def test_of_rows_that_are_all_wrong_the_first_are_listed_and_all_counted(season):
    def change(rows):
        later = rows.copy()
        later[:, Tactical.FRAME] += FRAMES
        rows = np.concatenate([rows, later])
        rows[:, Tactical.VX] = NAN
        return rows

    change_rows(season, H2, change)
    (problem,) = [p for p in check(season).problems if "speed" in p.reason]
    assert problem.rows == tuple(range(1000)) and problem.count == 2 * FRAMES * PLAYERS


def test_boxes_across_the_border_are_no_problem(season):
    change_rows(season, H2, set_values((7, Tactical.BOX_X, -39), (9, Tactical.BOX_Y, 1079)))
    assert check(season).fine


def test_a_half_without_any_usable_row(season):
    change_rows(season, H1, lambda rows: np.full_like(rows, NAN))
    problems = found(season)
    assert [reason.split()[0] for file, _, _, reason in problems if file == TACTICAL] == [
        "frame",
        "team",
        "role",
    ]
    assert [rows for file, _, rows, _ in problems if file == EVENTS] == [[0], [1], [2]]


def test_one_half_can_have_several_problems(season):
    change_rows(season, H1, set_values((3, Tactical.ROLE, 99), (5, Tactical.BOX_X, 5000)))
    assert [(rows, reason[:10]) for _, _, rows, reason in found(season)] == [
        ([3], "role 99 is"),
        ([5], "the box (5"),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (half_rows(45)[:, :12], "shape (880, 12) instead of (rows, 14), or 13 for challenge"),
        (half_rows(45).astype(np.float64), "type float64 instead of float32"),
        (np.zeros((5, 14), np.int32), "type int32 instead of float32"),
        (np.zeros((0, 14), np.float32), "has no rows"),
        (half_rows(45)[:, :13], "13 columns instead of 14: no labels"),
    ],
)
def test_another_shape_or_type_is_reported(season, content, reason):
    with h5py.File(season / TACTICAL, "r+") as file:
        del file[H2]
        file[H2] = content
    assert found(season) == [(TACTICAL, H2, [], reason)]


# --- rows and events


def test_an_event_whose_actor_has_no_row(season):
    change_events(season, lambda content: content["events"][H2][1].__setitem__(2, 77))
    assert found(season) == [
        (EVENTS, H2, [1], f"team 1 jersey 77 at frame 54 has no row in {TACTICAL}"),
        (TACTICAL, H2, [210], "class 1 for team 1 jersey 13 at frame 54 is not in playbyplay_val.json"),
    ]


def test_an_event_at_a_frame_without_rows(season):
    row = PLAYERS * 5 + 1
    change_rows(season, H1, lambda rows: np.delete(rows, row, axis=0))
    assert found(season) == [(EVENTS, H1, [0], f"team 0 jersey 2 at frame 5 has no row in {TACTICAL}")]


def test_an_event_of_another_class(season):
    change_events(season, lambda content: content["events"][H1][0].__setitem__(3, 3))
    reason = "class 2 for team 0 jersey 2 at frame 5, but 3 in playbyplay_val.json"
    assert found(season) == [(TACTICAL, H1, [111], reason)]


def test_rows_are_numbered_as_in_the_file_when_others_are_wrong(season):
    """Row 3 is left out of what is compared; the numbers after it must not move."""
    change_rows(season, H1, set_values((3, Tactical.ROLE, 99), (111, Tactical.LABEL, 8)))
    assert [(rows, reason[:16]) for _, _, rows, reason in found(season)] == [
        ([3], "role 99 is not a"),
        ([111], "class 8 for team"),
    ]


def test_a_label_without_event(season):
    change_rows(season, H1, set_values((500, Tactical.LABEL, 6)))
    reason = "class 6 for team 1 jersey 17 at frame 22 is not in playbyplay_val.json"
    assert found(season) == [(TACTICAL, H1, [500], reason)]


def test_flags_that_do_not_agree_with_the_boxes(season):
    def flip(content):
        content["events"][H1][0][4] = 0
        content["events"][H2][2][5] = 0

    change_events(season, flip)
    assert found(season) == [
        (
            EVENTS,
            H1,
            [0],
            f"box_visible 0 for team 0 jersey 2 at frame 5 does not agree with {TACTICAL}",
        ),
        (EVENTS, H2, [2], f"replay 0 at frame 78 does not agree with {TACTICAL}"),
    ]


def test_an_actor_without_known_jersey_is_the_one_written_as_minus_one(season):
    change_rows(season, H1, set_values((111, Tactical.JERSEY, NAN)))
    change_events(season, lambda content: content["events"][H1][0].__setitem__(2, -1))
    assert check(season).fine


def test_a_play_by_play_file_that_is_wrong(season):
    change_events(season, lambda content: content["events"][H2][1].__setitem__(3, 9))
    assert found(season) == [(EVENTS, H2, [1], "cls 9 is outside 1..8")]
    (season / EVENTS).write_text("{")
    ((file, half, rows, reason),) = found(season)
    assert (file, half, rows) == (EVENTS, None, []) and reason.startswith("not JSON")


def test_of_players_without_a_number_the_labelled_one_has_the_event(season):
    """The last of them, who does nothing, was told to have another class than the event."""
    rows = [(PLAYERS * 5 + player, Tactical.JERSEY, NAN) for player in (1, 2)]
    change_rows(season, H1, set_values(*rows))
    change_events(season, lambda content: content["events"][H1][0].__setitem__(2, -1))
    assert check(season).fine


# --- files


def test_halves_in_one_file_and_not_in_another(season):
    rows = {name: read_rows(season / TACTICAL, name) for name in (H1, H2)}
    write_tactical(season / TACTICAL, {H1: rows[H1], "game_1_H3": half_rows(0)}.items())
    assert found(season) == [
        (TACTICAL, H2, [], "missing, but in playbyplay_val.json"),
        (EVENTS, "game_1_H3", [], f"missing, but in {TACTICAL}"),
    ]


def test_a_match_without_video_where_others_have_one(season):
    rows = {name: read_rows(season / TACTICAL, name) for name in (H1, H2)}
    write_tactical(season / TACTICAL, {**rows, "game_2_H1": half_rows(0)}.items())
    change_events(
        season,
        lambda content: (
            content["keys"].append("game_2_H1"),
            content["events"].update({"game_2_H1": content["events"][H1]}),
        ),
    )
    reason = "missing, while other matches have theirs"
    assert found(season) == [("videos/game_2.mp4", None, [], reason)]


def test_frames_beyond_the_end_of_the_video(season):
    write_video(season / "videos" / "game_1.mp4", [np.zeros((*MODEL_SIZE, 3), np.uint8)] * 83)
    rows = list(range(PLAYERS * (83 - 45), PLAYERS * FRAMES))
    reason = "frame 83 is beyond the end of game_1.mp4, which has 83 frames"
    assert found(season) == [(TACTICAL, H2, rows, reason)]


def test_a_video_of_another_rate_or_size(season):
    pictures = [np.zeros((180, 320, 3), np.uint8)] * 180
    write_video(season / "videos" / "game_1.mp4", pictures, fps=50)
    video = "videos/game_1.mp4"
    assert found(season) == [
        (
            video,
            None,
            [],
            "50 frames a second instead of 25: ffmpeg -i OLD.mp4 -vf fps=25 NEW.mp4 mends it",
        ),
        (video, None, [], "320x180 instead of 640x352 or 1920x1080: it is resized at every reading"),
    ]


def test_a_full_hd_video_is_fine(season):
    pictures = [np.zeros((1080, 1920, 3), np.uint8)] * 85
    write_video(season / "videos" / "game_1.mp4", pictures)
    assert check(season).fine


@pytest.mark.parametrize("name", [TACTICAL, "videos/game_1.mp4"])
def test_a_file_that_is_cut_off(season, name):
    os.truncate(season / name, os.path.getsize(season / name) // 2)
    ((file, half, rows, reason),) = found(season)
    assert (file, half, rows) == (name, None, []) and "cut off" in reason
    assert {item.name for item in check(season).items if item.found} >= {TACTICAL, "videos of val"}


def test_a_half_whose_rows_are_damaged(season):
    """The file opens; a block of compressed rows inside it is overwritten."""
    with h5py.File(season / TACTICAL) as file:
        chunk = file[H2].id.get_chunk_info(0)
    with open(season / TACTICAL, "r+b") as stream:
        stream.seek(chunk.byte_offset)
        stream.write(b"\0" * chunk.size)
    ((file, half, rows, reason),) = found(season)
    assert (file, half, rows) == (TACTICAL, H2, []) and reason.startswith("is damaged")


def test_a_link_to_a_video_that_is_gone_is_named(season, capsys):
    """It was no file of the data folder that any command could protect: all ended there."""
    video = season / "videos" / "game_1.mp4"
    video.unlink()
    video.symlink_to("gone.mp4")
    assert main(["check", str(season)]) == 1
    assert "WRONG videos/game_1.mp4: not a readable video" in capsys.readouterr().out


# --- the command


def test_the_command_says_0_for_fine_1_for_wrong_2_for_cannot(season, tmp_path, capsys):
    out = tmp_path / "check.json"
    assert main(["check", str(season), "--json", str(out)]) == 0
    assert json.loads(out.read_text())["fine"] is True
    assert capsys.readouterr().out.splitlines()[-1] == "what is there is fine; not there: 3 of the above"

    change_rows(season, H2, set_values((8, Tactical.ROLE, 0), (700, Tactical.ROLE, 21)))
    assert main(["check", str(season), "--json", str(out)]) == 1
    content = json.loads(out.read_text())
    assert content["fine"] is False
    reason = "role 0 is not a whole number of 1..13: left out"
    assert content["problems"] == [
        {"file": TACTICAL, "half": H2, "rows": [8, 700], "count": 2, "reason": reason}
    ]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        f"WRONG {TACTICAL}, half {H2}, row 8: {reason} (and 1 more row)",
        "1 wrong",
    ]

    assert main(["check", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err


def test_an_empty_folder_lists_all_that_is_missing_and_is_not_fine(tmp_path, capsys):
    assert main(["check", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "not there: " in line]) == 8
    assert (
        lines[-1] == f"nothing there; to make a season up: python -m footpass simulate --out {tmp_path}"
    )


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        check(tmp_path / "nowhere")
