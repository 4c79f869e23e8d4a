"""Roles, and where the unseen are."""

import numpy as np
import pytest

from footpass.data.unseen import filled
from footpass.importers.roles import FORMATIONS, ROLES_OF, assigned
from footpass.schema import PITCH, Role
from tests.importers.rows import ELEVEN

MINUTE = 60 * 25


# Other formations that the same eleven take up: where those stand who then stand elsewhere, and as what.
CHANGES = {
    "3-4-3": {  # who plays DM drops between the centre-backs, the full-backs move up
        "DM": ((21, 34), "MCB"), "LCB": ((25, 18), "LCB"), "RCB": ((25, 50), "RCB"),
        "LB": ((42, 5), "LB"), "RB": ((42, 63), "RB"),
        "LM": ((52, 24), "LM"), "RM": ((52, 44), "RM"),
    },
    "4-4-2": {  # the wingers drop, who plays RM joins the striker
        "LW": ((56, 8), "LM"), "RW": ((56, 60), "RM"), "LM": ((48, 26), "DM"), "DM": ((48, 42), "AM"),
        "CF": ((76, 24), "LW"), "RM": ((78, 44), "CF"),
    },
}  # fmt: skip


def eleven(order, length, team=0, seed=0, stations=ELEVEN):
    """Positions (11, length, 2) of players in these roles, who stray and follow play."""
    rng = np.random.default_rng(seed)
    sway = np.cumsum(rng.normal(0, 0.3, (length, 2)), axis=0) * [1, 0.3]
    xy = np.array([stations[name] for name in order], float)[:, None] + sway
    xy += rng.normal(0, 2, xy.shape)
    return np.array(PITCH) - xy if team else xy


@pytest.mark.parametrize("team", [0, 1])
def test_players_get_the_roles_they_play_in_whatever_their_order(team):
    order = list(np.random.default_rng(1).permutation(list(ELEVEN)))
    xy = eleven(order, 10 * MINUTE, team)
    formations, role = assigned(xy, np.ones(xy.shape[:2], bool), team, None)
    assert formations == {0: "4-3-3"}
    assert [Role(one).name for one in role[:, 0]] == order and (role == role[:, :1]).all()


def test_of_ten_players_far_from_their_goal_none_keeps_it():
    """A minute of play that never shows the goalkeeper: a centre-back was taken for one."""
    order = [name for name in ELEVEN if name != "GK"]
    xy = eleven(order, MINUTE) + np.array([15, 0])
    role = assigned(xy, np.ones(xy.shape[:2], bool), 0, None)[1]
    assert [Role(one).name for one in role[:, 0]] == order


def test_two_wingers_who_change_sides_change_roles_then():
    order = list(ELEVEN)
    xy = eleven(order, 10 * MINUTE)
    left, right = order.index("LW"), order.index("RW")
    xy[[left, right], 6 * MINUTE :] = xy[[right, left], 6 * MINUTE :]
    role = assigned(xy, np.ones(xy.shape[:2], bool), 0, None)[1]
    assert (role[left, : 6 * MINUTE] == Role.LW).mean() > 0.98
    assert (role[left, 6 * MINUTE :] == Role.RW).mean() > 0.98


def test_team_mates_change_roles_in_a_compact_team_as_well():
    """Half-way, so that the mean of the whole half says of neither who he is."""
    middle = np.mean(list(ELEVEN.values()), axis=0)
    compact = {name: middle + 0.55 * (place - middle) for name, place in ELEVEN.items()}
    xy = eleven(ELEVEN, 8 * MINUTE, stations=compact)
    left, right = (list(ELEVEN).index(name) for name in ("LCB", "RCB"))
    xy[[left, right], 4 * MINUTE :] = xy[[right, left], 4 * MINUTE :]
    role = assigned(xy, np.ones(xy.shape[:2], bool), 0, None)[1]
    assert (role[left, : 4 * MINUTE] == Role.LCB).mean() > 0.98
    assert (role[left, 4 * MINUTE :] == Role.RCB).mean() > 0.98


def test_a_full_back_who_overlaps_for_a_moment_stays_a_full_back():
    order = list(ELEVEN)
    xy = eleven(order, 10 * MINUTE)
    back, wing = order.index("LB"), order.index("LW")
    part = slice(5 * MINUTE, 5 * MINUTE + 250)
    xy[[back, wing], part] = xy[[wing, back], part]
    role = assigned(xy, np.ones(xy.shape[:2], bool), 0, None)[1]
    assert (role == role[:, :1]).all()


@pytest.mark.parametrize("formation", CHANGES)
@pytest.mark.parametrize("team", [0, 1])
def test_a_team_that_changes_its_formation_changes_its_roles_then(formation, team):
    moved = CHANGES[formation]
    stations = ELEVEN | {name: place for name, (place, _) in moved.items()}
    parts = eleven(ELEVEN, 11 * MINUTE, team), eleven(ELEVEN, 9 * MINUTE, team, 1, stations)
    xy = np.concatenate(parts, axis=1)
    formations, role = assigned(xy, np.ones(xy.shape[:2], bool), team, None)
    before, at = formations
    assert list(formations.values()) == ["4-3-3", formation] and before == 0
    assert abs(at - 11 * MINUTE) <= MINUTE
    names = np.array([[Role(one).name for one in row] for row in role[:, [0, -1]]])
    assert names[:, 0].tolist() == list(ELEVEN)
    assert names[:, 1].tolist() == [moved.get(name, (None, name))[1] for name in ELEVEN]


def test_a_team_that_stands_otherwise_for_three_minutes_keeps_its_formation():
    stations = ELEVEN | {name: place for name, (place, _) in CHANGES["4-4-2"].items()}
    lengths = (8, ELEVEN), (3, stations), (9, ELEVEN)
    parts = [eleven(ELEVEN, n * MINUTE, 0, n, where) for n, where in lengths]
    xy = np.concatenate(parts, axis=1)
    assert assigned(xy, np.ones(xy.shape[:2], bool), 0, None)[0] == {0: "4-3-3"}


def test_a_line_up_outweighs_where_a_player_is():
    order = list(ELEVEN)
    xy = eleven(order, 3 * MINUTE)
    names = [None] * 11
    names[order.index("DM")], names[order.index("LM")] = "LCM", "CDM"
    role = assigned(xy, np.ones(xy.shape[:2], bool), 0, None, names)[1]
    assert Role(role[order.index("LM"), 0]) in ROLES_OF["CDM"]


def test_wingers_who_change_sides_change_roles_whatever_the_line_up_said():
    xy = eleven(ELEVEN, 10 * MINUTE)
    left, right = (list(ELEVEN).index(name) for name in ("LW", "RW"))
    xy[[left, right], 6 * MINUTE :] = xy[[right, left], 6 * MINUTE :]
    role = assigned(xy, np.ones(xy.shape[:2], bool), 0, None, list(ELEVEN))[1]
    assert (role[left, : 6 * MINUTE] == Role.LW).mean() > 0.98
    assert (role[left, 6 * MINUTE :] == Role.RW).mean() > 0.98


def test_every_formation_has_eleven_roles_and_every_position_of_a_line_up_has_one():
    assert all(len(places) == 10 for places in FORMATIONS.values())
    assert {role for roles in ROLES_OF.values() for role in roles} == set(Role)


def test_who_is_seen_is_left_alone_and_who_is_not_moves_with_his_team():
    xy = np.concatenate([eleven(ELEVEN, 8 * MINUTE), eleven(ELEVEN, 8 * MINUTE, 1)])
    teams, keepers = np.repeat([0, 1], 11), np.tile([1] + [0] * 10, 2)
    rng = np.random.default_rng(2)
    hidden = np.repeat(rng.random((22, 8 * 60 // 5)) < 0.5, 125, axis=1)
    given = np.where(hidden[..., None], np.nan, xy)
    found = filled(given, teams, keepers)
    np.testing.assert_array_equal(found[~hidden], given[~hidden].astype(np.float32))
    away = np.linalg.norm(found - xy, axis=-1)[hidden]
    at_mean = np.linalg.norm(np.nanmean(given, axis=1)[:, None] - xy, axis=-1)[hidden]
    assert np.median(away) < 4 and np.median(away) < 0.6 * np.median(at_mean)


def test_where_the_unseen_are_taken_to_be_does_not_turn_on_rounding():
    """Positions that are off by a tenth of a millimetre move no estimate by more than two."""
    xy = np.concatenate([eleven(ELEVEN, 8 * MINUTE), eleven(ELEVEN, 8 * MINUTE, 1)])
    rng = np.random.default_rng(2)
    hidden = np.repeat(rng.random((22, 8 * 60 // 5)) < 0.5, 125, axis=1)
    hidden[:, 2000:3000] = True  # a replay
    given = np.where(hidden[..., None], np.nan, xy)
    about = np.repeat([0, 1], 11), np.tile([1] + [0] * 10, 2)
    moved = given * (1 + 1e-6 * rng.standard_normal(given.shape))
    np.testing.assert_allclose(filled(moved, *about), filled(given, *about), atol=2e-3)


def test_the_path_into_the_unseen_has_no_jump():
    xy = np.concatenate([eleven(ELEVEN, MINUTE), eleven(ELEVEN, MINUTE, 1)])
    xy[:, :, 0] += 6 * (np.arange(22) == 3)[:, None]  # far off his place
    given = xy.copy()
    given[3, 600:900] = np.nan
    found = filled(given, np.repeat([0, 1], 11), np.tile([1] + [0] * 10, 2))
    assert np.linalg.norm(np.diff(found[3, 600:900], axis=0), axis=1).max() < 1
    assert np.linalg.norm(found[3, 600] - xy[3, 590:600].mean(axis=0)) < 3
