"""Windows of halves for the sequence model: what it reads and what it is to write.

A window comes from a tactical half with its logit volumes (`Recorded`), or from play-by-play alone
(`Detected`): real events of thousands of windows are public while their logits are not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from footpass.events import halves_of
from footpass.files import DataError
from footpass.halves import HalfMatch
from footpass.schema import MIRRORS, N_CLASSES, N_ROLES, N_SLOTS, N_TEAMS, Mirror, State, slot
from footpass.tokens import PAD_FRAME, Window, encode, pad, window_features, windows


class Excerpt(NamedTuple):
    """Some frames of a half; the second but last axis of every array is the slot.

    Attributes
    ----------
    state
        float32 ``(5, 26, T)`` as in `HalfMatch`.
    logits
        ``(9, 26, T)`` each.
    labels
        int8 ``(26, T)``; None where they are not known.
    """

    state: np.ndarray
    logits: tuple[np.ndarray, ...]
    labels: np.ndarray | None


class Source(Protocol):
    """A half to cut windows from."""

    name: str
    first_frame: int
    end_frame: int

    def cut(self, start: int, stop: int) -> Excerpt:
        """The frames ``start`` to ``stop - 1``, absolute."""

    def jersey_at(self, slots: int | np.ndarray, frames: int | np.ndarray) -> np.ndarray:
        """As `HalfMatch.jersey_at`."""


# ---------------------------------------------------------------------------------------------------
# Mirrors


def mirrored(excerpt: Excerpt, mirror: Mirror) -> Excerpt:
    """The same play on the mirrored pitch: positions, velocities, teams and roles change together."""
    state, logits, labels = with_slots(excerpt, mirror.slots)
    state = state.copy()
    for flip, place, speed in (
        (mirror.flip_x, State.X, State.VX),
        (mirror.flip_y, State.Y, State.VY),
    ):
        if flip:
            state[place] = 1 - state[place]
            state[speed] = -state[speed]
    return Excerpt(state, logits, labels)


def with_slots(excerpt: Excerpt, slots: Sequence[int] | np.ndarray) -> Excerpt:
    """The slots in another order: slot i becomes what slot ``slots[i]`` was."""
    order = np.asarray(slots)
    return Excerpt(
        excerpt.state[:, order],
        tuple(volume[:, order] for volume in excerpt.logits),
        None if excerpt.labels is None else excerpt.labels[order],
    )


_SIDES = (None, *MIRRORS.values())


def _any_mirror(excerpt: Excerpt, rng: np.random.Generator) -> Excerpt:
    mirror = _SIDES[rng.integers(len(_SIDES))]
    return excerpt if mirror is None else mirrored(excerpt, mirror)


def _any_players(excerpt: Excerpt, rng: np.random.Generator) -> Excerpt:
    """Players in any order, teams too: where slots are no roles, nothing is to be learned from them."""
    order = [slot(int(team), 1 + rng.permutation(N_ROLES)) for team in rng.permutation(N_TEAMS)]
    return with_slots(excerpt, np.concatenate(order))


_AUGMENTATIONS = {
    "none": lambda excerpt, rng: excerpt,
    "mirrors": _any_mirror,
    "players": _any_players,
}


# ---------------------------------------------------------------------------------------------------
# Halves


class Recorded:
    """A tactical half with the logits of one or two models.

    Parameters
    ----------
    logits
        ``(9, 26, T)`` each, on the frames of the half.

    Raises
    ------
    DataError
        If the logits are not of these frames; from `cut`, if they are not finite.
    """

    def __init__(self, half: HalfMatch, *logits: np.ndarray) -> None:
        self.half, self.logits = half, logits
        self.name, self.first_frame, self.end_frame = half.name, half.first_frame, half.end_frame
        for number, volume in enumerate(logits, 1):
            if volume.shape != (N_CLASSES, N_SLOTS, half.n_frames):
                raise DataError(
                    f"half {half.name}: logit volume {number} of shape {volume.shape} instead of "
                    f"{(N_CLASSES, N_SLOTS, half.n_frames)}: made from other data? make it anew"
                )

    def cut(self, start: int, stop: int) -> Excerpt:
        window = self.half.window(start, stop)
        part = slice(start - self.first_frame, stop - self.first_frame)
        logits = tuple(volume[..., part] for volume in self.logits)
        for number, volume in enumerate(logits, 1):
            if not np.isfinite(volume).all():
                frame = start + int((~np.isfinite(volume)).any(axis=(0, 1)).argmax())
                raise DataError(
                    f"half {self.name}, frame {frame}: logit volume {number} is not finite: "
                    "the model that made it has diverged"
                )
        return Excerpt(window.state, logits, window.labels)

    def jersey_at(self, slots: int | np.ndarray, frames: int | np.ndarray) -> np.ndarray:
        return self.half.jersey_at(slots, frames)


def recorded(halves: Mapping[str, HalfMatch], **logits: Mapping[str, np.ndarray]) -> dict[str, Recorded]:
    """Halves by name, each with the logits of all models.

    Parameters
    ----------
    logits
        Model name -> logits by half, in the order in which they are fused.

    Raises
    ------
    DataError
        Naming the model and the halves that it has no logits of; or as in `Recorded`.
    """
    for model, volumes in logits.items():
        missing = [name for name in halves if name not in volumes]
        if missing:
            raise DataError(f"no {model} logits of {', '.join(missing)}: run its inference there first")
    return {
        name: Recorded(half, *(volumes[name] for volumes in logits.values()))
        for name, half in halves.items()
    }


# A class that nobody detects has logit 0; one detected with a score of `QUIET` has too, but the released
# files have none as low. Peaks are `LOUD` times as high as their logits, since they are alone: the layer
# that reads them starts with weights for hundreds of inputs that differ from 0.
QUIET, LOUD = 0.1, 5.0


class Detected:
    """A half of which only detections are known: each is a peak of one frame in a volume of zeros.

    A player has no role here. The slots of a team are filled in the order in which its players are first
    detected; a player who is detected no more makes room for a later one.

    Parameters
    ----------
    detections
        Prediction tables (`footpass.events`), of this half alone: a logit volume each.
    truth
        Ground truth to learn from.
    """

    def __init__(
        self, name: str, detections: Sequence[pd.DataFrame], truth: pd.DataFrame | None = None
    ) -> None:
        self.name = name
        known = [*detections, *([] if truth is None else [truth])]
        frames = np.concatenate([table["frame"].to_numpy() for table in known] or [[]])
        if not len(frames):
            raise DataError(f"half {name}: no detections and no events")
        self.first_frame, self.end_frame = int(frames.min()), int(frames.max()) + 1
        self.stints = _stints(pd.concat([table[["frame", "team", "jersey"]] for table in known]))
        self._peaks = [self._rows(table) for table in detections]
        self._events = None if truth is None else self._rows(truth)

    def _rows(self, table: pd.DataFrame) -> tuple[np.ndarray, ...]:
        """Frame, slot, class and logit, by frame."""
        table = table.sort_values("frame", kind="stable")
        place = self.stints.set_index(["team", "jersey"])["slot"]
        slots = place.loc[pd.MultiIndex.from_frame(table[["team", "jersey"]])].to_numpy()
        score = table["score"].to_numpy().clip(1e-4, 1 - 1e-4) if "score" in table else QUIET
        logit = LOUD * (np.log(score / (1 - score)) - np.log(QUIET / (1 - QUIET)))
        return (
            table["frame"].to_numpy(),
            slots,
            table["cls"].to_numpy(),
            np.broadcast_to(logit, len(table)),
        )

    def cut(self, start: int, stop: int) -> Excerpt:
        length = stop - start
        state = np.broadcast_to(np.float32(np.nan), (len(State), N_SLOTS, length))
        logits = []
        for rows in self._peaks:
            volume = np.zeros((N_CLASSES, N_SLOTS, length), np.float32)
            frame, slots, cls, logit = _between(rows, start, stop)
            np.maximum.at(volume, (cls, slots, frame - start), logit.astype(np.float32))
            logits.append(volume)
        labels = None
        if self._events is not None:
            labels = np.zeros((N_SLOTS, length), np.int8)
            frame, slots, cls, _ = _between(self._events, start, stop)
            labels[slots, frame - start] = cls
        return Excerpt(state, tuple(logits), labels)

    def jersey_at(self, slots: int | np.ndarray, frames: int | np.ndarray) -> np.ndarray:
        slots, frames = np.broadcast_arrays(slots, frames)
        found = np.full(slots.shape, -1, np.int16)
        for one, stints in self.stints.groupby("slot"):
            asked = slots == one
            begun = np.searchsorted(stints["start"].to_numpy(), frames[asked], side="right") - 1
            found[asked] = stints["jersey"].to_numpy()[np.maximum(begun, 0)]
        return found


def _between(rows: tuple[np.ndarray, ...], start: int, stop: int) -> tuple[np.ndarray, ...]:
    part = slice(*np.searchsorted(rows[0], (start, stop)))
    return tuple(column[part] for column in rows)


def _stints(seen: pd.DataFrame) -> pd.DataFrame:
    """Rows ``team, jersey, slot, start, stop`` of a half's players, by their first frame."""
    spans = seen.groupby(["team", "jersey"])["frame"].agg(["min", "max"]).reset_index()
    spans = spans.sort_values(["min", "team", "jersey"], ignore_index=True)
    free = np.full((N_TEAMS, N_ROLES), -1)  # last frame of whoever had the slot
    slots = []
    for row in spans.itertuples():
        role = int(free[row.team].argmin())
        free[row.team, role] = row.max
        slots.append(slot(row.team, role + 1))
    return spans.assign(slot=slots).rename(columns={"min": "start", "max": "stop"})


def detected(
    detections: Sequence[pd.DataFrame], truth: pd.DataFrame | None = None
) -> dict[str, Detected]:
    """Halves by name, from play-by-play alone: those of ``truth``, else of the first detections.

    Raises
    ------
    DataError
        Naming the halves that some detections lack.
    """
    names = halves_of(detections[0] if truth is None else truth)
    for number, table in enumerate(detections, 1):
        missing = [name for name in names if name not in halves_of(table)]
        if missing:
            raise DataError(f"detections {number} have no half {', '.join(missing)}")
    tables = [dict(list(table.groupby("half", observed=False))) for table in detections]
    events = {} if truth is None else dict(list(truth.groupby("half", observed=False)))
    return {name: Detected(name, [table[name] for table in tables], events.get(name)) for name in names}


# ---------------------------------------------------------------------------------------------------
# Data sets


@dataclass(frozen=True)
class WindowConfig:
    """What a window is; the defaults are the published ones.

    Attributes
    ----------
    span
        Frames; as of the model.
    per_half
        Windows drawn from a half in an epoch.
    augment
        ``"mirrors"``: none, X, Y or XY; ``"players"``: slots in any order, for `Detected` halves.
    sparse
        Leave out frames in which no logit differs from 0, but the last: for `Detected` halves, most.
    """

    span: int = 750
    per_half: int = 1000
    augment: Literal["none", "mirrors", "players"] = "mirrors"
    sparse: bool = False

    def __post_init__(self) -> None:
        if self.span < 1 or self.per_half < 1 or self.augment not in _AUGMENTATIONS:
            raise DataError(f"not a choice of windows: {self}")


class Sample(NamedTuple):
    """A window, or, with an axis of B windows in front and tensors for arrays, a batch.

    Attributes
    ----------
    features
        float32 ``(T, inputs)`` as of `tokens.window_features`.
    frames
        int64 ``(T,)`` numbers of the frames, from 1; `tokens.PAD_FRAME` where there is none.
    tokens
        int64 ``(L, 3)``, SOS to EOS; in a batch then `schema.PAD`.
    """

    features: np.ndarray | Tensor
    frames: np.ndarray | Tensor
    tokens: np.ndarray | Tensor


class WindowDataset(Dataset):
    """Windows at random places: what they are depends on seed, epoch and index alone.

    Raises
    ------
    DataError
        If a half is shorter than a window or, from reading, has no labels.
    """

    def __init__(
        self, halves: Mapping[str, Source], config: WindowConfig, seed: int = 0, epoch: int = 0
    ) -> None:
        self.halves, self.config, self.seed, self.epoch = list(halves.values()), config, seed, epoch
        for half in self.halves:
            if half.end_frame - half.first_frame < config.span:
                raise DataError(
                    f"half {half.name}: {half.end_frame - half.first_frame} frames, too short for "
                    f"windows of {config.span}"
                )
        rng = np.random.default_rng([seed, epoch])
        self.order = rng.permutation(np.repeat(np.arange(len(self.halves)), config.per_half))

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        half = self.halves[self.order[index]]
        start = int(rng.integers(half.first_frame, half.end_frame - self.config.span, endpoint=True))
        excerpt = half.cut(start, start + self.config.span)
        if excerpt.labels is None:
            raise DataError(f"half {half.name}: no labels to learn from")
        return sample(_AUGMENTATIONS[self.config.augment](excerpt, rng), self.config)


class FixedWindows(Dataset):
    """All frames of some halves in windows as of `tokens.windows`: for validation and inference.

    Attributes
    ----------
    places
        Half and window of each item.
    """

    def __init__(
        self, halves: Mapping[str, Source], config: WindowConfig, stride: int | None = None
    ) -> None:
        self.config = config
        self.places: list[tuple[Source, Window]] = [
            (half, window)
            for half in halves.values()
            for window in windows(half.first_frame, half.end_frame, config.span, stride or config.span)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Sample:
        half, window = self.places[index]
        return sample(half.cut(window.start, window.stop), self.config)


def sample(excerpt: Excerpt, config: WindowConfig) -> Sample:
    """What the model reads and writes of an excerpt that begins where its window does.

    Without labels there are no tokens but SOS and EOS.
    """
    state, logits, labels = excerpt
    frames = np.arange(1, state.shape[-1] + 1)
    events = np.zeros((0, 3), np.int64)
    if labels is not None:
        frame, slots = np.nonzero(labels.T)
        events = np.stack([frame, slots, labels[slots, frame]], axis=1)  # (N, 3)
    if np.isnan(state[State.X]).all():
        # Nothing is known of anybody: 130 times `tokens.MISSING` would only drown the logits.
        state = np.zeros_like(state)
    if config.sparse:
        said = np.any([volume.any(axis=(0, 1)) for volume in logits], axis=0)  # (T,)
        said[-1] = True  # where the window ends; and attention needs something to look at
        kept = np.flatnonzero(said)
        state, frames = state[..., kept], frames[kept]
        logits = tuple(volume[..., kept] for volume in logits)
    return Sample(window_features(state, *logits), frames, encode(events, 0, config.span))


def grouped(
    samples: Sequence[Sample], batch: int, seed: Sequence[int], groups: int = 12
) -> list[Sample]:
    """Samples in an order in which those of a batch are about equally long, so that little is padding.

    Parameters
    ----------
    groups
        Batches that are sorted together; the samples of a batch come from so many.
    """
    order = []
    for start in range(0, len(samples), batch * groups):
        part = range(start, min(start + batch * groups, len(samples)))
        by_length = sorted(part, key=lambda i: len(samples[i].frames) + len(samples[i].tokens))
        order += [by_length[i : i + batch] for i in range(0, len(part), batch)]
    # Only whole batches change places: the last one may be short.
    shuffled = [order[i] for i in np.random.default_rng(seed).permutation(len(order) - 1)]
    return [samples[i] for rows in (*shuffled, order[-1]) for i in rows]


def collate(samples: Sequence[Sample]) -> Sample:
    """Samples as one batch, filled up to the longest."""
    length = max(len(one.frames) for one in samples)
    features = np.zeros((len(samples), length, samples[0].features.shape[1]), np.float32)
    frames = np.full((len(samples), length), PAD_FRAME)
    for i, one in enumerate(samples):
        features[i, : len(one.frames)] = one.features
        frames[i, : len(one.frames)] = one.frames
    tokens = pad([np.asarray(one.tokens) for one in samples])
    return Sample(*map(torch.from_numpy, (features, frames, tokens)))
