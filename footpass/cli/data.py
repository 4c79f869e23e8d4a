"""``check``, ``halves``, ``prepare``, ``simulate``, ``label``, ``view``: tactical data and video."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from footpass.cli.options import add_command, add_strict
from footpass.files import DataError, write_json
from footpass.schema import FPS, SPLITS, counted
from footpass.simulate import FORMS

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 50  # problems of a data check


def add(commands: argparse._SubParsersAction) -> None:
    """Add the commands to the parser."""
    text = "are the data complete, and do they agree?"
    option = add_command(commands, "check", _check, text, "check data").add_argument
    option("data_dir", metavar="DATA_DIR")
    option("--json", metavar="OUT.json", help="write everything that was found here")

    text = "which halves a data folder has"
    option = add_command(commands, "halves", _halves, text, "halves data").add_argument
    option("data_dir", metavar="DATA_DIR")

    text = "make halves fast to read, once"
    prepare = add_command(commands, "prepare", _prepare, text, "prepare data")
    prepare.add_argument("data_dir", metavar="DATA_DIR")
    add_strict(prepare)

    _add_simulate(commands)

    text = "make corrected events the labels of tactical data"
    example = "label --events corrected.json --data data --out corrected"
    label = add_command(commands, "label", _label, text, example)
    add_strict(label)
    option = label.add_argument
    events = "ground truth, as downloaded: of a half each, or of several"
    option("--events", nargs="+", required=True, metavar="E.json", help=events)
    option("--data", required=True, metavar="DATA_DIR", help="with the tactical data")
    option("--split", choices=SPLITS, default="val", help="of the data (%(default)s)")
    option("--out", required=True, metavar="DIR", help="another data folder")
    option("--to", choices=SPLITS[:2], default="train", help="split there (%(default)s)")

    text = "a half as mp4 or PNG: broadcast with boxes, or radar"
    example = "view data game_18_H1 --out half.mp4 --seconds 20"
    view = add_command(commands, "view", _view, text, example)
    add_strict(view)
    option = view.add_argument
    option("data_dir", metavar="DATA_DIR")
    option("half", metavar="HALF", help="such as game_18_H1")
    option("--out", required=True, type=Path, metavar="OUT.mp4", help="or one frame: OUT.png")
    option("--view", choices=("overlay", "radar"), default="overlay")
    option("--predictions", metavar="P.json")
    option("--start", type=int, metavar="FRAME", help="the half's first by default")
    option("--seconds", type=float, default=30.0, help="%(default)s")


def _add_simulate(commands: argparse._SubParsersAction) -> None:
    text = "write synthetic matches as the official files"
    example = "simulate --out data --split val --matches 2 --minutes 4"
    parser = add_command(commands, "simulate", _simulate, text, example)
    option = parser.add_argument
    option("--out", required=True, metavar="DIR")
    option("--matches", type=int, default=4, help="%(default)s")
    option("--minutes", type=float, default=90.0, help="of a match (%(default)s)")
    option("--seed", type=int, default=0, help="%(default)s")
    option("--split", choices=SPLITS, default="train", help="%(default)s")
    option("--no-video", dest="video", action="store_false")
    option("--workers", type=int, help="processes (one a core)")
    rare = "only the seconds around rare events, of first halves: a second data folder to train on"
    option("--highlights", action="store_true", help=rare)
    tracker = parser.add_argument_group("the same matches as a tracker would see them")
    forms = "write as_FORM too: SoccerNet game state, MOT folders, or what kloppy loads as SkillCorner's"
    tracker.add_argument("--as", dest="forms", nargs="+", choices=FORMS, default=[], help=forms)
    for name, unit, what in (
        ("--break-tracks", "SECONDS", "mean time until a track breaks (never)"),
        ("--unknown-jerseys", "SHARE", "of tracks"),
        ("--wrong-jerseys", "SHARE", "of tracks that get a team-mate's"),
        ("--noise", "METRES", "of positions"),
        ("--missed", "SHARE", "of boxes"),
    ):
        tracker.add_argument(name, type=float, default=0.0, metavar=unit, help=what)


def _check(args: argparse.Namespace) -> int:
    from footpass.data.check import check

    result = check(args.data_dir)
    if args.json:
        write_json(result.as_dict(), args.json, indent=2)
    width = max(len(item.name) for item in result.items)
    for item in result.items:
        note = item.note if item.found else f"not there: {item.note}"
        print(f"{item.name:{width}}  {note}")
    for problem in result.problems[:_SHOWN]:
        half = f", half {problem.half}" if problem.half else ""
        row = f", row {problem.rows[0]}" if problem.rows else ""
        more = f" (and {counted(problem.count - 1, 'more row')})" if problem.count > 1 else ""
        print(f"WRONG {problem.file}{half}{row}: {problem.reason}{more}")
    if len(result.problems) > _SHOWN:
        print(f"... and {len(result.problems) - _SHOWN:,} more: see them all with --json FILE")
    if not any(item.found for item in result.items):
        print(f"nothing there; to make a season up: python -m footpass simulate --out {args.data_dir}")
    else:
        missing = sum(not item.found for item in result.items)
        fine = f"what is there is fine; not there: {missing} of the above" if missing else "all fine"
        print(fine if result.fine else f"{len(result.problems):,} wrong")
    return 0 if result.fine else 1


def _halves(args: argparse.Namespace) -> None:
    from footpass.data.cache import tactical_files
    from footpass.data.paths import find, video_path
    from footpass.data.tactical import half_names
    from footpass.events import match_of

    for split, file in tactical_files(args.data_dir).items():
        for half in half_names(file):
            video = find(args.data_dir, video_path(match_of(half)))
            print(f"{split:10} {half:16} {video or 'no video'}")


def _prepare(args: argparse.Namespace) -> None:
    from footpass.data.cache import open_halves, tactical_files

    for split in tactical_files(args.data_dir):
        halves = open_halves(args.data_dir, split)
        print(f"{split}: {counted(len(halves), 'half')}")


def _simulate(args: argparse.Namespace) -> None:
    from footpass.data.paths import tactical_path
    from footpass.simulate.season import write_season
    from footpass.simulate.tracker_files import write_trackers
    from footpass.simulate.trackers import TrackerErrors

    errors = TrackerErrors(
        args.break_tracks, args.unknown_jerseys, args.wrong_jerseys, args.noise, args.missed
    )
    if errors != TrackerErrors() and not args.forms:
        raise DataError(f"a tracker's errors need --as {'|'.join(FORMS)}")
    if args.highlights and args.forms:
        raise DataError("--as and --highlights: a tracker sees whole halves")
    there = Path(args.out, tactical_path(args.split))
    if there.exists():
        raise DataError("there already; it may be real: choose another --out, or delete it", there)
    season = args.matches, args.minutes, args.seed, args.split
    halves = write_season(args.out, *season, args.video, args.workers, args.highlights)
    print(f"{args.out}: {args.split}, {counted(len(halves), 'half')}, {halves[0]} to {halves[-1]}")
    for form in args.forms:
        print(write_trackers(args.out, form, errors, *season, args.workers))


def _label(args: argparse.Namespace) -> None:
    from footpass.events import concat, halves_of, read_ground_truth
    from footpass.importers.labels import write_labelled

    tables: list[pd.DataFrame] = []
    for file in args.events:
        table = read_ground_truth(file)
        if not halves_of(table):
            raise DataError("no half in it", file)
        if twice := {half for one in tables for half in halves_of(one)} & set(halves_of(table)):
            raise DataError("in another of these files too", file, min(twice))
        tables.append(table)
    events = concat(tables)
    left = write_labelled(args.data, args.split, events, args.out, args.to)
    for event in left.itertuples():
        who = f"no row of player {event.jersey} of team {event.team}"
        print(f"left out: {event.half}, frame {event.frame}: {who}, or two events there")
    print(f"{args.out}: {args.to}, {len(events) - len(left)} of {len(events)} events")


def _view(args: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from footpass.data.cache import find_half
    from footpass.data.halves import events_of
    from footpass.data.paths import find, play_by_play_path, video_path
    from footpass.data.video import video_reader, write_video
    from footpass.events import match_of, read_ground_truth, read_predictions
    from footpass.plots import views

    suffix = args.out.suffix.lower()
    if suffix not in (".mp4", ".png"):
        raise DataError("a name that ends in .mp4 or .png", args.out)
    if not 0 < args.seconds < 1e6:
        raise DataError(f"--seconds {args.seconds}: not a length")
    half, split = find_half(args.data_dir, args.half)
    labels = find(args.data_dir, play_by_play_path(split))
    truth = events_of(half) if half.labels is not None else labels and read_ground_truth(labels)
    predictions = read_predictions(args.predictions) if args.predictions else None
    reader = None
    if args.view == "overlay":
        video = find(args.data_dir, video_path(match_of(args.half)))
        if video is None:
            raise DataError(f"no {video_path(match_of(args.half))}; try --view radar", args.data_dir)
        reader = video_reader(video)
    first = half.first_frame if args.start is None else args.start
    still = suffix == ".png"
    stop = first + 1 if still else min(first + round(args.seconds * FPS), half.end_frame)
    pictures = views.frames(args.view, half, range(first, stop), reader, truth, predictions)
    if still:
        views.save_picture(next(pictures), args.out)
    else:
        write_video(args.out, tqdm(pictures, total=stop - first, unit="frame"))
    print(f"{args.out}: {args.view} of {args.half}, frames {first} to {stop - 1}")
