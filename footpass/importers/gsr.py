"""Game state reconstruction (SoccerNet GSR, TrackLab, SoccerTrack v2) -> tracks, streamed.

Positions have their origin at the centre spot, x to the right and y towards the camera, in metres.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ijson

from footpass.files import DataError
from footpass.importers.tracks import GOALKEEPER, OTHER, PLAYER, UNKNOWN, Rows, TrackedHalf
from footpass.schema import FPS, PITCH

_ROLES: dict[object, int] = {
    "player": PLAYER,
    "goalkeeper": GOALKEEPER,
    "referee": OTHER,
    "ball": OTHER,
    "other": OTHER,
}
_CATEGORIES = {1: PLAYER, 2: GOALKEEPER}
_TEAMS = {"left": 0, "right": 1}
_HEAD = 1 << 20  # bytes: what precedes the annotations starts here
_NUMBERED = 10**6  # a larger image id ends in six digits: the frame, from 1
NAN = float("nan")


def read_gsr(path: str | Path) -> TrackedHalf:
    """Tracks of a game-state file; its size does not matter to the memory needed but for the rows.

    Raises
    ------
    DataError
        If it is a pickle, cut off, or has no annotations.
    """
    path = Path(path)
    if path.suffix in (".pklz", ".pkl", ".pickle"):
        raise DataError(
            f"{path}: a pickled tracker state: reading it would run code; let TrackLab write JSON "
            "(Labels-GameState.json: dataset.eval_set with save_results) and import that"
        )
    info, image = _head(path, "info") or {}, _head(path, "images.item") or {}
    rows = Rows()
    for key in ("annotations.item", "predictions.item"):
        for number, entry in enumerate(_items(path, key)):
            _add(rows, entry, f"{path}: {key.removesuffix('.item')} {number}")
        if len(rows):
            break
    else:
        raise DataError(f"{path}: no annotations or predictions of players in it")
    table = rows.table()
    keepers = (table["keeper"] == GOALKEEPER) & (table["team"] == UNKNOWN) & table["x"].notna()
    table.loc[keepers, "team"] = (table["x"][keepers] > 0.5).astype("int8")
    picture = (int(image["height"]), int(image["width"])) if {"height", "width"} <= set(image) else None
    start = str(info.get("game_time_start") or "").partition(" - ")[0]
    half = int(start) if start.isdigit() else None
    try:
        fps = float(info.get("frame_rate") or FPS)
    except (TypeError, ValueError):
        raise DataError(f"{path}: info: frame_rate {info['frame_rate']!r} is not a number") from None
    return TrackedHalf(str(path), table, fps, picture, half, sides_known=True)


def _items(path: Path, key: str) -> Iterator[dict]:
    number = 0
    try:
        with open(path, "rb") as stream:
            for entry in ijson.items(stream, key, use_float=True):
                yield entry
                number += 1
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ijson.JSONError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: not JSON, or cut off, after {number:,} entries: {reason}") from error


def _head(path: Path, key: str) -> dict | None:
    """The first such object, if it is near the start of the file."""
    try:
        with open(path, "rb") as stream:
            start = io.BytesIO(stream.read(_HEAD))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        found = next(iter(ijson.items(start, key, use_float=True)), None)
    except (ijson.JSONError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _add(rows: Rows, entry: Any, where: str) -> None:
    """Add an annotation to the rows, unless it is of a pitch, a camera or the ball."""
    try:
        attributes = entry.get("attributes") or {}
        role = attributes.get("role")
        keeper = (
            _ROLES.get(role, OTHER)
            if role
            else _CATEGORIES.get(int(entry.get("category_id") or 0), OTHER)
        )
        if keeper == OTHER:
            return
        image = int(entry["image_id"])
        track = entry.get("track_id")
        track = attributes.get("player_id") if track is None else track
        if track is None:
            return  # a detection that no track took up
        box, pitch = entry.get("bbox_image") or {}, entry.get("bbox_pitch") or {}
        x, y = pitch.get("x_bottom_middle"), pitch.get("y_bottom_middle")
        jersey = attributes.get("jersey")
        rows.add(
            image % _NUMBERED - 1 if image >= _NUMBERED else image,
            int(float(track)),
            _TEAMS.get(str(attributes.get("team")), UNKNOWN),
            UNKNOWN if jersey in (None, "") else int(float(jersey)),
            keeper,
            NAN if x is None else x / PITCH[0] + 0.5,
            NAN if y is None else y / PITCH[1] + 0.5,
            *(box.get(side, NAN) for side in "xywh"),
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise DataError(f"{where}: {reason}") from error
