"""Plausible play-by-play: a semi-Markov chain over who acts next and how, with line-ups.

The chain's numbers (transitions, gaps, boxes, replays) are those of the real train events
(`data.statistics`). Who takes part is an assumption, `ROLE_WEIGHTS`, since the public
files do not give roles: it is set so that the shares of a team's most active players come near the real.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from footpass.data.statistics import GAP_LEVELS, load_statistics
from footpass.events import concat
from footpass.files import DataError
from footpass.schema import ACTIONS, FPS, N_TEAMS, Role
from footpass.timeline import OPPONENT, SAME_PLAYER

FORMATIONS = {
    "4-3-3": "GK LB LCB RCB RB DM LM RM LW RW CF",
    "4-3-1-2": "GK LB LCB RCB RB DM LM RM AM LW CF",
    "4-2-3-1": "GK LB LCB RCB RB DM LM AM LW RW CF",
    "3-5-2": "GK LB LCB MCB RCB RB DM LM RM AM CF",
    "3-4-3": "GK LB LCB MCB RCB RB LM RM LW RW CF",
}

# How much likelier a role is than another to be the actor of a class; columns in class order:
#        drive pass cross throw-in shot header tackle block
ROLE_WEIGHTS = {
    Role.GK: (3, 4, 0, 0, 0, 0.2, 0.1, 2),
    Role.LB: (9, 9, 6, 14, 1, 5, 9, 3),
    Role.LCB: (9, 10, 0.2, 0.3, 1, 9, 8, 5),
    Role.MCB: (9, 10, 0.1, 0.1, 1, 10, 8, 5),
    Role.RCB: (9, 10, 0.2, 0.3, 1, 9, 8, 5),
    Role.LM: (8, 8, 3, 1.5, 4, 4, 6, 2),
    Role.RM: (8, 8, 3, 1.5, 4, 4, 6, 2),
    Role.DM: (10, 11, 0.5, 0.3, 2, 6, 10, 3),
    Role.AM: (8, 7, 2, 0.3, 6, 3, 4, 1),
    Role.LW: (7, 5, 7, 0.7, 7, 3, 3, 1),
    Role.RW: (7, 5, 7, 0.7, 7, 3, 3, 1),
    Role.CF: (5, 4, 1, 0.2, 10, 8, 2, 1),
    Role.RB: (9, 9, 6, 14, 1, 5, 9, 3),
}

_WEIGHTS = np.array([ROLE_WEIGHTS[role] for role in Role], dtype=float)  # (13, 8)
FIRST_FRAME = 50  # of a match's video: the kick-off
_SHORTEST = 10  # frames of a half
HALF_TIME = 0.1  # of the first half's length, between the halves: second halves start near 75,000
SUBSTITUTIONS = 3  # of each team, in the second half
ROLE_SWAPS = 1  # of each team and half: two team-mates of one such pair exchange roles for good
SWAPPED = ((Role.LB, Role.RB), (Role.LM, Role.RM), (Role.LW, Role.RW), (Role.LCB, Role.RCB))


@dataclass(frozen=True)
class SimulatedMatch:
    """Events and line-ups of one match."""

    events: pd.DataFrame  # ground-truth event table (`footpass.events`) of both halves
    # One row per stint: half, team, jersey, role, start, stop; the player has the role in frames start
    # <= frame < stop. At every frame of a half each team has 11 rows.
    lineup: pd.DataFrame


def simulate_match(game: int, minutes: float = 90.0, seed: int = 0) -> SimulatedMatch:
    """One match of ``minutes`` in two halves, reproducible by ``(seed, game)``."""
    if not 0 < minutes <= 600:
        raise DataError(f"{minutes} minutes a match: not within 0..600")
    length = round(minutes / 2 * 60 * FPS)
    if length < _SHORTEST:
        raise DataError(f"a half of {length} frames is too short to play: {_SHORTEST} at least")
    rng = np.random.default_rng([seed, game])
    starts = (FIRST_FRAME, FIRST_FRAME + round(length * (1 + HALF_TIME)))
    line = [_starting_line(rng) for _ in range(N_TEAMS)]
    events, lineups = [], []
    for number, start in enumerate(starts, 1):
        half = f"game_{game}_H{number}"
        stop = start + length
        stints = []
        for team in range(N_TEAMS):
            rows, line[team] = _stints(rng, line[team], start, stop, substitute=number == 2)
            # At half-time the teams change sides, and team 0 is whoever attacks from the left.
            side = team if number == 1 else 1 - team
            stints += [(half, side, *row) for row in rows]
        lineup = pd.DataFrame(stints, columns=["half", "team", "jersey", "role", "start", "stop"])
        lineups.append(lineup)
        events.append(_chain(rng, half, lineup, start, stop))
    return SimulatedMatch(concat(events), pd.concat(lineups, ignore_index=True))


def simulate_season(matches: int, minutes: float = 90.0, seed: int = 0) -> pd.DataFrame:
    """Ground-truth event table of several matches, ``game_0`` and following."""
    return concat(simulate_match(game, minutes, seed).events for game in range(matches))


def _starting_line(rng: np.random.Generator) -> dict[int, int]:
    """Jersey -> role of eleven players; the goalkeeper wears 1."""
    roles = [Role[name] for name in FORMATIONS[str(rng.choice(list(FORMATIONS)))].split()]
    jerseys = rng.choice(np.arange(2, 40), size=len(roles) - 1, replace=False)
    return dict(zip([1, *jerseys.tolist()], map(int, roles), strict=True))


def _stints(
    rng: np.random.Generator, line: dict[int, int], start: int, stop: int, substitute: bool
) -> tuple[list[tuple[int, int, int, int]], dict[int, int]]:
    """Rows ``(jersey, role, start, stop)`` of a team in a half, and its line-up at the end."""
    changes = [(rng.uniform(0.3, 0.9), "swap") for _ in range(ROLE_SWAPS)]
    if substitute:
        changes += [(rng.uniform(0.2, 0.95), "substitute") for _ in range(SUBSTITUTIONS)]
    line, since, rows = dict(line), dict.fromkeys(line, start), []
    for when, kind in sorted(changes):
        frame = start + int(when * (stop - start))
        if kind == "swap":
            wearer = {role: jersey for jersey, role in line.items()}
            pairs = [pair for pair in SWAPPED if wearer.keys() >= set(pair)]
            leaving = [wearer[role] for role in pairs[rng.integers(len(pairs))]]
        else:
            field = [jersey for jersey, role in line.items() if role != Role.GK]
            leaving = [int(rng.choice(field))]
        roles = [line[jersey] for jersey in leaving]
        rows += [(jersey, line.pop(jersey), since.pop(jersey), frame) for jersey in leaving]
        if kind == "swap":
            coming = leaving[::-1]
        else:
            worn = {*line, *(row[0] for row in rows)}
            coming = [int(rng.choice([jersey for jersey in range(40, 100) if jersey not in worn]))]
        line |= dict(zip(coming, roles, strict=True))
        since |= dict.fromkeys(coming, frame)
    rows += [(jersey, role, since[jersey], stop) for jersey, role in line.items()]
    # A change at the very frame of another one leaves a stint of no length.
    return [row for row in rows if row[2] < row[3]], line


def _chain(
    rng: np.random.Generator, half: str, lineup: pd.DataFrame, start: int, stop: int
) -> pd.DataFrame:
    """Events of a half, frames ``start <= frame < stop``."""
    statistics = load_statistics()
    n = len(ACTIONS)
    # Next (relation, class) by class, as one cumulative row each.
    likely = statistics.transitions.reshape(n, -1).astype(float)
    following = np.cumsum(likely / likely.sum(axis=1, keepdims=True), axis=1)
    stints = lineup[["team", "jersey", "role", "start", "stop"]].to_numpy()

    frame = start + int(rng.integers(1, FPS))
    cls, relation = int(rng.choice(n, p=statistics.count / statistics.count.sum())), OPPONENT
    team, jersey = int(rng.integers(N_TEAMS)), -1
    box = replay = False
    rows = []
    while frame < stop:
        if relation == OPPONENT:
            team = 1 - team
        on_pitch = stints[(stints[:, 0] == team) & (stints[:, 3] <= frame) & (frame < stints[:, 4])]
        if relation != SAME_PLAYER or jersey not in on_pitch[:, 1]:
            others = on_pitch[on_pitch[:, 1] != jersey]
            weights = _WEIGHTS[others[:, 2] - 1, cls]
            jersey = int(rng.choice(others[:, 1], p=weights / weights.sum()))
        replay = bool(rng.random() < statistics.replay_after[int(replay), cls])
        box = not replay and bool(rng.random() < statistics.box_after[int(box), cls])
        rows.append((frame, team, jersey, cls + 1, box, replay))

        cell = int(np.searchsorted(following[cls], rng.random(), side="right"))
        relation, following_cls = divmod(min(cell, following.shape[1] - 1), n)
        gap = np.interp(rng.random(), GAP_LEVELS, statistics.gaps[cls, relation, following_cls])
        frame += max(1, round(float(gap)))
        cls = following_cls
    columns = ["frame", "team", "jersey", "cls", "box_visible", "replay"]
    events = pd.DataFrame(rows, columns=columns)
    events.insert(0, "half", pd.Categorical([half] * len(events), categories=[half]))
    return events
