"""Commands ended by signals at ten moments: an exit code that says so, and nothing left behind."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from footpass.files import PROJECT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs Linux's list of processes"),
]
FOOTPASS = (sys.executable, "-m", "footpass")
MARK = "FOOTPASS_INTERRUPTED"  # in the environment of a command and all that it starts
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def start(command: list[str], folder: Path, program: tuple[str, ...] = FOOTPASS) -> subprocess.Popen:
    """A command, as soon as it heeds signals, in a session of its own, which none but ours reach."""
    for number in SIGNALS:  # a job in the background ignores some, and so would what it starts
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    environment = os.environ | {MARK: str(folder), "OMP_NUM_THREADS": "1"}
    with open(folder / "stderr", "wb") as stderr:
        process = subprocess.Popen(
            [*program, *command],
            cwd=PROJECT,
            env=environment,
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,
        )
    caught = 0
    while process.poll() is None and not caught >> signal.SIGTERM - 1 & 1:
        time.sleep(0.01)
        with suppress(OSError):  # it may have just ended
            status = Path("/proc", str(process.pid), "status").read_text()
            caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)
    return process


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
    try:
        code = process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return "goes on for a minute"
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


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A folder with a season and a detector that was trained on it."""
    work = tmp_path_factory.mktemp("work")
    season, detector = work / "season", work / "taad"
    for split in ("train", "val"):
        plan = ("--out", season, "--split", split, "--matches", "1", "--minutes", "0.8")
        subprocess.run([*FOOTPASS, "simulate", *map(str, plan)], check=True)
    train = ("train", "taad", "--data", season, "--out", detector, "--profile", "smoke", "--epochs", "1")
    subprocess.run([*FOOTPASS, *map(str, train)], check=True)
    return work


# Commands that run for a while, with processes of their own; FOLDER is a new folder each time.
DATA = ("--data", "WORK/season", "--out", "FOLDER")
COMMANDS = (
    ("simulate", "--out", "FOLDER", "--matches", "1", "--minutes", "1", "--workers", "2"),
    ("train", "taad", *DATA, "--profile", "smoke", "--epochs", "3", "--workers", "1"),
    ("predict", *DATA, "--checkpoint", "WORK/taad/best.pt"),
    ("report", "notebooks/02_train_taad.ipynb", "--profile", "smoke", "--name", "NAME"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_signal_at_any_moment_ends_a_command_cleanly(command, work):
    """Right is: 128 and the signal's number (or 0, if the command was faster), "interrupted" as the last
    line, no traceback, no process and no temporary file left.
    """

    def begin(name: str) -> tuple[subprocess.Popen, Path]:
        folder = work / f"{command[0]}-{name}"
        folder.mkdir()
        places = {"WORK": str(work), "FOLDER": str(folder), "NAME": folder.name}
        pattern = re.compile("|".join(places))
        told = [pattern.sub(lambda found: places[found[0]], part) for part in command]
        return start(told, folder), folder

    process, folder = begin("whole")
    began = time.monotonic()
    assert process.wait() == 0, (folder / "stderr").read_text()
    seconds = time.monotonic() - began
    faults = {}
    for moment, number in zip(range(10), itertools.cycle(SIGNALS), strict=False):
        process, folder = begin(str(moment))
        time.sleep((moment + 0.5) / 10 * seconds)
        wrong = interrupted(process, number, folder, terminal=number == signal.SIGINT)
        if wrong:
            faults[moment, signal.Signals(number).name] = wrong
        shutil.rmtree(PROJECT / "runs" / folder.name, ignore_errors=True)
    shutil.rmtree(PROJECT / "runs" / f"{command[0]}-whole", ignore_errors=True)
    assert not faults


# A worker is ended while it holds the lock of its loader's event, as it does for a moment each batch.
AT_THE_LOCK = """
import argparse, os, signal, sys, threading, time
from torch.utils.data import DataLoader
from footpass import __main__ as program

class Samples(list):
    def __getitem__(self, index):
        frame = sys._getframe()
        while "done_event" not in frame.f_locals:
            frame = frame.f_back
        with frame.f_locals["done_event"]._cond:
            os.kill(os.getppid(), signal.SIGINT)
            time.sleep(1)

class Parser:
    def parse_args(self, argv):
        return argparse.Namespace(run=lambda args: list(DataLoader(Samples("abc"), num_workers=1)))

program._parser = Parser
sys.exit(program.script())
"""


def test_a_worker_that_is_ended_takes_no_lock_with_it():
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_LOCK], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "interrupted\n")


# Of each case, a signal comes as the main thread ends a function for the first time: code and stderr.
AMID = """
import argparse, json, os, signal, sys, time
import torch
from torch.utils.data import DataLoader
from footpass import __main__ as program
from footpass.training.loop import MicroBatch, load_batches

def trace(frame, event, arg):
    if frame.f_code.co_qualname == function and event == "return":
        sys.settrace(None)
        os.killpg(0, signal.SIGINT) if sender == "terminal" else os.kill(os.getpid(), signal.SIGINT)
    return trace

def run(args):
    samples = [torch.zeros(3) for _ in range(3)]
    micro = [MicroBatch([number], 0, True, 1.0) for number in range(3)]
    sys.settrace(trace)
    list(load_batches(samples, 3, micro, None, 2, torch.device("cpu")))
    time.sleep(20)  # until a signal that had to wait comes

class Parser:
    def parse_args(self, argv):
        return argparse.Namespace(run=run)

program._parser = Parser
found = []
for function, sender in json.loads(sys.argv[1]):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(write, 2)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores it
        sys.exit(program.script())
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    time.sleep(0.5)  # what it started may end a moment later
    try:
        os.killpg(child, signal.SIGKILL)
        os.write(write, b"a worker goes on")
    except ProcessLookupError:
        pass
    os.close(write)
    found.append((function, sender, code, open(read).read()))
print(json.dumps(found))
"""


def test_a_signal_amid_the_life_of_a_loader_ends_it_cleanly():
    functions = (
        "_BaseDataLoaderIter.__init__",  # the loader is half made, and has a destructor
        "Popen._launch",  # a worker runs, and nobody knows of it yet
        "BaseProcess.ident",  # all of them run, and the loader is not yet ready to end them
        "_ResourceSharer.get_connection",  # a worker is about to hand over a tensor
        "Event.set",  # amid the end of the workers
    )
    cases = [*itertools.product(functions, ("kill", "terminal"))]
    code = (sys.executable, "-c", AMID, json.dumps(cases))
    done = subprocess.run(code, capture_output=True, text=True, check=True, timeout=300)
    right = [[*case, 128 + signal.SIGINT, "interrupted\n"] for case in cases]
    assert json.loads(done.stdout) == right
