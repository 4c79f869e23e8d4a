"""Inference: halves to logits (`detectors.windows`), and logits to events.

A logit store is an HDF5 file with one dataset per half, float16 ``(9, 26, frames)``, whose last axis is
the absolute frame: zero, which takes no space, before the half's ``first_frame`` (an attribute).
"""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import h5py
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from footpass.data.cache import Footage
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
from footpass.training.distributed import locked_by_first, rank_and_world, wait_for_all

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
    precision: str = "fp32",
    public: bool | str = False,
    adjustment: LogitAdjustment = UNADJUSTED,
) -> pd.DataFrame:
    """Events that a checkpoint finds, after writing `logits_path` and `predictions_path`.

    The logits are written as they are; their adjustment is as in `spotting.events_from_logits`.
    """
    one = Run(checkpoint, run_dir, adjustment)
    (events,) = predict_together([one], footage, split, device, precision, public)
    return events


class Run(NamedTuple):
    """A checkpoint to predict with, or one for each half, and the folder for what it says."""

    checkpoint: str | Path | Mapping[str, Path]
    dir: str | Path
    adjustment: LogitAdjustment = UNADJUSTED


def predict_together(
    runs: Sequence[Run],
    footage: Mapping[str, Footage],
    split: str,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    public: bool | str = False,
    stride: int | None = None,
    mirrored: bool = False,
) -> list[pd.DataFrame]:
    """As `predict`, of several checkpoints at once: the videos are decoded once for all.

    ``stride`` and ``mirrored`` are as of `half_logits`.
    """
    halves = {name: entry.half for name, entry in footage.items()}
    stores = [_store(run, halves, split, device, public) for run in runs]
    with ExitStack() as locks:  # of two that write the same, the second finds it done
        for folder in sorted({Path(run.dir).absolute() for run in runs}):
            locks.enter_context(locked_by_first(folder))
        write_together(stores, footage, stride, precision, mirrored)
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
) -> None:
    """Write the logits of some halves to stores; what was broken off goes on where it stopped.

    Each half is decoded once for all stores, and its logits are written as they come. Finished halves
    wait beside a store in a folder of parts until all are there. Under `torchrun`, each process takes
    every n-th half, and the first puts the parts together. Parts and stores that are not ``made_by`` the
    checkpoint of this kind and fingerprint, or of another video or other boxes, are made anew.
    """
    # Neither times nor places: files may be copied.
    seen = {
        name: (half_fingerprint(entry.half), os.stat(entry.video).st_size)
        for name, entry in footage.items()
    }
    due = []  # stores, and what each half is made of
    for store in stores:
        clips = store.clips
        how = (clips.frames, clips.size, clips.grow, stride, precision, *["public"] * clips.public)
        how += ("mirrored",) * mirrored
        made_of = {name: fingerprint(store.made_by, how, *of) for name, of in seen.items()}
        if not _is_complete(store.path, footage, made_of):
            make_folder(store.parts)
            due.append((store, made_of))
    if not due:
        return
    rank, world = rank_and_world()
    mine = list(footage)[rank::world]
    frames = sum(footage[name].half.n_frames for name in mine)
    with tqdm(total=frames, desc="logits", unit="frame", disable=rank > 0) as progress:
        for name in mine:
            _write_half(due, footage[name], progress, stride, precision, mirrored)
    wait_for_all()
    if rank == 0:
        data = together(entry.half.provenance for entry in footage.values())
        for store, _ in due:
            _put_together(store, list(footage), data.by(store.made_by))
    wait_for_all()


def _write_half(
    due: Sequence[tuple[Store, Mapping[str, str]]],
    footage: Footage,
    progress: tqdm,
    stride: int | None,
    precision: str,
    mirrored: bool,
) -> None:
    """The parts of one half that are not there yet."""
    half = footage.half
    todo = [
        (store, made_of[half.name], store.parts / f"{half.name}.h5")
        for store, made_of in due
        if not _is_complete(store.parts / f"{half.name}.h5", {half.name: footage}, made_of)
    ]
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
        for dataset in stored:
            dataset.attrs["seconds"] = time.monotonic() - began


def _put_together(store: Store, names: list[str], provenance: Provenance) -> None:
    """One file of the halves' parts, which are removed."""
    parts = store.parts
    with atomic_write(store.path, "w+b") as stream, h5py.File(stream, "w") as whole:
        mark_file(whole, provenance)
        for name in names:
            with h5py.File(parts / f"{name}.h5") as file:
                file.copy(name, whole)
            stream.raise_error()
    for name in names:
        for part in (*parts.glob(f".{name}.h5.*"), parts / f"{name}.h5"):  # and what was killed
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
