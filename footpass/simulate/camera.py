"""The broadcast: where the camera looks, who gets a box, and when a replay is shown.

One main camera stands behind the near touchline, pans after the ball with a lag and zooms. During a
replay nobody has a box; the picture shows an earlier moment again, slower and closer, from low down.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from footpass.schema import FPS, FULL_HD, PITCH
from footpass.simulate.motion import DEAD, Motion

BODY = 1.85  # metres from the ground to the top of a box
_MAIN = np.array([PITCH[0] / 2, PITCH[1] + 38.0, 21.0])  # where the main camera stands, metres
_WIDTH = 0.46  # of a box, in heights
_SLOW = 2  # times slower than life


@dataclass(frozen=True)
class Shots:
    """What the viewer sees at each of T frames."""

    # (T, 3), metres: where the camera stands, which point it looks at.
    position: np.ndarray
    target: np.ndarray
    focal: np.ndarray  # (T,), pixels of the full-HD picture
    source: np.ndarray  # (T,): the frame of the half that is shown; the frame itself but for replays
    replay: np.ndarray  # (T,), bool
    # (22, T, 4): left, top, width, height in full-HD pixels; NaN where a player has no box.
    boxes: np.ndarray

    def project(self, points: np.ndarray, frames: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Points (..., T, 3) in metres to (..., T, 3): x, y in full-HD pixels, pixels per metre."""
        right, down, ahead = _axes(self.position[frames], self.target[frames])
        offset = points - self.position[frames]
        depth = np.maximum((offset * ahead).sum(-1), 0.5)
        scale = self.focal[frames] / depth
        x, y = (scale * (offset * axis).sum(-1) for axis in (right, down))
        return np.stack([FULL_HD[1] / 2 + x, FULL_HD[0] / 2 + y, scale], axis=-1)

    def lenses(self, frames: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(T, 3, 3) from metres off the camera to homogeneous full-HD pixels."""
        axes = np.stack(_axes(self.position[frames], self.target[frames]), axis=1)
        camera = np.zeros_like(axes)
        camera[:, 0, 0] = camera[:, 1, 1] = self.focal[frames]
        camera[:, :, 2] = FULL_HD[1] / 2, FULL_HD[0] / 2, 1
        return camera @ axes


def _axes(position: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors (T, 3) to the right, down and ahead in the picture."""
    ahead = target - position
    ahead = ahead / np.linalg.norm(ahead, axis=-1, keepdims=True)
    right = np.stack([-ahead[..., 1], ahead[..., 0], np.zeros_like(ahead[..., 0])], axis=-1)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    return right, np.cross(right, ahead), ahead


def film(motion: Motion, rng: np.random.Generator) -> Shots:
    """Broadcast a half; who has a box at an anchor, and what is a replay, follows the script's flags."""
    length = len(motion.ball)
    position, target, focal = _main_camera(motion.ball, rng)
    replay, source = _replays(motion, rng)
    live = Shots(position, target, focal, source, replay, np.empty(0))
    boxes = _boxes(motion, live, rng)
    boxes[:, replay] = np.nan
    # A replay: from low down behind the same touchline, close to the ball, shaking a little.
    again = source[replay]
    ball = motion.ball[again]
    low = np.column_stack(
        [ball[:, 0] + rng.choice([-12, 12]), np.full(len(ball), PITCH[1] + 6), 0 * again + 3]
    )
    position[replay] = low
    near = gaussian_filter1d(motion.ball, 8, axis=0)[again]
    target[replay] = near * [1, 1, 0] + [0, 0, 1.0]
    focal[replay] = 90 * np.linalg.norm(target[replay] - low, axis=1)  # pixels per metre at the ball
    return Shots(position, target, focal, np.where(replay, source, np.arange(length)), replay, boxes)


def _main_camera(ball: np.ndarray, rng: np.random.Generator):
    """Position (T, 3), target (T, 3) and focal length (T,) of the main camera, without replays."""
    length = len(ball)
    # The operator sees the ball a little late and moves smoothly.
    late = ball[np.maximum(np.arange(length) - FPS // 4, 0), :2]
    follow = gaussian_filter1d(late, 0.6 * FPS, axis=0)
    # The camera keeps near the middle of the pitch and leads the play towards the goals.
    centre = np.array(PITCH) / 2
    target = np.column_stack([follow, np.zeros(length)])
    target[:, :2] = centre + (follow - centre) * [0.92, 0.75]
    sway = gaussian_filter1d(rng.normal(size=(length, 3)), 4 * FPS, axis=0, truncate=3)
    sway /= max(sway.std(), 1e-9)
    target[:, :2] += 0.8 * sway[:, :2]
    distance = np.linalg.norm(target - _MAIN, axis=1)
    # Metres that fit across the picture; the zoom makes up for part of the distance.
    across = 32 * (distance / 75) ** 0.4 * np.exp(0.06 * sway[:, 2])
    return np.tile(_MAIN, (length, 1)), target, FULL_HD[1] * distance / across


def _replays(motion: Motion, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(T,) whether a replay is shown, and which frame it shows."""
    length = len(motion.ball)
    step = motion.script["step"].to_numpy()
    flag = motion.script["replay"].to_numpy(bool)
    replay, source = np.zeros(length, bool), np.arange(length)
    edges = np.concatenate([[0], step, [length]])  # frames that bound what may be a replay
    flagged = np.concatenate([[False], flag, [False]])
    k = 1
    stretches = []
    while k < len(flagged):
        if flagged[k]:
            last = k
            while flagged[last + 1]:
                last += 1
            lead = int(rng.uniform(0.3, 0.9) * min(edges[k] - edges[k - 1], 12 * FPS))
            tail = int(rng.uniform(0.1, 0.6) * min(edges[last + 1] - edges[last], 5 * FPS))
            stretches.append((edges[k] - lead, edges[last] + tail))
            k = last + 1
        elif edges[k] - edges[k - 1] > 3 * DEAD and rng.random() < 0.5:
            # Play rests for long: what happened is shown again though nothing is missed.
            start, wait = edges[k - 1], edges[k] - edges[k - 1]
            stretches.append((start + 2 * FPS, start + int(rng.uniform(0.4, 0.8) * wait)))
        k += 1
    for start, stop in stretches:
        start, stop = max(start, 0), min(max(stop, start + 1), length)
        replay[start:stop] = True
        # It ends with the moment before it started.
        shown = start - (stop - start) // _SLOW + np.arange(stop - start) // _SLOW
        source[start:stop] = np.maximum(shown, 0)
    return replay, source


def _boxes(motion: Motion, shots: Shots, rng: np.random.Generator) -> np.ndarray:
    """(22, T, 4) boxes of the main camera's picture: of players in view who are seen alone."""
    figures, length = motion.role.shape
    ground = np.concatenate([motion.xy, np.zeros((figures, length, 1))], axis=2)
    foot = shots.project(ground)  # (22, T, 3)
    jitter = gaussian_filter1d(rng.normal(size=(2, figures, length)), 2.0, axis=2)
    tall = foot[..., 2] * BODY * (1 + 0.05 * jitter[0])
    wide = tall * _WIDTH * (1 + 0.25 * jitter[1])
    corner = np.stack([foot[..., 0] - wide / 2, foot[..., 1] - tall * 0.97], axis=-1)
    low = corner.clip(0, FULL_HD[::-1])
    high = (corner + np.stack([wide, tall], axis=-1)).clip(0, FULL_HD[::-1])
    boxes = np.concatenate([low, high - low], axis=-1)
    in_view = boxes[..., 2] * boxes[..., 3] > 0.6 * wide * tall
    seen = in_view & ~_crowded(boxes, in_view)
    # A tracker loses a player now and then, for about a second.
    lost = rng.random((figures, length // FPS + 2)) < 0.08
    seen &= ~lost[:, (np.arange(length) + rng.integers(FPS)) // FPS]

    step, figure = motion.script["step"].to_numpy(), motion.script["figure"].to_numpy()
    visible, replay = (motion.script[c].to_numpy(bool) for c in ("box_visible", "replay"))
    for rows, value in ((visible, True), (~visible & ~replay, False)):
        reach = rng.integers(4, 16, (len(step), 2))
        for k in np.flatnonzero(rows):
            seen[figure[k], max(step[k] - reach[k, 0], 0) : step[k] + reach[k, 1]] = value
    seen[figure[visible], step[visible]] = True
    boxes[~(seen & in_view)] = np.nan
    return boxes


def _crowded(boxes: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(22, T) whether another player's box covers more than 30 % of the smaller of the two."""
    crowded = np.zeros(present.shape, bool)
    corners = np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], -1, dtype=np.float32)
    area = (boxes[..., 2] * boxes[..., 3]).astype(np.float32)
    for a in range(len(boxes)):
        for b in range(a):
            low = np.maximum(corners[a, :, :2], corners[b, :, :2])
            size = np.maximum(np.minimum(corners[a, :, 2:], corners[b, :, 2:]) - low, 0)
            hidden = size[:, 0] * size[:, 1] > 0.3 * np.minimum(area[a], area[b])
            hidden &= present[a] & present[b]
            crowded[a] |= hidden
            crowded[b] |= hidden
    return crowded
