"""How fast we were, are, and could be: against an earlier commit, the public code, and the machine.

Each case is timed in turn in processes of their own, one with the earlier commit's code, which the
repository's history holds. A shallow clone has no such column.
"""

import cProfile
import json
import pstats
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import BytesIO
from math import prod
from os import environ
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor
from torch.profiler import profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from benchmarks import cases
from footpass.files import PROJECT
from footpass.report.speed import Limit, Progress
from footpass.schema import FPS, MODEL_SIZE

BEFORE = "0cd51a3"  # what the ratios of "before" are against
REPEATS = 7  # with 3, the training step came out between 0.97 and 1.10 times as fast


def measure() -> tuple[tuple[Progress, ...], tuple[Limit, ...]]:
    """Rows of both tables."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        cases.write_files(Path(folder))
        workers = {"after": stack.enter_context(_worker(folder, PROJECT))}
        workers["public"] = stack.enter_context(_worker(folder, PROJECT, "plain"))
        if (earlier := stack.enter_context(_earlier())) is not None:
            workers["before"] = stack.enter_context(_worker(folder, earlier))
        progress = tuple(_timed(name, workers) for name in tqdm(cases.CASES, unit="case"))
        took = {row.name: row.after_s for row in progress}
        return progress, _limits(Path(folder), took)


Ask = Callable[[str], tuple[float, list[float]]]


@contextmanager
def _earlier() -> Iterator[Path | None]:
    """A folder with the package as it was at `BEFORE`."""
    command = ["git", "-C", str(PROJECT), "archive", BEFORE, "footpass"]
    try:
        archive = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    with TemporaryDirectory() as folder, tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
        yield Path(folder)


@contextmanager
def _worker(folder: str, code: Path, *options: str) -> Iterator[Ask]:
    """A process with some code, and the function that asks it for a case."""
    command = [sys.executable, str(Path(cases.__file__)), folder, *options]
    settings = {**environ, "PYTHONPATH": str(code)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=code, env=settings) as worker:
        asking, answers = worker.stdin, worker.stdout
        assert asking and answers

        def ask(name: str) -> tuple[float, list[float]]:
            print(name, file=asking, flush=True)
            seconds, result = json.loads(answers.readline())
            return seconds, result

        yield ask
        asking.close()


def _timed(name: str, workers: Mapping[str, Ask]) -> Progress:
    """Medians of a case in all workers that can run it, after a look at whether they agree."""
    case = cases.CASES[name]
    able = {role: ask for role, ask in workers.items() if role != "public" or case.plain}
    times: dict[str, list[float]] = {role: [] for role in able}
    for _ in range(REPEATS):
        results = {}
        for role, ask in able.items():
            seconds, results[role] = ask(name)
            times[role].append(seconds)
        for role, result in results.items():
            if not np.allclose(result, results["after"], atol=1e-3):
                raise AssertionError(f"{name}: {role} says {result}, not {results['after']}")
    median = {role: statistics.median(of) for role, of in times.items()}
    before, after, public = median.get("before"), median["after"], median.get("public")
    return Progress(name, case.what, before, after, public, (case.before, case.public))


class _Traffic(TorchDispatchMode):
    """Counts the bytes of all operations' tensors, read and written; views cost nothing."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            leaves = tree_leaves((args, kwargs, result))
            self.bytes += sum(leaf.nbytes for leaf in leaves if isinstance(leaf, Tensor))
        return result


def _limits(folder: Path, took: Mapping[str, float]) -> tuple[Limit, ...]:
    matrix, memory = torch.rand(2048, 2048), torch.rand(2**26)
    to = torch.empty_like(memory)
    peak = 2 * 2048**3 / _best(lambda: matrix @ matrix)
    copy = 2 * memory.nbytes / _best(lambda: to.copy_(memory))
    files = [folder / f"{kind}_{cases.MANY}.json" for kind in ("found", "true")]
    moved = {
        "scoring, many": sum(file.stat().st_size for file in files),
        "simulated video": 3 * cases.PLAYED * FPS * prod(MODEL_SIZE),
    }
    rows = []
    for name in ("TAAD, inference", "TAAD, training step", *moved):
        call, gflops, of_peak = cases.CASES[name].prepare(folder), None, None
        call()
        if name in moved:
            traffic, (top, share) = moved[name], _top_function(call)
        else:
            with FlopCounterMode(display=False) as flops, _Traffic() as counted:
                call()
            rate, traffic = _total(flops) / took[name], counted.bytes
            gflops, of_peak, (top, share) = rate / 1e9, rate / peak, _top_operation(call)
        rate = traffic / took[name]
        rows.append(Limit(name, gflops, of_peak, rate / 1e9, rate / copy, top, share))
    return tuple(rows)


def _total(flops: FlopCounterMode) -> int:
    """All; torch forgets the groups in a convolution's backward, which is twice its forward."""
    counts = dict(flops.get_flop_counts()["Global"])
    if counts.pop(torch.ops.aten.convolution_backward, 0):
        counts[torch.ops.aten.convolution] *= 3
    return sum(counts.values())


def _best(call: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def _top_operation(call: Callable[[], object]) -> tuple[str, float]:
    """Torch's operation with most time of its own, and its share."""
    with profile() as profiled:
        call()
    table = profiled.key_averages()
    top = max(table, key=lambda row: row.self_cpu_time_total)
    return top.key, top.self_cpu_time_total / sum(row.self_cpu_time_total for row in table)


def _top_function(call: Callable[[], object]) -> tuple[str, float]:
    """The function with most time of its own, and its share."""
    with cProfile.Profile() as profiled:
        call()
    stats = pstats.Stats(profiled)
    times = {place: row[2] for place, row in stats.stats.items()}  # type: ignore[attr-defined]
    (*_, name), seconds = max(times.items(), key=lambda row: row[1])
    return name, seconds / stats.total_tt  # type: ignore[attr-defined]
