"""A half's logits: windows decoded ahead, computed side by side, and averaged where they overlap."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from footpass.data.cache import Footage
from footpass.data.halves import HalfMatch
from footpass.data.video import VideoReader
from footpass.detectors.clips import ClipConfig
from footpass.detectors.inputs import ModelInputs, mirror_inputs, window_inputs
from footpass.files import DataError
from footpass.models.gnn import TAADGNN
from footpass.models.taad import TAAD, Detector, PlayerFeatures
from footpass.models.x3d import folded
from footpass.schema import N_CLASSES
from footpass.training.optim import autocast

# Pixels of a window for each thread of the CPU. What a single operation has to do in a small window is
# not worth sharing: on a busy machine threads that wait for each other made it ten times slower.
_PIXELS_A_THREAD = 2_000_000


def half_logits(
    model: nn.Module,
    footage: Footage,
    config: ClipConfig,
    stride: int | None = None,
    precision: str = "fp32",
    mirrored: bool = False,
) -> Iterator[tuple[int, np.ndarray]]:
    """Logits of all slots at all frames of a half, averaged over overlapping windows.

    Every frame is decoded once, a window while those before it are computed: on a CPU as many at a time
    as it has threads for. No more are in memory. The last window is as long as there are frames left.

    Parameters
    ----------
    model
        Takes `detectors.inputs.ModelInputs` on the device that it is on; it computes in evaluation mode.
    config
        What the model was trained on: length and size of clips, growth of boxes.
    stride
        Frames from window to window; None: half a window, so that each frame is seen twice.
    mirrored
        Average with what the model says of the mirrored match, which takes twice as long.

    Yields
    ------
    tuple[int, np.ndarray]
        Absolute frame, and float32 ``(9, 26, n)`` of the ``n`` frames from it on: one stretch after the
        other, without gaps.
    """
    for start, logits in logits_together([model], [config], footage, stride, precision, mirrored):
        yield start, logits[0]


def logits_together(
    models: Sequence[nn.Module],
    configs: Sequence[ClipConfig],
    footage: Footage,
    stride: int | None,
    precision: str,
    mirrored: bool,
) -> Iterator[tuple[int, np.ndarray]]:
    """`half_logits` of several models, ``(models, 9, 26, n)``, from the same pictures."""
    shapes = {(config.frames, config.size) for config in configs}
    if len(shapes) > 1:
        clips = " and ".join(f"{frames} frames of {h} x {w}" for frames, (h, w) in sorted(shapes))
        raise DataError(f"clips of {clips}: models that see other pictures are run one by one")
    ((length, size),) = shapes
    stride = length // 2 if stride is None else stride
    if not 1 <= stride <= length:
        raise DataError(f"stride {stride}: windows of {length} frames would leave gaps")
    half = footage.half
    device = next(models[0].parameters()).device
    models = _folded(models)
    # Inference asks no more of a config than how boxes are drawn: those that agree share their inputs.
    configs = [replace(configs[0], grow=config.grow, public=config.public) for config in configs]
    # Of the frames that are not finished.
    total = np.zeros((len(models), N_CLASSES, len(half.jersey), 0), np.float32)
    passes = np.zeros(0, np.float32)
    begin = half.first_frame  # the first of them
    places = half.first_frame, half.end_frame, length, stride

    def compute(start: int, pixels: np.ndarray) -> np.ndarray:
        window = half.window(start, start + len(pixels))
        with torch.inference_mode(), autocast(device, precision):
            seen = {config: window_inputs(window, pixels, config, device) for config in set(configs)}
            logits = _logits(models, [seen[config] for config in configs])
            if mirrored:
                turned = {config: mirror_inputs(inputs) for config, inputs in seen.items()}
                logits = (logits + _logits(models, [turned[config] for config in configs])) / 2
            return logits[..., : len(pixels)].cpu().numpy()  # (models, 9, 26, T)

    share = _threads(length * size[0] * size[1])
    at_once = torch.get_num_threads() // share if device.type == "cpu" else 1
    # Whatever ends this, nobody decodes the video any more when it is closed.
    with (
        VideoReader(footage.video, size) as reader,
        closing(_ahead(reader.windows(*places))) as windows,
        closing(_computed(windows, compute, at_once, share)) as computed,
    ):
        for start, logits in computed:
            if start > begin:
                ready = start - begin
                yield begin, total[..., :ready] / passes[:ready]
                total, passes, begin = total[..., ready:], passes[ready:], start
            fresh = logits.shape[-1] - len(passes)
            total = np.pad(total, ((0, 0), (0, 0), (0, 0), (0, fresh))) + logits
            passes = np.pad(passes, (0, fresh)) + 1
    yield begin, total / passes


def _logits(models: Sequence[nn.Module], inputs: Sequence[ModelInputs]) -> Tensor:
    """``(models, 9, M, T)`` of a clip, in float32."""
    return torch.stack([model(*given)[0].float() for model, given in zip(models, inputs, strict=True)])


def _folded(models: Sequence[nn.Module]) -> list[Any]:
    """Copies for inference; those whose features have the same weights share them."""
    copies: list[Any] = [folded(model) for model in models]
    known: list[tuple[PlayerFeatures, _Shared]] = []  # as they were, and folded
    for model, copy in zip(models, copies, strict=True):
        if isinstance(model, Detector):
            found = [shared for other, shared in known if _alike(other, model.features)]
            copy.features = found[0] if found else _Shared(copy.features)
            known.append((model.features, copy.features))
    return copies


def _alike(one: PlayerFeatures, other: PlayerFeatures) -> bool:
    """Whether they say the same of every clip."""
    mine, theirs = one.state_dict(), other.state_dict()
    same = one.public == other.public and mine.keys() == theirs.keys()
    return same and all(mine[name].equal(theirs[name]) for name in mine)


class _Shared(nn.Module):
    """Features that several models have in common, computed for the first that asks about a clip."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.last = threading.local()  # windows are computed side by side

    def forward(self, *clip: Tensor) -> Tensor:
        seen = getattr(self.last, "clip", ())
        if [*map(id, seen)] != [*map(id, clip)]:
            self.last.clip, self.last.found = clip, self.features(*clip)
        return self.last.found


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


def _threads(pixels: int) -> int:
    """How many threads of the CPU a window of so many pixels is worth."""
    return min(torch.get_num_threads(), 1 + pixels // _PIXELS_A_THREAD)


def _computed(
    windows: Iterator[tuple[int, np.ndarray]],
    compute: Callable[[int, np.ndarray], np.ndarray],
    at_once: int,
    threads: int,
) -> Generator[tuple[int, np.ndarray]]:
    """The first frame of each window and what is computed of it, in order; so many are at once."""
    mine, coming = torch.get_num_threads(), deque[tuple[int, Future]]()
    pool = ThreadPoolExecutor(at_once, initializer=torch.set_num_threads, initargs=(threads,))
    try:
        for start, pixels in windows:
            coming.append((start, pool.submit(compute, start, pixels)))
            if len(coming) > at_once:
                first, done = coming.popleft()
                yield first, done.result()
        for first, done in coming:
            yield first, done.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(mine)  # threads to come begin with what was set last
