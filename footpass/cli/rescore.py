"""``rescore``: learned re-scoring, fitted, saved, applied, or leave one match out."""

import argparse
from pathlib import Path

from footpass.files import DataError, make_folder

_RESCORE_NEEDS = {
    "lomo": ("ground_truth",),
    "fit": ("ground_truth",),
    "apply": ("model",),
}


def _rescore(args: argparse.Namespace) -> None:
    from footpass.ensemble import rescore
    from footpass.events import read_ground_truth, read_predictions, write_events
    from footpass.experiments.profile import load_profile
    from footpass.experiments.release import read_train_truth
    from footpass.metrics import evaluate

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
    make_folder(Path(args.out).parent)  # what cannot be made is found before fitting
    tables = {path: read_predictions(path) for path in args.predictions}
    if action == "apply":
        events = rescore.apply(rescore.load(args.model), list(tables.values()))
        write_events(events, args.out)
        print(f"{args.out}: {len(events)} events")
        return
    truth, train = read_ground_truth(args.ground_truth), read_train_truth()
    config = load_profile(args.profile).rescore
    if action == "fit":
        rescore.save(rescore.fit(list(tables.values()), truth, train, config, args.seed), args.out)
        print(f"{args.out}: fitted on {len(tables)} prediction files")
        return
    events, _ = rescore.rescore_lomo(tables, truth, train, config, args.seed, args.cache)
    write_events(events, args.out)
    print(f"{args.out}: {len(events)} events, macro F1 {evaluate(events, truth).macro_f1:.4f}")
