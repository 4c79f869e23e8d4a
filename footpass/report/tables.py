"""Tables of figures in README.md and the pages of ``reports/``, filled from what is published.

A table stands between the lines ``<!-- table NAME -->`` and ``<!-- end -->``. Nobody types it:
``publish`` writes it from what lies in ``reports/``, and a test compares.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from footpass.files import DataError, atomic_write
from footpass.report.notebooks import NOTEBOOKS, headline
from footpass.report.record import Metric, read_record
from footpass.report.run import format_metric
from footpass.report.speed import (
    against_itself,
    against_machine,
    against_others,
    against_plain,
    read_benchmarks,
)

_TABLE = re.compile(r"(<!-- table (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

_STEPS = "06_postprocessing"
# What is scored on the public release: system, notebook, its macro F1, its gain over the DST.
_SYSTEMS = (
    ("TAAD, as released", "01_class_imbalance", "TAAD_macro_f1", None),
    ("DST, as released", "01_class_imbalance", "DST_macro_f1", None),
    ("published hand steps, our version", _STEPS, "published_held_out", "published_gain_held_out"),
    (
        "hand steps with few shared parameters",
        _STEPS,
        "few_numbers_held_out",
        "few_numbers_gain_held_out",
    ),
    ("learned re-scoring of both files", "07_ensemble", "rescored_macro_f1", "rescored_gain"),
)


def write_tables(project: Path) -> list[Path]:
    """Fill the tables of all pages of the project; the pages that have changed."""
    changed = []
    for page in pages(project):
        old = page.read_text(encoding="utf-8")
        if (new := filled(old, project / "reports")) != old:
            with atomic_write(page) as stream:
                stream.write(new)
            changed.append(page)
    return changed


def pages(project: Path) -> list[Path]:
    """Pages that may hold tables."""
    return [project / "README.md", *sorted((project / "reports").glob("*.md"))]


def filled(text: str, reports: Path) -> str:
    """A page's text with its tables made anew from the folder of what is published."""
    makers = {
        "results": _results,
        "notebooks": _notebooks,
        "study": _study,
        "speed": _speed,
        "progress": lambda reports: _table(*against_others(read_benchmarks(reports))),
        "bars": lambda reports: _table(*against_itself(read_benchmarks(reports))),
        "limits": lambda reports: _table(*against_machine(read_benchmarks(reports))),
    }
    for name in {name for _, name, *_ in _TABLE.findall(text)} - set(makers):
        raise DataError(f"no table {name!r}: choose one of {', '.join(makers)}")
    return _TABLE.sub(lambda found: found[1] + makers[found[2]](reports) + found[4], text)


def _results(reports: Path) -> str:
    rows = []
    for system, notebook, score, gain in _SYSTEMS:
        run = read_record(reports / "study" / notebook / "metrics.json")
        metrics = {metric.name: metric for metric in run.metrics}
        kind = " (simulated data)" if run.simulated else ""
        gained = "{} ({})".format(*_figure(metrics[gain], "+")) if gain else ""
        rows.append((system + kind, *_figure(metrics[score]), gained))
    return _table(("system", "macro F1, held out", "90 % interval", "gain over the DST"), rows)


def _notebooks(reports: Path) -> str:
    rows = []
    for path in sorted((reports / "study").glob("*/metrics.json")):
        run, notebook = read_record(path), NOTEBOOKS / f"{path.parent.name}.ipynb"
        _, question = headline(notebook)
        link = f"[{notebook.stem}](notebooks/{notebook.name})"
        # A notebook from before there were answers: its figures that have an interval.
        sure = [f"{metric.label}: {_figure(metric)[0]}" for metric in run.metrics if metric.interval]
        kind = "simulated" if run.simulated else "real"
        rows.append((link, question, run.answer or "; ".join(sure), kind))
    return _table(("notebook", "question", "answer", "data"), rows)


def _study(reports: Path) -> str:
    rows = []
    for path in sorted((reports / "study").glob("*/metrics.json")):
        run = read_record(path)
        kind = "simulated" if run.simulated else "real"
        rows += [(path.parent.name, kind, metric.label, *_figure(metric)) for metric in run.metrics]
    return _table(("notebook", "data", "figure", "value", "90 % interval"), rows)


def _speed(reports: Path) -> str:
    measured = read_benchmarks(reports)
    machine, torch = measured.environment["machine"], measured.environment["torch"]
    said = f"Measured at revision {measured.git} on {machine}, torch {torch}."
    return f"{_table(*against_plain(measured))}\n{said}\n"


def _figure(metric: Metric, sign: str = "") -> tuple[str, str]:
    """A figure and its interval, as a table shows them."""
    low, high = metric.interval or (None, None)
    interval = "" if low is None else f"{low:{sign}.3f} to {high:{sign}.3f}"
    return format_metric(metric.value, sign), interval


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
