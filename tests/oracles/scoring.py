"""The metric from two files, by its definition: oracle of the tests, yardstick of the benchmark.

It goes through the events one by one as the official evaluator does, with what is taken in NumPy arrays,
so that it takes as long.
"""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np


def count(
    predictions: Path, truth: Path, tolerance: int = 12, threshold: float = 0.15
) -> list[list[int]]:
    """True positives, false positives and events by class, 1 to 8, of all halves of the ground truth."""
    found, true = (json.loads(path.read_text())["events"] for path in (predictions, truth))
    totals = [[0] * 3 for _ in range(9)]
    for half, events in true.items():
        frames = defaultdict(list)
        for frame, *player, _, _ in events:
            frames[tuple(player)].append(frame)
            totals[player[-1]][2] += 1
        used = {player: np.zeros(len(times), dtype=bool) for player, times in frames.items()}
        kept = [row for row in found[half] if row[-1] >= threshold]
        for frame, *player, _ in sorted(kept, key=lambda row: -row[-1]):
            times, best, nearest = frames[tuple(player)], -1, tolerance + 1
            for index, (other, taken) in enumerate(zip(times, used.get(tuple(player), ()), strict=True)):
                if not taken and abs(other - frame) < nearest:
                    best, nearest = index, abs(other - frame)
            if best >= 0:
                used[tuple(player)][best] = True
            totals[player[-1]][0 if best >= 0 else 1] += 1
    return totals[1:]
