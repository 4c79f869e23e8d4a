"""Where players are while nobody sees them: at their place in the moving shape of the two teams.

All positions of a moment follow a few common movements (the play goes left, a team pushes up). They are
found by factor analysis with missing values (Tipping & Bishop 1999, the form for incomplete data): each
player has a mean and a weight on every factor; who is seen tells the factors, the factors tell where the
others are. What a player deviated by when last and when next seen fades away over a few seconds.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from footpass.schema import FPS, PITCH

_STEP = 5  # frames between two moments of the model
_FACTORS = 4
_ROUNDS = 2  # with more, those who are seen are fitted better and the others worse
_KEEPER = 0.2  # how far a goalkeeper moves with the team, as a part of how far the others do
_NOISE = 3.0  # metres a player is off the own place in the shape
_PRIOR = 10 * FPS / _STEP  # moments that a team counts like, for the weights of its players
_NEAR, _FAR, _SHARE = 0.6, 8.0, 0.02  # seconds over which factors are smooth; how much of the slow one
_FADE = 6.0  # seconds after which a deviation has faded to 1/e
_MARGIN = 1.5  # metres off the pitch that nobody is taken to leave


def filled(xy: np.ndarray, teams: np.ndarray, keepers: np.ndarray) -> np.ndarray:
    """Positions with those nobody saw estimated: (P, T, 2), float32.

    As given, (P, T, 2) in metres, where not NaN; who is never seen is in the middle of the own team,
    0 or 1 in ``teams (P,)``. Goalkeepers, 1 in ``keepers (P,)``, are seen only when play is near them:
    from that alone they would be thought to move with the others when it is not.
    """
    expected = _shape(xy, teams, keepers)
    found = xy.astype(np.float32)
    frames = np.arange(xy.shape[1])
    for player, seen in enumerate(np.isfinite(xy[..., 0])):
        off = np.flatnonzero(~seen)
        if not len(off):
            continue
        known = np.flatnonzero(seen)
        if not len(known):
            found[player] = expected[player]
            continue
        after = np.searchsorted(known, off)
        last, following = known[np.maximum(after - 1, 0)], known[np.minimum(after, len(known) - 1)]
        since = np.where(after > 0, frames[off] - last, np.inf) / (FPS * _FADE)
        until = np.where(after < len(known), following - frames[off], np.inf) / (FPS * _FADE)
        # The mean of a process that returns to 0 (Ornstein-Uhlenbeck) between two known values.
        with np.errstate(over="ignore", invalid="ignore"):
            whole = np.exp(-2 * (since + until))
            before = (np.exp(-since) - np.exp(-since - 2 * until)) / np.maximum(1 - whole, 1e-9)
            later = (np.exp(-until) - np.exp(-until - 2 * since)) / np.maximum(1 - whole, 1e-9)
        deviation = xy[player, known] - expected[player, known]
        if len(known) > 1:  # without the noise of single frames
            deviation = gaussian_filter1d(deviation, 3.0, axis=0, truncate=2)
        moved = expected[player, off]
        moved = moved + before[:, None] * deviation[np.maximum(after - 1, 0)]
        moved += later[:, None] * deviation[np.minimum(after, len(known) - 1)]
        found[player, off] = np.clip(moved, -_MARGIN, np.array(PITCH) + _MARGIN)
    return found


def slow_velocity(xy: np.ndarray) -> np.ndarray:
    """Velocities (P, T, 2) in m/s of estimated positions, whose changes within seconds mean nothing."""
    return np.gradient(gaussian_filter1d(xy, FPS, axis=1), 1 / FPS, axis=1)


def _shape(xy: np.ndarray, teams: np.ndarray, keepers: np.ndarray) -> np.ndarray:
    """Where each player's place in the shape is, (P, T, 2)."""
    n_players, length, _ = xy.shape
    moments = -(-length // _STEP)
    padded = np.full((n_players, moments * _STEP, 2), np.nan, np.float32)
    padded[:, :length] = xy
    parts = padded.reshape(n_players, moments, _STEP, 2)
    seen = np.isfinite(parts[..., 0]).sum(axis=2)  # (P, moments)
    sums = np.nansum(parts, axis=2, dtype=np.float64)
    values = (sums / np.maximum(seen, 1)[..., None]).transpose(1, 0, 2).reshape(moments, -1)
    known = np.repeat((seen > 0).T, 2, axis=1)  # (moments, 2P)
    kind = 2 * teams + 4 * keepers
    kind = np.column_stack([kind, kind + 1]).ravel()  # keeper or not, team and axis of each column
    expected = _factors(values - np.tile(PITCH, n_players) / 2, known, kind)
    expected = expected.reshape(moments, n_players, 2) + np.array(PITCH) / 2
    at = np.clip((np.arange(length) - (_STEP - 1) / 2) / _STEP, 0, moments - 1)
    low = np.floor(at).astype(int)
    share = (at - low)[:, None, None]
    high = np.minimum(low + 1, moments - 1)
    between = expected[low] * (1 - share) + expected[high] * share
    return between.transpose(1, 0, 2).astype(np.float32)


def _factors(values: np.ndarray, known: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Expected values (moments, columns) by factor analysis of those that are known."""
    n_moments, n_columns = values.shape
    values = np.where(known, values, 0.0)
    count = known.sum(axis=0)
    groups = np.unique(kind, return_inverse=True)[1]
    grouped = np.bincount(groups, values.sum(axis=0)) / np.maximum(np.bincount(groups, count), 1)
    mean = (values.sum(axis=0) + _PRIOR * grouped[groups]) / (count + _PRIOR)
    # The start: all move along x together, all along y, and each team by itself.
    weights = np.zeros((n_columns, _FACTORS))
    weights[kind % 2 == 0, 0] = weights[kind % 2 == 1, 1] = 5.0
    weights[:, 2], weights[:, 3] = np.where(kind == 0, 2.0, 0), np.where(kind == 2, 2.0, 0)
    weights[kind >= 4] = 0
    known = known.astype(float)
    for _ in range(_ROUNDS):
        state, spread = _states(values, known, mean, weights)  # (moments, factors), and its covariance
        design = np.column_stack([state, np.ones(n_moments)])
        width = design.shape[1]
        products = design[:, :, None] * design[:, None]
        products[:, :-1, :-1] += spread  # without it weights would grow with every round, without end
        gram = (known.T @ products.reshape(n_moments, -1)).reshape(n_columns, width, width)
        target = (known * values).T @ design
        shared = np.stack([gram[groups == g].sum(axis=0) for g in range(groups.max() + 1)])
        towards = np.stack([target[groups == g].sum(axis=0) for g in range(groups.max() + 1)])
        ridge = np.eye(width) * 1e-3
        common = np.linalg.solve(shared + ridge, towards[..., None])[..., 0]  # of a team and axis
        present = np.unique(kind)
        for group in np.flatnonzero(present >= 4):
            outfield = np.flatnonzero(present == present[group] - 4)
            common[group, :-1] = _KEEPER * common[outfield, :-1].sum(axis=0)
        pull = np.where(kind < 4, _PRIOR, 1e6)[:, None] * np.append(np.ones(_FACTORS), 0)  # (columns, 5)
        pull[:, -1] = 0.1 * _PRIOR
        matrix = gram + pull[:, :, None] * np.eye(width)
        solution = np.linalg.solve(matrix, (target + common[groups] * pull)[..., None])[..., 0]
        weights, mean = solution[:, :-1], solution[:, -1]
    return _states(values, known, mean, weights)[0] @ weights.T + mean


def _states(
    values: np.ndarray, known: np.ndarray, mean: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the factors at every moment, from all that is known then and around."""
    squares = (weights[:, :, None] * weights[:, None]).reshape(len(weights), -1)
    precision = known @ squares / _NOISE**2
    evidence = (known * (values - mean)) @ weights / _NOISE**2
    both = np.concatenate([precision, evidence], axis=1)
    near, far = (gaussian_filter1d(both, s * FPS / _STEP, axis=0, mode="nearest") for s in (_NEAR, _FAR))
    both = near + _SHARE * far
    n = weights.shape[1]
    spread = np.linalg.inv(both[:, : n * n].reshape(-1, n, n) + np.eye(n))
    return (spread @ both[:, n * n :, None])[..., 0], spread
