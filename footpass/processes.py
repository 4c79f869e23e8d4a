"""Processes: they end with one exception when a signal asks them to, and children end with them."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from math import inf
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

# Windows has no hang-up.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_PATIENCE = 10.0  # seconds that a child has to clean up
_ONCE = 5.0  # seconds in which signals are one


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


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
        waiting = threading.Timer(0.05, os.kill, (os.getpid(), number))
        waiting.start()

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        if _must_wait(frame):
            send_again(number)
        elif time.monotonic() - last > _ONCE:
            last = time.monotonic()
            raise Interrupted(number)

    def once_more(lost: Any) -> None:
        """Python drops what is raised in a destructor or in a callback from C."""
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
    """Amid an import some libraries catch whatever is raised; amid a write for HDF5 it would crash."""
    while frame:
        file, name = frame.f_code.co_filename, frame.f_code.co_qualname
        if file.startswith("<frozen importlib") or name.startswith("BinaryFile."):
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
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with _children_ignore_the_terminal():  # Python's tracker of semaphores is one too, and the first
        pool = ProcessPoolExecutor(workers, context, _end_with_parent)
    try:
        with _children_ignore_the_terminal():
            futures = [pool.submit(partial(_do, work), job) for job in jobs]
        for future in futures:
            yield future.result()
    except BaseException:
        end_children(set(multiprocessing.active_children()) - others)
        raise
    finally:
        pool.shutdown(cancel_futures=True)


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


def _do(work: Callable[[Any], Any], job: Any) -> Any:
    """Do a job; a SIGTERM meanwhile ends the process once it has cleaned up, and says nothing."""
    try:
        with interruptible():
            return work(job)
    except Interrupted as signalled:
        os._exit(128 + signalled.number)
