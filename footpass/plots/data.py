"""Figures of the data: how many events there are, who is seen, what follows what."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from footpass.data.statistics import GAP_LEVELS, Statistics
from footpass.events import class_counts, match_of
from footpass.metrics import Evaluation
from footpass.plots.style import (
    BY_CLASS,
    LINES,
    SERIES,
    bars,
    figure_legend,
    heatmap,
    ink,
    label_points,
    legend,
    subplots,
)
from footpass.schema import ACTION_LABELS, ACTIONS, FPS, TOLERANCE

_RELATIONS = ("same player", "team-mate", "opponent")  # `timeline.RELATIONS` in words


def class_count_bars(truth: pd.DataFrame) -> Figure:
    """Events per class on a logarithmic axis: all, with a box, live."""
    figure, axes = subplots((8, 3.6))
    parts = {
        "all events": truth,
        "live (not in a replay)": truth[~truth["replay"]],
        "actor has a box": truth[truth["box_visible"]],
    }
    table = pd.DataFrame({label: class_counts(part) for label, part in parts.items()}, ACTION_LABELS)
    bars(axes, [table.sort_values("all events", ascending=False)], "{:,.0f}")
    axes.set(yscale="log", ylabel="events (log scale)")
    axes.set_ylim(top=6 * table.to_numpy().max())  # room for the numbers
    return figure


def visibility(truth: pd.DataFrame) -> Figure:
    """Share of each class's events with a box, without one in live play, and in a replay."""
    figure, axes = subplots((8, 3))
    total = np.maximum(class_counts(truth), 1)
    box, replay = truth["box_visible"], truth["replay"]
    left = np.zeros(len(ACTIONS))
    parts = {"actor has a box": box, "live, no box": ~box & ~replay, "replay: nobody visible": replay}
    for (label, rows), colour in zip(parts.items(), ("#0072B2", "#E69F00", "#D0D0D0"), strict=True):
        share = 100 * class_counts(truth[rows]) / total
        drawn = axes.barh(ACTION_LABELS, share, left=left, label=label, color=colour)
        texts = [f"{value:.0f} %" if value >= 4 else "" for value in share]
        axes.bar_label(drawn, texts, label_type="center", color=ink(colour), fontsize=8)
        left += share
    axes.invert_yaxis()
    axes.set_xlabel("share of the class's events (%)")
    legend(axes)
    return figure


def spread_over_matches(truth: pd.DataFrame) -> Figure:
    """Events per match and class, one point a match; the line is the median."""
    import seaborn as sns  # slow to import

    figure, axes = subplots((8, 3.2))
    table = pd.crosstab(truth["half"].map(match_of), truth["cls"])
    table = table.reindex(columns=list(ACTIONS), fill_value=0).set_axis(ACTION_LABELS, axis=1)
    sns.stripplot(table, ax=axes, palette=BY_CLASS, size=3.2, alpha=0.6, jitter=0.25)
    axes.hlines(table.median(), np.arange(8) - 0.35, np.arange(8) + 0.35, color="black", lw=1.5)
    axes.set_yscale("symlog", linthresh=10)
    axes.set(ylim=(-0.5, None), xlabel="", ylabel="events in a match")
    return figure


def gaps(statistics: Statistics, simulated: Statistics | None = None) -> Figure:
    """Time to the next event, by who acts next: cumulative share, from the gap quantiles.

    Those of a simulated season, where there are some, are dots on the lines.
    """
    figure, axes = subplots((8, 3))
    for relation, (name, style) in enumerate(zip(_RELATIONS, LINES, strict=False)):
        colour = SERIES[relation]
        axes.plot(*_gap_shares(statistics, relation), color=colour, ls=style, label=name)
        if simulated:
            seconds, share = _gap_shares(simulated, relation)
            axes.plot(seconds[::12], share[::12], ".", color=colour, label=f"{name}, simulated")
    axes.set(xscale="log", xlabel="seconds to the next event", ylabel="share of events (%)")
    axes.axvline(TOLERANCE / FPS, color="#8A8A8A", lw=1)
    axes.text(TOLERANCE / FPS, 75, "tolerance of the metric ", fontsize=8, color="#555555", ha="right")
    legend(axes, columns=3)
    return figure


def transition_matrix(statistics: Statistics) -> Figure:
    """Probability of the next (relation, class) after each class: a panel a relation, from 2 %."""
    share = _transition_shares(statistics)
    tables = []
    for relation in range(len(_RELATIONS)):
        table = pd.DataFrame(share[:, relation], ACTION_LABELS, ACTION_LABELS)
        tables.append(table.loc[:, (table >= 0.02).any()])
    ratios = [max(table.shape[1], 1) for table in tables]
    figure, panels = subplots((10, 3.4), 1, len(tables), sharey=True, width_ratios=ratios)
    for axes, name, table in zip(panels, _RELATIONS, tables, strict=True):
        axes.set_title(f"next: {name}", fontsize=9)
        if len(table.columns):
            texts = (100 * table).map(lambda x: f"{x:.0f}" if x >= 2 else "")
            heatmap(axes, table, texts)
            axes.tick_params(axis="x", rotation=60)
    panels[0].set_ylabel("after")
    return figure


def transition_graph(statistics: Statistics) -> Figure:
    """Classes as nodes (size: how frequent), likely transitions as arrows (width: how likely)."""
    import networkx as nx  # slow to import

    figure, axes = subplots((7, 5.4))
    share = _transition_shares(statistics)
    total, likeliest = share.sum(axis=1), share.argmax(axis=1)  # (A, A)
    graph = nx.DiGraph()
    graph.add_nodes_from(ACTION_LABELS)
    place = nx.circular_layout(graph)
    for i, j in zip(*np.nonzero(total >= 0.05), strict=True):
        width, colour = 6 * total[i, j], SERIES[likeliest[i, j]]
        if i == j:  # networkx draws a loop behind its node: here it is a ring on the outer side
            at = 1.16 * place[ACTION_LABELS[i]]
            axes.add_patch(plt.Circle(at, 0.13, fill=False, zorder=0, lw=width, color=colour))
        else:
            graph.add_edge(ACTION_LABELS[i], ACTION_LABELS[j], width=width, edge_color=colour)
    size = 1300 + 1600 * np.sqrt(statistics.count / statistics.count.max())
    nodes = {"node_color": "#DDE8F0", "edgecolors": "#333333"}
    nx.draw_networkx_nodes(graph, place, node_size=size, ax=axes, **nodes)
    nx.draw_networkx_labels(graph, place, font_size=9, ax=axes)
    style = {name: [*nx.get_edge_attributes(graph, name).values()] for name in ("width", "edge_color")}
    bent = "arc3,rad=0.15"
    nx.draw_networkx_edges(graph, place, node_size=size, connectionstyle=bent, ax=axes, **style)
    names = (f"likeliest: {relation}" for relation in _RELATIONS)
    figure_legend(figure, dict(zip(names, SERIES, strict=False)))
    axes.margins(0.15)
    axes.set_aspect("equal")
    axes.axis("off")
    return figure


def candidate_weights(counts: np.ndarray) -> Figure:
    """The class weightings side by side, mean 1 each, on a logarithmic axis."""
    from footpass.models.losses import WEIGHTINGS, class_weights  # which load torch

    figure, axes = subplots((8, 3.2))
    order = np.argsort(-counts)
    for scheme, marker, colour in zip(WEIGHTINGS, "_osD", SERIES, strict=False):
        axes.plot(class_weights(counts, scheme)[order], color=colour, marker=marker, ms=7, label=scheme)
    classes = [f"{ACTION_LABELS[i]}\n{counts[i]:,}" for i in order]
    axes.set_xticks(range(len(ACTIONS)), classes, fontsize=8)
    axes.set(yscale="log", ylabel="weight (log scale)")
    legend(axes)
    return figure


def f1_against_frequency(evaluations: dict[str, Evaluation], counts: np.ndarray) -> Figure:
    """F1 of each class for several models, over the class's number of training events."""
    figure, axes = subplots((8, 3.8))
    order = np.argsort(counts)
    for (name, evaluation), marker in zip(evaluations.items(), "os^Dv", strict=False):
        f1 = evaluation.counts.f1
        axes.plot(counts[order], f1[order], lw=0.8, color="#8A8A8A", zorder=0)
        edge = {"edgecolors": "black", "lw": 0.5}
        axes.scatter(counts, f1, s=50, marker=marker, color=BY_CLASS, **edge)
        axes.scatter([], [], s=50, marker=marker, color="white", label=name, **edge)
    axes.set(xscale="log", xlabel="training events of the class (log scale)")
    axes.set(ylim=(-0.02, 1), ylabel="F1 on validation")
    legend(axes)
    all_f1 = np.concatenate([evaluation.counts.f1 for evaluation in evaluations.values()])
    texts = [*[""] * (len(all_f1) - len(ACTIONS)), *ACTION_LABELS]  # beside the last model's points
    label_points(axes, np.tile(counts, len(evaluations)), all_f1, texts)
    return figure


def real_against_simulated(real: Statistics, simulated: Statistics) -> Figure:
    """Class shares, box and replay rates, and transition probabilities of two seasons."""
    figure, panels = subplots((11, 3), 1, 4)
    measures = {
        "class share": lambda s: s.count / s.count.sum(),
        "share with a box": lambda s: s.box / np.maximum(s.count, 1),
        "share in a replay": lambda s: s.replay / np.maximum(s.count, 1),
        "transition probability": lambda s: _transition_shares(s).ravel(),
    }
    for axes, (title, measure) in zip(panels, measures.items(), strict=True):
        x, y = measure(real), measure(simulated)
        by_class = {"c": BY_CLASS, "s": 40, "edgecolors": "black", "lw": 0.5}
        by_pair = {"c": "#0072B2", "s": 12, "alpha": 0.5}
        axes.scatter(x, y, **(by_class if len(x) == len(ACTIONS) else by_pair))
        axes.axline((0.5, 0.5), slope=1, color="#8A8A8A", lw=0.8, zorder=0)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("real")
    panels[0].set(xscale="log", yscale="log", ylabel="simulated")
    figure_legend(figure)
    return figure


def _gap_shares(statistics: Statistics, relation: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds, and the share in percent of the gaps of a relation that are not longer."""
    weight = statistics.transitions[:, relation]  # (A, A)
    quantiles = statistics.gaps[:, relation]  # (A, A, L)
    grid = np.geomspace(1, 2000, 300)
    share = sum(
        weight[i, j] * np.interp(grid, quantiles[i, j], GAP_LEVELS, left=0)
        for i, j in zip(*np.nonzero(weight), strict=True)
    )
    return grid / FPS, 100 * share / max(weight.sum(), 1)


def _transition_shares(statistics: Statistics) -> np.ndarray:
    """``(A, 3, A)``: probability of (relation, class) after a class."""
    total = statistics.transitions.sum(axis=(1, 2), keepdims=True)
    return statistics.transitions / np.maximum(total, 1)
