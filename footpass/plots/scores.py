"""Figures of scores: by class, by visibility, by variant, with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from footpass.metrics import Evaluation, Interval
from footpass.plots.style import (
    BY_CLASS,
    CLASS_COLOURS,
    HALO,
    LINES,
    SERIES,
    bars,
    heatmap,
    label_points,
    legend,
    subplots,
)
from footpass.schema import ACTION_LABELS, ACTIONS


def tuned_against_held_out(scores: pd.DataFrame, base: float) -> Figure:
    """Macro F1 of variants, one row each, fitted on the scored matches and held out.

    ``scores`` has the columns ``in sample``, ``held out``, ``low`` and ``high`` (its interval).
    """
    figure, axes = subplots((8, 0.8 + 0.32 * len(scores)))
    y = np.arange(len(scores))
    tuned, held_out = scores["in sample"], scores["held out"]
    axes.hlines(y, held_out, tuned, color="#8A8A8A", lw=1.5, zorder=1)
    axes.hlines(y, scores["low"], scores["high"], color="#0072B2", lw=5, alpha=0.2, zorder=0)
    axes.scatter(tuned, y, color="white", edgecolors="#D55E00", label="fitted on what it scores")
    axes.scatter(held_out, y, color="#0072B2", label="match left out (90 % interval of the gain)")
    axes.axvline(base, color="black", lw=0.8, ls=":", label="untouched")
    axes.set(xlabel="macro F1", yticks=y, yticklabels=scores.index, ylim=(len(scores) - 0.5, -0.5))
    legend(axes)
    return figure


def f1_changes(base: Evaluation, variants: dict[str, Evaluation]) -> Figure:
    """Change of each class's F1 against ``base``, one panel a variant."""
    size = (2.6 * len(variants) + 1.2, 3)
    figure, panels = subplots(size, 1, len(variants), sharex=True, sharey=True, squeeze=False)
    for axes, (name, evaluation) in zip(panels[0], variants.items(), strict=True):
        gain = evaluation.counts.f1 - base.counts.f1
        axes.barh(ACTION_LABELS, gain, color=BY_CLASS)
        axes.axvline(0, color="black", lw=0.8)
        axes.set_title(f"{name}: {evaluation.macro_f1 - base.macro_f1:+z.4f}", fontsize=9)
        axes.locator_params(axis="x", nbins=4)  # more would write over each other
    panels[0, 0].invert_yaxis()
    figure.supxlabel("change of F1", fontsize=9)
    return figure


def compare_learning(panels: dict[str, dict[str, list[dict]]]) -> Figure:
    """Training loss by optimizer step: panel name -> model name -> rows of `training.loop.train`."""
    figure, row = subplots((9, 2.8), 1, len(panels), squeeze=False)
    for axes, (title, runs) in zip(row[0], panels.items(), strict=True):
        for (name, rows), colour, marker in zip(runs.items(), SERIES, "osD^", strict=False):
            table = pd.DataFrame(rows)
            axes.plot(table["step"], table["loss"], marker=marker, ms=3, color=colour, label=name)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlabel("optimizer steps")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    row[0, 0].set_ylabel("training loss")
    row[0, 0].legend(frameon=False, fontsize=8)  # losses fall: there is room on the right
    return figure


def f1_by_class(evaluations: dict[str, list[Evaluation]]) -> Figure:
    """F1 of each class and model, the rarest first: the mean over seeds, and their range."""
    counts = next(iter(evaluations.values()))[0].counts.gt
    order = np.argsort(counts, kind="stable")
    figure, axes = subplots((9, 3.4))
    classes = [f"{ACTION_LABELS[i]}\n{counts[i]}" for i in order]
    tables = []
    for name, seeds in evaluations.items():
        macro = np.mean([evaluation.macro_f1 for evaluation in seeds])
        column = f"{name}: macro {macro:.3f}"
        tables += [pd.DataFrame({column: seed.counts.f1[order]}, classes) for seed in seeds]
    bars(axes, tables, errorbar=("pi", 100), err_kws={"color": "black", "linewidth": 1})
    axes.set(ylabel="F1 (number of events below)", ylim=(0, max(0.1, axes.get_ylim()[1])))
    return figure


def recall_by_visibility(evaluations: dict[str, Evaluation]) -> Figure:
    """Recall over all classes, by what the broadcast shows of the actor."""
    figure, axes = subplots((8, 3))
    names = {"box": "with a box", "no_box": "without a box", "live": "live"}
    names |= {"replay": "in a replay", "after_replay": "after a replay"}
    recall = {
        name: [evaluation.splits()[split].micro["recall"] for split in names]
        for name, evaluation in evaluations.items()
    }
    bars(axes, [pd.DataFrame(recall, list(names.values()))], "{:.2f}")
    axes.set_ylabel("recall")
    return figure


def class_intervals(scores: Mapping[str, Sequence[Interval]]) -> Figure:
    """F1 of every class with its interval, for some systems (`metrics.Comparison.classes`)."""
    figure, axes = subplots((8, 1 + 0.22 * len(ACTIONS) * len(scores)))
    for place, (name, found) in enumerate(scores.items()):
        value, low, high = np.array([(one.value, one.low, one.high) for one in found]).T
        rows = np.arange(len(ACTIONS)) + 0.8 * ((place + 0.5) / len(scores) - 0.5)
        colour = SERIES[place % len(SERIES)]
        axes.hlines(rows, low, high, color=colour, lw=4, alpha=0.3)
        axes.scatter(value, rows, color=colour, s=18, label=name, zorder=2)
    axes.set(xlim=(0, 1), xlabel="F1", yticks=range(len(ACTIONS)), yticklabels=ACTION_LABELS)
    axes.set_ylim(len(ACTIONS) - 0.5, -0.5)
    legend(axes)
    return figure


def precision_recall_f1(evaluation: Evaluation) -> Figure:
    """Precision, recall and F1 of each class, with the number of true events."""
    figure, axes = subplots((8, 3.2))
    counts = evaluation.counts
    classes = [f"{label}\nn = {n}" for label, n in zip(ACTION_LABELS, counts.gt, strict=True)]
    values = {"precision": counts.precision, "recall": counts.recall, "F1": counts.f1}
    bars(axes, [pd.DataFrame(values, classes)])
    axes.set_ylim(0, 1)
    return figure


def confusion_table(table: pd.DataFrame) -> Figure:
    """A table of `metrics.confusion` in colours: the share of the row; the numbers are events."""
    figure, axes = subplots((6.4, 4.6))
    share = table.div(table.sum(axis=1).clip(lower=1), axis=0)
    heatmap(axes, share, table.map(lambda n: f"{n:,}" if n else ""))
    axes.tick_params(axis="x", rotation=60)
    return figure


def scores_against_ceilings(scores: pd.DataFrame, ceilings: dict[str, float]) -> Figure:
    """Macro F1 with intervals, one row each (columns ``macro F1``, ``low``, ``high``), and limits."""
    figure, axes = subplots((8, 1.2 + 0.35 * len(scores)))
    _intervals(axes, scores["macro F1"], scores, "#0072B2", "{:.3f}")
    for (name, value), style in zip(ceilings.items(), LINES[1:], strict=False):
        axes.axvline(value, color="#555555", lw=1, ls=style, label=name)
    if ceilings:
        legend(axes)
    axes.set(xlabel="macro F1", yticks=range(len(scores)), yticklabels=scores.index)
    return figure


def calibration(labels: np.ndarray, p: np.ndarray) -> Figure:
    """Share of true events against their predicted probability, a panel a class.

    ``labels`` is ``(N,)``, ``p`` is ``(N, 9)``. Each class's candidates are in eight bins of equal size,
    each with its 90 % binomial interval.
    """
    from scipy.special import betaincinv  # slow to import

    figure, panels = subplots((10, 5), 2, 4, sharex=True, sharey=True)
    for action, axes in zip(ACTIONS, panels.flat, strict=True):
        rows = np.flatnonzero(p[:, action] > 0)
        rows = rows[np.argsort(p[rows, action], kind="stable")]
        parts = [part for part in np.array_split(rows, 8) if len(part)]
        said = np.array([p[part, action].mean() for part in parts])
        hits = np.array([(labels[part] == action).sum() for part in parts])
        misses = np.array([len(part) for part in parts]) - hits
        low, high = (betaincinv(hits + 0.5, misses + 0.5, level) for level in (0.05, 0.95))
        axes.plot((0, 1), (0, 1), color="#8A8A8A", lw=0.8, ls=":")
        colour = CLASS_COLOURS[action.label]
        axes.vlines(said, low, high, color=colour, lw=4, alpha=0.25)
        axes.plot(said, hits / np.maximum(hits + misses, 1), color=colour, marker="o", ms=4, lw=1)
        axes.set_title(f"{action.label} ({hits.sum()} of {len(rows)})", fontsize=9)
    figure.supxlabel("predicted probability", fontsize=9)
    figure.supylabel("share that is true", fontsize=9)
    return figure


def importance(shares: pd.Series) -> Figure:
    """Share of each feature in what the trees gain, the 25 largest in their order."""
    top = shares.head(25)[::-1]
    figure, axes = subplots((7, 0.6 + 0.22 * len(top)))
    axes.barh(top.index, top.to_numpy(), color="#0072B2")
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("share of the gain of all splits")
    return figure


def effect_plot(table: pd.DataFrame) -> Figure:
    """Changes of macro F1 with intervals (columns ``against``, ``change``, ``low``, ``high``).

    Rows of one ``group``, a column that there may be, stand below its name.
    """
    figure, axes = subplots((8, 1.2 + 0.4 * len(table)))
    sure = (table["low"] > 0) | (table["high"] < 0)
    _intervals(axes, table["change"], table, np.where(sure, "#0072B2", "#8A8A8A"), "{:+z.3f}")
    axes.axvline(0, color="#555555", lw=0.8)
    axes.set_xlabel("change of macro F1")
    labels = [f"{row}\nagainst {base}" for row, base in table["against"].items()]
    axes.set_yticks(range(len(table)), labels, fontsize=8)
    if "group" in table:
        axes.margins(x=0.2)  # their names stand at the right
        beside: Any = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "top"}
        for first in np.flatnonzero(table["group"] != table["group"].shift()):
            axes.axhline(first - 0.55, color="#CCCCCC", lw=0.8)
            group = table["group"].iloc[first]
            axes.text(0.995, first - 0.5, group, color="#555555", fontsize=8, **beside)
    return figure


def _intervals(
    axes: plt.Axes, values: pd.Series, bounds: pd.DataFrame, colour: str | np.ndarray, form: str
) -> None:
    """One row each, the first on top: a dot with its value, and a bar from ``low`` to ``high``."""
    rows = np.arange(len(values))
    axes.hlines(rows, bounds["low"], bounds["high"], color=colour, lw=5, alpha=0.3)
    axes.scatter(values, rows, color=colour, zorder=2)
    look: Any = {"textcoords": "offset points", "ha": "center", "size": 8, "path_effects": HALO}
    for row, value in enumerate(values):
        axes.annotate(form.format(value).replace("-", "−"), (value, row), (0, 6), **look)
    axes.set_ylim(len(values) - 0.4, -0.8)


def score_against_cost(scores: pd.DataFrame, costs: pd.DataFrame) -> Figure:
    """Macro F1 of every row against what it took to train (`experiments.costs.costs`), with intervals.

    Blue, and named, are those that no row beats for the same time or less.
    """
    table = scores.assign(minutes=costs["training, s"] / 60).dropna(subset="minutes")
    table = table.sort_values(["minutes", "macro F1"], ascending=[True, False])
    front = table["macro F1"] > table["macro F1"].cummax().shift(fill_value=-np.inf)
    figure, axes = subplots((8, 4))
    colour = np.where(front, "#0072B2", "#8A8A8A")
    axes.vlines(table["minutes"], table["low"], table["high"], color=colour, lw=2, alpha=0.25)
    axes.scatter(table["minutes"], table["macro F1"], color=colour, zorder=2)
    axes.set(xlabel="minutes of training", ylabel="macro F1")
    axes.set_xlim(left=0)
    best = table[front]
    label_points(axes, best["minutes"].to_numpy(), best["macro F1"].to_numpy(), best.index.tolist())
    return figure


def f1_table(table: pd.DataFrame) -> Figure:
    """F1 by row and class in colours, the numbers in the cells."""
    size = (1.8 + 0.85 * table.shape[1], 1 + 0.32 * len(table))
    figure, axes = subplots(size)
    heatmap(axes, table, table.map("{:.2f}".format))
    axes.set(xlabel="", ylabel="")
    return figure
