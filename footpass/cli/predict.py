"""``predict``: logits and events of a checkpoint on a split."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from footpass.cli.options import add_command, add_strict, add_workers
from footpass.files import DataError, make_folder
from footpass.schema import SPLITS, counted

if TYPE_CHECKING:
    import pandas as pd

    from footpass.data.cache import Footage


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    text = "logits and events of all halves of a split"
    example = "predict --checkpoint runs/taad/best.pt --data data --split val --out runs/taad"
    predict = add_command(commands, "predict", _predict, text, example)
    add_strict(predict)
    option = predict.add_argument
    given = "or zoo:NAME (footpass models); of several detectors, videos are decoded once for all"
    option("--checkpoint", required=True, nargs="+", metavar="BEST.pt", help=given)
    text = "--checkpoint is a run of train --folds: of each train match, what the fold without it says"
    option("--folds", action="store_true", help=text)
    code = "computing as the code there does, or its weights alone"
    text = f"of the public repository, {code}; with --logits, its DST"
    known = ("conventions", "weights")
    option("--public", nargs="?", const="conventions", choices=known, help=text)
    option("--data", required=True, metavar="DATA_DIR")
    option("--split", choices=SPLITS, default="val", help="%(default)s")
    option("--out", required=True, nargs="+", metavar="DIR", help="one for each checkpoint")
    text = "auto: the half precision that the device is fast at (auto on CUDA, fp32 on the CPU)"
    option("--precision", choices=("auto", "fp32", "bf16", "fp16"), help=text)
    add_workers(predict)
    option("--stride", type=int, metavar="N", help="frames from clip to clip (half a clip)")
    option("--mirrored", action="store_true", help="average with the mirrored match, in twice the time")
    option("--logits", nargs="+", metavar="RUN_DIR", help="what a DST reads, as in train")
    option = predict.add_mutually_exclusive_group().add_argument
    text = "smoothing and class offsets of a detector's logits, fitted on this split's labels"
    option("--fit-adjustment", metavar="FILE", help=f"{text}; take a split that it has not learned from")
    option("--adjustment", metavar="FILE", help="such a file, fitted on another split")


def _predict(args: argparse.Namespace) -> None:
    from footpass.training.checkpoints import load_checkpoint
    from footpass.zoo import resolve

    checkpoints = [resolve(checkpoint) for checkpoint in args.checkpoint]
    if len(checkpoints) != len(args.out):
        folders, models = counted(len(args.out), "folder"), counted(len(checkpoints), "checkpoint")
        raise DataError(f"--out: {folders} for {models}, each of which has its own")
    if len({Path(out).absolute() for out in args.out}) < len(args.out):
        raise DataError("--out: a folder is given twice")
    if args.folds:
        if args.split != "train" or args.public or args.logits or args.fit_adjustment:
            reason = "for all else take a detector that has learned from all train matches"
            raise DataError(f"--folds is for logits of --split train: {reason}")
        return _predict_detectors(args, checkpoints)
    if args.public:  # these do not say what they are
        sequences = bool(args.logits)
    else:
        kinds = [str(load_checkpoint(path)["config"].get("kind")) for path in checkpoints]
        sequences = any(kind.endswith("DST") for kind in kinds)
    if not sequences:
        return _predict_detectors(args, checkpoints)
    if len(checkpoints) > 1:
        raise DataError("several checkpoints must all be of detectors: a DST reads no video")
    return _predict_dst(args, checkpoints[0], args.out[0])


def _predict_dst(args: argparse.Namespace, checkpoint: Path, out: str) -> None:
    from footpass.data.provenance import together
    from footpass.events import predictions_path
    from footpass.sequence.decode import check_logits, open_recorded, write_predictions
    from footpass.training.distributed import join_processes, rank_and_world

    if not args.logits:
        raise DataError("a DST reads logits: name the runs that made them with --logits")
    if args.adjustment or args.fit_adjustment:
        raise DataError("a DST has no logits to adjust: --adjustment is for detectors")
    if args.stride or args.mirrored:
        raise DataError("a DST reads logits, not clips: --stride and --mirrored are for detectors")
    if args.dask or args.workers != 1:
        raise DataError("a DST takes minutes, not hours: --workers and --dask are for detectors")
    device = join_processes()
    halves = open_recorded(args.data, args.split, args.logits)
    if not args.public:
        check_logits(checkpoint, together(half.provenance for half in halves.values()).models)
    events = write_predictions(checkpoint, halves, out, args.split, device, args.public)
    if rank_and_world()[0] == 0:
        print(f"{predictions_path(out, args.split)}: {len(events)} events")


def _predict_detectors(args: argparse.Namespace, checkpoints: list[Path]) -> None:
    from footpass import zoo
    from footpass.data.cache import open_footage
    from footpass.data.halves import events_of
    from footpass.data.logits import logits_path
    from footpass.detectors.folds import held_out_by
    from footpass.detectors.predict import Run, Workers, predict_together
    from footpass.detectors.spotting import UNADJUSTED, read_adjustment
    from footpass.events import concat, predictions_path
    from footpass.training.distributed import join_processes, rank_and_world
    from footpass.training.optim import resolve_precision
    from footpass.workers import open_workers

    if len(checkpoints) > 1 and (args.adjustment or args.fit_adjustment):
        raise DataError("an adjustment is of one detector: give each its own in a command of its own")
    device = join_processes()
    if rank_and_world()[1] > 1 and (args.dask or args.workers != 1):
        raise DataError("torchrun, --workers and --dask do the same: take one of them")
    precision = args.precision or ("auto" if device.type == "cuda" else "fp32")
    precision = resolve_precision(precision, device)  # the logits' file says which it was
    footage = open_footage(args.data, args.split)
    adjustments = [zoo.adjustment(name) for name in args.checkpoint]
    if args.adjustment or args.fit_adjustment:
        adjustments = [read_adjustment(args.adjustment) if args.adjustment else UNADJUSTED]
    # What is missing is missed before hours of inference.
    halves = [entry.half for entry in footage.values()]
    truth = concat(map(events_of, halves)) if args.fit_adjustment else None
    if args.fit_adjustment:
        make_folder(Path(args.fit_adjustment).parent)
    given = [held_out_by(path, footage) if args.folds else path for path in checkpoints]
    runs = [Run(*run) for run in zip(given, args.out, adjustments, strict=True)]
    how = device, precision, args.public, args.stride, args.mirrored
    with open_workers(args.workers, args.dask) as executor:
        workers = Workers(executor, args.data) if executor else None
        found = predict_together(runs, footage, args.split, *how, workers)
    if rank_and_world()[0] > 0:
        return
    if truth is not None:
        _fit_adjustment(args, checkpoints[0], footage, truth)
    for run, events in zip(runs, found, strict=True):
        print(f"{logits_path(run.dir, args.split)}: logits of {counted(len(footage), 'half')}")
        print(f"{predictions_path(run.dir, args.split)}: {len(events)} events")


def _fit_adjustment(
    args: argparse.Namespace, checkpoint: Path, footage: "dict[str, Footage]", truth: "pd.DataFrame"
) -> None:
    from footpass.data.logits import logits_path, made_by, read_logits
    from footpass.detectors.predict import load_detector
    from footpass.detectors.spotting import fit_adjustment, write_adjustment

    model, _ = load_detector(checkpoint, args.public)
    store, halves = logits_path(args.out[0], args.split), {name: e.half for name, e in footage.items()}
    logits = {name: read_logits(store, half) for name, half in halves.items()}
    fitted = fit_adjustment(logits, halves, truth, model.without_box)
    write_adjustment(fitted, args.fit_adjustment, made_by(store))
    print(f"{args.fit_adjustment}: for --adjustment; the events below are without it")
