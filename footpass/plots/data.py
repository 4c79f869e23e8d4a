"""Figures of the data: how many events there are, who is seen, what follows what."""

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from footpass.data.statistics import ACTOR_RELATIONS, GAP_LEVELS, Statistics
from footpass.events import match_of
from footpass.metrics import Evaluation
from footpass.models.losses import WEIGHTINGS, class_weights
from footpass.plots.style import BY_CLASS, CLASS_COLOURS, clean
from footpass.schema import ACTION_LABELS, ACTIONS, FPS


def class_count_bars(truth: pd.DataFrame) -> Figure:
    """Events per class on a logarithmic axis: all, with a box, live."""
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    parts = {
        "all events": truth,
        "live (not in a replay)": truth[~truth["replay"]],
        "actor has a box": truth[truth["box_visible"]],
    }
    order = np.argsort(-_count(truth))
    for k, (label, part) in enumerate(parts.items()):
        place = np.arange(len(ACTIONS)) + 0.27 * (k - 1)
        bars = axes.bar(
            place, _count(part)[order], 0.26, label=label, color=("#0072B2", "#56B4E9", "#E69F00")[k]
        )
        if k in (0, 2):
            axes.bar_label(bars, fontsize=6, padding=1, rotation=90)
    axes.set_yscale("log")
    axes.set_ylim(top=3e5 * len(truth) / 91327)
    axes.set_xticks(range(len(ACTIONS)), [ACTION_LABELS[i] for i in order])
    axes.set_ylabel("events (log scale)")
    axes.legend(frameon=False, fontsize=8)
    clean(axes)
    return figure


def visibility(truth: pd.DataFrame) -> Figure:
    """Share of each class's events with a box, without one in live play, and in a replay."""
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    total = np.maximum(_count(truth), 1)
    box, replay = truth["box_visible"], truth["replay"]
    left = np.zeros(len(ACTIONS))
    for label, rows, colour in (
        ("actor has a box", box, "#0072B2"),
        ("live, no box", ~box & ~replay, "#E69F00"),
        ("replay: nobody visible", replay, "#8A8A8A"),
    ):
        share = 100 * _count(truth[rows]) / total
        bars = axes.barh(ACTION_LABELS, share, left=left, label=label, color=colour)
        axes.bar_label(
            bars,
            [f"{v:.0f} %" if v >= 4 else "" for v in share],
            label_type="center",
            color="white",
            fontsize=8,
        )
        left += share
    axes.invert_yaxis()
    axes.set_xlabel("share of the class's events (%)")
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=8)
    clean(axes)
    return figure


def spread_over_matches(truth: pd.DataFrame) -> Figure:
    """Events per match and class, one point a match."""
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    matches = truth["half"].map(match_of)
    table = pd.crosstab(matches, truth["cls"]).reindex(columns=list(ACTIONS), fill_value=0)
    rng = np.random.default_rng(0)
    for i, action in enumerate(ACTIONS):
        values = table[action].to_numpy()
        axes.scatter(
            i + rng.uniform(-0.25, 0.25, len(values)), values, s=9, alpha=0.6, color=BY_CLASS[i]
        )
        axes.hlines(np.median(values), i - 0.35, i + 0.35, color="black", lw=1.5)
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylim(bottom=-0.5)
    axes.set_xticks(range(len(ACTIONS)), ACTION_LABELS)
    axes.set_ylabel("events in a match")
    clean(axes)
    return figure


def gaps(statistics: Statistics) -> Figure:
    """Time to the next event, by who acts next: cumulative share, from the gap quantiles."""
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    for relation, name in enumerate(ACTOR_RELATIONS):
        axes.plot(*_gap_shares(statistics, relation), label=name)
    axes.set_xscale("log")
    axes.set_xlabel("seconds to the next event")
    axes.set_ylabel("share of events (%)")
    axes.axvline(12 / FPS, color="#8A8A8A", ls=":", lw=1)
    axes.annotate("tolerance of the metric", (12 / FPS, 75), fontsize=8, color="#555555", ha="right")
    axes.legend(frameon=False)
    clean(axes)
    return figure


def transition_matrix(statistics: Statistics) -> Figure:
    """Probability of the next (relation, class) after each class, one panel a relation."""
    figure, panels = plt.subplots(
        1, len(ACTOR_RELATIONS), figsize=(10, 3.4), sharey=True, layout="constrained"
    )
    share = _transition_shares(statistics)
    for relation, axes in enumerate(panels):
        image = axes.imshow(100 * share[:, relation], cmap="Blues", vmin=0, vmax=100)
        for i, j in zip(*np.nonzero(share[:, relation] >= 0.02), strict=True):
            value = 100 * share[i, relation, j]
            axes.text(
                j,
                i,
                f"{value:.0f}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if value > 55 else "black",
            )
        axes.set_xticks(range(len(ACTIONS)), ACTION_LABELS, rotation=60, ha="right", fontsize=8)
        axes.set_yticks(range(len(ACTIONS)), ACTION_LABELS, fontsize=8)
        axes.set_title(f"next: {ACTOR_RELATIONS[relation]}", fontsize=9)
    panels[0].set_ylabel("after")
    figure.colorbar(image, ax=panels, label="% of the row (all panels)", shrink=0.8)
    return figure


def transition_graph(statistics: Statistics, min_share: float = 0.05) -> Figure:
    """Classes as nodes (size: how frequent), likely transitions as arrows (width: how likely)."""
    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    share = _transition_shares(statistics)
    graph = nx.DiGraph()
    graph.add_nodes_from(ACTION_LABELS)
    colours = ("#0072B2", "#009E73", "#D55E00")
    for i, source in enumerate(ACTION_LABELS):
        for j, target in enumerate(ACTION_LABELS):
            total = share[i, :, j].sum()
            if total >= min_share:
                likeliest = int(share[i, :, j].argmax())
                graph.add_edge(source, target, weight=total, colour=colours[likeliest])
    place = nx.circular_layout(graph)
    size = 900 + 1800 * np.sqrt(statistics.count / statistics.count.max())
    edges = graph.edges(data=True)
    nx.draw_networkx_nodes(
        graph, place, node_size=size, node_color="#DDE8F0", edgecolors="#333333", ax=axes
    )
    nx.draw_networkx_labels(graph, place, font_size=9, ax=axes)
    nx.draw_networkx_edges(
        graph,
        place,
        width=[6 * data["weight"] for *_, data in edges],
        edge_color=[data["colour"] for *_, data in edges],
        node_size=size,
        connectionstyle="arc3,rad=0.15",
        alpha=0.75,
        ax=axes,
    )
    for relation, colour in zip(ACTOR_RELATIONS, colours, strict=True):
        axes.plot(
            [],
            [],
            color=colour,
            lw=3,
            label=f"likeliest: {relation}",
        )
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    axes.margins(0.15)
    axes.axis("off")
    return figure


def candidate_weights(counts: np.ndarray) -> Figure:
    """The class weightings side by side, mean 1 each, on a logarithmic axis."""
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    order = np.argsort(-counts)
    markers = dict(zip(WEIGHTINGS, "_osD", strict=True))
    for scheme, marker in markers.items():
        axes.plot(class_weights(counts, scheme)[order], marker=marker, ms=7, label=scheme)
    axes.set_yscale("log")
    axes.set_xticks(
        range(len(ACTIONS)), [f"{ACTION_LABELS[i]}\n{counts[i]:,}" for i in order], fontsize=8
    )
    axes.set_ylabel("weight (log scale)")
    axes.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))
    clean(axes)
    return figure


def f1_against_frequency(evaluations: dict[str, Evaluation], counts: np.ndarray) -> Figure:
    """F1 of each class for several models, over the class's number of training events."""
    figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
    for (name, evaluation), marker in zip(evaluations.items(), "os^Dv", strict=False):
        f1 = evaluation.counts.f1
        axes.scatter(counts, f1, s=50, marker=marker, color=BY_CLASS, edgecolors="black", lw=0.5)
        axes.plot(np.sort(counts), f1[np.argsort(counts)], lw=0.8, color="#8A8A8A", zorder=0)
        top = int(np.argmax(counts))
        axes.annotate(
            name, (counts[top], f1[top]), xytext=(8, 0), textcoords="offset points", va="center"
        )
    best = np.max([e.counts.f1 for e in evaluations.values()], axis=0)
    for i, label in enumerate(ACTION_LABELS):
        axes.annotate(
            label,
            (counts[i], best[i]),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set_xscale("log")
    axes.set_ylim(0, 1)
    axes.set_xlim(right=2 * counts.max())
    axes.set_xlabel("training events of the class (log scale)")
    axes.set_ylabel("F1 on validation")
    clean(axes)
    return figure


def real_against_simulated(real: Statistics, simulated: Statistics) -> Figure:
    """Class shares, box and replay rates, and transition probabilities of two seasons."""
    figure, panels = plt.subplots(1, 4, figsize=(11, 3), layout="constrained")
    pairs = {
        "class share": [s.count / s.count.sum() for s in (real, simulated)],
        "share with a box": [s.box / np.maximum(s.count, 1) for s in (real, simulated)],
        "share in a replay": [s.replay / np.maximum(s.count, 1) for s in (real, simulated)],
    }
    for axes, (title, (x, y)) in zip(panels, pairs.items(), strict=False):
        axes.scatter(x, y, c=BY_CLASS, s=40, edgecolors="black", lw=0.5)
        axes.set_title(title, fontsize=9)
    panels[0].set_xscale("log")
    panels[0].set_yscale("log")
    x, y = (_transition_shares(s).ravel() for s in (real, simulated))
    panels[3].scatter(x, y, s=12, alpha=0.5, color="#0072B2")
    panels[3].set_title("transition probability", fontsize=9)
    for axes in panels:
        low, high = axes.get_xlim()
        axes.plot([low, high], [low, high], color="#8A8A8A", lw=0.8, zorder=0)
        axes.set_xlabel("real")
        clean(axes)
    panels[0].set_ylabel("simulated")
    for label, colour in CLASS_COLOURS.items():
        panels[0].scatter([], [], color=colour, label=label)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        ncols=8,
        loc="outside lower center",
        frameon=False,
        fontsize=8,
    )
    return figure


def gaps_real_against_simulated(real: Statistics, simulated: Statistics) -> Figure:
    """Time to the next event, by who acts next: real (full) and simulated (dashed)."""
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    for relation, (name, colour) in enumerate(zip(ACTOR_RELATIONS, BY_CLASS, strict=False)):
        axes.plot(*_gap_shares(real, relation), color=colour, label=name)
        axes.plot(*_gap_shares(simulated, relation), color=colour, ls="--", label=f"{name}, simulated")
    axes.set_xscale("log")
    axes.set_xlabel("seconds to the next event")
    axes.set_ylabel("share of events (%)")
    axes.legend(frameon=False)
    clean(axes)
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


def _count(table: pd.DataFrame) -> np.ndarray:
    return np.bincount(table["cls"], minlength=len(ACTIONS) + 1)[1:]


def _transition_shares(statistics: Statistics) -> np.ndarray:
    """``(A, 3, A)``: probability of (relation, class) after a class."""
    total = statistics.transitions.sum(axis=(1, 2), keepdims=True)
    return statistics.transitions / np.maximum(total, 1)
