"""The MOT family (SoccerNet-Tracking, SportsMOT, TeamTrack) <-> tracks.

Boxes only: pitch positions need a homography for every frame.
"""

import configparser
import re
from pathlib import Path

import numpy as np
import pandas as pd

from footpass.files import DataError, atomic_write, make_folder
from footpass.importers.tracks import (
    COLUMNS,
    GOALKEEPER,
    OTHER,
    PLAYER,
    UNKNOWN,
    TrackedHalf,
    jersey_number,
    pitch_fractions,
)
from footpass.schema import FPS, FULL_HD

_BOXES = ["frame", "track", "box_x", "box_y", "box_w", "box_h"]
_WHO = re.compile(r"(player|goalkeepers?)\s+team\s+(left|right)\s*;?\s*(\S*)", re.IGNORECASE)
_MATRIX = [f"h{row}{column}" for row in (1, 2, 3) for column in (1, 2, 3)]


def read_mot(folder: str | Path, homography: str | Path | None = None) -> TrackedHalf:
    """Tracks of a MOT folder.

    A homography is a CSV ``frame, h11, ..., h33`` from pixels to metres; frames as in the folder.
    """
    folder = Path(folder)
    places = [folder / "gt" / "gt.txt", folder / "gt.txt", folder / "det" / "det.txt", folder]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise DataError(f"{folder}: no gt/gt.txt or gt.txt in it")
    folder = path.parents[path.parent.name in ("gt", "det")]  # what describes it is beside or above
    try:
        table = pd.read_csv(path, header=None, usecols=range(6), names=_BOXES, dtype=float)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: not rows of frame,id,x,y,w,h,...: {reason}") from error
    wrong = ~np.isfinite(table[["frame", "track"]]).all(axis=1)
    if wrong.any():
        raise DataError(f"{path}: row {int(wrong.argmax()) + 1}: frame or id is no number")
    if not len(table) or (table["track"] < 0).all():
        raise DataError(f"{path}: no tracks in it (an id of -1 is a detection: run a tracker first)")
    if (table["frame"] < 1).any():
        raise DataError(f"{path}: frame {table['frame'].min():g}: MOT counts frames from 1")
    table = table[table["track"] >= 0].reset_index(drop=True)
    sequence = _sequence(folder / "seqinfo.ini")
    who = _game(folder / "gameinfo.ini")
    table["x"] = table["y"] = np.nan
    notes = [] if who else ["no gameinfo.ini: teams and jerseys are not known"]
    if homography:
        xy, origin = pitch_fractions(_on_pitch(table, Path(homography)), str(homography))
        table[["x", "y"]] = xy
        notes.append(origin)
    named = table["track"].astype(int)
    default = (UNKNOWN, UNKNOWN, OTHER if who else PLAYER)
    known = [who.get(track, default) for track in named.unique()]
    by_track = pd.DataFrame(known, index=named.unique(), columns=["team", "jersey", "keeper"])
    table[["team", "jersey", "keeper"]] = by_track.loc[named].to_numpy()
    table["frame"] -= 1
    picture = None
    try:
        fps = float(sequence["framerate"]) if "framerate" in sequence else None
        if {"imwidth", "imheight"} <= set(sequence):
            picture = int(sequence["imheight"]), int(sequence["imwidth"])
    except ValueError as error:
        raise DataError(f"{folder / 'seqinfo.ini'}: {error}") from error
    table = table[list(COLUMNS)].astype(COLUMNS)
    return TrackedHalf(str(path), table, fps, picture, sides_known=bool(who), notes=tuple(notes))


def _sequence(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path)
        return dict(parser["Sequence"])
    except (configparser.Error, KeyError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: not an ini file with a part [Sequence]: {reason}") from error


def _game(path: Path) -> dict[int, tuple[int, int, int]]:
    """Track -> team, jersey, role."""
    if not path.is_file():
        return {}
    who = {}
    lines = re.findall(r"trackletID_(\d{1,9})\s*=[ \t]*(.*)", path.read_text("utf-8", errors="replace"))
    for track, text in lines:
        player = _WHO.match(text.strip())
        if player is None:
            who[int(track)] = UNKNOWN, UNKNOWN, OTHER
            continue
        role, side, jersey = player.groups()
        keeper = GOALKEEPER if role.lower().startswith("goal") else PLAYER
        try:
            number = jersey_number(jersey) if jersey.isdecimal() else UNKNOWN
        except ValueError as error:
            raise DataError(f"{path}: trackletID_{track}: {error}") from error
        who[int(track)] = int(side.lower() == "right"), number, keeper
    if all(role == OTHER for *_, role in who.values()):
        found = f", the first is {lines[0][1].strip()!r}" if lines else ""
        raise DataError(f"{path}: no line such as 'trackletID_1= player team left;10'{found}")
    return who


def _on_pitch(table: pd.DataFrame, path: Path) -> np.ndarray:
    """Feet of the boxes on the pitch (N, 2) in metres; NaN where a frame has no homography."""
    try:
        given = pd.read_csv(path).rename(columns=str.strip)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    missing = [name for name in ("frame", *_MATRIX) if name not in given]
    if missing:
        raise DataError(f"{path}: no column {', '.join(missing)}")
    given = given.drop_duplicates("frame").set_index("frame")
    try:
        matrices = given.reindex(table["frame"])[_MATRIX].to_numpy(float).reshape(-1, 3, 3)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    x, y = table["box_x"] + table["box_w"] / 2, table["box_y"] + table["box_h"]
    feet = np.column_stack([x, y, np.ones(len(table))])
    points = np.einsum("nij,nj->ni", matrices, feet)
    if not np.isfinite(points).any():
        raise DataError(f"{path}: a homography for none of the tracks' frames")
    with np.errstate(divide="ignore", invalid="ignore"):
        return points[:, :2] / points[:, 2:]


def write_mot(
    tracks: pd.DataFrame, name: str, first_frame: int, homographies: np.ndarray, folder: Path
) -> None:
    """Write tracks, as of `simulate.trackers.track`, as a MOT folder with SoccerNet's ``gameinfo.ini``.

    Frames count from 1, so frame 0 of the video is 1 here. Homographies ``(T, 3, 3)`` are from
    ``first_frame`` on; those that are NaN are not written.
    """
    make_folder(folder / "gt")
    table = tracks[_BOXES].round(2)
    table = table.assign(frame=table["frame"] + 1, conf=1, a=-1, b=-1, c=-1)
    with atomic_write(folder / "gt" / "gt.txt") as stream:
        table.to_csv(stream, header=False, index=False)
    height, width = FULL_HD
    sequence = f"name={name}\nimDir=img1\nframeRate={FPS}\nseqLength={first_frame + len(homographies)}\n"
    with atomic_write(folder / "seqinfo.ini") as stream:
        stream.write(f"[Sequence]\n{sequence}imWidth={width}\nimHeight={height}\nimExt=.jpg\n")
    # A number that is not read at once is the track's all the same.
    named = tracks.groupby("track").agg({"role": "first", "team": "first", "jersey": "max"})
    with atomic_write(folder / "gameinfo.ini") as stream:
        stream.write(f"[Sequence]\nname={name}\nnum_tracklets={len(named)}\n")
        for number, role, team, jersey in named.itertuples():
            who = f"{role} team {('left', 'right')[team]}" if team >= 0 else role
            read = jersey if jersey >= 0 else ("x" if team >= 0 else 1)
            stream.write(f"trackletID_{number}= {who};{read}\n")
    flat = pd.DataFrame(homographies.reshape(-1, 9), columns=_MATRIX)
    flat.insert(0, "frame", first_frame + 1 + np.arange(len(flat)))
    with atomic_write(folder / "homography.csv") as stream:
        flat.dropna().to_csv(stream, index=False, float_format="%.10g")
