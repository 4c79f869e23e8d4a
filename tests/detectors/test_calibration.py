"""Calibration: probabilities that are as often true as they say."""

import numpy as np
import pytest
from scipy.special import softmax

from footpass.data.halves import HalfMatch
from footpass.detectors.calibration import fit_calibration
from footpass.files import DataError
from footpass.schema import N_CLASSES, N_SLOTS, TOLERANCE, State

BLOCKS, LENGTH = 120, 2 * TOLERANCE + 1


def overconfident():
    """A half in blocks of 25 frames, an event in the middle of some, and logits twice too large."""
    rng = np.random.default_rng(0)
    fair = rng.normal(0, 1.5, (N_CLASSES, N_SLOTS, BLOCKS))
    fair[0] += 2
    dice = rng.random((N_SLOTS, BLOCKS))
    drawn = (softmax(fair, axis=0).cumsum(axis=0) < dice).sum(axis=0).clip(max=N_CLASSES - 1)
    labels = np.zeros((N_SLOTS, BLOCKS * LENGTH), np.int8)
    labels[:, TOLERANCE::LENGTH] = drawn
    state = np.ones((len(State), *labels.shape), np.float32)
    jersey = np.ones(labels.shape, np.int16)
    half = HalfMatch("game_1_H1", 0, state, np.zeros((0, *labels.shape)), jersey, labels)
    told = 2 * fair - np.linspace(0, 4, N_CLASSES)[:, None, None]
    return half, told.repeat(LENGTH, axis=-1), drawn


def test_what_was_said_too_surely_is_taken_back():
    half, logits, drawn = overconfident()
    fitted = fit_calibration({half.name: logits}, {half.name: half})
    assert fitted.scale == pytest.approx(0.5, rel=0.1) and fitted.smoothing == 0
    assert fitted.offsets == pytest.approx(np.linspace(0, 2, N_CLASSES), abs=0.35)
    # At the most likely offsets, every class is as likely as it is frequent.
    said = softmax(fitted(logits), axis=0)[:, :, ::LENGTH].mean(axis=(1, 2))
    frequent = np.bincount(drawn.ravel(), minlength=N_CLASSES) / drawn.size
    assert said == pytest.approx(frequent, abs=2e-3)


def test_players_that_are_not_asked_about_do_not_count():
    half, logits, _ = overconfident()
    fitted = fit_calibration({half.name: logits}, {half.name: half})
    half.state[State.VISIBLE, 13:] = 0
    wild = logits.copy()
    wild[:, 13:] = 50.0
    seen = fit_calibration({half.name: wild}, {half.name: half})
    assert seen.scale == pytest.approx(fitted.scale, rel=0.2)


def test_nothing_to_calibrate_on():
    with pytest.raises(DataError, match="no halves"):
        fit_calibration({}, {})
