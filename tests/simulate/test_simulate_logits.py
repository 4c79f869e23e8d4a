"""Detectors that do not exist: what they see of a half, and what they may not see."""

import numpy as np
import pandas as pd
import pytest

from footpass.data.halves import dense, events_of
from footpass.detectors.spotting import events_from_logits
from footpass.schema import N_CLASSES, N_SLOTS, Action, State
from footpass.simulate.logits import perfect_logits, simulate_logits
from tests import seasons

EVENTS = {(60 + 20 * i, slot): 1 + i % 8 for i, slot in enumerate((0, 2, 14, 20, 25, 15))}


@pytest.fixture(scope="module")
def half():
    return dense(seasons.rows("game_1_H1", EVENTS), "game_1_H1")


def drawn(half, volumes: int = 2, seeds: int = 30) -> np.ndarray:
    """``(seeds, V, 9, 26, T)`` float32."""
    volumes = [simulate_logits(half, np.random.default_rng(seed), volumes) for seed in range(seeds)]
    return np.array(volumes, np.float32)


def test_volumes_are_those_of_the_half_and_of_the_seed(half):
    one, again = (simulate_logits(half, np.random.default_rng(3), 2) for _ in range(2))
    assert [volume.shape for volume in one] == [(N_CLASSES, N_SLOTS, half.n_frames)] * 2
    assert all(np.array_equal(a, b) and np.isfinite(a).all() for a, b in zip(one, again, strict=True))
    other = simulate_logits(half, np.random.default_rng(4), 2)
    assert not np.array_equal(one[0], other[0])


def test_a_perfect_detector_tells_every_event_at_its_frame(half):
    found = events_from_logits(perfect_logits(half), half, without_box=True)
    columns = ["frame", "team", "jersey", "cls"]
    pd.testing.assert_frame_equal(found[columns], events_of(half)[columns], check_dtype=False)
    assert (found["score"] > 0.9).all()


def test_events_with_a_box_stand_out(half):
    """Of many detectors' log-odds the mean is higher at an event's class and place than elsewhere."""
    odds = drawn(half)[:, :, 1:] - drawn(half)[:, :, :1]
    visible = half.state[State.VISIBLE] > 0
    for (frame, slot), cls in EVENTS.items():
        at = frame - half.first_frame
        here = odds[..., cls - 1, slot, max(0, at - 5) : at + 6].max(axis=-1).mean(axis=0)
        if visible[slot, at]:
            assert (here > -1).all(), (frame, slot)
    assert np.median(odds[..., visible]) < -2.5


def test_the_first_detector_knows_nothing_of_whom_it_does_not_see(half):
    blind = half.state[State.VISIBLE] == 0
    volumes = drawn(half, seeds=3)
    hidden = volumes[:, 0][..., blind]
    assert (hidden[:, Action.BACKGROUND] == 3).all() and (hidden[:, 1:] == 0).all()
    at = next(frame - half.first_frame for frame, slot in EVENTS if slot == 25)
    assert volumes[:, 1, 1:, 25, at].any()  # the second has an idea of the one who never has a box
    assert not volumes[:, 1, 1:, 7].any()  # and none of a slot where there is nobody
