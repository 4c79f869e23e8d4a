"""`predict` as a whole: two detectors in one pass over the video, and memory by the length of a half."""

import itertools
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from footpass import zoo
from footpass.configs import plain
from footpass.data.cache import open_footage
from footpass.data.paths import tactical_path, video_path
from footpass.data.tactical import write_tactical
from footpass.data.video import write_video
from footpass.detectors.clips import ClipConfig
from footpass.detectors.predict import Run, predict_together
from footpass.events import match_of
from footpass.models.taad import TAAD, TAADConfig
from footpass.models.x3d import X3DConfig
from footpass.report.speed import Bar
from footpass.schema import FPS, Tactical
from footpass.simulate.season import write_season
from footpass.training.checkpoints import load_checkpoint, save_checkpoint

HALF = "game_1_H1"
REPEATS = 3
# Not `resource`: of a process that has just begun, it counts the memory of the one that started it.
_PEAK = """
import sys
from pathlib import Path
from footpass.__main__ import main

code = main(sys.argv[1:])
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
sys.exit(code)
"""


def measure() -> tuple[Bar, ...]:
    """Both bars; that of memory on Linux alone."""
    with TemporaryDirectory() as folder:
        what = "TAAD and TAAD + GNN in one pass, against TAAD"
        own, common = two(Path(folder))
        bars = [Bar("two detectors", what, own, 1.7)]
        bars.append(Bar("two heads", f"{what}, both on its features", common, 1.7))
        if sys.platform == "linux":
            peaks = [peak(Path(folder), minutes) for minutes in (4, 16)]
            what = "peak of predict on 16 minutes, against 4"
            bars.append(Bar("memory", what, peaks[1] / peaks[0], 1.1))
    return tuple(bars)


def two(folder: Path, minutes: float = 0.5) -> tuple[float, float]:
    """Times of the zoo's detectors in one pass, as they are and on TAAD's features, over TAAD's alone.

    For the second, the TAAD + GNN has the TAAD's features in place of its own: its events mean nothing.
    """
    write_season(folder, 1, minutes, split="val")
    footage = open_footage(folder, "val")
    taad, gnn, head = (zoo.ZOO / "taad.pt", zoo.ZOO / "gnn.pt", folder / "head.pt")
    content, features = load_checkpoint(gnn), load_checkpoint(taad)["model"]
    taken_over = {name: part for name, part in features.items() if name.startswith("features.")}
    save_checkpoint(head, content["config"], {"model": content["model"] | taken_over})
    times: dict[tuple[Path, ...], list[float]] = {(taad,): [], (taad, gnn): [], (taad, head): []}
    for number in range(1 + REPEATS):  # the first to warm up
        for models, taken in times.items():
            out = folder / f"{number} {models[-1].stem}"
            runs = [Run(model, out / model.stem) for model in models]
            start = time.perf_counter()
            predict_together(runs, footage, "val")
            taken.append(time.perf_counter() - start)
    one, own, common = (statistics.median(taken[1:]) for taken in times.values())
    return own / one, common / one


def peak(folder: Path, minutes: int) -> int:
    """Most memory of `predict`, KiB: a half of 22 players in a grey picture, and a tiny TAAD."""
    folder = folder / f"{minutes} minutes"
    clips = ClipConfig(frames=50, size=(32, 48), earliest=15, latest=35)
    _long_half(folder, minutes, clips.size)
    torch.manual_seed(0)
    model = TAAD(TAADConfig(width=8, head=16, x3d=X3DConfig(4, (4, 8, 8, 8), (1, 1, 1, 1))))
    with torch.no_grad():
        model.classify.bias[0] = 10.0  # few events, as of a trained one
    best = folder / "best.pt"
    config = {"kind": "TAAD", "model": plain(model.config), "about": {"clips": plain(clips)}}
    save_checkpoint(best, config, {"model": model.state_dict()})
    where = ("--checkpoint", best, "--data", folder, "--out", folder / "run", "--stride", "50")
    command = [sys.executable, "-c", _PEAK, "predict", *map(str, where)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return int(done.stdout.split()[-1])


def _long_half(folder: Path, minutes: int, size: tuple[int, int]) -> None:
    """The files of a half, prepared."""
    frames = minutes * 60 * FPS
    slots = np.r_[:11, 13:24]
    frame, slot = (part.ravel() for part in np.meshgrid(np.arange(frames), slots, indexing="ij"))
    rows = np.zeros((len(frame), len(Tactical)), np.float32)
    rows[:, Tactical.FRAME], rows[:, Tactical.TEAM] = frame, slot // 13
    rows[:, Tactical.PLAYER_ID] = 100 * (slot // 13 + 1) + slot
    rows[:, Tactical.JERSEY], rows[:, Tactical.ROLE] = slot + 1, slot % 13 + 1
    rows[:, Tactical.X], rows[:, Tactical.Y] = slot / 26, 0.5
    rows[:, Tactical.BOX_X : Tactical.LABEL] = np.stack([70 * slot, *[0 * slot + 60] * 3], axis=1)
    folder.mkdir()
    write_tactical(folder / tactical_path("val"), {HALF: rows}.items())
    video = folder / video_path(match_of(HALF))
    video.parent.mkdir(exist_ok=True)
    write_video(video, itertools.repeat(np.full((*size, 3), 128, np.uint8), frames))
    open_footage(folder, "val")
