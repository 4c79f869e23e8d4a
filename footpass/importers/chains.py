"""Chains: tracks that go on with one another, because where one ends the next starts, soon and alone."""

import itertools

import numpy as np
import pandas as pd

from footpass.importers.tracks import UNKNOWN
from footpass.schema import FPS, PITCH

_GAP = 2 * FPS  # frames between the end of a track and the start of the one that goes on with it
_SPREAD, _RUN = 1.2, 4.0  # metres of error of a track's end; m/s a player may change by unseen
_CERTAIN = 3.0  # cost beyond which tracks are not joined
_MARGIN = 1.5  # how much dearer the next best partner must be
_DISAGREE = 1.0  # what different numbers add to the cost
_END = FPS // 2  # frames of a track that say where it ends
_CLEARLY = 20 * FPS  # two tracks as long as this with different numbers are of two players


def _ends(table: pd.DataFrame, tracks: pd.DataFrame) -> dict[str, np.ndarray]:
    """Where tracks start and end, (N, 2) in metres, and their velocity there in m/s."""
    xy = table[["x", "y"]].to_numpy(np.float64) * PITCH
    frame = table["frame"].to_numpy()
    bounds = np.flatnonzero(np.diff(table["track"].to_numpy(), prepend=-(2**62)) != 0)
    bounds = np.append(bounds, len(table))
    found = {key: np.full((len(tracks), 2), np.nan) for key in ("first", "last", "first_v", "last_v")}
    for one, (low, high) in enumerate(itertools.pairwise(bounds)):
        for key, start in (("first", low), ("last", max(high - _END, low))):
            stop = min(start + _END, high)
            here, when = xy[start:stop], frame[start:stop]
            known = np.isfinite(here[:, 0])
            if not known.any():
                continue
            here, when = here[known], when[known]
            middle = when.mean()
            away = when - middle
            # Velocity shrunk to 0: a few noisy frames must not send anybody far.
            slope = (away[:, None] * (here - here.mean(axis=0))).sum(axis=0) / ((away**2).sum() + 150)
            at = frame[low] if key == "first" else frame[high - 1]
            found[key][one] = here.mean(axis=0) + slope * (at - middle)
            found[key + "_v"][one] = slope * FPS
    return found


def chained(table: pd.DataFrame, tracks: pd.DataFrame) -> np.ndarray:
    """Number of the chain each track belongs to."""
    ends = _ends(table, tracks)
    start, stop = tracks["start"].to_numpy(), tracks["stop"].to_numpy()
    team, jersey = tracks["team"].to_numpy(), tracks["jersey"].to_numpy()
    rows = tracks["rows"].to_numpy()
    order = np.argsort(start, kind="stable")
    pairs = []
    for one in range(len(tracks)):
        low, high = np.searchsorted(start[order], [stop[one] + 1, stop[one] + _GAP + 1])
        others = order[low:high]
        others = others[team[others] == team[one]]
        if not len(others):
            continue
        seconds = (start[others] - stop[one]) / FPS
        # Halfway between them, as each expects it.
        ahead = ends["last"][one] + ends["last_v"][one] * np.minimum(seconds, 0.6)[:, None] / 2
        back = ends["first"][others] - ends["first_v"][others] * np.minimum(seconds, 0.6)[:, None] / 2
        cost = np.linalg.norm(ahead - back, axis=1) / (_SPREAD + _RUN * seconds)
        differ = (jersey[others] != jersey[one]) & (jersey[others] != UNKNOWN) & (jersey[one] != UNKNOWN)
        agree = (jersey[others] == jersey[one]) & (jersey[one] != UNKNOWN)
        cost += _DISAGREE * differ - _DISAGREE * agree
        cost[differ & (np.minimum(rows[others], rows[one]) >= _CLEARLY)] = np.inf
        pairs += [(c, one, int(o)) for c, o in zip(cost, others, strict=True) if c < _CERTAIN + _MARGIN]
    chain = np.arange(len(tracks))
    by_end: dict[int, list[float]] = {}
    by_start: dict[int, list[float]] = {}
    pairs.sort()
    for cost, one, other in pairs:
        by_end.setdefault(one, []).append(cost)
        by_start.setdefault(other, []).append(cost)
    for cost, one, other in pairs:
        rivals = [costs[1] for costs in (by_end[one], by_start[other]) if len(costs) > 1]
        best = by_end[one][0] == cost == by_start[other][0]
        if cost < _CERTAIN and best and cost + _MARGIN <= min(rivals, default=np.inf):
            chain[other] = one
    clear = np.where(rows >= _CLEARLY, jersey, UNKNOWN)
    for one in order:  # a partner starts later, so its chain is whole up to it
        first = chain[chain[one]]
        if UNKNOWN not in (clear[one], clear[first]) and clear[one] != clear[first]:
            first = one  # a substitute, whose first seconds without a number went on with who left
        chain[one] = first
        clear[first] = max(clear[first], clear[one])
    return chain
