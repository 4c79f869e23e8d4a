"""A simulated half as a tracker would see it.

In the official files every player has one name and one place at every frame. A tracker sees who is in
the picture, loses a player and finds the same one again under another number, and misreads shirts.
`TrackerErrors` says how badly.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d

from footpass.files import DataError
from footpass.schema import FPS, FULL_HD, N_TEAMS, PITCH, Role
from footpass.simulate.camera import Shots
from footpass.simulate.motion import N_PLACES, Motion
from footpass.simulate.season import unread_jerseys

_BURST = 10  # frames that a missed box is missing at a stretch
_BALL = 0.22  # metres


@dataclass(frozen=True)
class TrackerErrors:
    """How far a tracker falls short; the defaults are perfect."""

    # Mean seconds after which a track ends and another begins; so it does after a second out of sight.
    # 0: a player has one track.
    break_tracks: float = 0.0
    # Shares of tracks without a shirt number, and with that of a team-mate.
    unknown_jerseys: float = 0.0
    wrong_jerseys: float = 0.0
    # Standard deviation in metres of positions along each axis; it drifts within a second. MOT files
    # have no positions: there it is the homography's.
    noise: float = 0.0
    missed: float = 0.0  # share of boxes not found, some tenths of a second at a time

    def __post_init__(self) -> None:
        for name in ("break_tracks", "noise"):
            if not 0 <= getattr(self, name) < np.inf:
                raise DataError(f"{name} {getattr(self, name)} is not 0 or more")
        if not 0 <= self.missed <= 1:
            raise DataError(f"missed {self.missed} is not within 0..1")
        unknown, wrong = self.unknown_jerseys, self.wrong_jerseys
        if not (unknown >= 0 and wrong >= 0 and unknown + wrong <= 1):
            raise DataError(
                f"unknown_jerseys {unknown} and wrong_jerseys {wrong}: not shares of one whole"
            )


def track(motion: Motion, shots: Shots, errors: TrackerErrors, seed: list[int]) -> pd.DataFrame:
    """What a tracker makes of a half; more of one kind of error changes nothing about the others.

    Returns
    -------
    pd.DataFrame
        One row per box, sorted by frame: ``frame, track`` (from 1), ``team, jersey`` (-1 where unknown),
        ``role`` (player, goalkeeper or ball), ``x, y`` (pitch, 0..1), ``box_x, box_y, box_w, box_h``
        (pixels of `FULL_HD`).
    """
    draws = np.random.default_rng(seed).spawn(4)
    boxes = np.concatenate([shots.boxes, _ball_boxes(motion, shots)[None]])  # (23, T, 4), the ball last
    figures, length = boxes.shape[:2]
    bursts = draws[0].random((figures, length // _BURST + 2)) < errors.missed
    missed = bursts[:, (np.arange(length) + draws[0].integers(_BURST)) // _BURST]
    seen = np.isfinite(boxes[..., 0]) & ~missed
    number = _tracks(seen, motion.jersey, errors.break_tracks, draws[1])
    step, figure = np.nonzero(seen.T)
    rows = pd.DataFrame({"frame": motion.first_frame + step})
    _, first, rows["track"] = np.unique(number[figure, step], return_index=True, return_inverse=True)
    rows["track"] += 1
    ball = figure == len(motion.jersey)
    rows["team"] = np.where(ball, -1, figure // N_PLACES)
    jersey = _read_jerseys(motion, figure[first], step[first], errors, draws[2])[rows["track"] - 1]
    unread = np.append(unread_jerseys(motion), np.zeros((1, len(motion.ball)), bool), axis=0)
    rows["jersey"] = np.where(unread[figure, step], -1, jersey)
    keeper = motion.role[np.where(ball, 0, figure), step] == Role.GK
    rows["role"] = np.select([ball, keeper], ["ball", "goalkeeper"], "player")
    xy = np.concatenate([motion.xy, motion.ball[None, :, :2]])
    xy = xy + errors.noise * drift(xy.shape, draws[3])
    rows[["x", "y"]] = xy[figure, step] / PITCH
    rows[["box_x", "box_y", "box_w", "box_h"]] = boxes[figure, step]
    return rows


def _tracks(
    seen: np.ndarray, jersey: np.ndarray, seconds: float, rng: np.random.Generator
) -> np.ndarray:
    """(23, T) number of the track that a figure is in."""
    starts = np.zeros(seen.shape, bool)
    starts[:, 0] = True
    starts[:-1, 1:] = np.diff(jersey, axis=1) != 0  # a substitute goes on where the other one left
    breaks = rng.random(seen.shape)
    if seconds:
        starts |= breaks < 1 / (seconds * FPS)
        at = np.arange(seen.shape[1])
        before = np.maximum.accumulate(np.where(seen, at, -1), axis=1)
        starts[:, 1:] |= at[1:] - before[:, :-1] > FPS
    return np.cumsum(starts).reshape(seen.shape)


def _read_jerseys(
    motion: Motion, figure: np.ndarray, step: np.ndarray, errors: TrackerErrors, rng: np.random.Generator
) -> np.ndarray:
    """Shirt number read in each track, whose figure and first step are given; -1 for none."""
    fate, other = rng.random(len(figure)), rng.integers(1, N_PLACES, len(figure))
    team, place = np.divmod(figure, N_PLACES)
    wrong = fate < errors.wrong_jerseys
    unknown = ~wrong & (fate < errors.wrong_jerseys + errors.unknown_jerseys) | (team == N_TEAMS)
    mate = np.where(unknown, 0, team * N_PLACES + (place + wrong * other) % N_PLACES)
    return np.where(unknown, -1, motion.jersey[mate, step])


def drift(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Noise (..., T, 2) of standard deviation 1 that takes about a second to change."""
    noise = gaussian_filter1d(rng.normal(size=shape), FPS / 2, axis=-2)
    return noise / noise.std()


def _ball_boxes(motion: Motion, shots: Shots) -> np.ndarray:
    """(T, 4) boxes of the ball, NaN in replays and outside the picture."""
    x, y, scale = shots.project(motion.ball).T
    size = _BALL * scale
    boxes = np.column_stack([x - size / 2, y - size / 2, size, size])
    height, width = FULL_HD
    boxes[shots.replay | (x < 0) | (x >= width) | (y < 0) | (y >= height)] = np.nan
    return boxes
