"""Tracks: what every reader gives, one row per track and moment; what is checked and mended there."""

import logging
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from footpass.files import DataError
from footpass.schema import FPS, FULL_HD, PITCH

log = logging.getLogger(__name__)
PLAYER, GOALKEEPER, OTHER = 0, 1, 2  # values of column `keeper`; who is OTHER does not play
UNKNOWN = -1  # team or jersey
# What reading an entry raises that is of another form than it should be.
MISSHAPEN = (AttributeError, KeyError, OverflowError, TypeError, ValueError)

# Small types: a half is 1.5 million rows.
COLUMNS = {
    "frame": np.float64,  # since the start of the recording, at its own rate
    "track": np.int64,
    "team": np.int8,  # 0, 1 or UNKNOWN
    "jersey": np.int16,  # or UNKNOWN
    "keeper": np.int8,
    "x": np.float32,  # pitch, 0..1 like the tactical data; NaN where unknown
    "y": np.float32,
    "box_x": np.float32,  # top-left corner and size, pixels; NaN without a box
    "box_y": np.float32,
    "box_w": np.float32,
    "box_h": np.float32,
}
POSITION = ["x", "y"]
BOX = ["box_x", "box_y", "box_w", "box_h"]
_BESIDE = 5.0  # metres off the pitch beyond which a position is a calibration that failed
_SIZES = ((352, 640), (720, 1280), (1080, 1920), (1440, 2560), (2160, 3840))
_HELD = 0.6  # seconds without a sample that are bridged when the rate is changed
_STRIDE = 5  # frames over which a speed is told
_TOO_FAST = 20.0  # m/s; twice that of a sprint, for positions may be off by a metre or two
_LONGEST = 4 * 3600  # seconds of a recording: a number beyond is no frame's, and would fill the memory
UNNAMED = ("", "nan", "none", "null", "unknown", "<na>", "-1")  # words for no team and no number


@dataclass(frozen=True, eq=False)
class TrackedHalf:
    """One half, or a clip of it, as a tracker or a provider saw it."""

    source: str  # named in errors and in the report
    table: pd.DataFrame  # columns as in `COLUMNS`
    fps: float | None = float(FPS)  # frames a second of table["frame"]; None where it is not said
    # Height and width of the picture the boxes refer to; None where there are no boxes.
    picture: tuple[int, int] | None = None
    half: int | None = None  # number of the half, where the source says it
    sides_known: bool = False  # whether team 0 is known to attack from the left
    # Whether each track is one player for certain, as a provider's are, and nothing is to be voted on.
    trusted: bool = False
    # Where a line-up was given: track -> the position's name there.
    positions: Mapping[int, str] = field(default_factory=dict)
    teams: tuple[str, str] = ("left", "right")  # what the file calls them; "" for one it never shows
    notes: tuple[str, ...] = ()  # doubts and decisions so far, for the report

    def noting(self, *notes: str, **changes: object) -> "TrackedHalf":
        """The same with more notes, and with other fields where given."""
        return replace(self, notes=(*self.notes, *notes), **changes)  # type: ignore[arg-type]


class Rows:
    """Collects rows in a few bytes each, so that long files can be streamed."""

    def __init__(self) -> None:
        kinds = {name: np.dtype(kind).char for name, kind in COLUMNS.items()}
        self._columns: dict[str, array] = {
            name: array({"l": "q"}.get(kind, kind)) for name, kind in kinds.items()
        }
        self._append = [column.append for column in self._columns.values()]

    def add(self, *values: float) -> None:
        """Add a row, values in the order of `COLUMNS`."""
        for append, value in zip(self._append, values, strict=True):
            append(value)

    def __len__(self) -> int:
        return len(self._columns["frame"])

    def table(self) -> pd.DataFrame:
        """The rows so far."""
        return pd.DataFrame({name: np.asarray(column) for name, column in self._columns.items()})


def pitch_fractions(xy: np.ndarray, where: str) -> tuple[np.ndarray, str]:
    """Positions 0..1 of positions in metres, and what their origin was taken to be.

    Files count from the centre spot or from a corner; from the centre, about half of all are negative.
    """
    known = xy[np.isfinite(xy).all(axis=1)]
    if len(known) > 2 and (np.abs(known) <= 1.5).all() and np.ptp(known, axis=0).max() > 0.2:
        raise DataError(f"{where}: all positions are within 0..1: in metres, please (times 105 and 68)")
    from_centre = len(known) == 0 or (known < -_BESIDE).any(axis=1).mean() > 0.1
    origin = "the centre spot" if from_centre else "a corner"
    shift = 0.5 if from_centre else 0.0
    return xy / np.array(PITCH) + shift, f"positions are taken to be in metres from {origin}"


def named(values: pd.Series) -> pd.Series:
    """A column as text, nothing where it is a word for no team and no number."""
    text = values.astype("string").str.strip().str.removesuffix(".0")  # whole numbers beside empty cells
    return text.mask(text.str.lower().isin(UNNAMED))


def jersey_number(value: object) -> int:
    """The number that a file has for a shirt, or `UNKNOWN`; a `ValueError` if it is none."""
    if str(value).strip().lower() in UNNAMED:
        return UNKNOWN
    number = float(value)  # type: ignore[arg-type]
    if not 0 <= number <= 99 or number % 1:
        raise ValueError(f"jersey {value} is not within 0..99")
    return int(number)


def numbered_teams(names: pd.Series, where: str) -> tuple[np.ndarray, tuple[str, str]]:
    """0, 1 or `UNKNOWN` for the teams of a column of names, and the two names in order."""
    text = named(names)
    lower = text.str.lower()
    sides = ["left", "right"]
    if lower.dropna().isin(sides).all():
        text, found = lower, sides
    else:
        found = sorted(text.dropna().unique().tolist())
    if len(found) > 2:
        raise DataError(f"{where}: {len(found)} teams instead of two: {', '.join(found[:5])}")
    codes = text.map({name: code for code, name in enumerate(found)})
    return codes.fillna(UNKNOWN).to_numpy(np.int8), (found[0], found[1] if len(found) > 1 else "")


def of_one_match(parts: Sequence[TrackedHalf]) -> list[TrackedHalf]:
    """Parts whose teams have the same numbers: a clip may show one team alone."""
    if len({part.teams for part in parts}) == 1:
        return list(parts)
    named_in = [part for part in parts if (part.table["team"] != UNKNOWN).any()]
    names = list(dict.fromkeys(name for part in named_in for name in part.teams if name))
    if len(names) > 2:
        where = " ".join(part.source for part in named_in)
        raise DataError(f"{where}: {len(names)} teams instead of two: {', '.join(names[:5])}")
    first, second = (*names, "", "")[:2]
    same = []
    for part in parts:
        table = part.table
        if part in named_in and names.index(part.teams[0]) == 1:
            team = table["team"]
            table = table.assign(team=team.where(team < 0, 1 - team).astype(np.int8))
        same.append(part.noting(table=table, teams=(first, second)))
    return same


def check_span(source: str, first: float, last: float) -> None:
    """Refuse frames, 25 a second, that no recording has."""
    if not 0 <= first <= last < 2**24:  # float32 counts no further
        raise DataError(f"{source}: frames {first:.10g} to {last:.10g} are not within 0..{2**24 - 1}")
    if last - first > _LONGEST * FPS:
        hours = (last - first) / FPS / 3600
        raise DataError(f"{source}: frames {first:.10g} to {last:.10g} are {hours:.3g} hours, too long")


def cleaned(half: TrackedHalf) -> TrackedHalf:
    """A half without referees, ball, boxes without area and positions far off the pitch."""
    table, notes = half.table, []
    n_other = int((table["keeper"] == OTHER).sum())
    if n_other:
        table = table[table["keeper"] != OTHER]
        notes.append(f"{n_other:,} rows of referees, ball and others left out")
    margin = _BESIDE / np.array(PITCH)
    xy, boxes = table[POSITION].to_numpy(), table[BOX].to_numpy()
    far = ((xy < -margin) | (xy > 1 + margin)).any(axis=1)
    flat = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] <= 0).any(axis=1)
    xy = np.where(far[:, None] | ~np.isfinite(xy).all(axis=1)[:, None], np.nan, xy)
    table = table.assign(**dict(zip(POSITION, xy.T, strict=True)))
    table = table.assign(**dict(zip(BOX, np.where(flat[:, None], np.nan, boxes).T, strict=True)))
    empty = flat & np.isnan(xy[:, 0])
    table = table[~empty].sort_values(["track", "frame"], kind="stable", ignore_index=True)
    twice = table.duplicated(["track", "frame"])
    table = table[~twice].reset_index(drop=True)
    if far.any():
        notes.append(f"{far.sum():,} positions more than {_BESIDE:.0f} m off the pitch left out")
    if empty.any():
        notes.append(f"{empty.sum():,} rows with neither box nor position left out")
    if twice.any():
        notes.append(f"{twice.sum():,} rows for a track and frame that has one already left out")
    if not len(table):
        off = (
            f"; {far.sum():,} positions are more than {_BESIDE:.0f} m off the pitch" if far.any() else ""
        )
        raise DataError(f"{half.source}: no player with a box or a position in it{off}")
    if table["frame"].min() < 0:
        raise DataError(f"{half.source}: frame {table['frame'].min():g} is negative")
    if table["frame"].isna().any():
        raise DataError(f"{half.source}: {table['frame'].isna().sum():,} rows without a frame")
    check_span(half.source, *(table["frame"].agg(["min", "max"]) * (FPS / rate_of(half))))
    wrong = table["jersey"][~table["jersey"].between(UNKNOWN, 99)]
    if len(wrong):
        raise DataError(f"{half.source}: jersey {wrong.iloc[0]} is not within 0..99")
    return half.noting(*notes, table=table)


def rate_of(half: TrackedHalf) -> float:
    """Frames a second of a half's tracks: 25 where nobody says."""
    fps = float(FPS) if half.fps is None else half.fps
    if not 0 < fps < 1000:
        raise DataError(f"{half.source}: {fps:g} is not a number of frames a second")
    return fps


def with_picture(half: TrackedHalf, told: tuple[int, int] | None) -> TrackedHalf:
    """Boxes in the pixels of the official picture (`FULL_HD`).

    A size that was declared and that boxes go beyond is wrong; then it is the smallest usual size that
    holds them.
    """
    boxes = half.table[BOX].to_numpy()
    if np.isnan(boxes[:, 0]).all():
        return half.noting("no boxes: nobody counts as visible", picture=None)
    # Boxes of players at the edge may stick out a little.
    right, bottom = np.nanpercentile(boxes[:, :2] + boxes[:, 2:], 99.9, axis=0)
    if max(right, bottom) <= 2:
        raise DataError(f"{half.source}: all boxes are within 0..1: in pixels, please")
    size, notes = told or half.picture, []
    if told is None and (size is None or right > 1.03 * size[1] or bottom > 1.03 * size[0]):
        fitting = [(h, w) for h, w in _SIZES if right <= 1.03 * w and bottom <= 1.03 * h]
        guess = fitting[0] if fitting else (round(float(bottom)), round(float(right)))
        said = f"declared as {size[1]}x{size[0]}, but boxes go beyond" if size else "not declared"
        notes.append(f"picture size {said}: taken as {guess[1]}x{guess[0]} (tell it with --picture)")
        size = guess
    assert size is not None
    scale = np.tile(np.divide(FULL_HD, size)[::-1], 2).astype(np.float32)
    boxes = boxes * scale
    boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    boxes = np.clip(boxes, 0, np.tile(FULL_HD[::-1], 2))
    boxes[:, 2:] -= boxes[:, :2]
    outside = (boxes[:, 2:] <= 0).any(axis=1)
    if outside.any():
        notes.append(f"{outside.sum():,} boxes outside the picture left out")
        boxes[outside] = np.nan
    table = half.table.assign(**dict(zip(BOX, boxes.T, strict=True)))
    return half.noting(*notes, table=table, picture=FULL_HD)


def oriented(half: TrackedHalf) -> TrackedHalf:
    """Positions that grow like the picture: x to the right, y towards the camera.

    Files disagree on the sign of y, and a camera on the other side turns both. Where boxes and positions
    are known, the picture itself decides: who stands further down in it is nearer.
    """
    table = half.table.dropna(subset=["x", "box_x"])
    if len(table) < 100:
        return half
    notes, flipped = [], half.table
    down = table["box_y"] + table["box_h"]
    right = table["box_x"] + table["box_w"] / 2
    for name, pixels in (("x", right), ("y", down)):
        # Within a frame, so that a camera that pans does not count.
        both = pd.DataFrame({"a": table[name], "b": pixels})
        both -= both.groupby(table["frame"]).transform("mean")
        agreement = float((both["a"] * both["b"]).mean() / max(both.std().prod(), 1e-9))
        if agreement < -0.3:
            flipped = flipped.assign(**{name: (1 - flipped[name]).astype(np.float32)})
            notes.append(f"{name} runs against the picture (correlation {agreement:.2f}): turned round")
    return half.noting(*notes, table=flipped)


def at_25_fps(half: TrackedHalf) -> TrackedHalf:
    """A half with one row per track and 25th of a second, between samples on a straight line."""
    table, fps = half.table, rate_of(half)
    if fps == FPS and (table["frame"] == np.floor(table["frame"])).all():
        return half
    time = table["frame"].to_numpy() * FPS / fps
    reach = max(_HELD * FPS, 1.5 * FPS / fps)
    track = table["track"].to_numpy()
    joined = (np.diff(track) == 0) & (np.diff(time) <= reach)
    stretch = np.concatenate([[0], np.cumsum(~joined)])
    bounds = np.flatnonzero(np.diff(stretch, prepend=-1, append=stretch[-1] + 1))
    # Frames of all stretches, and the sample before each.
    low, high = np.ceil(time[bounds[:-1]] - 1e-6), np.floor(time[bounds[1:] - 1] + 1e-6)
    count = np.maximum(high - low + 1, 0).astype(int)
    of = np.repeat(np.arange(len(count)), count)
    frames = low[of] + np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
    span = time.max() + 1
    before = np.searchsorted(time + stretch * span, frames + 1e-6 + of * span, side="right") - 1
    before = np.clip(before, bounds[:-1][of], bounds[1:][of] - 1)
    after = np.minimum(before + 1, bounds[1:][of] - 1)
    share = (frames - time[before]) / np.maximum(time[after] - time[before], 1e-9)
    share = np.clip(share, 0, 1).astype(np.float32)[:, None]
    nearest = np.where(share[:, 0] > 0.5, after, before)
    made = table.iloc[nearest].reset_index(drop=True)
    values = table[POSITION + BOX].to_numpy()
    mixed = values[before] * (1 - share) + values[after] * share
    made[POSITION + BOX] = np.where(share == 0, values[before], mixed)
    made["frame"] = frames
    note = f"{fps:g} frames a second resampled to {FPS}"
    return half.noting(note, table=made, fps=float(FPS))


def doubted(half: TrackedHalf) -> TrackedHalf:
    """A half with 25 frames a second; it is said loudly if its players are faster than anybody."""
    table, later = half.table, half.table.shift(-_STRIDE)
    same = (later["track"] == table["track"]) & (later["frame"] == table["frame"] + _STRIDE)
    metres = np.linalg.norm((later[POSITION] - table[POSITION])[same].to_numpy() * PITCH, axis=1)
    speeds = metres[np.isfinite(metres)] * FPS / _STRIDE
    if len(speeds) == 0 or np.median(speeds) <= _TOO_FAST:
        return half
    doubt = f"half of the time players move faster than {np.median(speeds):.0f} m/s"
    doubt += ": is the frame rate, or the unit of frames or positions, another?"
    log.warning("%s: %s", half.source, doubt)
    return half.noting(doubt)
