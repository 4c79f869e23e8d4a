"""``evaluate``, ``submit``: from predictions to figures and submissions."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from footpass.cli.options import add_command, add_strict
from footpass.files import DataError, tolerate, write_json
from footpass.schema import ACTION_LABELS, SCORE_THRESHOLD, SPLITS, TOLERANCE, counted

if TYPE_CHECKING:
    import pandas as pd


def add(commands: argparse._SubParsersAction) -> None:
    """Add the commands to the parser."""
    example = "evaluate --predictions P.json --ground-truth G.json --per-match"
    text = "score a prediction file"
    option = add_command(commands, "evaluate", _evaluate, text, example).add_argument
    option("--predictions", required=True, metavar="P.json")
    option("--ground-truth", required=True, metavar="G.json")
    option("--tolerance", type=int, default=TOLERANCE, help="frames (%(default)s)")
    option("--threshold", type=float, default=SCORE_THRESHOLD, help="lowest score (%(default)s)")
    official = "leave out halves without predictions, as the official evaluator does"
    option("--no-strict", dest="official", action="store_true", help=official)
    option("--per-match", action="store_true", help="also score every match")
    option("--json", metavar="OUT.json", help="write the figures here")

    example = "submit --predictions P.json --data data --split challenge --out entry.zip"
    text = "validate predictions and zip them"
    submit = add_command(commands, "submit", _submit, text, example)
    add_strict(submit)
    option = submit.add_argument
    option("--predictions", required=True, metavar="P.json")
    option("--out", required=True, metavar="OUT.zip")
    option("--data", metavar="DATA_DIR", help="check halves and frames against these data")
    option("--split", choices=SPLITS, default="challenge", help="of the data (%(default)s)")
    option("--layout", choices=("official", "flat"), default="official", help="in a folder or not")


def _evaluate(args: argparse.Namespace) -> None:
    import pandas as pd

    from footpass.configs import plain
    from footpass.data.provenance import read_provenance, together
    from footpass.events import halves_of, read_ground_truth, read_predictions
    from footpass.metrics import evaluate

    truth = read_ground_truth(args.ground_truth)
    predictions = read_predictions(args.predictions)
    result = evaluate(predictions, truth, args.tolerance, args.threshold, strict=not args.official)
    data = together(map(read_provenance, (args.ground_truth, args.predictions)))
    figures = result.as_dict() | {"provenance": plain(data)}
    if result.missing_halves:
        fate = "left out" if args.official else "counted as all missed"
        print(f"no predictions for {', '.join(result.missing_halves)}: {fate}", file=sys.stderr)
    if args.per_match:
        counts = result.per_match()
        figures["per_match"] = {m: {"macro_f1": c.macro_f1, "micro": c.micro} for m, c in counts.items()}
    if args.json:
        write_json(figures, args.json, indent=2)

    halves = counted(len(halves_of(result.truth)), "half") + (f", {data}" if data.simulated else "")
    print(f"{halves}, tolerance {args.tolerance} frames, scores from {args.threshold}")
    columns = {name: name for name in ("gt", "tp", "fp")}
    columns |= {"precision": "P", "recall": "R", "f1": "F1", "ap": "AP"}
    totals = {name: int(getattr(result.counts, name).sum()) for name in ("gt", "tp", "fp")}
    rows = figures["per_class"] | {"micro": totals | figures["micro"]}
    table = pd.DataFrame.from_dict(rows, "index")[list(columns)].rename(columns=columns)
    style: Any = {"float_format": "{:7.3f}".format, "na_rep": ""}
    print(table.to_string(**style))
    recalls = {
        f"recall, {name.replace('_', ' ')}": [*part.recall, part.micro["recall"]]
        for name, part in result.splits().items()
    }
    print(pd.DataFrame(recalls, [*ACTION_LABELS, "micro"]).to_string(**style))
    for match, row in figures.get("per_match", {}).items():
        print(f"{match}: macro F1 {row['macro_f1']:.4f}, micro F1 {row['micro']['f1']:.4f}")
    print(f"macro F1 {figures['macro_f1']:.4f}")


def _submit(args: argparse.Namespace) -> None:
    from footpass.data.provenance import read_provenance
    from footpass.events import halves_of, read_predictions, write_submission

    predictions = read_predictions(args.predictions)
    if args.data:
        predictions = _checked(predictions, args)
    data = read_provenance(args.predictions)
    if data.simulated:
        print(f"{args.predictions}: no entry to a challenge: events of matches {data}", file=sys.stderr)
    write_submission(predictions, args.out, args.layout)
    if not args.data:
        print("halves and frames are not checked: --data DATA_DIR does", file=sys.stderr)
    if predictions.empty:
        print(f"{args.predictions}: no events at all: a valid entry that finds nothing", file=sys.stderr)
    halves, events = halves_of(predictions), counted(len(predictions), "event")
    what = f"{args.split}: " if args.data else ""
    print(f"{args.out}: {what}{events} in {counted(len(halves), 'half')}: {', '.join(halves)}")


def _checked(predictions: "pd.DataFrame", args: argparse.Namespace) -> "pd.DataFrame":
    """Predictions of all halves of the split and no other, whose frames are within them."""
    from footpass.data.cache import open_halves, tactical_files
    from footpass.data.tactical import half_names
    from footpass.events import halves_of, select_halves

    found = set(halves_of(predictions))
    names = {split: half_names(file) for split, file in tactical_files(args.data).items()}
    if args.split not in names:
        raise DataError(f"no tactical data of {args.split}, but of {', '.join(names)}", args.data)
    if unknown := found - set(names[args.split]):
        of = next((split for split, halves in names.items() if found <= set(halves)), None)
        hint = f"; they are of {of}: --split {of}" if of else ""
        raise DataError(f"unknown in {args.split}: {', '.join(sorted(unknown))}{hint}", args.predictions)
    if (missing := set(names[args.split]) - found) and len(predictions):
        raise DataError(f"missing in {args.split}: {', '.join(sorted(missing))}", args.predictions)
    halves = open_halves(args.data, args.split)
    for name, rows in predictions.groupby("half", observed=True):
        first, end = halves[name].first_frame, halves[name].end_frame
        inside = rows["frame"].clip(first, end - 1)
        apart = (rows["frame"] - inside).abs()
        if not apart.any():
            continue
        reason = f"frame {rows['frame'][apart.idxmax()]} is not within {first}..{end - 1}"
        if apart.max() > TOLERANCE:
            raise DataError(reason, args.predictions, str(name))
        # What corrects a delay may move an event a little beyond its half.
        tolerate(DataError(f"{reason}: moved there", args.predictions, str(name)))
        predictions.loc[rows.index, "frame"] = inside
    return select_halves(predictions, names[args.split])
