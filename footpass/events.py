"""Event tables: read, validate and write play-by-play files and submissions.

An event table is a DataFrame with one row per event: ``half, frame, team, jersey, cls``, then
``box_visible, replay`` for ground truth or ``score`` for predictions. Rows keep the order of the
file, since ties in score are broken by it. ``half`` is categorical and its categories are *all*
halves of the file, so that a half without events is not lost.
"""

import codecs
import gc
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pandas as pd
from pydantic_core import from_json

from footpass.files import DataError, atomic_write, tolerate
from footpass.schema import ACTIONS, EVENT_COLUMNS, GROUND_TRUTH_COLUMNS, PREDICTION_COLUMNS, RANGES

HALF_NAME = re.compile(r"([^/\\\x00-\x1f\ud800-\udfff]+)_H[0-9]{1,9}")  # the name of a file too


def match_of(half: str) -> str:
    """Match a half belongs to: ``match_of("game_18_H2") == "game_18"``."""
    return half.rpartition("_H")[0]


def halves_of(table: pd.DataFrame) -> list[str]:
    """Names of all halves of a table, those without events included."""
    return list(table["half"].cat.categories)


def select_halves(table: pd.DataFrame, halves: Iterable[str]) -> pd.DataFrame:
    """Rows of some halves; the result knows of these halves only."""
    halves = list(halves)
    rows = table[table["half"].isin(halves)].reset_index(drop=True)
    return rows.assign(half=rows["half"].cat.set_categories(halves))


def concat(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables one below the other, with the halves of all of them."""
    tables = list(tables)
    halves = list(dict.fromkeys(half for table in tables for half in halves_of(table)))
    widened = [table.assign(half=table["half"].cat.set_categories(halves)) for table in tables]
    return pd.concat(widened, ignore_index=True)


def class_counts(table: pd.DataFrame) -> np.ndarray:
    """``(8,)``: events per class, in the order of `schema.ACTIONS`."""
    return np.bincount(table["cls"], minlength=max(ACTIONS) + 1)[min(ACTIONS) :]


def read_ground_truth(path: str | Path) -> pd.DataFrame:
    """Read a ground-truth file, rows ``[frame, team, jersey, class, box_visible, replay]``.

    Frames are absolute in the match's video.
    """
    return _read(path, GROUND_TRUTH_COLUMNS)


def read_predictions(path: str | Path) -> pd.DataFrame:
    """Read a prediction file, rows ``[frame, team, jersey, class, score]``, scores from 0 to 1."""
    return _read(path, PREDICTION_COLUMNS)


def read_events(path: str | Path) -> pd.DataFrame:
    """Read ground truth or predictions, whichever a file holds."""
    return _read(path, None)


def write_events(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table in the official layout, atomically; reading it gives the table back."""
    content = _official(table, path)
    with atomic_write(path) as stream:
        stream.write(json.dumps(content, allow_nan=False))


def write_submission(table: pd.DataFrame, path: str | Path, layout: str = "official") -> None:
    """Write predictions as a zip with one ``predictions.json`` inside, atomically.

    The official layout is ``{"keys": [...], "events": {half: rows}}``, as of the released files; the
    flat one is the bare ``{half: rows}``, which another public entry submitted.
    """
    if layout not in ("official", "flat"):
        raise DataError(f"layout {layout!r} is neither 'official' nor 'flat'")
    if "score" not in table:
        raise DataError("a submission needs predictions, with a score", path)
    content = _official(table, path)
    with atomic_write(path, "wb") as stream, ZipFile(stream, "w", ZIP_DEFLATED) as archive:
        # A fixed date: the same predictions give the same file.
        entry = ZipInfo("predictions.json", date_time=(1980, 1, 1, 0, 0, 0))
        entry.compress_type = ZIP_DEFLATED
        archive.writestr(entry, json.dumps(content if layout == "official" else content["events"]))


_NAMES = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*:')  # of anything in an object


def load_json(path: str | Path) -> object:
    """Read JSON with no name twice in an object; NaN and infinity too: whoever asks can say where."""
    try:
        text = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
        names = _NAMES.findall(text)
        if len(names) == len(set(names)) and not any(b"\\" in name for name in names):
            with suppress(ValueError):  # json says it better
                return from_json(text, allow_inf_nan=True)
        return json.loads(text.decode(), object_pairs_hook=_unique_names)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path) from error
    except RecursionError:
        raise DataError("not JSON: nested too deeply", path) from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError among them
        raise DataError(f"not JSON: {error}", path) from error


def _unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} occurs twice")
    return content


def restarts(spans: Mapping[str, tuple[int, int]]) -> list[tuple[str, str]]:
    """Halves that begin before the one before them ends, and why; ``spans``: first and last frames."""
    found = []
    for half, (first, _) in spans.items():
        match, _, number = half.rpartition("_H")
        before = f"{match}_H{int(number) - 1}"
        if before in spans and first <= spans[before][1]:
            reason = f"begins at frame {first}, before {before} ends at {spans[before][1]}"
            found.append((half, f"{reason}: counted from its own start instead of the video's?"))
    return found


@contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no garbage amid a million new lists that are none: it takes longer than to read them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_uncollected()
def read_with_notes(
    path: str | Path, columns: tuple[str, ...] | None
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Event table of a file, and by half what is odd in it though it can be read.

    ``columns`` None: those of ground truth or predictions, by the first row's length.
    """
    halves = _halves_in(load_json(path), path)
    if columns is None:
        first = next((rows[0] for rows in halves.values() if isinstance(rows, list) and rows), [])
        truth = isinstance(first, list) and len(first) == len(GROUND_TRUTH_COLUMNS)
        columns = GROUND_TRUTH_COLUMNS if truth else PREDICTION_COLUMNS
    notes, values = [], []
    for half, rows in halves.items():
        part, floats = _checked(rows, columns, path, half)  # (C, N)
        values.append(part)
        if floats:
            notes.append((half, f"{floats:,} whole numbers are written with a decimal point"))
    codes = np.repeat(np.arange(len(halves)), [part.shape[1] for part in values])
    data = {"half": pd.Categorical.from_codes(codes, categories=list(halves))}
    for name, value in zip(columns, np.hstack([np.empty((len(columns), 0)), *values]), strict=True):
        data[name] = value.astype(_DTYPES.get(name, np.int64))
    table = pd.DataFrame(data)
    spans = table.groupby("half", observed=True)["frame"].agg(["min", "max"])
    return table, [*notes, *restarts(dict(zip(spans.index, spans.to_numpy(), strict=True)))]


_DTYPES = {"box_visible": bool, "replay": bool, "score": np.float64}  # others: integers


def _read(path: str | Path, columns: tuple[str, ...] | None) -> pd.DataFrame:
    table, notes = read_with_notes(path, columns)
    for half, note in notes:
        tolerate(DataError(note, path, half))
    return table


def _halves_in(content: object, path: str | Path) -> dict[str, list[list]]:
    """What a file of events has of each half, whether in the official layout or in the flat one."""
    if not isinstance(content, dict):
        raise DataError('not an object with "keys" and "events"', path)
    if content and all(HALF_NAME.fullmatch(name) for name in content):
        return content
    if not {"keys", "events"} <= content.keys():
        raise DataError('not an object with "keys" and "events", nor one of halves', path)
    halves, events = content["keys"], content["events"]
    if not isinstance(halves, list) or not all(isinstance(half, str) for half in halves):
        raise DataError('"keys" is not a list of names', path)
    if not isinstance(events, dict):
        raise DataError('"events" is not an object', path)
    for half, times in Counter(halves).items():
        if times > 1:
            raise DataError('occurs twice in "keys"', path, half)
        if not HALF_NAME.fullmatch(half):
            raise DataError("the name does not end in _H1, _H2, ...", path, half)
        if half not in events:
            raise DataError('is in "keys" and has no "events"', path, half)
    for half in events.keys() - set(halves):
        raise DataError('has "events" and is not in "keys"', path, half)
    return {half: events[half] for half in halves}


def _checked(
    rows: object, columns: tuple[str, ...], path: str | Path, half: str
) -> tuple[np.ndarray, int]:
    """Columns ``(C, N)`` of rows that have no fault, and how many whole numbers came as floats."""
    if not isinstance(rows, list):
        raise DataError("the events are not a list", path, half)
    if set(map(type, rows)) <= {list} and set(map(len, rows)) <= {len(columns)}:
        by_column = list(zip(*rows, strict=True)) or [()] * len(columns)
        kinds = [set(map(type, values)) for values in by_column]
        if set().union(*kinds) <= {int, float}:
            with suppress(OverflowError):  # an integer that no float holds
                values = np.array(by_column, dtype=float)
                if all(map(_in_range, columns, values)):
                    odd = [by_column[i] for i in range(len(EVENT_COLUMNS)) if float in kinds[i]]
                    return values, sum(isinstance(value, float) for value in chain(*odd))
    faults = ((index, _fault(row, columns)) for index, row in enumerate(rows))
    index, reason = next((index, reason) for index, reason in faults if reason)
    raise DataError(reason, path, half, index)


def _in_range(name: str, values: np.ndarray) -> bool:
    low, high = RANGES[name]
    inside = ((low <= values) & (values <= high)).all()  # NaN is not
    return bool(inside and (name == "score" or (values == np.floor(values)).all()))


def _fault(row: object, columns: tuple[str, ...]) -> str | None:
    """What is wrong with a row, or None."""
    if not isinstance(row, list):
        return f"{row!r:.80} is not a list"
    if len(row) != len(columns):
        return f"{len(row)} values instead of {len(columns)} ({', '.join(columns)})"
    for name, value in zip(columns, row, strict=True):
        whole = type(value) is int or (type(value) is float and value.is_integer())
        if not whole and not (name == "score" and type(value) is float):
            kind = "a number" if name == "score" else "an integer"
            return f"{name} {value!r:.80} is not {kind}"
        low, high = RANGES[name]
        if not low <= value <= high:  # also catches NaN
            return f"{name} {value!r:.80} is outside {low}..{high}"
    return None


def _official(table: pd.DataFrame, path: str | Path) -> dict:
    """A table in the official layout, its rows checked."""
    columns = PREDICTION_COLUMNS if "score" in table else GROUND_TRUTH_COLUMNS
    missing = [name for name in ("half", *columns) if name not in table]
    if missing:
        raise DataError(f"the table has no column {', '.join(missing)}", path)
    if not isinstance(table["half"].dtype, pd.CategoricalDtype):
        raise DataError("column half is not categorical", path)
    if table["half"].isna().any():
        raise DataError("has no half", path, row=int(table["half"].isna().argmax()))
    flags = [name for name in columns if table[name].dtype == bool]
    plain = table.astype(dict.fromkeys(flags, int))
    events: dict[str, list[list]] = {half: [] for half in halves_of(table)}
    # astype(object) gives Python numbers, so a fractional frame stays one and is found.
    rows = zip(*(plain[name].astype(object) for name in columns), strict=True)
    for half, row in zip(table["half"], rows, strict=True):
        events[half].append(list(row))
    for half, half_rows in events.items():
        _checked(half_rows, columns, path, half)
    return {"keys": list(events), "events": events}


def predictions_path(run_dir: str | Path, split: str) -> Path:
    """The events that a run predicts on a split."""
    return Path(run_dir, f"predictions_{split}.json")
