"""Command line: ``python -m footpass COMMAND``; ``--help`` lists the commands.

Any error is one line on stderr and exit code 2.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from footpass.commands import ablate, postprocess
from footpass.files import DataError, atomic_write
from footpass.schema import ACTION_LABELS, FPS, SCORE_THRESHOLD, SPLITS, TOLERANCE

_SHOWN = 50  # problems of a data check


def _evaluate(args: argparse.Namespace) -> None:
    from footpass.events import halves_of, read_ground_truth, read_predictions
    from footpass.metrics import evaluate

    truth = read_ground_truth(args.ground_truth)
    predictions = read_predictions(args.predictions)
    result = evaluate(predictions, truth, args.tolerance, args.threshold, strict=args.strict)
    figures = result.as_dict()
    if result.missing_halves:
        fate = "counted as all missed" if args.strict else "left out"
        print(f"no predictions for {', '.join(result.missing_halves)}: {fate}", file=sys.stderr)
    if args.per_match:
        figures["per_match"] = {
            match: {"macro_f1": counts.macro_f1, "micro": counts.micro}
            for match, counts in result.per_match().items()
        }
    if args.json:
        with atomic_write(args.json) as stream:
            json.dump(figures, stream, indent=2)

    print(
        f"{len(halves_of(result.truth))} halves, tolerance {args.tolerance} frames, "
        f"scores from {args.threshold}"
    )
    print(f"{'class':10}{'gt':>7}{'tp':>7}{'fp':>7}{'P':>8}{'R':>8}{'F1':>8}{'AP':>8}")
    for name in ACTION_LABELS:
        row = figures["per_class"][name]
        rates = "".join(f"{row[key]:8.3f}" for key in ("precision", "recall", "f1", "ap"))
        print(f"{name:10}{row['gt']:7}{row['tp']:7}{row['fp']:7}{rates}")
    micro = "".join(f"{figures['micro'][key]:8.3f}" for key in ("precision", "recall", "f1"))
    totals = (result.counts.gt.sum(), result.counts.tp.sum(), result.counts.fp.sum())
    print(f"{'micro':10}" + "".join(f"{total:7}" for total in totals) + micro)
    print(f"recall     {'':20}" + "".join(f"{split:>8}" for split in figures["splits"]))
    for i, name in enumerate(ACTION_LABELS):
        recalls = "".join(f"{part.recall[i]:8.3f}" for part in result.splits().values())
        print(f"  {name:29}{recalls}")
    for match, row in figures.get("per_match", {}).items():
        print(f"{match}: macro F1 {row['macro_f1']:.4f}, micro F1 {row['micro']['f1']:.4f}")
    print(f"macro F1 {figures['macro_f1']:.4f}")


def _submit(args: argparse.Namespace) -> None:
    from footpass.events import halves_of, read_predictions, write_submission

    predictions = read_predictions(args.predictions)
    write_submission(predictions, args.out, args.layout)
    print(f"{args.out}: {len(predictions)} events in {len(halves_of(predictions))} halves")


def _publish(args: argparse.Namespace) -> None:
    from footpass.report import publish
    from footpass.runs import PROJECT

    out = PROJECT / "reports" / args.name
    size = publish(PROJECT / "runs" / args.name, out)
    print(f"{out}: {size / 2**20:.1f} MiB")


def _report(args: argparse.Namespace) -> None:
    from footpass.report import build_page, run_notebooks
    from footpass.runs import PROJECT, resolve_profile

    profile = resolve_profile(args.profile)
    folder = PROJECT / "runs" / (args.name or profile)
    failures = run_notebooks(folder, profile, args.notebooks)
    print(f"report: {build_page(folder, failures)}")
    if failures:
        raise DataError("; ".join(f"{f.notebook} failed: {f.reason}" for f in failures))


def _report_match(args: argparse.Namespace) -> None:
    from footpass.match import read_match, write_match_page

    match = read_match(args.data, args.split, args.half, args.predictions, args.logits)
    write_match_page(match, args.out)
    events = "no true events" if match.truth is None else f"{len(match.truth)} true events"
    predicted = "".join(f", {len(table)} of {name}" for name, table in match.predictions.items())
    print(f"{args.out}: {args.half}, {events}{predicted}")


def _prepare(args: argparse.Namespace) -> None:
    from footpass.halves import open_halves, present_splits

    for split in present_splits(args.data_dir):
        halves = open_halves(args.data_dir, split, args.out)
        print(f"{split}: {len(halves)} halves")


def _simulate(args: argparse.Namespace) -> None:
    from footpass.simulate.season import write_season

    halves = write_season(
        args.out, args.matches, args.minutes, args.seed, args.split, args.video, args.workers
    )
    print(f"{args.out}: {args.split}, {len(halves)} halves, {halves[0]} to {halves[-1]}")


def _view(args: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from footpass import views
    from footpass.events import match_of, read_ground_truth, read_predictions
    from footpass.files import find, play_by_play_path, tactical_path, video_path
    from footpass.halves import events_of, half_names, load_half, present_splits
    from footpass.video import video_reader, write_video

    for split in present_splits(args.data_dir):
        path = find(args.data_dir, tactical_path(split))
        if args.half in half_names(path):
            break
    else:
        raise DataError(f"{args.data_dir}: no half {args.half} in its tactical data")
    half = load_half(path, args.half, Path(args.data_dir, "prepared"))
    labels = find(args.data_dir, play_by_play_path(split))
    truth = read_ground_truth(labels) if labels else None
    if half.labels is not None:
        truth = events_of(half)
    predictions = read_predictions(args.predictions) if args.predictions else None
    reader = None
    if args.view == "overlay":
        video = find(args.data_dir, video_path(match_of(args.half)))
        if video is None:
            raise DataError(f"{args.data_dir}: no {video_path(match_of(args.half))}; try --view radar")
        reader = video_reader(video)
    first = half.first_frame if args.start is None else args.start
    still = args.out.suffix == ".png"
    stop = first + 1 if still else min(first + round(args.seconds * FPS), half.end_frame)
    pictures = views.frames(args.view, half, range(first, stop), reader, truth, predictions)
    if still:
        views.save_picture(next(pictures), args.out)
    else:
        write_video(args.out, tqdm(pictures, total=stop - first, unit="frame"))
    print(f"{args.out}: {args.view} of {args.half}, frames {first} to {stop - 1}")


def _train_detector(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from footpass.clips import open_footage
    from footpass.processes import join_processes, rank_and_world
    from footpass.recipes import GNN_RECIPES, TAAD_RECIPES, checkpoint_path, train_gnn, train_taad
    from footpass.runs import resolve_profile

    device = join_processes()
    graph = args.model == "gnn"
    recipe = (GNN_RECIPES if graph else TAAD_RECIPES)[resolve_profile(args.profile)]
    recipe = replace(recipe, train=replace(recipe.train, **_changes(args)))
    if args.checkpoint_backbone:
        recipe = replace(recipe, model=replace(recipe.model, checkpoint_backbone=True))
    splits = {split: open_footage(args.data, split) for split in ("train", "val")}
    learn, start = (train_gnn, args.start) if graph else (train_taad, args.kinetics)
    rows = learn(recipe, splits["train"], splits["val"], args.out, device, start)
    if rank_and_world()[0] == 0:
        best = max(rows, key=lambda row: row["macro_f1"])
        figures = f"macro F1 {best['macro_f1']:.3f} on validation clips after epoch {best['epoch']}"
        print(f"{checkpoint_path(args.out)}: {figures}")


def _train_dst(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from footpass.events import class_counts, concat
    from footpass.halves import events_of
    from footpass.models.dst import FUSIONS
    from footpass.processes import join_processes, rank_and_world
    from footpass.recipes import checkpoint_path
    from footpass.runs import resolve_profile
    from footpass.sequence import DST_RECIPES, open_recorded, sequence_figures, train_dst

    device = join_processes()
    recipe = DST_RECIPES[resolve_profile(args.profile)]
    fusion = next((name for name, volumes in FUSIONS.items() if volumes == len(args.logits)), None)
    if fusion is None:
        raise DataError(f"--logits: {len(args.logits)} runs, expected one, or two to fuse them")
    recipe = replace(
        recipe,
        model=replace(recipe.model, fusion=fusion),
        train=replace(recipe.train, **_changes(args)),
        weighting=args.weighting or recipe.weighting,
    )
    halves = {split: open_recorded(args.data, split, args.logits) for split in ("train", "val")}
    truth = {
        split: concat(events_of(one.half) for one in part.values()) for split, part in halves.items()
    }
    rows = train_dst(
        recipe,
        lambda epoch: halves["train"],
        class_counts(truth["train"]),
        args.out,
        device,
        lambda best: sequence_figures(best, halves["val"], truth["val"], recipe.windows),
    )
    if rank_and_world()[0] == 0:
        best = max(rows, key=lambda row: row["macro_f1"])
        figures = f"macro F1 {best['macro_f1']:.3f} on val after epoch {best['epoch']}"
        print(f"{checkpoint_path(args.out)}: {figures}")


def _train_play_by_play(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from footpass.events import write_events
    from footpass.metrics import evaluate
    from footpass.playbyplay import PLAY_BY_PLAY_RECIPES, leave_one_match_out
    from footpass.recipes import predictions_path
    from footpass.release import load_release
    from footpass.runs import resolve_profile

    profile = resolve_profile(args.profile)
    if profile not in PLAY_BY_PLAY_RECIPES:
        raise DataError(f"profile {profile}: choose one of {', '.join(PLAY_BY_PLAY_RECIPES)}")
    recipe = PLAY_BY_PLAY_RECIPES[profile]
    recipe = replace(
        recipe,
        train=replace(recipe.train, **_changes(args)),
        weighting=args.weighting or recipe.weighting,
    )
    release = load_release(args.release)
    taad = {"TAAD": release.predictions["TAAD"]}
    events = leave_one_match_out(recipe, release.train, taad, release.val, args.out).table
    write_events(events, predictions_path(args.out, "val"))
    figures = [evaluate(table, release.val).macro_f1 for table in (taad["TAAD"], events)]
    print(f"{release.source}: macro F1 on val {figures[0]:.4f} of the detections alone")
    print(f"{predictions_path(args.out, 'val')}: {figures[1]:.4f}, leaving one match out")


def _changes(args: argparse.Namespace) -> dict:
    """What the command line changes of a `TrainConfig`."""
    names = ("epochs", "batch", "accumulate", "precision", "workers", "seed")
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def _predict(args: argparse.Namespace) -> None:
    from footpass.checkpoints import load_checkpoint

    if not args.public and load_checkpoint(args.checkpoint)["config"]["kind"].endswith("DST"):
        _predict_dst(args)
    else:
        _predict_detector(args)


def _predict_dst(args: argparse.Namespace) -> None:
    from footpass.events import write_events
    from footpass.processes import join_processes
    from footpass.recipes import predictions_path
    from footpass.sequence import load_dst, open_recorded
    from footpass.sequence import write_events as write_sequences

    if not args.logits:
        raise DataError("a DST reads logits: name the runs that made them with --logits")
    model, windows = load_dst(args.checkpoint)
    halves = open_recorded(args.data, args.split, args.logits)
    events = write_sequences(model.to(join_processes()), halves, windows)
    Path(args.out).mkdir(parents=True, exist_ok=True)
    write_events(events, predictions_path(args.out, args.split))
    print(f"{predictions_path(args.out, args.split)}: {len(events)} events")


def _predict_detector(args: argparse.Namespace) -> None:
    from footpass.clips import open_footage
    from footpass.processes import join_processes, rank_and_world
    from footpass.recipes import logits_path, predict, predictions_path

    device = join_processes()
    footage = open_footage(args.data, args.split)
    events = predict(args.checkpoint, footage, args.out, args.split, device, args.precision, args.public)
    if rank_and_world()[0] == 0:
        print(f"{logits_path(args.out, args.split)}: logits of {len(footage)} halves")
        print(f"{predictions_path(args.out, args.split)}: {len(events)} events")


def _check(args: argparse.Namespace) -> int:
    from footpass.check import check

    result = check(args.data_dir)
    if args.json:
        with atomic_write(args.json) as stream:
            json.dump(result.as_dict(), stream, indent=2)
    width = max(len(item.name) for item in result.items)
    for item in result.items:
        note = item.note if item.found else f"not there: {item.note}"
        print(f"{item.name:{width}}  {note}")
    for problem in result.problems[:_SHOWN]:
        half = f", half {problem.half}" if problem.half else ""
        row = f", row {problem.rows[0]}" if problem.rows else ""
        more = f" (and {len(problem.rows) - 1:,} more rows)" if len(problem.rows) > 1 else ""
        print(f"WRONG {problem.file}{half}{row}: {problem.reason}{more}")
    if len(result.problems) > _SHOWN:
        print(f"... and {len(result.problems) - _SHOWN:,} more: see them all with --json FILE")
    if not any(item.found for item in result.items):
        print("nothing there")
    else:
        print("all fine" if result.fine else f"{len(result.problems):,} wrong")
    return 0 if result.fine else 1


_RESCORE_NEEDS = {
    "lomo": ("ground_truth",),
    "fit": ("ground_truth",),
    "apply": ("model",),
}


def _rescore(args: argparse.Namespace) -> None:
    from footpass import rescore
    from footpass.events import read_ground_truth, read_predictions, write_events
    from footpass.metrics import evaluate
    from footpass.release import read_train_truth
    from footpass.runs import resolve_profile

    if args.lomo and args.action not in (None, "lomo"):
        raise DataError(f"--lomo does not go with {args.action}")
    action = "lomo" if args.lomo else args.action
    if action is None:
        raise DataError("rescore what? lomo (or --lomo), fit or apply (see rescore --help)")
    for name in _RESCORE_NEEDS[action]:
        if getattr(args, name) is None:
            raise DataError(f"rescore {action} needs --{name.replace('_', '-')}")
    if len(set(args.predictions)) < len(args.predictions):
        raise DataError("a prediction file is given twice")
    tables = {path: read_predictions(path) for path in args.predictions}
    if action == "apply":
        events = rescore.apply(rescore.load(args.model), list(tables.values()))
        write_events(events, args.out)
        print(f"{args.out}: {len(events)} events")
        return
    truth, train = read_ground_truth(args.ground_truth), read_train_truth()
    config = rescore.PROFILES[resolve_profile(args.profile)]
    if action == "fit":
        rescore.save(rescore.fit(list(tables.values()), truth, train, config, args.seed), args.out)
        print(f"{args.out}: fitted on {len(tables)} prediction files")
        return
    events, _ = rescore.rescore_lomo(tables, truth, train, config, args.seed, args.cache)
    write_events(events, args.out)
    print(f"{args.out}: {len(events)} events, macro F1 {evaluate(events, truth).macro_f1:.4f}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise DataError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m footpass", description="Who did what, when, in a broadcast.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    evaluate = commands.add_parser("evaluate", help="score a prediction file")
    evaluate.add_argument("--predictions", required=True, metavar="P.json")
    evaluate.add_argument("--ground-truth", required=True, metavar="G.json")
    evaluate.add_argument("--tolerance", type=int, default=TOLERANCE, help="frames (%(default)s)")
    evaluate.add_argument(
        "--threshold", type=float, default=SCORE_THRESHOLD, help="lowest score (%(default)s)"
    )
    evaluate.add_argument(
        "--no-strict",
        dest="strict",
        action="store_false",
        help="leave out halves without predictions, as the official evaluator does",
    )
    evaluate.add_argument("--per-match", action="store_true", help="also score every match")
    evaluate.add_argument("--json", metavar="OUT.json", help="write the figures here")
    evaluate.set_defaults(run=_evaluate)

    submit = commands.add_parser("submit", help="validate predictions and zip them")
    submit.add_argument("--predictions", required=True, metavar="P.json")
    submit.add_argument("--out", required=True, metavar="OUT.zip")
    submit.add_argument("--layout", choices=("official", "flat"), default="official")
    submit.set_defaults(run=_submit)

    check = commands.add_parser("check", help="is the data complete, and does it agree?")
    check.add_argument("data_dir", metavar="DATA_DIR")
    check.add_argument("--json", metavar="OUT.json", help="write everything that was found here")
    check.set_defaults(run=_check)

    prepare = commands.add_parser("prepare", help="make halves fast to read, once")
    prepare.add_argument("data_dir", metavar="DATA_DIR")
    prepare.add_argument("--out", metavar="DIR", help="default: DATA_DIR/prepared")
    prepare.set_defaults(run=_prepare)

    simulate = commands.add_parser("simulate", help="write synthetic matches as the official files")
    simulate.add_argument("--out", required=True, metavar="DIR")
    simulate.add_argument("--matches", type=int, default=4, help="%(default)s")
    simulate.add_argument("--minutes", type=float, default=90.0, help="of a match (%(default)s)")
    simulate.add_argument("--seed", type=int, default=0, help="%(default)s")
    simulate.add_argument("--split", choices=SPLITS, default="train", help="%(default)s")
    simulate.add_argument("--no-video", dest="video", action="store_false")
    simulate.add_argument("--workers", type=int, help="processes (one a core)")
    simulate.set_defaults(run=_simulate)

    view = commands.add_parser("view", help="a half as mp4 or PNG: broadcast with boxes, or radar")
    view.add_argument("data_dir", metavar="DATA_DIR")
    view.add_argument("half", metavar="HALF", help="such as game_18_H1")
    view.add_argument("--out", required=True, type=Path, metavar="OUT.mp4", help="or one frame: OUT.png")
    view.add_argument("--view", choices=("overlay", "radar"), default="overlay")
    view.add_argument("--predictions", metavar="P.json")
    view.add_argument("--start", type=int, metavar="FRAME", help="the half's first by default")
    view.add_argument("--seconds", type=float, default=30.0, help="%(default)s")
    view.set_defaults(run=_view)

    rescore = commands.add_parser("rescore", help="decide which of several models' events are true")
    rescore.add_argument(
        "action",
        nargs="?",
        choices=("lomo", "fit", "apply"),
        help="lomo: every match by a pipeline fitted on the others; fit: fit and save; apply: to others",
    )
    rescore.add_argument("--lomo", action="store_true", help="the same as lomo")
    rescore.add_argument(
        "--predictions", required=True, nargs="+", metavar="P.json", help="one a model, the best first"
    )
    rescore.add_argument("--ground-truth", metavar="G.json", help="of the same halves (lomo, fit)")
    rescore.add_argument("--model", metavar="MODEL.json", help="what fit has written (apply)")
    rescore.add_argument("--out", required=True, metavar="OUT.json", help="predictions; fit: the model")
    rescore.add_argument("--profile", help="smoke, demo, study or paper (demo)")
    rescore.add_argument("--seed", type=int, default=0)
    rescore.add_argument(
        "--cache", type=Path, default=Path("runs", "cache"), help="fitted pipelines (%(default)s)"
    )
    rescore.set_defaults(run=_rescore)

    postprocess.add(commands)

    train = commands.add_parser("train", help="train a model")
    models = train.add_subparsers(dest="model", required=True, metavar="MODEL")
    taad = models.add_parser("taad", help="what each player does, from pixels")
    taad.add_argument("--kinetics", metavar="X3D_S.pyth", help="weights for the backbone (random ones)")
    gnn = models.add_parser("gnn", help="the same with game state and neighbours")
    gnn.add_argument("--start", metavar="BEST.pt", help="TAAD to start from (random weights)")
    for detector in (taad, gnn):
        detector.add_argument(
            "--data", required=True, metavar="DATA_DIR", help="with splits train and val"
        )
        detector.add_argument("--out", required=True, metavar="DIR", help="checkpoints, log")
        detector.add_argument(
            "--checkpoint-backbone", action="store_true", help="less memory, more time"
        )
        detector.set_defaults(run=_train_detector)

    dst = models.add_parser("dst", help="events from all players' logits and positions")
    dst.add_argument("--data", required=True, metavar="DATA_DIR", help="with splits train and val")
    dst.add_argument(
        "--logits", required=True, nargs="+", metavar="RUN_DIR", help="of TAAD; of TAAD + GNN to fuse"
    )
    dst.add_argument("--out", required=True, metavar="DIR", help="checkpoints, log")
    dst.set_defaults(run=_train_dst)

    text = "DST from public play-by-play alone, leaving one match out"
    play = models.add_parser("play-by-play", help=text)
    play.add_argument("--release", metavar="DIR", help="clone of the public repository")
    play.add_argument("--out", required=True, metavar="DIR", help="checkpoints, predictions")
    play.set_defaults(run=_train_play_by_play)

    for model in (taad, gnn, dst, play):
        model.add_argument("--profile", help="smoke, demo, study or paper (demo)")
        model.add_argument("--precision", choices=("fp32", "bf16", "fp16"))
        for name in ("epochs", "batch", "accumulate", "workers", "seed"):
            model.add_argument(f"--{name}", type=int, help="the profile's by default")
    for model in (dst, play):
        model.add_argument(
            "--weighting", help="none, inverse, sqrt or effective; the profile's by default"
        )

    predict = commands.add_parser("predict", help="logits and events of all halves of a split")
    predict.add_argument("--checkpoint", required=True, metavar="BEST.pt")
    predict.add_argument("--public", action="store_true", help="of the public repository")
    predict.add_argument("--data", required=True, metavar="DATA_DIR")
    predict.add_argument("--split", choices=SPLITS, default="val", help="%(default)s")
    predict.add_argument("--out", required=True, metavar="DIR")
    predict.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    predict.add_argument("--logits", nargs="+", metavar="RUN_DIR", help="what a DST reads, as in train")
    predict.set_defaults(run=_predict)

    report = commands.add_parser("report", help="run the notebooks and build the HTML report")
    report.add_argument("notebooks", nargs="*", type=Path, help="notebooks (all)")
    report.add_argument("--profile", help="smoke, demo, study or paper (demo)")
    report.add_argument("--name", help="folder below runs/ (the profile's name)")
    report.set_defaults(run=_report)

    publish = commands.add_parser("publish", help="copy a report's pages from runs/ to reports/")
    publish.add_argument("name", metavar="NAME", help="folder below runs/")
    publish.set_defaults(run=_publish)

    ablate.add(commands)
    page = commands.add_parser("report-match", help="a half as an interactive page: timeline and radar")
    page.add_argument("--data", required=True, metavar="DATA_DIR", help="tactical data, play-by-play")
    page.add_argument("--split", choices=SPLITS, default="val", help="%(default)s")
    page.add_argument("--half", required=True, metavar="HALF", help="such as game_18_H1")
    page.add_argument(
        "--predictions", nargs="+", default=(), metavar="P.json", help="the first is shown first"
    )
    page.add_argument("--logits", metavar="LOGITS.h5", help="evidence (needs tactical data)")
    page.add_argument("--out", required=True, metavar="OUT.html")
    page.set_defaults(run=_report_match)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        args = _parser().parse_args(argv)
        return args.run(args) or 0
    except DataError as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
