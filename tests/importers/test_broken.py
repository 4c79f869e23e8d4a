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
    "a jersey in words": ("gsr", gsr(annotation(0, jersey="ten")), "annotations 0: "),
    "a jersey of three digits": ("gsr", gsr(annotation(0, jersey="123")), "jersey 123"),
    "an image without a number": ("gsr", gsr(annotation("first")), "annotations 0: "),
    "no image id": ("gsr", gsr({**annotation(0), "image_id": None}), "annotations 0: "),
    "a frame rate in words": (
        "gsr",
        gsr(annotation(0), info={"frame_rate": "fast"}),
        "frame_rate 'fast'",
    ),
    "a video that is cut off": ("gsr", with_video, "cut off"),
    "an empty folder": ("mot", lambda folder: [str(folder)], "no gt/gt.txt"),
    "detections, not tracks": ("mot", mot(gt_txt="1,-1,1,1,9,9,1,-1,-1,-1\n"), "run a tracker first"),
    "MOT from frame 0": ("mot", mot(gt_txt="0,1,1,1,9,9,1,-1,-1,-1\n"), "counts frames from 1"),
    "MOT in words": ("mot", mot(gt_txt="frame,id,x,y,w,h\n1,1,1,1,1,1\n"), "not rows of frame,id"),
    "a gameinfo without players": ("mot", mot(gameinfo_ini="[Sequence]\nname=x\n"), "trackletID_1="),
    "a table without tracks": (
        "table",
        text("t.csv", "frame,x,y,w,h\n1,1,1,1,1\n"),
        "say which is which",
    ),
    "a word where a number is": ("table", text("t.csv", TABLE + "1,1,left,1,9,9\n"), "row 0: x 'left'"),
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
