"""Figures of notebook 03: the graph of players, and two models on one event."""

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from footpass.data.halves import HalfMatch
from footpass.plots.detectors import draw_traces
from footpass.plots.style import BY_CLASS, SIDES, TEAMS, draw_pitch, figure_legend, legend, subplots
from footpass.plots.views import slot_of
from footpass.schema import ACTION_LABELS, FPS, State

if TYPE_CHECKING:
    import networkx as nx

_SHOWN = 2 * FPS  # frames before and after an event


def graph_on_pitch(graph: "nx.DiGraph", actor: int | None = None) -> Figure:
    """A graph as of `player_graph` on the pitch; messages to the slot ``actor`` are in black."""
    figure, axes = subplots((8, 5.4))
    _draw_graph(axes, graph, actor, size=190)
    return figure


def event_by_two_models(
    graph: "nx.DiGraph", logits: dict[str, np.ndarray], half: HalfMatch, event: Any
) -> Figure:
    """The pitch at an event, and what each model says of its player around it.

    ``logits`` are ``(9, 26, T)`` by model, ``event`` is a row as of ``DataFrame.itertuples``.
    """
    slot = slot_of(half, event)
    assert slot is not None  # who acts is on the pitch
    figure = plt.figure(figsize=(11, 3.6), layout="constrained")
    grid = figure.add_gridspec(len(logits), 2, width_ratios=(5, 6))
    _draw_graph(figure.add_subplot(grid[:, 0]), graph, slot, size=110)
    first, stop = max(event.frame - _SHOWN, half.first_frame), event.frame + _SHOWN + 1
    window = np.arange(first, min(stop, half.end_frame))
    at, seconds = window - half.first_frame, (window - event.frame) / FPS
    for row, (name, volume) in enumerate(logits.items()):
        axes = figure.add_subplot(grid[row, 1])
        draw_traces(axes, seconds, volume[:, slot, at], half.state[State.VISIBLE, slot, at] > 0)
        axes.axvline(0, color=BY_CLASS[event.cls - 1], lw=3, alpha=0.5)
        axes.set(xlim=(seconds[0], seconds[-1]), ylabel=name)
    axes.set_xlabel(f"seconds from the {ACTION_LABELS[event.cls - 1]} at frame {event.frame}")
    figure_legend(figure)
    return figure


def listened_to(graphs: list["nx.DiGraph"], actors: list[int]) -> pd.DataFrame:
    """Share of some kinds of neighbours: of all alike, and of what players listen to.

    ``actors`` are the slots of who acts in each graph.
    """
    edges = [
        (weight, graph.nodes[a]["team"] == graph.nodes[b]["team"], graph.nodes[a]["visible"], a == actor)
        for graph, actor in zip(graphs, actors, strict=True)
        for a, b, weight in graph.edges(data="weight")
    ]
    weight, *kinds = (np.array(column, float) for column in zip(*edges, strict=True))
    rows = {"all neighbours alike": np.ones_like(weight), "as listened to": weight}
    return pd.DataFrame(
        {name: [np.average(kind, weights=w) for kind in kinds] for name, w in rows.items()},
        pd.Index(["are team-mates", "have a box", "act"], name="neighbours who"),
    )


def _draw_graph(axes: plt.Axes, graph: "nx.DiGraph", actor: int | None, size: float) -> None:
    import networkx as nx  # slow to import

    draw_pitch(axes)
    place = nx.get_node_attributes(graph, "place")
    heard = [edge for edge in graph.edges(data="weight") if edge[2] > 0]
    strongest = max((weight for *_, weight in heard), default=1)
    for own, colour in ((False, "#6B6B6B"), (True, "#000000")):
        edges = [edge for edge in heard if (edge[1] == actor) == own]
        width = [0.4 + 3.5 * weight / strongest for *_, weight in edges]
        look = {"width": width, "edge_color": colour, "alpha": 1 if own else 0.5}
        arrow = {"node_size": size, "arrowsize": size**0.5 / 1.6, "connectionstyle": "arc3,rad=0.12"}
        nx.draw_networkx_edges(graph, place, [edge[:2] for edge in edges], **look, **arrow, ax=axes)
    for team, side in enumerate(SIDES):
        axes.scatter([], [], s=60, color=TEAMS[team], label=f"{side} team")
    legend(axes)
    for visible in (True, False):  # who has no box is hollow
        nodes = [slot for slot, data in graph.nodes(data=True) if data["visible"] == visible]
        colours = [TEAMS[graph.nodes[slot]["team"]] for slot in nodes]
        edges = ["#000000" if slot == actor else c for slot, c in zip(nodes, colours, strict=True)]
        width = [2.5 if slot == actor else 1.2 for slot in nodes]
        look = {"node_color": colours if visible else "white", "edgecolors": edges, "linewidths": width}
        nx.draw_networkx_nodes(graph, place, nodes, node_size=size, ax=axes, **look)
        names = {slot: graph.nodes[slot]["jersey"] for slot in nodes}
        ink = "white" if visible else "black"
        nx.draw_networkx_labels(graph, place, names, font_size=size**0.5 / 2, font_color=ink, ax=axes)
