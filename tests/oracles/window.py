"""A window of a half as the public training scripts take it: read all rows, keep the window's."""

from pathlib import Path

import h5py
import numpy as np


def window(path: Path, half: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """State ``(5, 26, T)`` with NaN for nobody, and labels ``(26, T)``, of the frames start..stop-1."""
    with h5py.File(path) as file:
        rows = file[half][:]
    rows = rows[(rows[:, 0] >= start) & (rows[:, 0] < stop)]
    frames = rows[:, 0].astype(int) - start
    slots = (13 * rows[:, 2] + rows[:, 4] - 1).astype(int)
    state = np.full((5, 26, stop - start), np.nan, np.float32)
    state[4] = 0
    state[:4, slots, frames] = rows[:, 5:9].T
    state[4, slots, frames] = np.isfinite(rows[:, 9:13]).all(axis=1)
    labels = np.zeros((26, stop - start), np.int8)
    labels[slots, frames] = rows[:, 13]
    return state, labels
