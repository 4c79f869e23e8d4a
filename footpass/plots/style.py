"""What all figures share: colours, legends, bars, heat maps, and labels that do not overlap."""

from collections.abc import Sequence
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from footpass.pitch import markings
from footpass.schema import ACTION_LABELS, PITCH

# One colour a class everywhere; the palette is Okabe and Ito's, safe for colour-blind readers.
BY_CLASS = ["#0072B2", "#56B4E9", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#000000", "#5A5A5A"]
CLASS_COLOURS = dict(zip(ACTION_LABELS, BY_CLASS, strict=True))
# Of series that are no classes: they differ in lightness too, so that grey prints tell them apart.
SERIES = ("#003F5C", "#56B4E9", "#E69F00", "#9C4F96", "#B8B8B8")
LINES = ("-", "--", ":", "-.")
# Of marks and texts that lie on lines, bars or a dark ground.
HALO = [withStroke(linewidth=3, foreground="white")]
SIDES = ("left", "right")  # from which a team attacks
# Of teams: hardly any wears turquoise or violet, so that no box over a video has the colour of the other
# side's shirts. Darker on paper.
TEAMS = ("#00857A", "#8A3FFC")
TEAMS_ON_VIDEO = ("#20E0D0", "#A050FF")


def subplots(size: tuple[float, float], rows: int = 1, columns: int = 1, **options: Any) -> Any:
    """A figure and its axes, as of pyplot, without the upper and right sides of frames."""
    with plt.rc_context({"axes.spines.top": False, "axes.spines.right": False}):
        return plt.subplots(rows, columns, figsize=size, layout="constrained", **options)


def draw_pitch(axes: plt.Axes) -> None:
    """The markings of a pitch in metres, the origin at the upper left."""
    for line in markings():
        axes.plot(line[:, 0], line[:, 1], color="#B8C4B8", lw=0.8, zorder=0)
    axes.set(xlim=(-3, PITCH[0] + 3), ylim=(PITCH[1] + 3, -3), aspect="equal")
    axes.axis("off")


def ink(colour: str) -> str:
    """Black or white, whichever can be read on a colour."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = np.dot(linear, (0.2126, 0.7152, 0.0722))
    return "black" if luminance > 0.18 else "white"  # equal contrast with both


def legend(axes: plt.Axes, columns: int = 4) -> None:
    """A legend above the axes, where no data are."""
    place: Any = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "borderpad": 0}
    axes.legend(ncols=columns, frameon=False, fontsize=8, **place)


def figure_legend(figure: Figure, colours: dict[str, str] = CLASS_COLOURS) -> None:
    """One legend of colours below all panels, by default of the classes."""
    handles = [Line2D([], [], color=colour, lw=4, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, ncols=8, loc="outside lower center", frameon=False, fontsize=8)


def bars(axes: plt.Axes, tables: Sequence[pd.DataFrame], labels: str = "", **options: object) -> None:
    """Groups of bars: one a row of the tables, in it one bar a column, the mean over the tables.

    ``labels`` is the format of the numbers above them; none by default.
    """
    import seaborn as sns  # slow to import

    parts = [table.melt(ignore_index=False, var_name="series", value_name="value") for table in tables]
    long = pd.concat(parts).rename_axis("group").reset_index()
    colours = SERIES[: long["series"].nunique()]
    columns = {"x": "group", "y": "value", "hue": "series"}
    sns.barplot(long, **columns, palette=colours, saturation=1, ax=axes, **options)
    rotation = 90 if long["group"].nunique() > 4 else 0
    for series in axes.containers if labels else ():
        axes.bar_label(cast(BarContainer, series), fmt=labels, fontsize=7, padding=1, rotation=rotation)
    axes.set(xlabel="", ylabel="")
    legend(axes)


def heatmap(axes: plt.Axes, share: pd.DataFrame, text: pd.DataFrame) -> None:
    """A table in colours from 0 to 1, with a text in each cell."""
    import seaborn as sns

    words = {"annot": text, "fmt": "", "annot_kws": {"size": 8}}
    sns.heatmap(share, cmap="Blues", vmin=0, vmax=1, cbar=False, ax=axes, **words)
    axes.tick_params(length=0)
    axes.tick_params(axis="y", rotation=0)


# Where a text may be: above, below, right, left of its point, then farther away, in points.
_SIDES = (
    (0, 1, "center", "bottom"),
    (0, -1, "center", "top"),
    (1, 0, "left", "center"),
    (-1, 0, "right", "center"),
)
_PLACES = [
    {"position": (away * right, away * up), "ha": align, "va": vertical}
    for away in (6, 14, 22)
    for right, up, align, vertical in _SIDES
]


def label_points(axes: plt.Axes, x: np.ndarray, y: np.ndarray, texts: Sequence[str]) -> None:
    """Write a text beside each point, if it can be where no other point and no other text is.

    Called last: the axes must have their limits.
    """
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()  # a constrained layout moves the axes
    points = axes.transData.transform(np.column_stack([x, y]))  # pixels
    taken: list[Bbox] = []
    for k, text in enumerate(texts):
        note = axes.annotate(text, (x[k], y[k]), (0, 0), textcoords="offset points", fontsize=8)
        others = np.delete(points, k, axis=0)
        clashes = []
        for place in _PLACES:
            note.set(**place)
            box = note.get_window_extent()
            clashes.append(box.padded(3).count_contains(others) + box.count_overlaps(taken))
        note.set(**_PLACES[int(np.argmin(clashes))])
        taken.append(note.get_window_extent())
