"""``import``: own matches, from somebody's tracks (and events) to the official files."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from footpass.files import DataError
from footpass.schema import SPLITS

if TYPE_CHECKING:
    import pandas as pd

    from footpass.importers.tracks import TrackedHalf

    Read = tuple[Sequence[TrackedHalf], dict[int, pd.DataFrame] | None]


_EXAMPLES = {
    "gsr": "import gsr H1.json H2.json --out data",
    "mot": "import mot SNMOT-116 --homography H.csv --out data",
    "table": "import table tracks.csv --fps 25 --out data",
    "kloppy": "import kloppy --provider tracab --meta meta.xml --raw tracking.dat --out data",
    "footovision": "import footovision --game game.json --tracking H1.json H2.json --out data",
}


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    importing = commands.add_parser(
        "import",
        help="own matches: tracks and events of other tools",
        example=_EXAMPLES["gsr"],
    )
    forms = importing.add_subparsers(dest="form", required=True, metavar="FORM")

    gsr = _form(forms, "gsr", _gsr, "game state of SoccerNet, TrackLab or SoccerTrack v2")
    gsr.add_argument("files", nargs="+", metavar="FILE", help="in the order of the match")

    mot = _form(forms, "mot", _mot, "folders of the MOT challenge (SoccerNet-Tracking, SportsMOT)")
    mot.add_argument("files", nargs="+", metavar="DIR", help="with gt/gt.txt and seqinfo.ini")
    mot.add_argument(
        "--homography", nargs="+", default=[], metavar="H.csv",
        help="frame, h11..h33 (picture to metres off the centre spot), one file a DIR",
    )  # fmt: skip

    table = _form(forms, "table", _table, "any table: CSV or Parquet, a row a box")
    table.add_argument("files", nargs="+", metavar="FILE")
    table.add_argument(
        "--columns", nargs="+", default=[], metavar="OURS=THEIRS",
        help="where names differ: frame track x y w h (or x2 y2) team jersey role px py",
    )  # fmt: skip
    table.add_argument("--fps", type=float, default=25.0, help="frames a second (%(default)s)")

    kloppy = _form(forms, "kloppy", _kloppy, "tracking of any provider that kloppy loads")
    kloppy.add_argument("--provider", required=True, help="such as skillcorner, tracab, sportec")
    kloppy.add_argument("--meta", nargs="+", default=[], metavar="FILE", help="metadata, rosters")
    kloppy.add_argument("--raw", nargs="+", required=True, metavar="FILE", help="tracking data")
    kloppy.add_argument(
        "--events", nargs="+", default=[], metavar="PROVIDER FILE",
        help="event data: whose, and the files as kloppy takes them",
    )  # fmt: skip

    provider = "the form of the FOOTPASS data's provider"
    footovision = _form(forms, "footovision", _footovision, provider, number="--number")
    footovision.add_argument("--game", required=True, metavar="GAME.json", help="line-ups and sides")
    footovision.add_argument("--tracking", nargs="+", required=True, metavar="T.json")
    footovision.add_argument("--events", nargs="+", default=[], metavar="E.json")


def _form(
    forms: argparse._SubParsersAction,
    name: str,
    read: Callable[[argparse.Namespace], "Read"],
    what: str,
    number: str = "--game",
) -> argparse.ArgumentParser:
    form = forms.add_parser(name, help=what, description=what, example=_EXAMPLES[name])
    form.add_argument("--out", required=True, metavar="DIR")
    form.add_argument("--split", choices=SPLITS, default="val", help="%(default)s")
    form.add_argument(number, dest="number", type=int, default=1, help="of the match (%(default)s)")
    form.add_argument("--half", nargs="+", default=[], metavar="H1", help="half of each file")
    form.add_argument(
        "--start", nargs="+", type=int, default=[], metavar="FRAME",
        help="frame of the video at which each file, or each half's kick-off, is",
    )  # fmt: skip
    form.add_argument("--left", metavar="TEAM", help="who attacks from the left in the first half")
    form.add_argument("--picture", metavar="WxH", help="picture that boxes refer to, such as 1280x720")
    form.add_argument("--video", metavar="V", help="the match's video: linked, or transcoded if need be")
    form.set_defaults(run=_import, read=read)
    return form


def _import(args: argparse.Namespace) -> None:
    from footpass.importers.match import ImportConfig, import_match

    picture = None
    if args.picture:
        width, _, height = args.picture.partition("x")
        if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
            raise DataError(f"--picture {args.picture}: not a size such as 1280x720")
        picture = int(height), int(width)
    halves = [half.upper().removeprefix("H") for half in args.half]
    if not all(half.isdigit() and int(half) for half in halves):
        raise DataError(f"--half {' '.join(args.half)}: not H1, H2, ...")
    parts, events = args.read(args)
    left = None
    if args.left is not None:
        names = parts[0].teams
        if args.left not in names:
            raise DataError(f"--left {args.left}: the teams are {' and '.join(names)}")
        left = names.index(args.left)
    config = ImportConfig(
        args.split, args.number, tuple(map(int, halves)), tuple(args.start), left, picture
    )
    for name, notes in import_match(args.out, parts, config, events, args.video).items():
        print(f"{args.out}: {name}")
        for note in notes:
            print(f"  {note}")
    print(f"who is who, as a table and a picture: {args.out}/import; is it whole: "
          f"python -m footpass check {args.out}")  # fmt: skip


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

    if not all("=" in pair for pair in args.columns):
        raise DataError(f"--columns {' '.join(args.columns)}: not OURS=THEIRS")
    columns = dict(pair.split("=", 1) for pair in args.columns)
    return [read_table(file, columns, args.fps) for file in args.files], None


def _kloppy(args: argparse.Namespace) -> "Read":
    from footpass.importers.providers import read_events, read_tracking

    parts = read_tracking(args.provider, args.meta, args.raw)
    if not args.events:
        return parts, None
    return parts, read_events(args.events[0], args.events[1:], parts)


def _footovision(args: argparse.Namespace) -> "Read":
    from footpass.importers.footovision import read_match

    return read_match(args.game, args.tracking, args.events)
