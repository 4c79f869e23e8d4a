"""Synthetic matches against the time they take to play: a half of 45 minutes, and its pictures.

Seconds of one core (processor time), since halves run side by side, one on each.
"""

import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.harness import main
from footpass.data.video import write_video
from footpass.schema import FPS
from footpass.simulate.render import choose_kits, render
from footpass.simulate.season import simulate_half, tactical_rows


def run_half() -> dict:
    """Rows of a half of 45 minutes; 45 times real time is a minute."""
    start = time.process_time()
    motion, shots = simulate_half(game=1, half=0, minutes=90, seed=0)
    tactical_rows(motion, shots, (1, 2))
    return _against_play("simulate", "rows of a half", time.process_time() - start, len(motion.ball), 45)


def run() -> dict:
    """Drawing and encoding 20 s of play, in this process, with one thread."""
    cv2.setNumThreads(1)
    motion, shots = simulate_half(game=1, half=0, minutes=40 / 60, seed=0)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        write_video(Path(folder, "half.mp4"), render(motion, shots, choose_kits(rng), rng))
        took = time.process_time() - start
    return _against_play("simulate_video", "drawing and encoding", took, len(motion.ball), 4)


def _against_play(name: str, what: str, took: float, frames: int, target: float) -> dict:
    played = frames / FPS
    what = f"{what}, {played:.0f} s of play ({frames / took:.0f} frames a second) against playing it"
    return dict(name=name, what=what, fast_s=took, plain_s=played, ratio=played / took, target=target)


if __name__ == "__main__":
    main(run_half)
    main(run)
