"""Run directories: what one run of a notebook used and found, in ``metrics.json`` beside its pictures.

Reports are built from ``metrics.json`` alone, never from a notebook's outputs.
"""

import io
import logging
import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import HTML, DisplayHandle, Markdown, display
from matplotlib.figure import Figure
from PIL import Image

from footpass.configs import check_seed, override, profile_name, write_config
from footpass.data.provenance import REAL, Provenance
from footpass.files import PROJECT, atomic_write, fingerprint, make_folder, revision
from footpass.metrics import Interval
from footpass.report.record import Metric, Picture, Record, Source, Table, Trained

if TYPE_CHECKING:
    from footpass.experiments.stages import Study


@dataclass
class Run:
    """One run of a notebook; made by `start_run`."""

    name: str
    dir: Path  # where `finish` writes ``metrics.json``
    profile: str
    seed: int
    config: dict[str, Any]  # all that it was asked for
    started: float = field(default_factory=time.monotonic)
    data: list[Source] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    figures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    text: str | None = None
    handle: DisplayHandle | None = None

    def answer(self, text: str) -> None:
        """Answer the notebook's question in a sentence or two, where `start_run` left room for it."""
        self.text = text[:1].upper() + text[1:]
        if self.handle:
            self.handle.update(Markdown(f"**{self.text}**"))

    def uses(
        self,
        what: str,
        paths: Iterable[str | Path] = (),
        provenance: Provenance = REAL,
        systems: str | None = None,
    ) -> None:
        """Record a source of data, with the fingerprint of its files; as in `Source`."""
        files = [Path(path) for path in paths]
        made = provenance.simulated, provenance.seed, provenance.version
        self.data.append(Source(what, *made, systems, fingerprint(*files) if files else None))

    def metric(self, name: str, value: float | Interval, label: str) -> None:
        """Record a headline figure, with its 90 % interval where there is one."""
        bounds = None
        if isinstance(value, Interval):
            bounds, value = (value.low, value.high), value.value
            bounds = bounds if np.isfinite(bounds).all() else None
        self.metrics.append(Metric(name, _plain(float(value)), label, bounds))

    def figure(self, figure: Figure, name: str, caption: str, alt: str) -> None:
        """Save a figure as PNG, show it in the notebook and close it.

        ``caption`` says what it shows, ``alt`` what one would see, for those who do not.
        """
        file = f"{name}.png"
        with atomic_write(self.dir / file, "wb") as stream:
            figure.savefig(stream, format="png", dpi=120, bbox_inches="tight", facecolor="white")
        self.figures.append(Picture(name, file, caption, alt))
        display(figure, metadata={"image/png": {"alt": alt}})
        plt.close(figure)
        _show_caption(caption)

    def clip(
        self, pictures: Iterable[np.ndarray], name: str, caption: str, alt: str, rate: float
    ) -> None:
        """Save pictures as a moving one, which plays three times; a notebook shows the first alone.

        Parameters
        ----------
        pictures
            ``(H, W, 3)`` uint8 each.
        rate
            Pictures a second.
        """
        first, *rest = map(Image.fromarray, pictures)
        stream, file = io.BytesIO(), f"{name}.webp"
        moving = {"save_all": True, "append_images": rest, "duration": round(1000 / rate), "loop": 3}
        first.save(stream, "webp", quality=50, **moving)
        with atomic_write(self.dir / file, "wb") as out:
            out.write(stream.getvalue())
        self.figures.append(Picture(name, file, caption, alt))
        display(first, metadata={"image/png": {"alt": alt}})
        _show_caption(caption)

    def table(self, table: pd.DataFrame, name: str, caption: str, digits: int = 3) -> None:
        """Record a table, its index too where that has a name, and show it with ``digits`` decimals."""
        plain = table.reset_index() if any(table.index.names) else table
        plain = plain.rename_axis(columns=None)  # it would be shown as a column of its own
        rows = tuple(tuple(map(_plain, row)) for row in plain.to_numpy(dtype=object))
        self.tables.append(Table(name, caption, digits, tuple(map(str, plain.columns)), rows))
        text = plain.astype(object).map(format_cell, digits=digits)
        display(HTML(text.to_html(index=False, border=0)))
        _show_caption(caption)

    def finish(self, trained: Iterable[Mapping[str, Any]] = ()) -> None:
        """Write ``metrics.json``; only a finished run has one.

        ``trained`` are the models behind it (`Study.trained`), which may be older than the run.
        """
        content = Record(
            notebook=self.name,
            profile=self.profile,
            seed=self.seed,
            config=_plain(self.config),
            data=tuple(self.data),
            metrics=tuple(self.metrics),
            figures=tuple(self.figures),
            tables=tuple(self.tables),
            seconds=round(time.monotonic() - self.started, 1),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            git=revision(),
            environment=environment(),
            answer=self.text,
            trained=tuple(Trained(**stage) for stage in trained),
        )
        write_config(content, self.dir / "metrics.json", indent=1)


def start_run(
    name: str,
    *,
    profile: str | None = None,
    run_dir: str | Path | None = None,
    seed: int = 0,
    config: Any = None,
    **extra: Any,
) -> Run:
    """Start a run of the notebook of a name, without its ending.

    ``profile`` is as of `resolve_profile`; results are in ``runs/<profile>/<name>`` by default. The
    ``config``, a dataclass or mapping, is recorded with whatever else is given.
    """
    profile = profile_name(profile)
    check_seed(seed)
    # Papermill makes a number of a name that is digits.
    folder = Path(str(run_dir)) if run_dir not in (None, "") else PROJECT / "runs" / profile / name
    make_folder(folder)
    (folder / "metrics.json").unlink(missing_ok=True)
    made = is_dataclass(config) and not isinstance(config, type)
    known = asdict(config) if made else dict(config or {})
    room = None
    if get_ipython():
        logging.basicConfig(stream=sys.stdout, format="%(message)s")  # a notebook shows stderr in red
        room = display(Markdown(""), display_id=True)
    return Run(name, folder, profile, seed, {**known, **extra}, handle=room)


def start_experiment(
    name: str,
    *,
    profile: str | None = None,
    data: str | Path | None = None,
    run_dir: str | Path | None = None,
    seed: int = 0,
    kinetics: str | Path | None = None,
    start: str | None = None,
    **extra: Any,
) -> "tuple[Run, Study]":
    """Start a run of a notebook that trains: its record, and the season and models that it shares.

    ``data`` are as of `find_season`, ``kinetics`` is a file with weights for the video backbone,
    ``start`` (``zoo``, ``random``) is instead of the profile's, all else is as of `start_run`.
    """
    # Pages import this module, and need no torch.
    from footpass.experiments.profile import load_profile
    from footpass.experiments.season import find_season
    from footpass.experiments.stages import Study
    from footpass.training.distributed import join_processes

    settings = load_profile(profile)
    if start:
        settings = override(settings, f"start={start}")
    asked = {"config": settings, "kinetics": kinetics, **extra}
    run = start_run(name, profile=profile, run_dir=run_dir, seed=seed, **asked)
    season = find_season(settings, data)
    run.uses(season.source, season.files, season.provenance, "trained here")
    return run, Study(run.dir.parent / "stages", settings, season, join_processes(), kinetics)


def slug(name: str) -> str:
    """A name as part of a metric's: ``taad_gnn`` of "TAAD + GNN"."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def format_cell(value: object, digits: int = 3) -> str:
    """A value as a table shows it: thousands separated, shares with ``digits``, a dash for nothing."""
    value = _plain(value)
    if value is None:
        return "–"
    if isinstance(value, float) and value.is_integer() and abs(value) >= 2:
        value = int(value)
    if isinstance(value, float):
        return f"{value:z,.{digits}f}"
    return f"{value:,}" if type(value) is int else str(value)


def format_metric(value: float | None, sign: str = "") -> str:
    """A headline figure: a share with four decimals, as papers give F1; a larger number with one.

    ``sign`` is ``+`` for a change. Zero has no minus; what is not defined is a dash.
    """
    if value is None:
        return "–"
    return f"{value:{sign}z.4f}" if abs(value) < 2 else f"{value:{sign},.1f}"


def environment() -> dict[str, str]:
    """Versions and machine that a figure depends on."""
    packages = ("torch", "numpy", "pandas", "scikit-learn")
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def _show_caption(caption: str) -> None:
    display(HTML(f"<p><small>{escape(caption)}</small></p>"))


def _plain(value: object) -> Any:
    """A value as JSON has it; NaN becomes null."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value)
