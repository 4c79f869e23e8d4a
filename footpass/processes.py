"""Processes: they end with one exception when a signal asks them to, and children end with them."""

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from math import inf
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from types import FrameType
from typing import Any

# Windows has no hang-up.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_PATIENCE = 10.0  # seconds that a child has to clean up
_ENDED = "a process was ended from outside, mostly for want of memory: use fewer --workers"
_ONCE = 5.0  # seconds in which signals are one
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of glibc's mallopt
_AGAIN = 0.2  # seconds until a signal is sent again: each takes a thread, and a busy machine its time


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def keep_memory() -> None:
    """Let this process keep what it frees, up to 2 GiB, for what it allocates next.

    By default glibc gives each large piece back at once, and the system clears it before it is used
    again: a fifth of a detector's time on the CPU (``benchmarks/progress.py``). Without glibc, nothing.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        # The size up to which memory is kept at all; an older glibc takes no more than 32 MiB.
        if libc.mallopt(_MMAP_THRESHOLD, 1 << 30) or libc.mallopt(_MMAP_THRESHOLD, 1 << 25):
            libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP raise `Interrupted` in the body.

    So temporary files are removed whichever signal comes. Those that follow in the next seconds are
    ignored, for a terminal and a launcher may both pass one on; a later one is meant. What the caller
    ignores (SIGHUP under ``nohup``) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what signals do
        return
    unraisable = sys.unraisablehook
    last = -inf
    waiting = threading.Timer(0, int)  # the signal that is sent again; none so far

    def send_again(number: int) -> None:
        nonlocal waiting
        waiting.cancel()
        waiting = threading.Timer(_AGAIN, os.kill, (os.getpid(), number))
        waiting.start()

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        if _must_wait(frame):
            send_again(number)
        elif time.monotonic() - last > _ONCE:
            last = time.monotonic()
            raise Interrupted(number)

    def once_more(lost: Any) -> None:
        """Python drops what is raised in a callback, be it of a weak reference or from C."""
        nonlocal last
        if not isinstance(lost.exc_value, Interrupted):
            return unraisable(lost)
        last = -inf
        send_again(lost.exc_value.number)

    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    sys.unraisablehook = once_more
    try:
        yield
    finally:
        waiting.cancel()
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)


def _must_wait(frame: FrameType | None) -> bool:
    """Whether raising here would do harm.

    Amid an import some libraries catch whatever is raised. Amid a write for HDF5 the process would
    crash. A child that is being started would be known to nobody; one that hands something over would
    print that it cannot. What has a destructor would be destroyed half made, at which torch's loaders
    fail, and what is raised in a destructor is dropped.
    """
    while frame:
        code = frame.f_code
        name = code.co_qualname
        if name == "BaseProcess._bootstrap":
            return False  # the frames below are those of the parent that this process is a copy of
        if code.co_filename.startswith("<frozen importlib") or name.startswith("BinaryFile."):
            return True
        if name in ("BaseProcess.start", "DupFd.detach") or code.co_name == "__del__":
            return True
        if code.co_name == "__init__" and hasattr(type(frame.f_locals.get("self")), "__del__"):
            return True
        frame = frame.f_back
    return False


def ignore_signals() -> None:
    """Let nothing disturb the end of this process, when all is done."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def end_children(children: Iterable[BaseProcess] | None = None) -> None:
    """End processes that `multiprocessing` has started, all of them by default, and wait for it."""
    children = list(multiprocessing.active_children() if children is None else children)
    for child in children:
        child.terminate()
    for child in children:
        child.join(_PATIENCE)
        if child.is_alive():
            child.kill()
            child.join()


def in_parallel(
    work: Callable[[Any], Any], jobs: Sequence[Any], workers: int | None = None
) -> Iterator[Any]:
    """Results in the order of the jobs, from several processes (None: one a core).

    In this process if one is enough. If anything ends it early, the processes are ended too.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers <= 1:
        yield from map(work, jobs)
        return
    with processes(workers) as executor:
        yield from executor.map(work, jobs)


@contextmanager
def processes(workers: int) -> Iterator[Executor]:
    """Processes that do what is submitted, each spoken to by a thread through a pipe.

    Not a pool of Python's library: these have semaphores, which are named, tracked by one more process,
    and left behind or reported by it when several are ended at once.
    """
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    children: list[BaseProcess] = []
    try:
        if hasattr(signal, "pthread_sigmask"):
            # Python's tracker of resources is the first child of all, and lets SIGINT through again.
            with _children_ignore_the_terminal():
                resource_tracker.ensure_running()
        with _children_ignore_the_terminal():
            for number in range(workers):
                pipe, theirs = context.Pipe()
                child = context.Process(target=_serve, args=(theirs, number))
                child.start()
                theirs.close()  # so that the end of the child is the end of the pipe
                pipes.append(pipe)
                children.append(child)
        yield (executor := _Processes(pipes))
        executor.shutdown()
    finally:
        end_children(children)  # which ends the threads that wait for them
        for pipe in pipes:
            pipe.close()


class _Processes(ThreadPoolExecutor):
    def __init__(self, pipes: Sequence[Connection]) -> None:
        super().__init__(len(pipes))
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        for pipe in pipes:
            self._idle.put(pipe)

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        return super().submit(self._ask, partial(fn, *args, **kwargs))

    def _ask(self, work: Callable[[], Any]) -> Any:
        pipe = self._idle.get()
        try:
            pipe.send(work)
            result, fault = pipe.recv()
        except (EOFError, OSError) as error:
            raise ChildProcessError(_ENDED) from error
        finally:
            self._idle.put(pipe)
        if fault:
            raise fault
        return result


def begun(loader: Iterable[Any]) -> Iterator[Any]:
    """As `iter`, of a loader whose workers start by that: they leave the terminal to this process."""
    with _children_ignore_the_terminal():
        return iter(loader)


@contextmanager
def _children_ignore_the_terminal() -> Iterator[None]:
    """Ctrl-C reaches children too, who would each print a traceback: it is for their parent."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End this process when its parent has been killed: nobody else would."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _serve(pipe: Connection, number: int) -> None:
    """Do what comes through a pipe, until it ends."""
    _end_with_parent()
    keep_memory()
    os.environ.setdefault("LOCAL_RANK", str(number))  # of several GPUs each process takes another
    from tqdm import tqdm  # here: without its requirements the program still says how to install them

    tqdm.set_lock(threading.RLock())  # its own is a semaphore, which would be left behind
    while True:
        try:
            work = pipe.recv()
        except EOFError:
            return
        pipe.send(_answer(work))


def _answer(work: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Result or error; a SIGTERM meanwhile ends the process, cleaned up and without a word."""
    try:
        with interruptible():
            return work(), None
    except Interrupted as signalled:
        os._exit(128 + signalled.number)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # one that cannot be sent
            error = RuntimeError(f"{type(error).__name__}: {error}")
        error.add_note(traceback.format_exc())
        return None, error
