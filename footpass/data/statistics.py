"""What the simulator knows of real football: aggregate statistics of the released train events.

``statistics.json`` holds counts and quantiles only, no event. It was made, and can be made again, by

    FOOTPASS_RELEASE=... python -m footpass.data.statistics
"""

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from footpass.data.paths import play_by_play_path, release_dir
from footpass.events import read_ground_truth
from footpass.files import DataError, atomic_write
from footpass.schema import ACTIONS
from footpass.timeline import RELATIONS, Timeline

FILE = Path(__file__).with_name("statistics.json")

# Levels of the gap quantiles: dense at the tail, and cut there, since one break of eight minutes would
# stretch the straight line to it over all long gaps.
GAP_LEVELS = np.array([0, 0.02, *np.arange(0.05, 0.95, 0.05).round(2), 0.95, 0.98, 0.99, 0.995])
FEWEST_GAPS = 40  # a cell with fewer has the quantiles of its relation, all classes together


@dataclass(frozen=True)
class Statistics:
    """Aggregates of a ground-truth table; A = 8 classes, in the order of `schema.ACTIONS`.

    Relations, of an event's actor to the one before, are those of `timeline.RELATIONS`.
    """

    n_halves: int
    half_frames: float  # mean from the first to the last event of a half
    count: np.ndarray  # (A,): events
    box: np.ndarray  # (A,): those whose actor has a box
    replay: np.ndarray  # (A,): those in a replay
    transitions: np.ndarray  # (A, 3, A): how often (relation, class) follows a class within a half
    gaps: np.ndarray  # (A, 3, A, len(GAP_LEVELS)): quantiles of the frames between the two
    box_after: np.ndarray  # (2, A): share with a box of live events, after one without and one with
    replay_after: np.ndarray  # (2, A): share in a replay, after a live event and after one in a replay


def derive(truth: pd.DataFrame) -> Statistics:
    """Statistics of a ground-truth event table."""
    n = len(ACTIONS)
    truth = truth.sort_values(["half", "frame"], kind="stable").reset_index(drop=True)
    cls, box, replay = truth["cls"] - 1, truth["box_visible"], truth["replay"]
    line = Timeline.of(truth)
    last, follows = line.step(-1)
    relation = line.relation(np.arange(len(truth)), last)
    before = {"before": cls.shift(fill_value=0), "relation": relation, "cls": cls}
    pairs = pd.DataFrame(before | {"gap": truth["frame"].diff()})[follows]
    transitions = np.zeros((n, len(RELATIONS), n), dtype=int)
    np.add.at(transitions, tuple(pairs[["before", "relation", "cls"]].to_numpy().T), 1)
    gaps = np.zeros((*transitions.shape, len(GAP_LEVELS)))
    for relation, rows in pairs.groupby("relation"):
        gaps[:, relation] = np.quantile(rows["gap"], GAP_LEVELS)
    for cell, rows in pairs.groupby(["before", "relation", "cls"]):
        if len(rows) >= FEWEST_GAPS:
            gaps[cell] = np.quantile(rows["gap"], GAP_LEVELS)

    spans = truth.groupby("half", observed=True)["frame"].agg(["min", "max"])
    live = follows & ~replay
    return Statistics(
        n_halves=len(spans),
        half_frames=float((spans["max"] - spans["min"]).mean()),
        count=np.bincount(cls, minlength=n),
        box=np.bincount(cls[box], minlength=n),
        replay=np.bincount(cls[replay], minlength=n),
        transitions=transitions,
        gaps=gaps.round(1),
        box_after=_share_after(box, live, cls),
        replay_after=_share_after(replay, follows, cls),
    )


def _share_after(flag: pd.Series, rows: pd.Series, cls: pd.Series) -> np.ndarray:
    """``(2, A)``: share of ``rows`` with the flag, by the flag of the event before and the class."""
    before = flag.shift(fill_value=False)
    shares = [
        [flag[rows & (before == state) & (cls == c)].mean() for c in range(len(ACTIONS))]
        for state in (False, True)
    ]
    return np.nan_to_num(np.array(shares)).round(4)


@cache
def load_statistics() -> Statistics:
    """The statistics of the 91,327 released train events."""
    content = json.loads(FILE.read_text())
    values: dict[str, Any] = {k: np.array(v) if isinstance(v, list) else v for k, v in content.items()}
    return Statistics(**values)


def main() -> None:
    """Derive ``statistics.json`` from the release."""
    folder = release_dir()
    if folder is None:
        raise DataError("set FOOTPASS_RELEASE to a clone of the public FOOTPASS repository")
    statistics = derive(read_ground_truth(folder / play_by_play_path("train")))
    content = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(statistics).items()}
    with atomic_write(FILE) as stream:
        json.dump(content, stream, separators=(",", ":"))
    print(f"{FILE}: {int(statistics.count.sum())} events")


if __name__ == "__main__":
    main()
