"""Who is who: tracks that break, numbers that are misread, numbers that are missing."""

import numpy as np
import pandas as pd

from footpass.importers.identity import identified
from tests.importers.rows import ELEVEN, track


def eleven(pieces: int, length: int = 3000, **of: dict) -> pd.DataFrame:
    """A team whose tracks break so often; ``of``: place -> jersey by piece, else 2, 3, ..."""
    tracks = []
    for place, (name, at) in enumerate(ELEVEN.items()):
        for piece in range(pieces):
            frames = np.arange(length * piece // pieces, length * (piece + 1) // pieces)
            jersey = of.get(name, {}).get(piece, place + 2)
            tracks.append(track(100 * place + piece, frames, at, jersey=jersey))
    return pd.concat(tracks, ignore_index=True)


def jersey_of(table: pd.DataFrame, number: int) -> int:
    players = identified(table)
    return int(players.jersey[players.player[(table["track"] == number).to_numpy()][0]])


def test_a_player_whose_track_breaks_is_one_player():
    players = identified(eleven(10))
    assert sorted(players.jersey) == list(range(2, 13)) and players.sure.all()


def test_a_number_misread_once_is_outvoted():
    table = eleven(10, CF={4: 99}, LW={5: 3})
    assert jersey_of(table, 904) == 11 and jersey_of(table, 805) == 10


def test_a_track_without_a_number_that_goes_on_with_one_has_it():
    assert jersey_of(eleven(10, DM={7: -1, 8: -1}), 507) == 7


def test_a_substitute_whose_number_is_not_read_at_first_is_not_who_left():
    """His first track, without a number, goes on with the other's, and the next one with it."""
    table = eleven(1)
    leaves = table["track"] == 500
    table.loc[leaves & (table["frame"] > 1500), ["track", "jersey"]] = 501, -1
    table.loc[leaves & (table["frame"] > 1560), ["track", "jersey"]] = 502, 30
    assert jersey_of(table, 500) == 7 and jersey_of(table, 502) == 30


def test_a_player_whose_number_is_never_read_stays_without_one():
    table = eleven(5, RM=dict.fromkeys(range(5), -1))
    players = identified(table)
    assert len(players.jersey) == 11 and sorted(players.jersey)[0] == -1
    assert jersey_of(table, 702) == -1


def test_of_a_number_seen_twice_at_once_the_better_read_one_has_it():
    table = eleven(1, RW={0: 11})  # the striker has 11, all match; this one's is read for a while only
    table.loc[(table["track"] == 1000) & (table["frame"] > 200), "jersey"] = -1
    players = identified(table)
    number = {one: players.jersey[players.player[table["track"] == one]][0] for one in (900, 1000)}
    assert number == {900: 11, 1000: -1}
    assert any("number 11 seen twice at once" in note for note in players.notes)


def test_a_track_that_reappears_after_a_while_goes_to_the_player_who_is_missing():
    table = eleven(1)
    gone = table["frame"].between(1000, 1500) & (table["track"] == 400)
    late = (table["frame"] > 1500) & (table["track"] == 400)
    table.loc[late, "jersey"], table.loc[late, "track"] = -1, 4000
    assert jersey_of(table[~gone].reset_index(drop=True), 4000) == 6


def test_the_tracks_of_a_provider_are_not_voted_on():
    table = eleven(2)
    assert len(identified(table, trusted=True).jersey) == 22
