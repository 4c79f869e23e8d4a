"""DST from play-by-play alone: trained on real events and simulated detections of them.

The tactical data and the logits of the training matches are gated; their 91,327 events are public, and
so are a detector's events of the three validation matches. What is known of the detector from some of
these (`footpass.patches`) is pasted onto the training events, anew in each epoch; the DST learns to
write the events from the detections, and is applied to the real detections of another match.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from footpass.crossfit import CrossFit, Inputs, cross_fit
from footpass.events import class_counts, halves_of, match_of
from footpass.models.dst import DST
from footpass.patches import Patches, cut_patches, paste
from footpass.sequence import DST_RECIPES, DSTRecipe, load_dst, train_dst, write_events
from footpass.training import LAST
from footpass.windows import Detected, detected


def _from_detections(
    recipe: DSTRecipe, per_half: int, weighting: str = "none", **changes: object
) -> DSTRecipe:
    return replace(
        recipe,
        windows=replace(recipe.windows, augment="players", sparse=True, per_half=per_half),
        train=replace(recipe.train, **changes),
        weighting=weighting,
    )


PLAY_BY_PLAY_RECIPES: dict[str, DSTRecipe] = {
    "smoke": _from_detections(DST_RECIPES["smoke"], 4),
    "demo": _from_detections(DST_RECIPES["demo"], 60),
    "study": _from_detections(
        DST_RECIPES["study"], 190, "sqrt", epochs=10, accumulate=2, milestones=(6, 8), decay=0.3
    ),
}


def pasted(patches: Patches, truth: pd.DataFrame, seed: int, epoch: int = 0) -> dict[str, Detected]:
    """Halves of ``truth`` with detections as of `patches.paste`, other ones in each epoch."""
    return detected(paste(patches, truth, np.random.default_rng([seed, epoch])), truth)


def train_on_play_by_play(
    recipe: DSTRecipe, train_truth: pd.DataFrame, patches: Patches, run_dir: str | Path
) -> DST:
    """A DST that has learned from pasted detections, as it is after the last epoch: none is scored."""
    train_dst(
        recipe,
        lambda epoch: pasted(patches, train_truth, recipe.train.seed, epoch),
        class_counts(train_truth),
        run_dir,
    )
    return load_dst(Path(run_dir, LAST))[0]


def leave_one_match_out(
    recipe: DSTRecipe,
    train_truth: pd.DataFrame,
    detections: dict[str, pd.DataFrame],
    truth: pd.DataFrame,
    run_dir: str | Path,
) -> CrossFit:
    """Events of every match by a DST whose detections were simulated from the other matches alone.

    Parameters
    ----------
    train_truth
        Ground truth of matches without detections.
    detections
        By model; as many as the recipe's model reads volumes.
    truth
        Ground truth of the matches with detections.
    run_dir
        A folder for each match held out is made in it; finished ones are not trained again.
    """

    def fit(inputs: Inputs, known: pd.DataFrame) -> DST:
        fitted_on = dict.fromkeys(match_of(half) for half in halves_of(known))
        patches = cut_patches(known, list(inputs.values()))
        return train_on_play_by_play(recipe, train_truth, patches, Path(run_dir, "+".join(fitted_on)))

    def apply(model: DST, inputs: Inputs) -> pd.DataFrame:
        return write_events(model, detected(list(inputs.values())), recipe.windows, batch=64, beams=3)

    return cross_fit(fit, apply, detections, truth)
