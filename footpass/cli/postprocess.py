"""``postprocess``: fit the hand steps on halves with ground truth, apply them to any; legal events."""

import argparse
import logging
from pathlib import Path

from footpass.cli.options import add_command, add_strict
from footpass.schema import SPLITS

log = logging.getLogger(__name__)


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    text = "gate, refine, re-assign: fitted on halves with ground truth, applied to any; or legal"
    known = "--predictions P.json --evidence E.json --ground-truth G.json --out"
    fitted = "--model S.json --predictions P.json --evidence E.json --out O.json"
    parser = commands.add_parser("postprocess", help=text, example=f"postprocess lomo {known} lomo.json")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    text = "take out what never follows in real matches, as a throw-in after one's own team's pass"
    example = "postprocess legal --predictions P.json --out O.json"
    legal = add_command(actions, "legal", _legal, text, example)
    add_strict(legal)
    legal.add_argument("--predictions", required=True, metavar="P.json")
    legal.add_argument("--out", required=True, metavar="OUT.json")
    for name, run, what, example in (
        ("lomo", _lomo, "every match with steps fitted on the others", f"{known} lomo.json"),
        ("fit", _fit, "fit and save", f"{known} steps.json"),
        ("apply", _apply, "apply what fit has saved", fitted),
    ):
        action = add_command(actions, name, run, what, f"postprocess {name} {example}")
        add_strict(action)
        option = action.add_argument
        option("--predictions", required=True, metavar="P.json")
        evidence = "another model's predictions (json), or the logits of a run (h5)"
        option("--evidence", required=True, metavar="E", help=evidence)
        option("--data", metavar="DATA_DIR", help="tactical data, where E are logits")
        option("--split", choices=SPLITS, default="val", help="of the data (%(default)s)")
        option("--out", required=True, metavar="OUT.json", help="events; fit: the steps")
        if name == "apply":
            option("--model", required=True, metavar="STEPS.json", help="what fit has written")
            continue
        option("--ground-truth", required=True, metavar="G.json")
        by_class = "a number a class, as published: it overfits"
        option("--per-class", action="store_true", help=by_class)


def _inputs(args: argparse.Namespace) -> dict:
    from footpass.data.cache import open_halves
    from footpass.events import halves_of, read_predictions
    from footpass.files import DataError, make_folder
    from footpass.postprocess.evidence import as_evidence, load_logits

    make_folder(Path(args.out).parent)  # what cannot be made is found before fitting
    evidence = Path(args.evidence)
    if evidence.suffix == ".json":
        source = read_predictions(evidence)
    elif not args.data:
        raise DataError("logits need --data, the tactical data that say who is in a slot", evidence)
    else:
        source = load_logits(evidence, open_halves(args.data, args.split))
    events = read_predictions(args.predictions)
    without = sorted(set(halves_of(events)) - set(as_evidence(source).halves))
    if without and len(without) == len(halves_of(events)):
        raise DataError(f"no half of {args.predictions}: of another split?", evidence)
    if without:
        log.warning("%s: nothing of %s: those events stay as they are", evidence, ", ".join(without))
    return {"events": events, "evidence": source}


def _lomo(args: argparse.Namespace) -> None:
    from footpass.crossfit import cross_fit
    from footpass.data.provenance import read_provenance, write_marked
    from footpass.events import read_ground_truth
    from footpass.metrics import evaluate
    from footpass.postprocess.search import recipe, search

    truth = read_ground_truth(args.ground_truth)
    events = cross_fit(*recipe(search(args.per_class)), _inputs(args), truth).table
    write_marked(events, args.out, read_provenance(args.predictions).by("postprocess lomo"))
    print(f"{args.out}: {len(events)} events, macro F1 {evaluate(events, truth).macro_f1:.4f}")


def _fit(args: argparse.Namespace) -> None:
    from footpass.events import read_ground_truth
    from footpass.postprocess.search import recipe, save, search

    fit, _ = recipe(search(args.per_class))
    save(fit(_inputs(args), read_ground_truth(args.ground_truth)), args.out)
    print(f"{args.out}: fitted steps")


def _apply(args: argparse.Namespace) -> None:
    from footpass.data.provenance import read_provenance, write_marked
    from footpass.files import fingerprint
    from footpass.postprocess.evidence import as_evidence
    from footpass.postprocess.search import load
    from footpass.postprocess.steps import postprocess

    inputs = _inputs(args)
    config = load(args.model)
    done = postprocess(inputs["events"], as_evidence(inputs["evidence"]), config)
    made_by = f"postprocess {fingerprint(Path(args.model))}"
    write_marked(done.table, args.out, read_provenance(args.predictions).by(made_by))
    fates = done.audit["fate"].value_counts()
    changes = ", ".join(f"{n} {fate}" for fate, n in fates.items() if n and fate != "kept")
    count = f"{len(done.table)} of {len(inputs['events'])} events"
    print(f"{args.out}: {count}; {changes or 'none changed'}")


def _legal(args: argparse.Namespace) -> None:
    from footpass.data.provenance import read_provenance, write_marked
    from footpass.events import read_predictions
    from footpass.files import make_folder
    from footpass.postprocess.grammar import legal_events

    make_folder(Path(args.out).parent)
    events = read_predictions(args.predictions)
    kept = legal_events(events)
    write_marked(kept, args.out, read_provenance(args.predictions).by("postprocess legal"))
    print(f"{args.out}: {len(kept)} of {len(events)} events")
