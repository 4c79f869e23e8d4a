"""Boxes and labels of a batch of clips: gathered from a half's arrays, against a loop over its rows."""

import numpy as np

from benchmarks import harness
from benchmarks.bench_window import half_rows
from footpass.data.halves import dense
from footpass.detectors.clips import ClipConfig, window_boxes
from footpass.schema import N_SLOTS
from tests.oracles import boxes as plain_boxes

CLIPS = 6


def run() -> dict:
    """Times of both, of one published batch: 6 clips of 5 tracklets and 50 frames."""
    rng = np.random.default_rng(0)
    config = ClipConfig()
    rows = half_rows()
    half = dense(rows, "game_1_H2")
    starts = half.first_frame + rng.integers(0, half.n_frames - config.frames, CLIPS)
    slots = [rng.permutation(N_SLOTS)[: 1 + config.others] for _ in starts]

    def fast() -> list[tuple[np.ndarray, np.ndarray]]:
        windows = [half.window(start, start + config.frames) for start in starts.tolist()]
        return [
            (window_boxes(window, chosen, config.grow, config.size), window.labels[chosen])
            for window, chosen in zip(windows, slots, strict=True)
        ]

    def plain() -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            plain_boxes.gather(rows, chosen, start, start + config.frames, config.grow, config.size)
            for start, chosen in zip(starts, slots, strict=True)
        ]

    def same(ours: list[tuple], theirs: list[tuple]) -> bool:
        return all(
            np.allclose(a[0], b[0], rtol=1e-4, atol=1e-3, equal_nan=True) and np.array_equal(a[1], b[1])
            for a, b in zip(ours, theirs, strict=True)
        )

    what = "boxes and labels of 6 clips, 5 tracklets, 50 frames, of a half of 45 minutes"
    return harness.compare("boxes", what, fast, plain, target=50, same=same)


if __name__ == "__main__":
    harness.main(run)
