"""The published sizes on a GPU, in under ten minutes: ``python -m benchmarks.gpu``.

It measures training steps of TAAD, TAAD + GNN and DST, with their memory; frames a second of inference
and of decoding; and, where there are two GPUs, how far two processes come from the weights of one.
``--rehearse`` tries it all with small sizes on the CPU: its figures say nothing, and its file says so.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch
from torch import nn
from torch.utils.data import default_collate

from footpass.data.video import VideoReader, write_video
from footpass.detectors.augment import random_colour, random_warp
from footpass.detectors.clips import Clip
from footpass.detectors.inputs import model_inputs
from footpass.detectors.recipes import TAADRecipe
from footpass.detectors.train import ClipLoss
from footpass.experiments.profile import load_profile
from footpass.files import PROJECT, revision, write_json
from footpass.models import x3d
from footpass.models.gnn import TAADGNN
from footpass.models.taad import TAAD
from footpass.models.transformer import FUSIONS
from footpass.report.run import environment
from footpass.schema import MODEL_SIZE, N_CLASSES, N_SLOTS, State
from footpass.sequence.recipes import _MODELS, DSTRecipe
from footpass.sequence.tokens import encode
from footpass.sequence.train import sequence_loss
from footpass.sequence.windows import Sample, collate
from footpass.training.loop import Loss, MicroBatch, run_epoch
from footpass.training.optim import Updates, autocast

OUT = PROJECT / "reports" / "gpu.json"
_LAYOUTS = {"channels last": torch.channels_last_3d, "contiguous": torch.contiguous_format}
_REPEATS = 5  # after two to warm up; the median counts
_EPOCHS = 2  # of the run that is compared


def main() -> None:
    """Measure everything and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rehearse", action="store_true", help="small sizes, on the CPU")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE")
    args = parser.parse_args()
    if not (args.rehearse or torch.cuda.is_available()):
        parser.error("no CUDA device here: --rehearse tries the script with small sizes on the CPU")
    device = torch.device("cpu" if args.rehearse else "cuda")
    began, rows = time.monotonic(), []
    for row in measurements(load_profile("smoke" if args.rehearse else "paper"), device):
        rows.append(row)
        print(json.dumps(row), flush=True)
    content = {
        "rehearsal": args.rehearse,
        "device": "CPU" if args.rehearse else torch.cuda.get_device_name(),
        "devices": torch.cuda.device_count(),
        "environment": environment(),
        "git": revision(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 1),
        "measurements": rows,
    }
    write_json(content, args.out, indent=1)
    print(f"{args.out}: written")


def measurements(profile: Any, device: torch.device) -> Iterator[dict[str, Any]]:
    """Rows of the file; where the memory does not do, ``error`` stands for the figures."""
    half = ("bf16", "fp16") if device.type == "cuda" else ("bf16",)
    for name, recompute in product(("taad", "gnn"), (False, True)):
        recipe = getattr(profile, name)
        settings = {"model": name, "checkpoint_backbone": recompute, "precision": half[-1]}
        yield _row("training step", settings, lambda r=recipe, s=settings: _clip_step(r, device, **s))
    for layout in _LAYOUTS:
        settings = {"model": "taad", "layout": layout, "precision": half[-1]}
        yield _row("training step", settings, lambda s=settings: _clip_step(profile.taad, device, **s))
    for precision, layout in product(("fp32", *half), _LAYOUTS):
        settings = {"model": "taad", "precision": precision, "layout": layout}
        yield _row("inference", settings, lambda s=settings: _inference(profile.taad, device, **s))
    yield _row("decoding", {"pictures": "made up", "threads": 1}, lambda: _decoding(profile.taad))
    for precision in ("fp32", half[0]):
        settings = {"model": "dst", "precision": precision}
        yield _row("training step", settings, lambda p=precision: _dst_step(profile.dst, device, p))
    if device.type == "cpu" or torch.cuda.device_count() > 1:
        yield _row("two processes", {"epochs": _EPOCHS}, _equality)


def _row(what: str, settings: dict[str, Any], measure: Callable[[], dict]) -> dict[str, Any]:
    try:
        return {"what": what, **settings, **measure()}
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return {"what": what, **settings, "error": "out of memory"}


def _timed(step: Callable[[], object], device: torch.device) -> dict[str, float | None]:
    """Median seconds of a step, and GiB at its peak, which only CUDA tells."""
    cuda, times = device.type == "cuda", []
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(2 + _REPEATS):
        began = time.perf_counter()
        step()
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else None
    return {"seconds": statistics.median(times[2:]), "peak_gib": peak}


def _learns(model: nn.Module, loss: Loss, batch: Any, config: Any, device: torch.device) -> dict:
    """A training step that is an optimizer step too."""
    updates, micro = Updates(model, config, per_epoch=1000), MicroBatch([], 0, True, 1.0)
    step = lambda: run_epoch(model, [(micro, batch)], loss, updates)  # noqa: E731
    return {"samples": config.batch, **_timed(step, device)}


def _clip_step(
    recipe: TAADRecipe,
    device: torch.device,
    model: str,
    precision: str,
    checkpoint_backbone: bool = False,
    layout: str | None = None,
) -> dict:
    """A micro-batch of made-up clips, augmented on the device, with the whole backbone learning."""
    kind = TAADGNN if model == "gnn" else TAAD
    built = kind(replace(recipe.model, checkpoint_backbone=checkpoint_backbone)).to(device)
    config = replace(recipe.train, precision=precision, frozen_epochs=0)
    slots = N_SLOTS if model == "gnn" else 1 + recipe.clips.others
    batch = default_collate([_clip(recipe, slots, number) for number in range(config.batch)])
    loss = ClipLoss(recipe.background, without_box=model == "gnn")
    with _in_layout(layout):
        return _learns(built, loss, batch, config, device)


def _in_layout(layout: str | None) -> Any:
    chosen = x3d.memory_layout if layout is None else lambda clip: _LAYOUTS[layout]
    return patch.object(x3d, "memory_layout", chosen)


def _clip(recipe: TAADRecipe, slots: int, seed: int) -> Clip:
    """Noise, with players who stand somewhere and do something now and then."""
    rng, config = np.random.default_rng(seed), recipe.clips
    height, width = config.size
    corner = rng.random((slots, 1, 2)) * (0.9 * width, 0.7 * height)
    boxes = np.concatenate((corner, corner + np.array([0.05 * width, 0.2 * height])), axis=-1)
    state = rng.random((len(State), slots, config.frames), np.float32)
    return Clip(
        pixels=rng.integers(0, 256, (config.frames, height, width, 3), np.uint8),
        boxes=np.repeat(boxes, config.frames, axis=1).astype(np.float32),
        labels=(rng.random((slots, config.frames)) < 0.05) * rng.integers(1, N_CLASSES, dtype=np.int8),
        slots=np.arange(slots),
        state=state,
        half=np.int64(0),
        start=np.int64(0),
        at=np.int64(0),
        warp=random_warp(recipe.augmentation, config.size, rng),
        colour=random_colour(recipe.augmentation, rng),
    )


def _inference(
    recipe: TAADRecipe, device: torch.device, model: str, precision: str, layout: str
) -> dict:
    """A window of all slots; each frame of a half is in two of them."""
    folded = x3d.folded(TAAD(recipe.model)).to(device)
    inputs = model_inputs(default_collate([_clip(recipe, N_SLOTS, 0)]), device)

    @torch.inference_mode()
    def window() -> None:
        with autocast(device, precision):
            folded(*inputs)

    with _in_layout(layout):
        figures = _timed(window, device)
    return {"frames_per_second": recipe.clips.frames / 2 / figures["seconds"], **figures}


def _decoding(recipe: TAADRecipe) -> dict:
    """Frames a second of a video: the slower one of this and inference sets the pace."""
    texture = cv2.GaussianBlur(np.random.default_rng(0).random((*MODEL_SIZE, 3), np.float32), (0, 0), 3)
    picture = (255 * (texture - texture.min()) / np.ptp(texture)).astype(np.uint8)
    frames = 3 * recipe.clips.frames
    with TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")
        write_video(path, (np.roll(picture, 4 * i, axis=1) for i in range(frames)))
        with VideoReader(path, recipe.clips.size) as reader:
            began = time.perf_counter()
            reader.frames(np.arange(frames))
            return {"frames_per_second": frames / (time.perf_counter() - began)}


def _dst_step(recipe: DSTRecipe, device: torch.device, precision: str) -> dict:
    length, rng = recipe.windows.window_length, np.random.default_rng(0)
    inputs = N_SLOTS * (len(State) + FUSIONS[recipe.model.fusion] * N_CLASSES)
    frames = np.sort(rng.choice(length, 8, replace=False))
    events = np.stack([frames, rng.integers(0, N_SLOTS, 8), rng.integers(1, N_CLASSES, 8)], axis=1)
    tokens = encode(events, 0, length)
    numbers = np.arange(1, length + 1)
    config = replace(recipe.train, precision=precision)
    features = rng.random((config.batch, length, inputs), np.float32)
    batch = collate([Sample(one, numbers, tokens) for one in features])
    model = _MODELS[type(recipe.model)](recipe.model).to(device)
    return _learns(model, sequence_loss, batch, config, device)


def _equality() -> dict:
    """The largest difference of a weight between a run of two processes and of one."""
    run = PROJECT / "tests" / "training" / "tiny_run.py"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    with TemporaryDirectory() as folder:
        weights = []
        for processes in ("1", "2"):
            out = Path(folder, processes)
            subprocess.run([*launch, processes, run, out, str(_EPOCHS)], check=True, capture_output=True)
            weights.append(torch.load(out / "last.pt", weights_only=True)["model"])
    names = [name for name in weights[0] if "running" not in name and "batches" not in name]
    return {"largest_difference": max(_far(*(one[name] for one in weights)) for name in names)}


def _far(one: torch.Tensor, two: torch.Tensor) -> float:
    return float((one.cpu() - two.cpu()).abs().max())


if __name__ == "__main__":
    main()
