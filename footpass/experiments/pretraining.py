"""Pre-training of a DST on simulated matches."""

from dataclasses import replace
from functools import lru_cache
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
from footpass.simulate.logits import perfect_logits, simulate_logits
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
    windows = recipe.pretraining.windows or recipe.windows
    return replace(
        recipe, model=model, windows=windows, train=recipe.pretraining.train, weighting="none"
    )


def pretrain_dst(
    recipe: DSTRecipe,
    run_dir: str | Path,
    device: torch.device | str = "cpu",
    shared: str | Path | None = None,
) -> list[dict]:
    """Train a DST on simulated matches by a `pretraining_recipe`; rows as of `train_dst`.

    The matches are kept in a folder in ``run_dir``, or in ``shared`` for whoever learns from the same;
    they are not those of a default season.
    """
    pretraining = recipe.pretraining
    if pretraining is None:
        raise DataError("a recipe without pre-training: nothing to train on")
    name = fingerprint(pretraining.matches, pretraining.minutes, EDITION)
    season = Path(shared or run_dir, f"season-pretraining-{name[:8]}")
    make_folder(season)
    with locked(season):  # of several processes, the first simulates
        if not (season / tactical_path("train")).is_file():
            sizes = pretraining.matches, pretraining.minutes, _PRETRAINING_SEED
            write_season(season, *sizes, "train", video=False)
    played, volumes = open_halves(season, "train"), FUSIONS[recipe.model.fusion]

    @lru_cache(maxsize=1)
    def watched(clear: bool) -> dict[str, Recorded]:
        halves = {}
        for number, (name, half) in enumerate(played.items()):
            rng = np.random.default_rng([_PRETRAINING_SEED, number])
            made = volumes * [perfect_logits(half)] if clear else simulate_logits(half, rng, volumes)
            halves[name] = Recorded(half, *made)
        return halves

    counts = class_counts(concat(map(events_of, played.values())))
    return train_dst(
        recipe, lambda epoch: watched(epoch < pretraining.clear_epochs), counts, run_dir, device
    )


_PRETRAINING_SEED = 1000  # default seasons have seed 0
