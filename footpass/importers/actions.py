"""Events as other tools want them: where each began and ended, by whom, for which team, on which clock.

The official events say who did what at which frame. The tactical data add where; the next event adds
where it ended and whether the ball was kept.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from footpass.data.halves import HalfMatch
from footpass.events import halves_of, match_of
from footpass.files import DataError
from footpass.schema import FPS, N_ROLES, N_TEAMS, PITCH, SCORE_THRESHOLD, Action, State

HOME, AWAY = "home", "away"  # who attacks from the left in the first half, and who from the right
LAST_PERIOD = 5  # the shoot-out
UNKNOWN = "unknown"  # in the place of a shirt number
_POINTS = (Action.TACKLE, Action.BLOCK)  # over where they begin


def actions(
    events: pd.DataFrame,
    positions: Mapping[str, HalfMatch] | None = None,
    threshold: float = SCORE_THRESHOLD,
) -> pd.DataFrame:
    """What happened, in order, in the words of event data.

    Without positions, every half by name, nobody knows where anything was. Predictions of a score below
    the threshold are left out, as the evaluation does.

    Returns
    -------
    pd.DataFrame
        The events' columns, and ``match``; ``period`` (1, 2, ...); ``seconds`` since the half's first
        frame (without positions: since its first event), 0 before it; ``side`` (home or away);
        ``player`` (``home_7``, ``away_unknown``); ``x, y, end_x, end_y`` in metres, NaN where unknown:
        home attacks to the right in every half, x from its goal line, y from the touchline on its right,
        as in SPADL; ``kept``, whether the next event is of the same team; ``next``, its row, -1 for
        none.
    """
    if not 0 <= threshold <= 1:
        raise DataError(f"threshold {threshold} is outside 0..1")
    if "score" in events:
        events = events[events["score"] >= threshold]
    table = events.sort_values(["half", "frame"], kind="stable", ignore_index=True)
    names = halves_of(table)
    numbers = {name: int(name.rpartition("_H")[2]) for name in names}
    wrong = [name for name, number in numbers.items() if not 1 <= number <= LAST_PERIOD]
    if wrong:
        raise DataError(f"a match has at most {LAST_PERIOD} periods", half=wrong[0])
    table["match"] = table["half"].map(match_of).astype(str)
    table["period"] = table["half"].map(numbers).astype(np.int64)
    # Teams change sides after every half, as far as the names of halves tell.
    away = (table["team"] + table["period"] - 1) % N_TEAMS
    table["side"] = np.where(away == 1, AWAY, HOME)
    shirt = np.where(table["jersey"] >= 0, table["jersey"].astype(str), UNKNOWN)
    table["player"] = table["side"] + "_" + shirt
    starts = table.groupby("half", observed=True)["frame"].transform("min")
    table[["x", "y"]] = np.nan
    if positions is not None:
        first = {name: positions[name].first_frame for name in names}
        starts = table["half"].map(first).astype(np.int64)
        for name, rows in table.groupby("half", observed=True):
            table.loc[rows.index, ["x", "y"]] = _places(rows, positions[str(name)])
    table["seconds"] = (table["frame"] - starts).clip(lower=0) / FPS
    return _continued(table)


def placed(table: pd.DataFrame) -> pd.DataFrame:
    """Those actions of which it is known where they were, following each other."""
    there = np.isfinite(table[["x", "y"]]).all(axis=1)
    return _continued(table[there].reset_index(drop=True))


def _places(events: pd.DataFrame, half: HalfMatch) -> np.ndarray:
    """(n, 2) where the players are, in metres, home attacking to the right."""
    frames = events["frame"].to_numpy()
    slots = events["team"].to_numpy()[:, None] * N_ROLES + np.arange(N_ROLES)
    step = frames - half.first_frame
    inside = (step >= 0) & (step < half.n_frames)
    step = np.where(inside, step, 0)[:, None]
    there = half.jersey_at(slots, frames[:, None]) == events["jersey"].to_numpy()[:, None]
    xy = half.state[[State.X, State.Y]][:, slots, step]  # (2, n, 13)
    there &= np.isfinite(xy).all(axis=0) & inside[:, None]
    there &= there.sum(axis=1, keepdims=True) == 1  # of two alike, neither
    place = np.where(there, xy, 0).sum(axis=2).T * PITCH
    # Ours has the left goal at x = 0 and y towards the camera.
    turned = (events["period"].to_numpy() % N_TEAMS == 0)[:, None]
    place[:, 1] = PITCH[1] - place[:, 1]
    place = np.where(turned, PITCH - place, place)
    return np.where(there.any(axis=1)[:, None], place, np.nan)


def _continued(table: pd.DataFrame) -> pd.DataFrame:
    """With what the next event of the half tells about each."""
    table["next"] = np.arange(1, len(table) + 1)
    last = table["half"] != table["half"].shift(-1)
    table.loc[last, "next"] = -1
    table["kept"] = ~last & (table["side"] == table["side"].shift(-1))
    end = table[["x", "y"]].shift(-1).mask(last)
    shot = table["cls"] == Action.SHOT
    open_shot = shot & (table["cls"].shift(-1).mask(last) != Action.BLOCK)
    end.loc[open_shot, "x"] = np.where(table.loc[open_shot, "side"] == HOME, PITCH[0], 0.0)
    end.loc[open_shot, "y"] = PITCH[1] / 2
    end = end.mask(table["cls"].isin(_POINTS)).fillna(table[["x", "y"]])
    table["end_x"], table["end_y"] = end["x"], end["y"]
    return table
