"""Tasks on play-by-play: what is drawn anew and what is not, who is held out, batches of like length."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from footpass.events import class_counts, halves_of, match_of
from footpass.files import DataError
from footpass.patches import cut_patches
from footpass.playbyplay import PLAY_BY_PLAY_RECIPES, Task, find_task, gnn_stand_in, learn
from footpass.schema import Action
from footpass.simulate.detections import released_detectors, simulate_detections
from footpass.simulate.events import simulate_season
from footpass.windows import Sample, WindowConfig, WindowDataset, grouped
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


@pytest.mark.parametrize("kind", ["patches", "rates"])
def test_detections_are_drawn_anew_in_each_epoch_and_only_then(season, kind):
    table = simulate_detections(season, {"TAAD": TAAD}, 0)["TAAD"]
    detectors = cut_patches(season, [table]) if kind == "patches" else {"TAAD": TAAD}
    task = Task(season, season, detectors, seed=3)
    again = Task(season, season, detectors, seed=3)
    assert same(peaks(task.halves(1)), peaks(again.halves(1)))
    assert same(peaks(task.scored()), peaks(again.scored()))
    for other in (task.halves(2), task.scored(), replace(task, seed=4).halves(1)):
        assert not all(
            a.shape == b.shape and np.array_equal(a, b)
            for a, b in zip(peaks(task.halves(1)), peaks(other), strict=True)
        )
    assert next(iter(task.evidence().values())).groupby("half", observed=False).size().gt(0).all()


def test_the_second_volume_is_the_second_detector(season):
    task = Task(season, season, {"TAAD": TAAD, "GNN": gnn_stand_in(TAAD)})
    one, both = (next(iter(task.scored(volumes).values())) for volumes in (1, 2))
    excerpt = both.cut(both.first_frame, both.end_frame)
    assert len(excerpt.logits) == 2
    evidence = task.evidence()
    half = halves_of(season)[0]
    for volume, name in zip(excerpt.logits, ("TAAD", "GNN"), strict=True):
        rows = evidence[name][evidence[name]["half"] == half]
        cells = rows.drop_duplicates(["frame", "team", "jersey", "cls"])
        assert np.count_nonzero(volume) == len(cells)
    assert len(one.cut(one.first_frame, one.end_frame).logits) == 1
    with pytest.raises(DataError, match="3 detectors to be fused, there are 2"):
        task.halves(0, volumes=3)


def test_the_stand_in_finds_the_same_and_errs_less():
    better = gnn_stand_in(TAAD)
    before, after = np.array(TAAD.outcome), np.array(better.outcome)
    np.testing.assert_allclose(after.sum(axis=-1), before.sum(axis=-1))  # whom it sees
    np.testing.assert_allclose(after[..., 1:], before[..., 1:] / 2)
    assert (np.array(better.false_alarms) < TAAD.false_alarms).all()


def test_held_out_matches_are_not_learned_from():
    task = find_task("smoke", "rates")
    matches = [{match_of(half) for half in halves_of(part)} for part in (task.train, task.held_out)]
    assert matches[0] and matches[1] and not matches[0] & matches[1]
    spans = task.train.groupby("half", observed=True)["frame"].agg(["min", "max"])
    assert (spans["max"] - spans["min"] < 2 * 60 * 25).all()


def test_a_profile_without_a_task():
    with pytest.raises(DataError, match="profile paper: choose one of smoke, demo, study"):
        find_task("paper", "rates")


def test_training_goes_on_from_given_weights(season, tmp_path):
    """With a learning rate of next to nothing, the weights stay where they started."""
    task = Task(season, season, {"TAAD": TAAD})
    recipe = PLAY_BY_PLAY_RECIPES["smoke"]
    base = learn(task, recipe, tmp_path / "base")
    still = replace(recipe, train=replace(recipe.train, rates={"": 1e-12}))
    more = learn(task, still, tmp_path / "more", start=tmp_path / "base" / "last.pt")
    for name, weight in base.model.state_dict().items():
        np.testing.assert_allclose(more.model.state_dict()[name], weight, atol=1e-6)
    assert [row["epoch"] for row in base.rows] == [0] and "macro_f1" in base.rows[0]


def test_counts_are_in_the_order_of_the_classes():
    table = truth((1, 0, 7, Action.BLOCK), (2, 0, 7, Action.DRIVE), (3, 0, 7, Action.BLOCK))
    assert class_counts(table).tolist() == [1, 0, 0, 0, 0, 0, 0, 2]


@pytest.mark.parametrize("n", [1, 7, 8, 61])
def test_grouped_samples_are_all_there_in_batches_of_like_length(n):
    rng = np.random.default_rng(n)
    samples = [
        Sample(np.full((k, 1), i), np.arange(k), np.zeros((2, 3)))
        for i, k in enumerate(rng.integers(1, 50, n))
    ]
    order = grouped(samples, 8, (0, 1), groups=100)
    assert sorted(int(one.features[0, 0]) for one in order) == list(range(n))
    batches = [order[i : i + 8] for i in range(0, n, 8)]
    lengths = sorted((min(map(len_, batch)), max(map(len_, batch))) for batch in batches)
    assert all(a[1] <= b[0] for a, b in pairwise(lengths))
    if n > 8:
        assert [int(s.features[0, 0]) for s in grouped(samples, 8, (0, 2), groups=100)] != [
            int(s.features[0, 0]) for s in order
        ]


def len_(one: Sample) -> int:
    return len(one.frames)


def test_windows_of_a_task_have_the_events_of_its_truth(season):
    """Over the fixed windows of a task, the tokens hold each event once."""
    task = Task(season, season, {"TAAD": TAAD})
    halves = task.halves(0)
    counted = sum(
        np.count_nonzero(half.cut(half.first_frame, half.end_frame).labels) for half in halves.values()
    )
    assert counted == len(season.drop_duplicates(["half", "frame", "team", "jersey"]))
    assert len(WindowDataset(halves, WindowConfig(100, 5, "players", True))) == 5 * len(halves)
