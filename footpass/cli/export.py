"""``export``: events for other tools."""

import argparse
import re
from datetime import UTC, datetime

from footpass.cli.options import add_command, add_strict
from footpass.files import DataError
from footpass.schema import SCORE_THRESHOLD

_FORMATS = ("spadl", "osl", "cdf", "sportscode", "srt", "csv")
_PLACED = ("spadl", "cdf")  # every event has its place on the pitch


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    example = "export csv --predictions P.json --data data --out events.csv"
    text = "write events in the formats of other tools"
    export = add_command(commands, "export", _export, text, example)
    add_strict(export)
    option = export.add_argument
    option("format", choices=_FORMATS)
    option("--predictions", required=True, metavar="P.json", help="predictions, or ground truth")
    option("--data", metavar="DATA_DIR", help="where everybody was (needed for spadl, cdf)")
    option("--out", required=True, metavar="FILE", help="cdf: a folder")
    option("--match", metavar="MATCH", help="only this one, such as game_18")
    option("--threshold", type=float, default=SCORE_THRESHOLD, help="lowest score (%(default)s)")
    start = "cdf: when the video starts, such as 2026-05-01T18:00:00Z"
    option("--start", type=_utc, default=datetime(1970, 1, 1, tzinfo=UTC), help=start)
    score = "cdf: goals of home and away after each half, such as 1-0 2-1: without, no match file"
    option("--score", nargs="+", type=_goals, default=[], help=score)


def _export(args: argparse.Namespace) -> None:
    from footpass.data.cache import find_half
    from footpass.events import halves_of, match_of, read_events, select_halves
    from footpass.importers import export
    from footpass.importers.actions import actions, placed

    events = read_events(args.predictions)
    names = halves_of(events)
    if args.match:
        names = [name for name in names if match_of(name) == args.match]
        if not names:
            known = dict.fromkeys(map(match_of, halves_of(events)))
            raise DataError(f"no match {args.match}; it has {', '.join(known)}", args.predictions)
        events = select_halves(events, names)
    if args.format in _PLACED and not args.data:
        raise DataError(f"{args.format} needs to know where everybody was: --data DATA_DIR")
    positions = {name: find_half(args.data, name)[0] for name in names} if args.data else None
    table = actions(events, positions, args.threshold)
    if args.format in _PLACED:
        count, table = len(table), placed(table)
        if len(table) < count:
            print(f"left out: {count - len(table)} events whose player is not in the data at that frame")
    if args.format == "cdf":
        written = export.write_cdf(table, args.out, positions or {}, args.start, args.score)
        print(f"{', '.join(map(str, written))}: {len(table)} events")
        if not args.score:
            print("no match.json: it needs the result, which events do not tell: --score 1-0 2-1")
        return
    getattr(export, f"write_{args.format}")(table, args.out)
    print(f"{args.out}: {len(table)} events")


def _utc(text: str) -> datetime:
    example = "2026-05-01T18:00:00Z"
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as {example}") from None
    if time.tzinfo is None or not 1900 <= time.year <= 2200:
        raise argparse.ArgumentTypeError(f"{text!r} has no zone or no sensible year: such as {example}")
    return time.astimezone(UTC)


def _goals(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)-(\d+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a score such as 2-1")
    return int(found[1]), int(found[2])
