"""Files: one error for all bad input, whole-or-nothing writes, locks, fingerprints."""

import fcntl
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]  # where notebooks, reports and, by default, data and runs lie


class DataError(ValueError):
    """Input that cannot be used; reads ``file: half game_18_H1, row 7: reason``.

    Parameters
    ----------
    reason
        What is wrong and what to do.
    file, half, row
        Where, as far as it is known and is the same for all of the reason.
    """

    def __init__(
        self,
        reason: str,
        file: str | Path | None = None,
        half: str | None = None,
        row: int | None = None,
    ) -> None:
        super().__init__(reason, file, half, row)  # what pickle makes it of again
        self.reason, self.file, self.half, self.row = reason, file, half, row

    def __str__(self) -> str:
        half = None if self.half is None else f"half {self.half}"
        row = None if self.row is None else f"row {self.row}"
        place = ", ".join(part for part in (half, row) if part)
        return ": ".join(str(part) for part in (self.file, place, self.reason) if part)

    def at(
        self, file: str | Path | None = None, half: str | None = None, row: int | None = None
    ) -> "DataError":
        """The same error with a place that whoever raised it did not know; what is known stays."""
        return DataError(
            self.reason,
            file if self.file is None else self.file,
            half if self.half is None else self.half,
            row if self.row is None else self.row,
        )


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator:
    """Open a temporary file that takes the place of ``path`` only when all went well."""
    path = Path(path)
    encoding = None if "b" in mode else "utf-8"
    temporary = None
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "is a folder")
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, mode, encoding=encoding) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes it private
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror or error}", path) from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def make_folder(folder: str | Path) -> None:
    """Make a folder and those it is in, unless it is there."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot be made: {error.strerror or error}", folder) from error


@contextmanager
def locked(folder: str | Path, waits: bool = True) -> Iterator[None]:
    """Keep other processes out of a folder; the operating system lets go when this one ends.

    Raises
    ------
    BlockingIOError
        If another process is in it, and this one does not wait.
    """
    with open(Path(folder, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        yield


def fingerprint(*parts: Any) -> str:
    """First 12 hex digits of the SHA-256 of everything that a result depends on, in the order given.

    The one rule of all caches: a result is used again as long as the fingerprint of what it was made of
    stays the same. That is its settings, the content of its inputs and, where it takes minutes, the code
    that makes it (`sources`). What takes hours (trained models, their logits) outlives a change of code;
    it records the `revision` that made it, which reports print.

    Parameters
    ----------
    parts
        A `Path` stands for the content of its file, an array or a table for its values, and all else
        (numbers, strings, lists, mappings, dataclasses) for what JSON has of it.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(_digest(part))
    return digest.hexdigest()[:12]


def _digest(part: Any) -> bytes:
    if isinstance(part, Path):
        with open(part, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    if hasattr(part, "itertuples"):
        import pandas as pd

        categories = {name: list(part[name].cat.categories) for name in part.select_dtypes("category")}
        rows = pd.util.hash_pandas_object(part, index=False).to_numpy()
        return _digest([list(part), categories]) + _digest(rows)
    if hasattr(part, "__array__"):
        import numpy as np

        array = np.ascontiguousarray(part)
        digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
        return digest.digest()
    return hashlib.sha256(json.dumps(part, sort_keys=True, default=asdict).encode()).digest()


def identity(path: str | Path) -> list[str | int]:
    """What tells a file from another one of its name without reading it: gigabytes take too long.

    The time of change, which nobody can set back, is among it: a file of other content has another one
    even if its size and time stamp are the same.
    """
    status = os.stat(path)
    return [Path(path).name, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def sources(*wings: str) -> list[Path]:
    """Files of code and settings of some wings and modules of the library, such as ``data`` and
    ``simulate/season.py``; of all of it by default."""
    package = Path(__file__).parent
    found = {
        file
        for wing in wings or (".",)
        for file in ((package / wing).rglob("*") if (package / wing).is_dir() else [package / wing])
        if file.suffix in (".py", ".json", ".toml")
    }
    return sorted(found)


@cache
def revision() -> str | None:
    """Short revision of the project, with ``-dirty`` after uncommitted changes; None outside git.

    That of the code at work: it is asked once.
    """
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
