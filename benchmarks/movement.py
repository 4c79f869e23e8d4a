"""How simulated players and the ball move, beside a real match of the data's provider.

``footpass import footovision --game G --tracking T --events E --out real``
``footpass simulate --no-video --matches 2 --out now``, and ``--out before`` with an older revision
``python -m benchmarks.movement --tracking T --data real=real before=before now=now``

The ball is in no official file: the real one comes from the provider's tracking, the simulated one from
matches that are made here and now.
"""

import argparse
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from footpass.data.cache import open_halves, tactical_files
from footpass.data.halves import HalfMatch
from footpass.data.movement import movement
from footpass.schema import FPS, PITCH
from footpass.simulate.season import simulate_half


def main(arguments: Sequence[str] | None = None) -> pd.DataFrame:
    """Measure and print; a column for each folder, and for the ball ``real`` and ``now``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--tracking", type=Path, required=True, help="the provider's file, with the ball"
    )
    parser.add_argument("--data", nargs="+", required=True, metavar="NAME=FOLDER", help="one is `real`")
    args = parser.parse_args(arguments)
    folders = dict(one.split("=", 1) for one in args.data)
    halves = {name: _halves(folder) for name, folder in folders.items()}
    columns = {
        name: pd.concat([movement(found.values()), _accelerations(found.values())])
        for name, found in halves.items()
    }
    with gzip.open(args.tracking) as stream:
        rows = pd.DataFrame(json.load(stream)["ball"])
    ball = rows[["x", "y"]].mul(list(PITCH)).set_index(rows["time"] * FPS // 1000)
    ball = ball.reindex(range(int(ball.index.max()) + 1)).to_numpy()
    columns["real"] = pd.concat([columns["real"], _ball(ball), _to_ball(halves["real"], ball)])
    columns["now"] = pd.concat([columns["now"], _simulated_ball()])
    table = pd.DataFrame(columns)[list(folders)]
    print(table.round(3).to_string(na_rep=""))
    return table


def _halves(folder: str) -> Mapping[str, HalfMatch]:
    return open_halves(folder, next(iter(tactical_files(folder))))


def _accelerations(halves: Iterable[HalfMatch]) -> pd.Series:
    """Of everybody who is seen, or of all where nobody tells."""
    found = []
    for half in halves:
        _, _, vx, vy, visible = half.state  # each (26, T)
        size = np.hypot(np.gradient(vx, axis=1), np.gradient(vy, axis=1)) * FPS
        found.append(size[np.isfinite(size) & ((visible > 0) | ~(visible > 0).any())])
    together = np.concatenate(found)
    return pd.Series({f"acceleration, {q} %": np.percentile(together, q) for q in (50, 95)})


def _ball(xy: np.ndarray) -> pd.Series:
    """Over a fifth of a second, since positions are rounded: (T, 2) in metres."""
    speed = np.linalg.norm(xy[5:] - xy[:-5], axis=1) * FPS / 5
    speed = speed[np.isfinite(speed)]
    return pd.Series({f"speed of the ball, {q} %": np.percentile(speed, q) for q in (50, 95)})


def _to_ball(halves: Mapping[str, HalfMatch], ball: np.ndarray) -> pd.Series:
    (half,) = halves.values()
    at, slots = np.nonzero(np.asarray(half.labels).T)
    place = half.state[:2, slots, at].T * PITCH
    return _distances(np.linalg.norm(place - ball[half.first_frame + at], axis=1))


def _distances(apart: np.ndarray) -> pd.Series:
    apart = apart[np.isfinite(apart)]
    return pd.Series({"actor to ball at events, median": np.median(apart), "events": len(apart)})


def _simulated_ball() -> pd.Series:
    speeds, apart = [], []
    for game, half in ((1001, 0), (1001, 1)):
        motion, _ = simulate_half(game, half, 90.0, 0)
        speeds.append(_ball(motion.ball[:, :2]))
        apart.append(motion.to_ball)
    return pd.concat([pd.DataFrame(speeds).mean(), _distances(np.concatenate(apart))])


if __name__ == "__main__":
    main()
