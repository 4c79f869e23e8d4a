"""A random window of 750 frames: from the prepared half, against reading the half and filtering rows."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.harness import main
from footpass.data.cache import load_half
from footpass.data.tactical import write_tactical
from footpass.schema import Tactical
from tests.oracles import window as plain_window

FRAMES, WINDOW, FIRST = 45 * 60 * 25, 750, 75_000
HALF = "game_1_H2"


def half_rows(frames: int = FRAMES) -> np.ndarray:
    """Rows of 45 minutes: 22 players that drift over the pitch, 45 % of them with a box."""
    rng = np.random.default_rng(0)
    players = 22
    rows = np.full((frames * players, len(Tactical)), np.nan, np.float32)
    player = np.tile(np.arange(players), frames)
    rows[:, Tactical.FRAME] = FIRST + np.repeat(np.arange(frames), players)
    rows[:, Tactical.PLAYER_ID] = rows[:, Tactical.JERSEY] = 100 + player
    rows[:, Tactical.TEAM] = player // 11
    rows[:, Tactical.ROLE] = player % 11 + 1
    steps = rng.normal(0, 5e-4, (frames, players, 2)).astype(np.float32)
    rows[:, Tactical.X : Tactical.Y + 1] = 0.5 + steps.cumsum(axis=0).reshape(-1, 2)
    rows[:, Tactical.VX : Tactical.VY + 1] = 25 * steps.reshape(-1, 2)
    seen = rng.random(len(rows)) < 0.45
    rows[seen, Tactical.BOX_X : Tactical.LABEL] = rng.integers(20, 900, (seen.sum(), 4))
    rows[:, Tactical.LABEL] = 0
    events = rng.choice(len(rows), frames // 70, replace=False)
    rows[events, Tactical.LABEL] = rng.integers(1, 9, len(events))
    return rows


def seconds(read: Callable[[int], object], starts: np.ndarray) -> float:
    """Median time to read a window."""
    times = []
    for start in starts.tolist():
        begin = time.perf_counter()
        read(start)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def run() -> dict:
    """Times of both, of one window."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "val_tactical_data.h5")
        write_tactical(path, {HALF: half_rows()}.items())
        half = load_half(path, HALF, folder)
        starts = FIRST + np.random.default_rng(1).integers(0, FRAMES - WINDOW, 500)

        def fast(start: int) -> tuple[np.ndarray, np.ndarray]:
            part = half.window(start, start + WINDOW)
            return np.ascontiguousarray(part.state), np.ascontiguousarray(part.labels)

        def plain(start: int) -> tuple[np.ndarray, np.ndarray]:
            return plain_window.window(path, HALF, start, start + WINDOW)

        for start in starts[:2]:
            for ours, theirs in zip(fast(start), plain(start), strict=True):
                np.testing.assert_array_equal(ours, theirs)
        fast_s, plain_s = seconds(fast, starts), seconds(plain, starts[:7])
    return {
        "name": "window",
        "fast_s": fast_s,
        "plain_s": plain_s,
        "ratio": plain_s / fast_s,
        "target": 100,
        "what": "a random window of 750 frames, state and labels, of a half of 45 minutes",
    }


if __name__ == "__main__":
    main(run)
