"""How players move, of a match that is made by hand."""

import numpy as np
import pytest

from footpass.data.halves import HalfMatch
from footpass.data.movement import movement
from footpass.schema import FPS, N_SLOTS, PITCH


def test_two_teams_that_stand_and_run_as_made_by_hand():
    """Team 0 stands in a column, team 1 five metres to its right; one of team 1 runs at 6 m/s."""
    state = np.full((5, N_SLOTS, 101), np.nan, np.float32)
    state[4] = 0
    for team in (0, 1):
        for place in range(11):
            slot = 13 * team + place
            state[:2, slot] = np.array([20 + 5 * team, 6.0 * place])[:, None] / np.array(PITCH)[:, None]
            state[2:4, slot] = 0
    state[0, 13 + 1] += 6 * np.arange(101) / FPS / PITCH[0]
    state[2, 13 + 1] = 6
    state[4, :, :10] = state[4, :, 60:] = 1  # unseen for 50 frames
    nobody = np.zeros((N_SLOTS, 101), np.int16)
    half = HalfMatch("game_1_H1", 0, state, np.full((N_SLOTS, 101, 4), np.nan), nobody, None)
    found = movement([half])
    assert found["mean speed"] == pytest.approx(6 / 20)
    assert found["share above 5.5 m/s, %"] == pytest.approx(100 / 20)
    assert found["top speed"] == 6
    assert found["second difference of positions"] == pytest.approx(0, abs=1e-5)
    assert found["nearest opponent, median"] == pytest.approx(5)
    assert found["width of a team, median"] == pytest.approx(54)
    assert found["seconds unseen, median"] == 2
