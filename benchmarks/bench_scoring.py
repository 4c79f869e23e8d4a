"""Reading and scoring a million predictions: columns checked at once against a loop over events."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks.harness import compare, main
from footpass.events import read_ground_truth, read_predictions, write_events
from footpass.metrics import evaluate
from tests.oracles.scoring import count

PREDICTIONS = 1_000_000
HALVES = 100


def run() -> dict:
    """Time both on random events, as many in a half as a season of test-time variants gives."""
    rng = np.random.default_rng(0)
    halves = [f"game_{number // 2}_H{number % 2 + 1}" for number in range(HALVES)]
    half = rng.integers(HALVES, size=PREDICTIONS)
    table = pd.DataFrame(
        {
            "half": pd.Categorical.from_codes(half, categories=halves),
            "frame": 67_500 * (half % 2) + rng.integers(67_500, size=PREDICTIONS),
            "team": rng.integers(2, size=PREDICTIONS),
            "jersey": rng.integers(1, 15, size=PREDICTIONS),
            "cls": rng.integers(1, 9, size=PREDICTIONS),
            "score": rng.random(PREDICTIONS),
        }
    )
    truth = table.sample(90_000, random_state=0).drop(columns="score")
    with TemporaryDirectory() as folder:
        paths = Path(folder, "predictions.json"), Path(folder, "truth.json")
        write_events(table, paths[0])
        write_events(truth.assign(box_visible=True, replay=False), paths[1])

        def fast() -> list[list[int]]:
            counts = evaluate(read_predictions(paths[0]), read_ground_truth(paths[1])).counts
            return np.stack([counts.tp, counts.fp, counts.gt], axis=1).tolist()

        return compare(
            "scoring",
            f"{PREDICTIONS:,} predictions and {len(truth):,} events, from two files",
            fast=fast,
            plain=lambda: count(*paths),
            target=3,
            repeats=3,
        )


if __name__ == "__main__":
    main(run)
