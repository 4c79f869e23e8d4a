"""End commands by signals at ten moments each: ``python -m tests.interrupting [COMMAND ...]``.

Right is: exit code 128 and the signal's number (or 0, if the command was faster), "interrupted" as the
last line, no traceback, no process and no temporary file left.
"""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from footpass.files import PROJECT

FOOTPASS = (sys.executable, "-m", "footpass")
MARK = "FOOTPASS_INTERRUPTED"  # in the environment of a command and all that it starts
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def start(command: tuple[str, ...], folder: Path) -> subprocess.Popen:
    """A command in a session of its own, which no signals but ours reach."""
    environment = os.environ | {MARK: str(folder), "OMP_NUM_THREADS": "1"}
    with open(folder / "stderr", "wb") as stderr:
        return subprocess.Popen(
            [*FOOTPASS, *command],
            cwd=PROJECT,
            env=environment,
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,
        )


def left(folder: Path) -> list[str]:
    """Processes that were started by the command in this folder, and go on."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{MARK}={folder}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:80])
    return found


def interrupted(process: subprocess.Popen, number: int, folder: Path, terminal: bool = False) -> str:
    """Send a signal; "" if all is right, else what is wrong. A terminal sends it to the children too."""
    (os.killpg if terminal else os.kill)(process.pid, number)
    code = process.wait(60)
    said = (folder / "stderr").read_text(errors="replace")
    until = time.monotonic() + 5
    while left(folder) and time.monotonic() < until:
        time.sleep(0.1)
    wrong = [] if code in (0, 128 + number) else [f"exit code {code}"]
    if code and said.replace("\r", "\n").rstrip().rpartition("\n")[2] != "interrupted":
        wrong.append(f"last line {said[-80:]!r}")
    wrong += [word for word in ("Traceback", "Exception ignored", "leaked") if word in said]
    wrong += [f"goes on: {name}" for name in left(folder)]
    wrong += [f"left: {path}" for path in folder.rglob(".*.tmp")]
    return "; ".join(wrong)


def commands(season: Path, detector: Path, out: Path) -> dict[str, tuple[str, ...]]:
    """What is tried: commands that run for a while, with processes of their own."""
    smoke = ("--data", str(season), "--out", str(out))
    plan = ("--matches", "1", "--minutes", "2", "--workers", "2")
    train = ("train", "taad", *smoke, "--profile", "smoke", "--epochs", "3", "--workers", "1")
    return {
        "simulate": ("simulate", "--out", str(out), *plan),
        "train": train,
        "predict": ("predict", "--checkpoint", str(detector / "best.pt"), *smoke),
        "report": (
            "report",
            str(PROJECT / "notebooks/02_train_taad.ipynb"),
            "--profile",
            "smoke",
            "--name",
            out.name,
        ),
    }


def main(names: list[str]) -> None:
    """Try ten moments of each command, the three signals in turn; one line for each."""
    work = Path(tempfile.mkdtemp())
    season, detector = work / "season", work / "taad"
    for split in ("train", "val"):
        plan = ("--out", str(season), "--split", split, "--matches", "1", "--minutes", "0.8")
        subprocess.run([*FOOTPASS, "simulate", *plan], check=True)
    train = ("train", "taad", "--data", season, "--out", detector, "--profile", "smoke", "--epochs", "1")
    subprocess.run([*FOOTPASS, *map(str, train)], check=True)
    for name in names or commands(season, detector, work):
        folder = work / f"{name}-whole"
        folder.mkdir()
        began = time.monotonic()
        process = start(commands(season, detector, folder)[name], folder)
        assert process.wait() == 0, (folder / "stderr").read_text()
        seconds = time.monotonic() - began
        shutil.rmtree(PROJECT / "runs" / folder.name, ignore_errors=True)
        for moment, number in zip(range(10), itertools.cycle(SIGNALS), strict=False):
            folder = work / f"{name}-{moment}"
            folder.mkdir()
            process = start(commands(season, detector, folder)[name], folder)
            time.sleep((moment + 0.5) / 10 * seconds)
            wrong = interrupted(process, number, folder, terminal=number == signal.SIGINT)
            when = f"{(moment + 0.5) / 10 * seconds:5.1f} s {signal.Signals(number).name:8}"
            print(f"{name:8} {when} {process.returncode:4} {wrong or 'ok'}", flush=True)
            shutil.rmtree(PROJECT / "runs" / folder.name, ignore_errors=True)
    shutil.rmtree(work)


if __name__ == "__main__":
    main(sys.argv[1:])
