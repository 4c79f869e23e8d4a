"""Tracking and event data of the providers that kloppy loads -> tracks and events."""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pandas as pd

from footpass.files import DataError
from footpass.importers.events import COLUMNS as EVENT_COLUMNS
from footpass.importers.roles import ROLES_OF
from footpass.importers.tracks import GOALKEEPER, PLAYER, POSITION, UNKNOWN, Rows, TrackedHalf
from footpass.schema import Action

NAN = float("nan")

# Provider -> its function in kloppy, and how that takes the files.
_TRACKING: dict[str, tuple[str, Callable[[list, list], tuple]]] = {
    "hawkeye": ("load", lambda meta, raw: (*_ball_and_players(raw), *meta)),
    "metrica": ("load_tracking_epts", lambda meta, raw: (*meta, *raw)),
    "metrica_csv": ("load_tracking_csv", lambda meta, raw: (*raw,)),
    "pff": ("load_tracking", lambda meta, raw: (*meta, *raw)),
    "secondspectrum": ("load", lambda meta, raw: (*meta[:1], *raw, *meta[1:])),
    "signality": ("load", lambda meta, raw: (meta[0], raw, meta[1])),
    "skillcorner": ("load", lambda meta, raw: (*meta, *raw)),
    "sportec": ("load_tracking", lambda meta, raw: (*meta, *raw)),
    "statsperform": ("load_tracking", lambda meta, raw: (*meta, *raw)),
    "tracab": ("load", lambda meta, raw: (*meta, *raw)),
}


def read_tracking(provider: str, meta: Sequence[str], raw: Sequence[str]) -> list[TrackedHalf]:
    """Halves of a match of one of the providers.

    Files of metadata and of tracking are in the order of kloppy's function.
    """
    if provider not in _TRACKING:
        raise DataError(f"--provider {provider}: none of {', '.join(_TRACKING)}")
    function, arranged = _TRACKING[provider]
    module = _kloppy(provider.removesuffix("_csv"))
    what, load = f"{provider}: {' '.join([*meta, *raw])}", getattr(module, function)
    dataset = _loaded(what, load, lambda: arranged(list(meta), list(raw)))
    source = raw[0]
    home, away = _teams(dataset, source)
    players = [player for team in (home, away) for player in team.players]
    tracks = {player.player_id: track for track, player in enumerate(players)}
    positions = {tracks[p.player_id]: code for p in players if (code := _code(p)) in ROLES_OF}
    fps = float(dataset.metadata.frame_rate or 25)
    note = f"kloppy: {provider}, {fps:g} frames a second, {len(positions)} positions in the line-up"
    halves = []
    for period, part in sorted(_rows(dataset, home, tracks, fps).items()):
        table = part.table()
        if table["x"].median() < 0:  # kloppy 3.19 turns PFF's extra time round by its sign alone
            table[POSITION] += 1
        nobody = int((table["track"] >= len(players)).sum())
        more = f"{nobody:,} positions of nobody in the line-up: given to whom they fit"
        halves.append(
            TrackedHalf(
                str(source), table, fps, half=period, trusted=not nobody, positions=positions,
                teams=(str(home.name or home.team_id), str(away.name or away.team_id)),
                notes=(note, more) if nobody else (note,),
            )
        )  # fmt: skip
    if not halves:
        raise DataError(f"{source}: no frame with players in it")
    return halves


def _rows(dataset: Any, home: Any, tracks: dict[str, int], fps: float) -> dict[int, Rows]:
    """Rows of each half; players that are not in the line-up get track numbers of their own."""
    rows: dict[int, Rows] = {}
    for frame in dataset.frames:
        at = round(frame.timestamp.total_seconds() * fps, 3)
        for player, data in frame.players_data.items():
            point = data.coordinates
            if point is None or at < 0 or player.team is None:
                continue
            rows.setdefault(int(frame.period.id), Rows()).add(
                at,
                tracks.setdefault(player.player_id, len(tracks)),
                int(player.team != home),
                UNKNOWN if player.jersey_no is None else player.jersey_no,
                GOALKEEPER if _code(player) == "GK" else PLAYER,
                NAN if point.x is None else point.x,
                NAN if point.y is None else point.y,
                *[NAN] * 4,
            )
    return rows


def _kloppy(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"kloppy.{name}")
    except ImportError as error:
        if importlib.util.find_spec("kloppy") is None:
            raise DataError("this form needs kloppy: pip install kloppy") from error
        raise DataError(f"kloppy cannot load {name!r}: {error}") from error


def _loaded(what: str, load: Callable[..., Any], files: Callable[[], Sequence]) -> Any:
    try:
        return load(*files(), coordinates="kloppy")
    except Exception as error:  # whatever a parser stumbles over
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise DataError(f"{what}: kloppy cannot load this: {reason}") from error


def _teams(dataset: Any, source: str) -> list:
    teams = dataset.metadata.teams
    if len(teams) != 2:
        raise DataError(f"{source}: {len(teams)} teams in its metadata instead of 2")
    return teams


def _ball_and_players(files: list) -> tuple[list, list]:
    """HawkEye's files, one of each a minute, named ``.samples.ball`` and ``.samples.centroids``."""
    ball = [file for file in files if file.endswith("ball")]
    return ball, [file for file in files if file not in ball]


def _code(player: Any) -> str | None:
    position = player.starting_position
    if position == "Goalkeeper":  # HawkEye's are words of a squad list, which say no more than that
        return "GK"
    return getattr(position, "code", None)


def read_events(provider: str, files: Sequence[str]) -> dict[int, pd.DataFrame]:
    """Events of our classes by half, teams as in the tracking: home is 0, and attacks from the left.

    Files are in the order of kloppy's function for the provider.
    """
    module = _kloppy(provider)
    function = getattr(module, "load_event", getattr(module, "load", None))
    if function is None or not files:
        raise DataError(f"--events {provider} {' '.join(files)}: no events that kloppy can load")
    what = f"{provider}: {' '.join(files)}"
    dataset = _loaded(what, lambda *them, **how: _ours(function(*them, **how)), lambda: files)
    home = _teams(dataset, files[0])[0]
    rows = []
    for event in dataset.events:
        action = action_of(event)
        if action is None or event.player is None or event.player.jersey_no is None:
            continue
        away = int(event.team != home)
        point = event.coordinates
        x, y = (point.x, point.y) if point is not None else (NAN, NAN)
        seconds = event.timestamp.total_seconds()
        rows.append((event.period.id, seconds, away, event.player.jersey_no, int(action), x, y))
    if not rows:
        raise DataError(
            f"{what}: none of its {len(dataset.events):,} events of our classes names a player with a "
            "shirt number, as kloppy reads them"
        )
    table = pd.DataFrame(rows, columns=["half", *EVENT_COLUMNS])
    return {int(half): part.drop(columns="half") for half, part in table.groupby("half")}


def _ours(dataset: Any) -> Any:
    """Events of our classes, home attacking from the left in both halves."""
    from kloppy.domain import Orientation

    # Before they are turned: which way one of no team runs cannot be said.
    ours = dataset.filter(lambda event: event.team is not None and action_of(event) is not None)
    return ours.transform(to_orientation=Orientation.STATIC_HOME_AWAY)


def action_of(event: Any) -> Action | None:
    """Class of a kloppy event, or None if it is of none of ours."""
    kind = event.event_type.name
    values = {getattr(one.value, "name", one.value) for one in event.qualifiers or ()}
    result = getattr(getattr(event, "result", None), "name", None)
    if kind == "PASS":
        return _pass(values)
    if kind in ("CARRY", "TAKE_ON"):
        return Action.DRIVE
    if kind == "SHOT":
        return Action.SHOT
    if kind == "DUEL":
        won = result == "WON" and ("TACKLE" in values or "SLIDING_TACKLE" in values)
        return Action.TACKLE if won else None
    if kind == "CLEARANCE":
        return Action.HEADER if "HEAD" in values else None
    if kind == "GOALKEEPER":
        return Action.BLOCK if "SAVE" in values else None
    named = str(getattr(event, "event_name", "")).lower()
    return Action.BLOCK if "block" in named else None


def _pass(values: set) -> Action:
    kinds = {"THROW_IN": Action.THROW_IN, "CROSS": Action.CROSS, "HEAD": Action.HEADER}
    return next((action for value, action in kinds.items() if value in values), Action.PASS)
