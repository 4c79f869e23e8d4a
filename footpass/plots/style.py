"""What all figures share: colours, legends, bars, heat maps, and labels that do not overlap."""

from collections.abc import Sequence
from typing import cast

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_rgb
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from footpass.schema import ACTION_LABELS

# One colour a class everywhere; the palette is Okabe and Ito's, safe for colour-blind readers.
CLASS_COLOURS = dict(
    zip(
        ACTION_LABELS,
        ("#0072B2", "#56B4E9", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#000000", "#5A5A5A"),
        strict=True,
    )
)


BY_CLASS = list(CLASS_COLOURS.values())


# Of series that are no classes: they differ in lightness too, so that grey prints tell them apart.
SERIES = ("#003F5C", "#56B4E9", "#E69F00", "#9C4F96", "#B8B8B8")


LINES = ("-", "--", ":", "-.")


TEAMS = ("#4682FF", "#FF5046")


def clean(axes: plt.Axes) -> None:
    """Take away the frame's upper and right side."""
    axes.spines[["top", "right"]].set_visible(False)


def ink(colour: str) -> str:
    """Black or white, whichever can be read on a colour."""
    return "black" if _luminance(colour) > 0.18 else "white"  # equal contrast with both


def legend(axes: plt.Axes, columns: int = 4) -> None:
    """A legend above the axes, where no data are."""
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=columns,
        frameon=False,
        fontsize=8,
        borderpad=0,
    )


def figure_legend(figure: Figure, colours: dict[str, str] = CLASS_COLOURS) -> None:
    """One legend of colours below all panels, by default of the classes."""
    handles = [Line2D([], [], color=colour, lw=4, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, ncols=8, loc="outside lower center", frameon=False, fontsize=8)


def bars(axes: plt.Axes, tables: Sequence[pd.DataFrame], labels: str = "", **options: object) -> None:
    """Groups of bars: one a row of the tables, in it one bar a column, the mean over the tables.

    ``labels`` is the format of the numbers above them; none by default.
    """
    parts = [table.melt(ignore_index=False, var_name="series", value_name="value") for table in tables]
    long = pd.concat(parts).rename_axis("group").reset_index()
    colours = SERIES[: long["series"].nunique()]
    sns.barplot(
        long, x="group", y="value", hue="series", palette=colours, saturation=1, ax=axes, **options
    )
    rotation = 90 if long["group"].nunique() > 4 else 0
    for series in axes.containers if labels else ():
        axes.bar_label(cast(BarContainer, series), fmt=labels, fontsize=7, padding=1, rotation=rotation)
    axes.set(xlabel="", ylabel="")
    legend(axes)
    clean(axes)


def heatmap(axes: plt.Axes, share: pd.DataFrame, text: pd.DataFrame, **options: object) -> None:
    """A table in colours from 0 to 1, with a text in each cell."""
    sns.heatmap(
        share,
        annot=text,
        fmt="",
        cmap="Blues",
        vmin=0,
        vmax=1,
        annot_kws={"size": 8},
        ax=axes,
        **options,
    )
    axes.tick_params(length=0)
    axes.tick_params(axis="y", rotation=0)


# Offsets in points, with how the text is aligned: above, below, right, left, then farther away.
_PLACES = [
    (away * right, away * up, align, vertical)
    for away in (6, 14, 22)
    for right, up, align, vertical in (
        (0, 1, "center", "bottom"),
        (0, -1, "center", "top"),
        (1, 0, "left", "center"),
        (-1, 0, "right", "center"),
    )
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
        for right, up, align, vertical in _PLACES:
            note.set(position=(right, up), ha=align, va=vertical)
            box = note.get_window_extent()
            clashes.append(box.padded(3).count_contains(others) + box.count_overlaps(taken))
        right, up, align, vertical = _PLACES[int(np.argmin(clashes))]
        note.set(position=(right, up), ha=align, va=vertical)
        taken.append(note.get_window_extent())


def _luminance(colour: str) -> float:
    """Relative luminance, as contrast ratios have it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
