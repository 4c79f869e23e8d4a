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
    """Input that cannot be used; its message names the file and says what to do."""


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
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error
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
        raise DataError(f"{folder}: cannot be made: {error.strerror or error}") from error


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
