"""Figures of the notebooks: functions that take tables and return a matplotlib Figure."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from scipy.special import softmax
from scipy.stats import beta

from footpass.clips import Inputs
from footpass.events import match_of
from footpass.evidence import Evidence
from footpass.halves import HalfMatch
from footpass.losses import WEIGHTINGS, class_weights
from footpass.metrics import Evaluation
from footpass.models.x3d import PIXEL_MEAN, PIXEL_STD
from footpass.schema import ACTION_LABELS, ACTIONS, FPS, MODEL_SIZE, N_ROLES, N_SLOTS, Action, State
from footpass.simulate.statistics import LEVELS, RELATIONS, Statistics
from footpass.video import VideoReader
from footpass.views import overlay
from footpass.windows import Recorded

# One colour a class everywhere; the palette is Okabe and Ito's, safe for colour-blind readers.
CLASS_COLOURS = dict(
    zip(
        ACTION_LABELS,
        ("#0072B2", "#56B4E9", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#000000", "#8A8A8A"),
        strict=True,
    )
)
_BY_CLASS = list(CLASS_COLOURS.values())
_CLOSE_UP = 180  # pixels of the overlay, twice those of the video


def class_counts(truth: pd.DataFrame) -> Figure:
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
    _clean(axes)
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
    _clean(axes)
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
            i + rng.uniform(-0.25, 0.25, len(values)), values, s=9, alpha=0.6, color=_BY_CLASS[i]
        )
        axes.hlines(np.median(values), i - 0.35, i + 0.35, color="black", lw=1.5)
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylim(bottom=-0.5)
    axes.set_xticks(range(len(ACTIONS)), ACTION_LABELS)
    axes.set_ylabel("events in a match")
    _clean(axes)
    return figure


def gaps(statistics: Statistics) -> Figure:
    """Time to the next event, by who acts next: cumulative share, from the gap quantiles."""
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    for relation, name in enumerate(RELATIONS):
        axes.plot(*_gap_shares(statistics, relation), label=name)
    axes.set_xscale("log")
    axes.set_xlabel("seconds to the next event")
    axes.set_ylabel("share of events (%)")
    axes.axvline(12 / FPS, color="#8A8A8A", ls=":", lw=1)
    axes.annotate("tolerance of the metric", (12 / FPS, 75), fontsize=8, color="#555555", ha="right")
    axes.legend(frameon=False)
    _clean(axes)
    return figure


def transition_matrix(statistics: Statistics) -> Figure:
    """Probability of the next (relation, class) after each class, one panel a relation."""
    figure, panels = plt.subplots(
        1, len(RELATIONS), figsize=(10, 3.4), sharey=True, layout="constrained"
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
        axes.set_title(f"next: {RELATIONS[relation]}", fontsize=9)
    panels[0].set_ylabel("after")
    figure.colorbar(image, ax=panels, label="% of the row (all panels)", shrink=0.8)
    return figure


def transition_graph(statistics: Statistics, least: float = 0.05) -> Figure:
    """Classes as nodes (size: how frequent), likely transitions as arrows (width: how likely)."""
    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    share = _transition_shares(statistics)
    graph = nx.DiGraph()
    graph.add_nodes_from(ACTION_LABELS)
    colours = ("#0072B2", "#009E73", "#D55E00")
    for i, source in enumerate(ACTION_LABELS):
        for j, target in enumerate(ACTION_LABELS):
            total = share[i, :, j].sum()
            if total >= least:
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
    for relation, colour in zip(RELATIONS, colours, strict=True):
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
    _clean(axes)
    return figure


def f1_against_frequency(evaluations: dict[str, Evaluation], counts: np.ndarray) -> Figure:
    """F1 of each class for several models, over the class's number of training events."""
    figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
    for (name, evaluation), marker in zip(evaluations.items(), "os^Dv", strict=False):
        f1 = evaluation.counts.f1
        axes.scatter(counts, f1, s=50, marker=marker, color=_BY_CLASS, edgecolors="black", lw=0.5)
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
    _clean(axes)
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
        axes.scatter(x, y, c=_BY_CLASS, s=40, edgecolors="black", lw=0.5)
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
        _clean(axes)
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


def tuned_against_held_out(scores: pd.DataFrame, base: float) -> Figure:
    """Macro F1 of variants, one row each, fitted on the scored matches and held out.

    ``scores`` has the columns ``in sample``, ``held out``, ``low`` and ``high`` (its interval).
    """
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.32 * len(scores)), layout="constrained")
    y = np.arange(len(scores))[::-1]
    axes.hlines(y, scores["held out"], scores["in sample"], color="#8A8A8A", lw=1.5, zorder=1)
    axes.hlines(y, scores["low"], scores["high"], color="#0072B2", lw=5, alpha=0.2, zorder=0)
    axes.scatter(
        scores["in sample"], y, color="white", edgecolors="#D55E00", label="fitted on what it scores"
    )
    axes.scatter(
        scores["held out"], y, color="#0072B2", label="match left out (90 % interval of the gain)"
    )
    axes.axvline(base, color="black", lw=0.8, ls=":", label="untouched")
    axes.set_yticks(y, scores.index)
    axes.set_xlabel("macro F1")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.4, 1))
    _clean(axes)
    return figure


def f1_changes(base: Evaluation, variants: dict[str, Evaluation]) -> Figure:
    """Change of each class's F1 against ``base``, one panel a variant."""
    figure, panels = plt.subplots(
        1,
        len(variants),
        figsize=(2.6 * len(variants) + 1.2, 3),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, (name, evaluation) in zip(panels[0], variants.items(), strict=True):
        gain = evaluation.counts.f1 - base.counts.f1
        axes.barh(ACTION_LABELS, gain, color=_BY_CLASS)
        axes.axvline(0, color="black", lw=0.8)
        axes.set_title(f"{name}: {evaluation.macro_f1 - base.macro_f1:+.4f}", fontsize=9)
        _clean(axes)
    panels[0, 0].invert_yaxis()
    figure.supxlabel("change of F1", fontsize=9)
    return figure


def changes_on_a_timeline(
    judged: pd.DataFrame, evidence: Evidence, truth: pd.DataFrame, seconds: float = 2.0
) -> Figure:
    """One event that each step helped and one it hurt, with the evidence and the truth around it.

    ``judged`` is an audit with verdicts (`footpass.postprocess.judge`). Of all such events the one in
    the middle of the table is shown.
    """
    changed = judged[judged["verdict"] != "neither"]
    steps = list(dict.fromkeys(changed["step"]))
    figure, panels = plt.subplots(
        max(len(steps), 1),
        2,
        figsize=(10, 2.1 * max(len(steps), 1)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    cells = [(step, verdict) for step in steps for verdict in ("helped", "hurt")]
    for axes, (step, verdict) in zip(panels.flat, cells, strict=False):
        rows = changed[(changed["step"] == step) & (changed["verdict"] == verdict)]
        _clean(axes)
        axes.set_title(f"{step} {verdict} {len(rows)} times", fontsize=9, loc="left")
        if len(rows):
            _draw_change(axes, rows.iloc[[len(rows) // 2]], evidence, truth, round(seconds * FPS))
    for axes in panels[-1]:
        axes.set_xlabel("seconds from the event")
    for axes in panels[:, 0]:
        axes.set_ylabel("evidence")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    return figure


def compare_learning(panels: dict[str, dict[str, list[dict]]]) -> Figure:
    """Training loss by optimizer step: panel name -> model name -> rows of `footpass.training.train`."""
    figure, row = plt.subplots(1, len(panels), figsize=(9, 2.8), squeeze=False, layout="constrained")
    for axes, (title, runs) in zip(row[0], panels.items(), strict=True):
        for (name, rows), colour in zip(runs.items(), _BY_CLASS, strict=False):
            table = pd.DataFrame(rows)
            axes.plot(table["step"], table["loss"], marker="o", ms=3, color=colour, label=name)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlabel("optimizer steps")
        _clean(axes)
    row[0, 0].set_ylabel("training loss")
    row[0, 0].legend(frameon=False, fontsize=8)
    return figure


def f1_by_class(evaluations: dict[str, list[Evaluation]], order: np.ndarray | None = None) -> Figure:
    """F1 of each class and model: the mean over seeds, and the range where there are several.

    ``order`` is that of the classes, the rarest in ``evaluations``' truth first by default.
    """
    first = next(iter(evaluations.values()))[0]
    order = np.argsort(first.counts.gt, kind="stable") if order is None else order
    figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
    width = 0.8 / len(evaluations)
    for k, ((name, seeds), colour) in enumerate(zip(evaluations.items(), _BY_CLASS, strict=False)):
        f1 = np.array([evaluation.counts.f1 for evaluation in seeds])[:, order]  # (seeds, 8)
        place = np.arange(len(ACTIONS)) + width * (k - (len(evaluations) - 1) / 2)
        macro = np.mean([evaluation.macro_f1 for evaluation in seeds])
        axes.bar(place, f1.mean(axis=0), width, color=colour, label=f"{name}: macro {macro:.3f}")
        if len(seeds) > 1:
            axes.vlines(place, f1.min(axis=0), f1.max(axis=0), color="black", lw=1)
    axes.set_xticks(
        range(len(ACTIONS)), [f"{ACTION_LABELS[i]}\n{first.counts.gt[i]}" for i in order], fontsize=8
    )
    axes.set_ylabel("F1 (number of events below)")
    axes.legend(frameon=False, fontsize=8)
    _clean(axes)
    return figure


def recall_by_visibility(evaluations: dict[str, Evaluation]) -> Figure:
    """Recall over all classes, by what the broadcast shows of the actor."""
    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    names = {"box": "with a box", "no_box": "without a box", "live": "live", "replay": "in a replay"}
    width = 0.8 / len(evaluations)
    for k, ((name, evaluation), colour) in enumerate(zip(evaluations.items(), _BY_CLASS, strict=False)):
        splits = evaluation.splits()
        recall = [splits[split].micro["recall"] for split in names]
        place = np.arange(len(names)) + width * (k - (len(evaluations) - 1) / 2)
        bars = axes.bar(place, recall, width, color=colour, label=name)
        axes.bar_label(bars, fmt="%.2f", fontsize=7)
    axes.set_xticks(range(len(names)), names.values())
    axes.set_ylabel("recall")
    axes.legend(frameon=False, fontsize=8)
    _clean(axes)
    return figure


def events_on_slots(
    evidence: dict[str, pd.DataFrame], truth: pd.DataFrame, half: str, start: int, seconds: float
) -> Figure:
    """A stretch of play, players over time: one panel for each event table, the truth as rings.

    Parameters
    ----------
    evidence
        Event tables with scores by name; a mark is the larger, the higher its score.
    truth
        Ground truth of the half; filled where the actor has a box.
    start
        First frame, absolute.
    """
    stop = start + round(seconds * FPS)
    parts = {"truth": truth, **evidence}
    shown = {
        name: table[(table["half"] == half) & table["frame"].between(start, stop - 1)]
        for name, table in parts.items()
    }
    everybody = pd.concat([table[["team", "jersey"]] for table in shown.values()])
    players = {player: i for i, player in enumerate(sorted(set(everybody.itertuples(index=False))))}
    figure, panels = plt.subplots(
        len(evidence),
        1,
        figsize=(10, 0.7 + len(evidence) * (0.6 + 0.13 * len(players))),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, name in zip(panels[:, 0], evidence, strict=True):
        for table, mark in ((shown["truth"], None), (shown[name], "o")):
            place = [players[player] for player in table[["team", "jersey"]].itertuples(index=False)]
            when = (table["frame"].to_numpy() - start) / FPS
            colour = [_BY_CLASS[cls - 1] for cls in table["cls"]]
            if mark:
                axes.scatter(when, place, s=40 * table["score"], c=colour)
            else:
                axes.scatter(when, place, s=110, facecolors="none", edgecolors=colour, lw=1.4)
        axes.set_title(name, fontsize=9, loc="left")
        axes.set_ylabel("player")
        axes.set_yticks(
            range(len(players)), [f"{'LR'[team]} {jersey}" for team, jersey in players], fontsize=6
        )
        axes.grid(axis="y", lw=0.3)
        _clean(axes)
    panels[-1, 0].set_xlim(0, seconds)
    panels[-1, 0].set_xlabel(f"seconds from frame {start} of {half}")
    for label, colour in CLASS_COLOURS.items():
        panels[0, 0].scatter([], [], color=colour, label=label)
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(),
        ncols=8,
        loc="outside lower center",
        frameon=False,
        fontsize=8,
    )
    return figure


def _draw_change(
    axes: plt.Axes, event: pd.DataFrame, evidence: Evidence, truth: pd.DataFrame, window: int
) -> None:
    row = event.iloc[0]
    near = evidence.near(event, window)
    own = near.jersey == row["jersey"]
    for part, label, colour in (
        (own, "evidence: this player", "#0072B2"),
        (~own, "team-mate", "#8A8A8A"),
    ):
        axes.scatter(
            (near.frame[part] - row["frame"]) / FPS, near.strength[part], s=16, c=colour, label=label
        )
    for jersey, frame, strength in list(zip(*near[1:], strict=True))[: 12 * (len(near.event) <= 12)]:
        axes.annotate(f" {jersey}", ((frame - row["frame"]) / FPS, strength), fontsize=7, va="center")
    same = [truth[name] == row[name] for name in ("half", "team", "cls")]
    same.append((truth["frame"] - row["frame"]).abs() <= window)
    for frame, jersey in truth.loc[np.all(same, axis=0), ["frame", "jersey"]].to_numpy():
        axes.axvline((frame - row["frame"]) / FPS, color="#009E73", lw=1.2, zorder=0)
        axes.annotate(
            f"{jersey}", ((frame - row["frame"]) / FPS, 1.08), fontsize=7, color="#009E73", ha="center"
        )
    axes.plot([], [], color="#009E73", label="true event (jersey)")
    axes.scatter(0, 0, marker="^", s=50, facecolors="white", edgecolors="#D55E00", label="event before")
    axes.scatter([], [], marker="^", s=18, c="#D55E00", label="after")
    axes.scatter([], [], marker="x", s=30, c="#D55E00", label="dropped")
    if row["fate"] == "dropped":
        axes.scatter(0, 0, marker="x", s=30, c="#D55E00")
    else:
        after = (row["to_frame"] - row["frame"]) / FPS
        axes.scatter(after, 0, marker="^", s=18, c="#D55E00")
    became = {"dropped": "dropped", "reassigned": f"now {row['to_jersey']}"}.get(row["fate"], "moved")
    label = ACTION_LABELS[row["cls"] - ACTIONS[0]]
    text = f"{label} by {row['jersey']}: {became}"
    axes.set_title(text, fontsize=9, loc="right")
    axes.set(xlim=(-window / FPS, window / FPS), ylim=(-0.1, 1.2))


def gaps_real_against_simulated(real: Statistics, simulated: Statistics) -> Figure:
    """Time to the next event, by who acts next: real (full) and simulated (dashed)."""
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    for relation, (name, colour) in enumerate(zip(RELATIONS, _BY_CLASS, strict=False)):
        axes.plot(*_gap_shares(real, relation), color=colour, label=name)
        axes.plot(*_gap_shares(simulated, relation), color=colour, ls="--", label=f"{name}, simulated")
    axes.set_xscale("log")
    axes.set_xlabel("seconds to the next event")
    axes.set_ylabel("share of events (%)")
    axes.legend(frameon=False)
    _clean(axes)
    return figure


def learning_curves(rows: list[dict]) -> Figure:
    """Training loss, and the figures on the validation clips, by epoch (rows of `training.train`)."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    epochs = [row["epoch"] + 1 for row in rows]
    left.plot(epochs, [row["loss"] for row in rows], "o-", ms=4, color="#0072B2")
    left.set_ylabel("training loss")
    left.set_ylim(0, 1.1 * max(row["loss"] for row in rows))
    figures = {"macro_f1": "macro F1", "micro_f1": "micro F1", "accuracy": "accuracy at the event"}
    for (name, label), colour in zip(figures.items(), _BY_CLASS[::2], strict=False):
        right.plot(epochs, [row[name] for row in rows], "o-", ms=4, label=label, color=colour)
    right.set_ylabel("validation clips")
    right.set_ylim(0, 1)
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        _clean(axes)
    return figure


def precision_recall_f1(evaluation: Evaluation) -> Figure:
    """Precision, recall and F1 of each class, with the number of true events."""
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    counts = evaluation.counts
    for k, (name, colour) in enumerate(
        zip(("precision", "recall", "f1"), ("#56B4E9", "#E69F00", "#0072B2"), strict=True)
    ):
        place = np.arange(len(ACTIONS)) + 0.27 * (k - 1)
        axes.bar(place, getattr(counts, name), 0.25, label=name.replace("f1", "F1"), color=colour)
    axes.set_xticks(
        range(len(ACTIONS)), [f"{c}\nn = {n}" for c, n in zip(ACTION_LABELS, counts.gt, strict=True)]
    )
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    _clean(axes)
    return figure


def confusion_table(table: pd.DataFrame) -> Figure:
    """A table of `metrics.confusion` in colours: the share of the row; the numbers are events."""
    figure, axes = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    values = table.to_numpy()
    share = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(values), strict=True):
        colour = "white" if share[i, j] > 0.55 else "black"
        axes.text(j, i, f"{values[i, j]:,}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(values.shape[1]), table.columns, rotation=60, ha="right")
    axes.set_yticks(range(values.shape[0]), table.index)
    axes.set_xlabel(table.columns.name)
    axes.set_ylabel(table.index.name)
    return figure


def clips_as_seen(rows: dict[str, Inputs], frames: Iterable[int]) -> Figure:
    """Some frames of the first clip of several batches, as the model gets them, boxes included.

    The box of tracklet 0, for whose event the clip was drawn, is yellow.
    """
    frames = list(frames)
    height, width = next(iter(rows.values())).clip.shape[-2:]
    size = (11, len(rows) * (11 / len(frames) * height / width + 0.2))
    figure, panels = plt.subplots(
        len(rows), len(frames), figsize=size, layout="constrained", squeeze=False
    )
    for line, (name, inputs) in zip(panels, rows.items(), strict=True):
        pixels = (inputs.clip[0] * PIXEL_STD + PIXEL_MEAN).clamp(0, 1)  # (3, T, H, W)
        for axes, frame in zip(line, frames, strict=True):
            axes.imshow(pixels[:, frame].permute(1, 2, 0).cpu().numpy())
            for tracklet in inputs.visible[0, :, frame].nonzero()[:, 0].tolist():
                x1, y1, x2, y2 = inputs.boxes[0, tracklet, frame].tolist()
                colour = "#F0E442" if tracklet == 0 else "white"
                box = plt.Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, ec=colour, fc="none", lw=0.8)
                axes.add_patch(box)
            axes.set_title(f"{name}, frame {frame}", fontsize=8, pad=2)
            axes.axis("off")
    return figure


def event_strip(
    half: HalfMatch,
    video: str | Path,
    events: pd.DataFrame,
    truth: pd.DataFrame,
    predictions: pd.DataFrame,
    offsets: Iterable[int] = (-12, -6, -2, 0, 2, 6, 12),
) -> Figure:
    """Close-ups of the players around some events of a half; true events white, predicted ones yellow.

    One row an event: the frames at these offsets from its own, cut out around the player's box.
    """
    offsets = list(offsets)
    size = (11, len(events) * (11 / len(offsets) + 0.25))
    figure, panels = plt.subplots(
        len(events), len(offsets), figsize=size, layout="constrained", squeeze=False
    )
    with VideoReader(video) as reader:
        for line, event in zip(panels, events.itertuples(), strict=True):
            frames = np.clip(event.frame + np.array(offsets), half.first_frame, half.end_frame - 1)
            now = event.frame - half.first_frame
            team = slice(N_ROLES * event.team, N_ROLES * (event.team + 1))
            role = int(np.argmax(half.jersey[team, now] == event.jersey))
            box = half.boxes[team, now][role]
            # The overlay is twice as large as the picture, so the sum of two corners is its centre.
            room = 2 * np.array(MODEL_SIZE[::-1]) - _CLOSE_UP
            left, top = np.clip(np.nan_to_num(box[:2] + box[2:]) - _CLOSE_UP / 2, 0, room).astype(int)
            for axes, frame, picture in zip(line, frames.tolist(), reader.frames(frames), strict=True):
                drawn = overlay(picture, half, frame, truth, predictions)
                axes.imshow(drawn[top : top + _CLOSE_UP, left : left + _CLOSE_UP])
                axes.set_title(
                    f"{ACTION_LABELS[event.cls - 1]} {frame - event.frame:+d}", fontsize=8, pad=2
                )
                axes.axis("off")
    return figure


def logit_traces(
    logits: np.ndarray, half: HalfMatch, slots: Iterable[int], span: range, truth: pd.DataFrame
) -> Figure:
    """Probability of each class over time for some players, with what truly happened.

    Parameters
    ----------
    logits
        ``(9, 26, T)`` of the half's frames.
    slots
        One panel each.
    span
        Absolute frames.
    truth
        Event table; a vertical line for each event of the half by who is in the slot.
    """
    slots = list(slots)
    figure, panels = plt.subplots(
        len(slots), 1, figsize=(9, 1.3 * len(slots) + 0.8), sharex=True, sharey=True, squeeze=False
    )
    at = slice(span.start - half.first_frame, span.stop - half.first_frame)
    seconds = np.arange(span.start, span.stop) / FPS
    for axes, slot in zip(panels[:, 0], slots, strict=True):
        x = np.exp(logits[:, slot, at].astype(np.float32))  # (9, F)
        for probability, colour in zip((x / x.sum(axis=0))[1:], _BY_CLASS, strict=True):
            axes.plot(seconds, probability, color=colour, lw=1.2)
        unseen = half.state[State.VISIBLE, slot, at] == 0
        axes.fill_between(seconds, 0, 1, where=unseen, color="#DDDDDD", lw=0, step="mid")
        jersey = int(half.jersey_at(slot, span.start))
        mine = truth[truth["frame"].between(span.start, span.stop - 1) & (truth["half"] == half.name)]
        for event in mine.itertuples():
            if (event.team, event.jersey) == (slot // N_ROLES, int(half.jersey_at(slot, event.frame))):
                axes.axvline(event.frame / FPS, color=_BY_CLASS[event.cls - 1], lw=2.5, alpha=0.5)
        axes.set_ylabel(f"team {slot // N_ROLES}, #{jersey}", fontsize=8)
        axes.set_ylim(0, 1)
        _clean(axes)
    panels[-1, 0].set_xlabel("seconds of the match's video")
    for label, colour in CLASS_COLOURS.items():
        panels[0, 0].plot([], [], color=colour, label=label)
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(), ncols=8, loc="lower center", frameon=False, fontsize=8
    )
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    return figure


def _gap_shares(statistics: Statistics, relation: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds, and the share in percent of the gaps of a relation that are not longer."""
    weight = statistics.transitions[:, relation]  # (A, A)
    quantiles = statistics.gaps[:, relation]  # (A, A, L)
    grid = np.geomspace(1, 2000, 300)
    share = sum(
        weight[i, j] * np.interp(grid, quantiles[i, j], LEVELS, left=0)
        for i, j in zip(*np.nonzero(weight), strict=True)
    )
    return grid / FPS, 100 * share / max(weight.sum(), 1)


def _count(table: pd.DataFrame) -> np.ndarray:
    return np.bincount(table["cls"], minlength=len(ACTIONS) + 1)[1:]


def _transition_shares(statistics: Statistics) -> np.ndarray:
    """``(A, 3, A)``: probability of (relation, class) after a class."""
    total = statistics.transitions.sum(axis=(1, 2), keepdims=True)
    return statistics.transitions / np.maximum(total, 1)


def _clean(axes: plt.Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def scores_against_ceilings(scores: pd.DataFrame, ceilings: dict[str, float]) -> Figure:
    """Macro F1 with intervals, one row each (columns ``macro F1``, ``low``, ``high``), and limits."""
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.35 * len(scores)), layout="constrained")
    y = np.arange(len(scores))[::-1]
    axes.hlines(y, scores["low"], scores["high"], color="#0072B2", lw=5, alpha=0.25)
    axes.scatter(scores["macro F1"], y, color="#0072B2", zorder=2)
    for row, value in zip(y, scores["macro F1"], strict=True):
        axes.annotate(
            f"{value:.3f}", (value, row), (0, 6), textcoords="offset points", ha="center", size=8
        )
    for name, value in ceilings.items():
        axes.axvline(value, color="#8A8A8A", lw=0.8, ls=":")
        axes.annotate(name, (value, len(scores) - 0.4), size=8, color="#555555", ha="right", rotation=0)
    axes.set_yticks(y, scores.index)
    axes.set(xlabel="macro F1", ylim=(-0.6, len(scores) - 0.1))
    _clean(axes)
    return figure


def calibration(labels: np.ndarray, p: np.ndarray, bins: int = 8) -> Figure:
    """Share of true events against their predicted probability, a panel a class.

    ``labels`` is ``(N,)``, ``p`` is ``(N, 9)``. Each class's candidates are in bins of equal size, each
    with its 90 % binomial interval.
    """
    figure, panels = plt.subplots(2, 4, figsize=(10, 5), sharex=True, sharey=True, layout="constrained")
    for action, axes in zip(ACTIONS, panels.flat, strict=True):
        rows = np.flatnonzero(p[:, action] > 0)
        rows = rows[np.argsort(p[rows, action], kind="stable")]
        parts = [part for part in np.array_split(rows, bins) if len(part)]
        said = np.array([p[part, action].mean() for part in parts])
        hits = np.array([(labels[part] == action).sum() for part in parts])
        misses = np.array([len(part) for part in parts]) - hits
        low, high = beta.ppf(0.05, hits + 0.5, misses + 0.5), beta.ppf(0.95, hits + 0.5, misses + 0.5)
        axes.plot((0, 1), (0, 1), color="#8A8A8A", lw=0.8, ls=":")
        colour = CLASS_COLOURS[action.label]
        axes.vlines(said, low, high, color=colour, lw=4, alpha=0.25)
        axes.plot(said, hits / np.maximum(hits + misses, 1), color=colour, marker="o", ms=4, lw=1)
        axes.set_title(f"{action.label} ({hits.sum()} of {len(rows)})", fontsize=9)
        _clean(axes)
    figure.supxlabel("predicted probability", fontsize=9)
    figure.supylabel("share that is true", fontsize=9)
    return figure


def importance(shares: pd.Series, most: int = 25) -> Figure:
    """Share of each feature in what the trees gain, the largest first."""
    top = shares.head(most)[::-1]
    figure, axes = plt.subplots(figsize=(7, 0.6 + 0.22 * len(top)), layout="constrained")
    axes.barh(top.index, top.to_numpy(), color="#0072B2")
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("share of the gain of all splits")
    _clean(axes)
    return figure


def effects(table: pd.DataFrame) -> Figure:
    """Changes of macro F1 with intervals (columns ``against``, ``change``, ``low``, ``high``)."""
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.4 * len(table)), layout="constrained")
    y = np.arange(len(table))[::-1]
    sure = (table["low"] > 0) | (table["high"] < 0)
    colours = np.where(sure, "#0072B2", "#8A8A8A")
    axes.hlines(y, table["low"], table["high"], color=colours, lw=5, alpha=0.3)
    axes.scatter(table["change"], y, color=colours, zorder=2)
    for row, value in zip(y, table["change"], strict=True):
        axes.annotate(
            f"{value:+.3f}", (value, row), (0, 6), textcoords="offset points", ha="center", size=8
        )
    axes.axvline(0, color="#555555", lw=0.8)
    labels = [f"{row}\nagainst {base}" for row, base in table["against"].items()]
    axes.set_yticks(y, labels, fontsize=8)
    axes.set(xlabel="change of macro F1", ylim=(-0.6, len(table) - 0.2))
    _clean(axes)
    return figure


def f1_table(table: pd.DataFrame) -> Figure:
    """F1 by row and class in colours, the numbers in the cells."""
    size = (1.8 + 0.85 * table.shape[1], 1 + 0.32 * len(table))
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    sns.heatmap(
        table,
        annot=True,
        fmt=".2f",
        cmap="Blues",
        vmin=0,
        vmax=1,
        cbar=False,
        ax=axes,
        annot_kws={"size": 8},
    )
    axes.set(xlabel="", ylabel="")
    axes.tick_params(length=0)
    return figure


def window_of_play(
    one: Recorded,
    detectors: Sequence[str],
    events: dict[str, pd.DataFrame],
    truth: pd.DataFrame,
    start: int,
    seconds: float,
) -> Figure:
    """A window as a DST sees it, frames by slots: evidence, truth, and what was written.

    Parameters
    ----------
    one
        The half, with the logits of ``detectors``, which are their names.
    events
        Event tables with scores by name; a dot is the larger, the higher its score.
    truth
        Ground truth, drawn as rings.
    start
        First frame, absolute.
    """
    length = round(seconds * FPS)
    stop = start + length
    excerpt = one.cut(start, stop)
    names = [*detectors, *events]
    figure, panels = plt.subplots(
        len(names), 1, figsize=(10, 2.3 * len(names)), sharex=True, sharey=True, layout="constrained"
    )
    panels = np.atleast_1d(panels)
    for axes, name, logits in zip(panels, detectors, excerpt.logits, strict=False):
        action = 1 - softmax(logits.astype(np.float32), axis=0)[Action.BACKGROUND]  # (26, T)
        image = axes.imshow(
            np.where(np.isnan(excerpt.state[State.X]), np.nan, action),
            cmap="Greys",
            vmin=0,
            vmax=1,
            aspect="auto",
            extent=(0, seconds, N_SLOTS - 0.5, -0.5),
            interpolation="none",
        )
        axes.set_title(f"{name}: probability of any action", fontsize=9, loc="left")
    figure.colorbar(image, ax=panels[: len(detectors)], shrink=0.6)
    for axes, name in zip(panels[len(detectors) :], events, strict=True):
        axes.set_title(f"{name}: what was written", fontsize=9, loc="left")
    for axes, name in zip(panels, names, strict=True):
        for table, filled in ((truth, False), (events.get(name, truth[:0]), True)):
            when, where, colour, score = _on_slots(one.half, table, start, stop)
            style = {"s": 60 * score + 8, "c": colour} if filled else {"s": 110, "edgecolors": colour}
            axes.scatter(when, where, **style, **({} if filled else {"facecolors": "none", "lw": 1.5}))
        axes.axhline(N_ROLES - 0.5, color="#8A8A8A", lw=0.8)
        axes.set_ylabel("slot")
        axes.set_yticks(range(0, N_SLOTS, 5))
        _clean(axes)
    panels[-1].set_xlabel(f"seconds from frame {start} of {one.name}")
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


def _on_slots(
    half: HalfMatch, table: pd.DataFrame, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Seconds, slot, colour and score of the events of a window whose player is in a slot there."""
    table = table[(table["half"] == half.name) & table["frame"].between(start, stop - 1)]
    frame, team = table["frame"].to_numpy(), table["team"].to_numpy()
    slots = np.arange(N_SLOTS)[:, None]
    jersey = half.jersey_at(slots, frame[None])  # (26, N)
    mine = (jersey == table["jersey"].to_numpy()) & (slots // N_ROLES == team)
    known = mine.any(axis=0)
    colour = [_BY_CLASS[cls - 1] for cls in table["cls"][known]]
    score = table["score"].to_numpy()[known] if "score" in table else np.ones(known.sum())
    return (frame[known] - start) / FPS, mine.argmax(axis=0)[known], colour, score
