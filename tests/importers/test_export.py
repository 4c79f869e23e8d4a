"""Events for other tools, read back by the library that owns each format where there is one."""

import json
from datetime import UTC, datetime
from pathlib import Path

import h5py
import jsonschema
import numpy as np
import pandas as pd
import pytest

from footpass.__main__ import main
from footpass.data.cache import load_half
from footpass.data.paths import play_by_play_path, tactical_path
from footpass.events import concat, read_ground_truth, select_halves, write_events
from footpass.files import DataError
from footpass.importers import export
from footpass.importers.actions import actions, placed
from footpass.schema import Action, Tactical
from footpass.simulate.season import write_season
from tests.tables import predictions, truth

HALVES = ("game_2001_H1", "game_2001_H2")


@pytest.fixture(scope="module")
def season(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("season")
    write_season(folder, 1, 6.0, 0, "val", video=False, workers=1)
    return folder


@pytest.fixture(scope="module")
def halves(season):
    return {name: load_half(season / tactical_path("val"), name, season / "cache") for name in HALVES}


@pytest.fixture(scope="module")
def events(season):
    return read_ground_truth(season / play_by_play_path("val"))


@pytest.fixture(scope="module")
def table(events, halves):
    return placed(actions(events, halves))


def test_actions_are_where_the_official_rows_have_their_players(season, events, halves):
    table = actions(events, halves)
    assert len(table) == len(events)
    with h5py.File(season / tactical_path("val")) as file:
        for period, half in enumerate(HALVES, 1):
            rows = file[half][:]
            rows = rows[rows[:, Tactical.LABEL] > 0]  # an event's row is its player's
            mine = table[table["half"] == half].reset_index(drop=True)
            order = np.argsort(rows[:, Tactical.FRAME], kind="stable")
            rows = rows[order]
            assert (mine["frame"] == rows[:, Tactical.FRAME]).all()
            x, y = 105 * rows[:, Tactical.X], 68 - 68 * rows[:, Tactical.Y]
            if period == 2:  # home attacks to the right in both
                x, y = 105 - x, 68 - y
            np.testing.assert_allclose(mine[["x", "y"]], np.column_stack([x, y]), atol=1e-3)
            first_squad = rows[:, Tactical.PLAYER_ID] // 100 == 1
            assert ((mine["side"] == "home") == first_squad).all()
            np.testing.assert_allclose(
                mine["seconds"], (mine["frame"] - halves[half].first_frame) / 25, atol=1e-9
            )


def test_an_action_ends_where_the_next_begins():
    rows = [(10, 0, 7, 2), (30, 0, 8, 5), (40, 1, 4, 8), (60, 1, 9, 5), (90, 0, 7, 4)]
    table = actions(truth(*rows))
    table[["x", "y"]] = [[10.0, 20], [90, 30], [100, 31], [5, 40], [50, 0]]
    table = placed(table)
    ends = [[90, 30], [100, 31], [100, 31], [0, 34], [50, 0]]  # shots: at the block, else at the goal
    assert table[["end_x", "end_y"]].to_numpy().tolist() == ends
    assert table["kept"].tolist() == [True, False, True, False, False]
    assert table["next"].tolist() == [1, 2, 3, 4, -1]


def test_sides_follow_the_teams_and_not_the_halves():
    rows = [("a_H1", 1, 0, 7, 2), ("a_H2", 100, 0, 7, 2), ("a_H2", 101, 1, -1, 2)]
    flags = [(*row, True, False) for row in rows]
    table = actions(truth(*flags, halves=("a_H1", "a_H2")))
    assert table["player"].tolist() == ["home_7", "away_7", "home_unknown"]
    assert table["kept"].tolist() == [False, False, False]  # not over half-time


def test_predictions_of_a_low_score_are_left_out():
    rows = predictions((10, 0, 7, 2, 0.14), (20, 0, 7, 2, 0.15), (30, 0, 7, 2, 0.9))
    assert actions(rows)["frame"].tolist() == [20, 30]
    assert actions(rows, threshold=0.5)["frame"].tolist() == [30]


def test_a_player_who_is_not_on_the_pitch_has_no_place(events, halves):
    strangers = events.assign(jersey=np.where(events.index < 3, 777, events["jersey"]))
    table = actions(strangers, halves)
    assert table["x"].isna().sum() == 3
    left = placed(table)
    assert len(left) == len(events) - 3 and left["x"].notna().all()
    assert left["next"].iloc[0] == 1


def test_the_clock_does_not_run_before_the_kick_off(halves):
    first = halves[HALVES[1]].first_frame
    rows = [(HALVES[1], frame, 0, 7, 2) for frame in (first - 30, first, first + 1525)]
    table = actions(truth(*((*row, True, False) for row in rows), halves=HALVES), halves)
    clocks = [export.clock(row) for row in table.itertuples()]
    assert clocks == ["45:00.00", "45:00.00", "46:01.00"]


def test_a_match_has_five_periods_at_most():
    with pytest.raises(DataError, match="half a_H6: a match has at most 5 periods"):
        actions(truth((1, 0, 7, 2), halves=("a_H6",)))


def test_the_table_reads_back_as_it_was(table, tmp_path):
    export.write_csv(table, tmp_path / "events.csv")
    found = pd.read_csv(tmp_path / "events.csv")
    assert (found["frame"] == table["frame"]).all() and (found["jersey"] == table["jersey"]).all()
    assert (found["event"] == [Action(cls).label for cls in table["cls"]]).all()
    np.testing.assert_allclose(found[["x", "y"]], table[["x", "y"]], atol=0.005)
    minutes, seconds = found["clock"].str.split(":", expand=True).astype(float).to_numpy().T
    clock = 60 * minutes + seconds - 45 * 60 * (found["period"] - 1)
    np.testing.assert_allclose(clock, table["seconds"], atol=0.0051)


def test_spadl_has_the_published_columns_and_ranges(table, tmp_path):
    """tests/importers/socceraction_check.sh asks socceraction itself."""
    export.write_spadl(table, tmp_path / "spadl.csv")
    found = pd.read_csv(tmp_path / "spadl.csv")
    columns = "game_id original_event_id action_id period_id time_seconds team_id player_id start_x"
    columns += " start_y end_x end_y bodypart_id type_id result_id"
    assert list(found) == columns.split()
    assert found["time_seconds"].ge(0).all() and found["period_id"].isin([1, 2]).all()
    for axis, most in (("x", 105), ("y", 68)):
        assert found[[f"start_{axis}", f"end_{axis}"]].stack().between(0, most).all()
    np.testing.assert_allclose(found["time_seconds"], table["seconds"], atol=1e-9)
    inside = table["x"].between(0, 105) & table["y"].between(0, 68)
    np.testing.assert_allclose(found.loc[inside, ["start_x", "start_y"]], table.loc[inside, ["x", "y"]])
    throws = found[found["type_id"] == 2]
    assert len(throws) and throws["start_y"].sub(34).abs().gt(31).all()  # from the touchlines
    shots = found[found["type_id"] == 11]
    assert (shots["result_id"] == 0).all()


OSL = {  # what OpenSportsLib 0.3 reads of a spotting file
    "type": "object",
    "required": ["version", "date", "dataset_name", "labels", "data"],
    "properties": {
        "version": {"const": "2.0"},
        "date": {"pattern": r"^\d{4}-\d{2}-\d{2}$"},
        "labels": {
            "required": ["action"],
            "additionalProperties": {
                "required": ["type", "labels"],
                "properties": {
                    "type": {"enum": ["single_label", "multi_label"]},
                    "labels": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
                },
            },
        },
        "data": {
            "type": "array",
            "items": {
                "required": ["id", "inputs", "events"],
                "properties": {
                    "inputs": {
                        "minItems": 1,
                        "items": {
                            "required": ["type", "path", "fps"],
                            "properties": {"type": {"const": "video"}, "fps": {"type": "number"}},
                        },
                    },
                    "events": {
                        "items": {
                            "required": ["head", "label", "position_ms"],
                            "properties": {
                                "head": {"const": "action"},
                                "label": {"type": "string"},
                                "position_ms": {"type": "integer", "minimum": 0},
                                "confidence": {"type": "number", "minimum": 0, "maximum": 1},
                                "gameTime": {"pattern": r"^[1-5] - \d{2,3}:\d{2}$"},
                            },
                        }
                    },
                },
            },
        },
    },
}


def test_osl_follows_its_schema_and_is_right_to_the_frame(table, tmp_path):
    export.write_osl(table.assign(score=0.25), tmp_path / "osl.json")
    content = json.loads((tmp_path / "osl.json").read_text())
    jsonschema.validate(content, OSL)
    (match,) = content["data"]
    assert match["id"] == "game_2001" and match["inputs"][0]["path"] == "videos/game_2001.mp4"
    read = [
        int(float(one["position_ms"]) / 1000 * 25.0) for one in match["events"]
    ]  # as its loader does
    assert read == table["frame"].tolist() == [one["frame"] for one in match["events"]]
    names = content["labels"]["action"]["labels"]
    assert [names.index(one["label"]) + 1 for one in match["events"]] == table["cls"].tolist()
    assert match["events"][0]["confidence"] == 0.25


def test_osl_frame_29_is_not_read_as_28(tmp_path):
    rows = truth(*((frame, 0, 7, 2) for frame in range(2000)))
    export.write_osl(actions(rows), tmp_path / "osl.json")
    (match,) = json.loads((tmp_path / "osl.json").read_text())["data"]
    times = [one["position_ms"] for one in match["events"]]
    assert [int(float(time) / 1000 * 25.0) for time in times] == list(range(2000))
    assert [round(time / 40) for time in times] == list(range(2000))


def test_osl_counts_each_half_s_minutes_anew_as_soccernet_does(tmp_path):
    halves = ("a_H2", "a_H4")  # a second half, and one of extra time
    rows = [(half, frame, 0, 7, 2, True, False) for half in halves for frame in (0, 25 * 185 + 24)]
    export.write_osl(actions(truth(*rows, halves=halves)), tmp_path / "osl.json")
    (match,) = json.loads((tmp_path / "osl.json").read_text())["data"]
    times = [one["gameTime"] for one in match["events"]]
    assert times == ["2 - 00:00", "2 - 03:05", "4 - 00:00", "4 - 03:05"]


def test_the_common_data_format_s_validator_accepts_event_and_match(table, halves, tmp_path):
    cdf = pytest.importorskip("cdf")
    start = datetime(2026, 5, 1, 18, 0, tzinfo=UTC)
    files = export.write_cdf(table, tmp_path / "cdf", halves, start, [(1, 0), (1, 2)])
    assert [file.name for file in files] == ["event.jsonl", "match.json"]
    cdf.EventSchemaValidator().validate_schema(sample=str(files[0]), mode="extreme", limit=None)
    cdf.MatchSchemaValidator().validate_schema(sample=str(files[1]), mode="extreme")
    lines = [json.loads(line) for line in files[0].read_text().splitlines()]
    for line, row in zip(lines, table.itertuples(), strict=True):
        event = line["event"]
        seconds = (datetime.fromisoformat(event["time"]) - start).total_seconds()
        assert round(25 * seconds) == line["tracking"]["frame_id"] == row.frame
        assert (event["x"] + 52.5, event["y"] + 34) == pytest.approx((row.x, row.y), abs=0.006)
        minutes, rest = event["match_clock"].split(":")
        at = 60 * int(minutes) + float(rest) - (row.period - 1) * 45 * 60
        assert at == pytest.approx(row.seconds, abs=0.0051)
    match = json.loads(files[1].read_text())
    on = halves["game_2001_H1"].jersey[:13, 0]
    starters = {one["jersey_number"] for one in match["teams"]["home"]["players"] if one["is_starter"]}
    assert starters == set(on[on >= 0].tolist())
    played = {one["id"] for side in match["teams"].values() for one in side["players"]}
    assert {line["event"]["player_id"] for line in lines} <= played


def test_without_a_score_there_is_no_match_file(table, halves, tmp_path):
    (file,) = export.write_cdf(table, tmp_path, halves)
    assert file.name == "event.jsonl"


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        ([(1, 0)], "1 score, and half 2 is played; one after each half: 2, with extra time 4"),
        ([(1, 0)] * 3, "3 scores, and half 2"),
        ([(1, 0), (0, 1)], "0-1 after 1-0: goals after each half are all goals until then"),
    ],
)
def test_scores_that_are_of_no_match_are_refused(table, halves, tmp_path, score, reason):
    with pytest.raises(DataError, match=reason):
        export.write_cdf(table, tmp_path / "out", halves, score=score)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("score", "final"),
    [
        ([(1, 0), (1, 2)], (1, 2, "away")),
        ([(0, 0), (1, 1), (1, 1), (1, 1), (5, 4)], (1, 1, "home")),  # goals of a shoot-out do not count
    ],
)
def test_a_clip_of_one_half_gets_the_result_of_its_match(table, halves, tmp_path, score, final):
    cdf = pytest.importorskip("cdf")
    first = table[table["half"] == HALVES[0]].assign(
        half=lambda one: one["half"].cat.set_categories(HALVES[:1])
    )
    _, file = export.write_cdf(first, tmp_path, {HALVES[0]: halves[HALVES[0]]}, score=score)
    cdf.MatchSchemaValidator().validate_schema(sample=str(file), mode="extreme")
    result = json.loads(file.read_text())["match"]["result"]
    assert tuple(result["final"].values()) == final


def test_kloppy_reads_the_sportscode_timeline(table, tmp_path):
    sportscode = pytest.importorskip("kloppy.sportscode")
    export.write_sportscode(table.assign(score=0.5), tmp_path / "match.xml")
    codes = sportscode.load(str(tmp_path / "match.xml")).codes
    assert [code.code for code in codes] == [Action(cls).label.upper() for cls in table["cls"]]
    for code, row in zip(codes, table.itertuples(), strict=True):
        assert code.labels["Frame"] == row.frame
        assert round(25 * code.labels["Seconds"]) == row.frame
        assert round(25 * (code.end_timestamp.total_seconds() - 3)) == row.frame
        assert code.labels["Player"] == row.player
        assert (code.labels["X"], code.labels["Y"]) == pytest.approx((row.x, row.y), abs=0.0051)


def test_subtitles_follow_each_other_and_start_on_their_frame(tmp_path):
    rows = truth((10, 0, 7, 2), (20, 1, 4, 3), (20, 0, 9, 7), (21, 0, 9, 1), (100_000, 1, -1, 4))
    export.write_srt(actions(rows), tmp_path / "match.srt")
    cues = (tmp_path / "match.srt").read_text().strip().split("\n\n")
    assert [cue.split("\n") for cue in cues] == [
        ["1", "00:00:00,400 --> 00:00:00,800", "pass, 7 (home)"],
        ["2", "00:00:00,800 --> 00:00:00,840", "cross, 4 (away)", "tackle, 9 (home)"],
        ["3", "00:00:00,840 --> 00:00:02,340", "drive, 9 (home)"],
        ["4", "01:06:40,000 --> 01:06:41,500", "throw-in, unknown (away)"],
    ]


@pytest.mark.parametrize("write", [export.write_srt, export.write_sportscode])
def test_a_file_for_one_match_refuses_two(write, tmp_path):
    both = concat([truth((1, 0, 7, 2), halves=("a_H1",)), truth((1, 0, 7, 2), halves=("b_H1",))])
    with pytest.raises(DataError, match="there are a, b: choose one"):
        write(actions(both), tmp_path / "out")
    assert not list(tmp_path.iterdir())
    write(actions(select_halves(both, ["a_H1"])), tmp_path / "out")


def test_a_match_without_events_gives_files_without_any(halves, tmp_path):
    none = actions(truth(halves=HALVES), halves)
    for name in ("csv", "spadl", "osl", "sportscode", "srt"):
        getattr(export, f"write_{name}")(none, tmp_path / name)
    assert pd.read_csv(tmp_path / "csv").empty and pd.read_csv(tmp_path / "spadl").empty
    assert (tmp_path / "srt").read_text() == ""


def command(season, name, out, *more, file=None):
    file = file or season / play_by_play_path("val")
    return ["export", name, "--predictions", str(file), "--out", str(out), *map(str, more)]


@pytest.mark.parametrize("name", ["spadl", "osl", "cdf", "sportscode", "srt", "csv"])
def test_the_command_writes_every_format(season, events, tmp_path, capsys, name):
    assert main(command(season, name, tmp_path / "out", "--data", season)) == 0
    assert f"{len(events)} events" in capsys.readouterr().out
    assert (tmp_path / "out").exists()


def test_the_command_says_what_it_left_out(season, events, tmp_path, capsys):
    write_events(events.assign(jersey=np.where(events.index < 2, 777, events["jersey"])), tmp_path / "p")
    options = ["--data", season, "--score", "0-0", "1-0", "--start", "2026-05-01T20:00:00+02:00"]
    assert main(command(season, "cdf", tmp_path / "out", *options, file=tmp_path / "p")) == 0
    told = capsys.readouterr().out
    assert "left out: 2 events whose player is not in the data at that frame" in told
    first = json.loads((tmp_path / "out" / "event.jsonl").open().readline())
    assert first["event"]["time"].startswith("2026-05-01T18:00:")
    result = json.loads((tmp_path / "out" / "match.json").read_text())["match"]["result"]
    assert result["final"] == {"home": 1, "away": 0, "winning_team_id": "home"}


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("spadl", (), "spadl needs to know where everybody was: --data DATA_DIR"),
        ("csv", ("--match", "game_9"), "no match game_9; it has game_2001"),
        ("csv", ("--data", "tests"), "tests: no train_tactical_data.h5 or"),
        ("cdf", ("--score", "2:1"), "'2:1' is not a score such as 2-1"),
        ("cdf", ("--start", "yesterday"), "'yesterday' is not a time such as"),
        ("cdf", ("--start", "2026-05-01T18:00"), "'2026-05-01T18:00' has no zone"),
        ("cdf", ("--start", "9999-12-31T23:59Z"), "no sensible year"),
        ("csv", ("--threshold", "nan"), "threshold nan is outside 0..1"),
        ("csv", ("--predictions", "nowhere.json"), "nowhere.json: cannot be read"),
        ("csv", ("--out", "no/such/folder/x.csv"), "no/such/folder/x.csv: cannot be written"),
    ],
)
def test_bad_requests_are_one_clear_line(season, tmp_path, capsys, name, options, reason):
    assert main(command(season, name, tmp_path / "out", *options)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and reason in line
    assert not (tmp_path / "out").exists()
