"""What `python -m benchmarks` measures, and the tables of it."""

from collections.abc import Sequence
from pathlib import Path

from footpass.configs import config_dataclass, read_config

Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # columns and rows


@config_dataclass
class Benchmark:
    """A speed as a ratio to a plain implementation, and the one that is asked for."""

    name: str
    what: str
    fast_s: float
    plain_s: float
    ratio: float
    target: float


@config_dataclass
class Progress:
    """Seconds before, now, and of the public code, None where it cannot be run; and what is asked for.

    That is how many times faster than each of the two it is to be.
    """

    name: str
    what: str
    before_s: float | None
    after_s: float
    public_s: float | None
    asked: tuple[float | None, float | None]


@config_dataclass
class Bar:
    """How many times as much something takes as another thing, and as it may."""

    name: str
    what: str
    value: float
    at_most: float


@config_dataclass
class Limit:
    """What a part achieves of what the machine can do, and the operation that takes most of its time.

    A second, with the share of a product of matrices (None where next to nothing is computed), and of a
    copy of memory.
    """

    name: str
    gflops: float | None
    of_product: float | None
    gbytes: float
    of_copy: float
    dominated_by: str
    share: float


@config_dataclass
class Benchmarks:
    """All of one run."""

    environment: dict[str, str | int]
    git: str | None
    finished: str
    benchmarks: tuple[Benchmark, ...]
    progress: tuple[Progress, ...] = ()
    bars: tuple[Bar, ...] = ()
    limits: tuple[Limit, ...] = ()


def read_benchmarks(reports: Path) -> Benchmarks:
    """The last run's."""
    return read_config(reports / "benchmarks.json", Benchmarks, "benchmarks (make bench writes them)")


def against_plain(measured: Benchmarks) -> Table:
    """Against plain implementations."""
    rows = [(row.name, row.what, f"{row.ratio:,.1f}", f"{row.target:g}") for row in measured.benchmarks]
    return ("name", "what", "ratio", "asked for"), rows


def against_others(measured: Benchmarks) -> Table:
    """Against an earlier commit and the public code."""
    rows = []
    for row in measured.progress:
        before, after, public = map(_seconds, (row.before_s, row.after_s, row.public_s))
        than_before = _faster(row.before_s, row.after_s, row.asked[0])
        than_public = _faster(row.public_s, row.after_s, row.asked[1])
        rows.append((f"{row.name}: {row.what}", before, after, than_before, public, than_public))
    return ("what", "before", "after", "times faster", "public code", "times faster"), rows


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g} s"


def _faster(slow: float | None, fast: float, asked: float | None) -> str:
    wanted = "" if asked is None else f" (asked for: {asked:g})"
    return "" if slow is None else f"{slow / fast:.2f}{wanted}"


def against_itself(measured: Benchmarks) -> Table:
    """Against other uses of the same code."""
    rows = [(bar.name, bar.what, f"{bar.value:.2f}", f"{bar.at_most:g}") for bar in measured.bars]
    return ("name", "what", "times as much", "at most"), rows


def against_machine(measured: Benchmarks) -> Table:
    """Against what the machine can do."""
    rows = []
    for row in measured.limits:
        computed = "" if row.gflops is None else f"{row.gflops:.0f} ({row.of_product:.0%})"
        moved = f"{row.gbytes:.2g} ({row.of_copy:.1%})"
        rows.append((row.name, computed, moved, f"`{row.dominated_by}`, {row.share:.0%}"))
    return ("part", "GFLOP/s (of a product)", "GB/s (of a copy)", "most of the time"), rows
