"""How long a step takes here: a few of each kind, from pictures to updated weights."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from footpass.data.cache import Footage
from footpass.detectors.clips import ClipDataset, learnable_events
from footpass.detectors.recipes import TAADRecipe
from footpass.detectors.train import ClipLoss
from footpass.detectors.windows import half_logits
from footpass.training.config import TrainConfig
from footpass.training.loop import Loss, load_batches, micro_batches, run_epoch
from footpass.training.optim import Updates

_STEPS = 3  # measured, after one to warm up
_ENOUGH = 2e11  # operations of a measured micro-batch on a CPU: seconds
_clock = time.perf_counter


def step_seconds(
    model: nn.Module,
    data: Any,
    loss: Loss,
    config: TrainConfig,
    flops: float,
    collate: Callable | None = None,
) -> float:
    """Seconds of a sample in training, loading included, where a micro-batch has so many ``flops``."""
    device, batch, size = next(model.parameters()).device, config.batch, len(data)
    if device.type == "cpu":
        batch = max(1, min(batch, int(batch * _ENOUGH / flops)))
    config = replace(config, batch=batch, accumulate=1)
    updates = Updates(model, config, per_epoch=size)
    micro = micro_batches(size, config, epoch=0)[: 1 + _STEPS]
    began = _clock()
    batches = list(load_batches(data, size, micro, collate, 0, device))
    loads = (_clock() - began) / sum(len(part.samples) for part in micro)
    run_epoch(model, batches[:1], loss, updates)
    began = _clock()
    run_epoch(model, batches[1:], loss, updates)
    learns = (_clock() - began) / max(1, sum(len(part.samples) for part in micro[1:]))
    # Workers load while the model learns.
    return max(loads / config.workers, learns) if config.workers else loads + learns


def detector_seconds(
    model: Any, recipe: TAADRecipe, config: TrainConfig, halves: Sequence[Footage], flops: float
) -> tuple[float, float, float]:
    """Seconds of a clip with the backbone frozen, of one without, and of a frame of inference."""
    events = learnable_events([one.half for one in halves], recipe.clips.frames, model.without_box)
    data = ClipDataset(halves, recipe.clips, recipe.augmentation, events=events)
    loss, times = ClipLoss(recipe.background, without_box=model.without_box), []
    for blocks in (None, config.frozen_blocks) if config.frozen_epochs else (config.frozen_blocks,):
        model.freeze(blocks)
        times.append(step_seconds(model, data, loss, config, flops))
    windows = half_logits(model, halves[0], recipe.clips, precision=config.precision)
    next(windows)  # warms up
    began, seen = _clock(), 0
    while seen < 3 * recipe.clips.frames:
        seen += next(windows)[1].shape[-1]
    return times[0], times[-1], (_clock() - began) / seen
