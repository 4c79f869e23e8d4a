"""All benchmarks: ``python -m benchmarks`` prints a table and writes ``reports/benchmarks.json``."""

import json
import pkgutil
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import torch
from tqdm.auto import tqdm

import benchmarks
from footpass.files import PROJECT, atomic_write, revision
from footpass.report.run import environment

OUT = PROJECT / "reports" / "benchmarks.json"


def main() -> None:
    """Run every ``bench_*`` module; speeds are ratios to a plain implementation in the same run."""
    folder = str(Path(benchmarks.__file__).parent)
    names = sorted(m.name for m in pkgutil.iter_modules([folder]) if m.name.startswith("bench_"))
    modules = [import_module(f"benchmarks.{name}") for name in names]
    runs = [run for m in modules for name, run in vars(m).items() if name.startswith("run")]
    rows = [run() for run in tqdm(runs, unit="benchmark")]
    content = {
        "environment": environment() | {"threads": torch.get_num_threads()},
        "git": revision(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "benchmarks": rows,
    }
    with atomic_write(OUT) as stream:
        json.dump(content, stream, indent=1)
    print(f"{'benchmark':14}{'ratio':>9}{'target':>8}{'fast':>12}{'plain':>12}")
    for row in rows:
        times = f"{1e3 * row['fast_s']:9.1f} ms{1e3 * row['plain_s']:9.1f} ms"
        print(f"{row['name']:14}{row['ratio']:9.1f}{row['target']:8} {times}  {row['what']}")
    print(f"{OUT}: written")


if __name__ == "__main__":
    main()
