"""From an event script to motion: where 22 players and the ball are at every frame of a half.

The script is any event table of one half, a real one or a simulated one. Three steps:

1. *Cast*: every jersey gets one of 11 places of its team (a substitute takes over the place of the
   player he comes on for), every place a role that fits what its players do.
2. *Plan*: every event gets a point on the pitch. Its class says where (crosses from wide, shots near
   goal, throw-ins on the line), role and play pull it; then points are moved until nobody has to run,
   and no ball to fly, faster than it can.
3. *Move*: each player's path is the smoothest one that follows his home position (formation, shifted
   with ball and possession) and passes through his points. One banded linear system a player.

The ball then goes from actor to actor, so it is at the actor at every anchor frame by construction.
Metres, x along the touchline from the left goal, y from the far touchline to the one at the camera.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import solveh_banded
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import linear_sum_assignment

from footpass.files import DataError
from footpass.schema import ACTIONS, FPS, N_TEAMS, PITCH, Action, Role

N_FIGURES = 11  # places of a team; figure 11 * team + place

# Where each role stands when its team has the ball at midfield: x from the own goal line, y from the
# left touchline, both 0..1.
FORMATIONS: dict[str, dict[Role, tuple[float, float]]] = {
    "4-3-3": {
        Role.GK: (0.05, 0.5), Role.LB: (0.30, 0.10), Role.LCB: (0.24, 0.36), Role.RCB: (0.24, 0.64),
        Role.RB: (0.30, 0.90), Role.DM: (0.40, 0.50), Role.LM: (0.52, 0.32), Role.RM: (0.52, 0.68),
        Role.LW: (0.74, 0.12), Role.RW: (0.74, 0.88), Role.CF: (0.80, 0.50),
    },
    "4-4-2": {
        Role.GK: (0.05, 0.5), Role.LB: (0.30, 0.10), Role.LCB: (0.24, 0.36), Role.RCB: (0.24, 0.64),
        Role.RB: (0.30, 0.90), Role.LM: (0.52, 0.10), Role.DM: (0.44, 0.40), Role.AM: (0.52, 0.62),
        Role.RM: (0.52, 0.90), Role.LW: (0.76, 0.38), Role.CF: (0.80, 0.60),
    },
    "3-4-3": {
        Role.GK: (0.05, 0.5), Role.LCB: (0.26, 0.25), Role.MCB: (0.22, 0.50), Role.RCB: (0.26, 0.75),
        Role.LM: (0.48, 0.08), Role.DM: (0.42, 0.40), Role.AM: (0.52, 0.60), Role.RM: (0.48, 0.92),
        Role.LW: (0.74, 0.22), Role.RW: (0.74, 0.78), Role.CF: (0.80, 0.50),
    },
    "5-3-2": {
        Role.GK: (0.05, 0.5), Role.LB: (0.34, 0.07), Role.LCB: (0.24, 0.28), Role.MCB: (0.20, 0.50),
        Role.RCB: (0.24, 0.72), Role.RB: (0.34, 0.93), Role.LM: (0.50, 0.28), Role.DM: (0.42, 0.50),
        Role.RM: (0.50, 0.72), Role.AM: (0.70, 0.40), Role.CF: (0.78, 0.62),
    },
}  # fmt: skip

# How often a role does what, relative to the team's average: drive, pass, cross, throw-in, shot,
# header, tackle, block. Full-backs take throw-ins, keepers block (save) and never cross.
_BACK = (1.2, 1.3, 0.1, 0.1, 0.3, 1.8, 1.0, 1.5)
_FULL_BACK = (1.1, 1.1, 1.8, 4.0, 0.3, 0.8, 1.2, 1.0)
_MIDFIELDER = (1.1, 1.1, 1.0, 0.7, 1.0, 0.8, 1.2, 0.8)
_WINGER = (1.0, 0.8, 2.2, 0.6, 1.8, 0.6, 0.8, 0.6)
_HABITS: dict[Role, tuple[float, ...]] = {
    Role.GK: (0.5, 0.5, 0.005, 0.005, 0.005, 0.02, 0.05, 4.0),
    Role.LB: _FULL_BACK, Role.RB: _FULL_BACK,
    Role.LCB: _BACK, Role.MCB: _BACK, Role.RCB: _BACK,
    Role.LM: _MIDFIELDER, Role.RM: _MIDFIELDER,
    Role.DM: (1.3, 1.4, 0.4, 0.1, 0.7, 1.0, 1.5, 0.9),
    Role.AM: (1.1, 1.1, 1.2, 0.1, 1.6, 0.7, 1.0, 0.7),
    Role.LW: _WINGER, Role.RW: _WINGER,
    Role.CF: (0.6, 0.5, 0.4, 0.05, 3.0, 1.8, 0.7, 0.6),
}  # fmt: skip

RUN = 5.0  # m/s a player may average between two of his own points; his peak is higher
TOP_SPEED = 9.5  # m/s nobody exceeds
# m/s the ball may average from an event of a class to the next one
_BALL_SPEED = np.array([0, 5.0, 15.0, 17.0, 11.0, 22.0, 11.0, 6.0, 10.0])
DEAD = 5 * FPS  # a longer wait for the next event: the ball went out of play, or play stopped
_SETTLE = 30  # frames that the taker of a restart stands at the ball before he plays it
_STEP = 5  # frames between two home positions


@dataclass(frozen=True)
class Motion:
    """A half as it was played; T frames from ``first_frame`` on, figure = 11 * team + place.

    Attributes
    ----------
    script
        The event table, with columns ``figure`` (who acts) and ``step`` (frame - first_frame) added.
    jersey, role
        (22, T): who is on that place at that frame, and as what.
    xy
        (22, T, 2), metres.
    ball
        (T, 3), metres; the third is its height.
    """

    first_frame: int
    script: pd.DataFrame
    jersey: np.ndarray
    role: np.ndarray
    xy: np.ndarray
    ball: np.ndarray

    @property
    def velocity(self) -> np.ndarray:
        """(22, T, 2), m/s."""
        return np.gradient(self.xy, axis=1) * FPS


def move(script: pd.DataFrame, frames: range, rng: np.random.Generator) -> Motion:
    """Let two teams play an event script.

    Parameters
    ----------
    script
        Event table of one half; columns ``frame, team, jersey, cls`` are used.
    frames
        Absolute frames of the half.

    Raises
    ------
    DataError
        If an event lies outside ``frames``, two share a frame, or a team needs 12 players at a time.
    """
    script = script.sort_values("frame", kind="stable", ignore_index=True)
    step = script["frame"].to_numpy() - frames.start
    if len(script) and (step[0] < 0 or step[-1] >= len(frames)):
        raise DataError(f"the script has events outside frames {frames.start}..{frames.stop - 1}")
    if (np.diff(step) == 0).any():
        twice = script["frame"].to_numpy()[1:][np.diff(step) == 0][0]
        raise DataError(f"the script has two events at frame {twice}")
    cast = [_cast(script, step, team, len(frames)) for team in range(N_TEAMS)]
    figure = np.zeros(len(script), int)
    for team, (members, _) in enumerate(cast):
        figure[script["team"] == team] = N_FIGURES * team + members
    script = script.assign(figure=figure, step=step)
    roles, bases = zip(
        *(_line_up(script, team, len(frames), rng) for team in range(N_TEAMS)), strict=True
    )
    role, base = np.concatenate(roles), np.concatenate(bases)

    vias = _vias(script, rng)
    points = _plan(script, vias, base, rng)
    home = _homes(script, points, base, len(frames), rng)
    xy = _paths(home, vias, points[vias["node"]] + vias[["dx", "dy"]].to_numpy())
    jersey = np.concatenate([jersey for _, jersey in cast])
    return Motion(frames.start, script, jersey, role, xy, _ball(script, xy, rng))


def _cast(script: pd.DataFrame, step: np.ndarray, team: int, length: int):
    """Place 0..10 of each of a team's events, and the jersey on each place at each frame."""
    mine = (script["team"] == team).to_numpy()
    jerseys, steps = script["jersey"].to_numpy()[mine], step[mine]
    spans = [(steps[jerseys == j].min(), steps[jerseys == j].max(), j) for j in set(jerseys)]
    spare = iter(sorted(set(range(1, 100)) - set(jerseys)))
    places: list[list[tuple[int, int, int]]] = []
    for span in sorted(spans):
        if len(places) < N_FIGURES:
            places.append([span])
            continue
        free = min(places, key=lambda held: held[-1][1])
        if free[-1][1] >= span[0]:
            raise DataError(f"the script has a 12th player of team {team} at frame {span[0]}")
        free.append(span)
    while len(places) < N_FIGURES:  # players who never act
        places.append([(0, length, next(spare))])
    on = np.zeros((N_FIGURES, length), np.int64)
    place_of = {}
    for place, held in enumerate(places):
        for index, (first, _, jersey) in enumerate(held):
            place_of[jersey] = place
            # He comes on in the longest pause after the last act of the player he replaces.
            on[place, _pause(step, held[index - 1][1], first) if index else 0 :] = jersey
    return np.array([place_of[j] for j in jerseys], int), on


def _pause(step: np.ndarray, after: int, before: int) -> int:
    """Middle of the longest stretch without events between two steps."""
    inside = step[(step >= after) & (step <= before)]
    longest = np.diff(inside).argmax()
    return int(inside[longest : longest + 2].mean())


def _line_up(script: pd.DataFrame, team: int, length: int, rng: np.random.Generator):
    """Roles (11, T) of a team's places and their formation positions, every `_STEP` frames."""
    mine = script[script["team"] == team]
    counts = np.zeros((N_FIGURES, len(ACTIONS)))
    np.add.at(counts, (mine["figure"] - N_FIGURES * team, mine["cls"] - 1), 1)
    likely_keeper = np.zeros(N_FIGURES)
    likely_keeper[mine["figure"][mine["jersey"] == 1] - N_FIGURES * team] = 50
    names = list(FORMATIONS)
    first, second = rng.choice(len(names), 2, replace=False)
    here, there = (list(FORMATIONS[names[i]]) for i in (first, second))
    # Poisson likelihood of what a player does, were he to play that role.
    habits = np.array([_HABITS[role] for role in here])
    fit = counts @ np.log(habits).T - counts.mean(axis=0) @ habits.T  # (places, roles)
    fit[:, here.index(Role.GK)] += likely_keeper
    _, chosen = linear_sum_assignment(-fit)
    before = [here[i] for i in chosen]
    # In mid-half the formation changes; everybody takes the role nearest to his old one.
    old = np.array([FORMATIONS[names[first]][role] for role in before])
    new = np.array([FORMATIONS[names[second]][role] for role in there])
    _, chosen = linear_sum_assignment(np.linalg.norm(old[:, None] - new, axis=2))
    change = int(length * rng.uniform(0.3, 0.7))
    role = np.repeat(np.array(before)[:, None], length, axis=1)
    role[:, change:] = np.array(there)[chosen][:, None]
    grid = np.arange(0, length + _STEP, _STEP)
    mix = np.clip((grid - change) / (10 * FPS), 0, 1)[:, None]  # they take ten seconds to get there
    return role, old[:, None] * (1 - mix) + new[chosen][:, None] * mix  # (11, grid, 2)


def _vias(script: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Who has to be where when: figure, step, node (event whose point it is), offset dx, dy in m."""
    step, figure, cls = (script[name].to_numpy() for name in ("step", "figure", "cls"))
    node = np.arange(len(script))
    wait = np.diff(step, prepend=-DEAD)
    # The taker of a restart stands there a moment before.
    restart = (wait > DEAD) | ((cls == Action.THROW_IN) & (wait > 2 * _SETTLE))
    restart &= step >= _SETTLE
    # Whoever drove the ball is there when another player takes it from him.
    lost = np.flatnonzero(_driven(script)[:-1] & (figure[1:] != figure[:-1])) if len(node) else node
    vias = pd.DataFrame(
        {
            "figure": np.concatenate([figure, figure[restart], figure[lost]]),
            "step": np.concatenate([step, step[restart] - _SETTLE, step[lost + 1]]),
            "node": np.concatenate([node, node[restart], lost + 1]),
        }
    )
    turn = rng.uniform(0, 2 * np.pi, len(vias))
    reach = np.repeat([0.0, 0.8, 1.2], [len(node), restart.sum(), len(lost)])
    vias["dx"], vias["dy"] = reach * np.cos(turn), reach * np.sin(turn)
    return vias.sort_values(["figure", "step"], kind="stable", ignore_index=True)


def _driven(script: pd.DataFrame) -> np.ndarray:
    """Whether the actor of each event keeps the ball at his feet until the next event."""
    wait = np.diff(script["step"], append=script["step"].max() + 2 * DEAD)
    again = script["figure"].to_numpy() == script["figure"].shift(-1).to_numpy()
    return (wait <= DEAD) & (again | script["cls"].isin([Action.DRIVE, Action.TACKLE]).to_numpy())


def _own(xy: np.ndarray, team: np.ndarray | int) -> np.ndarray:
    """Pitch metres to the team's own view (it attacks to +x), or back."""
    return np.where(np.asarray(team)[..., None] == 0, xy, np.array(PITCH) - xy)


def _station(base: np.ndarray, ball: np.ndarray, team: np.ndarray, attack: np.ndarray) -> np.ndarray:
    """Home position in metres, shifted with ball and possession (``attack`` 0..1)."""
    length, width = PITCH
    ball = _own(ball, team)
    off = base - 0.5
    x = length / 2 + 0.62 * length * off[..., 0] + 0.6 * (ball[..., 0] - length / 2) + 8 * attack - 4
    y = width / 2 + (0.68 + 0.22 * attack) * width * off[..., 1] + 0.35 * (ball[..., 1] - width / 2)
    keeper = base[..., 0] < 0.1
    x = np.where(keeper, 3 + 0.12 * ball[..., 0], x)
    y = np.where(keeper, width / 2 + 0.12 * (ball[..., 1] - width / 2), y)
    home = np.stack([np.clip(x, 2, length - 5), np.clip(y, 2, width - 2)], axis=-1)
    return _own(home, team)


def _plan(script: pd.DataFrame, vias: pd.DataFrame, base: np.ndarray, rng: np.random.Generator):
    """Point (K, 2) of every event."""
    count = len(script)
    step, team, figure, cls = (script[c].to_numpy() for c in ("step", "team", "figure", "cls"))
    wait = np.diff(step, prepend=-2 * DEAD)
    pitch = np.array(PITCH)
    mine = base[figure, step // _STEP]
    zone, pull = _zones(script, wait, mine, rng)
    # Between events in open play the ball tends to stay near: a spring, about 15 m long.
    spring = np.where(wait[1:] <= DEAD, (4 / 15) ** 2, 0.0)
    spring[_driven(script)[:-1]] *= 4
    points = np.tile(pitch / 2, (count, 1))
    stray = rng.normal(0, 5, (count, 2))
    for _ in range(4):  # homes depend on where the ball is, which is what we look for
        wanted = np.where(pull[:, None] > 1, zone, _station(mine, points, team, np.ones(count)) + stray)
        matrix = np.zeros((2, count))
        matrix[0, 1:] = -spring
        matrix[1] = pull + np.append(spring, 0) + np.append(0, spring)
        points = solveh_banded(matrix, wanted * pull[:, None])
    return _within_reach(script, vias, points, zone, wait)


def _zones(script: pd.DataFrame, wait: np.ndarray, base: np.ndarray, rng: np.random.Generator):
    """Where the class wants an event, in metres, and how strongly (1: not at all)."""
    team, cls = script["team"].to_numpy(), script["cls"].to_numpy()
    count, (length, width) = len(script), PITCH
    zone, pull = np.tile(np.array(PITCH) / 2, (count, 1)), np.ones(count)

    def put(rows: np.ndarray, x: np.ndarray, y: np.ndarray, strength: float) -> None:
        zone[rows] = _own(np.stack([x, y], axis=-1), team)[rows]
        pull[rows] = strength

    side = np.where(base[:, 1] + rng.normal(0, 0.15, count) < 0.5, -1, 1)  # own left or right
    uniform = rng.uniform(size=(3, count))
    near_goal = length - 5 - 12 * uniform[0]
    before = np.append(0, cls[:-1])
    by_other = team != np.append(-1, team[:-1])
    keeper = base[:, 0] < 0.1
    live = wait <= DEAD
    own_y = width / 2 + rng.normal(0, 7, count)
    put(live & (before == Action.CROSS) & ~by_other, near_goal, own_y, 3)
    put(live & (before == Action.CROSS) & by_other, 4 + 10 * uniform[0], own_y, 3)
    put(cls == Action.CROSS, 78 + 22 * uniform[0], width / 2 + side * (20 + 12 * uniform[1]), 6)
    corner = (cls == Action.CROSS) & ~live & (uniform[2] < 0.8)
    put(corner, np.full(count, length - 0.5), width / 2 + side * (width / 2 - 0.5), 50)
    put(cls == Action.SHOT, length - 6 - 18 * uniform[0], own_y, 6)
    put((cls == Action.PASS) & keeper & ~live, np.full(count, 5.5), own_y, 10)
    put((cls == Action.BLOCK) & keeper, 1 + 4 * uniform[0], width / 2 + 0.3 * (own_y - width / 2), 10)
    line = np.where(side < 0, 0.0, width)
    put(cls == Action.THROW_IN, 25 + 60 * uniform[0], line, 4)
    if count:
        zone[0], pull[0] = np.array(PITCH) / 2, 20  # kick-off
    return zone, pull


def _within_reach(script, vias, points, zone, wait) -> np.ndarray:
    """Move the points until every player and the ball can get from each to the next in time."""
    count, cls = len(script), script["cls"].to_numpy()
    figure, step, node = (vias[name].to_numpy() for name in ("figure", "step", "node"))
    run = np.flatnonzero((figure[1:] == figure[:-1]) & (node[1:] != node[:-1]))
    flight = np.flatnonzero(wait[1:] <= DEAD)
    start = np.concatenate([node[run], flight])
    end = np.concatenate([node[run + 1], flight + 1])
    limit = np.concatenate(
        [
            RUN * (step[run + 1] - step[run]) / FPS,
            _BALL_SPEED[cls[flight]] * wait[flight + 1] / FPS + 1.0,
        ]
    )
    throw = cls == Action.THROW_IN
    shares = np.maximum(np.bincount(np.concatenate([start, end]), minlength=count), 1)[:, None]
    points = points.copy()
    for _ in range(1000):
        gap = points[end] - points[start]
        distance = np.hypot(*gap.T)
        excess = np.maximum(distance - limit, 0)
        if (excess <= 0.05 * limit + 0.2).all():
            break
        shift = gap * (0.5 * excess / np.maximum(distance, 1e-9))[:, None]
        total = np.zeros_like(points)
        np.add.at(total, start, shift)
        np.add.at(total, end, -shift)
        points += 1.5 * total / shares
        points[throw, 1] = zone[throw, 1]
        points = np.clip(points, 0, PITCH)
    return points


def _homes(script, points, base, length: int, rng: np.random.Generator) -> np.ndarray:
    """Home position (22, T, 2) of every figure at every frame."""
    grid = np.arange(base.shape[1]) * _STEP
    step, team = script["step"].to_numpy(), script["team"].to_numpy()
    second = FPS / _STEP
    if len(script):
        ball = np.stack([np.interp(grid, step, points[:, axis]) for axis in range(2)], axis=-1)
        holder = team[np.maximum(np.searchsorted(step, grid, "right") - 1, 0)]
    else:
        ball, holder = np.tile(np.array(PITCH) / 2, (len(grid), 1)), np.zeros(len(grid))
    ball = gaussian_filter1d(ball, 1.2 * second, axis=0)
    right = gaussian_filter1d(holder.astype(float), second)  # share of team 1's possession
    side = np.repeat(np.arange(N_TEAMS), N_FIGURES)[:, None]
    attack = np.where(side == 1, right, 1 - right)
    home = _station(base, ball[None], side, attack)
    # Without the ball, those near it close it down.
    gap = ball - home
    near = np.exp(-((np.linalg.norm(gap, axis=-1) / 8) ** 2))
    home += 0.6 * ((1 - attack) * near * (base[..., 0] > 0.1))[..., None] * gap
    wander = gaussian_filter1d(rng.normal(size=home.shape), 3 * second, axis=1)
    home += 1.5 * wander / max(wander.std(), 1e-9)
    frames = np.arange(length)
    at, share = frames // _STEP, (frames % _STEP / _STEP)[:, None]
    return home[:, at] * (1 - share) + home[:, at + 1] * share


def _paths(home: np.ndarray, vias: pd.DataFrame, points: np.ndarray) -> np.ndarray:
    """Smoothest paths (22, T, 2) near the homes and through the points, none too fast.

    Minimises w |x - home|^2 + W |x - point|^2 (at his steps) + tau^4 |x''|^2 over a path. Where that
    is too fast, he leaves home earlier (smaller w), and in the end misses the point by a little.
    """
    tau = 25.0  # frames he needs to leave or find his home
    bend = tau**4
    length = home.shape[1]
    xy = np.empty_like(home)
    for figure in range(len(home)):
        mine = (vias["figure"] == figure).to_numpy()
        steps, targets = vias["step"].to_numpy()[mine], points[mine]
        stay, pass_by = np.ones(length), np.full(len(steps), 1e7)
        for attempt in range(40):
            matrix = np.zeros((3, length))
            matrix[0, 2:], matrix[1, 1:], matrix[2] = bend, -4 * bend, 6 * bend + stay
            # Free ends: the second difference exists for inner frames only.
            matrix[1, [1, -1]], matrix[2, [0, -1]] = -2 * bend, bend + stay[[0, -1]]
            matrix[2, [1, -2]] = 5 * bend + stay[[1, -2]]
            np.add.at(matrix[2], steps, pass_by)
            wanted = home[figure] * stay[:, None]
            np.add.at(wanted, steps, targets * pass_by[:, None])
            path = solveh_banded(matrix, wanted, overwrite_ab=True, overwrite_b=True)
            fast = np.hypot(*np.diff(path, axis=0).T) * FPS > TOP_SPEED - 1
            if not fast.any():
                break
            around = _around(fast, 3 * FPS, length)
            stay[around] *= 0.3
            if attempt >= 6:
                pass_by[around[steps]] *= 0.3
        xy[figure] = path
    return xy


def _around(where: np.ndarray, reach: int, length: int) -> np.ndarray:
    """(length,) whether a frame is within ``reach`` frames of a True."""
    change = np.zeros(length + 1, int)
    at = np.flatnonzero(where)
    np.add.at(change, np.maximum(at - reach, 0), 1)
    np.add.at(change, np.minimum(at + reach, length), -1)
    return np.cumsum(change[:-1]) > 0


def _ball(script: pd.DataFrame, xy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ball (T, 3): at the actor at each anchor; carried, kicked, headed or thrown in between."""
    length = xy.shape[1]
    velocity = np.gradient(xy, axis=1)
    lead = velocity / np.maximum(np.linalg.norm(velocity, axis=2, keepdims=True), 0.02)
    feet = xy + 0.6 * lead  # (22, T, 2), half a step ahead; shorter when he stands
    step, figure, cls, team = (script[c].to_numpy() for c in ("step", "figure", "cls", "team"))
    ball = np.zeros((length, 3))
    if not len(script):
        ball[:, :2] = np.array(PITCH) / 2
        return ball
    height = np.select([cls == Action.HEADER, cls == Action.THROW_IN], [2.2, 2.1], 0.1)
    anchor = np.column_stack([feet[figure, step], height])
    anchor[cls == Action.THROW_IN, :2] = xy[figure, step][cls == Action.THROW_IN]
    driven = _driven(script)
    ball[: step[0] + 1], ball[step[-1] :] = anchor[0], anchor[-1]
    for k in range(len(step) - 1):
        a, b = step[k], step[k + 1]
        wait = b - a
        frames = np.arange(a, b + 1)
        if driven[k]:
            path = np.column_stack([feet[figure[k], frames], np.full(wait + 1, 0.1)])
            path[:, 2] += (height[k] - 0.1) * np.exp(-np.arange(wait + 1) / 4)
            # Handed over (or played) in the last frames before the next touch.
            path += (anchor[k + 1] - path[-1]) * (np.clip(1 - (b - frames) / 8, 0, 1) ** 2)[:, None]
            path[0] = anchor[k]
        elif wait <= DEAD:
            path = _flight(anchor[k], anchor[k + 1], wait, cls[k], rng)
        else:
            path = _stoppage(anchor[k], anchor[k + 1], wait, cls[k], cls[k + 1], team[k], rng)
        ball[a : b + 1] = path
    return ball


def _flight(start: np.ndarray, end: np.ndarray, wait: int, cls: int, rng) -> np.ndarray:
    """Ball (wait + 1, 3) on its way; it leaves fast and slows down."""
    distance = np.hypot(*(end - start)[:2])
    seconds = wait / FPS
    slow = np.clip(14 * seconds / max(distance, 1), 1.1, 2.5)
    u = np.linspace(0, 1, wait + 1)
    along = 1 - (1 - u) ** slow
    path = start + (end - start) * along[:, None]
    lofted = cls == Action.CROSS or end[2] > 1 or distance > rng.uniform(20, 45)
    top = 1.1 * seconds**2 if lofted else 0.0  # g/8 t^2 of a free flight
    if cls == Action.SHOT:
        top = rng.uniform(0, 1.5)
    path[:, 2] = start[2] + (end[2] - start[2]) * u + 4 * min(top, 9) * u * (1 - u)
    return path


def _stoppage(start, end, wait: int, cls: int, after: int, team: int, rng) -> np.ndarray:
    """Ball (wait + 1, 3) that goes out of play or rests, and is put where play goes on."""
    length, width = PITCH
    if cls == Action.SHOT:
        out = _own(np.array([length + 1.0, width / 2 + rng.uniform(-5, 5)]), team)
    elif after == Action.THROW_IN:
        out = end[:2] + [0, 1.5 if end[1] > width / 2 else -1.5]
    elif after == Action.CROSS:
        out = np.array([length + 1 if end[0] > length / 2 else -1.0, rng.uniform(15, width - 15)])
    else:
        out = start[:2] + rng.normal(0, 3, 2)
    dead = np.append(out, 0.1)
    fly = int(np.clip(FPS * np.hypot(*(dead - start)[:2]) / 14, 12, wait - 2 * _SETTLE))
    path = np.empty((wait + 1, 3))
    path[: fly + 1] = _flight(start, dead, fly, cls, rng)
    u = np.clip((np.arange(fly, wait + 1) - (wait - 2 * _SETTLE)) / (_SETTLE + 10), 0, 1)[:, None]
    path[fly:] = dead + (end - dead) * u * u * (3 - 2 * u)
    return path
