"""Workers that do what is submitted to them: processes of this machine, or those of a Dask scheduler."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from footpass.files import DataError
from footpass.processes import processes


def open_workers(workers: int, dask: str | None) -> AbstractContextManager[Executor | None]:
    """The workers that options ``--workers`` and ``--dask`` ask for; None: this process is enough."""
    if workers < 1:
        raise DataError(f"{workers} workers: at least 1 is needed")
    return dask_workers(dask, workers) if dask else local_processes(workers)


@contextmanager
def local_processes(workers: int) -> Iterator[Executor | None]:
    """Processes of this machine, which share its cores; None: this process is enough."""
    if workers == 1:
        yield None
        return
    begin = {name: value for name, value in _share(workers).items() if name not in os.environ}
    os.environ.update(begin)
    try:
        with processes(workers) as executor:
            yield executor
    finally:  # other processes of the caller are not theirs
        for name in begin:
            os.environ.pop(name, None)


def _share(workers: int) -> dict[str, str]:
    """What processes begin with: a share of the cores, and no bars beside that of who asked."""
    cores = max(1, (os.cpu_count() or 1) // workers)
    return {"OMP_NUM_THREADS": f"{cores}", "TQDM_DISABLE": "1"}


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
            client = stack.enter_context(Client(**where, timeout=10))
            if address == "local":
                client.wait_for_workers(workers, timeout=60)
        except (OSError, ValueError) as error:
            raise DataError(f"--dask: nobody answers at {address}: is the scheduler up?") from error
        known = client.scheduler_info(n_workers=-1)["workers"].values()
        gpus = any("GPU" in worker["resources"] for worker in known)
        executor = client.get_executor(resources={"GPU": 1} if gpus else None)
        stack.callback(executor.shutdown, wait=False)  # after an error nobody waits for the others
        yield executor


# Ends with the process that holds the other end of its input: a scheduler of its own would stay.
_WITH_PARENT = """
import os, sys, threading
from distributed.cli.dask_{} import main

threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
main()
"""


@contextmanager
def _started(workers: int) -> Iterator[str]:
    """The file of a Dask scheduler with workers, which end with the body, or with this process."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        file = str(Path(folder, "scheduler.json"))
        scheduler = ["scheduler", "--port", "0"]
        worker = ["worker", "--nthreads", "1", "--no-nanny", "--death-timeout", "60"]
        for number, (what, *options) in enumerate((scheduler, *[worker] * workers)):
            program = [sys.executable, "-c", _WITH_PARENT.format(what)]
            command = [*program, "--no-dashboard", "--scheduler-file", file, *options]
            # In a session of its own: the terminal's Ctrl-C is for this process.
            process = subprocess.Popen(
                command,
                cwd=folder,
                # Of several GPUs each takes another.
                env={"LOCAL_RANK": str(number), **_share(workers), **os.environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.enter_context(process)
            stack.callback(process.terminate)
            while what == "scheduler" and not Path(file).exists():
                if process.poll() is not None:
                    why = f"{sys.executable} -m distributed.cli.dask_scheduler --port 0 says why"
                    raise DataError(f"--dask local: the scheduler has ended at its start: {why}")
                time.sleep(0.02)
        yield file
