"""A gallery of errors: true events that a system did not find, as strips of pictures."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from footpass.data.cache import Footage
from footpass.data.video import video_reader
from footpass.metrics import Evaluation, misses
from footpass.plots.views import show_strip, title_steps
from footpass.schema import FPS, Action

_STEPS = (-10, -5, 0, 5, 10)


def some_misses(evaluation: Evaluation, footage: Mapping[str, Footage], seed: int = 0) -> pd.DataFrame:
    """Ten missed events, drawn from each kind of fault in turn.

    A table as of `metrics.misses`, with columns ``when``, ``what`` (happened) and ``said`` for people.
    """
    drawn = misses(evaluation).sample(frac=1, random_state=seed)
    turn = drawn.groupby("fault").cumcount()
    drawn = drawn.loc[turn.sort_values(kind="stable").index[:10]].reset_index(drop=True)
    rows = []
    for event in drawn.itertuples():
        second = (event.frame - footage[event.half].half.first_frame) // FPS
        what = f"{Action(event.cls).label} by #{event.jersey}"
        what += ", in a replay" if event.replay else "" if event.box_visible else ", no box"
        when = f"{event.half} {second // 60:02}:{second % 60:02}"
        rows.append((when, what, _said(event, evaluation.predictions)))
    return drawn.join(pd.DataFrame(rows, columns=["when", "what", "said"]))


def _said(event, predictions: pd.DataFrame) -> str:
    """What a system made of an event that it missed, in words."""
    if event.fault == "nothing":
        return "nothing near it"
    said = predictions.loc[event.instead]
    late = int(said["frame"] - event.frame)
    return {
        "class": f"a {Action(said['cls']).label} by the same player",
        "player": f"by #{said['jersey']}, a team-mate",
        "time": f"{abs(late)} frames too {'late' if late > 0 else 'early'}",
    }[event.fault]


def error_strips(some: pd.DataFrame, evaluation: Evaluation, footage: Mapping[str, Footage]) -> Figure:
    """Pictures around events as of `some_misses`, a row each: true events white, others yellow."""
    size = (2.4 + 1.5 * len(_STEPS), 1.6 * len(some))
    figure, axes = plt.subplots(len(some), len(_STEPS), figsize=size, squeeze=False)
    for row, event in zip(axes, some.itertuples(), strict=True):
        entry = footage[event.half]
        tables = evaluation.truth, evaluation.predictions
        show_strip(row, entry.half, video_reader(entry.video), event, _STEPS, *tables)
        label = f"{event.when}\n{event.what}\n{event.said}"
        row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    title_steps(axes[0], _STEPS)
    figure.tight_layout(pad=0.3)
    return figure
