"""Halves: the rows of the tactical data as dense arrays, and a cache that is read in windows."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from footpass.events import HALF_NAME, match_of
from footpass.files import DataError, atomic_write, find, locked, tactical_path
from footpass.schema import (
    ACTIONS,
    FULL_HD,
    MODEL_SIZE,
    N_ROLES,
    N_SLOTS,
    N_TEAMS,
    SPLITS,
    State,
    Tactical,
    slot,
)


@dataclass(frozen=True, eq=False)
class HalfMatch:
    """One half as arrays over the 26 slots and all frames from its first to its last.

    Attributes
    ----------
    name
        As in the files, for example ``game_18_H1``.
    first_frame
        Frame of index 0 of the last axis, absolute in the match's video.
    state
        float32 ``(5, 26, T)``, components as in `State`. Where a slot has nobody, the first four are
        NaN; ``VISIBLE`` is always 0 or 1.
    boxes
        float32 ``(26, T, 4)``, x1, y1, x2, y2 in pixels of `MODEL_SIZE`, as the models pool them; not
        clipped to the picture, NaN where the player is not visible.
    jersey
        int16 ``(26, T)``, -1 where unknown.
    labels
        int8 ``(26, T)``, the `Action` whose anchor is this frame; None for challenge halves.

    The arrays of a prepared half are read-only views of files: a window reads its own pages only.
    """

    name: str
    first_frame: int
    state: np.ndarray
    boxes: np.ndarray
    jersey: np.ndarray
    labels: np.ndarray | None

    @property
    def n_frames(self) -> int:
        """T, frames from the first to the last."""
        return self.jersey.shape[1]

    @property
    def end_frame(self) -> int:
        """One more than the last frame."""
        return self.first_frame + self.n_frames

    def window(self, start: int, stop: int) -> "HalfMatch":
        """The frames ``start`` to ``stop - 1``, absolute like ``first_frame``; shares the arrays.

        Raises
        ------
        DataError
            If the half does not have all of them.
        """
        if not self.first_frame <= start <= stop <= self.end_frame:
            raise DataError(
                f"half {self.name}: no window {start}..{stop - 1}: "
                f"its frames are {self.first_frame}..{self.end_frame - 1}"
            )
        part = slice(start - self.first_frame, stop - self.first_frame)
        return HalfMatch(
            self.name,
            start,
            self.state[:, :, part],
            self.boxes[:, part],
            self.jersey[:, part],
            None if self.labels is None else self.labels[:, part],
        )

    def jersey_at(self, slots: int | np.ndarray, frames: int | np.ndarray) -> np.ndarray:
        """Jersey in a slot at an absolute frame: the nearest known before it, else after it.

        Takes arrays that broadcast against each other; -1 where the slot never has a known jersey.
        """
        slots, frames = np.broadcast_arrays(slots, frames)
        found = np.full(slots.shape, -1, np.int16)
        for one in np.unique(slots):
            jerseys = np.ascontiguousarray(self.jersey[one])
            known = np.flatnonzero(jerseys >= 0)
            if len(known):
                asked = slots == one
                before = np.searchsorted(known, frames[asked] - self.first_frame, side="right") - 1
                found[asked] = jerseys[known[np.maximum(before, 0)]]
        return found


def events_of(half: HalfMatch) -> pd.DataFrame:
    """Event table of a half's labels, the same as its play-by-play ground truth.

    Raises
    ------
    DataError
        If the half has no labels.
    """
    if half.labels is None:
        raise DataError(f"half {half.name}: a challenge half has no labels")
    frames, slots = np.nonzero(half.labels.T)
    visible = half.state[State.VISIBLE].T[frames] > 0  # (events, 26)
    return pd.DataFrame(
        {
            "half": pd.Categorical.from_codes(np.zeros(len(frames), int), categories=[half.name]),
            "frame": frames + half.first_frame,
            "team": slots // N_ROLES,
            "jersey": half.jersey.T[frames, slots].astype(np.int64),
            "cls": half.labels.T[frames, slots].astype(np.int64),
            "box_visible": visible[np.arange(len(frames)), slots],
            "replay": ~visible.any(axis=1),
        }
    )


# ---------------------------------------------------------------------------------------------------
# Tactical files: rows


def half_names(path: str | Path) -> list[str]:
    """Names of the halves of a tactical file.

    Raises
    ------
    DataError
        If it is not HDF5, is cut off, or holds something else than halves.
    """
    with _open(path) as file:
        names = list(file)
        for name in names:
            if not HALF_NAME.fullmatch(name):
                raise DataError(f"{path}: half {name!r}: the name does not end in _H1, _H2, ...")
    return names


def read_rows(path: str | Path, half: str) -> np.ndarray:
    """Rows of a half, ``(N, 14)``, or ``(N, 13)`` without labels; columns as in `Tactical`.

    Raises
    ------
    DataError
        If the half is not there, cannot be read, or is not such a table of floating-point numbers.
    """
    where = f"{path}: half {half}"
    with _open(path) as file:
        table = file.get(half)
        if not isinstance(table, h5py.Dataset):
            raise DataError(f"{where}: no such table; the file has {', '.join(file) or 'none'}")
        if table.dtype.kind != "f":
            raise DataError(f"{where}: type {table.dtype} instead of float32")
        if table.ndim != 2 or table.shape[1] not in (len(Tactical), len(Tactical) - 1):
            raise DataError(f"{where}: shape {table.shape} instead of (rows, 14), or 13 for challenge")
        if not len(table):
            raise DataError(f"{where}: has no rows")
        try:
            return table[:]
        except OSError as error:
            raise DataError(f"{where}: cannot be read, unpack the file again: {error}") from error


def _open(path: str | Path) -> h5py.File:
    try:
        return h5py.File(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read or is cut off, unpack it again: {error}") from error


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
        If the rows have another shape, or the file cannot be written.
    """
    pairs = halves.items() if isinstance(halves, Mapping) else halves
    with atomic_write(path, "w+b") as stream, h5py.File(stream, "w") as file:
        for name, rows in pairs:
            rows = np.asarray(rows, np.float32)
            if rows.ndim != 2 or rows.shape[1] not in (len(Tactical), len(Tactical) - 1):
                raise DataError(f"{path}: half {name}: rows of shape {rows.shape}")
            # Neighbouring rows resemble each other byte by byte: shuffled, the fastest gzip takes a
            # second a half and leaves 40 % of it.
            packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
            chunks = (min(len(rows), 32768), rows.shape[1])
            file.create_dataset(name, data=rows, **({"chunks": chunks, **packing} if len(rows) else {}))


_RANGES = {
    Tactical.FRAME: (0, 2**24 - 1),  # float32 counts no further
    Tactical.TEAM: (0, N_TEAMS - 1),
    Tactical.ROLE: (1, N_ROLES),
    Tactical.JERSEY: (-1, 999),
    Tactical.LABEL: (0, max(ACTIONS).value),
}
_LONGEST = 250_000  # frames, almost three hours: one wild frame number must not fill the memory


def row_faults(rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """What keeps rows from having a place in a half, with the indices of these rows."""
    for column, (low, high) in _RANGES.items():
        if column < rows.shape[1]:
            values = rows[:, column]
            fine = (values >= low) & (values <= high) & (values == np.floor(values))
            if column is Tactical.JERSEY:
                fine |= np.isnan(values)
            if not fine.all():
                wrong = np.flatnonzero(~fine)
                name, value = column.name.lower(), values[wrong[0]]
                yield f"{name} {value:.8g} is not a whole number of {low}..{high}", wrong
    frames = rows[:, Tactical.FRAME]
    possible = (frames >= 0) & (frames <= _RANGES[Tactical.FRAME][1])
    if possible.any():
        far = np.flatnonzero(possible & (np.abs(frames - np.median(frames[possible])) > _LONGEST))
        if len(far):
            yield f"frame {frames[far[0]]:.8g} is hours away from the half's other frames", far


def dense(rows: np.ndarray, name: str, where: str | Path = "rows") -> HalfMatch:
    """Arrays of a half's rows; of several rows for one slot and frame the last counts.

    Parameters
    ----------
    rows
        ``(N, 14)`` or ``(N, 13)``, in any order.
    where
        Named in errors.

    Raises
    ------
    DataError
        At the first row that has no place: its frame, team, role, jersey or class is none.
    """
    cells, first = _cells(rows, name, where)
    return _half(name, first, cells, labelled=rows.shape[1] > Tactical.LABEL)


# What a slot holds at a frame. One record of 40 bytes in time-major order: a window of a half is a
# single stretch of its file, and a half is one open file.
_CELL = np.dtype(
    [("state", "<f4", len(State)), ("boxes", "<f4", 4), ("jersey", "<i2"), ("label", "i1")], align=True
)
_NOBODY = np.array(([np.nan] * 4 + [0], [np.nan] * 4, -1, 0), _CELL)


def _cells(rows: np.ndarray, name: str, where: str | Path) -> tuple[np.ndarray, int]:
    """Records ``(T, 26)`` of a half's rows, and its first frame."""
    for reason, wrong in row_faults(rows):
        raise DataError(f"{where}: half {name}, row {wrong[0]}: {reason}")
    filled = np.zeros(len(rows), _CELL)
    boxes = _model_boxes(rows)
    visible = np.isfinite(boxes).all(axis=1)
    boxes[~visible] = np.nan
    filled["boxes"] = boxes
    filled["state"][:, : State.VISIBLE] = rows[:, Tactical.X : Tactical.VY + 1]
    filled["state"][:, State.VISIBLE] = visible
    filled["jersey"] = np.nan_to_num(rows[:, Tactical.JERSEY], nan=-1)
    filled["label"] = rows[:, Tactical.LABEL] if rows.shape[1] > Tactical.LABEL else 0

    frames = rows[:, Tactical.FRAME].astype(np.int64)
    slots = slot(rows[:, Tactical.TEAM].astype(np.int64), rows[:, Tactical.ROLE].astype(np.int64))
    first = int(frames.min())
    cells = np.full(((int(frames.max()) - first + 1) * N_SLOTS), _NOBODY)
    cells[(frames - first) * N_SLOTS + slots] = filled  # of several for one cell the last stays
    return cells.reshape(-1, N_SLOTS), first


def _model_boxes(rows: np.ndarray) -> np.ndarray:
    """Boxes of rows as x1, y1, x2, y2 in pixels of `MODEL_SIZE`, ``(N, 4)``."""
    corner = rows[:, Tactical.BOX_X : Tactical.BOX_Y + 1]
    size = rows[:, Tactical.BOX_WIDTH : Tactical.BOX_HEIGHT + 1]
    scale = np.divide(MODEL_SIZE, FULL_HD)[::-1]  # x, y
    return np.hstack([corner * scale, (corner + size) * scale]).astype(np.float32)


def _half(name: str, first: int, cells: np.ndarray, labelled: bool) -> HalfMatch:
    return HalfMatch(
        name,
        first,
        state=cells["state"].transpose(2, 1, 0),  # (5, 26, T)
        boxes=cells["boxes"].transpose(1, 0, 2),  # (26, T, 4)
        jersey=cells["jersey"].T,  # (26, T)
        labels=cells["label"].T if labelled else None,  # (26, T)
    )


# ---------------------------------------------------------------------------------------------------
# The cache: a folder for every half


def present_splits(data_dir: str | Path) -> list[str]:
    """Splits whose tactical file is in a data folder.

    Raises
    ------
    DataError
        If there is none.
    """
    splits = [split for split in SPLITS if find(data_dir, tactical_path(split))]
    if not splits:
        names = ", ".join(tactical_path(split).name for split in SPLITS)
        raise DataError(f"{data_dir}: none of {names} there or in a sub-folder")
    return splits


def prepared_dir(data_dir: str | Path) -> Path:
    """Where a data folder's halves are prepared: in ``prepared`` there.

    Where that cannot be written, set ``$FOOTPASS_CACHE``: a folder with one for each data folder.
    """
    cache = os.environ.get("FOOTPASS_CACHE")
    if not cache:
        return Path(data_dir, "prepared")
    return Path(cache, hashlib.sha256(str(Path(data_dir).resolve()).encode()).hexdigest()[:12])


def open_halves(
    data_dir: str | Path,
    split: str,
    cache: str | Path | None = None,
    matches: int | None = None,
) -> dict[str, HalfMatch]:
    """Halves of a split by name, memory-mapped; those that are not prepared yet are, once.

    Parameters
    ----------
    cache
        Folder of the prepared halves; `prepared_dir` by default.
    matches
        Only the first so many of the file.

    Raises
    ------
    DataError
        If the tactical file is missing or wrong, or the cache cannot be written.
    """
    path = find(data_dir, tactical_path(split))
    if path is None:
        raise DataError(
            f"{data_dir}: no {tactical_path(split).name} there or in a sub-folder; where to get it: "
            f"python -m footpass check {data_dir}"
        )
    cache = Path(cache or prepared_dir(data_dir))
    names = half_names(path)
    chosen = list(dict.fromkeys(map(match_of, names)))[:matches]
    ready = {name: _prepared(path, name, cache) for name in names if match_of(name) in chosen}
    missing = [name for name, half in ready.items() if half is None]
    bar = tqdm(missing, desc=f"preparing {split}", unit="half", disable=not missing)
    made = {name: load_half(path, name, cache) for name in bar}
    return {name: half or made[name] for name, half in ready.items()}


def load_half(path: str | Path, name: str, cache: str | Path) -> HalfMatch:
    """One half of a tactical file, memory-mapped from the cache, which is filled first if need be.

    Raises
    ------
    DataError
        If the half cannot be read or placed, or the cache cannot be written.
    """
    half = _prepared(path, name, cache)
    if half is None:
        folder = _folder(path, name, cache)
        with ExitStack() as stack:
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(folder.parent))  # of several processes, the first prepares
            except OSError as error:
                raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
            half = _prepared(path, name, cache) or _prepare(path, name, cache)
    if half is None:
        raise DataError(f"{path}: half {name}: the file changes while it is being prepared")
    return half


def _prepare(path: str | Path, name: str, cache: str | Path) -> HalfMatch | None:
    source = _source(path)  # before reading: a file that changes meanwhile is prepared again
    rows = read_rows(path, name)
    cells, first = _cells(rows, name, path)
    labelled = rows.shape[1] > Tactical.LABEL
    meta = {"source": source, "first_frame": first, "labelled": labelled}
    _store(cells, meta, _folder(path, name, cache))
    return _prepared(path, name, cache)


def _folder(path: str | Path, name: str, cache: str | Path) -> Path:
    return Path(cache, Path(path).stem, name)


def _source(path: str | Path) -> dict:
    """What a prepared half was made from, and how.

    Size and time of change, not content: a split is several GB, and this is asked at every start.
    """
    status = os.stat(path)
    return {"layout": 1, "file": Path(path).name, "size": status.st_size, "changed": status.st_mtime_ns}


def _prepared(path: str | Path, name: str, cache: str | Path) -> HalfMatch | None:
    """A half from the cache, or None if it is not there or is of another file."""
    folder = _folder(path, name, cache)
    try:
        meta = json.loads((folder / "meta.json").read_text())
        if meta["source"] != _source(path):
            return None
        cells = np.asarray(np.load(folder / "cells.npy", mmap_mode="r"))
        return _half(name, meta["first_frame"], cells, meta["labelled"])
    except (OSError, ValueError, KeyError):  # not there, or damaged: it is made again
        return None


def _store(cells: np.ndarray, meta: dict, folder: Path) -> None:
    """Put a half into the cache: a finished folder takes its place in one step."""
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        new = temporary / "new"
        new.mkdir()
        with atomic_write(new / "cells.npy", "wb") as stream:
            np.save(stream, cells)
        with atomic_write(new / "meta.json") as stream:
            json.dump(meta, stream)
        with suppress(FileNotFoundError):
            folder.rename(temporary / "old")
        try:
            new.rename(folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another process was faster
                raise
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
