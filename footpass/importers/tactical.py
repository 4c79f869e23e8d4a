"""From players to the rows of the tactical data: places, roles, positions, velocities, boxes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.signal import savgol_filter

from footpass.data.unseen import filled, slow_velocity
from footpass.importers.identity import N_PLACES, Players
from footpass.importers.roles import WINDOW, assigned
from footpass.importers.tracks import BOX, POSITION, UNKNOWN, TrackedHalf
from footpass.schema import FPS, N_ROLES, N_SLOTS, N_TEAMS, PITCH, Role, Tactical, slot

_EMPTY = 180 * FPS  # frames without anybody, after which nobody's place is estimated any more
# Frames that positions are smoothed over, by how noisy they are (metres).
_SMOOTHING = ((0.1, 13), (0.4, 25), (np.inf, 39))
_TIME = 0.05  # metres that a second between two players' stints counts, when one replaces the other


@dataclass(frozen=True, eq=False)
class Imported:
    """A half in the official form, and how it came about."""

    rows: np.ndarray  # (N, 14), columns as in `Tactical`, no labels yet
    tracks: pd.DataFrame  # a row per track, with the slot it has in its middle
    team: np.ndarray  # (places,)
    # For the picture: (places, T, 2) in metres; (places, T) role (0: nobody), whether seen, whether his
    # number is known.
    xy: np.ndarray
    role: np.ndarray
    seen: np.ndarray
    known: np.ndarray
    notes: tuple[str, ...]  # decisions and doubts in words


def tactical(half: TrackedHalf, players: Players, number: int, start: int = 0) -> Imported:
    """Rows of a half at 25 fps whose teams, players and boxes are settled.

    Its ``number`` says which squad is where, for they change sides at half-time; ``start`` is the frame
    of the video that the table's frame 0 is.
    """
    table = half.table
    first, last = int(table["frame"].min()), int(table["frame"].max())
    length = last - first + 1
    step = (table["frame"] - first).to_numpy(np.int64)
    stints = pd.DataFrame({"player": players.player, "step": step}).groupby("player")["step"]
    stints = stints.agg(["min", "max"]).to_numpy()
    positioned = bool(table["x"].notna().any())
    place, more = _places(table, players, stints, positioned)
    notes = [*players.notes, *more]
    of_row = place[players.player]
    kept = of_row >= 0
    n_places = place.max() + 1
    team = np.zeros(n_places, np.int64)
    team[place[place >= 0]] = players.team[place >= 0]

    xy = np.full((n_places, length, 2), np.nan, np.float32)
    boxes = np.full((n_places, length, 4), np.nan, np.float32)
    sure = np.zeros((n_places, length), bool)
    at = of_row[kept], step[kept]
    xy[at] = table[POSITION].to_numpy()[kept] * np.array(PITCH, np.float32)
    boxes[at] = table[BOX].to_numpy()[kept]
    sure[at] = players.sure[kept]
    seen = np.zeros((n_places, length), bool)
    seen[at] = True

    present, jersey = _who(place, stints, players, n_places, length, positioned)
    present |= seen
    if positioned:
        keeper = np.zeros(n_places, bool)
        keeper[place[players.keeper & (place >= 0)]] = True
        xy, role, more = _roled(half, players, place, xy, present, team, keeper)
        notes += more
    else:
        role = np.zeros(present.shape, np.int8)
        for side in range(N_TEAMS):
            role[team == side] = np.arange(1, (team == side).sum() + 1)[:, None]
        notes.append("no pitch positions: slots only hold tracks, their roles mean nothing")
    known = (jersey != UNKNOWN) & (sure | ~seen)
    xy, velocity, note = _smoothed(xy, seen)
    notes += note
    shown = present & (role > 0) & _near(seen.any(axis=0), _EMPTY)
    rows = _rows(shown, team, role, np.where(known, jersey, UNKNOWN), xy, velocity, boxes, number)
    rows[:, Tactical.FRAME] += start + first
    tracks = _with_slots(players.tracks, place, role, start, first)
    lacking = int((shown.sum(axis=0) < N_TEAMS * N_PLACES).sum())
    if positioned and lacking:
        notes.append(f"{lacking / FPS:.0f} of {length / FPS:.0f} seconds without 22 players")
    return Imported(rows, tracks, team, xy, np.where(shown, role, 0), seen, known, tuple(notes))


def _with_slots(
    tracks: pd.DataFrame, place: np.ndarray, role: np.ndarray, start: int, first: int
) -> pd.DataFrame:
    """The tracks with frames of the video, and the slot each has in its middle (-1: none)."""
    middle = (tracks["start"] + tracks["stop"]) // 2 - first
    here = place[tracks["player"]]
    found = role[np.maximum(here, 0), middle]
    slots = np.where((here >= 0) & (found > 0), slot(tracks["team"].to_numpy(), found), -1)
    return tracks.assign(start=tracks["start"] + start, stop=tracks["stop"] + start, slot=slots)


def _places(
    table: pd.DataFrame, players: Players, stints: np.ndarray, positioned: bool
) -> tuple[np.ndarray, list[str]]:
    """Place of each player, -1 for none: the teams' one after the other."""
    place, notes, base = np.full(len(players.team), -1), [], 0
    mean = _mean_offsets(table, players) if positioned else None
    count = np.bincount(players.player, minlength=len(players.team))
    for team in range(N_TEAMS):
        mine = np.flatnonzero(players.team == team)
        if mean is None:
            groups = _in_turns(mine, stints)
        else:
            groups, replaced = _replacements(mine, stints, mean, players.keeper)
            notes += [_substitution(players, stints, *pair) for pair in replaced]
        groups = sorted(groups, key=lambda group: (not players.keeper[group].any(), -count[group].sum()))
        for index, group in enumerate(groups[:N_ROLES]):
            place[group] = base + index
        if len(groups) > N_PLACES and mean is not None:
            extra = sum(count[group].sum() for group in groups[N_PLACES:]) / FPS
            notes.append(f"team {team}: more than 11 players: {extra:.0f} seconds of others")
        if len(groups) > N_ROLES:
            lost = sum(count[group].sum() for group in groups[N_ROLES:]) / FPS
            notes.append(f"team {team}: beyond its 13 slots, {lost:.0f} seconds left out")
        base += min(len(groups), N_ROLES)
    return place, notes


def _substitution(players: Players, stints: np.ndarray, off: int, on: int) -> str:
    names = [str(players.jersey[one]) if players.jersey[one] >= 0 else "?" for one in (off, on)]
    minute = (stints[off, 1] + stints[on, 0]) / 2 / FPS / 60
    return f"team {players.team[off]}: {names[1]} comes on for {names[0]}, minute {minute:.1f}"


def _mean_offsets(table: pd.DataFrame, players: Players) -> np.ndarray:
    """Where each player is seen on average, off the middle of all then seen: (P, 2), metres."""
    xy = table[POSITION] * np.array(PITCH)
    away = xy - xy.groupby(table["frame"]).transform("mean")
    return away.groupby(players.player).mean().reindex(range(len(players.team))).fillna(0).to_numpy()


def _replacements(
    mine: np.ndarray, stints: np.ndarray, mean: np.ndarray, keeper: np.ndarray
) -> tuple[list, list]:
    """Groups of players who follow each other, so that eleven are left; and who replaced whom."""
    groups = [[int(one)] for one in mine]
    replaced = []
    while len(groups) > N_PLACES:
        best = min(
            (
                (np.linalg.norm(mean[a[-1]] - mean[b[0]]) + _TIME * gap / FPS, i, j)
                for i, a in enumerate(groups)
                for j, b in enumerate(groups)
                if keeper[a[-1]] == keeper[b[0]] and (gap := stints[b[0], 0] - stints[a[-1], 1]) > 0
            ),
            default=None,
        )
        if best is None:
            break
        _, i, j = best
        replaced.append((groups[i][-1], groups[j][0]))
        groups[i] = groups[i] + groups[j]
        del groups[j]
    return groups, replaced


def _in_turns(mine: np.ndarray, stints: np.ndarray) -> list[list[int]]:
    """Groups of players who are not on together, in as few groups as that needs."""
    groups: list[list[int]] = []
    for one in mine[np.argsort(stints[mine, 0], kind="stable")]:
        free = next((group for group in groups if stints[group[-1], 1] < stints[one, 0]), None)
        if free is None:
            groups.append(free := [])
        free.append(int(one))
    return groups


def _who(place, stints, players: Players, n_places: int, length: int, positioned: bool):
    """Whether there is somebody in each place at each frame, (places, T), and his jersey."""
    present = np.zeros((n_places, length), bool)
    jersey = np.full((n_places, length), UNKNOWN, np.int16)
    count = np.zeros(N_TEAMS, int)
    for one in range(n_places):
        group = np.flatnonzero(place == one)
        group = group[np.argsort(stints[group, 0])]
        team = players.team[group[0]]
        count[team] += 1
        starts, stops = stints[group, 0].copy(), stints[group, 1] + 1
        if positioned and count[team] <= N_PLACES:  # he is on before he is first seen, too
            middle = (stops[:-1] + starts[1:]) // 2
            starts, stops = np.append(0, middle), np.append(middle, length)
        for player, start, stop in zip(group, starts, stops, strict=True):
            present[one, start:stop] = positioned
            jersey[one, start:stop] = players.jersey[player]
    return present, jersey


def _roled(half: TrackedHalf, players: Players, place, xy, present, team, keeper):
    """Positions of everybody at every frame, and their roles (0: none free)."""
    notes: list[str] = []
    seen = np.isfinite(xy[..., 0])
    whole = filled(xy, team, keeper.astype(np.int64))
    role = np.zeros(present.shape, np.int8)
    names = dict(zip(players.tracks["track"], players.tracks["player"], strict=True))
    positions: list[str | None] = [None] * len(place)
    for track, name in half.positions.items():
        if track in names and place[names[track]] >= 0:
            positions[place[names[track]]] = positions[place[names[track]]] or name
    for side in range(N_TEAMS):
        places = np.flatnonzero(team == side)
        main, extra = places[:N_PLACES], places[N_PLACES:]
        if not len(main):
            continue
        goal = int(keeper[main].argmax()) if keeper[main].any() else None
        known = [positions[one] for one in main]
        formations, role[main] = assigned(whole[main], seen[main], side, goal, known)
        notes.append(f"team {side}: plays a {_in_time(formations)}")
        notes += [_roles_in_time(side, role[one]) for one in main if len(set(role[one])) > 1]
        role[extra] = _free_roles(role[main], present[extra])
    # Once more by slot: who takes up another's role takes up his place in the shape.
    slots = np.where(role > 0, slot(team[:, None], role), N_SLOTS)
    frames = np.arange(xy.shape[1])
    by_slot = np.full((N_SLOTS + 1, xy.shape[1], 2), np.nan, np.float32)
    for one in range(len(xy)):
        by_slot[slots[one, seen[one]], frames[seen[one]]] = xy[one, seen[one]]
    keeps = (np.arange(N_SLOTS) % N_ROLES == Role.GK - 1).astype(np.int64)
    by_slot[:N_SLOTS] = filled(by_slot[:N_SLOTS], np.arange(N_SLOTS) // N_ROLES, keeps)
    return np.where((role > 0)[..., None], by_slot[slots, frames], whole), role, notes


def _roles_in_time(team: int, role: np.ndarray) -> str:
    starts = np.flatnonzero(np.diff(role, prepend=-1) != 0)
    spoken = _in_time({int(one): Role(role[one]).name for one in starts})
    return f"team {team}: a player changes roles: {spoken}"


def _in_time(names: Mapping[int, str]) -> str:
    """What begins at which frame, in words; a single one without its minute."""
    if len(names) == 1:
        return next(iter(names.values()))
    return ", ".join(f"{name} from minute {frame / FPS / 60:.1f}" for frame, name in names.items())


def _free_roles(taken: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Roles nobody has, for players beyond the eleven: constant over windows."""
    role = np.zeros(present.shape, np.int8)
    for start in range(0, present.shape[1], WINDOW):
        part = slice(start, start + WINDOW)
        free = [one for one in range(N_ROLES, 0, -1) if one not in taken[:, part]]
        for one in np.flatnonzero(present[:, part].any(axis=1))[: len(free)]:
            role[one, part] = free.pop(0)
    return role


def _smoothed(xy: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Positions, smoothed if they are noisy, velocities in m/s, and what was done.

    Velocities are those of stretches in which a player is seen: where he comes into sight, the estimate
    of his place is corrected, at any speed. The unseen have the velocity of their path over seconds.
    """
    if np.isnan(xy).all() or xy.shape[1] < 3:
        return xy, np.zeros_like(xy) if xy.shape[1] < 3 else np.full_like(xy, np.nan), []
    bend = np.diff(xy, n=2, axis=1)
    noise = float(np.nanmedian(np.abs(bend)) / 0.6745 / np.sqrt(6))
    width = next(frames for limit, frames in _SMOOTHING if noise < limit)
    width = min(width, (xy.shape[1] - 1) // 2 * 2 + 1)
    velocity = slow_velocity(xy)
    for place in np.flatnonzero(seen.any(axis=1)):
        near = _near(seen[place], FPS // 2).astype(np.int8)
        bounds = np.flatnonzero(np.diff(near, prepend=0, append=0))
        for start, stop in bounds.reshape(-1, 2):
            part = min(width, (stop - start - 1) // 2 * 2 + 1)
            if part >= 3:
                velocity[place, start:stop] = savgol_filter(
                    xy[place, start:stop], part, 2, deriv=1, delta=1 / FPS, axis=0
                )
    if width > _SMOOTHING[0][1]:
        smooth = savgol_filter(xy, width, min(2, width - 1), axis=1)
        return smooth, velocity, [f"positions are noisy ({noise:.1f} m): smoothed over {width} frames"]
    return xy, velocity, []


def _near(there: np.ndarray, reach: int) -> np.ndarray:
    """Frames that are in no gap longer than ``reach``."""
    known = np.flatnonzero(there)
    near = np.zeros(len(there), bool)
    near[known[0] : known[-1] + 1] = True
    for gap in np.flatnonzero(np.diff(known) > reach):
        near[known[gap] + 1 : known[gap + 1]] = False
    return near


def _rows(shown, team, role, jersey, xy, velocity, boxes, number: int) -> np.ndarray:
    step, place = np.nonzero(shown.T)
    rows = np.zeros((len(step), len(Tactical)), np.float32)
    side = team[place]
    squad = 1 + (side if number % 2 else 1 - side)
    worn = jersey[place, step]
    rows[:, Tactical.FRAME] = step
    rows[:, Tactical.PLAYER_ID] = 100 * squad + np.maximum(worn, 0)
    rows[:, Tactical.TEAM] = side
    rows[:, Tactical.JERSEY] = np.where(worn == UNKNOWN, np.nan, worn)
    rows[:, Tactical.ROLE] = role[place, step]
    rows[:, Tactical.X : Tactical.Y + 1] = xy[place, step] / np.array(PITCH, np.float32)
    rows[:, Tactical.VX : Tactical.VY + 1] = velocity[place, step]
    rows[:, Tactical.BOX_X : Tactical.BOX_HEIGHT + 1] = boxes[place, step]
    return rows
