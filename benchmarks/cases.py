"""What this code and that of an earlier commit do, and partly the public code, to be timed in turn.

As a script it is a worker of `benchmarks.progress`: it answers each name of a case on stdin with the
seconds that it took and a few numbers of the result, for comparison. Of the project it may import only
what both commits have, under either name.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from os import getpid
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import cv2
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

PLAYERS = 14  # with a box, as in a broadcast's wide shot
PUBLISHED, DEMO = (1, 16, 352, 640), (1, 16, 176, 320)  # clips, frames, height, width
FEW, MANY = 12_600, 1_000_000  # predictions: of TAAD's file of three matches; of a season's variants
PLAYED = 10  # seconds
EVENTS = {FEW: (6_000, 6), MANY: (90_000, 100)}  # true events, and halves

Call = Callable[[], list[float]]  # its result in a few numbers


def module(*names: str) -> Any:
    """The first of some modules that there is: they have moved.

    Files are asked, since an editable installation would give this commit's in the place of another's.
    """
    package = Path(str(import_module("footpass").__file__)).parent
    there = (name for name in names if (package / f"{name.replace('.', '/')}.py").is_file())
    return import_module(f"footpass.{next(there)}")


def write_files(folder: Path) -> None:
    """What the cases read: weights, so that both commits have the same, and events."""
    taad, events = module("models.taad"), module("events")
    torch.manual_seed(0)
    torch.save(taad.TAAD(taad.TAADConfig()).state_dict(), folder / "taad.pt")
    rng = np.random.default_rng(0)
    for found, (true, halves) in EVENTS.items():
        half = rng.integers(halves, size=found)
        names = [f"game_{number // 2}_H{number % 2 + 1}" for number in range(halves)]
        table = pd.DataFrame(
            {
                "half": pd.Categorical.from_codes(half, categories=names),
                "frame": 67_500 * (half % 2) + rng.integers(67_500, size=found),
                "team": rng.integers(2, size=found),
                "jersey": rng.integers(1, 15, size=found),
                "cls": rng.integers(1, 9, size=found),
                "score": rng.random(found),
            }
        )
        truth = table.sample(true, random_state=0).drop(columns="score")
        events.write_events(table, folder / f"found_{found}.json")
        events.write_events(truth.assign(box_visible=True, replay=False), folder / f"true_{found}.json")


def _taad(folder: Path) -> nn.Module:
    taad = module("models.taad")
    model = taad.TAAD(taad.TAADConfig())
    model.load_state_dict(torch.load(folder / "taad.pt", weights_only=True))
    return model


def _clips(clips: int, frames: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    pixels = torch.rand(clips, 3, frames, height, width, generator=rng)
    room = torch.tensor([width - 40.0, height - 72.0])
    corner = torch.rand(clips, PLAYERS, 1, 2, generator=rng) * room
    boxes = torch.cat((corner, corner + torch.tensor([25.0, 60.0])), dim=-1).repeat(1, 1, frames, 1)
    return pixels, boxes, torch.ones(clips, PLAYERS, frames, dtype=torch.bool)


def inference(folder: Path) -> Call:
    """TAAD on a window, as `predict` has it computed."""
    model, inputs = _taad(folder).eval(), _clips(*PUBLISHED)
    folded = getattr(module("models.x3d"), "folded", None)
    model = folded(model) if folded else model
    return torch.inference_mode()(lambda: model(*inputs).flatten()[::1000].tolist())


def plain_inference(folder: Path) -> Call:
    """As the public code computes: every operation as torch has it, and maps of the whole picture."""
    taad, x3d = module("models.taad"), module("models.x3d")
    model, inputs = _taad(folder).eval(), _clips(*PUBLISHED)

    def plain_conv(conv: nn.Conv3d, x: Tensor) -> Tensor:
        return F.conv3d(x, conv.weight, conv.bias, conv.stride, conv.padding, groups=conv.groups)

    @contextmanager
    def plain() -> Iterator[None]:
        with (
            patch.object(taad, "inferring", lambda x: False),
            patch.object(x3d, "convolve", plain_conv),
            patch.object(x3d.Pointwise, "forward", plain_conv),
        ):
            yield

    @torch.inference_mode()
    def call() -> list[float]:
        with plain():
            return model(*inputs).flatten()[::1000].tolist()

    return call


def step(folder: Path) -> Call:
    """A step of training TAAD, repeatable as `training.loop.train` makes it."""
    loop, config = module("training.loop", "training"), module("training.config", "training")
    model, (pixels, boxes, visible) = _taad(folder), _clips(*DEMO)
    labels = torch.randint(9, visible.shape, generator=torch.Generator().manual_seed(1))
    optimizer = module("training.optim", "updates").Updates(model, config.TrainConfig(), 1).optimizer
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # each call takes the same step

    def call() -> list[float]:
        with loop._repeatable(torch.device("cpu")):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(pixels, boxes, visible), labels)
            loss.backward()
            optimizer.step()
        return [loss.item()]

    return call


def scoring(found: int) -> Callable[[Path], Call]:
    """Reading and scoring predictions."""

    def prepare(folder: Path) -> Call:
        events, metrics = module("events"), module("metrics")

        def call() -> list[float]:
            predictions = events.read_predictions(folder / f"found_{found}.json")
            truth = events.read_ground_truth(folder / f"true_{found}.json")
            counts = metrics.evaluate(predictions, truth).counts
            return np.stack([counts.tp, counts.fp, counts.gt], axis=1).ravel().tolist()

        return call

    return prepare


def plain_scoring(found: int) -> Callable[[Path], Call]:
    """The loop that takes as long as the official evaluator's."""

    def prepare(folder: Path) -> Call:
        from tests.oracles.scoring import count

        files = folder / f"found_{found}.json", folder / f"true_{found}.json"
        return lambda: np.ravel(count(*files)).tolist()

    return prepare


def play(folder: Path) -> Call:
    """A half's rows."""
    season = module("simulate.season")

    def call() -> list[float]:
        motion, shots = season.simulate_half(game=1, half=0, minutes=90, seed=0)
        season.tactical_rows(motion, shots, (1, 2))
        return []  # the simulation has changed since

    return call


def pictures(folder: Path) -> Call:
    """Drawing and encoding, in this process, with one thread."""
    render, video = module("simulate.render"), module("data.video", "video")
    season = module("simulate.season")
    settings = {"preset": season.PRESET} if hasattr(season, "PRESET") else {}
    motion, shots = season.simulate_half(game=1, half=0, minutes=2 * PLAYED / 60, seed=0)
    cv2.setNumThreads(1)

    def call() -> list[float]:
        rng = np.random.default_rng(0)
        drawn = render.render(motion, shots, render.choose_kits(rng), rng)
        video.write_video(folder / f"{getpid()}.mp4", drawn, **settings)
        return []  # the simulation has changed since

    return call


class Case(NamedTuple):
    """Something to time, and how many times faster it is to be than before, and than the public code."""

    what: str
    prepare: Callable[[Path], Call]
    before: float | None = None
    plain: Callable[[Path], Call] | None = None
    public: float | None = None


_SIZES = ("16 frames of 352 x 640", "16 frames of 176 x 320")  # as above
CASES = {
    "TAAD, inference": Case(f"published TAAD, {_SIZES[0]}", inference, 1.5, plain_inference, 2),
    "TAAD, training step": Case(f"published TAAD, {_SIZES[1]}", step, 1.15),
    "scoring, few": Case(f"{FEW:,} predictions", scoring(FEW), None, plain_scoring(FEW), 1),
    "scoring, many": Case(f"{MANY:,} predictions", scoring(MANY), None, plain_scoring(MANY), 3),
    "simulated play": Case("rows of a half of 45 minutes", play),
    "simulated video": Case(f"drawing and encoding {PLAYED} s, one thread", pictures, 2),
}


def main() -> None:
    """Answer names with times: ``cases.py FOLDER [plain]``."""
    folder, plain = Path(sys.argv[1]), "plain" in sys.argv
    if not plain:
        module("training.distributed", "processes").join_processes()  # as commands and notebooks begin
    ready: dict[str, Call] = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in ready:
            case = CASES[name]
            prepare = case.plain if plain else case.prepare
            assert prepare is not None, name
            ready[name] = prepare(folder)
            ready[name]()
        start = time.perf_counter()
        result = ready[name]()
        print(json.dumps([time.perf_counter() - start, result]), flush=True)


if __name__ == "__main__":
    main()
