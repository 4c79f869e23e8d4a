"""Files: where data is found, one error for all bad input, atomic writing, fingerprints."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from footpass.schema import SPLITS


class DataError(ValueError):
    """Input that cannot be used; its message names the file and says what to do."""


def release_dir() -> Path | None:
    """Folder of the public FOOTPASS release, or None where there is none.

    It is ``$FOOTPASS_RELEASE``, by default ``data/FOOTPASS`` beside the package: a clone of the
    public repository, with ``playbyplay_GT`` and ``playbyplay_PRED`` inside.

    Raises
    ------
    DataError
        If ``$FOOTPASS_RELEASE`` is set and is not such a folder (a typing error must not
        silently turn real figures into simulated ones).
    """
    named = os.environ.get("FOOTPASS_RELEASE")
    folder = Path(named) if named else Path(__file__).parents[1] / "data" / "FOOTPASS"
    if (folder / "playbyplay_GT").is_dir():
        return folder.resolve()
    if named:
        raise DataError(f"FOOTPASS_RELEASE={named}: no folder playbyplay_GT inside it")
    return None


def data_dir() -> Path | None:
    """Folder of tactical data and videos, or None where there is none.

    It is ``$FOOTPASS_DATA``, by default ``data`` beside the package. `find` says what it holds.

    Raises
    ------
    DataError
        If ``$FOOTPASS_DATA`` is set and is not a folder.
    """
    named = os.environ.get("FOOTPASS_DATA")
    folder = Path(named) if named else Path(__file__).parents[1] / "data"
    if named and not folder.is_dir():
        raise DataError(f"FOOTPASS_DATA={named}: no such folder")
    present = any(find(folder, tactical_path(split)) for split in SPLITS)
    return folder.resolve() if named or present else None


# Where a file lies in a data folder; the simulator writes to these paths.
def tactical_path(split: str) -> Path:
    """Tactical data of a split, below the data folder."""
    return Path(f"{split}_tactical_data.h5")


def play_by_play_path(split: str) -> Path:
    """Ground-truth events of a split, below the data folder."""
    return Path("playbyplay_GT") / f"playbyplay_{split}.json"


def video_path(match: str) -> Path:
    """Video of a match, below the data folder."""
    return Path("videos") / f"{match}.mp4"


def find(folder: str | Path, path: Path) -> Path | None:
    """Where ``path`` is in a data folder: as written, else a file of that name in any sub-folder.

    The archives unpack into folders of their own (``tactical_data_VAL``, ``videos_352x640_VAL``), which
    may also be links. Of several files of that name the least deep is taken, then the first
    by name: 352x640 before fullHD.
    """
    direct = Path(folder, path)
    if direct.is_file():
        return direct
    found, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if os.path.realpath(place) in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(os.path.realpath(place))
        if path.name in names:
            found.append(Path(place, path.name))
    return min(found, key=lambda file: (len(file.parts), file), default=None)


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator:
    """Open a temporary file that takes the place of ``path`` only when all went well.

    Raises
    ------
    DataError
        If the file cannot be written: no such folder, no permission, no space.
    """
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
    """Make a folder and those it is in, unless it is there.

    Raises
    ------
    DataError
        If it cannot be made.
    """
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
