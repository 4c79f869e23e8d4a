"""Tactical HDF5 files: rows read, checked and written."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np

from footpass.events import HALF_NAME
from footpass.files import DataError, atomic_write
from footpass.schema import ACTIONS, N_ROLES, N_TEAMS, Tactical


def half_names(path: str | Path) -> list[str]:
    """Names of the halves of a tactical file."""
    with _open(path) as file:
        names = list(file)
        for name in names:
            if not HALF_NAME.fullmatch(name):
                raise DataError("the name does not end in _H1, _H2, ...", path, half=name)
    return names


def read_rows(path: str | Path, half: str) -> np.ndarray:
    """Rows of a half, ``(N, 14)``, or ``(N, 13)`` without labels; columns as in `Tactical`."""
    with _open(path) as file:
        table = file.get(half)
        if not isinstance(table, h5py.Dataset):
            raise DataError(f"no such table; the file has {', '.join(file) or 'none'}", path, half)
        if table.dtype.kind != "f":
            raise DataError(f"type {table.dtype} instead of float32", path, half)
        if table.ndim != 2 or table.shape[1] not in (len(Tactical), len(Tactical) - 1):
            raise DataError(
                f"shape {table.shape} instead of (rows, 14), or 13 for challenge", path, half
            )
        if not len(table):
            raise DataError("has no rows", path, half)
        try:
            return table[:]
        except OSError as error:
            raise DataError(f"cannot be read, unpack the file again: {error}", path, half) from error


def _open(path: str | Path) -> h5py.File:
    try:
        return h5py.File(path)
    except OSError as error:
        raise DataError(f"cannot be read or is cut off, unpack it again: {error}", path) from error


def write_tactical(
    path: str | Path, halves: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]]
) -> None:
    """Write a tactical file in the official format, atomically.

    Parameters
    ----------
    halves
        Name and rows of every half, ``(N, 14)``, or ``(N, 13)`` without labels; columns as in
        `Tactical`. An iterator of pairs never needs more than one half in memory.
    """
    pairs = halves.items() if isinstance(halves, Mapping) else halves
    with atomic_write(path, "w+b") as stream, h5py.File(stream, "w") as file:
        for name, rows in pairs:
            rows = np.asarray(rows, np.float32)
            if rows.ndim != 2 or rows.shape[1] not in (len(Tactical), len(Tactical) - 1):
                raise DataError(f"rows of shape {rows.shape}", path, half=name)
            # Neighbouring rows resemble each other byte by byte: shuffled, the fastest gzip takes a
            # second a half and leaves 40 % of it.
            packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
            chunks = (min(len(rows), 32768), rows.shape[1])
            file.create_dataset(name, data=rows, **({"chunks": chunks, **packing} if len(rows) else {}))


_RANGES = {
    Tactical.FRAME: (0, 2**24 - 1),  # float32 counts no further
    Tactical.TEAM: (0, N_TEAMS - 1),
    Tactical.ROLE: (1, N_ROLES),
    Tactical.JERSEY: (-1, 999),
    Tactical.LABEL: (0, max(ACTIONS).value),
}

_LONGEST = 250_000  # frames, almost three hours: one wild frame number must not fill the memory


def row_faults(rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """What keeps rows from having a place in a half, with the indices of these rows."""
    for column, (low, high) in _RANGES.items():
        if column < rows.shape[1]:
            values = rows[:, column]
            fine = (values >= low) & (values <= high) & (values == np.floor(values))
            if column is Tactical.JERSEY:
                fine |= np.isnan(values)
            if not fine.all():
                wrong = np.flatnonzero(~fine)
                name, value = column.name.lower(), values[wrong[0]]
                yield f"{name} {value:.8g} is not a whole number of {low}..{high}", wrong
    frames = rows[:, Tactical.FRAME]
    possible = (frames >= 0) & (frames <= _RANGES[Tactical.FRAME][1])
    if possible.any():
        far = np.flatnonzero(possible & (np.abs(frames - np.median(frames[possible])) > _LONGEST))
        if len(far):
            yield f"frame {frames[far[0]]:.8g} is hours away from the half's other frames", far
