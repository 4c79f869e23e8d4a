"""Windows of halves for the sequence model: what it reads and what it is to write.

A window comes from a tactical half with its logit volumes (`Recorded`), or from play-by-play alone
(`Detected`): real events of thousands of windows are public while their logits are not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from footpass.configs import Count, Positive, config_dataclass
from footpass.files import DataError
from footpass.models.transformer import WindowLength
from footpass.schema import MIRRORS, N_ROLES, N_TEAMS, PAD, PAD_FRAME, State, slot
from footpass.sequence.sources import Excerpt, Source, mirrored, with_slots
from footpass.sequence.tokens import encode, window_features


@dataclass(frozen=True)
class Window:
    """Frames ``start`` to ``stop - 1``, of which it answers for ``own_start`` to ``own_stop - 1``."""

    start: int
    stop: int
    own_start: int
    own_stop: int


def windows(first: int, stop: int, length: int, stride: int) -> list[Window]:
    """Windows of ``length`` frames that cover the frames ``first`` to ``stop - 1``.

    Each frame is owned by one window: where two overlap, by the one whose border is farther away. So an
    event near a border is taken from where it is seen whole, and none is lost or counted twice. The
    last window is moved back to be as long as the others; only a half shorter than ``length`` gives a
    short one.
    """
    if not first < stop:
        raise DataError(f"no windows: frames {first} to {stop - 1} are none")
    if not 1 <= stride <= length:
        raise DataError(f"window stride {stride} is not within 1..{length} (the window's length)")
    last = max(first, stop - length)
    starts = [*range(first, last, stride), last]
    borders = [(a + length + b) // 2 for a, b in pairwise(starts)]
    owned = zip([first, *borders], [*borders, stop], strict=True)
    return [
        Window(start, min(start + length, stop), *own) for start, own in zip(starts, owned, strict=True)
    ]


_SIDES = (None, *MIRRORS.values())


def _augmented(excerpt: Excerpt, how: str, rng: np.random.Generator) -> Excerpt:
    """The same play, as of `WindowConfig.augment`."""
    if how == "mirrors":
        mirror = _SIDES[rng.integers(len(_SIDES))]
        return excerpt if mirror is None else mirrored(excerpt, mirror)
    if how == "players":  # where slots are no roles, nothing is to be learned from their order
        order = [slot(int(team), 1 + rng.permutation(N_ROLES)) for team in rng.permutation(N_TEAMS)]
        return with_slots(excerpt, np.concatenate(order))
    return excerpt


@config_dataclass
class WindowConfig:
    """What a window is; the defaults are the published ones."""

    window_length: WindowLength = 750  # frames; as of the model
    per_half: Positive = 1000  # windows drawn from a half in an epoch
    # "mirrors": none, X, Y or XY; "players": slots in any order, for `Detected` halves.
    augment: Literal["none", "mirrors", "players"] = "mirrors"
    # Leave out frames in which no logit differs from 0, but the last: for `Detected` halves, most.
    sparse: bool = False
    # In the first so many epochs, windows have fewer frames, which lie anywhere in a whole one: what a
    # decoder has to look for, the next event after the last, is found sooner among few frames.
    short_epochs: Count = 0
    short_length: Positive = 75

    def __post_init__(self) -> None:
        if self.short_epochs and self.short_length > self.window_length:
            reason = f"short_length {self.short_length} is over window_length {self.window_length}"
            raise DataError(f"WindowConfig: {reason}")


class Sample(NamedTuple):
    """A window, or, with an axis of B windows in front and tensors for arrays, a batch."""

    features: np.ndarray | Tensor  # float32 (T, inputs) as of `tokens.window_features`
    # Int64 (T,) numbers of the frames, from 1; `schema.PAD_FRAME` where there is none.
    frames: np.ndarray | Tensor
    tokens: np.ndarray | Tensor  # int64 (L, 3), SOS to EOS; in a batch then `schema.PAD`


class WindowDataset(Dataset):
    """Windows at random places: what they are depends on seed, epoch and index alone."""

    def __init__(
        self, halves: Mapping[str, Source], config: WindowConfig, seed: int = 0, epoch: int = 0
    ) -> None:
        self.halves, self.config, self.seed, self.epoch = list(halves.values()), config, seed, epoch
        short = epoch < config.short_epochs
        self.length = config.short_length if short else config.window_length
        for half in self.halves:
            frames = half.end_frame - half.first_frame
            if frames < config.window_length:
                reason = f"{frames} frames, too short for windows of {config.window_length}"
                raise DataError(reason, half=half.name)
        rng = np.random.default_rng([seed, epoch])
        self.order = rng.permutation(np.repeat(np.arange(len(self.halves)), config.per_half))

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        half = self.halves[self.order[index]]
        start = int(rng.integers(half.first_frame, half.end_frame - self.length, endpoint=True))
        excerpt = half.cut(start, start + self.length)
        if excerpt.labels is None:
            raise DataError("no labels to learn from", half=half.name)
        excerpt = _augmented(excerpt, self.config.augment, rng)
        before = int(rng.integers(self.config.window_length - self.length, endpoint=True))
        return sample(excerpt, self.config, before)


class FixedWindows(Dataset):
    """All frames of some halves in windows as of `windows`: for validation and inference."""

    def __init__(
        self, halves: Mapping[str, Source], config: WindowConfig, stride: int | None = None
    ) -> None:
        self.config, length = config, config.window_length
        self.places: list[tuple[Source, Window]] = [  # half and window of each item
            (half, window)
            for half in halves.values()
            for window in windows(half.first_frame, half.end_frame, length, stride or length)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Sample:
        half, window = self.places[index]
        return sample(half.cut(window.start, window.stop), self.config)


def sample(excerpt: Excerpt, config: WindowConfig, before: int = 0) -> Sample:
    """What the model reads and writes of an excerpt that begins ``before`` frames after its window.

    Without labels there are no tokens but SOS and EOS.
    """
    state, logits, labels = excerpt
    frames = np.arange(1, state.shape[-1] + 1) + before
    events = np.zeros((0, 3), np.int64)
    if labels is not None:
        frame, slots = np.nonzero(labels.T)
        events = np.stack([frame, slots, labels[slots, frame]], axis=1)  # (N, 3)
    if np.isnan(state[State.X]).all():
        # Nothing is known of anybody: 130 times `schema.MISSING` would only drown the logits.
        state = np.zeros_like(state)
    if config.sparse:
        said = np.any([volume.any(axis=(0, 1)) for volume in logits], axis=0)  # (T,)
        said[-1] = True  # where the window ends; and attention needs something to look at
        kept = np.flatnonzero(said)
        state, frames = state[..., kept], frames[kept]
        logits = tuple(volume[..., kept] for volume in logits)
    return Sample(window_features(state, *logits), frames, encode(events, -before, config.window_length))


def grouped(
    samples: Sequence[Sample], batch: int, seed: Sequence[int], groups: int = 12
) -> list[Sample]:
    """Samples in an order in which those of a batch are about equally long, so that little is padding.

    So many ``groups`` of samples, a batch each, are sorted together, and a batch's samples come from
    them.
    """
    count = ceil(len(samples) / batch)  # cut as `training.loop.micro_batches` does: the first are longer
    places = np.array_split(np.arange(len(samples)), count)
    order: list[int] = []
    for start in range(0, count, groups):
        some = np.concatenate(places[start : start + groups])
        order += sorted(some, key=lambda i: len(samples[i].frames) + len(samples[i].tokens))
    batches = np.array_split(order, count)
    shuffled = [batches[i] for i in np.random.default_rng(seed).permutation(count - 1)]
    longer_first = sorted([*shuffled, batches[-1]], key=len, reverse=True)
    return [samples[i] for rows in longer_first for i in rows]


def collate(samples: Sequence[Sample]) -> Sample:
    """Samples as one batch, filled up to the longest."""
    each = zip(zip(*samples, strict=True), (0.0, PAD_FRAME, PAD), strict=True)
    return Sample(*(pad_sequence([*map(torch.as_tensor, part)], True, fill) for part, fill in each))
