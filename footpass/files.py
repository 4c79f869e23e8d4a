"""Files: where data is found, one error for all bad input, atomic writing, fingerprints."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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


def fingerprint(*paths: str | Path) -> str:
    """First 12 hex digits of the SHA-256 of the files' contents, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]
