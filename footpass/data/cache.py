"""Prepared halves: memory-mapped, shared by processes, with the video of their match."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from footpass.configs import Count, config_dataclass, read_config
from footpass.data.halves import _CELL, SLACK, HalfMatch, _cells, _half
from footpass.data.hdf5 import names_in
from footpass.data.paths import find, tactical_path, video_path
from footpass.data.provenance import Provenance, read_provenance
from footpass.data.tactical import half_names, read_rows
from footpass.data.video import probe
from footpass.events import match_of
from footpass.files import (
    DataError,
    atomic_write,
    fingerprint,
    identity,
    is_strict,
    locked,
    make_folder,
    tolerate,
    write_json,
)
from footpass.schema import N_SLOTS, SPLITS, Tactical


@dataclass(frozen=True, eq=False)
class Footage:
    """A half and the video of its match."""

    half: HalfMatch
    video: Path


@config_dataclass
class _Meta:
    """What is known of a prepared half, beside its cells."""

    source: str  # `_source` of its file
    first_frame: Count
    labelled: bool
    faults: tuple[tuple[Count, str], ...]  # rows and reasons of what was mended
    provenance: Provenance


def open_footage(data_dir: str | Path, split: str, matches: int | None = None) -> dict[str, Footage]:
    """Halves of a split by name, each with its video; ``matches`` as of `open_halves`."""
    halves = open_halves(data_dir, split, matches=matches)
    return {name: _with_video(half, data_dir, split) for name, half in halves.items()}


def load_footage(data_dir: str | Path, split: str, name: str, cache: str | Path) -> Footage:
    """One half of a split and its video; ``cache`` as of `load_half`."""
    half = load_half(tactical_files(data_dir, [split])[split], name, cache)
    return _with_video(half, data_dir, split)


def _with_video(half: HalfMatch, data_dir: str | Path, split: str) -> Footage:
    wanted = video_path(match_of(half.name))
    path = find(data_dir, wanted)
    if path is None:
        unpack = f"unpack videos_352x640_{split.upper()}.zip"
        reason = f"no video {wanted.name} there or in a sub-folder: {unpack}"
        raise DataError(reason, data_dir, half.name)
    length = probe(path).n_frames
    if half.end_frame > length:
        reason = f"its last frame is {half.end_frame - 1} and the video has {length} frames"
        if half.end_frame > length + SLACK or length <= half.first_frame:
            raise DataError(f"{reason}: it is cut off, or another match's", path, half.name)
        tolerate(DataError(f"{reason}: what is beyond is left out", path, half.name))
        half = half.window(half.first_frame, length)
    return Footage(half, path)


def tactical_files(data_dir: str | Path, splits: Sequence[str] = SPLITS) -> dict[str, Path]:
    """The tactical files of a data folder, by split; there must be one."""
    files = {split: find(data_dir, tactical_path(split)) for split in splits}
    present = {split: file for split, file in files.items() if file}
    if not present:
        names = " or ".join(tactical_path(split).name for split in splits)
        source = f"where to get it: python -m footpass check {data_dir}"
        raise DataError(f"no {names} there or in a sub-folder; {source}", data_dir)
    return present


def prepared_dir(data_dir: str | Path) -> Path:
    """Where a data folder's halves are prepared: in ``prepared`` there.

    Where that cannot be written, set ``$FOOTPASS_CACHE``: a folder with one for each data folder.
    """
    cache = os.environ.get("FOOTPASS_CACHE")
    if not cache:
        return Path(data_dir, "prepared")
    return Path(cache, fingerprint(str(Path(data_dir).resolve())))


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
    """
    path = tactical_files(data_dir, [split])[split]
    cache = Path(cache or prepared_dir(data_dir))
    names = half_names(path)
    others = [repr(name) for name in names_in(path) if name not in names]
    if others:
        tolerate(DataError(f"left out, being no half: {', '.join(others):.200}", path))
    chosen = list(dict.fromkeys(map(match_of, names)))[:matches]
    ready = {name: _prepared(path, name, cache) for name in names if match_of(name) in chosen}
    missing = [name for name, half in ready.items() if half is None]
    bar = tqdm(missing, desc=f"preparing {split}", unit="half", disable=not missing)
    with bar, logging_redirect_tqdm():
        made = {name: load_half(path, name, cache) for name in bar}
    return {name: half or made[name] for name, half in ready.items()}


def find_half(data_dir: str | Path, name: str) -> tuple[HalfMatch, str]:
    """A half and the split of a data folder that it is in."""
    held: list[str] = []
    for split, path in tactical_files(data_dir).items():
        held += half_names(path)
        if name in held:
            return load_half(path, name, prepared_dir(data_dir)), split
    raise DataError(f"no half {name}; it has {', '.join(held):.200}", data_dir)


def load_half(path: str | Path, name: str, cache: str | Path) -> HalfMatch:
    """One half of a tactical file, memory-mapped from the cache, which is filled first if need be."""
    half = _prepared(path, name, cache)
    if half is None:
        folder = _folder(path, name, cache).parent
        try:
            make_folder(folder)
        except DataError as error:
            reason = f"{error.reason}: set FOOTPASS_CACHE to a folder that can be written"
            raise DataError(reason, folder) from error
        with locked(folder):  # of several processes, the first prepares
            half = _prepared(path, name, cache) or _prepare(path, name, cache)
    if half is None:
        raise DataError("the file changes while it is being prepared", path, name)
    return half


def _prepare(path: str | Path, name: str, cache: str | Path) -> HalfMatch | None:
    source = _source(path)  # before reading: a file that changes meanwhile is prepared again
    rows = read_rows(path, name)
    cells, first, faults = _cells(rows, name, path)
    labelled = rows.shape[1] > Tactical.LABEL
    mended = tuple((int(fault.rows[0]), str(fault)) for fault in faults)
    for row, fault in mended:
        tolerate(DataError(fault, path, name, row))
    meta = _Meta(source, first, labelled, mended, read_provenance(path))
    folder = _folder(path, name, cache)
    make_folder(folder)
    try:
        with atomic_write(folder / "cells.npy", "wb") as stream:
            np.save(stream, cells)
        write_json(asdict(meta), folder / "meta.json")  # the last: the half counts only with it
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return _prepared(path, name, cache)


def _folder(path: str | Path, name: str, cache: str | Path) -> Path:
    return Path(cache, Path(path).stem, name)


def _source(path: str | Path) -> str:
    """What a prepared half was made from, and how.

    Not the content: a split is several GB, and this is asked at every start.
    """
    return fingerprint("layout 3", identity(path))


def _prepared(path: str | Path, name: str, cache: str | Path) -> HalfMatch | None:
    """A half from the cache, or None if it is not there or is of another file."""
    folder = _folder(path, name, cache)
    try:
        meta = read_config(folder / "meta.json", _Meta, "of a prepared half")
        if meta.source != _source(path) or (meta.faults and is_strict()):
            return None  # in the latter case, `_prepare` says why
        cells = np.asarray(np.load(folder / "cells.npy", mmap_mode="r"))
        if cells.dtype != _CELL or cells.shape[1:] != (N_SLOTS,):
            return None
        return _half(name, meta.first_frame, cells, meta.labelled, meta.provenance)
    except (OSError, ValueError):  # not there, or damaged: it is made again
        return None
