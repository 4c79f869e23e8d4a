"""The raw form of the FOOTPASS data's provider (line-ups, tracking, events) -> tracks and events."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from footpass.files import DataError
from footpass.importers.events import COLUMNS as EVENT_COLUMNS
from footpass.importers.tracks import (
    COLUMNS,
    GOALKEEPER,
    MISSHAPEN,
    PLAYER,
    UNKNOWN,
    TrackedHalf,
    jersey_number,
)
from footpass.schema import FPS, Action

_CARRY, _PASS, _CROSS, _THROW_IN, _SHOT, _HEADER = 2, 11, 7, 17, 14, 10
# Not documented; read off a real match: a blocked shot is followed by an event of the other team with 13
# (758 for the goalkeeper); of two in a duel, the one with 614 comes away with the ball.
_STOPPED, _SAVED, _WON_BALL = 13, 758, 614
_CLASSES = (
    (_SHOT, Action.SHOT),
    (_THROW_IN, Action.THROW_IN),
    (_CROSS, Action.CROSS),
    (_HEADER, Action.HEADER),
    (_PASS, Action.PASS),
    (_CARRY, Action.DRIVE),
    (_WON_BALL, Action.TACKLE),
    (_STOPPED, Action.BLOCK),
    (_SAVED, Action.BLOCK),
)


def read_match(
    game: str | Path, tracking: Sequence[str | Path], events: Sequence[str | Path] = ()
) -> tuple[list[TrackedHalf], dict[int, pd.DataFrame] | None]:
    """Halves of a match, and its events by half."""
    where = str(game)
    match = _read(game)
    if not isinstance(match, dict):
        raise DataError(f"{where}: not a match of this form: its line-ups are wanted, not its events")
    try:
        squads = [_lineup(match, side) for side in ("home", "away")]
        left = int(match["isAttackingLeftToRightTeamId"])
    except MISSHAPEN as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise DataError(f"{where}: not a match of this form: {reason}") from error
    if left not in (squads[0][0], squads[1][0]):
        raise DataError(f"{where}: isAttackingLeftToRightTeamId {left} is neither team's")
    if left == squads[1][0]:
        squads.reverse()
    team_of = {team: number for number, (team, _) in enumerate(squads)}
    lineup = {**squads[0][1], **squads[1][1]}
    parts = [half for path in tracking for half in _halves(path, team_of, lineup)]
    rows = [_events(path, team_of, lineup) for path in events]
    if not rows:
        return parts, None
    table = pd.concat(rows, ignore_index=True)
    return parts, {int(half): part.drop(columns="half") for half, part in table.groupby("half")}


def _read(path: str | Path) -> Any:
    try:
        with open(path, "rb") as stream:
            zipped = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else open(path, "rb") as stream:
            return json.load(stream)
    except (OSError, EOFError, RecursionError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from error


def _lineup(match: dict, side: str) -> tuple[int, dict[int, tuple[int, str | None]]]:
    """Id of a team; player -> jersey and, if he starts, position."""
    players = {}
    for one in match[f"{side}TeamLineups"]:
        position = one.get("position") if one.get("isStarter") else None
        players[int(one["playerId"]["footovision"])] = jersey_number(one["shirtNumber"]), position
    return int(match[f"{side}TeamId"]["footovision"]), players


def _halves(path: str | Path, team_of: dict, lineup: dict) -> list[TrackedHalf]:
    given = _read(path)
    try:
        rows = pd.DataFrame(given["players"])
        rows = rows[["playerId", "teamId", "halftime", "time", "x", "y"]].astype(float)
        observed = np.array([bool(one.get("isObs")) for one in given["players"]])
    except MISSHAPEN as error:
        raise DataError(f"{path}: not tracking of this form: {error}") from error
    rows = rows[np.isfinite(rows[["halftime", "time"]]).all(axis=1)]
    if not len(rows):
        raise DataError(f"{path}: no row of it says its half and time")
    observed = observed[rows.index]
    stranger = ~rows["playerId"].isin(list(lineup)) | ~rows["teamId"].isin(list(team_of))
    if stranger.all():
        raise DataError(f"{path}: none of its players is in the line-ups: another match's?")
    rows, observed = rows[~stranger], observed[~stranger]
    halves = []
    for number, part in rows.groupby("halftime"):
        who = part["playerId"].map(lineup)
        # In even halves the other team attacks from the left.
        team = part["teamId"].map(team_of).to_numpy()
        table = pd.DataFrame({"frame": part["time"].to_numpy() * FPS / 1000, "track": part["playerId"]})
        table["team"] = team if number % 2 else 1 - team
        table["jersey"] = [jersey for jersey, _ in who]
        table["keeper"] = [GOALKEEPER if place == "GOALKEEPER" else PLAYER for _, place in who]
        table[["x", "y"]] = part[["x", "y"]]
        table[["box_x", "box_y", "box_w", "box_h"]] = np.nan
        share = observed[rows["halftime"] == number].mean()
        seen = f"{share:.0%} of the positions were seen by a camera"
        note = f"{seen}; without boxes nobody counts as visible"
        positions = {player: place for player, (_, place) in lineup.items() if place}
        table = table[list(COLUMNS)].astype(COLUMNS).reset_index(drop=True)
        half = TrackedHalf(str(path), table, half=int(number), sides_known=True, trusted=True)
        halves.append(half.noting(note, positions=positions))
    return halves


def _events(path: str | Path, team_of: dict, lineup: dict) -> pd.DataFrame:
    """Events of our classes; team 0 attacks from the left."""
    given = _read(path)
    rows = []
    try:
        for event in given:
            tags = set(event["eventTypeIds"])
            action = next((action for tag, action in _CLASSES if tag in tags), None)
            jersey = lineup.get(event["playerId"], (UNKNOWN, None))[0]
            if action is None or event["teamId"] not in team_of or jersey == UNKNOWN:
                continue
            half = int(event["halftime"])
            team = team_of[event["teamId"]]
            team = team if half % 2 else 1 - team
            x, y = event["startX"], event["startY"]
            rows.append((half, event["startTime"], team, jersey, int(action), x, y))
        table = pd.DataFrame(rows, columns=["half", *EVENT_COLUMNS])
        table = table.astype({"seconds": float, "x": float, "y": float})
    except MISSHAPEN as error:
        raise DataError(f"{path}: not events of this form: {error}") from error
    table = table[table["seconds"].abs() < 2**31]  # milliseconds; neither NaN nor infinity
    if not len(table):
        reason = "none of its events is of a class, a team and a player of the line-ups"
        raise DataError(f"{path}: {reason}: another match's?")
    return table.assign(seconds=table["seconds"] / 1000)
