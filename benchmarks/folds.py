"""What a DST gains from logits of detectors that have not learned from its matches.

``python -m benchmarks.folds data runs/taad runs/folds --from zoo:dst --out runs/dst-folds``

The first run has the logits (``predict``) of a detector on train, from which it has learned, and on val;
the second has those of train by folds (``predict --folds``), or of train matches that were held out from
its detector. A DST learns from each, in several seeds, and is scored on val, on the first run's logits.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from footpass.data.cache import open_halves
from footpass.data.halves import events_of
from footpass.data.hdf5 import names_in
from footpass.data.logits import logits_path, made_by
from footpass.data.provenance import season_provenance
from footpass.detectors.spotting import events_from_store
from footpass.events import class_counts, concat
from footpass.experiments.profile import load_profile
from footpass.experiments.season import Season
from footpass.metrics import Comparison, Evaluation, compare, evaluate
from footpass.models.gnn import TAADGNN
from footpass.sequence.decode import load_dst, predict_events, with_logits
from footpass.sequence.recipes import DSTRecipe
from footpass.sequence.sources import Recorded
from footpass.sequence.train import fine_tuning, train_dst
from footpass.training.checkpoints import LAST
from footpass.training.distributed import join_processes
from footpass.zoo import resolve


def main(arguments: Sequence[str] | None = None) -> Comparison:
    """Train, score and print; what was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data")
    parser.add_argument("learned", help="run with logits_train.h5 and logits_val.h5")
    parser.add_argument("held_out", help="run with logits_train.h5")
    parser.add_argument("--out", required=True, help="folder for the DSTs")
    parser.add_argument("--from", dest="start", help="DST to go on from")
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args(arguments)
    recipe, start = load_profile(args.profile).dst, resolve(args.start) if args.start else None
    recipe = replace(fine_tuning(recipe, start) if start else recipe, pretraining=None)
    val = _recorded(args.data, "val", args.learned)
    results: dict[str, list[Evaluation]] = {}
    for name, run in (("learned", args.learned), ("held out", args.held_out)):
        train = _recorded(args.data, "train", run)
        folders = [Path(args.out, f"{name}-seed{seed}") for seed in range(args.seeds)]
        results[name] = [
            _learned(recipe, seed, train, val, to, start) for seed, to in enumerate(folders)
        ]
    season = Season(Path(args.data), season_provenance(args.data), None)
    found = compare(results, block_minutes=season.block_minutes)
    print("| a DST learns from logits | macro F1 on val | 90 % interval | by seed |")
    print("| --- | --- | --- | --- |")
    for name, score in found.scores.items():
        seeds = ", ".join(f"{result.macro_f1:.3f}" for result in results[name])
        print(f"| {name} | {score.value:.4f} | {score.low:.3f} to {score.high:.3f} | {seeds} |")
    print(found.verdict("held out"))
    return found


def _recorded(data: str, split: str, run: str) -> dict[str, Recorded]:
    """The halves that a run has logits of; how good these are by themselves is printed."""
    store = logits_path(run, split)
    names = names_in(store)
    halves = {name: half for name, half in open_halves(data, split).items() if name in names}
    graph = str(made_by(store)).startswith(TAADGNN.__name__)
    alone = evaluate(events_from_store(store, halves, graph), concat(map(events_of, halves.values())))
    print(
        f"{store}: macro F1 {alone.macro_f1:.4f}, micro {alone.counts.micro['f1']:.4f} of the detector"
    )
    return with_logits(halves, [store])


def _learned(
    recipe: DSTRecipe,
    seed: int,
    train: Mapping[str, Recorded],
    val: Mapping[str, Recorded],
    folder: Path,
    start: Path | None,
) -> Evaluation:
    """The score on val of a DST that learns from train."""
    recipe = replace(recipe, train=replace(recipe.train, seed=seed))
    events = concat(events_of(one.half) for one in train.values())
    device = join_processes()
    train_dst(recipe, lambda epoch: train, class_counts(events), folder, device, start=start)
    model, windows = load_dst(folder / LAST)
    found = predict_events(model.to(device), val, windows)
    return evaluate(found, concat(events_of(one.half) for one in val.values()))


if __name__ == "__main__":
    main()
