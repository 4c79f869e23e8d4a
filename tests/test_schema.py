"""Mirrors: against the table of pitch symmetries, written out."""

import pytest

from footpass.schema import MIRRORS, N_SLOTS, Role, Tactical, counted, slot

SIDES = {"LB": "RB", "LCB": "RCB", "LM": "RM", "LW": "RW"}
SIDES |= {right: left for left, right in SIDES.items()}


@pytest.mark.parametrize(
    ("name", "swaps_teams", "swaps_sides"), [("X", True, True), ("Y", False, True), ("XY", True, False)]
)
def test_a_mirror_moves_every_slot_as_the_table_says(name, swaps_teams, swaps_sides):
    slots = MIRRORS[name].slots
    for team in (0, 1):
        for role in Role:
            other = Role[SIDES.get(role.name, role.name)] if swaps_sides else role
            assert slots[slot(team, role)] == slot(1 - team if swaps_teams else team, other)
    assert [slots[s] for s in slots] == list(range(N_SLOTS))


def test_the_tactical_columns_are_in_file_order():
    assert list(Tactical) == list(range(14))
    assert Tactical.ROLE == 4 and Tactical.BOX_X == 9 and Tactical.LABEL == 13


def test_nouns_are_counted():
    told = [
        counted(n, noun) for n, noun in ((1, "half"), (2, "half"), (0, "event"), (1200, "real match"))
    ]
    assert told == ["1 half", "2 halves", "0 events", "1,200 real matches"]
