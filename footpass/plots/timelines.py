"""Figures of events in time: on slots, and what post-processing did to them."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from footpass.data.halves import HalfMatch
from footpass.data.logits import softmax
from footpass.plots.style import BY_CLASS, HALO, figure_legend, subplots
from footpass.postprocess.evidence import Evidence
from footpass.schema import FPS, N_ROLES, N_SLOTS, Action, State, counted
from footpass.sequence.sources import Recorded


def changes_on_a_timeline(judged: pd.DataFrame, evidence: Evidence, truth: pd.DataFrame) -> Figure:
    """One event that each step helped and one it hurt, with evidence and truth two seconds around it.

    ``judged`` is an audit with verdicts (`footpass.postprocess.judge`). Of all such events the one in
    the middle of the table is shown.
    """
    changed = judged[judged["verdict"] != "neither"]
    steps = list(dict.fromkeys(changed["step"]))
    n = max(len(steps), 1)
    figure, panels = subplots((10, 2.1 * n), n, 2, sharex=True, sharey=True, squeeze=False)
    cells = [(step, verdict) for step in steps for verdict in ("helped", "hurt")]
    for axes, (step, verdict) in zip(panels.flat, cells, strict=False):
        rows = changed[(changed["step"] == step) & (changed["verdict"] == verdict)]
        axes.set_title(f"{step} {verdict} {counted(len(rows), 'time')}", fontsize=9, loc="left")
        if len(rows):
            _draw_change(axes, rows.iloc[[len(rows) // 2]], evidence, truth, 2 * FPS)
    for axes in panels[-1]:
        axes.set_xlabel("seconds from the event")
    for axes in panels[:, 0]:
        axes.set_ylabel("evidence")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    return figure


def events_on_slots(
    evidence: dict[str, pd.DataFrame], truth: pd.DataFrame, half: str, start: int, seconds: float
) -> Figure:
    """A stretch of play, players over time: one panel for each event table, the truth as rings.

    A mark is the larger, the higher its score; ``start`` is an absolute frame.
    """
    stop = start + round(seconds * FPS)
    parts = {"truth": truth, **evidence}
    shown = {
        name: table[(table["half"] == half) & table["frame"].between(start, stop - 1)]
        for name, table in parts.items()
    }
    everybody = pd.concat([table[["team", "jersey"]] for table in shown.values()])
    players = {player: i for i, player in enumerate(sorted(set(everybody.itertuples(index=False))))}
    size = (10, 0.7 + len(evidence) * (0.6 + 0.13 * len(players)))
    figure, panels = subplots(size, len(evidence), 1, sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(panels[:, 0], evidence, strict=True):
        for table in (shown["truth"], shown[name]):
            place = [players[player] for player in table[["team", "jersey"]].itertuples(index=False)]
            _draw_events(axes, (table["frame"] - start) / FPS, place, table)
        axes.set_title(name, fontsize=9, loc="left")
        axes.set_ylabel("player")
        names = [f"{'LR'[team]} {jersey}" for team, jersey in players]
        axes.set_yticks(range(len(players)), names, fontsize=7)
        axes.grid(axis="y", lw=0.3)
    panels[-1, 0].set_xlim(0, seconds)
    panels[-1, 0].set_xlabel(f"seconds from frame {start} of {half}")
    figure_legend(figure)
    return figure


def _draw_change(
    axes: plt.Axes, event: pd.DataFrame, evidence: Evidence, truth: pd.DataFrame, window: int
) -> None:
    row = event.iloc[0]
    near = evidence.near(event, window)
    seconds, own = (near.frame - row["frame"]) / FPS, near.jersey == row["jersey"]
    for part, label, colour in (
        (own, "evidence: this player", "#0072B2"),
        (~own, "team-mate", "#8A8A8A"),
    ):
        axes.scatter(seconds[part], near.strength[part], s=16, c=colour, label=label)
    for jersey, x, y in zip(near.jersey, seconds, near.strength, strict=True) if len(own) <= 12 else ():
        axes.annotate(f" {jersey}", (x, y), fontsize=7, va="center", path_effects=HALO)
    same = [truth[name] == row[name] for name in ("half", "team", "cls")]
    same.append((truth["frame"] - row["frame"]).abs() <= window)
    for frame, jersey in truth.loc[np.all(same, axis=0), ["frame", "jersey"]].to_numpy():
        x = (frame - row["frame"]) / FPS
        axes.axvline(x, color="#009E73", lw=1.2, zorder=0)
        axes.annotate(f" {jersey}", (x, 1.08), fontsize=8, color="#00694C")  # beside its line
    axes.plot([], [], color="#009E73", label="true event (jersey)")
    axes.scatter(0, 0, marker="^", s=50, facecolors="white", edgecolors="#D55E00", label="event before")
    axes.scatter([], [], marker="^", s=18, c="#D55E00", label="after")
    axes.scatter([], [], marker="x", s=30, c="#D55E00", label="dropped")
    if row["fate"] == "dropped":
        axes.scatter(0, 0, marker="x", s=30, c="#D55E00")
    else:
        axes.scatter((row["to_frame"] - row["frame"]) / FPS, 0, marker="^", s=18, c="#D55E00")
    became = {"dropped": "dropped", "reassigned": f"now {row['to_jersey']}"}.get(row["fate"], "moved")
    text = f"{Action(row['cls']).label} by {row['jersey']}: {became}"
    axes.set_title(text, fontsize=9, loc="right")
    axes.set(xlim=(-window / FPS, window / FPS), ylim=(-0.1, 1.2))


def window_of_play(
    one: Recorded,
    detectors: Sequence[str],
    events: dict[str, pd.DataFrame],
    truth: pd.DataFrame,
    start: int,
    seconds: float,
) -> Figure:
    """A window as a DST sees it, frames by slots: evidence, truth as rings, and what was written.

    ``detectors`` are the names of those whose logits ``one`` has. A dot is the larger, the higher its
    score; ``start`` is an absolute frame.
    """
    stop = start + round(seconds * FPS)
    excerpt = one.cut(start, stop)
    names = [*detectors, *events]
    size = (10, 2.3 * len(names))
    figure, panels = subplots(size, len(names), 1, sharex=True, sharey=True, squeeze=False)
    panels = panels[:, 0]
    for axes, name, logits in zip(panels, detectors, excerpt.logits, strict=False):
        action = 1 - softmax(logits)[Action.BACKGROUND]  # (26, T)
        action = np.where(np.isnan(excerpt.state[State.X]), np.nan, action)
        look = {"cmap": "Greys", "vmin": 0, "vmax": 1, "interpolation": "none", "aspect": "auto"}
        image = axes.imshow(action, extent=(0, seconds, N_SLOTS - 0.5, -0.5), **look)
        axes.set_title(f"{name}: probability of any action", fontsize=9, loc="left")
    figure.colorbar(image, ax=panels[: len(detectors)], shrink=0.6)
    for axes, name in zip(panels[len(detectors) :], events, strict=True):
        axes.set_title(f"{name}: what was written", fontsize=9, loc="left")
    for axes, name in zip(panels, names, strict=True):
        for table in (truth, events.get(name, truth[:0])):
            known, slots = _on_slots(one.half, table, start, stop)
            _draw_events(axes, (known["frame"] - start) / FPS, slots, known)
        axes.axhline(N_ROLES - 0.5, color="#8A8A8A", lw=0.8)
        axes.set_ylabel("slot")
        axes.set_yticks(range(0, N_SLOTS, 5))
    panels[-1].set_xlabel(f"seconds from frame {start} of {one.name}")
    figure_legend(figure)
    return figure


def _on_slots(
    half: HalfMatch, table: pd.DataFrame, start: int, stop: int
) -> tuple[pd.DataFrame, np.ndarray]:
    """The events of a window whose player is in a slot there, and the slots."""
    table = table[(table["half"] == half.name) & table["frame"].between(start, stop - 1)]
    slots = np.arange(N_SLOTS)[:, None]
    jersey = half.jersey_at(slots, table["frame"].to_numpy()[None])  # (26, N)
    mine = (jersey == table["jersey"].to_numpy()) & (slots // N_ROLES == table["team"].to_numpy())
    known = mine.any(axis=0)
    return table[known], mine.argmax(axis=0)[known]


def _draw_events(
    axes: plt.Axes, x: pd.Series, y: Sequence[int] | np.ndarray, table: pd.DataFrame
) -> None:
    """Predictions as dots, the larger the surer; true events, which have no score, as rings."""
    colours = [BY_CLASS[cls - 1] for cls in table["cls"]]
    if "score" in table:
        axes.scatter(x, y, s=60 * table["score"] + 8, c=colours, clip_on=False)
    else:
        ring: Any = {"facecolors": "none", "lw": 1.5, "clip_on": False, "path_effects": HALO}
        axes.scatter(x, y, s=110, edgecolors=colours, **ring)
