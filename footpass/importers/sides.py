"""Sides: which team of a half attacks from the left."""

import numpy as np

from footpass.files import DataError
from footpass.importers.tracks import GOALKEEPER, TrackedHalf
from footpass.schema import PITCH

_CLEAR = 1.0  # metres the teams' mean positions must be apart to tell
_LEAST = 50  # rows of goalkeepers that say enough


def sided(half: TrackedHalf, left: int | None = None) -> TrackedHalf:
    """A half whose team 0 attacks from the left.

    ``left`` is the team that does, 0 or 1 as the file has it, if it is told; else goalkeepers or mean
    positions have to show it.
    """
    if half.sides_known and left is None:
        return half
    teams = half.table["team"]
    if left is not None:
        reason = "as told"
    elif half.table["x"].isna().all() or not {0, 1} <= set(teams):
        return half  # nobody can say, and nothing depends on it
    else:
        left, reason = _found(half)
    if left == 1:
        half = half.noting(
            table=half.table.assign(team=teams.where(teams < 0, 1 - teams).astype("int8"))
        )
    note = f"sides: the file's team {left} attacks from the left ({reason})"
    return half.noting(note, sides_known=True)


def _found(half: TrackedHalf) -> tuple[int, str]:
    table = half.table[half.table["x"].notna() & (half.table["team"] >= 0)]
    keepers = table[table["keeper"] == GOALKEEPER].groupby("team")["x"].agg(["mean", "size"])
    keepers = keepers[keepers["size"] >= _LEAST]
    if {0, 1} <= set(keepers.index) and abs(keepers["mean"][0] - keepers["mean"][1]) > 0.3:
        return int(keepers["mean"].idxmin()), "its goalkeeper stands there"
    # Of the same moments, since the camera is now here, now there; defenders stand on their own side.
    mean = table.groupby(["frame", "team"])["x"].mean().unstack().reindex(columns=[0, 1]).dropna()
    gap = float((mean[1] - mean[0]).mean() * PITCH[0]) if len(mean) else 0.0
    if abs(gap) < _CLEAR or np.isnan(gap):
        raise DataError(
            f"{half.source}: which team attacks from the left? Neither goalkeepers nor mean positions "
            f"({gap:.1f} m apart) show it: say so with --left"
        )
    return int(gap < 0), f"its players are {abs(gap):.0f} m nearer to that goal"
