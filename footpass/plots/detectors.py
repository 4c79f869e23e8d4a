"""Figures of models that read the video: clips, learning curves, events and logits in pictures."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from footpass.data.cache import Footage
from footpass.data.halves import HalfMatch, events_of
from footpass.data.logits import softmax
from footpass.data.video import video_reader
from footpass.plots.style import BY_CLASS, CLASS_COLOURS, SERIES, SIDES, figure_legend, legend, subplots
from footpass.schema import FPS, N_ROLES, State

if TYPE_CHECKING:  # pictures of scores and pages load this package too, and do without torch
    from footpass.detectors.clips import ClipConfig
    from footpass.detectors.inputs import ModelInputs
    from footpass.models.gnn import TAADGNN
    from footpass.models.taad import TAAD


def learning_curves(rows: list[dict], beside: dict[str, list[dict]] | None = None) -> Figure:
    """Training loss, and the figures on the validation clips, by epoch (rows of `training.loop.train`).

    Runs ``beside`` are dashed, with their loss and macro F1 alone.
    """
    figure, (left, right) = subplots((9, 3), 1, 2)
    epochs = [row["epoch"] + 1 for row in rows]
    losses = [row["loss"] for row in rows]
    left.plot(epochs, losses, "o-", ms=4, color="#0072B2")
    highest = max(row["loss"] for run in (rows, *(beside or {}).values()) for row in run)
    left.set(ylabel="training loss", ylim=(0, 1.1 * highest))
    figures = {"macro_f1": "macro F1", "micro_f1": "micro F1", "accuracy": "accuracy at the event"}
    for (name, label), colour, mark in zip(figures.items(), SERIES, "osD", strict=False):
        right.plot(epochs, [row[name] for row in rows], f"{mark}-", ms=4, label=label, color=colour)
    for name, others in (beside or {}).items():
        epochs = [row["epoch"] + 1 for row in others]
        for axes, key in ((left, "loss"), (right, "macro_f1")):
            label = f"macro F1, {name}" if axes is right else name
            axes.plot(epochs, [row[key] for row in others], "s--", ms=4, color="#777777", label=label)
        left.legend(frameon=False)
    right.set(ylabel="validation clips", ylim=(0, 1))
    legend(right)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def clips_as_seen(rows: "dict[str, ModelInputs]", frames: Iterable[int]) -> Figure:
    """Some frames of the first clip of several batches, as the model gets them, boxes included.

    The box of tracklet 0, for whose event the clip was drawn, is yellow.
    """
    from footpass.models.x3d import PIXEL_MEAN, PIXEL_STD

    frames = list(frames)
    height, width = next(iter(rows.values())).clip.shape[-2:]
    size = (11, len(rows) * (11 / len(frames) * height / width + 0.2))
    figure, panels = subplots(size, len(rows), len(frames), squeeze=False)
    for line, (name, inputs) in zip(panels, rows.items(), strict=True):
        pixels = (inputs.clip[0] * PIXEL_STD + PIXEL_MEAN).clamp(0, 1)  # (3, T, H, W)
        for axes, frame in zip(line, frames, strict=True):
            axes.imshow(pixels[:, frame].permute(1, 2, 0).cpu().numpy())
            for tracklet in inputs.visible[0, :, frame].nonzero()[:, 0].tolist():
                x1, y1, x2, y2 = inputs.boxes[0, tracklet, frame].tolist()
                colour = "#F0E442" if tracklet == 0 else "white"
                look: Any = {"ec": colour, "fc": "none", "lw": 1.6 if tracklet == 0 else 0.8}
                box = plt.Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, **look)
                axes.add_patch(box)
            axes.set_title(f"{name}, frame {frame}", fontsize=8, pad=2)
            axes.axis("off")
    return figure


def filmstrip(model: "TAAD | TAADGNN", clips: "ClipConfig", footage: Footage) -> Figure:
    """What a model finds around the first events of a half with a box: true white, predicted yellow.

    These are four at most, in the twelve seconds from a second before the first of them.
    """
    from footpass.detectors.spotting import events_from_logits
    from footpass.detectors.windows import half_logits
    from footpass.plots.views import close_ups

    truth = events_of(footage.half)
    seen = truth[truth["box_visible"]]
    start = max(footage.half.first_frame, int(seen["frame"].min()) - FPS)
    part = footage.half.window(start, min(start + 12 * FPS, footage.half.end_frame))
    logits = [logits for _, logits in half_logits(model, Footage(part, footage.video), clips)]
    found = events_from_logits(np.concatenate(logits, -1), part, without_box=model.without_box)
    shown = seen[seen["frame"] < part.end_frame].head(4)
    return close_ups(part, video_reader(footage.video), shown, truth, found, (-6, 0, 6))


def logit_traces(
    logits: np.ndarray, half: HalfMatch, slots: Iterable[int], window: range, truth: pd.DataFrame
) -> Figure:
    """Probability of each class over the frames of a window, a panel a slot, with what truly happened.

    ``logits`` are ``(9, 26, T)``; a vertical line is a true event of who is in the slot.
    """
    slots = list(slots)
    size = (9, 1.3 * len(slots) + 0.8)
    figure, panels = subplots(size, len(slots), 1, sharex=True, sharey=True, squeeze=False)
    at = slice(window.start - half.first_frame, window.stop - half.first_frame)
    seconds = np.arange(window.start, window.stop) / FPS
    for axes, slot in zip(panels[:, 0], slots, strict=True):
        draw_traces(axes, seconds, logits[:, slot, at], half.state[State.VISIBLE, slot, at] > 0)
        jersey = int(half.jersey_at(slot, window.start))
        shown = truth["frame"].between(window.start, window.stop - 1) & (truth["half"] == half.name)
        for event in truth[shown].itertuples():
            if (event.team, event.jersey) == (slot // N_ROLES, int(half.jersey_at(slot, event.frame))):
                axes.axvline(event.frame / FPS, color=BY_CLASS[event.cls - 1], lw=2.5, alpha=0.5)
        axes.set_ylabel(f"{SIDES[slot // N_ROLES]}, #{jersey}", fontsize=8)
    panels[-1, 0].set_xlabel("seconds of the match's video")
    figure_legend(figure)
    return figure


def draw_traces(axes: plt.Axes, x: np.ndarray, logits: np.ndarray, visible: np.ndarray) -> None:
    """Probability of each class by time, grey where the player is out of the picture.

    ``x`` and ``visible`` are ``(F,)``, ``logits`` is ``(9, F)``.
    """
    probability = softmax(logits)
    for line, (label, colour) in zip(probability[1:], CLASS_COLOURS.items(), strict=True):
        axes.plot(x, line, color=colour, lw=1.3, label=label)
    axes.fill_between(x, 0, 1, where=~visible, color="#DDDDDD", lw=0, step="mid")
    axes.set_ylim(0, 1)
