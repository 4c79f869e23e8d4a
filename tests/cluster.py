"""A Dask scheduler and its workers, each a process of its own, as on several machines."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from distributed import Client


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[Client]:
    """A client of so many workers, whose working folder and logs are in ``folder``."""
    with ExitStack() as stack:

        def start(what: str, *options: str) -> None:
            command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard", *options]
            log = stack.enter_context(open(folder / f"{what}.log", "a"))
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)

        file = folder / "scheduler.json"
        start("scheduler", "--port", "0", "--scheduler-file", str(file))
        for _ in range(workers):
            start("worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny")
        client = stack.enter_context(Client(scheduler_file=str(file)))
        client.wait_for_workers(workers)
        yield client


def kill_one_at_work(client: Client) -> None:
    """Kill a worker that has a task."""
    worker = next(worker for worker, tasks in client.processing().items() if tasks)
    os.kill(client.run(os.getpid, workers=[worker])[worker], signal.SIGKILL)


def lost_tasks(client: Client) -> int:
    """How many of the tasks that the scheduler knows had a worker that was lost with them."""
    return client.run_on_scheduler(
        lambda dask_scheduler: sum(task.suspicious > 0 for task in dask_scheduler.tasks.values())
    )
