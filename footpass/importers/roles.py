"""Roles: a team's players assigned to the stations of the formation that fits them best.

A player's place is the offset from the middle of the team, in units of the team's own size; the
eleven are matched with the stations of a formation at the least total cost (the Hungarian method), over
the whole half, or over the stretches between changes of formation. Within one, the matches of shorter
stretches say who may play where, and the cheapest path through them who does when. A change of either
kind must pay for itself, so that a full-back who overlaps once stays a full-back.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment

from footpass.schema import FPS, N_ROLES, PITCH, Role

WINDOW = 5 * FPS  # frames over which offsets are averaged
# Costs are squared distances from a station in units of the team's own size: the same movement means
# more in a compact team than in a wide one.
_CHANGE = 35.0  # what an exchange of roles must save of two always seen: 80 s of centre-backs
_FORMATION = 4 * _CHANGE  # what a change of formation must save
_MINUTE = 60 * FPS // WINDOW  # windows
_LASTS = 5  # minutes that a formation is played at least
_STRETCHES = 2, 4, 8  # minutes in which players are matched with roles, to see who may play where
_ROUNDS = 3
_ABSENT = 1e9  # cost of a role that a formation does not have
_FORBIDDEN = 4.0  # cost of a role that the line-up rules out: it yields to two wingers who change sides
_LESS_LIKELY = 0.01  # cost of each role that the line-up thinks likelier
_OUTFIELD, _GOAL = 10, 20.0  # players beside the goalkeeper, who is within metres of the own goal line

# Stations: x from the own goal to the other's, y from the left touchline to the right one, both 0..1.
_BACK_FOUR = {
    Role.LB: (0.30, 0.10),
    Role.LCB: (0.24, 0.36),
    Role.RCB: (0.24, 0.64),
    Role.RB: (0.30, 0.90),
}
_BACK_THREE = {
    Role.LB: (0.40, 0.07), Role.LCB: (0.24, 0.27), Role.MCB: (0.21, 0.50), Role.RCB: (0.24, 0.73),
    Role.RB: (0.40, 0.93),
}  # fmt: skip
_THREE = {Role.DM: (0.42, 0.50), Role.LM: (0.52, 0.28), Role.RM: (0.52, 0.72)}
_TWO = {Role.LM: (0.46, 0.38), Role.DM: (0.42, 0.62)}
_WINGS = {Role.LW: (0.74, 0.14), Role.RW: (0.74, 0.86), Role.CF: (0.80, 0.50)}
_STRIKERS = {Role.LW: (0.74, 0.36), Role.CF: (0.80, 0.64)}
_TEN = {Role.AM: (0.62, 0.50)}
FORMATIONS: Mapping[str, Mapping[Role, tuple[float, float]]] = {
    "4-3-3": _BACK_FOUR | _THREE | _WINGS,
    "4-2-3-1": _BACK_FOUR | _TWO | _TEN | _WINGS,
    "4-3-1-2": _BACK_FOUR | _THREE | _TEN | _STRIKERS,
    "4-4-2": _BACK_FOUR
    | {Role.LM: (0.54, 0.12), Role.DM: (0.46, 0.38), Role.AM: (0.46, 0.62), Role.RM: (0.54, 0.88)}
    | _STRIKERS,
    "3-5-2": _BACK_THREE | _THREE | _TEN | {Role.CF: (0.80, 0.50)},
    "3-4-3": _BACK_THREE | {Role.LM: (0.50, 0.36), Role.RM: (0.50, 0.64)} | _WINGS,
}

# Roles that a position of a line-up can mean, the likeliest first. Providers know more positions than
# there are roles: two holding midfielders are LM and DM or DM and RM, two strikers LW and CF or so.
# The words are kloppy's codes and the data provider's names.
_EITHER = {
    (Role.GK,): "GK GOALKEEPER",
    (Role.LB,): "LB LWB FULL_BACK_LEFT WING_BACK_LEFT",
    (Role.RB,): "RB RWB FULL_BACK_RIGHT WING_BACK_RIGHT",
    (Role.LCB, Role.MCB): "LCB CENTRE_BACK_LEFT",
    (Role.RCB, Role.MCB): "RCB CENTRE_BACK_RIGHT",
    (Role.MCB, Role.LCB, Role.RCB): "CB CENTRE_BACK CENTRE_BACK_CENTRE",
    (Role.LCB, Role.RCB, Role.MCB, Role.LB, Role.RB): "DEF FB",
    (Role.DM, Role.LM, Role.RM): "DM CDM DEFENSIVE_MIDFIELDER",
    (Role.LM, Role.DM): "LDM DEFENSIVE_MIDFIELDER_LEFT",
    (Role.RM, Role.DM): "RDM DEFENSIVE_MIDFIELDER_RIGHT",
    (Role.LM, Role.DM, Role.LW): "LCM CENTRAL_MIDFIELDER_LEFT",
    (Role.RM, Role.DM, Role.RW): "RCM CENTRAL_MIDFIELDER_RIGHT",
    (Role.DM, Role.LM, Role.RM, Role.AM): "CM MID CENTRAL_MIDFIELDER",
    (Role.LM, Role.LW): "LM MIDFIELDER_LEFT WIDE_MIDFIELDER_LEFT",
    (Role.RM, Role.RW): "RM MIDFIELDER_RIGHT WIDE_MIDFIELDER_RIGHT",
    (Role.LM, Role.RM, Role.LW, Role.RW): "WM",
    (Role.AM, Role.LW, Role.RW): "AM CAM OFFENSIVE_MIDFIELDER ATTACKING_MIDFIELDER",
    (Role.LW, Role.LM, Role.AM): "LAM LW LF ATTACKING_MIDFIELDER_LEFT WINGER_LEFT FORWARD_LEFT",
    (Role.RW, Role.RM, Role.AM): "RAM RW RF ATTACKING_MIDFIELDER_RIGHT WINGER_RIGHT FORWARD_RIGHT",
    (Role.CF, Role.LW): "STRIKER_LEFT",
    (Role.CF, Role.RW): "STRIKER_RIGHT",
    (Role.CF, Role.LW, Role.RW): "ST CF ATT STRIKER CENTRE_FORWARD",
}
ROLES_OF = {word: roles for roles, words in _EITHER.items() for word in words.split()}


def assigned(
    xy: np.ndarray, seen: np.ndarray, team: int, keeper: int | None, positions: Sequence[str | None] = ()
) -> tuple[dict[int, str], np.ndarray]:
    """Formations of a team by the frame each begins at, and the roles at every frame, (places, T).

    Parameters
    ----------
    xy, seen
        (places, T, 2) in metres, of everybody at every frame; at most 11 places. And (places, T): what
        of it is not estimated.
    keeper
        Which of them keeps goal; None: whoever stands deepest, unless that is far from the goal and one
        of the eleven is lacking: a clip need not show the goalkeeper.
    positions
        Names of the line-up, a key of `ROLES_OF` or None for each place; they outweigh all but a long
        way from them, and hold until the formation changes.
    """
    own = np.array(PITCH) - xy if team else xy
    keeper = _deepest(own) if keeper is None else keeper
    outfield = np.array([one for one in range(len(xy)) if one != keeper], int)
    if not len(outfield):
        return {}, np.full((len(xy), xy.shape[1]), int(Role.GK), np.int8)
    offsets, weight = _offsets(own[outfield], seen[outfield])
    allowed = np.zeros((len(outfield), N_ROLES))
    for row, place in enumerate(outfield.tolist()):
        roles = ROLES_OF.get((positions[place] if place < len(positions) else None) or "")
        if roles:
            allowed[row] = _FORBIDDEN
            allowed[row, [role - 1 for role in roles]] = _LESS_LIKELY * np.arange(len(roles))
    formations: dict[int, str] = {}
    parts = []
    for start, stop in pairwise([*_stretches(offsets, weight), offsets.shape[1]]):
        part = offsets[:, start:stop], weight[:, start:stop]
        fits = {name: _fit(*part, name, allowed if start == 0 else 0 * allowed) for name in FORMATIONS}
        name = min(fits, key=lambda name: fits[name][1])
        if [name] != [*formations.values()][-1:]:
            formations[start * WINDOW] = name
        parts.append(fits[name][0])
    found = np.concatenate(parts, axis=1)
    role = np.full((len(xy), xy.shape[1]), int(Role.GK), np.int8)
    windows = np.minimum(np.arange(xy.shape[1]) // WINDOW, found.shape[1] - 1)
    role[outfield] = found[:, windows] + 1
    return formations, role


def _deepest(own: np.ndarray) -> int | None:
    """Who keeps goal of a team whose file does not say; ``own``: as from the own goal line."""
    deep = own[..., 0].mean(axis=1)
    return None if len(own) <= _OUTFIELD and deep.min() > _GOAL else int(deep.argmin())


def _stretches(offsets: np.ndarray, weight: np.ndarray) -> list[int]:
    """First window of each stretch in one formation.

    The cheapest way to cut the half into stretches, in each of which the players are matched with a
    formation anew: dynamic programming over minutes.
    """
    n_windows = offsets.shape[1]
    marks = [*range(0, max(n_windows - _MINUTE, 1), _MINUTE), n_windows]
    size = _size(offsets, weight)
    sums = {name: _cost(offsets, weight, name, size).cumsum(axis=1) for name in FORMATIONS}
    price = _FORMATION * max(float(weight.mean()), 1e-3)

    def matched(start: int, stop: int, name: str) -> float:
        cost = sums[name][:, marks[stop] - 1] - (sums[name][:, marks[start] - 1] if start else 0)
        return float(cost[linear_sum_assignment(cost)].sum())

    last = len(marks) - 1
    best: dict[int, tuple[float, int, str]] = {0: (-price, 0, "")}  # of what is before a mark
    for stop in [*range(_LASTS, last - _LASTS + 1), last]:
        starts = [start for start in best if stop - start >= _LASTS or (start == 0 and stop == last)]
        best[stop] = min(
            (best[start][0] + price + matched(start, stop, name), start, name)
            for start in starts
            for name in FORMATIONS
        )
    found: list[tuple[int, str]] = []
    stop = last
    while stop:
        _, stop, name = best[stop]
        found.insert(0, (marks[stop], name))
    return [0, *(start for (_, before), (start, name) in pairwise(found) if name != before)]


def _offsets(own: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean offset from the team's middle (players, windows, 2), and the share of each that is seen."""
    length = own.shape[1]
    count = max(round(length / WINDOW), 1)
    at = np.minimum(np.arange(length) // WINDOW, count - 1)
    starts = np.searchsorted(at, np.arange(count))
    away = own - own.mean(axis=0)
    sums = np.add.reduceat(away * seen[..., None], starts, axis=1)
    number = np.add.reduceat(seen.astype(float), starts, axis=1)
    return sums / np.maximum(number, 1)[..., None], number / WINDOW


def _stations(name: str) -> np.ndarray:
    """Stations of the 13 roles with mean 0 and spread 1 on both axes; NaN: none in this formation."""
    stations = np.full((N_ROLES, 2), np.nan)
    for role, place in FORMATIONS[name].items():
        stations[role - 1] = place
    return (stations - np.nanmean(stations, axis=0)) / np.nanstd(stations, axis=0)


def _fit(
    offsets: np.ndarray, weight: np.ndarray, name: str, allowed: np.ndarray
) -> tuple[np.ndarray, float]:
    """Role index (players, windows) in a formation, and its cost."""
    price = _CHANGE * max(float(weight.mean()), 1e-3)  # of what is seen
    spread = _size(offsets, weight)
    for _ in range(_ROUNDS):
        cost = _cost(offsets, weight, name, spread) + allowed[:, None] * weight[..., None]
        found, total = _path(cost, _line_ups(cost), price)
        # How wide and deep the team stands, from roles: who changes sides must not make it narrow.
        spread = _spread(offsets, weight, found)
    return found, total


def _line_ups(cost: np.ndarray) -> np.ndarray:
    """Roles (line-ups, players) that fit best in the whole or in some stretch."""
    n_windows = cost.shape[1]
    sums = np.pad(cost.cumsum(axis=1), ((0, 0), (1, 0), (0, 0)))
    parts = {(0, n_windows)}
    for length in (minutes * _MINUTE for minutes in _STRETCHES):
        parts |= {(start, start + length) for start in range(0, n_windows - length + 1, length // 4)}
    found = [linear_sum_assignment(sums[:, stop] - sums[:, start])[1] for start, stop in sorted(parts)]
    return np.unique(found, axis=0)


def _path(cost: np.ndarray, line_ups: np.ndarray, price: float) -> tuple[np.ndarray, float]:
    """The cheapest roles (players, windows) with a price for each exchange, and what they cost.

    The Viterbi algorithm, whose states are the line-ups. All changes of a half are weighed together:
    taken one after the other, they depend on whoever is matched with a role on the average of before
    and after a change.
    """
    fits = cost[np.arange(len(cost)), :, line_ups].sum(axis=1)  # (line-ups, windows)
    prices = price / 2 * (line_ups[:, None] != line_ups).sum(axis=-1)
    total = fits[:, 0]
    before = np.zeros(fits.shape, int)
    for window in range(1, fits.shape[1]):
        reached = total[:, None] + prices
        before[:, window] = reached.argmin(axis=0)
        total = reached.min(axis=0) + fits[:, window]
    states = np.full(fits.shape[1], total.argmin())
    for window in range(fits.shape[1] - 1, 0, -1):
        states[window - 1] = before[states[window], window]
    return line_ups[states].T, float(total.min())


def _cost(offsets: np.ndarray, weight: np.ndarray, name: str, spread: np.ndarray) -> np.ndarray:
    """What each role of a formation costs each player in each window, (players, windows, roles)."""
    away = ((offsets[:, :, None] - _stations(name) * spread) ** 2).sum(axis=-1)
    away /= (_size(offsets, weight) ** 2).mean()
    return np.nan_to_num(away * weight[..., None], nan=_ABSENT)


def _size(offsets: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Standard deviation (2,) of all offsets in metres, whoever they are of."""
    squares = (offsets**2 * weight[..., None]).sum(axis=(0, 1)) / max(weight.sum(), 1e-9)
    return np.maximum(np.sqrt(squares), 2.0)


def _spread(offsets: np.ndarray, weight: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Standard deviation (2,) of the mean offsets of the roles in metres."""
    found = found.ravel()
    total = np.bincount(found, weight.ravel())
    sums = [np.bincount(found, (offsets[..., axis] * weight).ravel()) for axis in (0, 1)]
    means = np.stack(sums)[:, total > 0] / total[total > 0]
    return np.maximum(means.std(axis=1), 2.0)
