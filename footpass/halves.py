"""Halves: the rows of the tactical data as dense arrays, and a cache that is read in windows."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import h5py
import numpy as np

from footpass.files import atomic_write
from footpass.schema import Tactical


def write_tactical(
    path: str | Path, halves: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]]
) -> None:
    """Write a tactical file in the official format, atomically.

    Parameters
    ----------
    halves
        Name and rows of every half, ``(N, 14)``, or ``(N, 13)`` without labels; columns as in
        `Tactical`. An iterator of pairs never needs more than one half in memory.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    pairs = halves.items() if isinstance(halves, Mapping) else halves
    with atomic_write(path, "w+b") as stream, h5py.File(stream, "w") as file:
        for name, rows in pairs:
            rows = np.asarray(rows, np.float32)
            if rows.ndim != 2 or rows.shape[1] not in (len(Tactical), len(Tactical) - 1):
                raise ValueError(f"half {name}: rows of shape {rows.shape}")
            # Neighbouring rows resemble each other byte by byte: shuffled, the fastest gzip takes a
            # second a half and leaves 40 % of it.
            packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
            chunks = (min(len(rows), 32768), rows.shape[1])
            file.create_dataset(name, data=rows, **({"chunks": chunks, **packing} if len(rows) else {}))
