"""From an event script to motion: where 22 players and the ball are at every frame of a half.

1. *Plan*: every event gets a point on the pitch. Its class says where (crosses from wide, shots near
   goal, throw-ins on the line), the actor's role and the play pull it; then points are moved until
   nobody has to run, and no ball to fly, faster than it can.
2. *Move*: each player's path is the smoothest one that follows a home position (formation, shifted
   with ball and possession) and passes through the player's points. One banded linear system a player.

The ball then goes from actor to actor, so it is at the actor at every anchor frame by construction.
Metres, x along the touchline from the left goal, y from the far touchline to the one at the camera.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import solveh_banded
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from footpass.files import DataError
from footpass.schema import FPS, N_TEAMS, PITCH, Action, Role

N_PLACES = 11  # of a team; a figure is place + 11 * team

# Where each role stands when its team has the ball at midfield: x from the own goal line, y from the
# left touchline, both 0..1.
_STATIONS = {
    Role.GK: (0.05, 0.5), Role.LB: (0.30, 0.10), Role.LCB: (0.24, 0.36), Role.MCB: (0.21, 0.50),
    Role.RCB: (0.24, 0.64), Role.RB: (0.30, 0.90), Role.LM: (0.52, 0.28), Role.RM: (0.52, 0.72),
    Role.DM: (0.42, 0.50), Role.AM: (0.62, 0.50), Role.LW: (0.74, 0.14), Role.RW: (0.74, 0.86),
    Role.CF: (0.80, 0.50),
}  # fmt: skip

RUN = 5.0  # m/s a player may average between two own points; the peak is higher
# m/s that paths are corrected to: the first where leaving home a little earlier is enough, else the
# second, which in 40 halves one player still exceeded (9.4).
HURRY, TOP_SPEED = 5.8, 9.0

# m/s the ball may average from an event of a class to the next one; 0 is the background
_BALL_SPEED = np.array([0, 5.0, 15.0, 17.0, 11.0, 22.0, 11.0, 6.0, 10.0])
DEAD = 5 * FPS  # a longer wait for the next event: the ball went out of play, or play stopped
_SETTLE = 30  # frames that the taker of a restart stands at the ball before playing it
_STEP = 5  # frames between two home positions


@dataclass(frozen=True, eq=False)
class Motion:
    """A half as it was played; T frames from ``first_frame`` on, 22 figures."""

    first_frame: int
    # The event table, with columns figure (who acts) and step (frame - first_frame) added.
    script: pd.DataFrame
    # (22, T): who that figure is at that frame, and as what.
    jersey: np.ndarray
    role: np.ndarray
    xy: np.ndarray  # (22, T, 2), metres
    ball: np.ndarray  # (T, 3), metres; the third is its height

    @property
    def velocity(self) -> np.ndarray:
        """(22, T, 2), m/s."""
        return np.gradient(self.xy, axis=1) * FPS

    @property
    def to_ball(self) -> np.ndarray:
        """How far in metres the actor of each event is from the ball, along the pitch."""
        step = self.script["step"]
        return np.linalg.norm(self.xy[self.script["figure"], step] - self.ball[step, :2], axis=1)


def move(script: pd.DataFrame, lineup: pd.DataFrame, rng: np.random.Generator) -> Motion:
    """Let two teams play an event script, the event table of one half.

    The line-up is that half's of `SimulatedMatch.lineup`; a substitute goes on from where the replaced
    player is.
    """
    first, length = int(lineup["start"].min()), int(lineup["stop"].max() - lineup["start"].min())
    jersey, role = _places(lineup, first, length)
    base = np.concatenate([_bases(role[team * N_PLACES :][:N_PLACES]) for team in range(N_TEAMS)])
    script = script.sort_values("frame", kind="stable", ignore_index=True)
    script["step"] = script["frame"] - first
    script["figure"] = _actors(script, jersey)

    vias = _vias(script, rng)
    points = _plan(script, vias, base, rng)
    home = _homes(script, points, base, length, rng)
    xy = _paths(home, vias, points[vias["node"]] + vias[["dx", "dy"]].to_numpy())
    return Motion(first, script, jersey, role, xy, _ball(script, xy, rng))


def _places(lineup: pd.DataFrame, first: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Jersey and role (22, T) of every figure; a player stays the same figure in all roles."""
    jersey, role = np.zeros((2, N_TEAMS * N_PLACES, length), np.int64)
    for team in range(N_TEAMS):
        place_of: dict[int, int] = {}
        stints = lineup[lineup["team"] == team].sort_values("start", kind="stable")
        columns = ["jersey", "role", "start", "stop"]
        for number, as_what, start, stop in stints[columns].itertuples(index=False):
            if number not in place_of and len(place_of) < N_PLACES:
                place_of[number] = len(place_of)
            elif number not in place_of:
                # The figure of the player who has no stint any more.
                on = set(stints["jersey"][(stints["start"] <= start) & (stints["stop"] > start)])
                taken = {place for one, place in place_of.items() if one in on}
                free = [place for place in place_of.values() if place not in taken]
                if not free:
                    raise DataError(f"line-up: a 12th player of team {team} at frame {start}")
                place_of[number] = free[0]
            figure = team * N_PLACES + place_of[number]
            jersey[figure, start - first : stop - first] = number
            role[figure, start - first : stop - first] = as_what
    if (role == 0).any():
        figure, step = np.argwhere(role == 0)[0]
        raise DataError(f"line-up: not 11 players of team {figure // N_PLACES} at frame {first + step}")
    return jersey, role


def _bases(role: np.ndarray) -> np.ndarray:
    """Formation positions (11, grid, 2) for roles (11, T), every `_STEP` frames."""
    stations = np.array([_STATIONS[one] for one in Role])
    roles = set(role[:, 0])
    if Role.MCB in roles:  # three in the centre: full-backs play higher and wider
        stations[[Role.LCB - 1, Role.RCB - 1], 1] = 0.27, 0.73
        stations[[Role.LB - 1, Role.RB - 1]] = (0.40, 0.07), (0.40, 0.93)
    if (Role.LW in roles) != (Role.RW in roles):  # two strikers
        stations[[Role.LW - 1, Role.CF - 1], 1] = 0.36, 0.64
    if (Role.LM in roles) != (Role.RM in roles):  # two in front of the defence
        stations[[Role.LM - 1, Role.DM - 1]] = (0.46, 0.38), (0.42, 0.62)
    grid = np.minimum(np.arange(0, role.shape[1] + _STEP, _STEP), role.shape[1] - 1)
    base = stations[role[:, grid] - 1]
    # Who gets another role takes some ten seconds to get there.
    return gaussian_filter1d(base, 4 * FPS / _STEP, axis=1)


def _actors(script: pd.DataFrame, jersey: np.ndarray) -> np.ndarray:
    """Figure of every event."""
    step, team = script["step"].to_numpy(), script["team"].to_numpy()
    frame = script["frame"].to_numpy()
    if (np.diff(step) == 0).any():
        raise DataError(f"the script has two events at frame {frame[1:][np.diff(step) == 0][0]}")
    if len(step) and (step[0] < 0 or step[-1] >= jersey.shape[1]):
        raise DataError(f"the script's frames {frame[0]}..{frame[-1]} go beyond the line-up's")
    on = jersey.reshape(N_TEAMS, N_PLACES, -1)[team, :, step] == script["jersey"].to_numpy()[:, None]
    if not on.any(axis=1).all():
        row = script.iloc[int((~on.any(axis=1)).argmax())]
        raise DataError(
            f"the script's player {row['jersey']} of team {row['team']} is not in the line-up "
            f"at frame {row['frame']}"
        )
    return team * N_PLACES + on.argmax(axis=1)


def _vias(script: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Who has to be where when: figure, step, node (event whose point it is), offset dx, dy in m."""
    step, figure, cls = (script[name].to_numpy() for name in ("step", "figure", "cls"))
    node = np.arange(len(script))
    wait = np.diff(step, prepend=-DEAD)
    # The taker of a restart stands there a moment before.
    restart = (wait > DEAD) | ((cls == Action.THROW_IN) & (wait > 2 * _SETTLE))
    restart &= step >= _SETTLE
    # Who drove the ball is there when another player takes it.
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
    """Whether the actor of each event keeps the ball until the next event."""
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
    x = length / 2 + 0.50 * length * off[..., 0] + 0.6 * (ball[..., 0] - length / 2) + 8 * attack - 4
    y = width / 2 + (0.46 + 0.20 * attack) * width * off[..., 1] + 0.45 * (ball[..., 1] - width / 2)
    keeper = base[..., 0] < 0.1
    x = np.where(keeper, 3 + 0.12 * ball[..., 0], x)
    y = np.where(keeper, width / 2 + 0.12 * (ball[..., 1] - width / 2), y)
    home = np.stack([np.clip(x, 2, length - 5), np.clip(y, 2, width - 2)], axis=-1)
    return _own(home, team)


def _plan(script: pd.DataFrame, vias: pd.DataFrame, base: np.ndarray, rng: np.random.Generator):
    """Point (K, 2) of every event."""
    count = len(script)
    step, team, figure = (script[c].to_numpy() for c in ("step", "team", "figure"))
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
        # LAPACK's tridiagonal solver wants at least two rows.
        points = solveh_banded(matrix, wanted * pull[:, None]) if count > 1 else wanted
    return _within_reach(script, vias, points, zone, 1 / pull, wait)


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
    put(cls == Action.CROSS, 78 + 22 * uniform[0], width / 2 + side * (20 + 12 * uniform[1]), 20)
    corner = (cls == Action.CROSS) & ~live & (uniform[2] < 0.8)
    put(corner, np.full(count, length - 0.5), width / 2 + side * (width / 2 - 0.5), 50)
    put(cls == Action.SHOT, length - 6 - 16 * uniform[0], own_y, 25)
    put((cls == Action.PASS) & keeper & ~live, np.full(count, 5.5), own_y, 10)
    put((cls == Action.BLOCK) & keeper, 1 + 4 * uniform[0], width / 2 + 0.3 * (own_y - width / 2), 10)
    line = np.where(side < 0, 0.0, width)
    put(cls == Action.THROW_IN, 25 + 60 * uniform[0], line, 4)
    if count:
        zone[0], pull[0] = np.array(PITCH) / 2, 20  # kick-off
    return zone, pull


def _within_reach(script, vias, points, zone, ease, wait) -> np.ndarray:
    """Move the points, in proportion to ``ease``, until player and ball get to each in time."""
    count, cls = len(script), script["cls"].to_numpy()
    figure, step, node = (vias[name].to_numpy() for name in ("figure", "step", "node"))
    run = np.flatnonzero((figure[1:] == figure[:-1]) & (node[1:] != node[:-1]))
    flight = np.flatnonzero(wait[1:] <= DEAD)
    start = np.concatenate([node[run], flight])
    end = np.concatenate([node[run + 1], flight + 1])
    running = RUN * (step[run + 1] - step[run]) / FPS
    flying = _BALL_SPEED[cls[flight]] * wait[flight + 1] / FPS + 1.0
    limit = np.concatenate([running, flying])
    throw = cls == Action.THROW_IN
    shares = np.maximum(np.bincount(np.concatenate([start, end]), minlength=count), 1)[:, None]
    yields = (ease[start] / (ease[start] + ease[end]))[:, None]
    for _ in range(1000):
        gap = points[end] - points[start]
        distance = np.hypot(*gap.T)
        excess = np.maximum(distance - limit, 0)
        if (excess <= 0.05 * limit + 0.2).all():
            break
        shift = gap * (excess / np.maximum(distance, 1e-9))[:, None]  # (constraints, 2)
        total = np.zeros_like(points)
        np.add.at(total, start, shift * yields)
        np.add.at(total, end, shift * (yields - 1))
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
    side = np.repeat(np.arange(N_TEAMS), N_PLACES)[:, None]
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

    Minimises w |x - home|^2 + W |x - point|^2 (at the points' steps) + tau^4 |x''|^2 over a path. Where
    that is too fast, the player leaves home earlier (smaller w) and, in the end, misses the point by a
    little.
    """
    tau = 25.0  # frames to leave or find home
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
            limit = HURRY if attempt < 4 else TOP_SPEED
            fast = np.hypot(*np.diff(path, axis=0).T) * FPS > limit
            if not fast.any():
                break
            # Six seconds to either side of where it is; a window of even size is centred by its origin.
            around = maximum_filter1d(np.append(fast, False), 12 * FPS, mode="constant", origin=-1)
            stay[around] = np.maximum(0.3 * stay[around], 1e-5)
            if attempt >= 20:
                pass_by[around[steps]] *= 0.2
        xy[figure] = path
    return xy


def _ball(script: pd.DataFrame, xy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ball (T, 3): at the actor at each anchor; carried, kicked, headed or thrown in between."""
    length = xy.shape[1]
    velocity = np.gradient(xy, axis=1)
    lead = velocity / np.maximum(np.linalg.norm(velocity, axis=2, keepdims=True), 0.02)
    feet = xy + 0.6 * lead  # (22, T, 2), half a step ahead; less of a player who stands
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
        out = end[:2] + np.array([0, 1.5 if end[1] > width / 2 else -1.5])
    elif after == Action.CROSS:
        out = np.array([length + 1 if end[0] > length / 2 else -1.0, rng.uniform(15, width - 15)])
    else:
        out = start[:2] + rng.normal(0, 3, 2)
    dead = np.append(out, 0.1)
    fly = int(np.clip(FPS * np.hypot(*(dead - start)[:2]) / 14, 12, wait - 2 * _SETTLE))
    path = np.empty((wait + 1, 3))
    path[: fly + 1] = _flight(start, dead, fly, cls, rng)
    # It is back a moment before the restart, brought at no more than 25 m/s if there is time.
    trip = np.clip(1.5 * np.hypot(*(end - dead)[:2]), 10, max(wait - fly - _SETTLE, 10))
    u = np.clip((np.arange(fly, wait + 1) - (wait - _SETTLE + 10 - trip)) / trip, 0, 1)[:, None]
    path[fly:] = dead + (end - dead) * u * u * (3 - 2 * u)
    return path
