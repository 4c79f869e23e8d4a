"""Pictures of a simulated half: pitch, crowd, figures that run, kick, jump, throw and slide, a ball.

The pitch and the stands are flat pictures, warped into each frame by a homography; the figures are
drawn limb by limb. How a figure moves around an anchor frame depends on the class, with an
amplitude and a timing of its own each time: a short pass can look like a touch of the ball.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from footpass.pitch import markings
from footpass.schema import FPS, FULL_HD, MODEL_SIZE, N_TEAMS, PITCH, Action, Role
from footpass.simulate.camera import Shots
from footpass.simulate.motion import N_PLACES, Motion

_SCALE = np.array([MODEL_SIZE[1] / FULL_HD[1], MODEL_SIZE[0] / FULL_HD[0], MODEL_SIZE[1] / FULL_HD[1]])
_TEXELS = 5  # a metre of grass
_MARGIN = 14.0  # metres of grass around the pitch
_SHIFT = 4  # cv2 draws at 1/16 pixel
_ONE = 2**_SHIFT
_PEN = {"lineType": cv2.LINE_AA, "shift": _SHIFT}
_CHUNK = 250  # frames posed at once
_Kit = tuple[tuple[int, int, int], tuple[int, int, int]]  # shirt, shorts
Kits = tuple[_Kit, _Kit]  # of the field players, of the keeper

_KITS: list[_Kit] = [
    ((200, 30, 40), (240, 240, 240)),
    ((235, 235, 240), (30, 30, 60)),
    ((30, 70, 190), (30, 70, 190)),
    ((240, 205, 40), (20, 60, 140)),
    ((120, 20, 60), (90, 180, 230)),
    ((25, 25, 30), (25, 25, 30)),
    ((110, 190, 235), (240, 240, 240)),
    ((235, 110, 25), (25, 25, 30)),
]

_KEEPERS = [((60, 220, 90), (30, 120, 50)), ((230, 90, 200), (120, 40, 110))]
_SKIN = [(236, 188, 150), (198, 144, 104), (140, 92, 62), (92, 60, 42)]

# What a body does around the anchor: (frames from it, value) by channel. kick: radians the leg swings
# ahead; arms: 0 down, 1 over the head; jump: metres; lean: radians towards the action.
_MOVES: dict[Action, dict[str, tuple[tuple[float, float], ...]]] = {
    Action.DRIVE: {"kick": ((-4, 0), (0, 0.55), (4, 0))},
    Action.PASS: {"kick": ((-7, 0), (-3, -0.8), (1, 0.9), (8, 0)), "arms": ((-6, 0), (0, 0.15), (8, 0))},
    Action.CROSS: {
        "kick": ((-10, 0), (-4, -1.2), (2, 1.5), (13, 0)),
        "lean": ((-9, 0), (-2, -0.35), (4, 0.2), (12, 0)),
        "arms": ((-8, 0), (-2, 0.45), (10, 0)),
    },
    Action.THROW_IN: {
        "arms": ((-26, 0.5), (-10, 1), (-1, 1.1), (4, 0.6), (12, 0)),
        "lean": ((-12, 0), (-5, -0.3), (2, 0.4), (11, 0)),
    },
    Action.SHOT: {
        "kick": ((-9, 0), (-4, -1.3), (1, 1.4), (5, 1.6), (14, 0)),
        "lean": ((-6, 0), (0, 0.4), (12, 0)),
        "arms": ((-8, 0), (-2, 0.6), (4, 0.4), (14, 0)),
    },
    Action.HEADER: {
        "jump": ((-8, 0), (-4, 0.4), (0, 0.6), (4, 0.4), (8, 0)),
        "lean": ((-7, 0), (-2, -0.3), (2, 0.35), (9, 0)),
        "arms": ((-9, 0), (-3, 0.5), (8, 0)),
    },
    Action.TACKLE: {
        "lean": ((-10, 0), (-3, -1.1), (8, -1.2), (18, 0)),
        "kick": ((-8, 0), (-2, 1.2), (8, 1.2), (16, 0)),
        "arms": ((-8, 0), (0, 0.4), (16, 0)),
    },
    Action.BLOCK: {
        "lean": ((-6, 0), (0, -0.6), (8, 0)),
        "kick": ((-6, 0), (0, 1.0), (4, 0.9), (9, 0)),
        "arms": ((-6, 0), (0, 0.5), (9, 0)),
    },
}

_CHANNELS = ("kick", "arms", "jump", "lean")
_LIMBS = np.array([[1, 4, 5], [1, 6, 7], [2, 8, 9], [2, 10, 11]])  # joints of legs and arms


def render(
    motion: Motion,
    shots: Shots,
    kits: list[Kits],
    rng: np.random.Generator,
    which: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Pictures, uint8 (352, 640, 3) RGB, of frames counted from the half's first (None: of all)."""
    which = np.arange(len(motion.ball)) if which is None else which
    grass, walls = _grass(rng), _walls(rng)
    skins = rng.choice(len(_SKIN), len(motion.role), p=[0.4, 0.25, 0.2, 0.15])
    clothes = [
        (*kits[figure // N_PLACES][int(role == Role.GK)], _SKIN[skins[figure]])
        for figure, role in enumerate(motion.role[:, 0])
    ]
    noise = rng.normal(0, 4, (8, *MODEL_SIZE, 3)).round()
    # Two saturating sums of bytes are several times faster than one of mixed types.
    lighter, darker = (np.maximum(part, 0).astype(np.uint8) for part in (noise, -noise))
    poses = _poses(motion, rng)
    backdrop = np.full((*MODEL_SIZE, 3), (52, 60, 66), np.uint8)
    chalk = markings()
    starts = np.cumsum([0] + [len(line) for line in chalk[:-1]])
    corners = np.concatenate(chalk)[:, None]  # (P, 1, 3)
    for start in range(0, len(which), _CHUNK):
        frames = which[start : start + _CHUNK]
        joints, scale = _joints(motion, shots, poses, frames)
        lenses = np.diag([_SCALE[0], _SCALE[1], 1.0]) @ shots.lenses(frames)  # (T, 3, 3)
        lines = shots.project(corners, frames) * _SCALE  # (P, T, 3)
        goals = shots.project(_goals()[:, :, None], frames) * _SCALE  # (2, 6, T, 3)
        where = motion.ball[shots.source[frames]]
        ball = shots.project(where, frames) * _SCALE  # (T, 3)
        shadow = shots.project(where * [1, 1, 0], frames) * _SCALE
        for i, frame in enumerate(frames.tolist()):
            picture: np.ndarray = backdrop.copy()
            for wall in (grass, *walls):
                _hang(picture, lenses[i], shots.position[frame], *wall)
            _draw_lines(picture, lines[:, i], starts)
            _draw_goals(picture, goals[:, :, i], shots.target[frame, 0])
            ball_drawn = False
            scales = scale[i].tolist()
            for figure in np.argsort(joints[i, :, 0, 1]).tolist():  # from the far side to the near one
                if not ball_drawn and joints[i, figure, 0, 1] > shadow[i, 1] + 0.3 * shadow[i, 2]:
                    _draw_ball(picture, ball[i], shadow[i])
                    ball_drawn = True
                _draw_figure(picture, joints[i, figure], scales[figure], clothes[figure])
            if not ball_drawn:
                _draw_ball(picture, ball[i], shadow[i])
            picture = cv2.GaussianBlur(picture, (3, 3), 0.5)
            grain = rng.integers(len(noise))
            cv2.subtract(cv2.add(picture, lighter[grain]), darker[grain], picture)
            _draw_graphics(picture, frame, bool(shots.replay[frame]))
            yield picture


def _grass(rng: np.random.Generator):
    """Flat picture of the pitch, its corner (3,) and its edges (3, 2) in metres a texel."""
    size = ((np.array(PITCH) + 2 * _MARGIN) * _TEXELS).astype(int)
    mown = np.floor((np.arange(size[0]) / _TEXELS - _MARGIN) / (PITCH[0] / 18)).astype(int) % 2
    green = np.where(mown[:, None], (76, 138, 62), (66, 126, 54))
    blades = gaussian_filter1d(gaussian_filter1d(rng.normal(0, 20, size[::-1]), 1, 0), 1, 1)
    flat = np.clip(green + blades[..., None], 0, 255).astype(np.uint8)
    corner = np.array([-_MARGIN, -_MARGIN, 0.0])
    return flat, corner, np.eye(3)[:, :2] / _TEXELS


def _draw_lines(picture: np.ndarray, points: np.ndarray, starts: np.ndarray) -> None:
    """Draw the markings; points (P, 3) in pixels and pixels per metre, ``starts`` of the polylines."""
    fixed = np.round(points[:, :2] * _ONE).clip(-(2**20), 2**20).astype(np.int32)
    pairs: np.ndarray = np.stack([fixed[:-1], fixed[1:]], axis=1)  # (P - 1, 2, 2)
    scale = np.minimum(points[:-1, 2], points[1:, 2])
    inside = np.any((pairs > -1600).all(axis=2) & (pairs < 11840).all(axis=2), axis=1)
    inside &= np.maximum(points[:-1, 2], points[1:, 2]) < 100
    inside[starts[1:] - 1] = False
    for thick in (1, 2):
        chosen = pairs[inside & ((scale > 40) == (thick == 2))]
        cv2.polylines(picture, chosen, False, (222, 228, 222), thick, cv2.LINE_AA, _SHIFT)


def _walls(rng: np.random.Generator) -> list:
    """Stands with boards behind the far touchline and both goals: picture, corner, edges."""
    high, texels = 18, 8
    walls = []
    for corner, along, metres in (
        ((-60.0, -7.0), (1.0, 0.0), 225),
        ((-11.0, -7.0), (0.0, 1.0), 82),
        ((PITCH[0] + 11.0, -7.0), (0.0, 1.0), 82),
    ):
        seats = rng.integers(45, 125, (high * 2, metres * 2, 1))
        seats = seats + rng.integers(-40, 40, (high * 2, metres * 2, 3))
        dark = np.where(np.arange(high * 2) % 4 == 3, 0.45, 0.8)[:, None, None]
        crowd = cv2.resize((seats * dark).astype(np.uint8), (metres * texels, high * texels))
        for left in range(0, metres, 12):  # boards, a metre high, 12 m long
            colour = tuple(int(c) for c in rng.integers(30, 230, 3))
            low, top = (left * texels, (high - 1) * texels), ((left + 12) * texels - 1, high * texels)
            cv2.rectangle(crowd, low, top, colour, -1)
        edges = np.array([[*along, 0.0], [0, 0, -1]]).T / texels
        walls.append((crowd, np.array([*corner, high]), edges))
    return walls


def _hang(picture: np.ndarray, lens: np.ndarray, position: np.ndarray, flat, corner, edges) -> None:
    """Warp a flat picture to where the camera sees it, if all of it is ahead."""
    view = np.empty((3, 3))  # from texels to model pixels
    view[:, :2], view[:, 2] = lens @ edges, lens @ (corner - position)
    height, width = flat.shape[:2]
    x, y, depth = view @ np.array([[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]])
    if depth.min() < 1:
        if edges[2, 1] < 0:
            return  # a wall that reaches behind the camera
        left, top, right, bottom = 0, 0, MODEL_SIZE[1], MODEL_SIZE[0]
    else:
        x, y = x / depth, y / depth
        left, right = (int(min(max(v, 0), MODEL_SIZE[1])) for v in (x.min(), x.max() + 1))
        top, bottom = (int(min(max(v, 0), MODEL_SIZE[0])) for v in (y.min(), y.max() + 1))
    if right <= left or bottom <= top:
        return
    part = picture[top:bottom, left:right]
    view[0] -= left * view[2]
    view[1] -= top * view[2]
    cv2.warpPerspective(flat, view, part.shape[1::-1], part, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)


def choose_kits(rng: np.random.Generator) -> list[Kits]:
    """Kits of the two teams of a match."""
    chosen = rng.choice(len(_KITS), N_TEAMS, replace=False)
    return [(_KITS[i], keeper) for i, keeper in zip(chosen, _KEEPERS, strict=True)]


def _poses(motion: Motion, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Channels (22, T) of what each body does, the way it faces, and its running."""
    length = len(motion.ball)
    velocity = gaussian_filter1d(motion.velocity, 3, axis=1)
    speed = np.linalg.norm(velocity, axis=2)
    poses = {name: np.zeros(speed.shape, np.float32) for name in _CHANNELS}
    # Facing along the picture's x; who hardly moves keeps looking at the ball.
    looks = np.sign(motion.ball[None, :, 0] - motion.xy[..., 0])
    side = np.where(np.abs(velocity[..., 0]) > 1, np.sign(velocity[..., 0]), looks)
    along = np.clip(np.abs(velocity[..., 0]) / np.maximum(speed, 0.5), 0.3, 1)
    swing = np.clip(speed / 6, 0.06, 1)
    for name, value in (("side", side), ("along", along), ("swing", swing)):
        poses[name] = value.astype(np.float32)
    poses["phase"] = np.cumsum(2 * np.pi * speed / (1.4 + 0.25 * speed) / FPS, axis=1)
    around = np.arange(-26, 19)
    script = motion.script
    for step, figure, cls in zip(script["step"], script["figure"], script["cls"], strict=True):
        at = step + around
        inside = (at >= 0) & (at < length)
        at = at[inside]
        strength, late, pace = rng.uniform(0.6, 1.2), rng.normal(0, 0.8), rng.uniform(0.85, 1.2)
        for name, knots in _MOVES[cls].items():
            when, height = np.transpose(knots)
            move = np.interp((around[inside] - late) / pace, when, height, left=0, right=0)
            channel = poses[name][figure]
            move = strength * move
            channel[at] = np.where(np.abs(move) > np.abs(channel[at]), move, channel[at])
        goes = motion.ball[min(step + 8, length - 1), 0] - motion.ball[step, 0]
        if abs(goes) > 0.5:
            poses["side"][figure, at[np.abs(at - step) < 12]] = np.sign(goes)
    return poses


def _joints(motion: Motion, shots: Shots, poses: dict[str, np.ndarray], frames: np.ndarray):
    """Joints (T, 22, 12, 2) in pixels and pixels per metre (T, 22).

    Joints: ground, hip, neck, head, then knee and foot of two legs, elbow and hand of two arms.
    """
    shown = shots.source[frames]
    ground = np.concatenate([motion.xy[:, shown], np.zeros((*motion.xy[:, shown].shape[:2], 1))], axis=2)
    pixel = shots.project(ground, frames) * _SCALE  # (22, T, 3)
    side, along, swing, phase, kick, arms, jump, lean = (
        poses[name][:, shown] for name in ("side", "along", "swing", "phase", *_CHANNELS)
    )
    # In the plane of the picture: u metres ahead of the figure, v metres up.
    u, v = np.zeros((2, 12, *side.shape))
    v[1], v[2], v[3] = 0.92, 1.48, 1.66
    u[2], u[3] = 0.08 * swing, 0.12 * swing
    wide = 1 - along
    for knee, sign in ((4, 1), (6, -1)):
        turn = sign * 0.9 * swing * along * np.sin(phase) + (kick if sign > 0 else -0.25 * kick)
        bend = 1.1 * swing * np.maximum(sign * np.cos(phase), 0)
        bend = bend + np.where((sign > 0) & (kick < 0), -0.8 * kick, 0)  # the back-swing bends the knee
        u[knee] = sign * 0.12 * wide + 0.45 * np.sin(turn)
        v[knee] = 0.92 - 0.45 * np.cos(turn)
        u[knee + 1] = u[knee] + 0.47 * np.sin(turn - bend)
        v[knee + 1] = v[knee] - 0.47 * np.cos(turn - bend)
    for elbow, sign in ((8, 1), (10, -1)):
        up = np.pi * 0.92 * np.clip(arms, 0, 1.2)
        turn = -sign * 0.9 * swing * along * np.sin(phase) * (1 - np.clip(arms, 0, 1)) + sign * up * 0.97
        out = sign * (0.1 + 0.1 * wide)
        u[elbow] = u[2] + out + 0.28 * np.sin(turn)
        v[elbow] = v[2] - 0.05 - 0.28 * np.cos(turn)
        u[elbow + 1] = u[elbow] + 0.27 * np.sin(turn + 0.5 * swing)
        v[elbow + 1] = v[elbow] - 0.27 * np.cos(turn + 0.5 * swing)
    cos, sin = np.cos(lean), np.sin(lean)
    u[1:], v[1:] = u[1:] * cos + v[1:] * sin, v[1:] * cos - u[1:] * sin
    v[1:] = np.maximum(v[1:], 0.06) + jump
    x = pixel[..., 0] + u * side * pixel[..., 2]
    y = pixel[..., 1] - v * pixel[..., 2] * (_SCALE[1] / _SCALE[0])
    return np.stack([x, y], axis=-1).transpose(2, 1, 0, 3), pixel[..., 2].T


def _draw_figure(picture: np.ndarray, joints: np.ndarray, scale: float, clothes: tuple) -> None:
    height, width = MODEL_SIZE
    x, y = joints[0].tolist()
    if not (-20 < x < width + 20 and 0 < y < height + 3 * scale):
        return
    shirt, shorts, skin = clothes
    fixed = np.rint(joints * _ONE).astype(np.int32)
    limbs, points = fixed[_LIMBS], fixed.tolist()
    limb = max(1, round(0.13 * scale))
    shadow = (points[0][0] + int(0.25 * scale * _ONE), points[0][1])
    size = (int(0.5 * scale * _ONE), int(0.12 * scale * _ONE))
    cv2.ellipse(picture, shadow, size, 0, 0, 360, (46, 90, 40), -1, **_PEN)
    for leg, (hip, knee, foot) in zip(limbs[:2], _LIMBS[:2].tolist(), strict=True):
        cv2.polylines(picture, [leg], False, skin, limb, **_PEN)
        cv2.line(picture, points[knee], points[foot], shirt, limb, **_PEN)  # socks
        middle = [(a + b) // 2 for a, b in zip(points[hip], points[knee], strict=True)]
        cv2.line(picture, points[hip], middle, shorts, limb + 2, **_PEN)
    cv2.line(picture, points[1], points[2], shirt, max(2, round(0.36 * scale)), **_PEN)
    for arm, (neck, elbow, _) in zip(limbs[2:], _LIMBS[2:].tolist(), strict=True):
        cv2.polylines(picture, [arm], False, skin, max(1, limb - 1), **_PEN)
        cv2.line(picture, points[neck], points[elbow], shirt, limb, **_PEN)
    cv2.circle(picture, points[3], int(0.13 * scale * _ONE), skin, -1, **_PEN)


def _draw_ball(picture: np.ndarray, ball: np.ndarray, shadow: np.ndarray) -> None:
    radius = max(1.3, 0.14 * ball[2])
    if np.abs(shadow[:2]).max() < 2000 and np.abs(ball[:2]).max() < 2000:
        low = np.round(shadow[:2] * _ONE).astype(int).tolist()
        size = (int(radius * _ONE), int(0.4 * radius * _ONE))
        cv2.ellipse(picture, low, size, 0, 0, 360, (40, 80, 36), -1, **_PEN)
        at = np.round((ball[:2] - [0, radius]) * _ONE).astype(int).tolist()
        cv2.circle(picture, at, int(radius * _ONE), (250, 250, 245), -1, **_PEN)


def _goals() -> np.ndarray:
    """Corners (2, 6, 3) of both goals in metres: foot, top, top, foot of the posts, feet of the net."""
    low, high = PITCH[1] / 2 - 3.66, PITCH[1] / 2 + 3.66
    posts = [(0, low, 0), (0, low, 2.44), (0, high, 2.44), (0, high, 0)]
    left = np.array([*posts, (-2, low, 0), (-2, high, 0)])
    return np.stack([left, (PITCH[0], 0, 0) + left * (-1, 1, 1)])


def _draw_goals(picture: np.ndarray, goals: np.ndarray, looks_at: float) -> None:
    """Draw what is near of the goals (2, 6, 3), in pixels and pixels per metre."""
    for x, at in zip((0, PITCH[0]), goals, strict=True):
        if abs(looks_at - x) > 45 or at[:, 2].max() > 100 or np.abs(at[:, :2]).max() > 2000:
            continue
        fixed = np.round(at[:, :2] * _ONE).astype(np.int32)
        for string in ([1, 4, 0], [2, 5, 3], [4, 5]):
            cv2.polylines(picture, [fixed[string]], False, (170, 180, 175), 1, **_PEN)
        cv2.polylines(picture, [fixed[:4]], False, (245, 245, 245), 2, **_PEN)


def _draw_graphics(picture: np.ndarray, frame: int, replay: bool) -> None:
    """Clock, or the word that says this is not live."""
    second = frame // FPS
    text = "REPLAY" if replay else f"{second // 60:02}:{second % 60:02}"
    cv2.rectangle(picture, (16, 12), (76, 28), (150, 20, 30) if replay else (20, 24, 40), -1)
    cv2.putText(picture, text, (22, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (240, 240, 240), 1, cv2.LINE_AA)
