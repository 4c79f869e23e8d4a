"""Outputs of all commands on a full disk, as root: ``python -m tests.full_disk [NAME ...]``.

An output is first made whole, then again on a small disk (tmpfs) that holds it already and has no
room for it twice. Right is: exit code 2, one line that begins with "error:" and speaks of space, the
earlier file intact, no temporary file left.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from footpass.files import PROJECT
from tests.interrupting import FOOTPASS, season_and_detector

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
    export = ["export", "--predictions", events, *data]
    return {
        "check": (["check", season, "--json", out / "o.json"], []),
        "simulate": (plan, ["train_tactical_data.h5"]),
        "simulate without video": ([*plan, "--no-video"], ["train_tactical_data.h5"]),
        "view mp4": ([*view, out / "o.mp4", "--seconds", 4], []),
        "view png": ([*view, out / "o.png"], []),
        "evaluate": (["evaluate", *both, "--json", out / "o.json"], []),
        "submit": (["submit", "--predictions", events, "--out", out / "o.zip"], []),
        "postprocess fit": (steps, []),
        "train": (
            ["train", "taad", *data, *smoke, "--epochs", 1, "--out", out],
            ["last.pt", "log.jsonl"],
        ),
        "predict": ([*predict, "--out", out], ["logits_val.h5"]),
        "adjustment": ([*predict, "--out", detector, "--fit-adjustment", out / "a.json"], []),
        "match page": (["report-match", *data, "--half", _HALF, "--out", out / "o.html"], []),
        **{
            f"export {form}": ([*export, form, "--out", out / f"o.{form}"], [])
            for form in ("spadl", "osl", "sportscode", "srt", "csv")
        },
        "export cdf": ([*export, "cdf", "--out", out / "cdf"], []),
    }


def tried(name: str, command: list, deleted: list[str], out: Path, room: int) -> str:
    """ "" if all is right with a command on a disk with some room, else what is wrong."""
    with disk(out, room):
        for file in deleted:
            (out / file).unlink()
        before = {
            path: path.read_bytes()
            for path in out.rglob("*")
            if path.is_file() and path.name != "filler"
        }
        # A training goes on: anew, it would replace its own checkpoints.
        done = run([*command, "--epochs", 2] if name == "train" else command)
        lines = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.strip()]
        wrong = [] if done.returncode == 2 else [f"exit code {done.returncode}"]
        errors = [line for line in lines if line.startswith("error: ")]
        if len(errors) != 1 or errors[0] != lines[-1] or "space" not in errors[0]:
            wrong.append(f"said {lines[-1:]}")
        wrong += [word for word in ("Traceback", "Exception ignored") if word in done.stderr]
        wrong += [f"changed: {path}" for path, old in before.items() if path.read_bytes() != old]
        wrong += [f"left: {path}" for path in out.rglob(".*.tmp")]
    return "; ".join(wrong)


def main(names: list[str]) -> None:
    work = Path(tempfile.mkdtemp())
    season, detector = season_and_detector(work)
    assert (
        run(
            ["predict", "--checkpoint", detector / "best.pt", "--data", season, "--out", detector]
        ).returncode
        == 0
    )
    out = work / "disk"
    for name, (command, deleted) in commands(season, detector, out).items():
        if names and name not in names:
            continue
        out.mkdir()
        whole = run(command)
        assert whole.returncode in (0, 1), whole.stderr
        largest = max(path.stat().st_size for path in out.rglob("*") if path.is_file())
        for room in sorted({0, largest // 2 // _PAGE * _PAGE}):
            wrong = tried(name, command, deleted, out, room)
            print(f"{name:24} {room:6} bytes  {wrong or 'ok'}", flush=True)
        shutil.rmtree(out)
    shutil.rmtree(work)


if __name__ == "__main__":
    if os.geteuid():
        sys.exit("needs root: it mounts disks")
    main(sys.argv[1:])
