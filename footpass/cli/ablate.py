"""``ablate``: compute the rows of a grid."""

import argparse
from functools import reduce
from pathlib import Path

from footpass.cli.options import add_command, add_settings, add_strict, add_workers
from footpass.configs import override


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    text = "compute the rows of the ablation grid, with several workers if there are"
    parser = add_command(commands, "ablate", _ablate, text, "ablate --profile demo --workers 2")
    add_settings(parser, "taad.train.batch=4")
    add_strict(parser)
    parser.add_argument("--name", help="folder below runs/, as of report (the profile's name)")
    parser.add_argument("--data", metavar="DATA_DIR", help="$FOOTPASS_DATA, else data/, else simulated")
    add_workers(parser)
    parser.add_argument("--grid", type=Path, help="notebooks/ablations.toml by default")
    weights = "weights for the backbone, or their https:// address (random)"
    parser.add_argument("--kinetics", metavar="X3D_S.pyth", help=weights)


def _ablate(args: argparse.Namespace) -> None:
    from footpass.experiments.comparing import evaluations, scores
    from footpass.experiments.grid import run_grid
    from footpass.experiments.profile import load_profile
    from footpass.experiments.rows import open_grid
    from footpass.experiments.season import find_season
    from footpass.experiments.stages import Study
    from footpass.files import PROJECT, inside
    from footpass.metrics import compare
    from footpass.schema import counted
    from footpass.training.distributed import join_processes
    from footpass.workers import open_workers

    profile = reduce(override, args.set, load_profile(args.profile))
    grid = open_grid(args.grid, profile)  # a mistake in it is found before a season is simulated
    season = find_season(profile, args.data)
    folder = inside(PROJECT / "runs", args.name or profile.name, "--name") / "stages"
    kinetics = args.kinetics
    if kinetics and Path(kinetics).is_file():  # and no address
        kinetics = Path(kinetics).absolute()
    study = Study(folder, profile, season, join_processes(), kinetics)
    # How many workers a scheduler has, it knows itself.
    at_once = args.workers if args.dask in (None, "local") else None
    with open_workers(args.workers, args.dask) as executor:
        outcomes = run_grid(study, grid, executor, at_once)
    results = evaluations(outcomes, study.truth["val"])
    compared = compare(results, block_minutes=season.block_minutes)
    for name, row in scores(results, compared).iterrows():
        interval = f"90 % {row['low']:.4f} to {row['high']:.4f}"
        seeds = counted(int(row["seeds"]), "seed")
        print(f"{name:32} macro F1 {row['macro F1']:.4f}, {interval}, {seeds}")
