"""All benchmarks: ``python -m benchmarks`` prints tables and writes ``reports/benchmarks.json``.

``footpass publish`` puts the tables into ``reports/speed.md``.
"""

import pkgutil
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import torch
from tqdm.auto import tqdm

import benchmarks
from benchmarks import progress, whole
from footpass.configs import write_config
from footpass.files import PROJECT, revision
from footpass.report.run import environment
from footpass.report.speed import Benchmark, Benchmarks
from footpass.report.tables import filled

OUT = PROJECT / "reports" / "benchmarks.json"


def main() -> None:
    """Run every ``bench_*`` module, whose speeds are ratios to a plain implementation, then the rest."""
    folder = str(Path(benchmarks.__file__).parent)
    names = sorted(m.name for m in pkgutil.iter_modules([folder]) if m.name.startswith("bench_"))
    modules = [import_module(f"benchmarks.{name}") for name in names]
    runs = [run for m in modules for name, run in vars(m).items() if name.startswith("run")]
    rows = [Benchmark(**run()) for run in tqdm(runs, unit="benchmark")]
    seen, limits = progress.measure()
    bars = whole.measure()
    measured = Benchmarks(
        environment=environment() | {"threads": torch.get_num_threads()},
        git=revision(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        benchmarks=tuple(rows),
        progress=seen,
        bars=bars,
        limits=limits,
    )
    write_config(measured, OUT, indent=1)
    for name in ("speed", "progress", "bars", "limits"):
        print(filled(f"<!-- table {name} -->\n<!-- end -->", OUT.parent), end="\n\n")
    print(f"{OUT}: written")


if __name__ == "__main__":
    main()
