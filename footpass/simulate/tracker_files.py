"""Simulated matches in the formats that people bring their own matches in.

Frames are counted in the match's video, as by a tracker that ran over all of it.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from footpass.files import DataError, atomic_write, make_folder, write_json
from footpass.importers.gsr import write_gsr
from footpass.importers.mot import write_mot
from footpass.processes import in_parallel
from footpass.schema import FPS, N_TEAMS, PITCH, Role
from footpass.simulate import FORMS
from footpass.simulate.camera import Shots
from footpass.simulate.motion import N_PLACES, Motion
from footpass.simulate.season import FIRST_GAME, simulate_half
from footpass.simulate.trackers import TrackerErrors, drift, track

_METRES = np.array(PITCH)
_CENTRE = _METRES / 2


def write_trackers(
    out: str | Path,
    form: str,
    errors: TrackerErrors,
    matches: int,
    minutes: float = 90.0,
    seed: int = 0,
    split: str = "train",
    workers: int | None = None,
) -> Path:
    """Write the matches of a season as a tracker would see them; the folder of the files below ``out``.

    Parameters
    ----------
    form
        ``gsr``: ``as_gsr/<half>.json``, SoccerNet's game state. ``mot``: folders ``as_mot/<half>`` with
        ``gt/gt.txt``, ``seqinfo.ini``, ``gameinfo.ini`` and ``homography.csv``. ``kloppy``:
        ``as_kloppy/<match>_tracking.json`` and ``<match>_match.json``, in SkillCorner's form.
    matches, minutes, seed, split, workers
        As of the season, `write_season`.
    """
    if form not in FORMS:
        raise DataError(f"form {form!r} is none of {', '.join(FORMS)}")
    folder = Path(out, f"as_{form}")
    make_folder(folder)
    write = partial(_write_match, folder, form, errors, minutes, seed)
    games = range(FIRST_GAME[split], FIRST_GAME[split] + matches)
    for _ in in_parallel(write, games, workers):
        pass
    return folder


def _write_match(
    folder: Path, form: str, errors: TrackerErrors, minutes: float, seed: int, game: int
) -> None:
    halves = []
    for half in range(2):
        motion, shots = simulate_half(game, half, minutes, seed)
        drawn = [seed, game, half, 2]
        tracks = track(motion, shots, errors, drawn)
        name = f"game_{game}_H{half + 1}"
        if form == "gsr":
            write_gsr(tracks, name, len(motion.ball), folder / f"{name}.json")
        elif form == "mot":
            homographies = picture_to_pitch(shots, errors.noise, np.random.default_rng([*drawn, 1]))
            homographies[shots.replay] = np.nan
            write_mot(tracks, name, motion.first_frame, homographies, folder / name)
        halves.append((motion, tracks))
    if form == "kloppy":
        write_skillcorner(halves, game, folder)


def picture_to_pitch(shots: Shots, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Homographies (T, 3, 3) from full-HD pixels to metres from the centre spot.

    x to the right, y towards the camera, as in SoccerNet's game state.
    """
    to_picture = np.tile(np.eye(3), (len(shots.focal), 1, 1))
    to_picture[:, :, 2] = -shots.position  # a point of the ground, (x, y, 1), as seen from the camera
    to_picture[:, :2, 2] += _CENTRE
    to_pitch = np.linalg.inv(shots.lenses() @ to_picture)
    off = np.tile(np.eye(3), (len(to_pitch), 1, 1))
    off[:, :2, 2] = noise * drift((len(to_pitch), 2), rng)
    to_pitch = off @ to_pitch
    return to_pitch / to_pitch[:, 2:, 2:]


# SkillCorner's numbers of positions, as far as they have one of ours.
_POSITIONS = {
    Role.GK: 0, Role.MCB: 2, Role.LCB: 3, Role.RCB: 4, Role.LB: 5, Role.RB: 6, Role.DM: 7,
    Role.LM: 9, Role.RM: 10, Role.AM: 11, Role.LW: 12, Role.RW: 13, Role.CF: 15,
}  # fmt: skip
_SUBSTITUTE = 17
_HZ = 10  # frames a second
_BALL_ID = 1
_HOME, _AWAY = 101, 102  # who attacks from the left in the first half, and who from the right
_PLAYER_IDS = (1000, 2000)  # before the shirt number is added
_GROUPS = ("home team", "away team")


def write_skillcorner(halves: list[tuple[Motion, pd.DataFrame]], game: int, folder: Path) -> None:
    """Write a match, motion and tracks of each half, in the form of SkillCorner's data, version 2.

    kloppy loads it. Ten frames a second, who is in the picture only; a track without a shirt number is
    nobody of the line-up, and y points away from the camera.
    """
    line_up = _line_up([motion for motion, _ in halves], game)
    write_json(line_up, folder / f"game_{game}_match.json", indent=1)
    with atomic_write(folder / f"game_{game}_tracking.json") as stream:
        opening = "[\n"
        for period, (motion, tracks) in enumerate(halves, 1):
            for frame in _pictures(motion, tracks, period):
                stream.write(opening + json.dumps(frame))
                opening = ",\n"
        stream.write("\n]\n")


def _line_up(halves: list[Motion], game: int) -> dict:
    """Metadata of a match: who was on the pitch from when on, and as what."""
    players: dict[int, dict] = {}
    for period, motion in enumerate(halves):
        for figure, step in np.argwhere(np.diff(motion.jersey, axis=1, prepend=-1) != 0):
            number = int(motion.jersey[figure, step])
            side = int(figure // N_PLACES + period) % N_TEAMS  # they change sides
            who = _PLAYER_IDS[side] + number
            position = _SUBSTITUTE if period or step else _POSITIONS[motion.role[figure, step]]
            minutes, seconds = divmod(step // FPS + 45 * 60 * period, 60)
            start = f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
            player: dict = {"id": who, "trackable_object": who, "team_id": (_HOME, _AWAY)[side]}
            player |= {"number": number, "first_name": "", "last_name": f"Player {number}"}
            role = {"id": position, "name": "Substitute" if position == _SUBSTITUTE else ""}
            players.setdefault(who, player | {"start_time": start, "player_role": role})
    return {
        "id": game,
        "home_team": {"id": _HOME, "name": "Home", "short_name": "Home"},
        "away_team": {"id": _AWAY, "name": "Away", "short_name": "Away"},
        "home_team_score": 0,
        "away_team_score": 0,
        "pitch_length": PITCH[0],
        "pitch_width": PITCH[1],
        "ball": {"trackable_object": _BALL_ID},
        "referees": [],
        "players": list(players.values()),
    }


def _pictures(motion: Motion, tracks: pd.DataFrame, period: int) -> Iterator[dict]:
    """Frames of a period, with those of whom the picture shows."""
    rows = _sampled(tracks)
    metres = (rows[["x", "y"]] * _METRES - _CENTRE).round(3)
    side = (rows["team"] + period - 1) % N_TEAMS
    known = (rows["jersey"] >= 0).to_numpy()
    who = np.where(known, np.array(_PLAYER_IDS)[side] + rows["jersey"], 0)
    records: dict[int, list[dict]] = {}
    for frame, number, x, y, team, ball, name in zip(
        *(rows["frame"], rows["track"], metres["x"], -metres["y"], side, rows["role"] == "ball", who),
        strict=True,
    ):
        one = {"x": x, "y": y, "track_id": number}
        if ball:
            one |= {"trackable_object": _BALL_ID, "z": 0.0}
        else:
            one |= {"trackable_object": int(name)} if name else {"group_name": _GROUPS[team]}
        records.setdefault(frame, []).append(one)
    first, length = motion.first_frame, len(motion.ball)
    acted, owner = motion.script["frame"].to_numpy(), motion.script["team"].to_numpy()
    for frame in range(-(-first * _HZ // FPS), (first + length - 1) * _HZ // FPS + 1):
        seconds = frame / _HZ - first / FPS + 45 * 60 * (period - 1)
        last = np.searchsorted(acted, frame * FPS / _HZ, side="right") - 1
        group = _GROUPS[(owner[last] + period - 1) % N_TEAMS] if last >= 0 else None
        yield {
            "frame": frame,
            "period": period,
            "time": f"{int(seconds // 60):02d}:{seconds % 60:05.2f}",
            "possession": {"trackable_object": None, "group": group},
            "data": records.get(frame, []),
        }


def _sampled(tracks: pd.DataFrame) -> pd.DataFrame:
    """Tracks at `_HZ`: every fifth frame, and the mean of the two in the middle between."""
    fifth = tracks["frame"] % 5
    after = tracks.loc[fifth == 3, ["frame", "track", "x", "y"]]
    after["frame"] -= 1
    between = tracks[fifth == 2].merge(after, on=["frame", "track"], suffixes=("", "_after"))
    between[["x", "y"]] = (between[["x", "y"]] + between[["x_after", "y_after"]].to_numpy()) / 2
    rows = pd.concat([tracks[fifth == 0], between], ignore_index=True)
    # Frame 52 and 53 make number 21: a tenth of a second is two and a half frames.
    rows["frame"] = rows["frame"] // 5 * 2 + (rows["frame"] % 5 > 0)
    return rows.sort_values(["frame", "track"])
