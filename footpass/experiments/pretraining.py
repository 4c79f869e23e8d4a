"""Pre-training of a DST on simulated matches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from footpass.data.cache import open_halves
from footpass.data.halves import events_of
from footpass.data.paths import tactical_path
from footpass.events import class_counts, concat
from footpass.files import DataError, fingerprint, locked, make_folder
from footpass.models.player_dst import PlayerDSTConfig
from footpass.models.transformer import FUSIONS
from footpass.sequence.recipes import DSTRecipe
from footpass.sequence.sources import Recorded
from footpass.sequence.train import train_dst
from footpass.simulate.logits import simulate_logits
from footpass.simulate.season import EDITION, write_season


def pretraining_recipe(recipe: DSTRecipe) -> DSTRecipe:
    """What a DST is pre-trained by: the settings of its pre-training, unweighted classes.

    Evidence is hidden as by default, whatever the fine-tuning does: made-up detectors are not quite like
    real ones.
    """
    if recipe.pretraining is None:
        missing = "set pretraining.matches and pretraining.minutes"
        raise DataError(f"this profile's DST has no pre-training: {missing}")
    model = recipe.model
    if isinstance(model, PlayerDSTConfig):
        model = replace(model, forget=PlayerDSTConfig().forget)
    return replace(recipe, model=model, train=recipe.pretraining.train, weighting="none")


def pretrain_dst(
    recipe: DSTRecipe,
    run_dir: str | Path,
    device: torch.device | str = "cpu",
    shared: str | Path | None = None,
) -> list[dict]:
    """Train a DST on simulated matches by a `pretraining_recipe`; rows as of `train_dst`.

    The matches are kept in ``run_dir``, or in a folder in ``shared`` for whoever learns from the same;
    they are not those of a default season.
    """
    pretraining = recipe.pretraining
    if pretraining is None:
        raise DataError("a recipe without pre-training: nothing to train on")
    season = Path(run_dir, "season")
    if shared:
        name = fingerprint(pretraining.matches, pretraining.minutes, EDITION)
        season = Path(shared, f"season-pretraining-{name[:8]}")
    make_folder(season)
    with locked(season):  # of several processes, the first simulates
        if not (season / tactical_path("train")).is_file():
            sizes = pretraining.matches, pretraining.minutes, _PRETRAINING_SEED
            write_season(season, *sizes, "train", video=False)
    halves = {}
    for number, (name, half) in enumerate(open_halves(season, "train").items()):
        rng = np.random.default_rng([_PRETRAINING_SEED, number])
        halves[name] = Recorded(half, *simulate_logits(half, rng, FUSIONS[recipe.model.fusion]))
    counts = class_counts(concat(events_of(one.half) for one in halves.values()))
    return train_dst(recipe, lambda epoch: halves, counts, run_dir, device)


_PRETRAINING_SEED = 1000  # default seasons have seed 0
