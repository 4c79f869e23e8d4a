"""HDF5 files from anywhere: one error for whatever is wrong with them, and only plain tables in them."""

import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from footpass.files import DataError

_WHY = {
    errno.ENOENT: "no such file",
    errno.EACCES: "may not be read: its rights do not allow it",
    errno.EISDIR: "is a folder",
    errno.EAGAIN: "is locked by another program that writes it: wait until that has ended",
    errno.ENOLCK: "the file system has no locks: set HDF5_USE_FILE_LOCKING=FALSE",
}
# How tables are written. Neighbouring rows resemble each other byte by byte: shuffled, the fastest gzip
# takes a second a half and leaves 40 % of it.
PACKING = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
# A chunk is unpacked whole, so a file of a few bytes could ask for any amount of memory.
_LARGEST_CHUNK = 2**28  # bytes


@contextmanager
def opened(path: str | Path, half: str | None = None) -> Iterator[h5py.File]:
    """An HDF5 file to read from, or to read a half from; all that the library raises is a DataError."""
    try:
        with h5py.File(path) as file:
            try:
                yield file
            except (OSError, RuntimeError, LookupError, TypeError, ValueError, MemoryError) as error:
                if isinstance(error, DataError):
                    raise
                raise DataError(f"is damaged, unpack it again: {error}", path, half) from error
    except OSError as error:
        reason = _WHY.get(error.errno or 0, f"cannot be read or is cut off, unpack it again: {error}")
        raise DataError(reason, path) from error


def names_in(path: str | Path) -> list[str]:
    """What an HDF5 file holds; a name that is no text is never that of a half."""
    with opened(path) as file:
        return [name if isinstance(name, str) else repr(name) for name in file]


def plain_table(file: h5py.File, half: str) -> h5py.Dataset:
    """The dataset of a half: float16, float32 or float64 numbers that lie in the file itself.

    A link, external storage or a virtual dataset could show any file of the machine, or itself.
    """
    link = file.get(half, getlink=True)
    if link is not None and not isinstance(link, h5py.HardLink):
        raise DataError("is a link to something else, not a table", file.filename, half)
    table = None if link is None else file[half]
    if not isinstance(table, h5py.Dataset):
        raise DataError(f"no half {half}; it has {', '.join(file) or 'none':.200}", file.filename)
    if table.is_virtual or table.external:
        raise DataError("its numbers lie in other files", file.filename, half)
    if table.id.get_type().committed():
        raise DataError("has a named type instead of float32", file.filename, half)
    if table.dtype.kind != "f" or table.dtype.itemsize > 8:
        raise DataError(f"type {table.dtype} instead of float32", file.filename, half)
    if table.shape is None:
        raise DataError("is empty, without a shape", file.filename, half)
    if math.prod(table.chunks or ()) * table.dtype.itemsize > _LARGEST_CHUNK:
        raise DataError(f"chunks of {table.chunks} numbers would fill the memory", file.filename, half)
    return table
