"""``train``: from data to checkpoints."""

import argparse
import logging
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from footpass.cli.options import add_command, add_setting, add_settings, add_strict
from footpass.configs import override
from footpass.files import DataError, fingerprint
from footpass.schema import counted
from footpass.training.config import TRACKERS, TrainConfig

if TYPE_CHECKING:
    import torch

    from footpass.experiments.profile import Profile
    from footpass.sequence.recipes import DSTRecipe

log = logging.getLogger(__name__)
_FINE_TUNED = "to fine-tune, whose sizes are taken, at a tenth of the learning rates: zoo:NAME"


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    example = "train taad --data data --out runs/taad --profile demo"
    train = commands.add_parser("train", help="train a model", example=example)
    models = train.add_subparsers(dest="model", required=True, metavar="MODEL")
    trained = [*_detectors(models), _dst(models), _play_by_play(models)]
    for model in trained:
        add_settings(model, "train.batch=4", "train.", TrainConfig)
        add_strict(model)
    for model in trained[:3]:
        text = "also log to TensorBoard, in OUT, or to Weights & Biases"
        model.add_argument("--tracker", choices=TRACKERS, help=text)
    given: Any = {"metavar": "NAME"}
    for model in trained[:2]:
        model.add_argument("--variant", help="with what one of the profile's variants changes", **given)
    text = "with what one of the profile's variants changes; of several, each in OUT/NAME"
    trained[2].add_argument("--variant", nargs="+", help=text, **given)
    for model in trained[2:]:
        add_setting(model, "--weighting", "weighting", "none, inverse, sqrt or effective")


def _detectors(models: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    text = "what each player does, from pixels"
    example = "train taad --data data --out runs/taad --profile paper --batch 4 --set model.width=96"
    taad = add_command(models, "taad", _train_detector, text, example)
    weights = "weights for the backbone, or their https:// address (random)"
    taad.add_argument("--kinetics", metavar="X3D_S.pyth", help=weights)
    taad.add_argument("--from", dest="start", metavar="BEST.pt", help=f"TAAD {_FINE_TUNED}")
    text = "the same with game state and neighbours"
    example = "train gnn --data data --out runs/gnn --from runs/taad/best.pt"
    gnn = add_command(models, "gnn", _train_detector, text, example)
    begin = f"TAAD (random weights); or TAAD + GNN {_FINE_TUNED}"
    gnn.add_argument("--from", dest="start", metavar="BEST.pt", help=begin)
    for option in (taad.add_argument, gnn.add_argument):
        option("--data", required=True, metavar="DATA_DIR", help="with splits train and val")
        option("--out", required=True, metavar="DIR", help="checkpoints, log")
        text = "zoo:taad: keep the features of its players as they are, and learn the rest"
        option("--features", metavar="BEST.pt", help=text)
        given: Any = {"dest": "set", "const": "model.checkpoint_backbone=true", "default": []}
        text = "K detectors in OUT/fold0..., each without a K-th of the train matches (predict --folds)"
        option("--folds", type=int, metavar="K", help=f"{text}; --from may be such a folder")
        text = "less memory, more time"
        option("--checkpoint-backbone", action="append_const", help=text, **given)
    return [taad, gnn]


def _dst(models: argparse._SubParsersAction) -> argparse.ArgumentParser:
    text = "events from all players' logits and positions"
    example = "train dst --data data --logits runs/taad runs/gnn --out runs/dst --pretrain"
    dst = add_command(models, "dst", _train_dst, text, example)
    dst.add_argument("--data", required=True, metavar="DATA_DIR", help="with splits train and val")
    runs = "of TAAD; of TAAD + GNN, or of more detectors, to fuse them"
    dst.add_argument("--logits", required=True, nargs="+", metavar="RUN_DIR", help=runs)
    dst.add_argument("--out", required=True, metavar="DIR", help="checkpoints, log")
    begin = dst.add_mutually_exclusive_group()
    sizes = "DST to fine-tune, whose sizes are taken: zoo:dst"
    begin.add_argument("--from", dest="start", metavar="BEST.pt", help=sizes)
    first = "learn from simulated matches first, in OUT/pretraining"
    begin.add_argument("--pretrain", action="store_true", help=first)
    return dst


def _play_by_play(models: argparse._SubParsersAction) -> argparse.ArgumentParser:
    text = "DST from public play-by-play alone, leaving one match out"
    example = "train play-by-play --profile study --out runs/play-by-play"
    play = add_command(models, "play-by-play", _train_play_by_play, text, example)
    play.add_argument("--release", metavar="DIR", help="clone of the public repository")
    play.add_argument("--out", required=True, metavar="DIR", help="checkpoints, predictions")
    return play


def _say_how(device: "torch.device", config: TrainConfig, what: str = "") -> None:
    """The first line of a training, if it is one: where, how exactly, and how much goes into a step."""
    if not config.epochs:  # of use to a study, whose models may be the zoo's
        raise DataError("epochs = 0: nothing would be trained")
    import torch

    from footpass.training.distributed import rank_and_world
    from footpass.training.optim import resolve_precision

    rank, world = rank_and_world()
    precision = resolve_precision(config.precision, device)
    if rank == 0:
        where = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        batch, parts = config.batch, config.accumulate
        step = f"{batch} x {parts} = {batch * parts} samples a step"
        print(f"{what}{where}, {precision}, {counted(world, 'process')}, {step}", flush=True)


def _say_best(rows: list[dict], out: str | Path, scored: str) -> None:
    from footpass.training.checkpoints import checkpoint_path
    from footpass.training.distributed import rank_and_world

    if rank_and_world()[0] == 0:
        best = max(rows, key=lambda row: row["macro_f1"])
        figures = f"macro F1 {best['macro_f1']:.3f} on {scored} after epoch {best['epoch'] + 1}"
        print(f"{checkpoint_path(out)}: {figures}")


def _check_start(
    profile: "Profile", variant: str | None, part: str, recipe: Any, args: argparse.Namespace
) -> None:
    """Refuse a checkpoint that has not the model of the variant, and would be trained in its place."""
    from dataclasses import replace

    from footpass.experiments.profile import varied

    recipes = (getattr(one, part) for one in (profile, varied(profile, variant)))
    own, asked = (reduce(override, args.set, one).model for one in recipes)
    found = replace(recipe.model, fusion=asked.fusion) if part == "dst" else recipe.model
    if own != asked != found:
        reason = f"not the model of variant {variant}: leave out --from, or --variant"
        raise DataError(reason, args.start)


def _train_detector(args: argparse.Namespace) -> None:
    from footpass.data.cache import open_footage
    from footpass.detectors.folds import Fold, fold_dir, make_folds
    from footpass.detectors.train import fine_tuning, on_features, train_detector
    from footpass.experiments.profile import load_profile, varied
    from footpass.training.checkpoints import checkpoint_path
    from footpass.training.distributed import join_processes, rank_and_world
    from footpass.training.tracking import tracker
    from footpass.zoo import resolve

    device = join_processes()
    start = resolve(args.start) if args.start else None
    profile = load_profile(args.profile)
    varied_profile = varied(profile, args.variant)
    recipe, kept = getattr(varied_profile, args.model), args.features or varied_profile.features
    kept = resolve(kept) if kept else None
    if kept:
        recipe = on_features(recipe, kept)
    elif start:
        of_folds = args.folds is not None and start.is_dir()
        recipe = fine_tuning(recipe, checkpoint_path(fold_dir(start, 0)) if of_folds else start)
        _check_start(profile, args.variant, args.model, recipe, args)
    recipe = reduce(override, args.set, recipe)
    _say_how(device, recipe.train)
    splits = {split: open_footage(args.data, split) for split in ("train", "val")}
    runs = [Fold(Path(args.out), splits["train"], {}, start)]
    if args.folds is not None:
        runs = make_folds(args.out, args.folds, splits["train"], start)
    for run in runs:
        begin: dict = {"start": run.start, "kinetics": getattr(args, "kinetics", None), "features": kept}
        if args.tracker and rank_and_world()[0] == 0:
            from footpass.plots import filmstrip

            shown = next(iter(splits["val"].values()))
            picture = partial(filmstrip, clips=recipe.clips, footage=shown)
            begin["track"] = tracker(args.tracker, run.dir, picture)
        footage = run.footage, splits["val"]
        rows = train_detector(recipe, *footage, run.dir, device, **begin, about=run.about)
        _say_best(rows, run.dir, "validation clips")


def _dst_recipes(args: argparse.Namespace, start: Path | None) -> "dict[Path, DSTRecipe]":
    """What is trained into which folder: one DST, or one of each variant."""
    from dataclasses import replace

    from footpass.experiments.profile import load_profile, varied
    from footpass.models.transformer import FUSIONS
    from footpass.sequence.train import fine_tuning

    fusion = next((name for name, volumes in FUSIONS.items() if volumes == len(args.logits)), None)
    if fusion is None:
        most = max(FUSIONS.values())
        raise DataError(f"--logits: {len(args.logits)} runs, expected one, or up to {most} to fuse them")
    profile, recipes = load_profile(args.profile), {}
    for name in args.variant or [None]:
        recipe = varied(profile, name).dst
        if start:
            recipe = fine_tuning(recipe, start)
            _check_start(profile, name, "dst", recipe, args)
        recipe = reduce(override, args.set, recipe)
        out = Path(args.out, name) if len(args.variant or ()) > 1 else Path(args.out)
        recipes[out] = replace(recipe, model=replace(recipe.model, fusion=fusion))
    return recipes


def _train_dst(args: argparse.Namespace) -> None:
    from footpass.data.halves import events_of
    from footpass.events import class_counts, concat
    from footpass.experiments.pretraining import pretrain_dst, pretraining_recipe
    from footpass.sequence.decode import open_recorded
    from footpass.sequence.train import train_dst
    from footpass.training.checkpoints import LAST
    from footpass.training.distributed import join_processes, rank_and_world
    from footpass.training.tracking import tracker
    from footpass.zoo import resolve

    device = join_processes()
    start = resolve(args.start) if args.start else None
    recipes = _dst_recipes(args, start)
    halves = {split: open_recorded(args.data, split, args.logits) for split in ("train", "val")}
    truth = {split: concat(events_of(one.half) for one in halves[split].values()) for split in halves}
    for out, recipe in recipes.items():
        what = f"{out.name}: " if len(recipes) > 1 else ""
        begin = start
        if recipe.pretraining and args.pretrain:
            _say_how(device, recipe.pretraining.train, f"{what}pre-training: ")
        _say_how(device, recipe.train, what)
        if recipe.pretraining and not (args.pretrain or args.start):
            log.warning("no pre-training on simulated matches: --pretrain begins with it")
        if args.pretrain:
            pretrain_dst(pretraining_recipe(recipe), out / "pretraining", device)
            begin = out / "pretraining" / LAST
        rows = train_dst(
            recipe,
            lambda epoch: halves["train"],
            class_counts(truth["train"]),
            out,
            device,
            (halves["val"], truth["val"]),
            begin,
            tracker(args.tracker, out) if args.tracker and rank_and_world()[0] == 0 else None,
        )
        _say_best(rows, out, "val")


def _train_play_by_play(args: argparse.Namespace) -> None:
    from footpass.data.provenance import write_marked
    from footpass.events import predictions_path
    from footpass.experiments.play_by_play import leave_one_match_out
    from footpass.experiments.profile import load_profile
    from footpass.experiments.release import load_release
    from footpass.metrics import evaluate
    from footpass.training.distributed import join_processes, rank_and_world

    profile = load_profile(args.profile)
    if profile.play_by_play is None:
        raise DataError(f"profile {profile.name} has no play_by_play")
    recipe = reduce(override, args.set, profile.play_by_play)
    release = load_release(args.release)
    taad = {"TAAD": release.predictions["TAAD"]}
    device = join_processes()
    _say_how(device, recipe.train)
    events = leave_one_match_out(recipe, release.train, taad, release.val, args.out, device).table
    if rank_and_world()[0] > 0:
        return
    made = release.provenance.by(f"play-by-play {fingerprint(recipe)}")
    write_marked(events, predictions_path(args.out, "val"), made)
    figures = [evaluate(table, release.val).macro_f1 for table in (taad["TAAD"], events)]
    print(f"{release.source}: macro F1 on val {figures[0]:.4f} of the detections alone")
    print(f"{predictions_path(args.out, 'val')}: {figures[1]:.4f}, leaving one match out")
