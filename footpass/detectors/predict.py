"""Inference: halves to logits (`detectors.windows`), and logits to events.

A logit store is an HDF5 file with one dataset per half, float16 ``(9, 26, frames)``, whose last axis is
the absolute frame: zero, which takes no space, before the half's ``first_frame`` (an attribute).
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from footpass.data.cache import Footage, load_footage, prepared_dir
from footpass.data.halves import HalfMatch
from footpass.data.hdf5 import opened
from footpass.data.logits import _dataset, half_fingerprint, logits_path
from footpass.data.provenance import Provenance, mark_file, read_provenance, together, write_marked
from footpass.detectors.clips import ClipConfig, asked_about
from footpass.detectors.spotting import UNADJUSTED, LogitAdjustment, check_model, events_from_store
from footpass.detectors.windows import logits_together
from footpass.events import predictions_path
from footpass.files import DataError, atomic_write, fingerprint, make_folder
from footpass.models.gnn import TAADGNN, GNNConfig
from footpass.models.public import load_reference, read_public
from footpass.models.taad import TAAD, TAADConfig
from footpass.training.checkpoints import load_model
from footpass.training.distributed import join_processes, locked_by_first, rank_and_world, wait_for_all

_DETECTORS: dict[type[nn.Module], type] = {TAAD: TAADConfig, TAADGNN: GNNConfig}


def load_detector(path: str | Path, public: bool | str = False) -> tuple[TAAD | TAADGNN, ClipConfig]:
    """A trained TAAD or TAAD + GNN on the CPU, and the clips that it is for.

    Parameters
    ----------
    public
        The file is a checkpoint of the public repository, at the published sizes. It computes as the
        code there does (`TAADConfig.public`, `GNNConfig.public`, `ClipConfig.public`), or with
        ``"weights"`` as our own models do.
    """
    if public:
        weights = read_public(path)
        graph = any(name.startswith("EdgeMLP") for name in weights)
        theirs = public != "weights"
        model = TAADGNN(GNNConfig(public=theirs)) if graph else TAAD(TAADConfig(public=theirs))
        load_reference(model, weights, path)
        return model, ClipConfig(public=theirs)
    return load_model(path, _DETECTORS, "clips", ClipConfig)


def predict(
    checkpoint: str | Path,
    footage: Mapping[str, Footage],
    run_dir: str | Path,
    split: str,
    device: torch.device | str = "cpu",
    public: bool | str = False,
    adjustment: LogitAdjustment = UNADJUSTED,
) -> pd.DataFrame:
    """Events that a checkpoint finds, after writing `logits_path` and `predictions_path`.

    The logits are written as they are; their adjustment is as in `spotting.events_from_logits`.
    """
    one = Run(checkpoint, run_dir, adjustment)
    (events,) = predict_together([one], footage, split, device, public=public)
    return events


class Run(NamedTuple):
    """A checkpoint to predict with, or one for each half, and the folder for what it says."""

    checkpoint: str | Path | Mapping[str, Path]
    dir: str | Path
    adjustment: LogitAdjustment = UNADJUSTED


class Workers(NamedTuple):
    """Who writes the logits of halves in place of this process, and where they find the data."""

    executor: Executor
    data_dir: str | Path


def predict_together(
    runs: Sequence[Run],
    footage: Mapping[str, Footage],
    split: str,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    public: bool | str = False,
    stride: int | None = None,
    mirrored: bool = False,
    workers: Workers | None = None,
) -> list[pd.DataFrame]:
    """As `predict`, of several checkpoints at once: the videos are decoded once for all.

    ``stride`` and ``mirrored`` are as of `windows.half_logits`. Where there are ``workers``, each
    computes a half at a time, on a device of its own.
    """
    halves = {name: entry.half for name, entry in footage.items()}
    ask = None
    if workers:
        device = "cpu"  # this process only looks at the models
        how = precision, public, stride, mirrored
        ask = partial(_ask, workers, list(footage), runs, split, how)
    stores = [_store(run, halves, split, device, public) for run in runs]
    with ExitStack() as locks:  # of two that write the same, the second finds it done
        for folder in sorted({Path(run.dir).absolute() for run in runs}):
            locks.enter_context(locked_by_first(folder))
        write_together(stores, footage, stride, precision, mirrored, ask)
        tables = []
        for run, store in zip(runs, stores, strict=True):
            events = events_from_store(store.path, halves, store.without_box, run.adjustment)
            if rank_and_world()[0] == 0:
                made = read_provenance(store.path)
                write_marked(events, predictions_path(run.dir, split), made)
            tables.append(events)
    return tables


def _store(
    run: Run,
    halves: Mapping[str, HalfMatch],
    split: str,
    device: torch.device | str,
    public: bool | str,
) -> "Store":
    """What a run is to write, found fault with before hours of inference."""
    given = run.checkpoint
    each = given if isinstance(given, Mapping) else dict.fromkeys(halves, Path(given))
    loaded = {path: load_detector(path, public) for path in dict.fromkeys(each.values())}
    first, *others = ((type(model), clips) for model, clips in loaded.values())
    if any(other != first for other in others):
        raise DataError("folds of several settings: train them all in one way", next(iter(loaded)))
    kind, clips = first
    made_by = f"{kind.__name__} {fingerprint(*loaded)}"
    check_model(run.adjustment, made_by)
    models = {name: loaded[path][0].to(device) for name, path in each.items()}
    store = Store(logits_path(run.dir, split), models, clips, made_by)
    for half in halves.values():
        asked_about(half, store.without_box)
    return store


class Store(NamedTuple):
    """A logit store that is to be written, and the models, by half, whose logits go there."""

    path: Path
    models: Mapping[str, TAAD | TAADGNN]
    clips: ClipConfig
    made_by: str

    @property
    def without_box(self) -> bool:
        """Whether they speak of players without a box too."""
        return next(iter(self.models.values())).without_box

    @property
    def parts(self) -> Path:
        """Folder of the halves that are done."""
        return self.path.with_name(f"{self.path.name}.parts")


def write_together(
    stores: Sequence[Store],
    footage: Mapping[str, Footage],
    stride: int | None = None,
    precision: str = "fp32",
    mirrored: bool = False,
    ask: Callable[[Sequence[Path]], Iterator[str]] | None = None,
) -> None:
    """Write the logits of some halves to stores; what was broken off goes on where it stopped.

    Each half is decoded once for all stores, and its logits are written as they come. Finished halves
    wait beside a store in a folder of parts until all are there. Under `torchrun`, each process takes
    every n-th half, and the first puts the parts together. Halves, of parts or of the store as it was,
    that are not ``made_by`` the checkpoint of this kind and fingerprint, or of another video or other
    boxes, are made anew.

    Parameters
    ----------
    ask
        Has others write the parts of the stores at some paths, and yields each half's name once it has.
    """
    every = zip(stores, _made_of(stores, footage, stride, precision, mirrored), strict=True)
    due = [(store, of) for store, of in every if not _is_complete(store.path, footage, of)]
    if not due:
        return
    for store, _ in due:
        make_folder(store.parts)
    rank, world = rank_and_world()
    if ask:
        for name in ask([store.path for store, _ in due]):
            for *_, part in _missing(due, footage[name]):
                reason = "a worker wrote it elsewhere, or from other data: all must share their folders"
                raise DataError(reason, part, name)
    else:
        mine = list(footage)[rank::world]
        frames = sum(footage[name].half.n_frames for name in mine)
        with tqdm(total=frames, desc="logits", unit="frame", disable=rank > 0) as progress:
            for name in mine:
                _write_half(due, footage[name], progress, stride, precision, mirrored)
    wait_for_all()
    if rank == 0:
        data = together(entry.half.provenance for entry in footage.values())
        for store, made_of in due:
            _put_together(store, footage, made_of, data.by(store.made_by))
    wait_for_all()


def _made_of(
    stores: Sequence[Store],
    footage: Mapping[str, Footage],
    stride: int | None,
    precision: str,
    mirrored: bool,
) -> Iterator[dict[str, str]]:
    """Of each store, what the logits of each half are made of."""
    # Neither times nor places: files may be copied.
    seen = {
        name: (half_fingerprint(entry.half), os.stat(entry.video).st_size)
        for name, entry in footage.items()
    }
    for store in stores:
        clips = store.clips
        how = (clips.frames, clips.size, clips.grow, stride, precision, *["public"] * clips.public)
        how += ("mirrored",) * mirrored
        yield {name: fingerprint(store.made_by, how, *of) for name, of in seen.items()}


_Due = Sequence[tuple[Store, Mapping[str, str]]]  # stores, and what each half is made of


def _missing(due: _Due, footage: Footage) -> list[tuple[Store, str, Path]]:
    """Stores that do not have a half yet, what it is made of, and the path of its part."""
    name = footage.half.name
    each = [(store, made_of, store.parts / f"{name}.h5") for store, made_of in due]
    return [
        (store, made_of[name], part)
        for store, made_of, part in each
        if not any(_is_complete(file, {name: footage}, made_of) for file in (part, store.path))
    ]


def _write_half(
    due: _Due, footage: Footage, progress: tqdm, stride: int | None, precision: str, mirrored: bool
) -> None:
    """The parts of one half that are not there yet."""
    half = footage.half
    todo = _missing(due, footage)
    if not todo:
        progress.update(half.n_frames)
        return
    with ExitStack() as stack:
        streams = [stack.enter_context(atomic_write(part, "w+b")) for *_, part in todo]
        files = [stack.enter_context(h5py.File(stream, "w")) for stream in streams]
        stored = [
            _dataset(file, half, store.made_by, made_of)
            for file, (store, made_of, _) in zip(files, todo, strict=True)
        ]
        models, configs = zip(*((one.models[half.name], one.clips) for one, *_ in todo), strict=True)
        began = time.monotonic()
        for start, logits in logits_together(models, configs, footage, stride, precision, mirrored):
            stop = start + logits.shape[-1]
            for dataset, stream, part in zip(stored, streams, logits, strict=True):
                dataset[:, :, start:stop] = part
                stream.raise_error()
            progress.update(stop - start)
        if len(stored) == 1:  # of several models together, none of them has a speed of its own
            stored[0].attrs["seconds"] = time.monotonic() - began


def _put_together(
    store: Store,
    footage: Mapping[str, Footage],
    made_of: Mapping[str, str],
    provenance: Provenance,
) -> None:
    """One file of the halves' parts, which are removed, and of those that it has had before."""
    parts = store.parts
    with atomic_write(store.path, "w+b") as stream, h5py.File(stream, "w") as whole:
        mark_file(whole, provenance)
        for name, entry in footage.items():
            part = parts / f"{name}.h5"
            source = part if _is_complete(part, {name: entry}, made_of) else store.path
            with h5py.File(source) as file:
                file.copy(name, whole)
            stream.raise_error()
    for name in footage:
        for part in parts.glob(f"*{name}.h5*"):  # what was killed, too
            part.unlink()
    with suppress(OSError):  # other halves' parts may be in it
        parts.rmdir()


def _is_complete(path: Path, footage: Mapping[str, Footage], made_of: Mapping[str, str]) -> bool:
    """Whether a file has the logits of these halves, made in the same way."""
    try:
        with opened(path) as file:
            return all(
                name in file
                and file[name].attrs.get("made_of") == made_of[name]
                and file[name].attrs.get("first_frame") == entry.half.first_frame
                and file[name].shape[-1] == entry.half.end_frame
                for name, entry in footage.items()
            )
    except DataError:  # missing, or damaged
        return False


def _ask(
    workers: Workers,
    names: Sequence[str],
    runs: Sequence[Run],
    split: str,
    how: tuple[Any, ...],
    due: Sequence[Path],
) -> Iterator[str]:
    """Have workers write the parts of the stores at some paths; the name of each half that is done."""
    # Paths alone: of a half and of a model they are told where it lies, and open it themselves.
    data = Path(workers.data_dir).absolute()
    wanted = [_absolute(run) for run in runs if logits_path(run.dir, split) in due]
    order = wanted, split, data, prepared_dir(data).absolute(), *how
    futures = {workers.executor.submit(_write_parts, name, *order): name for name in names}
    try:
        for future in tqdm(as_completed(futures), "logits", len(futures), unit="half"):
            future.result()
            yield futures[future]
    finally:  # after an error nobody wants the rest
        for future in futures:
            future.cancel()


def _absolute(run: Run) -> Run:
    """The same for a process in another working folder."""
    given = run.checkpoint
    if isinstance(given, Mapping):
        given = {name: path.absolute() for name, path in given.items()}
    else:
        given = Path(given).absolute()
    return run._replace(checkpoint=given, dir=Path(run.dir).absolute())


def _write_parts(
    name: str,
    runs: Sequence[Run],
    split: str,
    data_dir: Path,
    cache: Path,
    precision: str,
    public: bool | str,
    stride: int | None,
    mirrored: bool,
) -> None:
    """The parts of one half of all runs, in a worker."""
    device = join_processes()
    entry = load_footage(data_dir, split, name, cache)
    stores = [_store(run, {name: entry.half}, split, device, public) for run in runs]
    made_of = _made_of(stores, {name: entry}, stride, precision, mirrored)
    due = list(zip(stores, made_of, strict=True))
    _write_half(due, entry, tqdm(disable=True), stride, precision, mirrored)
