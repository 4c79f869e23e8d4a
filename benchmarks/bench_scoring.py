"""Reading and scoring predictions: columns at once against a loop as slow as the official evaluator."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks.harness import compare, main
from footpass.events import read_ground_truth, read_predictions, write_events
from footpass.metrics import evaluate
from tests.oracles.scoring import count


def run() -> dict:
    """A million random predictions, as many in a half as a season of test-time variants gives."""
    return _compared("scoring", 1_000_000, events=90_000, halves=100, target=3, repeats=3)


def run_few() -> dict:
    """As many as the released TAAD has of three matches: nothing that is done once may cost much."""
    return _compared("scoring, few", 12_600, events=6_000, halves=6, target=1, repeats=15)


def _compared(name: str, found: int, events: int, halves: int, target: float, repeats: int) -> dict:
    rng = np.random.default_rng(0)
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
    truth = table.sample(events, random_state=0).drop(columns="score")
    with TemporaryDirectory() as folder:
        paths = Path(folder, "predictions.json"), Path(folder, "truth.json")
        write_events(table, paths[0])
        write_events(truth.assign(box_visible=True, replay=False), paths[1])

        def fast() -> list[list[int]]:
            counts = evaluate(read_predictions(paths[0]), read_ground_truth(paths[1])).counts
            return np.stack([counts.tp, counts.fp, counts.gt], axis=1).tolist()

        what = f"{found:,} predictions and {events:,} events, from two files"
        return compare(name, what, fast, lambda: count(*paths), target, repeats)


if __name__ == "__main__":
    main(run)
    main(run_few)
