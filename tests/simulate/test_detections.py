"""Simulated detections have the error rates they are told to have."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from footpass.events import halves_of, read_ground_truth, read_predictions, write_events
from footpass.metrics import evaluate
from footpass.simulate.detections import released_detectors, simulate_detections
from tests.simulate.rates import measure


def truth_of(n: int = 4000, seed: int = 0) -> pd.DataFrame:
    """Events 60 frames apart, so that each prediction has one explanation."""
    rng = np.random.default_rng(seed)
    half = pd.Categorical(
        ["a_H1"] * (n // 2) + ["a_H2"] * (n - n // 2), categories=["a_H1", "a_H2", "b_H1"]
    )
    return pd.DataFrame(
        {
            "half": half,
            "frame": np.r_[np.arange(n // 2), np.arange(n - n // 2)] * 60 + 100,
            "team": rng.integers(2, size=n),
            "jersey": rng.integers(1, 12, size=n),
            "cls": rng.integers(1, 9, size=n),
            "box_visible": rng.random(n) < 0.8,
            "replay": False,
        }
    )


@pytest.mark.parametrize("name", ["TAAD", "DST"])
def test_the_rates_measured_are_those_asked_for(name):
    truth = truth_of()
    asked = replace(released_detectors()[name], false_alarms=[0.0] * 8)
    got = measure(simulate_detections(truth, {name: asked}, seed=1)[name], truth)
    # About 400 events a class with a box, 100 without: four standard errors.
    np.testing.assert_allclose(got.outcome[1], asked.outcome[1], atol=0.1)
    np.testing.assert_allclose(got.outcome[0], asked.outcome[0], atol=0.2)
    np.testing.assert_allclose(got.jitter[1:-1], asked.jitter[1:-1], atol=1)
    assert max(got.false_alarms) < 0.01


def test_false_alarms_are_as_many_as_asked_for():
    truth = truth_of()
    silent = replace(released_detectors()["TAAD"], outcome=np.zeros((2, 8, 3)).tolist())
    table = simulate_detections(truth, {"TAAD": silent}, seed=1)["TAAD"]
    counts = np.bincount(table["cls"], minlength=9)[1:] / len(truth)
    np.testing.assert_allclose(counts, silent.false_alarms, rtol=0.3)


def test_a_perfect_detector_repeats_the_truth():
    truth = truth_of(400)
    perfect = replace(
        released_detectors()["DST"],
        outcome=np.broadcast_to([1.0, 0, 0], (2, 8, 3)).tolist(),
        false_alarms=[0.0] * 8,
        jitter=[0.0] * 11,
    )
    table = simulate_detections(truth, {"DST": perfect}, seed=0)["DST"]
    pd.testing.assert_frame_equal(
        table.drop(columns="score"), truth.drop(columns=["box_visible", "replay"])
    )
    assert evaluate(table, truth).macro_f1 == 1


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    truth, detectors = truth_of(300), released_detectors()
    first, second, other = (simulate_detections(truth, detectors, seed)["TAAD"] for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first, second)
    assert not first.equals(other)
    write_events(first, tmp_path / "p.json")  # a valid prediction table
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "p.json"), first)
    assert halves_of(first) == ["a_H1", "a_H2", "b_H1"]


def test_no_events_give_no_detections():
    table = simulate_detections(truth_of(0), released_detectors(), seed=0)["TAAD"]
    assert not len(table) and halves_of(table) == ["a_H1", "a_H2", "b_H1"]


def test_the_rates_in_the_package_are_those_of_the_release(release):
    truth = read_ground_truth(release / "playbyplay_GT" / "playbyplay_val.json")
    for name, detector in released_detectors().items():
        predictions = read_predictions(release / "playbyplay_PRED" / f"playbyplay_{name}_val.json")
        assert asdict(measure(predictions, truth)) == asdict(detector)
        simulated = [simulate_detections(truth, {name: detector}, s)[name] for s in range(5)]
        score = np.mean([evaluate(table, truth).macro_f1 for table in simulated])
        assert score == pytest.approx(evaluate(predictions, truth).macro_f1, abs=0.03)
