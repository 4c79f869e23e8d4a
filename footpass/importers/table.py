"""Any table, CSV or Parquet, with a row for every box -> tracks."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from footpass.files import DataError
from footpass.importers.tracks import (
    BOX,
    COLUMNS,
    GOALKEEPER,
    OTHER,
    PLAYER,
    UNKNOWN,
    TrackedHalf,
    named,
    numbered_teams,
    pitch_fractions,
)

# Our names, and what others call them (supervision's CSVSink among them).
_NAMES = {
    "frame": ("frame", "frame_index", "frame_number", "frame_id"),
    "track": ("track", "tracker_id", "track_id", "id"),
    "x": ("x", "x_min", "left", "bb_left"),
    "y": ("y", "y_min", "top", "bb_top"),
    "w": ("w", "width", "bb_width"),
    "h": ("h", "height", "bb_height"),
    "x2": ("x2", "x_max", "right"),
    "y2": ("y2", "y_max", "bottom"),
    "team": ("team",),
    "jersey": ("jersey", "jersey_number", "shirt_number"),
    "role": ("role",),
    "px": ("px", "x_pitch", "pitch_x"),
    "py": ("py", "y_pitch", "pitch_y"),
}
PARQUET = (".parquet", ".pq")
_KEEPERS = ("goalkeeper", "keeper", "gk")
_PLAYERS = ("player", "", "nan", "none", "person")
_OTHERS = "ref|ball|other|official|linesm|coach|staff|bench"


def read_table(path: str | Path, columns: Mapping[str, str] | None = None) -> TrackedHalf:
    """Tracks of a table.

    Columns are our name -> the table's, where it is none of the usual ones. Boxes are in pixels, ``px,
    py`` in metres; frames count from 0.
    """
    path = Path(path)
    table = _named(_read(path), dict(columns or {}), path)
    found, notes = pd.DataFrame(index=table.index), []
    found["frame"], found["track"] = _numbers(table, "frame", path), _numbers(table, "track", path)
    tracked = found["track"].ge(0) & found["frame"].notna()
    if not tracked.any():
        raise DataError(f"{path}: no row has a track: run a tracker first")
    box = pd.DataFrame(np.nan, table.index, BOX)
    if _has_box(table):
        box["box_x"], box["box_y"] = _numbers(table, "x", path), _numbers(table, "y", path)
        for size, far, near in (("w", "x2", "box_x"), ("h", "y2", "box_y")):
            given_size = size in table
            value = _numbers(table, size if given_size else far, path)
            box[f"box_{size}"] = value if given_size else value - box[near]
    found[["x", "y"]] = np.nan
    if {"px", "py"} <= set(table):
        metres = np.column_stack([_numbers(table, "px", path), _numbers(table, "py", path)])
        found[["x", "y"]], origin = pitch_fractions(metres, str(path))
        notes.append(origin)
    keeper = np.full(len(table), PLAYER)
    if "role" in table:
        said = table["role"].astype("string").fillna("").str.strip().str.lower()
        ours = [said.isin(_KEEPERS), said.isin(_PLAYERS), said.str.contains(_OTHERS)]
        if not np.any(ours, axis=0).all():
            word = said[~np.any(ours, axis=0)].iloc[0]
            raise DataError(f"{path}: role {word!r} is none of player, goalkeeper, referee, ball, other")
        keeper = np.select(ours, [GOALKEEPER, PLAYER, OTHER])
    own, teams = keeper != OTHER, ("left", "right")
    found["keeper"], found["team"] = keeper, UNKNOWN
    if "team" in table:
        found["team"], teams = numbered_teams(table["team"].where(own), str(path))
    found["jersey"] = UNKNOWN
    if "jersey" in table:
        jersey = _numbers(table.assign(jersey=named(table["jersey"].where(own))), "jersey", path)
        wrong = jersey.notna() & ~(jersey.between(0, 99) & (jersey % 1 == 0))
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(f"{path}: row {row}: jersey {jersey.iloc[row]:g} is not within 0..99")
        found["jersey"] = jersey.fillna(UNKNOWN)
    found = pd.concat([found, box], axis=1)[tracked]
    found = found[list(COLUMNS)].astype(COLUMNS).reset_index(drop=True)
    if not tracked.all():
        notes.append(f"{(~tracked).sum():,} rows without a track or a frame left out")
    known = teams == ("left", "right")
    return TrackedHalf(str(path), found, None, sides_known=known, teams=teams, notes=tuple(notes))


def _named(given: pd.DataFrame, columns: dict[str, str], path: Path) -> pd.DataFrame:
    """The table with our names, and all that is needed in it."""
    unknown = [ours for ours in columns if ours not in _NAMES]
    absent = [theirs for theirs in columns.values() if theirs not in given]
    if unknown or absent:
        wrong = f"no such name {', '.join(unknown)}" if unknown else f"no column {', '.join(absent)}"
        raise DataError(f"{path}: --columns: {wrong}; it has {', '.join(map(str, given.columns))}")
    names = {
        ours: columns.get(ours) or next((name for name in usual if name in given), None)
        for ours, usual in _NAMES.items()
    }
    table = pd.DataFrame({ours: given[theirs] for ours, theirs in names.items() if theirs})
    placed, sizes = len({"px", "py"} & set(table)), {"w", "h", "x2", "y2"} & set(table)
    partly = sizes and {"x", "y"} <= set(table) and not _has_box(table)
    if not {"frame", "track"} <= set(table) or placed == 1 or partly or not (_has_box(table) or placed):
        raise DataError(
            f"{path}: needs frame, track and a box (x, y, w, h or x2, y2) or a position (px, py); has "
            f"{', '.join(map(str, given.columns))}: say which is which with --columns"
        )
    return table


def _has_box(table: pd.DataFrame) -> bool:
    return any({"x", "y", *sizes} <= set(table) for sizes in (("w", "h"), ("x2", "y2")))


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() in PARQUET:
            table = pd.read_parquet(path)
            return table.reset_index() if any(table.index.names) else table
        with open(path, encoding="utf-8-sig") as stream:
            first = stream.readline()
        separator = max(",;\t", key=first.count)
        # Where semicolons part numbers, a comma is mostly in them.
        decimal = "," if separator == ";" else "."
        return pd.read_csv(path, sep=separator, decimal=decimal, skipinitialspace=True)
    except ImportError as error:
        raise DataError(f"{path}: Parquet needs pyarrow: pip install pyarrow") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not in UTF-8: save it as that") from error
    except (OSError, ValueError) as error:  # pandas' and pyarrow's errors are ValueErrors, too
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: cannot be read as a table: {reason}") from error


def _numbers(table: pd.DataFrame, name: str, path: Path) -> pd.Series:
    given = table[name]
    timed = pd.api.types.is_datetime64_any_dtype(given) or pd.api.types.is_timedelta64_dtype(given)
    numbers = pd.to_numeric(given.astype(str) if timed else given, errors="coerce").astype("Float64")
    numbers = numbers.astype(np.float64)
    wrong = numbers.isna() & given.notna()
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{path}: row {row}: {name} {given.iloc[row]!r} is not a number")
    return numbers.where(np.isfinite)
