"""Files: one error for all bad input, whole-or-nothing writes, locks, fingerprints."""

import errno
import hashlib
import io
import json
import logging
import os
import re
import secrets
import socket
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

INSTALLED = not Path(__file__).parents[1].joinpath("pyproject.toml").is_file()  # elsewhere: a checkout
# Where notebooks and reports lie and, by default, data and runs.
PROJECT = Path.cwd() if INSTALLED else Path(__file__).parents[1]


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

    def at(self, file: str | Path | None = None, half: str | None = None) -> "DataError":
        """The same error with a place that whoever raised it did not know; what is known stays."""
        file = file if self.file is None else self.file
        return DataError(self.reason, file, half if self.half is None else self.half, self.row)


_STRICT = ContextVar("_STRICT", default=False)


@contextmanager
def strictly(strict: bool = True) -> Iterator[None]:
    """Let `tolerate` raise what it is given in the body."""
    before = _STRICT.set(strict)
    try:
        yield
    finally:
        _STRICT.reset(before)


def is_strict() -> bool:
    """Whether faults are to be raised that could be tolerated."""
    return _STRICT.get()


def tolerate(fault: DataError) -> None:
    """Read on in spite of a fault: it is named on stderr, or raised within `strictly`."""
    if is_strict():
        raise fault
    log.warning("%s", fault)


_PROTECTED: ContextVar[frozenset] = ContextVar("_PROTECTED", default=frozenset())


@contextmanager
def protected(paths: Iterable[Path]) -> Iterator[None]:
    """Refuse to write over these files, which the body reads."""
    statuses = [os.stat(path) for path in paths]
    before = _PROTECTED.set(frozenset((status.st_dev, status.st_ino) for status in statuses))
    try:
        yield
    finally:
        _PROTECTED.reset(before)


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator:
    """Open a temporary file that takes the place of ``path`` only when all went well.

    A link stays, and what it points to is replaced; rights stay. A pipe, a device and ``/dev/stdout``
    get everything at the end. A binary stream is a `BinaryFile`, which may be read too.
    """
    path, text = Path(path), "b" not in mode
    temporary = None
    try:
        place, rights = _place(path)
        if place is None:
            special: Any = io.StringIO() if text else _Memory()
            yield special
            content = special.getvalue()
            _pour(content.encode() if text else content, path)
            return
        # Never more open than what it replaces; a new file is what others of this user are.
        opener = partial(os.open, mode=0o666 if rights is None else rights)
        temporary = place.with_name(f".{place.name[:80]}.{secrets.token_hex(4)}.tmp")
        stream: Any
        if text:
            stream = open(temporary, "x", encoding="utf-8", opener=opener)  # noqa: SIM115
        else:
            stream = BinaryFile(temporary, opener)
        with stream:
            try:
                yield stream
            finally:
                if not text:
                    stream.raise_error()
            stream.flush()
            os.fsync(stream.fileno())
        if rights is not None:
            os.chmod(temporary, rights)
        os.replace(temporary, place)
    except OSError as error:
        if error.filename not in (None, os.fspath(path), str(temporary)):
            raise  # of another file, such as one that is read meanwhile
        raise DataError(f"cannot be written: {error.strerror or error}", path) from error
    finally:
        if temporary:
            with suppress(OSError):  # it would hide what was raised: none is there on a read-only disk
                temporary.unlink()


class BinaryFile(io.RawIOBase):
    """A new file whose writes never fail: the first error is kept until `raise_error`.

    HDF5 and FFmpeg, when a write of theirs fails, fail again as they are closed, or crash. So a full
    disk is hidden from them: what cannot be written stays in memory, for HDF5 may read it again.
    Whoever writes for long asks now and then with `raise_error`.
    """

    def __init__(self, path: Path, opener: Callable[[str, int], int]) -> None:
        self._file = io.FileIO(path, "x+", opener=opener)
        self.error: OSError | None = None
        self._unwritten: dict[int, bytes] = {}

    def readable(self) -> bool:
        return True

    writable = seekable = readable

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def write(self, data: Any) -> int:
        rest, start = memoryview(data).cast("B"), self.tell()
        size = len(rest)
        try:
            while rest and self.error is None:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.error = error
        if self.error:
            self._unwritten[start] = bytes(data)
            self.seek(start + size)
        return size

    def readinto(self, buffer: Any) -> int:
        start = self.tell()
        if start not in self._unwritten:
            return self._file.readinto(buffer) or 0
        part = self._unwritten[start][: len(buffer)]
        memoryview(buffer).cast("B")[: len(part)] = part
        self.seek(start + len(part))
        return len(part)

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def close(self) -> None:
        self._file.close()
        super().close()

    def raise_error(self) -> None:
        """Raise what went wrong so far, if anything did."""
        if self.error:
            raise self.error


class _Memory(io.BytesIO):
    def raise_error(self) -> None:
        """Nothing goes wrong in memory."""


def is_stream(path: str | Path) -> bool:
    """Whether a path is a pipe, a device or an open file of this process: no file can lie beside it."""
    known = _OPEN_FILE.fullmatch(os.fspath(path))
    return bool(known) or (os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path))


def _place(path: Path) -> tuple[Path | None, int | None]:
    """The file that a path leads to, None if it is a pipe or a device; and its rights if it is there."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return Path(os.path.realpath(path)), None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder")
    if is_stream(path):
        return None, None
    if not status.st_mode & 0o222 or not os.access(path, os.W_OK):  # root could, but was told not to
        raise PermissionError(errno.EACCES, "is write-protected")
    if (status.st_dev, status.st_ino) in _PROTECTED.get():
        raise PermissionError(errno.EACCES, "is what the command reads")
    return Path(os.path.realpath(path)), stat.S_IMODE(status.st_mode)


_OPEN_FILE = re.compile(r"/dev/(stdout|stderr)|(?:/dev|/proc/self)/fd/(\d+)")  # of this process


def _pour(content: bytes, path: Path) -> None:
    """Write to a pipe or a device, or on where an open file of this process is at."""
    place: Path | int = path
    known = _OPEN_FILE.fullmatch(os.fspath(path))
    if known:
        sys.stdout.flush()
        place = os.dup(int(known[2] or {"stdout": 1, "stderr": 2}[known[1]]))
    with open(place, "wb") as stream:
        stream.write(content)


def write_json(content: Any, path: str | Path, indent: int | None = None) -> None:
    """Write what JSON can hold, atomically."""
    with atomic_write(path) as stream:
        json.dump(content, stream, indent=indent)


def make_folder(folder: str | Path) -> None:
    """Make a folder and those it is in, unless it is there."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot be made: {error.strerror or error}", folder) from error


@contextmanager
def locked(folder: str | Path, waits: bool = True) -> Iterator[None]:
    """Keep other processes out of a folder; the operating system lets go when this one ends.

    The same thread may lock it again. Unless it ``waits``, a folder that another is in is an error.
    """
    from filelock import FileLock, Timeout  # this module needs nothing installed: it has the error

    make_folder(folder)
    path = Path(folder, ".lock")
    lock = FileLock(path, is_singleton=True)
    if lock.is_locked:  # by this thread
        yield
        return
    try:
        there = path.read_text() if path.is_file() else ""
        lock.acquire(timeout=0)
    except Timeout:
        who = f"{there or 'another process'} is at work there"
        if not waits:
            raise DataError(f"{who}: wait for it, or choose another folder", folder) from None
        log.warning("%s: %s: waiting for it", folder, who)
        lock.acquire()
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror or error}", folder) from error
    try:
        _note(path, f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        _note(path, "")
        lock.release()


def _note(path: Path, text: str) -> None:
    with suppress(OSError):  # a courtesy, which a full disk and Windows do not allow
        path.write_text(text)


def inside(folder: str | Path, name: str, option: str) -> Path:
    """The folder of a name in another one; a name that leads out of it is refused."""
    if name in ("", ".", "..") or re.search(r"[/\\\0]", name):
        raise DataError(f"{option} {name!r}: a name of a folder in {folder}, not a path")
    return Path(folder, name)


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

        array = np.atleast_1d(part)
        digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
        for piece in np.array_split(array, min(max(len(array), 1), 32)):  # no copy of the whole
            digest.update(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)
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


@contextmanager
def made_anew(path: Path, made_of: str) -> Iterator[bool]:
    """Whether a file is missing, or is made of something else, and is to be written in here."""
    beside = path.with_suffix(".made_of")
    missing = not (path.is_file() and beside.is_file() and beside.read_text() == made_of)
    if missing:
        beside.unlink(missing_ok=True)
    yield missing
    if missing:
        with atomic_write(beside) as stream:
            stream.write(made_of)


def package_version() -> str:
    """Version of the library, as it is installed or lies beside its ``pyproject.toml``."""
    try:
        return version("footpass")
    except PackageNotFoundError:
        text = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
        return str(tomllib.loads(text)["project"]["version"])


@cache
def revision() -> str | None:
    """Short revision of the project, with ``-dirty`` after uncommitted changes; None outside git.

    That of the code at work: it is asked once.
    """
    if INSTALLED:
        return None  # the folder's repository, if it is one, is another
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
