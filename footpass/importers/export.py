"""Events for other tools: SPADL, OpenSportsLib, Common Data Format, Sportscode, subtitles, a table."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from footpass.data.halves import HalfMatch
from footpass.data.paths import video_path
from footpass.events import halves_of, match_of
from footpass.files import DataError, atomic_write, make_folder, write_json
from footpass.importers.actions import AWAY, HOME
from footpass.schema import ACTION_LABELS, FPS, PITCH, Action, Role, counted

PERIODS = ("first_half", "second_half", "first_half_extratime", "second_half_extratime", "shootout")
STARTS = (0, 45, 90, 105, 120)  # minutes on the match's clock at which each begins
_LEAD, _LAG = 2.0, 3.0  # seconds of a clip before and after its event
_ROUNDING = 1  # milliseconds: OpenSportsLib rounds 1160 / 1000 * 25 down to frame 28
_CUE = 1.5  # seconds a subtitle stays, unless another event comes


def one_match(table: pd.DataFrame, where: str | Path) -> str:
    """The match that a table is of."""
    matches = list(dict.fromkeys(match_of(half) for half in halves_of(table)))
    if len(matches) != 1:
        raise DataError(
            f"for one match, and there are {', '.join(matches) or 'none'}: choose one (--match)", where
        )
    return matches[0]


def clock(row) -> str:
    """The match's clock at an action: ``47:03.28``."""
    seconds = row.seconds + 60 * STARTS[min(row.period, len(STARTS)) - 1]
    return f"{int(seconds // 60):02d}:{seconds % 60:05.2f}"


def described(row) -> str:
    """An action in words: ``pass, 7 (home)``."""
    shirt = row.player.partition("_")[2]
    return f"{Action(row.cls).label}, {shirt} ({row.side})"


def write_csv(table: pd.DataFrame, path: str | Path) -> None:
    """Write actions as a table for people and spreadsheets, one row each."""
    named = table.assign(
        clock=[clock(row) for row in table.itertuples()],
        video_seconds=table["frame"] / FPS,
        event=[Action(cls).label for cls in table["cls"]],
    )
    columns = ["match", "period", "clock", "frame", "video_seconds", "side", "team", "jersey", "event"]
    columns += [name for name in ("score", "box_visible", "replay") if name in table]
    columns += ["x", "y", "end_x", "end_y"]
    digits = {"score": 4, "x": 2, "y": 2, "end_x": 2, "end_y": 2}
    with atomic_write(path) as stream:
        named[columns].round(digits).to_csv(stream, index=False)


# By class: type and body part, numbers of socceraction's lists. It knows neither carries that fail nor
# headers as a type: a header is a pass with the head. A block is an interception, as in its other
# converters.
_SPADL = {
    Action.DRIVE: (21, 0),  # dribble, foot
    Action.PASS: (0, 0),
    Action.CROSS: (1, 0),
    Action.THROW_IN: (2, 2),  # other
    Action.SHOT: (11, 0),
    Action.HEADER: (0, 1),  # head
    Action.TACKLE: (9, 0),
    Action.BLOCK: (10, 2),
}


def write_spadl(table: pd.DataFrame, path: str | Path) -> None:
    """Write actions as SPADL (socceraction), a CSV that its schema accepts.

    An action succeeds when the next one is of the same team. A shot counts as failed: the events do not
    say whether it was a goal. Every action needs a place (`footpass.importers.actions.placed`).
    """
    codes = np.array([_SPADL[Action(cls)] for cls in table["cls"]], int).reshape(-1, 2)
    length, width = PITCH
    spadl = pd.DataFrame(
        {
            "game_id": table["match"],
            "original_event_id": table["half"].astype(str) + "_" + table["frame"].astype(str),
            "action_id": np.arange(len(table)),
            "period_id": table["period"],
            "time_seconds": table["seconds"],
            "team_id": table["side"],
            "player_id": table["player"],
            "start_x": table["x"].clip(0, length),
            "start_y": table["y"].clip(0, width),
            "end_x": table["end_x"].clip(0, length),
            "end_y": table["end_y"].clip(0, width),
            "bodypart_id": codes[:, 1],
            "type_id": codes[:, 0],
            "result_id": (table["kept"] & (table["cls"] != Action.SHOT)).astype(int),
        }
    )
    with atomic_write(path) as stream:
        spadl.to_csv(stream, index=False)


def write_osl(table: pd.DataFrame, path: str | Path) -> None:
    """Write actions as the JSON of OpenSportsLib and the SoccerNet tasks, an entry a match."""
    data = []
    for match, rows in table.groupby("match", sort=False):
        events = []
        for row in rows.itertuples():
            event = {"head": "action", "label": Action(row.cls).label, "frame": row.frame}
            event |= {"position_ms": row.frame * 1000 // FPS + _ROUNDING}
            minutes, seconds = divmod(int(row.seconds), 60)  # of the half, as in SoccerNet's labels
            event |= {"gameTime": f"{row.period} - {minutes:02d}:{seconds:02d}"}
            event |= {"team": row.side, "player": row.player}
            events.append(event | ({"confidence": round(row.score, 4)} if "score" in rows else {}))
        video = {"type": "video", "path": str(video_path(str(match))), "fps": FPS}
        data.append({"id": match, "inputs": [video], "events": events})
    content = {
        "version": "2.0",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "task": "action_spotting",
        "dataset_name": "footpass",
        "labels": {"action": {"type": "single_label", "labels": list(ACTION_LABELS)}},
        "data": data,
    }
    write_json(content, path, indent=1)


def write_sportscode(table: pd.DataFrame, path: str | Path) -> None:
    """Write a match's actions as a Sportscode timeline, each a clip from 2 s before to 3 s after it."""
    one_match(table, path)
    root = ElementTree.Element("file")
    instances = ElementTree.SubElement(root, "ALL_INSTANCES")
    for number, row in enumerate(table.itertuples(), 1):
        at = row.frame / FPS
        instance = ElementTree.SubElement(instances, "instance")
        plain = {"ID": number, "start": f"{max(at - _LEAD, 0):.2f}", "end": f"{at + _LAG:.2f}"}
        plain |= {"code": Action(row.cls).label.upper()}
        for name, value in plain.items():
            ElementTree.SubElement(instance, name).text = str(value)
        labels = {"Team": row.side, "Player": row.player, "Period": row.period, "Frame": row.frame}
        labels |= {"Seconds": f"{at:.2f}"}
        if np.isfinite(row.x):
            labels |= {"X": f"{row.x:.2f}", "Y": f"{row.y:.2f}"}
        if "score" in table:
            labels["Score"] = f"{row.score:.3f}"
        for group, text in labels.items():
            label = ElementTree.SubElement(instance, "label")
            ElementTree.SubElement(label, "group").text = group
            ElementTree.SubElement(label, "text").text = str(text)
    ElementTree.indent(root)
    with atomic_write(path, "wb") as stream:
        ElementTree.ElementTree(root).write(stream, encoding="utf-8", xml_declaration=True)


def write_srt(table: pd.DataFrame, path: str | Path) -> None:
    """Write a match's actions as subtitles of its video."""
    one_match(table, path)
    starts = table["frame"].to_numpy() * 1000 // FPS
    stops = np.minimum(starts + int(1000 * _CUE), np.append(starts[1:], 2**62))
    with atomic_write(path) as stream:
        # What happens at once is one subtitle.
        for number, (start, rows) in enumerate(table.groupby(starts), 1):
            stop = max(int(stops[rows.index[-1]]), start + 1000 // FPS)
            stream.write(f"{number}\n{_srt_time(start)} --> {_srt_time(stop)}\n")
            stream.write("\n".join(described(row) for row in rows.itertuples()) + "\n\n")


def _srt_time(milliseconds: int) -> str:
    seconds, rest = divmod(int(milliseconds), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{rest:03d}"


# By class: type, sub-type and body part in the Common Data Format.
_CDF = {
    Action.DRIVE: ("misc", "carry", "feet"),
    Action.PASS: ("pass", None, "feet"),
    Action.CROSS: ("pass", "cross", "feet"),
    Action.THROW_IN: ("pass", "throw_in", "hands"),
    Action.SHOT: ("shot", None, "feet"),
    Action.HEADER: ("pass", "header", "head"),
    Action.TACKLE: ("misc", "tackle", "feet"),
    Action.BLOCK: ("defending", "block", None),
}


def write_cdf(
    table: pd.DataFrame,
    folder: str | Path,
    positions: Mapping[str, HalfMatch],
    start: datetime = datetime(1970, 1, 1, tzinfo=UTC),
    score: Iterable[tuple[int, int]] = (),
) -> list[Path]:
    """Write a match's actions in the Common Data Format (0.3.2): ``event.jsonl``, ``match.json``.

    Parameters
    ----------
    start
        When the video starts, in UTC.
    score
        Goals of home and away so far after each half, and those of a shoot-out alone. The format wants
        them, of a whole match even if events are of one half, and neither events nor tracks know them:
        without, there is no ``match.json``.
    """
    match = one_match(table, folder)
    score = list(score)
    _check_score(score, max(int(name.rpartition("_H")[2]) for name in halves_of(table)), folder)
    make_folder(folder)
    written = [Path(folder, "event.jsonl")]
    with atomic_write(written[0]) as stream:
        for event in _cdf_events(table, start):
            stream.write(json.dumps(event) + "\n")
    if score:
        written.append(Path(folder, "match.json"))
        write_json(_cdf_match(match, positions, score), written[1], indent=1)
    return written


def _check_score(score: list[tuple[int, int]], played: int, folder: str | Path) -> None:
    """Refuse scores that are not of a whole match, or of one with fewer halves than were played."""
    if score and (len(score) not in (2, 4, 5) or len(score) < played):
        needs = "one after each half: 2, with extra time 4, with a shoot-out 5"
        raise DataError(f"{counted(len(score), 'score')}, and half {played} is played; {needs}", folder)
    for before, after in pairwise(score[:4]):
        if before[0] > after[0] or before[1] > after[1]:
            told = "{}-{} after {}-{}".format(*after, *before)
            raise DataError(f"{told}: goals after each half are all goals until then", folder)


def _cdf_events(table: pd.DataFrame, start: datetime) -> Iterable[dict]:
    rows = list(table.itertuples())
    moments = [start + timedelta(seconds=row.frame / FPS) for row in rows]
    times = [one.isoformat(timespec="milliseconds").replace("+00:00", "Z") for one in moments]
    for row, time in zip(rows, times, strict=True):
        kind, sub_type, body_part = _CDF[Action(row.cls)]
        follows = rows[row.next] if row.next >= 0 else None
        received = follows if kind == "pass" and row.kept else None
        x, y = _centred(row.x, row.y)
        x_end, y_end = _centred(row.end_x, row.end_y)
        yield {
            "match": {"id": row.match},
            "meta": {"is_synced": True},
            "event": {
                "id": f"{row.half}_{row.Index}",
                "time": time,
                "period": PERIODS[row.period - 1],
                "type": kind,
                "sub_type": sub_type,
                "is_successful": bool(row.kept and kind != "shot"),
                "outcome_type": _outcome(row, follows),
                "player_id": row.player,
                "team_id": row.side,
                "receiver_id": received.player if received else None,
                "receiver_time": times[row.next] if received else None,
                "receiver_team_id": received.side if received else None,
                "x": x,
                "y": y,
                "x_end": x_end,
                "y_end": y_end,
                "body_part": body_part,
                "related_event_ids": None,
                "match_clock": clock(row),
            },
            "tracking": {"frame_id": row.frame, "player": {"x": x, "y": y}},
        }


def _centred(x: float, y: float) -> tuple[float, float]:
    return round(x - PITCH[0] / 2, 2), round(y - PITCH[1] / 2, 2)


def _outcome(row, follows) -> str:
    if row.cls == Action.SHOT:
        return "blocked" if follows and follows.cls == Action.BLOCK else "unknown"
    if row.kept:
        return "successful"
    if _CDF[Action(row.cls)][0] != "pass" or follows is None:
        return "unsuccessful"
    return "out_of_play" if follows.cls == Action.THROW_IN else "intercepted"


_CDF_POSITIONS = {
    Role.MCB: ("DF", "CB"), Role.DM: ("MF", "CDM"), Role.AM: ("MF", "CAM"), Role.GK: ("GK", "GK"),
    **{role: ("DF", role.name) for role in (Role.LB, Role.LCB, Role.RCB, Role.RB)},
    **{role: ("MF", role.name) for role in (Role.LM, Role.RM)},
    **{role: ("FW", role.name) for role in (Role.LW, Role.RW, Role.CF)},
}  # fmt: skip


def _cdf_match(match: str, positions: Mapping[str, HalfMatch], score: list[tuple[int, int]]) -> dict:
    teams: dict[str, dict] = {}
    for side in (HOME, AWAY):
        teams[side] = {"id": side, "short_name": side, "players": _squad(side, positions)}
    result: dict = {name: {HOME: h, AWAY: a} for name, (h, a) in zip(PERIODS, score, strict=False)}
    home, away = score[:4][-1]  # without the shoot-out, which only tells who won
    last = score[-1]
    winner = None if last[0] == last[1] else (HOME if last[0] > last[1] else AWAY)
    result["final"] = {HOME: home, AWAY: away, "winning_team_id": winner}
    status = {"is_neutral": False, "has_extratime": len(score) > 2, "has_shootout": len(score) > 4}
    return {
        "match": {"id": match, "status": status, "result": result},
        "teams": teams,
        "officials": [],
        "events": {"goals": None, "substitutions": None, "cards": None},
        "meta": {"vendor": "footpass"},
    }


def _squad(side: str, positions: Mapping[str, HalfMatch]) -> list[dict]:
    """Players of a team whose number is known, with the role they came on in."""
    squad: dict[int, dict] = {}
    for name in sorted(positions):
        half, period = positions[name], int(name.rpartition("_H")[2])
        team = ((side == AWAY) + period - 1) % 2
        jersey = half.jersey.reshape(2, len(Role), -1)[team]
        for number in np.unique(jersey[jersey >= 0]):
            held = jersey == number
            first = int(held.any(axis=0).argmax())
            group, position = _CDF_POSITIONS[Role(int(held[:, first].argmax()) + 1)]
            player: dict = {"id": f"{side}_{number}", "first_name": "", "last_name": f"{side} {number}"}
            player |= {"team_id": side, "jersey_number": int(number), "has_played": True}
            player |= {"is_starter": period == 1 and first < FPS}
            squad.setdefault(int(number), player | {"position_group": group, "position": position})
    return list(squad.values())
