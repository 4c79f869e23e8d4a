"""``spot``: from a video and somebody's tracks to events, with pictures and pages, in one go."""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from footpass.cli.importing import add_hints, columns, hints
from footpass.cli.options import add_command
from footpass.files import DataError, atomic_write, fingerprint, locked, make_folder
from footpass.schema import FPS, SCORE_THRESHOLD, Action

if TYPE_CHECKING:
    import pandas as pd

    from footpass.data.cache import Footage
    from footpass.detectors.spotting import LogitAdjustment
    from footpass.importers.match import ImportedMatch

_SPLIT = "challenge"  # nobody knows the truth
_MADE_OF = ".made_of"  # what the match in a folder was imported from


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    text = "events of an own video, from its tracks, in one go"
    example = "spot match.mp4 --tracks Labels-GameState.json --out match"
    option = add_command(commands, "spot", _spot, text, example).add_argument
    option("video", metavar="VIDEO")
    forms = "game state (.json), a table (.csv, .parquet) or a MOT folder; more of them: import"
    option("--tracks", nargs="+", required=True, metavar="FILE", help=forms)
    option("--out", required=True, type=Path, metavar="DIR")
    detector = "a TAAD, or with GNN (%(default)s; footpass models lists others)"
    option("--checkpoint", default="zoo:taad", metavar="DETECTOR.pt", help=detector)
    option("--dst", metavar="DST.pt", help="writes the events, from the detector's logits: zoo:dst")
    add_hints(option)
    option("--public", action="store_true", help="checkpoints are the public repository's")
    length = "of each half in the overlay video (%(default)s)"
    option("--seconds", type=float, default=120.0, help=length)


def _spot(args: argparse.Namespace) -> None:
    from footpass.zoo import adjustment, resolve

    if not 0 < args.seconds < 1e6:
        raise DataError(f"--seconds {args.seconds}: not a length")
    made_of = _made_of(args)
    _is_there(args.out, made_of)
    adjusted = adjustment(args.checkpoint)
    args.checkpoint, args.dst = resolve(args.checkpoint), args.dst and resolve(args.dst)
    model = _detector(args)
    with _timed("tactical data"):
        match = _match(args, model)
    with locked(args.out, waits=False):
        if not _is_there(args.out, made_of):
            for name, notes in match.write(args.out / "data").items():
                report = args.out / "data" / "import" / f"{name}.txt"
                print(f"{name}: {len(notes)} decisions and doubts, in {report}")
            with atomic_write(args.out / _MADE_OF) as stream:
                stream.write(made_of)
        _spot_in(args, adjusted)


def _match(args: argparse.Namespace, model: str) -> "ImportedMatch":
    """The match in the official form, which a detector of this kind can work on; nothing is written."""
    from footpass.importers.match import prepared, read_tracks

    named = columns(args)
    tracks = [read_tracks(file, named) for file in args.tracks]
    match = prepared(tracks, hints(args, _SPLIT, 1), video=args.video)
    if not match.seen:
        raise DataError(
            "no boxes in the tracks: detectors look at the players' pictures", args.tracks[0]
        )
    if not match.placed and (args.dst or model != "TAAD"):
        needs = "GNN and DST need them (a homography per frame, or game state)"
        reason = f"no pitch positions in the tracks: TAAD alone can do without; {needs}"
        raise DataError(reason, args.tracks[0])
    return match


def _made_of(args: argparse.Namespace) -> str:
    """Fingerprint of the tracks, the video's size and what was told of them."""
    from footpass.importers.match import track_files

    size = Path(args.video).stat().st_size if Path(args.video).is_file() else 0
    return fingerprint(hints(args, _SPLIT, 1), columns(args), size, *track_files(args.tracks))


def _is_there(out: Path, made_of: str) -> bool:
    """Whether a folder has the match already; one that holds another is refused."""
    if not (out / "data").exists():
        return False
    beside = out / _MADE_OF
    if not beside.is_file() or beside.read_text() != made_of:
        raise DataError("holds another match, or one half made: choose another --out, or delete it", out)
    return True


def _spot_in(args: argparse.Namespace, adjusted: "LogitAdjustment") -> None:
    """Spot the events of the match and show them; logits that are there are read."""
    from footpass.data.cache import open_footage

    footage = open_footage(args.out / "data", _SPLIT)
    with _timed("logits and events"):
        events = _events(args, footage, adjusted)
    with _timed("pages, pictures, table"):
        for name, entry in footage.items():
            _show(args, name, entry, events[events["half"] == name])
    print(f"{args.out}: {len(events)} events; to correct them, open the page")


@contextmanager
def _timed(what: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - start:.0f} s")


def _detector(args: argparse.Namespace) -> str:
    """Kind of the detector; says whose weights are used, and what that means."""
    from footpass.detectors.predict import load_detector
    from footpass.sequence.decode import check_logits, load_dst
    from footpass.training.checkpoints import load_checkpoint

    model, _ = load_detector(args.checkpoint, args.public)
    kind = type(model).__name__
    if args.dst and not args.public:
        check_logits(args.dst, [f"{kind} {fingerprint(args.checkpoint)}"])
    print(f"weights: {kind} of {args.checkpoint}")
    if args.dst:
        print(f"weights: {type(load_dst(args.dst, args.public)[0]).__name__} of {args.dst}")
    known = [] if args.public else [path for path in (args.checkpoint, args.dst) if path]
    abouts = [load_checkpoint(path)["config"].get("about", {}) for path in known]
    if any(about.get("provenance", {}).get("simulated") for about in abouts):
        print("They were trained on simulated matches only and have never seen a real player:")
        print("in real video they are wrong often, until they are fine-tuned on corrected events.")
    return kind


def _events(
    args: argparse.Namespace, footage: "dict[str, Footage]", adjusted: "LogitAdjustment"
) -> "pd.DataFrame":
    """Events of all halves, written with what they were made of."""
    from footpass.data.provenance import read_provenance, write_marked
    from footpass.detectors.predict import predict
    from footpass.events import predictions_path
    from footpass.sequence.decode import open_recorded, write_predictions
    from footpass.training.distributed import join_processes

    run, device = args.out / "logits", join_processes()
    events = predict(
        args.checkpoint, footage, run, _SPLIT, device, public=args.public, adjustment=adjusted
    )
    if args.dst:
        halves = open_recorded(args.out / "data", _SPLIT, [run])
        return write_predictions(args.dst, halves, args.out, _SPLIT, device, args.public)
    made = read_provenance(predictions_path(run, _SPLIT))
    write_marked(events, predictions_path(args.out, _SPLIT), made)
    return events.assign(slot=_slots(args, footage, adjusted))


def _slots(
    args: argparse.Namespace, footage: "dict[str, Footage]", adjusted: "LogitAdjustment"
) -> list[int]:
    """Slot of each event of a detector, which says whose track it is where there is no jersey."""
    from footpass.data.logits import logits_path, read_logits
    from footpass.detectors.clips import asked_about
    from footpass.detectors.predict import load_detector
    from footpass.detectors.spotting import spot

    without_box = load_detector(args.checkpoint, args.public)[0].without_box
    slots: list[int] = []
    for entry in footage.values():
        logits = read_logits(logits_path(args.out / "logits", _SPLIT), entry.half)
        slots += spot(adjusted(logits), asked_about(entry.half, without_box))[0].tolist()
    return slots


def _show(args: argparse.Namespace, name: str, footage: "Footage", events: "pd.DataFrame") -> None:
    """A half's table, overlay video and page."""
    from tqdm.auto import tqdm

    from footpass.data.logits import logits_path
    from footpass.data.video import video_reader, write_video
    from footpass.events import predictions_path
    from footpass.plots import views
    from footpass.report.match_page import read_match, write_match_page

    events = events[events["score"] >= SCORE_THRESHOLD]
    table = named(events, args.out / "data" / "import" / f"{name}.csv")
    make_folder(args.out)
    with atomic_write(args.out / f"{name}.csv") as stream:
        table.to_csv(stream, index=False)
    half = footage.half
    stop = min(half.first_frame + round(args.seconds * FPS), half.end_frame)
    shown, reader = range(half.first_frame, stop), video_reader(footage.video)
    pictures = views.frames("overlay", half, shown, reader, None, events)
    bar = tqdm(pictures, total=len(shown), desc="overlay", unit="frame")
    write_video(args.out / f"{name}.mp4", bar)
    predictions, logits = predictions_path(args.out, _SPLIT), logits_path(args.out / "logits", _SPLIT)
    match = read_match(args.out / "data", _SPLIT, name, [predictions], logits)
    write_match_page(match, args.out / f"{name}.html")
    print(f"{args.out / name}.csv, .mp4, .html: {len(table)} events from a score of {SCORE_THRESHOLD}")


def named(events: "pd.DataFrame", tracks: Path) -> "pd.DataFrame":
    """Events for people: time, team, jersey, class, score, and the track of the player at that frame."""
    import pandas as pd

    known = pd.read_csv(tracks)
    rows = []
    for event in events.sort_values("frame", kind="stable").itertuples():
        near = known[(known["start"] <= event.frame + FPS) & (known["stop"] >= event.frame - FPS)]
        near = near[near["team"] == event.team]
        by_slot = near[near["slot"] == getattr(event, "slot", -1)]
        near = by_slot if len(by_slot) else near[near["jersey"] == event.jersey]
        on = near[(near["start"] <= event.frame) & (near["stop"] >= event.frame)]
        near = on if len(on) else near
        minutes, seconds = divmod(event.frame / FPS, 60)
        clock, team = f"{int(minutes):02}:{seconds:05.2f}", ("left", "right")[event.team]
        what = team, event.jersey, Action(event.cls).label, round(event.score, 3)
        track = near["track"].iloc[0] if len(near) == 1 else pd.NA
        rows.append((clock, event.frame, *what, track))
    columns = ["time", "frame", "team", "jersey", "action", "score", "track"]
    return pd.DataFrame(rows, columns=columns).astype({"track": "Int64"})
