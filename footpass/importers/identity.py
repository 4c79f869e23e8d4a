"""Identity: which tracks are of one player, and his jersey.

1. A track's team, role and jersey are those that most of its rows say.
2. Where a track ends and one of the same team starts nearby, soon, and nothing else does, they are one
   *chain*. Numbers are read wrong now and then; a chain's many readings outvote the wrong ones.
3. Chains with the same number that are never on at the same time are one player. Of two that are,
   the better read one has it.
4. The others go to whichever player is missing where they are; what no known player can be is a
   player without a jersey.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from footpass.data.unseen import filled
from footpass.importers.chains import chained
from footpass.importers.tracks import GOALKEEPER, UNKNOWN
from footpass.schema import FPS, N_TEAMS, PITCH

N_PLACES = 11  # players of a team at a time
_VOTE = 10.0  # seconds of one track that count: long tracks are one reading, too
_RARE = 0.04  # a number with less support, of what a usual player has, was misread
_SHARED = 0.1  # part of a chain that may be on at the same time as its player
_BIN = 10 * FPS  # frames in which it is counted how much a player is seen
_SELDOM = 0.3  # of what is usual for him: less than this over a long time, and he was not on
_FASTEST = 11.0  # m/s
_TURNS = 4  # over the chains that have no player yet, each with those of the one before
_RESTART = 5.0  # metres of error of a position
_AWAY = 30.0  # metres a chain without positions is off
_LONG = 60.0  # seconds before or after which he is not on
_OFF = 0.1  # metres added for every second before a player is first seen, or after he is last seen
_NEAR, _NEARER = 9.0, 4.0  # metres off where a missing player is expected; and nearer than to the next


@dataclass(frozen=True, eq=False)
class Players:
    """Who the players of a half are."""

    player: np.ndarray  # (rows,): the player of every row of the table of tracks
    sure: np.ndarray  # (rows,): whether the jersey is known for it: read, or clear from the movement
    # (P,): of each player; jersey `UNKNOWN` where he has none.
    team: np.ndarray
    jersey: np.ndarray
    keeper: np.ndarray
    tracks: pd.DataFrame  # a row per track: track, team, jersey, player, start, stop, readings, how
    notes: tuple[str, ...]  # what was decided and what is doubtful


def identified(table: pd.DataFrame, trusted: bool = False) -> Players:
    """Players of a cleaned table of tracks at 25 fps; ``trusted`` ones are a player each for certain."""
    tracks = _tracks(table)
    if trusted:
        tracks["player"] = np.arange(len(tracks))
        tracks["how"], sure = "given", np.ones(len(tracks), bool)
        return _players(table, tracks, sure, [])
    notes = _lone_teams(tracks)
    tracks["chain"] = chained(table, tracks)
    n_chains = tracks["chain"].nunique()
    notes.append(f"{len(tracks):,} tracks joined to {n_chains:,} chains where one goes on with another")
    sure = _assign(table, tracks, notes)
    return _players(table, tracks, sure, notes)


def _players(table: pd.DataFrame, tracks: pd.DataFrame, sure: np.ndarray, notes: list[str]) -> Players:
    """The result, players numbered in the order of team and jersey."""
    number = pd.factorize(tracks["player"])[0]
    firsts = tracks.assign(number=number).groupby("number")
    jersey = firsts["known"].max() if "known" in tracks else firsts["jersey"].max()
    index = pd.Index(tracks["track"]).get_indexer(table["track"])
    shown = ["track", "team", "jersey", "start", "stop", "readings", "how"]
    return Players(
        player=number[index],
        sure=sure[index],
        team=firsts["team"].first().to_numpy(np.int64),
        jersey=jersey.to_numpy(np.int64),
        keeper=(firsts["keeper"].mean() > 0.5).to_numpy(),  # mostly seen keeping goal
        tracks=tracks[shown].assign(player=number),
        notes=tuple(notes),
    )


def _tracks(table: pd.DataFrame) -> pd.DataFrame:
    """A row per track: what its rows say, and for how long."""
    grouped = table.groupby("track", sort=False)
    tracks = grouped["frame"].agg(start="min", stop="max", rows="size").reset_index()
    tracks[["start", "stop"]] = tracks[["start", "stop"]].astype(np.int64)
    for name in ("team", "jersey"):
        said = table[table[name] != UNKNOWN].groupby(["track", name]).size().rename("n").reset_index()
        best = said.sort_values("n", kind="stable").drop_duplicates("track", keep="last")
        best = best.set_index("track")
        tracks[name] = best[name].reindex(tracks["track"]).fillna(UNKNOWN).to_numpy(np.int64)
    share = best["n"] / said.groupby("track")["n"].sum()  # of the jersey
    readings = share * np.minimum(best["n"] / FPS, _VOTE)
    tracks["readings"] = readings.reindex(tracks["track"]).fillna(0).to_numpy()
    tracks["keeper"] = (grouped["keeper"].mean().to_numpy() > 0.5).astype(int) * GOALKEEPER
    return tracks


def _lone_teams(tracks: pd.DataFrame) -> list[str]:
    """Give tracks of no team to the one with fewer players on at the time."""
    lone = np.flatnonzero(tracks["team"] == UNKNOWN)
    for one in lone:
        start, stop = tracks.loc[one, ["start", "stop"]]
        on = tracks[(tracks["start"] <= stop) & (tracks["stop"] >= start)]
        count = [(on["team"] == team).sum() for team in range(N_TEAMS)]
        tracks.loc[one, "team"] = int(np.argmin(count))
    return [f"{len(lone):,} tracks without a team given to the one with fewer on"] if len(lone) else []


class _Team:
    """The players of a team while chains are given to them: who is seen where, and when."""

    def __init__(self, team: int, length: int) -> None:
        self.team, self.length = team, length
        self.jersey: list[int] = []
        self.keeper: list[bool] = []
        self.on: list[np.ndarray] = []  # (T,) whether he is seen
        self.xy: list[np.ndarray] = []  # (T, 2)
        self.given: dict[int, tuple[int, bool, str]] = {}  # chain -> player, whether sure, how

    def add(self, jersey: int = UNKNOWN, keeper: bool = False) -> int:
        """A new player; his number in the team."""
        self.jersey.append(jersey)
        self.keeper.append(keeper)
        self.on.append(np.zeros(self.length, bool))
        self.xy.append(np.full((self.length, 2), np.nan, np.float32))
        return len(self.jersey) - 1

    def fits(self, player: int, part: "_Chain") -> bool:
        """Whether a chain can be his: he is not on at the same time, and could run there."""
        on, frames = self.on[player], part.frames
        if on[frames].mean() > _SHARED:
            return False
        known = np.flatnonzero(on)
        before, after = np.searchsorted(known, [frames[0], frames[-1]])
        for neighbour, end in ((before - 1, 0), (after, -1)):
            if 0 <= neighbour < len(known):
                away = np.linalg.norm(self.xy[player][known[neighbour]] - part.xy[end])
                if away > _RESTART + _FASTEST * abs(known[neighbour] - frames[end]) / FPS:
                    return False
        return True

    def take(self, player: int, chain: int, part: "_Chain", sure: bool, how: str) -> None:
        """Give a chain to a player."""
        free = ~self.on[player][part.frames]
        self.on[player][part.frames[free]] = True
        self.xy[player][part.frames[free]] = part.xy[free]
        self.given[chain] = player, sure, how

    def release(self, player: int, chains: list[int], parts: dict[int, "_Chain"]) -> None:
        """Take chains away from a player again."""
        for chain in chains:
            frames = parts[chain].frames
            self.on[player][frames], self.xy[player][frames] = False, np.nan
            del self.given[chain]

    def stints(self) -> np.ndarray:
        """First and last frame each player is seen, (P, 2)."""
        return np.array([np.flatnonzero(on)[[0, -1]] if on.any() else (0, -1) for on in self.on])

    def expected(self) -> np.ndarray:
        """Where each player would be, (P, T, 2), who is not seen."""
        teams = np.full(len(self.xy), self.team)
        return filled(np.stack(self.xy), teams, np.array(self.keeper))


class _Chain(NamedTuple):
    """Frames and positions (metres) of a chain, in order."""

    frames: np.ndarray
    xy: np.ndarray


def _parts(table: pd.DataFrame, tracks: pd.DataFrame) -> dict[int, _Chain]:
    step = (table["frame"] - table["frame"].min()).to_numpy(np.int64)
    xy = (table[["x", "y"]].to_numpy() * np.array(PITCH)).astype(np.float32)
    chain = tracks.set_index("track")["chain"].loc[table["track"]].to_numpy()
    order = np.lexsort((step, chain))
    numbers, low = np.unique(chain[order], return_index=True)
    rows = np.split(order, low[1:])
    return {int(one): _Chain(step[at], xy[at]) for one, at in zip(numbers, rows, strict=True)}


def _assign(table: pd.DataFrame, tracks: pd.DataFrame, notes: list[str]) -> np.ndarray:
    """Give every chain to a player (columns ``player, known, how``); whether that is sure, per track."""
    parts = _parts(table, tracks)
    length = max(int(part.frames[-1]) for part in parts.values()) + 1
    votes = tracks[tracks["jersey"] != UNKNOWN].groupby(["chain", "jersey"])["readings"].sum()
    outvoted = len(votes) - votes.index.get_level_values(0).nunique()
    if outvoted:
        notes.append(f"{outvoted:,} readings of numbers outvoted by others of their chain")
    keepers = tracks.groupby("chain")["keeper"].mean() > 0.5
    given, known = {}, {}
    for number in range(N_TEAMS):
        team = _Team(number, length)
        chains = set(tracks["chain"][tracks["team"] == number].tolist())
        mine = votes[votes.index.get_level_values(0).isin(chains)]
        _by_number(team, mine, keepers, parts, notes)
        _by_place(team, [one for one in chains if one not in team.given], keepers, parts)
        for chain, (player, sure, how) in team.given.items():
            given[chain] = (number * 10**6 + player, sure, how)
            known[chain] = team.jersey[player]
    found = [given[one] for one in tracks["chain"]]
    tracks["player"], tracks["how"] = [player for player, *_ in found], [how for *_, how in found]
    tracks["known"] = [known[one] for one in tracks["chain"]]
    return np.array([sure for _, sure, _ in found])


def _by_number(
    team: _Team, votes: pd.Series, keepers: pd.Series, parts: dict[int, _Chain], notes: list[str]
) -> None:
    """Give chains to players by their numbers, the best readings first."""
    support = votes.groupby(level="jersey").sum().sort_values(ascending=False)
    usual = support.iloc[:N_PLACES].mean() if len(support) else 0.0
    rare = support.index[support < _RARE * usual].tolist()
    if rare:
        notes.append(f"team {team.team}: numbers read too seldom to be true: {sorted(rare)}")
    player_of = {jersey: team.add(jersey) for jersey in support.index if jersey not in rare}
    # A goalkeeper is seldom seen: his number, misread once on a player, would move him far.
    weighed = votes * keepers.loc[votes.index.get_level_values(0)].to_numpy()
    keeping = weighed.groupby(level="jersey").sum() > 0.5 * support.sort_index()
    twice: dict[int, int] = {}
    for (chain, jersey), _ in votes.sort_values(ascending=False, kind="stable").items():
        if chain in team.given or jersey not in player_of or keepers[chain] != keeping[jersey]:
            continue
        if team.fits(player_of[jersey], parts[chain]):
            team.take(player_of[jersey], chain, parts[chain], True, "number")
        else:
            twice[jersey] = twice.get(jersey, 0) + 1
    for jersey, count in sorted(twice.items()):
        notes.append(
            f"team {team.team}: number {jersey} seen twice at once, or too far away to run there, "
            f"{count} times: the better read has it"
        )
    for jersey, player in player_of.items():
        team.keeper[player] = bool(keeping[jersey])
        strays = _strays(team, player, parts)
        if strays:
            read = f"number {jersey} read {len(strays)} times"
            notes.append(f"team {team.team}: {read} long before or after")
        team.release(player, strays, parts)


def _strays(team: _Team, player: int, parts: dict[int, _Chain]) -> list[int]:
    """Chains far from when a player is usually seen: his number was read before he came on, or after."""
    seen = np.flatnonzero(team.on[player])
    if not len(seen):
        return []
    bins = np.add.reduceat(team.on[player].astype(float), np.arange(0, team.length, _BIN))
    low, high = np.quantile(seen, [0.1, 0.9])
    usual = 0.8 * len(seen) / max((high - low) / _BIN, 1)  # frames a bin
    sums = np.concatenate([[0], np.cumsum(bins - _SELDOM * usual)])
    lowest = np.minimum.accumulate(sums)
    stop = int((sums - lowest).argmax())  # the stretch that has most of him for its length
    start = int(sums[: stop + 1].argmin())
    own = {chain: parts[chain].frames for chain, (given, *_) in team.given.items() if given == player}
    return [one for one, at in own.items() if at[-1] < start * _BIN or at[0] >= stop * _BIN]


def _by_place(team: _Team, left: list[int], keepers: pd.Series, parts: dict[int, _Chain]) -> None:
    """Give the other chains to whoever is missing there; the rest are players without a jersey."""
    left.sort(key=lambda one: -len(parts[one].frames))
    if not any(np.isfinite(parts[one].xy).any() for one in left):  # pictures only
        for one in left:
            team.take(team.add(), one, parts[one], False, "alone")
        return
    for one in [one for one in left if keepers[one]]:
        keeper = next((p for p, is_one in enumerate(team.keeper) if is_one), None)
        keeper = team.add(keeper=True) if keeper is None else keeper
        if team.fits(keeper, parts[one]):
            team.take(keeper, one, parts[one], True, "goalkeeper")
    for turn in range(_TURNS):
        if turn == 1:
            _seed(team, [one for one in left if one not in team.given], parts)
        left = [one for one in left if one not in team.given]
        if not left:
            return
        if not team.on:
            continue
        last = turn == _TURNS - 1
        expected, stints = team.expected(), team.stints()
        keeps = np.array(team.keeper)
        ranked = sorted(
            (_candidates(parts[one], expected, stints, keeps != keepers[one]), one) for one in left
        )
        for candidates, one in ranked:
            free = [(away, p) for away, p in candidates if away < np.inf and team.fits(p, parts[one])]
            if not free:
                continue
            away, player = free[0]
            clear = len(free) == 1 or free[1][0] - away >= _NEARER
            sure = away < _NEAR and clear
            if sure or last:
                team.take(player, one, parts[one], sure, "place")
    for one in left:
        if one not in team.given:
            fitting = [p for p, jersey in enumerate(team.jersey) if jersey == UNKNOWN]
            fitting = [p for p in fitting if team.fits(p, parts[one])]
            player = fitting[0] if fitting else team.add()
            team.take(player, one, parts[one], False, "left over")


def _seed(team: _Team, left: list[int], parts: dict[int, _Chain]) -> None:
    """As many players without a jersey as numbers are missing, where most of them are seen at once."""
    on = np.zeros(team.length, int)
    for first, last in team.stints():
        on[first : last + 1] += 1
    missing = N_PLACES - int(np.median(on))
    if missing <= 0:
        return
    count = np.zeros(team.length, int)
    for one in left:
        count[parts[one].frames] += 1
    busiest = int(count.argmax())
    here = [one for one in left if parts[one].frames[0] <= busiest <= parts[one].frames[-1]]
    for one in here[:missing]:
        team.take(team.add(), one, parts[one], True, "seed")


def _candidates(
    part: _Chain, expected: np.ndarray, stints: np.ndarray, other: np.ndarray
) -> list[tuple[float, int]]:
    """Players by how many metres from their expected place a chain is; infinitely far who cannot be it.

    Further off is who is not on at the time; out of the question is ``other``, (P,) bool.
    """
    some = np.linspace(0, len(part.frames) - 1, min(len(part.frames), 50)).astype(int)
    away = np.linalg.norm(expected[:, part.frames[some]] - part.xy[some], axis=-1)
    away = np.nan_to_num(away, nan=_AWAY).mean(axis=1)
    off = np.maximum(part.frames[0] - stints[:, 1], stints[:, 0] - part.frames[-1]) / FPS
    ranked = np.where(other | (off > _LONG), np.inf, away + np.maximum(off, 0) * _OFF)
    return sorted(zip(ranked.tolist(), range(len(ranked)), strict=True))
