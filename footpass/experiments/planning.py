"""What training a profile takes, before it begins: arithmetic, memory, disk and time of each stage.

For time, a minute of football is simulated and each stage takes a few steps of it on the device at hand
(`experiments.measuring`); the rest is as many steps as the data ask for. Of a device that is not at hand
there is the arithmetic alone, at an assumed rate.
"""

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from footpass.data.cache import Footage, open_footage
from footpass.data.statistics import load_statistics
from footpass.detectors.recipes import GNNRecipe, TAADRecipe
from footpass.experiments.costs import LiveBytes
from footpass.experiments.measuring import detector_seconds, step_seconds
from footpass.experiments.pretraining import pretraining_recipe
from footpass.experiments.profile import Profile, SeasonSize
from footpass.models.gnn import TAADGNN
from footpass.models.taad import TAAD
from footpass.models.transformer import FUSIONS
from footpass.schema import FPS, N_CLASSES, N_SLOTS, Node, State, Token
from footpass.sequence.recipes import _MODELS, DSTRecipe
from footpass.sequence.sources import Recorded
from footpass.sequence.train import sequence_loss
from footpass.sequence.windows import WindowDataset, collate
from footpass.simulate.logits import simulate_logits
from footpass.simulate.season import write_season
from footpass.training.config import TrainConfig
from footpass.training.optim import autocast, resolve_precision

log = logging.getLogger(__name__)

PUBLISHED = SeasonSize(train=48, val=3, minutes=99.4)  # the matches with labels, with added time
_TOKENS = 15  # of a window of 30 seconds
_MOMENT = 2 / 60  # minutes of video around each rare event of a highlight
_clock = time.perf_counter


@dataclass(frozen=True)
class StagePlan:
    """What a stage takes."""

    stage: str
    work: str  # how much there is to do, in words
    flops: float = 0.0
    memory: float = 0.0  # bytes at the peak of a training step of one process, weights included
    disk: float = 0.0  # bytes
    seconds: float | None = None  # None: not known


@dataclass(frozen=True)
class Planner:
    """Plans the stages of a profile for so many processes."""

    profile: Profile
    processes: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rate: float | None = None  # operations a second of a device that is not at hand; None: measure

    def stages(self) -> Iterator[StagePlan]:
        """One after the other, each measured when its turn comes."""
        size, dst = self.profile.season or PUBLISHED, self.profile.dst
        with TemporaryDirectory() as folder:
            if not self.rate:
                yield from self._season(size, folder)
            halves = [] if self.rate else list(open_footage(folder, "train").values())
            yield from self._detector("taad", self.profile.taad, size, halves)
            yield from self._detector("gnn", self.profile.gnn, size, halves)
            if dst.pretraining and not self.profile.from_zoo("dst"):
                before = pretraining_recipe(dst)
                yield self._dst("pretraining", before, 2 * dst.pretraining.matches, halves)
            yield self._dst("dst", dst, 2 * (size.held_out or size.train), halves)

    def _season(self, size: SeasonSize, folder: str) -> Iterator[StagePlan]:
        """Simulate what all else is measured on; a stage if the profile simulates its data."""
        made = 2 * max(900, self.profile.dst.windows.window_length) / FPS / 60  # minutes
        began = _clock()
        write_season(folder, 1, made, workers=1)
        took = (_clock() - began) / made
        if self.profile.season:
            minutes = (size.train + size.val) * size.minutes
            minutes += sum(_events(45 * size.highlights)[2:]) * _MOMENT
            disk = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
            seconds = minutes * took / (os.cpu_count() or 1)
            yield StagePlan("season", f"{minutes:.0f} min", disk=disk * minutes / made, seconds=seconds)

    def _detector(
        self, name: str, recipe: TAADRecipe, size: SeasonSize, halves: Sequence[Footage]
    ) -> Iterator[StagePlan]:
        """A detector's training, and its logits of val and of what a DST learns from."""
        graph, clips, config = isinstance(recipe, GNNRecipe), recipe.clips, self._config(recipe.train)
        matches, watched = max(1, size.train - size.held_out), size.held_out or size.train
        events = np.add(_events(matches * size.minutes, graph), _events(45 * size.highlights))
        samples = int(np.minimum(events, clips.per_class).sum())
        samples += 2 * matches * clips.random_per_half
        fixed = np.minimum(_events((size.held_out or size.val) * size.minutes, graph), recipe.validation)
        passes = samples + fixed.sum() / 3  # a step is thrice a forward pass
        kind: Any = TAADGNN if graph else TAAD
        shape = N_SLOTS if graph else 1 + clips.others, clips.frames, *clips.size
        made = lambda: (kind(recipe.model), _clip_inputs(config.batch, *shape))  # noqa: E731
        forward, memory, weights = _count(made, config, _FakeTensors())
        flops = config.epochs * passes * 3 * forward / config.batch
        frames = (size.val + watched) * size.minutes * 60 * FPS
        seen = 2 * frames / clips.frames * forward / config.batch  # each frame twice
        share, parts = self._share(config), min(self.processes, 2 * size.val)
        seconds, spotting = self._seconds(flops, share), self._seconds(seen, parts)
        if halves:
            model = kind(recipe.model).to(self.device)
            if self.profile.features:
                model.features.freeze()
            frozen, learns, frame = detector_seconds(model, recipe, config, halves, 3 * forward)
            first = min(config.frozen_epochs, config.epochs)
            steps = first * frozen + (config.epochs - first) * learns
            seconds = samples * steps / share + config.epochs * fixed.sum() * learns / 3
            spotting = frames * frame / parts
        yield StagePlan(
            name, f"{samples:,} clips x {config.epochs} epochs", flops, memory, 4 * weights, seconds
        )
        kept = frames * N_CLASSES * N_SLOTS * 2
        yield StagePlan(f"{name} logits", f"{frames:,.0f} frames", seen, 0, kept, spotting)

    def _dst(self, name: str, recipe: DSTRecipe, count: int, halves: Sequence[Footage]) -> StagePlan:
        """A DST's training on windows of so many halves."""
        config, kind = self._config(recipe.train), _MODELS[type(recipe.model)]
        windows, volumes = recipe.windows, FUSIONS[recipe.model.fusion]
        made = lambda: (kind(recipe.model), _window_inputs(windows.window_length, volumes))  # noqa: E731
        # Of one window, on real tensors: a DST asks whether there is padding.
        forward, memory, weights = _count(made, config, nullcontext())
        memory += (config.batch - 1) * max(0, memory - 4 * weights)
        samples, short = windows.per_half * count, min(windows.short_epochs, config.epochs)
        whole = config.epochs - short * (1 - windows.short_length / windows.window_length)
        flops, share = whole * samples * 3 * forward, self._share(config)
        seconds = self._seconds(flops, share)
        if halves:
            rng = np.random.default_rng(0)
            seen = [Recorded(one.half, *simulate_logits(one.half, rng, volumes)) for one in halves]
            data = WindowDataset({half.name: half for half in seen}, windows, epoch=short)
            model = kind(recipe.model).to(self.device)
            each = step_seconds(model, data, sequence_loss, config, config.batch * 3 * forward, collate)
            seconds = whole * samples * each / share
        work = f"{samples:,} windows x {config.epochs} epochs"
        return StagePlan(name, work, flops, memory, 4 * weights, seconds)

    def _config(self, config: TrainConfig) -> TrainConfig:
        """With a precision that is to be had where it is measured."""
        lacks = config.precision == "fp16" and self.device.type == "cpu" and not self.rate
        precision: Any = "fp32" if lacks else resolve_precision(config.precision, self.device)
        return replace(config, precision=precision)

    def _share(self, config: TrainConfig) -> float:
        """Into how many parts the processes divide a step: whole micro-batches."""
        if config.accumulate < self.processes:
            text = "accumulate = %d cannot be shared by %d processes: some of them idle"
            log.warning(text, config.accumulate, self.processes)
        return config.accumulate / ceil(config.accumulate / self.processes)

    def _seconds(self, flops: float, parts: float) -> float | None:
        return flops / self.rate / parts if self.rate else None


def _events(minutes: float, without_box: bool = False) -> np.ndarray:
    """Events of each class in so many minutes of football."""
    known = load_statistics()
    count = known.count if without_box else known.box
    return count * minutes * 60 * FPS / (known.n_halves * known.half_frames)


def _clip_inputs(clips: int, slots: int, frames: int, height: int, width: int) -> list[Tensor]:
    place = clips, slots, frames
    clip, boxes = torch.zeros(clips, 3, frames, height, width), torch.zeros(*place, 4)
    there = torch.ones(place, dtype=torch.bool)
    return [clip, boxes, there, torch.zeros(*place, len(Node)), there]


def _window_inputs(frames: int, volumes: int) -> list[Tensor]:
    features = torch.zeros(1, frames, N_SLOTS * (len(State) + volumes * N_CLASSES))
    numbers = torch.ones(1, frames, dtype=torch.long)
    return [features, numbers, torch.ones(1, _TOKENS, len(Token), dtype=torch.long)]


class _FakeTensors(FakeTensorMode):
    """Of a layer that is copied (`nn.TransformerEncoder` does), the copy is of the same mode."""

    def __deepcopy__(self, memo: dict) -> "_FakeTensors":
        return self


def _count(
    made: Callable[[], tuple[nn.Module, list[Tensor]]],
    config: TrainConfig,
    mode: AbstractContextManager,
) -> tuple[float, float, int]:
    """Operations of a forward pass, bytes at the peak of a step, and of the weights.

    Those of a backward pass are not counted: torch's counter forgets that convolutions have groups.
    """
    with mode, warnings.catch_warnings():
        # A fake tensor that is copied is asked where its data lie.
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
        model, inputs = made()
        weights = sum(parameter.nbytes for parameter in model.parameters())
        with LiveBytes() as live:
            with (
                FlopCounterMode(display=False) as flops,
                autocast(torch.device("cpu"), config.precision),
            ):
                output = model(*inputs)
            loss = torch.stack([part.float().square().mean() for part in tree_leaves(output)]).sum()
            loss.backward()
    # Gradients are among what is alive; the weights, AdamW's two moments and an average are not.
    return flops.get_total_flops(), live.peak + (3 + bool(config.ema)) * weights, weights
