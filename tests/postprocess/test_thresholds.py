"""Thresholds by class against trying every score."""

import numpy as np
from hypothesis import given, settings

from footpass.metrics import evaluate
from footpass.postprocess.thresholds import apply_thresholds, fit_thresholds
from footpass.schema import ACTIONS
from tests.tables import CROWDED, predictions, truth

HALVES = ("a_H1", "a_H2")


@settings(deadline=None, max_examples=40)
@given(CROWDED, CROWDED)
def test_no_other_thresholds_are_better(found, known):
    table, true = predictions(*found, halves=HALVES), truth(*(row[:5] for row in known), halves=HALVES)
    thresholds = fit_thresholds(table, true)
    best = evaluate(apply_thresholds(table, thresholds), true).counts.f1
    for score in (0.0, *set(table["score"])):
        other = evaluate(apply_thresholds(table, (score,) * len(ACTIONS)), true).counts.f1
        assert (best >= other).all()


def test_a_threshold_is_the_lowest_score_that_stays():
    table = predictions((100, 0, 7, 2, 0.6), (200, 0, 7, 2, 0.4), (300, 0, 7, 1, 0.3))
    thresholds = fit_thresholds(table, truth((101, 0, 7, 2), (300, 0, 7, 1)))
    assert thresholds == (0.3, 0.6, *[0.0] * 6)
    assert apply_thresholds(table, thresholds)["frame"].tolist() == [100, 300]
    assert np.isfinite(thresholds).all()
