"""Processes end when they are asked to: children with them, temporary files removed, nothing said."""

import importlib
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time
import weakref

import h5py
import numpy as np
import pytest

from footpass.files import DataError, atomic_write
from footpass.processes import Interrupted, in_parallel, interruptible
from footpass.workers import local_processes
from tests.test_interrupting import interrupted, left, start

WRITERS = """
import sys, time
from pathlib import Path
from footpass.files import atomic_write
from footpass.processes import in_parallel

def write(path):
    with atomic_write(path) as stream:
        stream.write("half of it")
        time.sleep(60)

if __name__ == "__main__":
    import footpass.__main__ as cli

    class Parser:
        def parse_args(self, argv):
            return self

        def run(self, args):
            list(in_parallel(write, [Path(argv, "a"), Path(argv, "b")], workers=2))

    argv = sys.argv[1]
    cli._parser = Parser
    sys.exit(cli.main())
"""


@pytest.fixture
def writers(tmp_path):
    """A program of which two workers are amid a file."""
    (tmp_path / "writers.py").write_text(WRITERS)
    process = start([str(tmp_path / "writers.py"), str(tmp_path)], tmp_path, (sys.executable,))
    until = time.monotonic() + 120
    while len(list(tmp_path.glob(".*.tmp"))) < 2:
        assert process.poll() is None and time.monotonic() < until, (tmp_path / "stderr").read_text()
        time.sleep(0.05)
    yield process
    process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("terminal", [False, True])
def test_a_signal_ends_workers_and_leaves_nothing(writers, tmp_path, number, terminal):
    """Of ``kill PID`` the workers hear from their parent; a terminal tells them itself."""
    if terminal and number == signal.SIGTERM:
        pytest.skip("terminals do not send it")
    assert interrupted(writers, number, tmp_path, terminal) == ""
    assert writers.returncode == 128 + number


def test_workers_end_with_a_parent_that_is_killed(writers, tmp_path):
    writers.kill()
    until = time.monotonic() + 20
    while left(tmp_path) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left(tmp_path)


def fails(job: int) -> int:
    if job == 1:
        raise DataError("no events", "p.json", row=job)
    return job


def test_the_error_of_a_worker_comes_with_its_parts():
    with pytest.raises(DataError) as error:
        list(in_parallel(fails, [0, 1], workers=2))
    assert error.value.row == 1 and error.value.file == "p.json"


def ends(job: int) -> int:
    if job == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def test_a_worker_that_is_killed_is_one_clear_error():
    with pytest.raises(ChildProcessError, match="ended from outside.*use fewer --workers"):
        list(in_parallel(ends, [0, 1, 2], workers=2))
    assert not multiprocessing.active_children()


class Unsendable(Exception):
    def __init__(self, first, second):
        super().__init__("cannot be made of its message")


def raises(job: int) -> None:
    raise Unsendable(job, job)


def test_an_error_that_cannot_be_sent_is_named():
    with pytest.raises(RuntimeError, match="Unsendable: cannot be made") as error:
        list(in_parallel(raises, [0, 1], workers=2))
    assert "in raises" in error.value.__notes__[0]  # where it was, for FOOTPASS_DEBUG


def test_results_come_in_the_order_of_the_jobs():
    assert list(in_parallel(abs, [-3, 2, -1], workers=2)) == [3, 2, 1]
    assert list(in_parallel(abs, range(-9, 0), workers=2)) == [*range(9, 0, -1)]
    assert list(in_parallel(abs, [-3, 2, -1], workers=1)) == [3, 2, 1]


def test_each_process_has_a_number_by_which_it_takes_a_gpu():
    assert sorted(in_parallel(os.getenv, ["LOCAL_RANK"] * 2, workers=2)) == ["0", "1"]


def test_a_second_signal_does_not_disturb_the_first():
    cleaned = False
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as error, interruptible():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            cleaned = True
    assert cleaned and error.value.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_python_drops_is_sent_again():
    def signalled(reference) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

    with pytest.raises(Interrupted), interruptible():
        gone = set()
        reference = weakref.ref(gone, signalled)
        del gone
        time.sleep(20)
    assert reference() is None


class Signalled:
    """Of what has a destructor, a signal comes while it is made, or destroyed."""

    def __init__(self, amid: str, log: list[str]) -> None:
        self.amid, self.log = amid, log
        self.do("made")

    def __del__(self) -> None:
        self.do("destroyed")

    def do(self, what: str) -> None:
        if what == self.amid:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
        self.log.append(what)


@pytest.mark.parametrize("amid", ["made", "destroyed"])
def test_nothing_is_destroyed_half_made_or_half_destroyed(amid):
    log: list[str] = []
    with pytest.raises(Interrupted), interruptible():
        one = Signalled(amid, log)
        del one
        time.sleep(20)
    assert log == ["made", "destroyed"]


class Wrapper:
    """As libraries have them: until it is made, it cannot even be asked what it has."""

    def __init__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)
        self.wrapped = None

    def __getattr__(self, name: str):
        return getattr(self.wrapped, name)


def test_what_is_half_made_is_not_asked_for_anything():
    with pytest.raises(Interrupted), interruptible():
        Wrapper()


def test_a_signal_waits_for_the_end_of_an_import(tmp_path, monkeypatch):
    """Some libraries catch whatever is raised while they look for others."""
    swallowing = (
        "import os, signal, time\ntry:\n    os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.2)\n"
    )
    (tmp_path / "swallowing.py").write_text(f"{swallowing}except BaseException:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Interrupted), interruptible():
        importlib.import_module("swallowing")
        time.sleep(20)
    assert "swallowing" in sys.modules


class Signalling:
    """A file of which every write comes with a signal."""

    def __init__(self, file) -> None:
        self.file = file

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return self.file.write(data)


def test_a_signal_amid_a_write_for_hdf5_waits_for_its_end(tmp_path):
    """Raised within, HDF5 fails again as it closes the file, and the process crashed."""
    with pytest.raises(Interrupted), interruptible(), atomic_write(tmp_path / "a.h5", "w+b") as stream:
        stream._file = Signalling(stream._file)
        with h5py.File(stream, "w") as file:
            file["rows"] = np.zeros(5000)
            file.flush()
        time.sleep(20)
    assert not os.listdir(tmp_path)


def test_what_nohup_ignores_stays_ignored():
    code = (
        "import os, signal; from footpass.processes import interruptible\n"
        "with interruptible(): os.kill(os.getpid(), signal.SIGHUP); print('goes on')"
    )
    command = ["nohup", sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert run.stdout == "goes on\n"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is another library's")
@pytest.mark.parametrize("begin", ["", "keep_memory()", "main(['--version'])", "join_processes()"])
def test_memory_is_kept_for_what_comes_next(begin):
    """Pages that the system clears while 64 MB are allocated, filled and freed time and again."""
    program = f"""
import resource
from contextlib import suppress
from footpass.__main__ import main
from footpass.processes import keep_memory
from footpass.training.distributed import join_processes

def cleared():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

with suppress(SystemExit):
    {begin or "pass"}
b"1" * (1 << 26)
before = cleared()
for _ in range(10):
    b"1" * (1 << 26)
print(cleared() - before)
"""
    asked = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    pages = int(asked.stdout.split()[-1])
    assert pages < 1000 if begin else pages > 1000


def test_workers_leave_the_environment_as_it_was(monkeypatch):
    """What they begin with was left behind: later processes of the caller showed no bars."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    before = dict(os.environ)
    with local_processes(2) as executor:
        names = "OMP_NUM_THREADS", "TQDM_DISABLE"
        assert list(executor.map(os.getenv, names)) == ["3", "1"]
    assert os.environ == before
