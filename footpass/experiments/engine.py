"""The ablation grid as a graph of tasks, for any `concurrent.futures.Executor`.

A task makes a stage of a study, or watches matches with one, or makes a row. What it makes lies in the
study's folder afterwards, so tasks hand nothing to each other, a task done twice is a file read, and
machines that share the folder share the work.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm.auto import tqdm

from footpass.experiments.stages import Study
from footpass.files import DataError
from footpass.processes import processes
from footpass.training.distributed import join_processes

Task = tuple[Any, ...]  # a name and what it is of; two that are equal are one
Graph = Mapping[Task, frozenset[Task]]  # what each task comes after; the first ones come first


@contextmanager
def local_processes(workers: int) -> Iterator[Executor | None]:
    """Processes of this machine, which share its cores; None: this process is enough."""
    if workers < 1:
        raise DataError(f"{workers} workers: at least 1 is needed")
    if workers == 1:
        yield None
        return
    # What processes begin with: a share of the cores, and no bars beside that of the grid.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    os.environ.setdefault("TQDM_DISABLE", "1")
    with processes(workers) as executor:
        yield executor


@contextmanager
def dask_workers(address: str, workers: int) -> Iterator[Executor]:
    """Workers of a Dask scheduler, or new ones on this machine; a lost one's tasks are done by another.

    Where workers say that they have the resource ``GPU``, each task takes one.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise DataError('--dask needs Dask: pip install "footpass[dask]"') from error
    with ExitStack() as stack:
        where = {"address": address}
        if address == "local":
            where = {"scheduler_file": stack.enter_context(_started(workers))}
        try:
            client = stack.enter_context(Client(**where, timeout=30))
        except OSError as error:
            raise DataError(f"--dask: nobody answers at {address}: is the scheduler up?") from error
        if address == "local":
            client.wait_for_workers(workers)
        known = client.scheduler_info(n_workers=-1)["workers"].values()
        gpus = any("GPU" in worker["resources"] for worker in known)
        yield stack.enter_context(client.get_executor(resources={"GPU": 1} if gpus else None))


@contextmanager
def _started(workers: int) -> Iterator[str]:
    """The file of a Dask scheduler with workers, which end with the body, or soon after this process."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        file = str(Path(folder, "scheduler.json"))
        scheduler = ["scheduler", "--port", "0", "--idle-timeout", "60"]
        worker = ["worker", "--nthreads", "1", "--no-nanny", "--death-timeout", "60"]
        for what, *options in (scheduler, *[worker] * workers):
            program = [sys.executable, "-m", f"distributed.cli.dask_{what}"]
            command = [*program, "--no-dashboard", "--scheduler-file", file, *options]
            # In a session of its own: the terminal's Ctrl-C is for this process.
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        yield file


def compute(
    study: Study, graph: Graph, do: Callable[[Study, Task], object], executor: Executor | None = None
) -> None:
    """Do every task after those that it comes after, as many at once as there are workers."""
    finished = _spread(study, graph, do, executor) if executor else _one_by_one(study, graph, do)
    with tqdm(total=len(graph), desc="grid", unit="task") as progress:
        for task in finished:
            progress.set_postfix_str(" ".join(_words(task)))
            progress.update()


def _one_by_one(study: Study, graph: Graph, do: Callable[[Study, Task], object]) -> Iterator[Task]:
    for task in graph:
        do(study, task)
        yield task


def _spread(
    study: Study, graph: Graph, do: Callable[[Study, Task], object], executor: Executor
) -> Iterator[Task]:
    # Workers find out themselves where they compute, and need nothing that this process has opened.
    sent = pickle.dumps((replace(study, device="cpu", known={}), do))
    left, done, running = dict(graph), set[Task](), dict[Future, Task]()
    while left or running:
        for task in [task for task, needed in left.items() if needed <= done]:
            del left[task]
            running[executor.submit(_do, sent, task)] = task
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            future.result()
            done.add(task := running.pop(future))
            yield task


def _do(sent: bytes, task: Task) -> None:
    study, do = _opened(sent)
    do(study, task)


@cache
def _opened(sent: bytes) -> tuple[Study, Callable[[Study, Task], object]]:
    """A study in a worker, which remembers what it has opened from task to task."""
    study, do = pickle.loads(sent)
    return replace(study, device=join_processes()), do


def _words(task: Task) -> Iterator[str]:
    for part in task:
        if isinstance(part, tuple):
            yield from _words(part)
        else:
            yield str(part)
