"""The metric from two files, by its definition: oracle of the tests, yardstick of the benchmark."""

import json
from collections import defaultdict
from pathlib import Path


def count(
    predictions: Path, truth: Path, tolerance: int = 12, threshold: float = 0.15
) -> list[list[int]]:
    """True positives, false positives and events by class, 1 to 8, of all halves of the ground truth."""
    found, true = (json.loads(path.read_text())["events"] for path in (predictions, truth))
    totals = [[0] * 3 for _ in range(9)]
    for half, events in true.items():
        frames, used = defaultdict(list), defaultdict(list)
        for frame, *player, _, _ in events:
            frames[tuple(player)].append(frame)
            used[tuple(player)].append(False)
            totals[player[-1]][2] += 1
        kept = [row for row in found[half] if row[-1] >= threshold]
        for frame, *player, _ in sorted(kept, key=lambda row: -row[-1]):
            free, best, nearest = used[tuple(player)], -1, tolerance + 1
            for index, other in enumerate(frames[tuple(player)]):
                if not free[index] and abs(other - frame) < nearest:
                    best, nearest = index, abs(other - frame)
            if best >= 0:
                free[best] = True
            totals[player[-1]][0 if best >= 0 else 1] += 1
    return totals[1:]
