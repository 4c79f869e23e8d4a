"""``import``: own matches, from somebody's tracks (and events) to the official files."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from footpass.cli.options import add_command
from footpass.files import DataError
from footpass.schema import SPLITS

if TYPE_CHECKING:
    import pandas as pd

    from footpass.importers.match import ImportConfig
    from footpass.importers.tracks import TrackedHalf

    Read = tuple[Sequence[TrackedHalf], dict[int, pd.DataFrame] | None]

_EXAMPLES = {
    "gsr": "import gsr H1.json H2.json --out data",
    "mot": "import mot SNMOT-116 --homography H.csv --out data",
    "table": "import table tracks.csv --fps 25 --out data",
    "kloppy": "import kloppy --provider tracab --meta meta.xml --raw tracking.dat --out data",
    "footovision": "import footovision --game game.json --tracking H1.json H2.json --out data",
}

_NAMES = "where names differ: frame track x y w h (or x2 y2) team jersey role px py"
_COLUMNS: dict[str, Any] = {"nargs": "+", "default": [], "metavar": "OURS=THEIRS", "help": _NAMES}
_RATE = "frames a second of the tracks (as the file says, else the video's, else 25)"


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    text = "own matches: tracks and events of other tools"
    parser = commands.add_parser("import", help=text, example=_EXAMPLES["gsr"])
    forms = parser.add_subparsers(dest="form", required=True, metavar="FORM")

    option = _form(forms, "gsr", _gsr, "game state of SoccerNet, TrackLab or SoccerTrack v2")
    option("files", nargs="+", metavar="FILE", help="in the order of the match")
    option("--fps", type=float, help=_RATE)

    option = _form(forms, "mot", _mot, "folders of the MOT challenge (SoccerNet-Tracking, SportsMOT)")
    option("files", nargs="+", metavar="DIR", help="with gt/gt.txt and seqinfo.ini")
    text = "frame, h11..h33 (picture to metres off the centre spot), one file a DIR"
    option("--homography", nargs="+", default=[], metavar="H.csv", help=text)
    option("--fps", type=float, help=_RATE)

    option = _form(forms, "table", _table, "any table: CSV or Parquet, a row a box")
    option("files", nargs="+", metavar="FILE")
    option("--columns", **_COLUMNS)
    option("--fps", type=float, help=_RATE)

    option = _form(forms, "kloppy", _kloppy, "tracking of any provider that kloppy loads")
    option("--provider", required=True, help="such as skillcorner, tracab, sportec")
    option("--meta", nargs="+", default=[], metavar="FILE", help="metadata, rosters")
    option("--raw", nargs="+", required=True, metavar="FILE", help="tracking data")
    text = "event data: whose, and the files as kloppy takes them"
    option("--events", nargs="+", default=[], metavar="PROVIDER FILE", help=text)

    text = "the form of the FOOTPASS data's provider"
    option = _form(forms, "footovision", _footovision, text, number="--number")
    option("--game", required=True, metavar="GAME.json", help="line-ups and sides")
    option("--tracking", nargs="+", required=True, metavar="T.json")
    option("--events", nargs="+", default=[], metavar="E.json")


def _form(
    forms: argparse._SubParsersAction, name: str, read: Callable, text: str, number: str = "--game"
) -> Callable[..., argparse.Action]:
    """Add a form with the options of all; gives what adds its own."""
    form = add_command(forms, name, _import, text, _EXAMPLES[name])
    form.set_defaults(read=read, fps=None)
    form.description = text
    option = form.add_argument
    option("--out", required=True, metavar="DIR")
    option("--split", choices=SPLITS, default="val", help="%(default)s")
    option(number, dest="number", type=int, default=1, help="of the match (%(default)s)")
    _add_hints(option)
    option("--video", metavar="V", help="the match's video: linked, or transcoded if need be")
    return option


def _add_hints(option: Callable[..., argparse.Action]) -> None:
    option("--half", nargs="+", default=[], metavar="H1", help="half of each file")
    text = "frame of the video, 25 a second, at which each file, or each half's kick-off, is"
    option("--start", nargs="+", type=int, default=[], metavar="FRAME", help=text)
    option("--left", metavar="TEAM", help="who attacks from the left in the first half")
    option("--picture", metavar="WxH", help="picture that boxes refer to, such as 1280x720")


def add_hints(option: Callable[..., argparse.Action]) -> None:
    """Options for what tracks of any form do not say themselves, which `hints` and `columns` read."""
    _add_hints(option)
    option("--columns", **_COLUMNS)
    option("--fps", type=float, help=_RATE)


def hints(args: argparse.Namespace, split: str, number: int) -> "ImportConfig":
    """What was told of the tracks of match ``number``, which becomes one of a split."""
    from footpass.importers.match import ImportConfig

    picture = None
    if args.picture:
        width, _, height = args.picture.partition("x")
        if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            raise DataError(f"--picture {args.picture}: not a size such as 1280x720")
        picture = int(height), int(width)
    halves = [half.upper().removeprefix("H") for half in args.half]
    if not all(half.isdecimal() and int(half) for half in halves):
        raise DataError(f"--half {' '.join(args.half)}: not H1, H2, ...")
    whose = tuple(map(int, halves)), tuple(args.start)
    return ImportConfig(split, number, *whose, args.left, picture, args.fps)


def columns(args: argparse.Namespace) -> dict[str, str]:
    """Our names of a table's columns, and its own."""
    if not all("=" in pair for pair in args.columns):
        raise DataError(f"--columns {' '.join(args.columns)}: not OURS=THEIRS")
    return dict(pair.split("=", 1) for pair in args.columns)


def _import(args: argparse.Namespace) -> None:
    from footpass.importers.match import import_match

    config = hints(args, args.split, args.number)
    parts, events = args.read(args)
    for name, notes in import_match(args.out, parts, config, events, args.video).items():
        print(f"{args.out}: {name}", *notes, sep="\n  ")
    whole = f"is it whole: python -m footpass check {args.out}"
    print(f"who is who, as a table and a picture: {args.out}/import; {whole}")


def _gsr(args: argparse.Namespace) -> "Read":
    from footpass.importers.gsr import read_gsr

    return [read_gsr(file) for file in args.files], None


def _mot(args: argparse.Namespace) -> "Read":
    from footpass.importers.mot import read_mot

    if args.homography and len(args.homography) != len(args.files):
        raise DataError(f"--homography: {len(args.homography)} files for {len(args.files)} folders")
    homographies = args.homography or [None] * len(args.files)
    return [read_mot(*both) for both in zip(args.files, homographies, strict=True)], None


def _table(args: argparse.Namespace) -> "Read":
    from footpass.importers.table import read_table

    named = columns(args)
    return [read_table(file, named) for file in args.files], None


def _kloppy(args: argparse.Namespace) -> "Read":
    from footpass.importers.providers import read_events, read_tracking

    parts = read_tracking(args.provider, args.meta, args.raw)
    if not args.events:
        return parts, None
    return parts, read_events(args.events[0], args.events[1:])


def _footovision(args: argparse.Namespace) -> "Read":
    from footpass.importers.footovision import read_match

    return read_match(args.game, args.tracking, args.events)
