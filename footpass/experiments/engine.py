"""The ablation grid as a graph of tasks, for any `concurrent.futures.Executor`.

A task makes a stage of a study, or watches matches with one, or makes a row. What it makes lies in the
study's folder afterwards, so tasks hand nothing to each other, a task done twice is a file read, and
machines that share the folder share the work.
"""

import pickle
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Any

from tqdm.auto import tqdm

from footpass.experiments.stages import Study
from footpass.training.distributed import join_processes

Task = tuple[Any, ...]  # a name and what it is of; two that are equal are one
Graph = Mapping[Task, frozenset[Task]]  # what each task comes after; the first ones come first


def compute(
    study: Study,
    graph: Graph,
    do: Callable[[Study, Task], object],
    executor: Executor | None = None,
    at_once: int | None = None,
) -> None:
    """Do every task after those that it comes after, as many at once as there are workers.

    ``at_once`` is how many that is, where it is known: no more tasks are handed out then, so that those
    which come first in the graph are done first, and a run that is broken off has whole rows.
    """
    finished = _one_by_one(study, graph, do)
    if executor:
        finished = _spread(study, graph, do, executor, at_once or len(graph))
    with tqdm(total=len(graph), desc="grid", unit="task") as progress:
        for task in finished:
            progress.set_postfix_str(" ".join(_words(task)))
            progress.update()


def _one_by_one(study: Study, graph: Graph, do: Callable[[Study, Task], object]) -> Iterator[Task]:
    for task in graph:
        do(study, task)
        yield task


def _spread(
    study: Study, graph: Graph, do: Callable[[Study, Task], object], executor: Executor, at_once: int
) -> Iterator[Task]:
    # Workers find out themselves where they compute, and need nothing that this process has opened.
    sent = pickle.dumps((replace(study, device="cpu", known={}), do))
    left, done, running = dict(graph), set[Task](), dict[Future, Task]()
    while left or running:
        ready = (task for task, needed in left.items() if needed <= done)
        for task in list(islice(ready, at_once - len(running))):
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
        elif part is not None:
            yield str(getattr(part, "name", part))  # of a row its name
