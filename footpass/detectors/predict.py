"""Inference: halves to logits, window by window, and logits to events.

A logit store is an HDF5 file with one dataset per half, float16 ``(9, 26, frames)``, whose last axis is
the absolute frame: zero, which takes no space, before the half's ``first_frame`` (an attribute).
"""

import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from footpass.data.cache import Footage
from footpass.data.halves import HalfMatch
from footpass.data.hdf5 import opened
from footpass.data.logits import _dataset, half_fingerprint, logits_path
from footpass.data.provenance import Provenance, mark_file, read_provenance, together, write_marked
from footpass.data.video import VideoReader
from footpass.detectors.clips import ClipConfig, asked_about
from footpass.detectors.inputs import window_inputs
from footpass.detectors.spotting import UNADJUSTED, LogitAdjustment, check_model, events_from_store
from footpass.events import predictions_path
from footpass.files import DataError, atomic_write, fingerprint, make_folder
from footpass.models.gnn import TAADGNN, GNNConfig
from footpass.models.public import load_reference, read_public
from footpass.models.taad import TAAD, TAADConfig
from footpass.models.x3d import folded
from footpass.schema import N_CLASSES
from footpass.training.checkpoints import load_model
from footpass.training.distributed import locked_by_first, rank_and_world, wait_for_all
from footpass.training.optim import autocast

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
    model, clips = load_detector(checkpoint, public)
    halves = {name: entry.half for name, entry in footage.items()}
    for half in halves.values():
        asked_about(half, model.without_box)  # before hours of inference
    path = logits_path(run_dir, split)
    made_by = f"{type(model).__name__} {fingerprint(Path(checkpoint))}"
    check_model(adjustment, made_by)
    with locked_by_first(run_dir):  # of two that write the same, the second finds it done
        write_logits(model.to(device), footage, path, clips, made_by, precision=precision)
        events = events_from_store(path, halves, model.without_box, adjustment)
        if rank_and_world()[0] == 0:
            out = predictions_path(run_dir, split)
            write_marked(events, out, read_provenance(path))
    return events


# Pixels of a window for each thread of the CPU. What a single operation has to do in a small window is
# not worth sharing: on a busy machine threads that wait for each other made it ten times slower.
_PIXELS_A_THREAD = 2_000_000


def half_logits(
    model: nn.Module,
    footage: Footage,
    config: ClipConfig,
    stride: int | None = None,
    precision: str = "fp32",
) -> Iterator[tuple[int, np.ndarray]]:
    """Logits of all slots at all frames of a half, averaged over overlapping windows.

    Every frame is decoded once, the next window while one is computed, and no more are in memory. The
    last window is as long as there are frames left.

    Parameters
    ----------
    model
        Takes `detectors.inputs.ModelInputs` on the device that it is on; it computes in evaluation mode.
    config
        What the model was trained on: length and size of clips, growth of boxes.
    stride
        Frames from window to window; None: half a window, so that each frame is seen twice.

    Yields
    ------
    tuple[int, np.ndarray]
        Absolute frame, and float32 ``(9, 26, n)`` of the ``n`` frames from it on: one stretch after the
        other, without gaps.
    """
    stride = config.frames // 2 if stride is None else stride
    if not 1 <= stride <= config.frames:
        raise DataError(f"stride {stride}: windows of {config.frames} frames would leave gaps")
    half = footage.half
    device = next(model.parameters()).device
    model = folded(model)
    total = np.zeros((N_CLASSES, len(half.jersey), 0), np.float32)  # of the frames that are not finished
    passes = np.zeros(0, np.float32)
    begin = half.first_frame  # the first of them
    places = half.first_frame, half.end_frame, config.frames, stride
    # Whatever ends this, nobody decodes the video any more when it is closed.
    with (
        VideoReader(footage.video, config.size) as reader,
        closing(_ahead(reader.windows(*places))) as windows,
    ):
        for start, pixels in windows:
            if start > begin:
                ready = start - begin
                yield begin, total[..., :ready] / passes[:ready]
                total, passes, begin = total[..., ready:], passes[ready:], start
            amp = autocast(device, precision)
            # Not around a yield: they would hold for the caller too.
            with torch.inference_mode(), amp, _few_threads(pixels):
                inputs = window_inputs(half.window(start, start + len(pixels)), pixels, config, device)
                logits = model(*inputs)[0, ..., : len(pixels)]  # (9, 26, T)
            fresh = len(pixels) - len(passes)
            total = np.pad(total, ((0, 0), (0, 0), (0, fresh))) + logits.float().cpu().numpy()
            passes = np.pad(passes, (0, fresh)) + 1
    yield begin, total / passes


def logits_of_versions(
    model: TAAD | TAADGNN, versions: Sequence[HalfMatch], video: Path, config: ClipConfig
) -> list[np.ndarray]:
    """Logits ``(9, 26, T)`` of one half by several accounts of who was where, its pictures seen once.

    Looking at the pictures is nearly all that a TAAD does; what it says of a player depends on these and
    his own boxes alone.

    Parameters
    ----------
    versions
        On the same frames.
    """
    if model.without_box:
        raise DataError("a graph model reads who else is there: predict each version by itself")
    wide = replace(
        versions[0],
        state=np.concatenate([half.state for half in versions], axis=1),
        boxes=np.concatenate([half.boxes for half in versions]),
        jersey=np.concatenate([half.jersey for half in versions]),
        labels=None,
    )
    with tqdm(total=wide.n_frames, desc="logits", unit="frame") as progress:
        parts = []
        for _, logits in half_logits(model, Footage(wide, video), config):
            parts.append(logits)
            progress.update(logits.shape[-1])
    return np.split(np.concatenate(parts, axis=-1), len(versions), axis=1)


def _ahead(windows: Iterator[tuple[int, np.ndarray]]) -> Generator[tuple[int, np.ndarray]]:
    """The same windows, each decoded while the one before is computed."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, windows, None)
        while (window := coming.result()) is not None:
            coming = pool.submit(next, windows, None)
            yield window


@contextmanager
def _few_threads(pixels: np.ndarray) -> Iterator[None]:
    """No more threads than a window's pictures ``(T, H, W, 3)`` are worth."""
    threads = torch.get_num_threads()
    torch.set_num_threads(min(threads, 1 + pixels[..., 0].size // _PIXELS_A_THREAD))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def write_logits(
    model: nn.Module,
    footage: Mapping[str, Footage],
    path: str | Path,
    config: ClipConfig,
    made_by: str,
    stride: int | None = None,
    precision: str = "fp32",
) -> Path:
    """Write the logits of some halves to a store; one that was broken off goes on where it stopped.

    Finished halves wait beside ``path`` in a folder of parts until all are there. Under `torchrun`, each
    process takes every n-th half, and the first puts the parts together. Parts and stores that are not
    ``made_by`` the checkpoint of this kind and fingerprint, or of another video or other boxes, are made
    anew.
    """
    path = Path(path)
    how = (config.frames, config.size, config.grow, stride, precision, *["public"] * config.public)
    made_of = {  # neither times nor places: files may be copied
        name: fingerprint(made_by, how, half_fingerprint(entry.half), os.stat(entry.video).st_size)
        for name, entry in footage.items()
    }
    if _is_complete(path, footage, made_of):
        return path
    parts = path.with_name(f"{path.name}.parts")
    make_folder(parts)
    rank, world = rank_and_world()
    mine = list(footage)[rank::world]
    frames = sum(footage[name].half.n_frames for name in mine)
    with tqdm(total=frames, desc="logits", unit="frame", disable=rank > 0) as progress:
        for name in mine:
            half = footage[name].half
            part = parts / f"{name}.h5"
            if _is_complete(part, {name: footage[name]}, made_of):
                progress.update(half.n_frames)
                continue
            with atomic_write(part, "w+b") as stream, h5py.File(stream, "w") as file:
                stored, began = _dataset(file, half, made_by, made_of[name]), time.monotonic()
                for start, logits in half_logits(model, footage[name], config, stride, precision):
                    stored[:, :, start : start + logits.shape[-1]] = logits
                    stream.raise_error()
                    progress.update(logits.shape[-1])
                stored.attrs["seconds"] = time.monotonic() - began
    wait_for_all()
    if rank == 0:
        data = together(entry.half.provenance for entry in footage.values())
        _put_together(path, parts, list(footage), data.by(made_by))
    wait_for_all()
    return path


def _put_together(path: Path, parts: Path, names: list[str], provenance: Provenance) -> None:
    """One store of the halves' parts, which are removed."""
    with atomic_write(path, "w+b") as stream, h5py.File(stream, "w") as store:
        mark_file(store, provenance)
        for name in names:
            with h5py.File(parts / f"{name}.h5") as file:
                file.copy(name, store)
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
