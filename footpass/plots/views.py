"""Looking at a half: the broadcast with boxes and events over it, and the pitch from above.

All pictures are uint8 (height, width, 3) RGB. Team 0 is turquoise, team 1 violet; true events are white,
predicted ones yellow.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image, ImageColor, ImageDraw, ImageFont

from footpass.data.cache import Footage
from footpass.data.halves import HalfMatch
from footpass.data.video import VideoReader
from footpass.files import DataError, atomic_write
from footpass.metrics import Evaluation
from footpass.pitch import markings
from footpass.plots.style import SIDES, TEAMS_ON_VIDEO, ink, subplots
from footpass.schema import FPS, MODEL_SIZE, N_ROLES, N_SLOTS, PITCH, Action, State

Events: TypeAlias = pd.DataFrame | None
Video: TypeAlias = VideoReader | None
TEAM_COLOURS = tuple(ImageColor.getrgb(colour)[:3] for colour in TEAMS_ON_VIDEO)
TAG_INKS = tuple(ImageColor.getrgb(ink(colour))[:3] for colour in TEAMS_ON_VIDEO)
TRUE, PREDICTED = (255, 255, 255), (255, 215, 40)
RADAR_SIZE = (448, 640)  # height, width
_ZOOM = 2  # of the broadcast picture
_SHOWN = 12  # frames before and after its anchor that an event is shown
_TRAIL = FPS  # frames of the past that the radar shows


def overlay(
    picture: np.ndarray,
    half: HalfMatch,
    frame: int,
    truth: Events = None,
    predictions: Events = None,
    key: bool = True,
) -> np.ndarray:
    """A broadcast picture (352, 640, 3), doubled, with boxes, jerseys and the events around a frame.

    Frames are absolute, as everywhere; of the event tables, the rows of this half are shown. The ``key``
    in the corner says which colour is what, of the colours that are there.
    """
    canvas = cv2.resize(picture, None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_LINEAR)
    index = frame - half.first_frame
    boxes: dict[int, list[int]] = {}
    if 0 <= index < half.n_frames:
        seen = np.flatnonzero(half.state[State.VISIBLE, :, index])
        corners = (_ZOOM * half.boxes[seen, index]).round().astype(int)
        boxes = dict(zip(seen.tolist(), corners.tolist(), strict=True))
    tags = {slot: _tag(_jersey(half, slot, frame), x1, y1) for slot, (x1, y1, _, _) in boxes.items()}
    texts: list[Text] = []
    taken = [*tags.values()]  # by labels
    for event, colour in _around(half, frame, truth, predictions):
        text, grow = _words(event), 4 if colour == TRUE else 8
        actor = slot_of(half, event, frame) if boxes else None
        if actor in boxes:
            x1, y1, x2, y2 = boxes[actor]
            cv2.rectangle(canvas, (x1 - grow, y1 - grow), (x2 + grow, y2 + grow), colour, 2, cv2.LINE_AA)
            at = round((x1 + x2 - _font(14).getlength(text)) / 2), y2 + 24
        else:
            text, at = f"{text} (no box)", (20, canvas.shape[0] - 18)
        texts.append(_label(canvas, text, at, colour, 14, taken))
    for slot, (x1, y1, x2, y2) in boxes.items():
        number, colour = _jersey(half, slot, frame), TEAM_COLOURS[slot // N_ROLES]
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 1)
        low, high = tags[slot].get_points().astype(int).tolist()
        cv2.rectangle(canvas, low, high, colour, -1)
        texts.insert(0, Text(number, (x1 + 3, y1 - 3), TAG_INKS[slot // N_ROLES], 11))
    if key:
        shown = {slot // N_ROLES for slot in boxes}
        words = [(f"{side} team", TEAM_COLOURS[i]) for i, side in enumerate(SIDES) if i in shown]
        words += [("true event", TRUE)] if truth is not None else []
        words += [("predicted event", PREDICTED)] if predictions is not None else []
        texts += _key(words, canvas.shape[1])
    _write(canvas, texts)
    return canvas


def radar(half: HalfMatch, frame: int, truth: Events = None, predictions: Events = None) -> np.ndarray:
    """The pitch from above, (448, 640, 3): discs with jerseys, hollow where out of view.

    Tails are the last second.
    """
    canvas = _pitch().copy()
    index = frame - half.first_frame
    if not 0 <= index < half.n_frames:
        raise DataError(f"half {half.name} has no frame {frame}")
    past = half.state[: State.Y + 1, :, max(index - _TRAIL, 0) : index + 1]  # (2, 26, <= 26)
    second = index / FPS
    title = f"{half.name}  frame {frame}  {int(second) // 60:02}:{second % 60:04.1f}"
    texts = [Text(title, (12, RADAR_SIZE[0] - 7), (220, 225, 220), 11)]
    for slot in np.flatnonzero(np.isfinite(past[0, :, -1])).tolist():
        colour = TEAM_COLOURS[slot // N_ROLES]
        trail = past[:, slot, np.isfinite(past[0, slot])].T * PITCH  # (n, 2)
        points = np.array([_spot(*point) for point in trail], np.int32)
        cv2.polylines(canvas, [points], False, colour, 2, cv2.LINE_AA)
        at = tuple(points[-1].tolist())
        visible = half.state[State.VISIBLE, slot, index] > 0
        cv2.circle(canvas, at, 9, colour if visible else (40, 84, 52), -1, cv2.LINE_AA)
        cv2.circle(canvas, at, 9, colour, 2, cv2.LINE_AA)
        number = _jersey(half, slot, frame)
        paper = TAG_INKS[slot // N_ROLES] if visible else TRUE
        texts.append(Text(number, (at[0] - _font(10).getlength(number) // 2, at[1] + 4), paper, 10))
    taken: list[Bbox] = []  # by labels
    rings: Counter[int] = Counter()
    for event, colour in _around(half, frame, truth, predictions):
        actor = slot_of(half, event, frame)
        if actor is not None:
            at = _spot(*(past[:, actor, -1] * PITCH))
            cv2.circle(canvas, at, 13 + 4 * rings[actor], colour, 2, cv2.LINE_AA)
            rings[actor] += 1
            texts.append(_label(canvas, _words(event), (at[0] + 16, at[1] - 6), colour, 12, taken))
    _write(canvas, texts)
    return canvas


def frames(
    view: str,
    half: HalfMatch,
    window: range,
    reader: Video = None,
    truth: Events = None,
    predictions: Events = None,
) -> Iterator[np.ndarray]:
    """Pictures of a view, ``overlay`` or ``radar``, for `data.video.write_video`."""
    if not len(window) or window.start < half.first_frame or window.stop > half.end_frame:
        wanted = f"{window.start}..{window.stop - 1}"
        have = f"{half.first_frame}..{half.end_frame - 1}"
        raise DataError(f"no frames {wanted}: it has {have}", half=half.name)
    if view == "radar":
        return (radar(half, frame, truth, predictions) for frame in window)
    if view != "overlay":
        raise DataError(f"view {view!r} is neither overlay nor radar")
    if reader is None:
        raise DataError("an overlay needs the match's video", half=half.name)
    clips = reader.windows(window.start, window.stop, 2 * FPS, 2 * FPS)
    return (
        overlay(picture, half, first + i, truth, predictions)
        for first, pictures in clips
        for i, picture in enumerate(pictures)
    )


def best_play(result: Evaluation, footage: Mapping[str, Footage], seconds: float) -> tuple[str, range]:
    """A half and its seconds in which most events with a box are found, and fewest not."""
    length, best = round(seconds * FPS), (-np.inf, "", 0)
    for name, events in result.truth.groupby("half", observed=True):
        worth = np.where(events["found"] & events["box_visible"], 1, -1)
        false = result.predictions["half"].eq(name) & result.predictions["truth"].lt(0)
        frames = np.append(events["frame"], result.predictions["frame"][false])
        worth = np.append(worth, np.full(false.sum(), -1))
        for start in (events["frame"] - FPS).clip(lower=footage[str(name)].half.first_frame):
            inside = (frames >= start) & (frames < start + length - FPS)
            best = max(best, (worth[inside].sum(), str(name), int(start)))
    _, name, start = best
    return name, range(start, min(start + length, footage[name].half.end_frame))


def look(
    half: HalfMatch, frame: int, reader: Video = None, truth: Events = None, predictions: Events = None
) -> Figure:
    """Both views of one frame as a figure; the radar alone without a video."""
    shown = ("radar",) if reader is None else ("overlay", "radar")
    window = range(frame, frame + 1)
    pictures = [next(frames(view, half, window, reader, truth, predictions)) for view in shown]
    ratios = [picture.shape[1] / picture.shape[0] for picture in pictures]
    figure, axes = subplots((3.8 * sum(ratios), 4), 1, len(shown), width_ratios=ratios, squeeze=False)
    for ax, picture in zip(axes[0], pictures, strict=True):
        ax.imshow(picture)
        ax.axis("off")
    return figure


def close_ups(
    half: HalfMatch,
    reader: VideoReader,
    events: pd.DataFrame,
    truth: Events = None,
    predictions: Events = None,
    steps: tuple[int, ...] = (-12, -6, -3, 0, 3, 6, 12),
) -> Figure:
    """Players around their events of this half: one row an event, one picture at each step from it.

    With ``truth`` or ``predictions``, boxes and events are drawn as in `overlay`.
    """
    size = (1.4 * len(steps), 1.45 * len(events))
    figure, axes = plt.subplots(len(events), len(steps), figsize=size, squeeze=False)
    for row, event in zip(axes, events.itertuples(), strict=True):
        show_strip(row, half, reader, event, steps, truth, predictions)
        row[0].set_ylabel(Action(event.cls).label)
    title_steps(axes[0], steps)
    figure.tight_layout(pad=0.3)
    return figure


def title_steps(axes: Sequence[plt.Axes], steps: Iterable[int]) -> None:
    """Name pictures by their frames from an event."""
    for ax, step in zip(axes, steps, strict=True):
        ax.set_title(f"{step:+d}" if step else "anchor", fontsize=9)


def show_strip(
    axes: Sequence[plt.Axes],
    half: HalfMatch,
    reader: VideoReader,
    event: Any,
    steps: tuple[int, ...],
    truth: Events = None,
    predictions: Events = None,
) -> None:
    """Show the player of an event, a row as of ``DataFrame.itertuples``, at each step from it.

    Where that player has no box, the middle of the picture, where the ball mostly is.
    """
    plain = truth is None and predictions is None
    zoom = 1 if plain else _ZOOM
    height, width = zoom * np.array(MODEL_SIZE)
    slot = slot_of(half, event)
    box = np.full(4, np.nan) if slot is None else zoom * half.boxes[slot, event.frame - half.first_frame]
    if np.isfinite(box).all():
        reach = 48 * zoom  # pixels around the player
        middle = np.clip((box[:2] + box[2:]) / 2, reach, (width - reach, height - reach))
    else:
        reach, middle = height // 2, np.array([width / 2, height / 2])
    x, y = middle.round().astype(int)
    frames = np.clip(event.frame + np.array(steps), half.first_frame, half.end_frame - 1).tolist()
    for ax, frame, picture in zip(axes, frames, reader.frames(frames), strict=True):
        drawn = picture if plain else overlay(picture, half, frame, truth, predictions, key=False)
        ax.imshow(drawn[y - reach : y + reach, x - reach : x + reach])
        ax.set(xticks=[], yticks=[])


def explore(half: HalfMatch, reader: Video = None, truth: Events = None):
    """Look around in a half: a widget with a slider over its frames, a list of its events, both views.

    Where no notebook is listening (a script, a test): a list of figures of three events.
    """
    import ipywidgets
    from IPython import get_ipython

    events = _events_of(half, truth)
    if getattr(get_ipython(), "kernel", None) is None:
        some = events.iloc[np.linspace(0, len(events) - 1, min(3, len(events))).astype(int)]
        return [look(half, frame, reader, truth) for frame in some["frame"]]
    slider = ipywidgets.IntSlider(
        value=half.first_frame, min=half.first_frame, max=half.end_frame - 1, description="frame",
        continuous_update=False, layout={"width": "90%"},
    )  # fmt: skip
    choices = [(f"{event.frame}  {_words(event)}", event.frame) for event in events.itertuples()]
    choices = choices or [("no events", half.first_frame)]
    chooser = ipywidgets.Dropdown(options=choices, description="event")
    picture, above = ipywidgets.Image(format="png"), ipywidgets.Image(format="png")

    def show(_: object = None) -> None:
        frame = slider.value
        above.value = _png(radar(half, frame, truth))
        if reader is not None:
            picture.value = _png(overlay(reader.frames([frame])[0], half, frame, truth))

    slider.observe(show, names="value")
    chooser.observe(lambda change: setattr(slider, "value", change["new"]), names="value")
    show()
    views = [above] if reader is None else [picture, above]
    return ipywidgets.VBox([chooser, slider, *views])


def save_picture(picture: np.ndarray, path: str | Path) -> None:
    """Write a picture as PNG, atomically."""
    with atomic_write(path, "wb") as stream:
        stream.write(_png(picture))


def _png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))[1].tobytes()


def _events_of(half: HalfMatch, events: Events) -> pd.DataFrame:
    if events is None:
        return pd.DataFrame({"frame": [], "team": [], "jersey": [], "cls": []}, dtype=int)
    return events[events["half"] == half.name]


def _around(half: HalfMatch, frame: int, *tables: Events) -> Iterator[tuple]:
    """Events of ground truth and predictions near a frame, with their colours."""
    for events, colour in zip(tables, (TRUE, PREDICTED), strict=True):
        mine = _events_of(half, events)
        for event in mine[(mine["frame"] - frame).abs() <= _SHOWN].itertuples():
            yield event, colour


def _words(event) -> str:
    score = f" {event.score:.2f}" if hasattr(event, "score") else ""
    return f"{Action(event.cls).label} #{event.jersey}{score}"


def slot_of(half: HalfMatch, event: Any, frame: int | None = None) -> int | None:
    """Slot of an event's player at a frame, by default the event's; None when not on the pitch.

    ``event`` is a row as of ``DataFrame.itertuples``.
    """
    at = event.frame if frame is None else frame
    slots = np.arange(N_SLOTS)
    here = np.isfinite(half.state[State.X, :, at - half.first_frame])
    mine = (slots // N_ROLES == event.team) & (half.jersey_at(slots, at) == event.jersey)
    return next(iter(np.flatnonzero(mine & here).tolist()), None)


def _jersey(half: HalfMatch, slot: int, frame: int) -> str:
    number = int(half.jersey_at(slot, frame))
    return str(number) if number >= 0 else "?"


class Text(NamedTuple):
    """A text, the left end of its baseline, and how it is written."""

    text: str
    at: tuple[float, float]
    colour: tuple[int, int, int]
    size: int
    stroke: int = 0  # width of an outline, with which it can be read on any ground


def _label(
    canvas: np.ndarray, text: str, at: tuple[int, int], colour: tuple, size: int, taken: list[Bbox]
) -> Text:
    """A text with an outline, moved off the places that are ``taken``."""
    width, height = _font(size).getlength(text), sum(_font(size).getmetrics())
    x = np.clip(at[0], 3, max(canvas.shape[1] - width - 3, 3))
    y = np.clip(at[1], height, canvas.shape[0] - 4)
    box = Bbox.from_bounds(x, y - height, width, height)
    step = -4 if y > 0.8 * canvas.shape[0] else 4  # from the lower edge upwards
    while box.y0 > 0 and box.count_overlaps(taken):
        box = box.translated(0, step)
    taken.append(box)
    return Text(text, (round(box.x0), round(box.y1)), colour, size, stroke=2)


def _tag(number: str, x: int, y: int) -> Bbox:
    """Where a box with its upper left corner there has the jersey."""
    return Bbox.from_extents(x, y - 15, x + 5 + round(_font(11).getlength(number)), y)


def _key(words: list[tuple[str, tuple]], right: int) -> Iterator[Text]:
    """Words in their colours, side by side, in the upper right corner of a picture."""
    for word, colour in reversed(words):
        right -= round(_font(12).getlength(word)) + 16
        yield Text(word, (right, 26), colour, 12, stroke=2)


def _write(canvas: np.ndarray, texts: Iterable[Text]) -> None:
    """Write texts; OpenCV's fifth version draws the outline of letters beside them."""
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    for text, at, colour, size, stroke in texts:
        outline: Any = {"stroke_width": stroke, "stroke_fill": (10, 20, 10)}
        draw.text(at, text, colour, _font(size), anchor="ls", **outline)
    canvas[:] = picture


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans:bold"), size)  # comes with matplotlib


_PER_METRE = 5.8
_CORNER = ((RADAR_SIZE[1] - _PER_METRE * PITCH[0]) / 2, (RADAR_SIZE[0] - _PER_METRE * PITCH[1]) / 2 - 4)


def _spot(x: float, y: float) -> tuple[int, int]:
    """Pixel of a point in metres."""
    return round(_CORNER[0] + _PER_METRE * float(x)), round(_CORNER[1] + _PER_METRE * float(y))


@cache
def _pitch() -> np.ndarray:
    canvas = np.full((*RADAR_SIZE, 3), (36, 78, 48), np.uint8)
    for stripe in range(0, 18, 2):
        low, high = _spot(stripe * PITCH[0] / 18, 0), _spot((stripe + 1) * PITCH[0] / 18, PITCH[1])
        cv2.rectangle(canvas, low, high, (40, 86, 53), -1)
    for line in markings():
        points = np.array([_spot(x, y) for x, y, _ in line], np.int32)
        cv2.polylines(canvas, [points], False, (190, 210, 195), 1, cv2.LINE_AA)
    return canvas
