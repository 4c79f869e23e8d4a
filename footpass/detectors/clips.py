"""Clips for the models that see pixels: drawn around events, decoded, augmented on the device.

A clip is a window of a half with an event in it, and a few tracklets: the slot that acts, then others.
What a clip is depends only on the seed, the epoch and its place in the epoch, so batches are the same
with any number of loading workers. Workers decode pictures and gather boxes; everything else happens
to whole batches on the device.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple, TypeVar

import numpy as np
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset

from footpass.configs import Count, Positive, config_dataclass
from footpass.data.cache import Footage
from footpass.data.halves import HalfMatch
from footpass.data.video import video_reader
from footpass.detectors.augment import Augmentation, random_colour, random_warp
from footpass.files import DataError
from footpass.schema import ACTIONS, FULL_HD, MIRRORS, MODEL_SIZE, N_SLOTS, State

T = TypeVar("T")
Others = Annotated[int, Field(ge=0, lt=N_SLOTS)]  # tracklets beside the one that acts
Side = Annotated[int, Field(ge=32, le=4096)]  # of a picture, in pixels


@config_dataclass
class ClipConfig:
    """What a clip is; the defaults are the published ones."""

    # Length, and height and width of the pictures in pixels.
    frames: Annotated[int, Field(ge=1, le=1000)] = 50
    size: tuple[Side, Side] = MODEL_SIZE
    # The event lies this many frames after the clip's first, both inclusive, unless the half's border is
    # in the way.
    earliest: Count = 15
    latest: Count = 35
    others: Others = 4  # tracklets beside the one that acts; 25 takes all slots
    # Pairs of an epoch, from 0, and the number of others from it on.
    others_from: Annotated[tuple[tuple[Count, Others], ...], Field(max_length=1000)] = ()
    # Beside the clips of events, so many for each half at random places of random halves, most of them
    # without an event: how the public code trains its TAAD + GNN since November 2025.
    random_per_half: Count = 0
    per_class: Positive = 500  # at most so many events of a class in an epoch
    # Frames before and after an event that have its label too.
    dilation: Annotated[int, Field(ge=0, le=100)] = 1
    # Factor by which boxes are grown about their centre.
    grow: Annotated[float, Field(gt=0, le=10)] = 1.125
    # As the public inference has it: boxes are whole pixels and not grown about their centre
    # (`public_boxes`), and a half's last window is filled up with grey pictures.
    public: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.earliest <= self.latest < self.frames:
            raise DataError(
                f"clips of {self.frames} frames: no event can lie {self.earliest} to {self.latest} in"
            )


class Events(NamedTuple):
    """Events to learn from, ``(N,)`` each: the half's number, absolute frame, slot, class."""

    half: np.ndarray
    frame: np.ndarray
    slot: np.ndarray
    cls: np.ndarray


def learnable_events(halves: Sequence[HalfMatch], frames: int, without_box: bool = False) -> Events:
    """Events that can be learned from clips of so many ``frames``, in order of half, frame and slot.

    With ``without_box`` also those of players without a box, who are somewhere on the pitch: for the
    graph model.
    """
    parts = []
    for number, half in enumerate(halves):
        if half.labels is None:
            raise DataError("a challenge half has no labels to learn from", half=half.name)
        if half.n_frames < frames:
            raise DataError(f"{half.n_frames} frames, too short for clips of {frames}", half=half.name)
        at, slots = np.nonzero(((half.labels > 0) & asked_about(half, without_box)).T)
        numbers = np.full(len(at), number)
        parts.append(Events(numbers, at + half.first_frame, slots, half.labels[slots, at].astype(int)))
    events = Events(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    if not len(events.cls):
        names = ", ".join(half.name for half in halves)
        place = "position" if without_box else "box"
        raise DataError(f"{names}: no event whose player has a {place}: nothing to learn from")
    return events


def asked_about(half: HalfMatch, without_box: bool) -> np.ndarray:
    """Bool ``(26, T)``: where a model says what a player does, with a box or with a position at all."""
    visible = half.state[State.VISIBLE] > 0
    if not without_box:
        return visible
    present = np.isfinite(half.state[: State.VISIBLE]).all(axis=0)
    if visible.any() and not (visible & present).any():
        reason = "no positions of the players with a box: the graph model needs them"
        raise DataError(reason, half=half.name)
    return present


def draw_events(cls: np.ndarray, per_class: int, seed: int, epoch: int) -> np.ndarray:
    """Rows of up to ``per_class`` events of each class, none twice, in random order."""
    rng = np.random.default_rng([seed, epoch])
    rows = [rng.permutation(np.flatnonzero(cls == action))[:per_class] for action in ACTIONS]
    return rng.permutation(np.concatenate(rows))


class Clip(NamedTuple):
    """A clip, or, with an axis of B clips in front and tensors for arrays, a batch of them.

    Slots and state are of the match as the warp shows it: mirrored where it flips the picture.
    """

    pixels: np.ndarray | Tensor  # uint8 (T, H, W, 3)
    # Float32 (M, T, 4) x1, y1, x2, y2 in pixels of the clip, grown; NaN where not visible. The first
    # tracklet is the one that acts.
    boxes: np.ndarray | Tensor
    labels: np.ndarray | Tensor  # int8 (M, T) class ids
    slots: np.ndarray | Tensor  # int64 (M,)
    state: np.ndarray | Tensor  # float32 (5, M, T), as in `HalfMatch`
    half: np.integer | Tensor  # its number
    start: np.integer | Tensor  # absolute frame of the first picture
    at: np.integer | Tensor  # the event's place after it
    warp: np.ndarray | Tensor  # float32 (2, 3): where a point (x, y, 1) of the picture goes, in pixels
    colour: np.ndarray | Tensor  # float32 (3, 4): what a colour (r, g, b, 255) becomes


_SAME_PLACE = np.eye(2, 3, dtype=np.float32)
_SAME_COLOUR = np.eye(3, 4, dtype=np.float32)


def in_epoch(epoch: float, changes: Iterable[tuple[int, T]], first: T) -> T:
    """What holds in an epoch: the ``first``, or what the last of the ``changes`` until then says.

    Each is an epoch, counted from 0, and what holds from it on.
    """
    return [first, *(value for start, value in changes if start <= epoch)][-1]


class ClipDataset(Dataset):
    """The clips of one epoch, drawn from the footage, in the order in which they are to be read.

    Without augmentation, for validation, clips are as they are; `at_epoch` gives other epochs' draws.
    """

    def __init__(
        self,
        footage: Sequence[Footage],
        config: ClipConfig,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        epoch: int = 0,
        events: Events | None = None,
    ) -> None:
        self.footage = list(footage)
        self.config = config
        self.augmentation = augmentation
        self.seed, self.epoch = seed, epoch
        self.events = events or learnable_events([f.half for f in self.footage], config.frames)
        self.rows = draw_events(self.events.cls, config.per_class, seed, epoch)
        if config.random_per_half:
            rng = np.random.default_rng([seed, epoch, 1])
            anywhere = np.full(config.random_per_half * len(self.footage), -1)
            self.rows = rng.permutation(np.concatenate([self.rows, anywhere]))
        self.others = in_epoch(epoch, config.others_from, config.others)

    def at_epoch(self, epoch: int) -> "ClipDataset":
        """The same season, drawn anew."""
        return ClipDataset(self.footage, self.config, self.augmentation, self.seed, epoch, self.events)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Clip:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        config, augmentation = self.config, self.augmentation
        number, frame, slot = self._place(int(self.rows[index]), rng)
        half = self.footage[number].half
        start = frame - int(rng.integers(config.earliest, config.latest, endpoint=True))
        start = min(max(start, half.first_frame), half.end_frame - config.frames)
        window = half.window(start, start + config.frames)
        slots = draw_slots(window, slot, self.others, rng)
        grow = rng.uniform(*augmentation.grow, len(slots)) if augmentation else config.grow
        try:
            pixels = video_reader(self.footage[number].video, config.size).clip(start, config.frames)
        except DataError as error:
            raise error.at(half=half.name) from error
        warp = random_warp(augmentation, config.size, rng) if augmentation else _SAME_PLACE
        shown, state = shown_match(window.state, slots, warp)
        return Clip(
            pixels=pixels,
            boxes=window_boxes(window, slots, grow, config.size),
            labels=dilated_labels(half, start, start + config.frames, config.dilation)[slots],
            slots=shown,
            state=state,
            half=np.int64(number),
            start=np.int64(start),
            at=np.int64(frame - start),
            warp=warp,
            colour=random_colour(augmentation, rng) if augmentation else _SAME_COLOUR,
        )

    def _place(self, row: int, rng: np.random.Generator) -> tuple[int, int, int]:
        """Half, frame and slot that a clip is about: an event's, or any of a random clip (row -1)."""
        if row >= 0:
            return int(self.events.half[row]), int(self.events.frame[row]), int(self.events.slot[row])
        number = int(rng.integers(len(self.footage)))
        half = self.footage[number].half
        frame = int(rng.integers(half.first_frame, half.end_frame))
        seen = np.flatnonzero(half.window(frame, frame + 1).state[State.VISIBLE, :, 0] > 0)
        return number, frame, int(rng.choice(seen)) if len(seen) else int(rng.integers(N_SLOTS))


def draw_slots(window: HalfMatch, actor: int, others: int, rng: np.random.Generator) -> np.ndarray:
    """The actor's slot, then ``others`` more: first, at random, those with a box in the window."""
    seen = (window.state[State.VISIBLE] > 0).any(axis=1)
    order = np.lexsort((rng.random(N_SLOTS), ~seen))
    return np.r_[actor, order[order != actor][:others]]


def shown_match(state: np.ndarray, slots: np.ndarray, warp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slots ``(M,)`` and their state ``(5, M, T)`` in the match that a warped picture shows.

    A flipped picture is one of the match, of state ``(5, 26, T)``, mirrored along the pitch: positions
    and velocities change sides, teams their direction, and so players their slots. Tracklets stay in
    their order.
    """
    if np.linalg.det(warp[:, :2]) < 0:
        mirror = MIRRORS["X"]
        state, slots = mirror.state(state), np.asarray(mirror.slots)[slots]
    return slots, state[:, slots]


def window_boxes(
    window: HalfMatch, slots: np.ndarray, grow: float | np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Boxes of the slots ``(M,)`` as the models take them, in training and inference alike.

    ``grow`` is a factor about the box's centre, one or ``(M,)``. The picture's border does not matter: a
    box that crosses it stays centred on its player. The result is float32 ``(M, T, 4)`` x1, y1, x2, y2
    in pixels of pictures of ``size``, height and width; NaN where not visible.
    """
    boxes = window.boxes[slots]  # (M, T, 4)
    corners = boxes.reshape(*boxes.shape[:2], 2, 2) * np.divide(size, MODEL_SIZE)[::-1]
    centre = corners.mean(axis=2, keepdims=True)  # (M, T, 1, 2)
    grown = centre + np.reshape(grow, (-1, 1, 1, 1)) * (corners - centre)
    return grown.reshape(boxes.shape).astype(np.float32)


def public_boxes(window: HalfMatch, grow: float, size: tuple[int, int]) -> np.ndarray:
    """`window_boxes` of all slots as the public inference makes them.

    In whole pixels of the original picture, a box grows by half as much to the left and the top as to
    the right and the bottom, and is cut at the border; then it is rounded down once more.
    """
    full = np.array(FULL_HD[::-1], np.float64)
    # Three decimals: what was stored in float32 as a third of a pixel is whole again.
    corners = (window.boxes.reshape(*window.boxes.shape[:2], 2, 2) * (full / MODEL_SIZE[::-1])).round(3)
    low, extent = corners[..., 0, :], corners[..., 1, :] - corners[..., 0, :]
    with np.errstate(invalid="ignore"):  # where there is no box
        grown = np.stack((low - (grow - 1) * extent // 2, low + grow * extent), axis=-2)
    cut = np.trunc(grown).clip(0, full)
    return np.trunc(cut * size[::-1] / full).reshape(window.boxes.shape).astype(np.float32)


def dilated_labels(half: HalfMatch, start: int, stop: int, dilation: int) -> np.ndarray:
    """Labels ``(26, T)`` of the frames ``start`` to ``stop - 1``, each event's on its neighbours too.

    An event is never covered by another's neighbourhood. Of two as near, the earlier one has the frame.
    """
    low, high = max(start - dilation, half.first_frame), min(stop + dilation, half.end_frame)
    labels = half.window(low, high).labels
    assert labels is not None  # asked for where events are known
    margins = (low - (start - dilation), stop + dilation - high)  # beyond the half, nothing happens
    padded = np.pad(labels, ((0, 0), margins))  # (26, dilation + T + dilation)
    length = stop - start
    result = padded[:, dilation : dilation + length].copy()
    for distance in range(1, dilation + 1):
        for shift in (dilation - distance, dilation + distance):
            near = padded[:, shift : shift + length]
            np.copyto(result, near, where=result == 0)
    return result
