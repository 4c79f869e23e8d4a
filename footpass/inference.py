"""Inference: halves to logits, window by window, and logits to events.

A logit store is an HDF5 file with one dataset per half, float16 ``(9, 26, frames)``, whose last axis is
the absolute frame: zero, which takes no space, before the half's ``first_frame`` (an attribute).
"""

import hashlib
import json
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from scipy.ndimage import gaussian_filter1d
from torch import nn
from tqdm.auto import tqdm

from footpass.clips import ClipConfig, Footage, Inputs, asked_about, game_state, window_boxes
from footpass.configs import build, check_types, plain
from footpass.events import class_counts, concat, load_json
from footpass.files import DataError, atomic_write, make_folder
from footpass.halves import HalfMatch
from footpass.metrics import evaluate
from footpass.models.x3d import normalise
from footpass.postprocess import NMS, nms
from footpass.processes import rank_and_world, shard, wait_for_all
from footpass.schema import ACTIONS, N_CLASSES, N_ROLES, N_SLOTS, Action
from footpass.training import autocast
from footpass.video import VideoReader

NMS_WINDOW = 25  # frames
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
        Takes `clips.Inputs` on the device that it is on; it is put into evaluation mode.
    config
        What the model was trained on: length and size of clips, growth of boxes.
    stride
        Frames from window to window; None: half a window, so that each frame is seen twice.
    precision
        fp32, bf16 or fp16.

    Yields
    ------
    tuple[int, np.ndarray]
        Absolute frame, and float32 ``(9, 26, n)`` of the ``n`` frames from it on: one stretch after the
        other, without gaps.

    Raises
    ------
    DataError
        If the stride is longer than a window, or a frame of the half cannot be read.
    """
    stride = config.frames // 2 if stride is None else stride
    if not 1 <= stride <= config.frames:
        raise DataError(f"stride {stride}: windows of {config.frames} frames would leave gaps")
    half = footage.half
    device = next(model.parameters()).device
    model.eval()
    total = np.zeros((N_CLASSES, N_SLOTS, 0), np.float32)  # of the frames that are not finished
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
                logits = model(*inputs)[0]  # (9, 26, T)
            fresh = len(pixels) - len(passes)
            total = np.pad(total, ((0, 0), (0, 0), (0, fresh))) + logits.float().cpu().numpy()
            passes = np.pad(passes, (0, fresh)) + 1
    yield begin, total / passes


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


def window_inputs(
    window: HalfMatch, pixels: np.ndarray, config: ClipConfig, device: torch.device | str
) -> Inputs:
    """All 26 slots of a window of a half, with its pictures ``(T, H, W, 3)``, as a batch of one clip."""
    slots = np.arange(N_SLOTS)
    clip = torch.from_numpy(pixels).to(device)[None].movedim(-1, 1)  # (1, 3, T, H, W)
    boxes = torch.from_numpy(window_boxes(window, slots, config.grow, config.size)).to(device)
    visible = boxes.isfinite().all(-1)  # (26, T)
    state = torch.from_numpy(np.ascontiguousarray(window.state))  # (5, 26, T)
    game = game_state(state[None], torch.from_numpy(slots)[None], device)
    return Inputs(normalise(clip), boxes[None], visible[None], *game)


# ---------------------------------------------------------------------------------------------------
# The logit store


def write_logits(
    model: nn.Module,
    footage: Mapping[str, Footage],
    path: str | Path,
    config: ClipConfig,
    mark: str,
    stride: int | None = None,
    precision: str = "fp32",
) -> Path:
    """Write the logits of some halves to a store; one that was broken off goes on where it stopped.

    Finished halves wait beside ``path`` in a folder of parts until all are there. Under `torchrun`, each
    process takes every n-th half, and the first puts the parts together.

    Parameters
    ----------
    mark
        What made the logits, such as the fingerprint of a checkpoint: parts and stores with another one,
        or of another video or other boxes, are made anew.

    Raises
    ------
    DataError
        As in `half_logits`, or if a file cannot be written.
    """
    path = Path(path)
    # Everything that the logits depend on.
    mark = f"{mark} {config.frames} {config.size} {config.grow} {stride} {precision}"
    marks = {name: _made_by(mark, entry) for name, entry in footage.items()}
    if _is_complete(path, footage, marks):
        return path
    parts = path.with_name(f"{path.name}.parts")
    make_folder(parts)
    rank, world = rank_and_world()
    mine = shard(list(footage), rank, world)
    frames = sum(footage[name].half.n_frames for name in mine)
    with tqdm(total=frames, desc="logits", unit="frame", disable=rank > 0) as progress:
        for name in mine:
            half = footage[name].half
            part = parts / f"{name}.h5"
            if _is_complete(part, {name: footage[name]}, marks):
                progress.update(half.n_frames)
                continue
            with atomic_write(part, "w+b") as stream, h5py.File(stream, "w") as file:
                stored, began = _dataset(file, half, marks[name]), time.monotonic()
                for start, logits in half_logits(model, footage[name], config, stride, precision):
                    stored[:, :, start : start + logits.shape[-1]] = logits
                    progress.update(logits.shape[-1])
                stored.attrs["seconds"] = time.monotonic() - began
    wait_for_all()
    if rank == 0:
        with atomic_write(path, "w+b") as stream, h5py.File(stream, "w") as store:
            for name in footage:
                with h5py.File(parts / f"{name}.h5") as file:
                    file.copy(name, store)
        for name in footage:
            for part in (*parts.glob(f".{name}.h5.*"), parts / f"{name}.h5"):  # and what was killed
                part.unlink()
        with suppress(OSError):  # other halves' parts may be in it
            parts.rmdir()
    wait_for_all()
    return path


def _made_by(mark: str, footage: Footage) -> str:
    """All that the logits of a half depend on; neither times nor places, so that they may be copied."""
    digest = hashlib.sha256(str(os.stat(footage.video).st_size).encode())
    for part in (footage.half.state, footage.half.boxes):
        digest.update(np.ascontiguousarray(part).tobytes())
    return f"{mark} {digest.hexdigest()[:12]}"


def _dataset(file: h5py.File, half: HalfMatch, made_by: str) -> h5py.Dataset:
    stored = file.create_dataset(
        half.name,
        (N_CLASSES, N_SLOTS, half.end_frame),
        "f2",
        chunks=(N_CLASSES, N_SLOTS, min(250, half.end_frame)),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
    stored.attrs["first_frame"] = half.first_frame
    stored.attrs["made_by"] = made_by
    return stored


def _is_complete(path: Path, footage: Mapping[str, Footage], marks: Mapping[str, str]) -> bool:
    """Whether a file has the logits of these halves, made in the same way."""
    try:
        with h5py.File(path) as file:
            return all(
                name in file
                and file[name].attrs.get("made_by") == marks[name]
                and file[name].attrs.get("first_frame") == entry.half.first_frame
                and file[name].shape[-1] == entry.half.end_frame
                for name, entry in footage.items()
            )
    except (OSError, KeyError, RuntimeError):  # missing, or damaged in one of HDF5's ways
        return False


def frames_per_second(path: str | Path) -> float | None:
    """How fast the logits of a store were made; None if there is none, or it does not say."""
    try:
        with h5py.File(path) as file:
            frames = sum(half.shape[-1] - half.attrs["first_frame"] for half in file.values())
            return float(frames / sum(half.attrs["seconds"] for half in file.values()))
    except (OSError, KeyError, ZeroDivisionError):
        return None


def read_logits(path: str | Path, half: HalfMatch) -> np.ndarray:
    """Logits of a half's frames, float16 ``(9, 26, T)``, on the same axis as its other arrays.

    Raises
    ------
    DataError
        If the file is not a logit store, or has no such half, or fewer frames of it.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: no such file: predict the split with the run first")
    try:
        with h5py.File(path) as file:
            stored = file.get(half.name)
            if not isinstance(stored, h5py.Dataset):
                raise DataError(f"{path}: no half {half.name}; it has {', '.join(file) or 'none'}")
            expected = (N_CLASSES, N_SLOTS, half.end_frame)
            if stored.shape[:2] != expected[:2] or stored.shape[2] < half.end_frame:
                raise DataError(
                    f"{path}: half {half.name}: logits of shape {stored.shape} instead of {expected}"
                )
            return stored[:, :, half.first_frame : half.end_frame]
    except (OSError, KeyError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read or is damaged: {error}") from error


# ---------------------------------------------------------------------------------------------------
# Events


@dataclass(frozen=True)
class LogitAdjustment:
    """What is done to a detector's logits before events are read from them; by default nothing.

    Attributes
    ----------
    smoothing
        Standard deviation, in frames, of the Gaussian by which logits are averaged over time.
    offsets
        Added to the logits of the classes, background first.
    """

    smoothing: float = 0.0
    offsets: tuple[float, ...] = (0.0,) * N_CLASSES

    def __post_init__(self) -> None:
        check_types(self)
        if self.smoothing < 0 or len(self.offsets) != N_CLASSES:
            raise DataError(f"not an adjustment of logits: {self}")

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """The logits ``(9, M, T)``, adjusted."""
        if self.smoothing:
            logits = gaussian_filter1d(logits.astype(np.float32), self.smoothing, mode="nearest")
        if any(self.offsets):
            logits = logits + np.array(self.offsets, np.float32)[:, None, None]
        return logits


UNADJUSTED = LogitAdjustment()


def spot(
    logits: np.ndarray, asked: np.ndarray, window: int = NMS_WINDOW
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Where a tracklet's likeliest class is an action, and no better such frame is near.

    Parameters
    ----------
    logits, asked
        ``(9, M, T)`` and bool ``(M, T)``. Nothing is found where a model is not asked (`asked_about`):
        it was never taught what to say there.
    window
        Of two finds of one tracklet and class at most so many frames apart, the better one stays, of
        equals the earlier.

    Returns
    -------
    tuple of np.ndarray
        Tracklet, frame, class and score (the class's probability), ``(N,)`` each, by frame.

    Raises
    ------
    DataError
        If a logit is not finite: the model has diverged.
    """
    if not np.isfinite(logits).all(axis=0)[asked].all():
        raise DataError("logits that are not finite: the model has diverged")
    best = logits.argmax(axis=0)  # (M, T)
    frame, tracklet = np.nonzero(((best != Action.BACKGROUND) & asked).T)
    x = logits[:, tracklet, frame].astype(np.float64)  # (9, N)
    cls = best[tracklet, frame]
    # In order, so that of two frames with the same logits neither is better by a rounding error.
    score = 1 / np.exp(np.sort(x, axis=0) - x.max(axis=0)).sum(axis=0)
    half = pd.Categorical.from_codes(np.zeros(len(frame), int), categories=["any"])
    table = dict(half=half, team=0, jersey=tracklet, frame=frame, cls=cls, score=score)
    kept = nms(pd.DataFrame(table), NMS(window)).table.index
    return tracklet[kept], frame[kept], cls[kept], score[kept]


def events_from_logits(
    logits: np.ndarray,
    half: HalfMatch,
    window: int = NMS_WINDOW,
    everyone: bool = False,
    adjustment: LogitAdjustment = UNADJUSTED,
) -> pd.DataFrame:
    """Events of a half, as of `spot`.

    Parameters
    ----------
    logits
        ``(9, 26, T)`` of the half's frames.
    everyone
        As of `asked_about`: what a graph model says of players without a box counts too.
    adjustment
        Of the logits, as of `fit_adjustment`.

    Returns
    -------
    pd.DataFrame
        ``half, frame, team, jersey, cls, score``, by frame; the jersey is that of the slot at the frame,
        -1 where it is never known.

    Raises
    ------
    DataError
        If the logits are not of these frames, or are not finite; or as in `asked_about`.
    """
    expected = (N_CLASSES, *half.jersey.shape)
    if logits.shape != expected:
        raise DataError(f"half {half.name}: logits of shape {logits.shape} instead of {expected}")
    asked = asked_about(half, everyone)
    try:
        slots, at, cls, score = spot(adjustment(logits), asked, window)
    except DataError as error:
        raise DataError(f"half {half.name}: {error}") from error
    frames = at + half.first_frame
    return pd.DataFrame(
        {
            "half": pd.Categorical.from_codes(np.zeros(len(at), int), categories=[half.name]),
            "frame": frames,
            "team": slots // N_ROLES,
            "jersey": half.jersey_at(slots, frames).astype(np.int64),
            "cls": cls.astype(np.int64),
            "score": score.astype(np.float64),
        }
    )


def events_from_store(
    path: str | Path,
    halves: Mapping[str, HalfMatch],
    everyone: bool = False,
    adjustment: LogitAdjustment = UNADJUSTED,
) -> pd.DataFrame:
    """Events of some halves of a logit store, see `events_from_logits`."""
    return concat(
        events_from_logits(read_logits(path, half), half, everyone=everyone, adjustment=adjustment)
        for half in halves.values()
    )


SMOOTHINGS = tuple(np.arange(0.0, 3.5, 0.5).tolist())
_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_BACKGROUNDS = tuple(np.arange(-2.0, 4.5, 0.5).tolist())


def fit_adjustment(
    logits: Mapping[str, np.ndarray],
    halves: Mapping[str, HalfMatch],
    truth: pd.DataFrame,
    everyone: bool = False,
    smoothings: Sequence[float] = SMOOTHINGS,
) -> LogitAdjustment:
    """The adjustment with which a detector's events have the best macro F1, none if none is better.

    Three numbers, the best of a grid. A detector learns from single frames of short clips, so the
    highest of thousands of frames is often noise: averaging over neighbours takes it off. And it learns
    from clips in which all classes are about as frequent, so it takes rare ones to be as likely as
    frequent ones: class c's offset is ``strength * log(share of c among all events)`` (logit adjustment,
    Menon et al. 2021, arXiv 2007.07314), the background has one of its own.

    Parameters
    ----------
    logits, halves, truth
        Of halves that the detector has not learned from, ``(9, 26, T)`` each, and their events.
    smoothings
        To choose from; ``(0.0,)`` fits the offsets alone.

    Raises
    ------
    DataError
        If there are no halves, or as in `events_from_logits`.
    """
    if not halves:
        raise DataError("no halves to fit the adjustment of logits on")
    share = (class_counts(truth) + 1) / (len(truth) + len(ACTIONS))

    def score(volumes: Mapping[str, np.ndarray], adjustment: LogitAdjustment) -> float:
        tables = (
            events_from_logits(volumes[name], half, NMS_WINDOW, everyone, adjustment)
            for name, half in halves.items()
        )
        return evaluate(concat(tables), truth).macro_f1

    best, chosen = score(logits, UNADJUSTED), UNADJUSTED
    for smoothing in tqdm(smoothings, desc="adjustment", leave=False):
        smooth = {name: LogitAdjustment(smoothing)(volume) for name, volume in logits.items()}
        for strength, background in product(_STRENGTHS, _BACKGROUNDS):
            offsets = (background, *(strength * np.log(share)).tolist())
            if (value := score(smooth, LogitAdjustment(0.0, offsets))) > best:
                best, chosen = value, LogitAdjustment(smoothing, offsets)
    return chosen


def adjustment_from_store(
    path: str | Path,
    halves: Mapping[str, HalfMatch],
    truth: pd.DataFrame,
    everyone: bool = False,
    smoothings: Sequence[float] = SMOOTHINGS,
) -> LogitAdjustment:
    """Adjustment fitted on some halves of a logit store, see `fit_adjustment`."""
    logits = {name: read_logits(path, half) for name, half in halves.items()}
    return fit_adjustment(logits, halves, truth, everyone, smoothings)


def write_adjustment(adjustment: LogitAdjustment, path: str | Path) -> None:
    """Write an adjustment as JSON, atomically."""
    with atomic_write(path) as stream:
        json.dump(plain(adjustment), stream)


def read_adjustment(path: str | Path) -> LogitAdjustment:
    """Read an adjustment.

    Raises
    ------
    DataError
        If the file is not one.
    """
    content = load_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: not an adjustment of logits (predict --fit-adjustment writes one)")
    try:
        return build(LogitAdjustment, content)
    except DataError as error:
        raise DataError(f"{path}: not an adjustment of logits: {error}") from error
