"""``predict``: logits and events of a checkpoint on a split."""

import argparse
from pathlib import Path

from footpass.cli.options import add_command, add_strict
from footpass.files import DataError, make_folder
from footpass.schema import SPLITS, counted


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    text = "logits and events of all halves of a split"
    example = "predict --checkpoint runs/taad/best.pt --data data --split val --out runs/taad"
    predict = add_command(commands, "predict", _predict, text, example)
    add_strict(predict)
    option = predict.add_argument
    option("--checkpoint", required=True, metavar="BEST.pt", help="or zoo:NAME, one of footpass models")
    code = "computing as the code there does, or its weights alone"
    text = f"of the public repository, {code}; with --logits, its DST"
    known = ("conventions", "weights")
    option("--public", nargs="?", const="conventions", choices=known, help=text)
    option("--data", required=True, metavar="DATA_DIR")
    option("--split", choices=SPLITS, default="val", help="%(default)s")
    option("--out", required=True, metavar="DIR")
    text = "auto: the half precision that the device is fast at (auto on CUDA, fp32 on the CPU)"
    option("--precision", choices=("auto", "fp32", "bf16", "fp16"), help=text)
    option("--logits", nargs="+", metavar="RUN_DIR", help="what a DST reads, as in train")
    option = predict.add_mutually_exclusive_group().add_argument
    text = "smoothing and class offsets of a detector's logits, fitted on this split's labels"
    option("--fit-adjustment", metavar="FILE", help=f"{text}; take a split that it has not learned from")
    option("--adjustment", metavar="FILE", help="such a file, fitted on another split")


def _predict(args: argparse.Namespace) -> None:
    from footpass.training.checkpoints import load_checkpoint
    from footpass.zoo import resolve

    checkpoint = resolve(args.checkpoint)
    if args.public:  # these do not say what they are
        sequences = bool(args.logits)
    else:
        sequences = str(load_checkpoint(checkpoint)["config"].get("kind")).endswith("DST")
    (_predict_dst if sequences else _predict_detector)(args, checkpoint)


def _predict_dst(args: argparse.Namespace, checkpoint: Path) -> None:
    from footpass.data.provenance import write_marked
    from footpass.events import predictions_path
    from footpass.sequence.decode import (
        check_logits,
        load_dst,
        open_recorded,
        predict_events,
        written_by,
    )
    from footpass.training.distributed import join_processes, locked_by_first

    if not args.logits:
        raise DataError("a DST reads logits: name the runs that made them with --logits")
    if args.adjustment or args.fit_adjustment:
        raise DataError("a DST has no logits to adjust: --adjustment is for detectors")
    model, windows = load_dst(checkpoint, args.public)
    halves = open_recorded(args.data, args.split, args.logits)
    if not args.public:
        check_logits(checkpoint, halves)
    with locked_by_first(args.out):  # what cannot be made is found before decoding
        events = predict_events(model.to(join_processes()), halves, windows)
        made = written_by(model, checkpoint, halves)
        write_marked(events, predictions_path(args.out, args.split), made)
    print(f"{predictions_path(args.out, args.split)}: {len(events)} events")


def _predict_detector(args: argparse.Namespace, checkpoint: Path) -> None:
    from footpass import zoo
    from footpass.data.cache import open_footage
    from footpass.data.halves import events_of
    from footpass.data.logits import logits_path, made_by, read_logits
    from footpass.detectors.predict import load_detector, predict
    from footpass.detectors.spotting import (
        UNADJUSTED,
        fit_adjustment,
        read_adjustment,
        write_adjustment,
    )
    from footpass.events import concat, predictions_path
    from footpass.training.distributed import join_processes, rank_and_world
    from footpass.training.optim import resolve_precision

    device = join_processes()
    precision = args.precision or ("auto" if device.type == "cuda" else "fp32")
    precision = resolve_precision(precision, device)  # the logits' file says which it was
    footage = open_footage(args.data, args.split)
    adjustment = zoo.adjustment(args.checkpoint)
    if args.adjustment or args.fit_adjustment:
        adjustment = read_adjustment(args.adjustment) if args.adjustment else UNADJUSTED
    halves = {name: entry.half for name, entry in footage.items()}
    # What is missing is missed before hours of inference.
    truth = concat(map(events_of, halves.values())) if args.fit_adjustment else None
    if args.fit_adjustment:
        make_folder(Path(args.fit_adjustment).parent)
    how = device, precision, args.public, adjustment
    events = predict(checkpoint, footage, args.out, args.split, *how)
    if rank_and_world()[0] == 0:
        if truth is not None:
            model, _ = load_detector(checkpoint, args.public)
            store = logits_path(args.out, args.split)
            logits = {name: read_logits(store, half) for name, half in halves.items()}
            fitted = fit_adjustment(logits, halves, truth, model.without_box)
            write_adjustment(fitted, args.fit_adjustment, made_by(store))
            print(f"{args.fit_adjustment}: for --adjustment; the events below are without it")
        print(f"{logits_path(args.out, args.split)}: logits of {counted(len(footage), 'half')}")
        print(f"{predictions_path(args.out, args.split)}: {len(events)} events")
