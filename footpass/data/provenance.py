"""Provenance: whether data are simulated, and which models made what is made of them.

The simulator marks what it writes: `MARK`, a file in the season's folder, and an attribute of its HDF5
files. What is made of the data keeps the mark: prepared halves, logits, checkpoints, predictions (in a
file beside theirs) and metrics. Official files have none, so what has none is real.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import pandas as pd

from footpass.configs import Config, parse, read_config
from footpass.data.hdf5 import opened
from footpass.data.paths import find, play_by_play_path, tactical_path
from footpass.events import write_events
from footpass.files import DataError, is_stream, locked, package_version, write_json
from footpass.schema import SPLITS

MARK = Path("simulated.json")  # in the folder of a season, by split


@dataclass(frozen=True)
class Provenance:
    """Where something comes from."""

    simulated: bool = False  # whether the matches are
    version: str | None = None  # of this library, when it simulated them
    seed: int | None = None
    settings: Mapping[str, bool | int | float] = field(default_factory=dict)  # of `write_season`
    models: tuple[str, ...] = ()  # that made it, the last first: kind and fingerprint

    def __str__(self) -> str:
        if not self.simulated:
            return "real"
        told = [f"seed {self.seed}", f"version {self.version}"]
        for name, value in self.settings.items():
            told += [name if value is True else f"{name} {value:g}"] if value is not False else []
        return f"simulated ({', '.join(told)})"

    def by(self, *models: str) -> "Provenance":
        """Provenance of what models make of these data."""
        return replace(self, models=(*models, *self.models))


REAL = Provenance()


def simulation(seed: int, **settings: bool | int | float) -> Provenance:
    """Provenance of what this version simulates."""
    return Provenance(True, package_version(), seed, settings)


def together(parts: Iterable[Provenance]) -> Provenance:
    """Provenance of what is made of several: the first's, or that of the first simulated one."""
    found = list(parts)
    return next((part for part in found if part.simulated), found[0] if found else REAL)


def mark_file(file: h5py.File, provenance: Provenance) -> None:
    """Mark an open HDF5 file."""
    if provenance != REAL:
        file.attrs["provenance"] = json.dumps(asdict(provenance))


def mark_season(folder: str | Path, split: str, provenance: Provenance) -> None:
    """Mark a split of a season; other splits of the folder keep theirs."""
    path = Path(folder, MARK)
    with locked(folder):  # splits may be simulated at the same time
        marks = _read(path, dict[str, Provenance]) if path.is_file() else {}
        marks[split] = provenance
        write_json({split: asdict(mark) for split, mark in marks.items()}, path, indent=1)


def write_marked(events: pd.DataFrame, path: str | Path, provenance: Provenance) -> None:
    """Write events and their provenance; whatever fails, no simulated ones are there without it."""
    if provenance != REAL:
        write_provenance(path, provenance)
    write_events(events, path)
    if provenance == REAL:
        write_provenance(path, provenance)


def write_provenance(path: str | Path, provenance: Provenance) -> None:
    """Mark a file of events: in a file beside it, since the official layout has no place for it."""
    beside = _beside(path)
    if provenance == REAL:
        beside.unlink(missing_ok=True)  # of what was there before
    elif not is_stream(path):
        write_json(asdict(provenance), beside, indent=1)


def read_provenance(path: str | Path) -> Provenance:
    """Provenance of an HDF5 file, a file of events, or a season's tactical data and play-by-play."""
    path = Path(path)
    if path.suffix == ".h5":
        try:
            with opened(path) as file:
                mark: Any = file.attrs.get("provenance")
        except DataError:  # whoever reads its content says what is wrong
            mark = None
        if isinstance(mark, str):
            try:
                return parse(Provenance, mark)
            except DataError as error:
                raise DataError(f"no provenance: {error}", path) from error
    if _beside(path).is_file():
        return _read(_beside(path), Provenance)
    named = {file(split).name: split for split in SPLITS for file in (tactical_path, play_by_play_path)}
    for season in (folder / MARK for folder in path.parents[:2]):
        if path.name in named and season.is_file():
            return _read(season, dict[str, Provenance]).get(named[path.name], REAL)
    return REAL


def season_provenance(folder: str | Path) -> Provenance:
    """Of a data folder: simulated if any of its splits is."""
    files = [find(folder, tactical_path(split)) for split in SPLITS]
    return together(read_provenance(file) for file in files if file)


def _beside(path: str | Path) -> Path:
    return Path(path).with_suffix(".provenance.json")


def _read(path: Path, kind: type[Config]) -> Config:
    return read_config(path, kind, "provenance (simulate writes it)")
