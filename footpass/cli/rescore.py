"""``fuse``, ``rescore``: several models' events as one, by weights or by what was learned."""

import argparse
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from footpass.cli.options import add_command, add_settings, add_strict
from footpass.configs import override, write_config
from footpass.files import DataError, fingerprint, make_folder
from footpass.schema import ACTION_LABELS, ACTIONS

if TYPE_CHECKING:
    import pandas as pd

    from footpass.data.provenance import Provenance

_NEEDS = {"lomo": "ground_truth", "fit": "ground_truth", "apply": "model"}  # beside predictions
_EXPONENTS = (0.0, 0.5, 1.0)
_CACHE = Path("runs", "cache")


def add(commands: argparse._SubParsersAction) -> None:
    """Add the commands to the parser."""
    text = "several models' events as one, by weighted scores"
    example = "fuse --predictions DST.json TAAD.json --weights 1 0.5 --agreement 2 --out fused.json"
    fuse = add_command(commands, "fuse", _fuse, text, example)
    add_strict(fuse)
    option = fuse.add_argument
    models = "one a model; an event's frame is that of the first that has it"
    option("--predictions", required=True, nargs="+", metavar="P.json", help=models)
    option("--weights", nargs="+", type=float, metavar="W", help="one a model (all the same)")
    agreement = "models that must have an event (%(default)s)"
    option("--agreement", type=int, default=1, metavar="N", help=agreement)
    one = "classes for which one model is enough"
    option("--except", dest="exceptions", nargs="+", default=[], choices=ACTION_LABELS, help=one)
    option("--threshold", type=float, default=0.0, help="lowest fused score (%(default)s)")
    share = "of the share of models that have an event; published 0.5 (%(default)s)"
    option("--exponent", type=float, default=1.0, metavar="X", help=share)
    fitted = "of the same halves: fits all of these, for each match on the others, and says them"
    option("--ground-truth", metavar="G.json", help=fitted)
    option("--out", required=True, metavar="OUT.json")

    text = "decide which of several models' events are true"
    example = "rescore lomo --predictions DST.json TAAD.json --ground-truth G.json --out lomo.json"
    rescore = add_command(commands, "rescore", _rescore, text, example)
    add_strict(rescore)
    option = rescore.add_argument
    actions = "lomo: every match by a pipeline fitted on the others; fit: fit and save; apply: to others"
    option("action", choices=tuple(_NEEDS), help=actions)
    chain = "no trees: calibrated scores and the likeliest chain of events, in seconds"
    option("--chain", action="store_true", help=chain)
    models = "one a model, the best first"
    option("--predictions", required=True, nargs="+", metavar="P.json", help=models)
    option("--ground-truth", metavar="G.json", help="of the same halves (lomo, fit)")
    beside = "playbyplay_train.json beside G.json, in the data folder or the release"
    option("--train-truth", metavar="T.json", help=f"of other matches ({beside})")
    option("--model", metavar="MODEL.json", help="what fit has written (apply)")
    option("--out", required=True, metavar="OUT.json", help="predictions; fit: the model")
    option("--seed", type=int, help="0")
    option("--cache", type=Path, help=f"fitted pipelines ({_CACHE})")
    add_settings(rescore, "repeats=2")


def _fuse(args: argparse.Namespace) -> None:
    from footpass.data.provenance import write_marked
    from footpass.ensemble.fusion import FusionConfig, fuse

    weights = args.weights or [1.0] * len(args.predictions)
    exceptions = tuple(ACTIONS[ACTION_LABELS.index(name)] for name in args.exceptions)
    config = FusionConfig(tuple(weights), args.agreement, args.threshold, exceptions, args.exponent)
    tables, sources = _opened(args)
    data, what = _of_all(sources), "fuse"
    if args.ground_truth:
        events, what = _fitted_fusion(tables, args.ground_truth), "fuse, leaving one match out"
    else:
        events = fuse(list(tables.values()), config)
    write_marked(events.drop(columns="agreement"), args.out, data.by(what))
    print(f"{args.out}: {len(events)} events")


def _opened(args: argparse.Namespace) -> "tuple[dict[str, pd.DataFrame], list[Provenance]]":
    """Prediction tables by path, and their provenance, once the folder of the output is there."""
    from footpass.data.provenance import read_provenance
    from footpass.events import read_predictions

    if len(set(args.predictions)) < len(args.predictions):
        raise DataError("a prediction file is given twice")
    make_folder(Path(args.out).parent)  # what cannot be made is found before reading and fitting
    tables = {path: read_predictions(path) for path in args.predictions}
    return tables, [read_provenance(path) for path in tables]


def _of_all(sources: "list[Provenance]") -> "Provenance":
    """Provenance of what is made of several models' events, with all of these models."""
    from footpass.data.provenance import together

    models = dict.fromkeys(model for source in sources for model in source.models)
    return replace(together(sources), models=tuple(models))


def _fitted_fusion(tables: "dict[str, pd.DataFrame]", ground_truth: str) -> "pd.DataFrame":
    from footpass.crossfit import cross_fit
    from footpass.ensemble.fusion import apply_fusion, fit_fusion
    from footpass.events import read_ground_truth
    from footpass.metrics import evaluate

    truth = read_ground_truth(ground_truth)
    fit = partial(fit_fusion, exponents=_EXPONENTS)
    events = cross_fit(fit, apply_fusion, tables, truth).table
    print(f"macro F1 {evaluate(events, truth).macro_f1:.4f}, leaving one match out")
    best = fit(tables, truth)
    words = ["--weights", *best.weights, "--agreement", best.agreement, "--exponent", best.exponent]
    words += ["--threshold", best.threshold]
    if best.exceptions:
        words += ["--except", *(action.label for action in best.exceptions)]
    print(f"fitted on all of these, for others: {' '.join(map(str, words))}")
    return events


def _rescore(args: argparse.Namespace) -> None:
    from footpass.data.provenance import write_marked
    from footpass.ensemble import chain, rescore
    from footpass.ensemble.candidates import check_order
    from footpass.events import read_ground_truth
    from footpass.experiments.profile import load_profile
    from footpass.experiments.release import find_train_truth
    from footpass.metrics import evaluate

    if getattr(args, _NEEDS[args.action]) is None:
        raise DataError(f"rescore {args.action} needs --{_NEEDS[args.action].replace('_', '-')}")
    of_trees = "set", "seed", "profile", "cache"
    given = [f"--{name}" for name in of_trees if getattr(args, name) not in (None, [])]
    if args.chain and given:
        raise DataError(f"{', '.join(given)}: a --chain has no settings")
    tables, sources = _opened(args)
    data, models = _of_all(sources), [next(iter(source.models), "") for source in sources]
    method: Any = chain if args.chain else rescore
    if args.action == "apply":
        fitted = method.load(args.model)
        check_order(list(tables.values()), models, fitted.rates, fitted.made_by)
        events = method.apply(fitted, list(tables.values()))
        write_marked(events, args.out, data.by(f"rescore {fingerprint(Path(args.model))}"))
        print(f"{args.out}: {len(events)} events")
        return
    truth = read_ground_truth(args.ground_truth)
    train = read_ground_truth(args.train_truth or find_train_truth(args.ground_truth))
    settings: dict[str, Any] = {}
    if not args.chain:
        config = reduce(override, args.set, load_profile(args.profile).rescore)
        settings = {"config": config, "seed": args.seed or 0}
    if args.action == "fit":
        fitted = method.fit(list(tables.values()), truth, train, **settings)
        write_config(replace(fitted, made_by=tuple(models)), args.out)
        print(f"{args.out}: fitted on {len(tables)} prediction files")
        return
    if args.chain:
        events, _ = chain.chain_lomo(tables, truth, train)
    else:
        events, _ = rescore.rescore_lomo(
            tables, truth, train, cache_dir=args.cache or _CACHE, **settings
        )
    write_marked(events, args.out, data.by("rescore lomo"))
    print(f"{args.out}: {len(events)} events, macro F1 {evaluate(events, truth).macro_f1:.4f}")
