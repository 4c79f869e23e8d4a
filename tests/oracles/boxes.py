"""Boxes and labels of a clip's tracklets as the public scripts have them: by slot, by frame."""

import numpy as np


def gather(
    rows: np.ndarray, slots: np.ndarray, start: int, stop: int, grow: float, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes ``(M, T, 4)`` in pixels of pictures of this size, NaN where none; labels ``(M, T)``.

    ``rows`` are the half's tactical rows; those of the window are selected first.
    """
    rows = rows[(rows[:, 0] >= start) & (rows[:, 0] < stop)]
    sy, sx = size[0] / 1080, size[1] / 1920
    boxes = np.full((len(slots), stop - start, 4), np.nan, np.float32)
    labels = np.zeros((len(slots), stop - start), np.int8)
    for m, slot in enumerate(slots):
        for t in range(stop - start):
            mine = rows[(rows[:, 0] == start + t) & (13 * rows[:, 2] + rows[:, 4] - 1 == slot)]
            if len(mine):
                x, y, width, height = mine[-1, 9:13]
                labels[m, t] = mine[-1, 13]
                cx, cy = x + width / 2, y + height / 2
                x1, x2 = cx - grow * width / 2, cx + grow * width / 2
                y1, y2 = cy - grow * height / 2, cy + grow * height / 2
                boxes[m, t] = x1 * sx, y1 * sy, x2 * sx, y2 * sy
    return boxes, labels


def random_rows(rng: np.random.Generator, frames: int, players: int) -> np.ndarray:
    """Rows of a half from frame 75,000 on: players in slots of their own, half of them with boxes."""
    rows = np.full((frames * players, 14), np.nan, np.float32)
    slot = np.tile(rng.permutation(26)[:players], frames)
    rows[:, 0] = 75_000 + np.repeat(np.arange(frames), players)
    rows[:, 1] = rows[:, 3] = 1 + slot
    rows[:, 2], rows[:, 4] = slot // 13, slot % 13 + 1
    rows[:, 5:9] = rng.random((len(rows), 4))
    seen = rng.random(len(rows)) < 0.5
    rows[seen, 9:13] = rng.uniform(10, 900, (seen.sum(), 4))
    rows[:, 13] = np.where(rng.random(len(rows)) < 0.1, rng.integers(1, 9, len(rows)), 0)
    return rows
