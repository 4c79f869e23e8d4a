"""Files: one error for all bad input, whole-or-nothing writes, locks, fingerprints."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def fingerprint(*paths: str | Path) -> str:
    """First 12 hex digits of the SHA-256 of the files' contents, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]
