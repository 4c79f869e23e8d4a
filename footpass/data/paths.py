"""Where the official files lie: the release, the data folder, and each file in it."""

import os
from pathlib import Path

from footpass.files import PROJECT, DataError
from footpass.schema import SPLITS


def release_dir() -> Path | None:
    """Folder of the public FOOTPASS release, or None where there is none.

    It is ``$FOOTPASS_RELEASE``, by default ``data/FOOTPASS`` in the project (of an installed package: in
    the current folder): a clone of the public repository, with ``playbyplay_GT`` and
    ``playbyplay_PRED`` inside.
    """
    named = os.environ.get("FOOTPASS_RELEASE")
    folder = Path(named) if named else PROJECT / "data" / "FOOTPASS"
    if (folder / "playbyplay_GT").is_dir():
        return folder.resolve()
    if named:
        raise DataError(f"FOOTPASS_RELEASE={named}: no folder playbyplay_GT inside it")
    return None


def data_dir() -> Path | None:
    """Folder of tactical data and videos, or None where there is none.

    It is ``$FOOTPASS_DATA``, by default ``data`` in the project (of an installed package: in the
    current folder). `find` says what it holds.
    """
    named = os.environ.get("FOOTPASS_DATA")
    folder = Path(named) if named else PROJECT / "data"
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


def data_files(folder: str | Path) -> list[Path]:
    """Files of a data folder, or of one that an archive has unpacked into; at most one folder deep."""
    names = ("*_tactical_data.h5", "playbyplay_*.json", f"{video_path('game_*').name}")
    found = (path for name in names for deep in (name, f"*/{name}") for path in Path(folder).glob(deep))
    return [path for path in found if path.is_file()]  # a link may lead nowhere: `check` names it


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
