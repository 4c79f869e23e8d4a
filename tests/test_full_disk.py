"""Outputs of all commands on a full disk.

An output is first made whole, then again on a small disk (tmpfs) that holds it already and has no
room for it twice. Right is: exit code 2, one line that begins with "error:" and speaks of space, the
earlier file intact, no temporary file left.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from footpass.files import PROJECT
from tests.test_interrupting import FOOTPASS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root: it mounts disks"),
]

_HALF = "game_2001_H1"
_PAGE = 4096  # bytes: what a tmpfs counts in


@contextmanager
def disk(folder: Path, room: int) -> Iterator[None]:
    """A small disk at a folder, with what the folder held and this many bytes that are free."""
    content = folder.with_name(f"{folder.name}-content")
    folder.rename(content)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=True)
    try:
        shutil.copytree(content, folder, dirs_exist_ok=True)
        free = os.statvfs(folder).f_bavail * _PAGE
        with open(folder / "filler", "wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, free - room)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)
        shutil.rmtree(folder)
        content.rename(folder)


def run(command: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run([*FOOTPASS, *map(str, command)], capture_output=True, text=True, cwd=PROJECT)


def commands(season: Path, detector: Path, out: Path) -> dict[str, tuple[list, list]]:
    """Output -> what makes it, and what to delete before it is made once more."""
    truth = season / "playbyplay_GT/playbyplay_val.json"
    events = detector / "predictions_val.json"
    both = ["--predictions", events, "--ground-truth", truth]
    apply = ["--predictions", events, "--evidence", events]
    data = ["--data", season]
    smoke = ["--profile", "smoke"]
    plan = ["simulate", "--matches", 1, "--minutes", 0.4, "--workers", 1, "--out", out]
    predict = ["predict", "--checkpoint", detector / "best.pt", *data]
    view = ["view", season, _HALF, "--out"]
    steps = ["postprocess", "fit", *apply, "--ground-truth", truth, "--out", out / "steps.json"]
    export = ["export", "--predictions", events, *data, "--threshold", 0]
    return {
        "check": (["check", season, "--json", out / "o.json"], []),
        "simulate": (plan, ["train_tactical_data.h5"]),
        "simulate without video": ([*plan, "--no-video"], ["train_tactical_data.h5"]),
        "view mp4": ([*view, out / "o.mp4", "--seconds", 4], []),
        "view png": ([*view, out / "o.png"], []),
        "evaluate": (["evaluate", *both, "--json", out / "o.json"], []),
        "submit": (["submit", "--predictions", events, "--out", out / "o.zip"], []),
        "postprocess fit": (steps, []),
        "train": (["train", "taad", *data, *smoke, "--epochs", 1, "--out", out], []),
        "predict": ([*predict, "--out", out], ["logits_val.h5"]),
        "adjustment": ([*predict, "--out", detector, "--fit-adjustment", out / "a.json"], []),
        "match page": (["report-match", *data, "--half", _HALF, "--out", out / "o.html"], []),
        **{
            f"export {form}": ([*export, form, "--out", out / f"o.{form}"], [])
            for form in ("spadl", "osl", "sportscode", "srt", "csv")
        },
        "export cdf": ([*export, "cdf", "--out", out / "cdf"], []),
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    """A season, and the run of a detector with its predictions."""
    season, detector = (tmp_path_factory.mktemp(name) for name in ("season", "taad"))
    data = ["--data", season, "--out", detector]
    for split in ("train", "val"):
        run(["simulate", "--out", season, "--split", split, "--matches", 1, "--minutes", 0.8])
    run(["train", "taad", *data, "--profile", "smoke", "--epochs", 1])
    assert run(["predict", "--checkpoint", detector / "best.pt", *data]).returncode == 0
    return season, detector


@pytest.mark.parametrize("name", commands(Path(), Path(), Path()))
def test_a_full_disk_is_one_line_and_the_earlier_file_stays(name, made, tmp_path):
    out = tmp_path / "disk"
    out.mkdir()
    command, deleted = commands(*made, out)[name]
    assert run(command).returncode in (0, 1)
    largest = max(path.stat().st_size for path in out.rglob("*") if path.is_file())
    for room in {0, largest // 2 // _PAGE * _PAGE}:
        with disk(out, room):
            for file in deleted:
                (out / file).unlink()
            files = [path for path in out.rglob("*") if path.is_file() and path.name != "filler"]
            before = {path: path.read_bytes() for path in files}
            # A training goes on: anew, it would replace its own checkpoints.
            done = run([*command, "--epochs", 2] if name == "train" else command)
            *_, last = done.stderr.replace("\r", "\n").splitlines()
            assert done.returncode == 2 and last.startswith("error: ") and "space" in last, done.stderr
            assert done.stderr.count("error: ") == 1 and "Traceback" not in done.stderr
            assert "Exception ignored" not in done.stderr and not list(out.rglob(".*.tmp"))
            assert {path: path.read_bytes() for path in files} == before
