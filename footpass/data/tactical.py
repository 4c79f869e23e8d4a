"""Tactical HDF5 files: rows read and written."""

from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np

from footpass.data.hdf5 import PACKING, names_in, opened, plain_table
from footpass.data.mending import LONGEST
from footpass.data.provenance import REAL, Provenance, mark_file
from footpass.events import HALF_NAME
from footpass.files import DataError, atomic_write
from footpass.schema import N_SLOTS, Tactical

_MOST_ROWS = N_SLOTS * LONGEST


def half_names(path: str | Path) -> list[str]:
    """Names of the halves of a tactical file; what else is in it is named by `check`."""
    names = names_in(path)
    halves = [name for name in names if HALF_NAME.fullmatch(name)]
    if not halves:
        held = ", ".join(map(repr, names)) or "nothing"
        raise DataError(f"no half, whose name ends in _H1 or _H2; it has {held:.200}", path)
    return halves


def read_rows(path: str | Path, half: str) -> np.ndarray:
    """Rows of a half, float32 ``(N, 14)``, or ``(N, 13)`` without labels; columns as in `Tactical`."""
    with opened(path, half) as file:
        table = plain_table(file, half)
        wrong = None
        if table.dtype.itemsize < 4:
            wrong = f"type {table.dtype} instead of float32: it rounds frames above 2048"
        elif table.ndim != 2 or table.shape[1] not in (len(Tactical), len(Tactical) - 1):
            wrong = f"shape {table.shape} instead of (rows, 14), or 13 for challenge"
        elif not len(table):
            wrong = "has no rows"
        elif len(table) > _MOST_ROWS:
            wrong = f"{len(table):,} rows: no half has more than {_MOST_ROWS:,}"
        if wrong:
            raise DataError(wrong, path, half)
        return table.astype(np.float32)[:]


def write_tactical(
    path: str | Path, halves: Iterable[tuple[str, np.ndarray]], provenance: Provenance = REAL
) -> None:
    """Write a tactical file in the official format, atomically: name and rows of every half.

    Rows are ``(N, 14)``, or ``(N, 13)`` without labels; columns as in `Tactical`. An iterator of pairs
    never needs more than one half in memory.
    """
    with atomic_write(path, "w+b") as stream, h5py.File(stream, "w") as file:
        mark_file(file, provenance)
        for name, rows in halves:
            rows = np.asarray(rows, np.float32)
            if rows.ndim != 2 or rows.shape[1] not in (len(Tactical), len(Tactical) - 1):
                raise DataError(f"rows of shape {rows.shape}", path, name)
            chunks = (min(len(rows), 32768), rows.shape[1])
            file.create_dataset(name, data=rows, **({"chunks": chunks, **PACKING} if len(rows) else {}))
            stream.raise_error()
