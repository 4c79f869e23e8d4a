"""What a system costs: parameters, training time, memory of a step, speed."""

import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from math import inf, nan
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader

from footpass.data.logits import frames_per_second, logits_path
from footpass.detectors.clips import ClipDataset, learnable_events
from footpass.detectors.predict import load_detector
from footpass.detectors.train import ClipLoss
from footpass.experiments.grid import Outcome
from footpass.experiments.stages import Stage, Study
from footpass.models.taad import TAAD
from footpass.sequence.decode import load_dst
from footpass.sequence.train import sequence_loss
from footpass.sequence.windows import WindowDataset, collate
from footpass.training.loop import Loss
from footpass.training.optim import autocast


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors made inside that are alive, now and at most.

    Unlike hooks on what autograd saves, it also sees what recomputation holds and what backward makes;
    and it works on fake tensors, so sizes beyond the machine can be counted too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self._meet((args, kwargs), counted=False)  # what comes from outside is not ours to count
        result = func(*args, **(kwargs or {}))
        self._meet(result, counted=True)
        return result

    def _meet(self, tree: object, counted: bool) -> None:
        for leaf in tree_leaves(tree):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                if storage._cdata not in self._known:
                    size = storage.nbytes() if counted else 0
                    self._known.add(storage._cdata)
                    self.now += size
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._drop, storage._cdata, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


class Cost(NamedTuple):
    """What a stage takes."""

    parameters: int
    step_bytes: int  # at the peak of a training step
    frames_per_second: float | None  # of video; None for one that reads none, or watched beside others


def stage_cost(study: Study, stage: Stage) -> Cost:
    """Measure a stage; a training step of its recipe is taken for it."""
    model, loss, batch, precision = _a_step(study, stage)
    with LiveBytes() as live:
        with autocast(torch.device(study.device), precision):
            value = loss(model.train(), batch)[0]
        value.backward()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    speed = frames_per_second(logits_path(stage.dir, "val"))
    return Cost(parameters, live.peak, speed)


def _a_step(study: Study, stage: Stage) -> tuple[nn.Module, Loss, object, str]:
    """The model of a stage, its loss, a batch and the precision of its recipe: a training step."""
    recipe = stage.recipe
    if stage.name == "dst":
        model, windows = load_dst(stage.checkpoint)
        # Windows are as long on train as on val, of which there may be far more.
        data = WindowDataset(study.recorded("train", model.config.fusion, stage.reads), windows)
        batch = next(iter(DataLoader(data, recipe.train.batch, collate_fn=collate)))
        return model.to(study.device), sequence_loss, batch, recipe.train.precision
    detector, config = load_detector(stage.checkpoint)
    if stage.keeps:
        detector.features.freeze()
    halves = list(study.footage["val"].values())
    events = learnable_events([f.half for f in halves], config.frames, detector.without_box)
    clips = ClipDataset(halves, config, recipe.augmentation, events=events)
    batch = next(iter(DataLoader(clips, recipe.train.batch)))
    loss = ClipLoss(recipe.background, recipe.gamma(inf), detector.without_box)
    return detector.to(study.device), loss, batch, recipe.train.precision


def costs(study: Study, outcomes: Mapping[str, Sequence[Outcome]]) -> pd.DataFrame:
    """What a row takes, with the first of its seeds.

    Parameters, training time and time per frame are sums over the stages that it is made of, training
    time over those too that these have gone on from; memory is that of the largest.
    Nothing is known of how fast a detector is that watched in one pass with others.
    """
    known: dict[Path, Cost] = {}
    rows = []
    for name, (outcome, *_) in outcomes.items():
        for stage in outcome.stages.values():
            if stage.dir not in known:
                known[stage.dir] = stage_cost(study, stage)
        stages = {stage.dir: stage for stage in outcome.stages.values()}
        parts = [known[folder] for folder in stages]
        starts = [stage.start for stage in stages.values() if stage.start]
        trained = {stage.dir: stage.train_seconds for stage in (*stages.values(), *starts)}
        speeds = [known[at].frames_per_second or nan for at, one in stages.items() if one.name != "dst"]
        rows.append(
            {
                "row": name,
                "parameters": sum(part.parameters for part in parts),
                "training, s": sum(trained.values()),
                "peak of a step, MiB": max(part.step_bytes for part in parts) / 2**20,
                "video, frames/s": 1 / sum(1 / speed for speed in speeds),
            }
        )
    return pd.DataFrame(rows).set_index("row")


def pretrainings(outcomes: Mapping[str, Sequence[Outcome]]) -> pd.DataFrame:
    """Training loss of what DSTs have gone on from: at the end, and how much the last epoch took off."""
    stages = [stage for runs in outcomes.values() for run in runs for stage in run.stages.values()]
    found = {one.start.dir.name: one.start for one in stages if one.name == "dst" and one.start}
    rows = []
    for name, stage in found.items():
        *before, last = [row["loss"] for row in stage.rows]
        fell = before[-1] - last if before else None
        rows.append((name, stage.train_seconds / 60, last, fell))
    columns = ["pre-training", "minutes", "loss", "last epoch took off"]
    return pd.DataFrame(rows, columns=columns).set_index("pre-training")


def checkpointing(study: Study) -> pd.DataFrame:
    """TAAD's first four training steps with and without recomputing the backbone: losses, memory, time.

    The same clips and the same weights to begin with, plain gradient descent.
    """
    recipe = study.profile.taad
    dataset = ClipDataset(list(study.footage["train"].values()), recipe.clips, recipe.augmentation)
    loader = DataLoader(dataset, recipe.train.batch)
    batches = list(islice(loader, 4))
    loss = ClipLoss(recipe.background)
    rows = []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = TAAD(replace(recipe.model, checkpoint_backbone=recompute)).to(study.device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        times, peak = [], 0
        for number, batch in enumerate(batches):
            began = time.perf_counter()
            with LiveBytes() if number == 0 else nullcontext() as live:
                with autocast(torch.device(study.device), recipe.train.precision):
                    value = loss(model, batch)[0]
                value.backward()
            peak = live.peak if live else peak
            optimizer.step()
            optimizer.zero_grad()
            times.append(time.perf_counter() - began)
        rows.append(
            {
                "backbone": "recomputed" if recompute else "kept",
                "loss of the last step": float(value.detach()),
                "peak, MiB": peak / 2**20,
                "seconds a step": min(times[1:] or times),  # the first one is measured, and slower
            }
        )
    return pd.DataFrame(rows).set_index("backbone")
