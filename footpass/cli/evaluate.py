"""``evaluate``, ``submit``, ``rescore``: from predictions to figures and submissions."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from footpass.cli.rescore import _rescore
from footpass.files import DataError, atomic_write
from footpass.schema import ACTION_LABELS, SCORE_THRESHOLD, SPLITS, TOLERANCE, counted

if TYPE_CHECKING:
    import pandas as pd


def add(commands: argparse._SubParsersAction) -> None:
    """Add the commands to the parser."""
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
    submit.add_argument("--data", metavar="DATA_DIR", help="check halves and frames against these data")
    submit.add_argument("--split", choices=SPLITS, default="challenge", help="of the data (%(default)s)")
    submit.add_argument(
        "--layout", choices=("official", "flat"), default="official", help="in a folder or not"
    )
    submit.set_defaults(run=_submit)

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
        f"{counted(len(halves_of(result.truth)), 'half')}, tolerance {args.tolerance} frames, "
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
    if predictions.empty:
        raise DataError("no events: nothing to submit", args.predictions)
    if args.data:
        _check_places(predictions, args)
    write_submission(predictions, args.out, args.layout)
    events, halves = len(predictions), len(halves_of(predictions))
    print(f"{args.out}: {counted(events, 'event')} in {counted(halves, 'half')}")


def _check_places(predictions: "pd.DataFrame", args: argparse.Namespace) -> None:
    """Every half of the split has predictions, no other has, and all frames are within."""
    from footpass.data.cache import open_halves
    from footpass.events import halves_of

    halves, found = open_halves(args.data, args.split), set(halves_of(predictions))
    for kind, names in (("missing", set(halves) - found), ("unknown", found - set(halves))):
        if names:
            raise DataError(f"{kind} in {args.split}: {', '.join(sorted(names))}", args.predictions)
    for name, rows in predictions.groupby("half", observed=True):
        first, end = halves[name].first_frame, halves[name].end_frame
        outside = rows["frame"][(rows["frame"] < first) | (rows["frame"] >= end)]
        if len(outside):
            place = f"half {name}: frame {outside.iloc[0]} is not within {first}..{end - 1}"
            raise DataError(place, args.predictions)
