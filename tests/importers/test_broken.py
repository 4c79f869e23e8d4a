"""Twenty broken inputs: one clear line each, and nothing is written."""

import json
from pathlib import Path

import numpy as np
import pytest

from footpass.__main__ import main
from footpass.data.video import write_video
from tests.importers.rows import annotation, game_state


def text(name: str, content: str):
    """A way to make a file of this content in a folder; returns its path."""

    def make(folder: Path) -> list[str]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
        return [str(folder / name)]

    return make


def gsr(*entries: dict, **top):
    return lambda folder: [str(game_state(folder / "labels.json", list(entries), **top))]


def mot(**files: str):
    def make(folder: Path) -> list[str]:
        for name, content in {"gt_txt": "1,1,1,1,9,9,1,-1,-1,-1\n", **files}.items():
            (folder / name.replace("_", ".")).write_text(content)
        return [str(folder)]

    return make


def cut_off(folder: Path) -> list[str]:
    path = game_state(folder / "labels.json", [annotation(n) for n in range(50)])
    path.write_text(path.read_text()[:5000])
    return [str(path)]


def with_video(folder: Path) -> list[str]:
    path = game_state(folder / "labels.json", [annotation(n) for n in range(5)])
    video = folder / "v.mp4"
    write_video(video, [np.zeros((64, 64, 3), np.uint8)] * 30)
    video.write_bytes(video.read_bytes()[:300])
    return [str(path), "--video", str(video)]


def twice(*options: str):
    """The same clip of one player twice."""
    return lambda folder: [*gsr(annotation(0), annotation(1))(folder) * 2, *options]


def footovision(*players: dict, events: tuple = ()):
    def make(folder: Path) -> list[str]:
        one = {"playerId": {"footovision": 5}, "shirtNumber": 9}
        match = {f"{side}TeamLineups": [one] for side in ("home", "away")}
        match |= {"homeTeamId": {"footovision": 1}, "awayTeamId": {"footovision": 2}}
        game = text("g.json", json.dumps({**match, "isAttackingLeftToRightTeamId": 1}))(folder)
        tracking = text("t.json", json.dumps({"players": players}))(folder)
        given = ["--game", *game, "--tracking", *tracking]
        return [*given, "--events", *text("e.json", json.dumps(events))(folder)] if events else given

    return make


SEEN = {"playerId": 5, "teamId": 1, "halftime": 1, "time": 0, "x": 0.5, "y": 0.5}
PASS = {"eventTypeIds": [11], "playerId": 5, "teamId": 1, "halftime": 1, "startTime": 0}
PASS |= {"startX": 0.5, "startY": 0.5}
ENDLESS = float("inf")
MATCH = {"homeTeamLineups": [], "awayTeamLineups": [], "isAttackingLeftToRightTeamId": 1}
TABLE = "frame,track,x,y,w,h\n"

BROKEN = {
    "a file that is not there": ("gsr", lambda folder: [str(folder / "none.json")], "cannot be read"),
    "a pickled state": ("gsr", text("s.pklz", "x"), "would run code"),
    "not JSON": ("gsr", text("a.json", "frame,id\n1,2\n"), "not JSON"),
    "JSON cut off": ("gsr", cut_off, "cut off, after"),
    "no annotations": ("gsr", text("a.json", '{"info": {}, "images": []}'), "no annotations"),
    "only referees": (
        "gsr",
        gsr(annotation(0, role="referee")),
        "no annotations or predictions of players",
    ),
    "no tracks": ("gsr", gsr({**annotation(0), "track_id": None}), "track_id: run a tracker first"),
    "an image without a number": ("gsr", gsr(annotation("first")), "annotations 0: "),
    "no image id": ("gsr", gsr({**annotation(0), "image_id": None}), "annotations 0: "),
    "a frame rate in words": (
        "gsr",
        gsr(annotation(0), info={"frame_rate": "fast"}),
        "frame_rate 'fast'",
    ),
    "no frames a second": ("gsr", gsr(annotation(0), info={"frame_rate": "0"}), "0 is not a number of"),
    "an endless rate": ("gsr", gsr(annotation(0), info={"frame_rate": "inf"}), "inf is not a number of"),
    "three clubs": (
        "gsr",
        gsr(*(annotation(0, n, team=team) for n, team in enumerate(("A", "B", "left")))),
        "3 teams instead of two: A, B, left",
    ),
    "frames of eleven hours": ("gsr", gsr(annotation(0), annotation(999_999)), "are 11.1 hours"),
    "a ninth half": ("gsr", twice("--half", "H9"), "half 9 is not within 1..5"),
    "a half in odd digits": ("gsr", twice("--half", "\u00b2"), "not H1, H2"),
    "a picture in odd digits": ("gsr", twice("--picture", "\u00b2x\u00b2"), "not a size"),
    "a start before the video": ("gsr", twice("--start", "0", "-5"), "start -5 is negative"),
    "a start past what can be counted": (
        "gsr",
        twice("--start", "0", "16777216"),
        "not within 0..16777215",
    ),
    "the same frames twice": (
        "gsr",
        twice("--start", "0", "0"),
        "all its frames are in",
    ),
    "no such team": ("gsr", twice("--left", "Ajax"), "the teams are left and right"),
    "a video that is cut off": ("gsr", with_video, "cut off"),
    "an empty folder": ("mot", lambda folder: [str(folder)], "no gt/gt.txt"),
    "detections, not tracks": ("mot", mot(gt_txt="1,-1,1,1,9,9,1,-1,-1,-1\n"), "run a tracker first"),
    "MOT from frame 0": ("mot", mot(gt_txt="0,1,1,1,9,9,1,-1,-1,-1\n"), "counts frames from 1"),
    "MOT in words": ("mot", mot(gt_txt="frame,id,x,y,w,h\n1,1,1,1,1,1\n"), "not rows of frame,id"),
    "MOT frames that are none": (
        "mot",
        mot(gt_txt="inf,1,1,1,9,9,1\n"),
        "row 1: frame or id",
    ),
    "no MOT frames a second": (
        "mot",
        mot(seqinfo_ini="[Sequence]\nframeRate=0\n"),
        "0 is not a number of",
    ),
    "a huge MOT jersey": (
        "mot",
        mot(gameinfo_ini="trackletID_1= player team left;99999\n"),
        "jersey 99999 is not within",
    ),
    "a homography in words": (
        "mot",
        lambda folder: [
            *mot()(folder),
            "--homography",
            *text("h.csv", "frame,h11,h12,h13,h21,h22,h23,h31,h32,h33\n1,a,0,0,0,1,0,0,0,1\n")(folder),
        ],
        "could not convert string to float: 'a'",
    ),
    "teams that are no sides": (
        "mot",
        mot(gameinfo_ini="trackletID_1= player team home;10\n"),
        "the first is 'player team home;10'",
    ),
    "a gameinfo without players": ("mot", mot(gameinfo_ini="[Sequence]\nname=x\n"), "trackletID_1="),
    "a table without tracks": (
        "table",
        text("t.csv", "frame,x,y,w,h\n1,1,1,1,1\n"),
        "say which is which",
    ),
    "a word where a number is": ("table", text("t.csv", TABLE + "1,1,left,1,9,9\n"), "row 0: x 'left'"),
    "one of two coordinates": ("table", text("t.csv", "frame,track,px,x,w\n1,1,1,1,1\n"), "needs frame"),
    "time stamps for frames": (
        "table",
        text("t.csv", "frame,track,px,py\n0,1,1,1\n1000000000000,1,1,1\n"),
        "not within 0..16777215",
    ),
    "positions for roles": (
        "table",
        text("t.csv", "frame,track,px,py,role\n0,1,1,1,GK\n0,2,1,1,CF\n"),
        "role 'cf' is none of player",
    ),
    "half a jersey": ("table", text("t.csv", TABLE[:-1] + ",jersey\n0,1,1,1,9,9,10.5\n"), "jersey 10.5"),
    "three teams": (
        "table",
        text("t.csv", "frame,track,px,py,team\n1,1,1,1,A\n1,2,1,1,B\n1,3,1,1,C\n"),
        "3 teams",
    ),
    "positions far off any pitch": (
        "table",
        text("t.csv", "frame,track,x_pitch,y_pitch,team\n1,1,5000,3400,A\n1,2,6000,3000,B\n"),
        "2 positions are more than",
    ),
    "boxes as shares of the picture": (
        "table",
        text("t.csv", TABLE + "0,1,.1,.2,.05,.1\n1,1,.1,.2,.05,.1\n"),
        "all boxes are within 0..1: in pixels",
    ),
    "positions as shares of the pitch": (
        "table",
        text("t.csv", "frame,track,px,py\n0,1,.1,.2\n0,2,.5,.9\n1,1,.1,.2\n"),
        "all positions are within 0..1: in metres",
    ),
    "boxes without a width": (
        "table",
        text("t.csv", "frame,track,x,y,h,px,py\n0,1,1,1,9,50,30\n"),
        "a box (x, y, w, h",
    ),
    "a table in Latin-1": (
        "table",
        lambda folder: (
            [str((folder / "t.csv").with_suffix(".csv"))]
            if (folder / "t.csv").write_bytes(TABLE.encode() + b"0,1,1,1,9,9\n# \xf6\n")
            else []
        ),
        "not in UTF-8",
    ),
    "an empty table": ("table", text("t.csv", ""), "cannot be read as a table"),
    "an unknown provider": (
        "kloppy",
        lambda folder: ["--provider", "nobody", "--meta", "m", "--raw", "r"],
        "none of hawkeye",
    ),
    "another provider's file": (
        "kloppy",
        lambda folder: ["--provider", "tracab", "--meta", *text("m.json", "{}")(folder), "--raw", "r"],
        "kloppy cannot load this",
    ),
    "a match without teams": (
        "footovision",
        lambda folder: ["--game", *text("g.json", json.dumps(MATCH))(folder), "--tracking", "t.json"],
        "not a match of this form",
    ),
    "tracking in words": (
        "footovision",
        footovision({**SEEN, "x": "left"}),
        "not tracking of this form",
    ),
    "a line-up of numbers": (
        "footovision",
        lambda folder: [
            *("--game", *text("g.json", json.dumps({**MATCH, "homeTeamLineups": [9]}))(folder)),
            *("--tracking", "t.json"),
        ],
        "not a match of this form",
    ),
    "a match nested too deeply": (
        "footovision",
        lambda folder: ["--game", *text("g.json", "[" * 10**6)(folder), "--tracking", "t.json"],
        "cannot be read as JSON",
    ),
    "tracking of no half that there is": (
        "footovision",
        footovision({**SEEN, "halftime": ENDLESS}),
        "says its half",
    ),
    "events of no half that there is": (
        "footovision",
        footovision(SEEN, events=({**PASS, "halftime": ENDLESS},)),
        "not events of this form",
    ),
    "events of no time that there is": (
        "footovision",
        footovision(SEEN, events=({**PASS, "startTime": ENDLESS}, {**PASS, "startTime": 1e300})),
        "none of its events",
    ),
    "tracking without halves": ("footovision", footovision({**SEEN, "halftime": None}), "says its half"),
    "two halves told as one": (
        "footovision",
        lambda folder: [*footovision(SEEN, {**SEEN, "halftime": 2})(folder), "--half", "H2"],
        "--half is given once",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_input_is_one_clear_line_and_nothing_is_written(what, tmp_path, capsys):
    form, make, reason = BROKEN[what]
    (tmp_path / "in").mkdir()
    out = tmp_path / "out"
    assert main(["import", form, *make(tmp_path / "in"), "--out", str(out)]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1 and shown.err.startswith("error: ") and reason in shown.err
    assert not out.exists() and not shown.out


def test_there_are_twenty_of_them():
    assert len(BROKEN) >= 20
