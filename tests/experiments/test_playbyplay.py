"""Tasks on play-by-play: what is drawn anew and what is not, who is held out, batches of like length."""

from itertools import pairwise

import numpy as np
import pytest

from footpass.events import class_counts
from footpass.experiments.play_by_play import pasted
from footpass.schema import Action
from footpass.sequence.windows import Sample, WindowConfig, WindowDataset, grouped
from footpass.simulate.copy_paste import cut_snippets
from footpass.simulate.detections import released_detectors, simulate_detections
from footpass.simulate.events import simulate_season
from footpass.training.config import TrainConfig
from footpass.training.loop import micro_batches
from tests.tables import truth

TAAD = released_detectors()["TAAD"]


@pytest.fixture(scope="module")
def season():
    return simulate_season(2, minutes=4, seed=0)


def peaks(halves):
    """Everything that is detected in a task's halves."""
    return [half.cut(half.first_frame, half.end_frame).logits[0] for half in halves.values()]


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_detections_are_drawn_anew_in_each_epoch_and_only_then(season):
    table = simulate_detections(season, {"TAAD": TAAD}, 0)["TAAD"]
    snippets = cut_snippets(season, [table])
    first = peaks(pasted(season, snippets, (3, 1)))
    assert same(first, peaks(pasted(season, snippets, (3, 1))))
    for other in ((3, 2), (4, 1)):
        assert not all(
            a.shape == b.shape and np.array_equal(a, b)
            for a, b in zip(first, peaks(pasted(season, snippets, other)), strict=True)
        )


def test_counts_are_in_the_order_of_the_classes():
    table = truth((1, 0, 7, Action.BLOCK), (2, 0, 7, Action.DRIVE), (3, 0, 7, Action.BLOCK))
    assert class_counts(table).tolist() == [1, 0, 0, 0, 0, 0, 0, 2]


@pytest.mark.parametrize("n", [1, 7, 8, 9, 61])
def test_grouped_samples_are_all_there_in_batches_of_like_length(n):
    rng = np.random.default_rng(n)
    samples = [
        Sample(np.full((k, 1), i), np.arange(k), np.zeros((2, 3)))
        for i, k in enumerate(rng.integers(1, 50, n))
    ]
    order = grouped(samples, 8, (0, 1), groups=100)
    assert sorted(int(one.features[0, 0]) for one in order) == list(range(n))
    cuts = [part.samples for part in micro_batches(n, TrainConfig(batch=8), 0)]  # as training has them
    batches = [[order[i] for i in cut] for cut in cuts]
    lengths = sorted((min(map(len_, batch)), max(map(len_, batch))) for batch in batches)
    assert all(a[1] <= b[0] for a, b in pairwise(lengths))
    if n > 9:
        assert [int(s.features[0, 0]) for s in grouped(samples, 8, (0, 2), groups=100)] != [
            int(s.features[0, 0]) for s in order
        ]


def len_(one: Sample) -> int:
    return len(one.frames)


def test_windows_have_the_events_of_the_truth(season):
    """Pasting detections leaves the events as they are, each once."""
    table = simulate_detections(season, {"TAAD": TAAD}, 0)["TAAD"]
    halves = pasted(season, cut_snippets(season, [table]), (0, 0))
    counted = sum(
        np.count_nonzero(half.cut(half.first_frame, half.end_frame).labels) for half in halves.values()
    )
    assert counted == len(season.drop_duplicates(["half", "frame", "team", "jersey"]))
    assert len(WindowDataset(halves, WindowConfig(100, 5, "players", True))) == 5 * len(halves)
