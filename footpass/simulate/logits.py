"""Logit volumes of detectors that do not exist, of every quality: to learn from before the real ones.

Every half has a detector of its own, whose strength, noise, delays and confusions are drawn at random:
nothing is fitted to any real one. What learns from many of them learns to judge by itself how far a
detector can be trusted, and, beside it, how a game goes on.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from footpass.data.halves import HalfMatch
from footpass.data.statistics import load_statistics
from footpass.schema import N_CLASSES, PITCH, Action, State

_REACH = 15  # frames around its middle that a peak is drawn on


def simulate_logits(half: HalfMatch, rng: np.random.Generator, volumes: int = 1) -> list[np.ndarray]:
    """Logits ``(9, 26, T)``, float16, of so many detectors that watched a half with labels.

    The first detector sees players with a box only; the others, like a graph model, have a weaker idea
    of everybody else too. Each is better than the one before it.
    """
    return [_volume(half, rng, better=number) for number in range(volumes)]


def perfect_logits(half: HalfMatch) -> np.ndarray:
    """Logits ``(9, 26, T)``, float16, of a detector that knows who did what when, unseen or not."""
    logits = np.zeros((N_CLASSES, *half.jersey.shape), np.float32)
    logits[Action.BACKGROUND] = 4.0
    assert half.labels is not None  # only halves with labels are watched
    for slot, frame in np.argwhere(half.labels > 0):
        step = np.arange(max(0, frame - _REACH), min(half.n_frames, frame + _REACH + 1))
        peak = 8.0 * np.exp(-0.5 * ((step - frame) / 2) ** 2)
        told = logits[half.labels[slot, frame], slot]
        told[step] = np.maximum(told[step], peak)
    return logits.astype(np.float16)


def _volume(half: HalfMatch, rng: np.random.Generator, better: int) -> np.ndarray:
    visible = half.state[State.VISIBLE] > 0  # (26, T)
    there = np.isfinite(half.state[State.X])
    players, length = visible.shape
    logits = np.zeros((N_CLASSES, players, length), np.float32)
    for fast, slow, loud in ((1, 4, rng.uniform(0.2, 0.6)), (8, 40, rng.uniform(0.2, 0.8))):
        noise = rng.standard_normal(logits.shape, dtype=np.float32)
        noise = gaussian_filter1d(noise, rng.uniform(fast, slow), axis=-1)
        logits += loud / noise.std() * noise
    logits[Action.BACKGROUND] += rng.uniform(2.5, 6)

    usual = np.sqrt(load_statistics().count)  # rare classes are said more often than they occur
    usual = usual / usual.sum()
    strength, spread = rng.uniform(3.5, 7.5) + 0.7 * better, rng.uniform(1, 2.5)
    delay, confused, mate = rng.uniform(0, 4), rng.uniform(0.05, 0.4), rng.uniform(0.05, 0.4)
    confused, mate = confused / (1 + better), mate / (1 + better)

    def peak(cls: int, slot: int, frame: int, height: float) -> None:
        at = round(frame + rng.normal(0, delay))
        step = np.arange(max(0, at - _REACH), min(length, at + _REACH + 1))
        logits[cls, slot, step] += height * np.exp(-0.5 * ((step - at) / rng.uniform(1, 5)) ** 2)

    def other_class() -> int:
        return 1 + int(rng.choice(len(usual), p=usual))

    assert half.labels is not None  # only halves with labels are watched
    for frame, slot in np.argwhere(half.labels.T > 0):
        cls, height = int(half.labels[slot, frame]), rng.normal(strength, spread)
        if not visible[slot, frame]:
            if better:
                peak(cls, slot, frame, height - 2.5)
            continue
        if rng.random() < confused:
            peak(other_class(), slot, frame, height)
            height -= 2
        peak(cls, slot, frame, height)
        if rng.random() < mate:
            peak(cls, _nearest(half, visible, slot, frame), frame, height - 1)
    for frame in rng.integers(length, size=rng.poisson(length * rng.uniform(0.001, 0.01))):
        seen = np.flatnonzero(visible[:, frame])
        if len(seen):
            peak(other_class(), int(rng.choice(seen)), frame, rng.normal(strength - 1, spread))
    blind = ~(there if better else visible)
    logits[:, blind] = 3.0 * (np.arange(N_CLASSES) == Action.BACKGROUND)[:, None]
    return logits.astype(np.float16)


def _nearest(half: HalfMatch, visible: np.ndarray, slot: int, frame: int) -> int:
    """The visible player nearest to one, or the player where there is no other."""
    place = half.state[State.X : State.Y + 1, :, frame] * np.array(PITCH)[:, None]
    distance = np.hypot(*(place - place[:, [slot]]))
    distance = np.where(visible[:, frame], distance, np.inf)
    distance[slot] = np.nan
    return slot if not np.isfinite(distance).any() else int(np.nanargmin(distance))
