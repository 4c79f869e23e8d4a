"""How players move and stand, in numbers that a real match and a simulated one can be compared by.

``REAL`` are those of the data provider's own tracking (100 seconds, all 22 players, positions rounded to
a thousandth of the pitch): a test of the importers computes them again where that match is at hand.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from footpass.data.halves import HalfMatch
from footpass.schema import FPS, N_ROLES, N_SLOTS, PITCH, Role

_KEEPERS = np.arange(N_SLOTS) % N_ROLES == Role.GK - 1
_EVERY = 5  # frames between two at which distances are measured

REAL = {
    "mean speed": 2.11,
    "share above 5.5 m/s, %": 1.54,
    "top speed": 8.29,
    "second difference of positions": 0.073,
    "nearest opponent, median": 4.22,
    "length of a team, median": 30.6,
    "width of a team, median": 32.7,
}


def movement(halves: Iterable[HalfMatch]) -> pd.Series:
    """Means over halves; metres, seconds and m/s, of outfield players.

    The top speed is of who is seen, of all where nobody tells: estimates of the unseen may jump. Length
    and width of a team are those of the rectangle around its outfield players. NaN is how long players
    stay unseen where nobody tells.
    """
    return pd.DataFrame([_of_half(half) for half in halves]).mean()


def _of_half(half: HalfMatch) -> dict[str, float]:
    x, y, vx, vy, visible = half.state[:, ~_KEEPERS]  # each (24, T)
    seen, speed = visible > 0, np.hypot(vx, vy)
    present = np.isfinite(speed)
    told = seen & present if seen.any() else present
    place = np.stack([x * PITCH[0], y * PITCH[1]], axis=-1).astype(float)  # (24, T, 2)
    bend = np.linalg.norm(np.diff(place, n=2, axis=1), axis=2)
    teams = np.split(place[:, ::_EVERY], 2)  # each (12, T', 2)
    apart = np.linalg.norm(teams[0][:, None] - teams[1][None], axis=-1)  # (12, 12, T')
    nearer = [np.where(np.isnan(apart), np.inf, apart).min(axis=side) for side in (0, 1)]
    nearest = np.concatenate(nearer, axis=None)
    extent = np.concatenate([np.nanmax(team, axis=0) - np.nanmin(team, axis=0) for team in teams])
    edges = np.diff(seen, axis=1, prepend=True, append=True)
    unseen = np.concatenate([np.diff(np.flatnonzero(row).reshape(-1, 2)).ravel() for row in edges])
    return {
        "mean speed": speed[present].mean(),
        "share above 5.5 m/s, %": 100 * (speed[present] > 5.5).mean(),
        "top speed": speed[told].max(),
        "second difference of positions": np.nanmean(bend),
        "nearest opponent, median": np.median(nearest[np.isfinite(nearest)]),
        "length of a team, median": np.nanmedian(extent[:, 0]),
        "width of a team, median": np.nanmedian(extent[:, 1]),
        "seconds unseen, median": np.median(unseen) / FPS if seen.any() else np.nan,
    }
