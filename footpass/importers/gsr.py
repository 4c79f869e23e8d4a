"""Game state reconstruction (SoccerNet GSR, TrackLab, SoccerTrack v2) <-> tracks, streamed.

Positions have their origin at the centre spot, x to the right and y towards the camera, in metres.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import ijson
import numpy as np
import pandas as pd

from footpass.files import DataError, atomic_write
from footpass.importers.tracks import (
    GOALKEEPER,
    MISSHAPEN,
    OTHER,
    PLAYER,
    UNKNOWN,
    UNNAMED,
    Rows,
    TrackedHalf,
    jersey_number,
    numbered_teams,
)
from footpass.schema import FPS, FULL_HD, PITCH

_ROLES: dict[object, int] = {"player": PLAYER, "goalkeeper": GOALKEEPER}  # all else is OTHER
_CATEGORIES = {"player": 1, "goalkeeper": 2, "ball": 4}  # ids of SoccerNet
_ROLE_OF = {number: _ROLES.get(role, OTHER) for role, number in _CATEGORIES.items()}
_SIDES = {"left": 0, "right": 1}
_METRES = np.array(PITCH)
_HEAD = 1 << 20  # bytes: what precedes the annotations starts here
_TAIL = 1 << 14  # bytes at the end, where the information is if keys are sorted
_NUMBERED = 10**6  # a larger image id ends in six digits: the frame, from 1
_NO_NUMBER = re.compile(rb'(?<![\w".])(?:NaN|-?Infinity)(?=\s*[,}\]])')
NAN = float("nan")
_NO_TRACK = "boxes that no track took up left out"
_NO_JERSEY = "jerseys that are no number of 0..99 taken as unknown"


class _WithNulls:
    """The start of a file, with null for the NaN that Python writes, and JSON does not have."""

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self._stream, self._left, self._rest = stream, length, b""

    def read(self, size: int) -> bytes:
        while True:
            more = self._stream.read(min(size, self._left))
            self._left -= len(more)
            text = self._rest + more
            end = text.rfind(b",") + 1 if more else len(text)
            self._rest = text[end:]
            if end or not more:
                text = text[:end]
                odd = b"NaN" in text or b"Infinity" in text
                return _NO_NUMBER.sub(b"null", text) if odd else text


def read_gsr(path: str | Path) -> TrackedHalf:
    """Tracks of a game-state file; its size does not matter to the memory needed but for the rows."""
    path = Path(path)
    if path.suffix in (".pklz", ".pkl", ".pickle"):
        raise DataError(
            f"{path}: a pickled tracker state: reading it would run code; import the JSON that TrackLab "
            "writes below eval/pred (docs/tools.md says how)"
        )
    rows, teams, doubts = Rows(), dict(_SIDES), Counter[str]()
    for key in ("annotations.item", "predictions.item"):
        for number, entry in enumerate(_items(path, key)):
            doubts.update(_add(rows, teams, entry, f"{path}: {key.removesuffix('.item')} {number}"))
        if len(rows):
            break
    else:
        if doubts[_NO_TRACK]:
            raise DataError(f"{path}: no player in it has a track_id: run a tracker first")
        reason = "no annotations or predictions of players in it"
        raise DataError(f"{path}: {reason}: of another form? (footpass import --help)")
    info, image = _head(path, "info") or _last_info(path), _head(path, "images.item") or {}
    table = rows.table()
    names = ("left", "right")
    if len(teams) > 2:  # names of clubs, not of sides
        shown = [name for name, number in teams.items() if (table["team"] == number).any()]
        codes, names = numbered_teams(pd.Series(shown), str(path))
        again = {teams[name]: code for name, code in zip(shown, codes, strict=True)}
        table["team"] = table["team"].map(again).fillna(UNKNOWN).astype("int8")
    known = names == tuple(_SIDES)
    keepers = (table["keeper"] == GOALKEEPER) & (table["team"] == UNKNOWN) & table["x"].notna() & known
    table.loc[keepers, "team"] = (table["x"][keepers] > 0.5).astype("int8")
    start = str(info.get("game_time_start") or "").partition(" - ")[0]
    half = int(start) if re.fullmatch("[0-9]{1,9}", start) else None
    try:
        picture = int(image["height"]), int(image["width"])
    except MISSHAPEN:
        picture = None
    try:
        fps = None if info.get("frame_rate") in (None, "") else float(info["frame_rate"])
    except MISSHAPEN:
        raise DataError(f"{path}: info: frame_rate {info['frame_rate']!r} is not a number") from None
    notes = tuple(f"{number:,} {doubt}" for doubt, number in doubts.items())
    return TrackedHalf(str(path), table, fps, picture, half, sides_known=known, teams=names, notes=notes)


def _last_info(path: Path) -> dict:
    """The information at the end of a file whose keys are sorted."""
    with open(path, "rb") as stream:
        stream.seek(max(path.stat().st_size - _TAIL, 0))
        _, found, end = stream.read().rpartition(b'"info":')
    if not found:
        return {}
    try:
        info, _ = json.JSONDecoder().raw_decode(end.decode(errors="replace").lstrip())
    except (ValueError, RecursionError):
        return {}
    return info if isinstance(info, dict) else {}


def _items(path: Path, key: str, length: int = 2**62) -> Iterator[Any]:
    """Such entries of a file, or of its first bytes."""
    number = 0
    try:
        with open(path, "rb") as stream:
            for entry in ijson.items(_WithNulls(stream, length), key, use_float=True):
                yield entry
                number += 1
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ijson.JSONError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: not JSON, or cut off, after {number:,} entries: {reason}") from error


def _head(path: Path, key: str) -> dict | None:
    """The first such object, if it is near the start of the file."""
    with suppress(DataError):  # what is further on is not whole here
        found = next(_items(path, key, _HEAD), None)
        return found if isinstance(found, dict) else None
    return None


def _add(rows: Rows, teams: dict[str, int], entry: Any, where: str) -> list[str]:
    """Add an annotation to the rows, unless it is of a pitch, a camera or the ball; what is doubtful."""
    doubts = []
    try:
        attributes = entry.get("attributes") or {}
        role = attributes.get("role")
        category = int(entry.get("category_id") or 0) if not role else 0
        keeper = _ROLES.get(role, OTHER) if role else _ROLE_OF.get(category, OTHER)
        if keeper == OTHER:
            return []
        image = int(entry["image_id"])
        track = entry.get("track_id")
        track = attributes.get("player_id") if track is None else track
        if track is None or (track := int(float(track) if isinstance(track, str) else track)) < 0:
            return [_NO_TRACK]
        box, pitch = entry.get("bbox_image") or {}, entry.get("bbox_pitch") or {}
        x, y = pitch.get("x_bottom_middle"), pitch.get("y_bottom_middle")
        team = str(attributes.get("team")).strip()
        known = team.lower() not in UNNAMED
        try:
            jersey = jersey_number(attributes.get("jersey"))
        except ValueError:  # a reader of numbers may see an O for a zero
            jersey, doubts = UNKNOWN, [_NO_JERSEY]
        rows.add(
            image % _NUMBERED - 1 if image >= _NUMBERED else image,
            track,
            teams.setdefault(team, len(teams)) if known else UNKNOWN,
            jersey,
            keeper,
            NAN if x is None else x / PITCH[0] + 0.5,
            NAN if y is None else y / PITCH[1] + 0.5,
            *(NAN if (value := box.get(side)) is None else value for side in "xywh"),
        )
    except MISSHAPEN as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise DataError(f"{where}: {reason}") from error
    return doubts


def write_gsr(tracks: pd.DataFrame, half: str, length: int, path: Path) -> None:
    """Write tracks (`simulate.trackers.track`) as SoccerNet's game-state JSON, an annotation a line.

    ``half`` is such as ``game_2001_H1``, ``length`` frames long; the game's number is the first four
    digits of the image ids.
    """
    game, number = half.removeprefix("game_").split("_H")
    first = int(tracks["frame"].min()) if len(tracks) else 0
    clip = {"clip_start": str(first * 1000 // FPS), "clip_stop": str((first + length) * 1000 // FPS)}
    info: dict = {"version": "1.3", "game_id": game, "name": half, "im_dir": "img1", "im_ext": ".jpg"}
    info |= {"frame_rate": FPS, "seq_length": length, "game_time_start": f"{number} - 00:00", **clip}
    size = dict(zip(("height", "width"), FULL_HD, strict=True))
    with atomic_write(path) as stream:
        stream.write(f'{{"info": {json.dumps(info)},\n"images": [')
        for at, frame in enumerate(range(first, first + length)):
            name = f"{frame + 1:06d}"
            image = {"image_id": game + name, "file_name": f"{name}.jpg", "is_labeled": True, **size}
            stream.write((",\n" if at else "\n") + json.dumps(image))
        stream.write('],\n"annotations": [')
        for at, annotation in enumerate(_annotations(tracks, game)):
            stream.write((",\n" if at else "\n") + json.dumps(annotation))
        categories = [{"id": number, "name": name} for name, number in _CATEGORIES.items()]
        stream.write(f'],\n"categories": {json.dumps(categories)}}}\n')


def _annotations(tracks: pd.DataFrame, game: str) -> Iterator[dict]:
    metres = (tracks[["x", "y"]] * _METRES - _METRES / 2).round(3).to_numpy().tolist()
    boxes = tracks[["box_x", "box_y", "box_w", "box_h"]].round(2).to_numpy().tolist()
    who = tracks[["frame", "track", "team", "jersey", "role"]].itertuples(index=False)
    for at, ((frame, number, team, jersey, role), (x, y), (left, top, w, h)) in enumerate(
        zip(who, metres, boxes, strict=True), 1
    ):
        half_width = 0.4  # metres; the corners of a box have a place on the pitch too
        sides = {"left": x - half_width, "middle": x, "right": x + half_width}
        centre = {"x_center": round(left + w / 2, 2), "y_center": round(top + h / 2, 2)}
        yield {
            "id": str(at),
            "image_id": f"{game}{frame + 1:06d}",
            "track_id": number,
            "supercategory": "object",
            "category_id": _CATEGORIES[role],
            "attributes": {
                "role": role,
                "jersey": str(jersey) if jersey >= 0 else None,
                "team": ("left", "right")[team] if team >= 0 else None,
            },
            "bbox_image": {"x": left, "y": top, **centre, "w": w, "h": h},
            "bbox_pitch": {
                key: value
                for side, across in sides.items()
                for key, value in ((f"x_bottom_{side}", round(across, 3)), (f"y_bottom_{side}", y))
            },
        }
