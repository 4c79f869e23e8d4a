"""DST from play-by-play alone: trained on real events and simulated detections of them.

The tactical data and the logits of the training matches are gated; their 91,327 events are public, and
so are a detector's events of the three validation matches. What is known of the detector from some of
these (`simulate.copy_paste`) is pasted onto the training events, anew in each epoch; the DST learns to
write the events from the detections, and is applied to the real detections of another match.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from footpass.crossfit import CrossFit, Inputs, cross_fit
from footpass.detectors.spotting import NMS_WINDOW
from footpass.events import class_counts, halves_of, match_of
from footpass.postprocess.evidence import as_evidence
from footpass.postprocess.steps import Refine, refine
from footpass.sequence.decode import load_dst, predict_events
from footpass.sequence.recipes import AnyDST, DSTRecipe
from footpass.sequence.sources import Detected, detected
from footpass.sequence.train import train_dst
from footpass.simulate.copy_paste import Snippets, cut_snippets, paste
from footpass.training.checkpoints import LAST

BEAMS = 3  # sequences that decoding keeps open


def pasted(truth: pd.DataFrame, snippets: Snippets, seed: Sequence[int]) -> dict[str, Detected]:
    """Halves of ``truth`` with detections that are drawn by the seed."""
    return detected(paste(snippets, truth, np.random.default_rng(seed)), truth)


def leave_one_match_out(
    recipe: DSTRecipe,
    train_truth: pd.DataFrame,
    detections: dict[str, pd.DataFrame],
    truth: pd.DataFrame,
    run_dir: str | Path,
    device: torch.device | str = "cpu",
) -> CrossFit:
    """Events of every match by a DST whose detections were simulated from the other matches alone.

    They are moved to the first detector's, where these have one of the player and class near.
    Detections, by model, and truth are of the same matches; of those of ``train_truth`` there are no
    detections. In ``run_dir`` there is a folder for each match held out; finished ones are not trained
    again.
    """

    def fit(inputs: Inputs, known: pd.DataFrame) -> AnyDST:
        fitted_on = dict.fromkeys(match_of(half) for half in halves_of(known))
        snippets = cut_snippets(known, list(inputs.values()))
        folder = Path(run_dir, "+".join(fitted_on))

        def halves(epoch: int) -> dict[str, Detected]:
            return pasted(train_truth, snippets, (recipe.train.seed, epoch))

        train_dst(recipe, halves, class_counts(train_truth), folder, device)
        return load_dst(Path(folder, LAST))[0].to(device)  # as after the last epoch: none is scored

    def apply(model: AnyDST, inputs: Inputs) -> pd.DataFrame:
        first, *_ = inputs.values()
        halves = detected(list(inputs.values()))
        events = predict_events(model, halves, recipe.windows, beams=BEAMS)
        # A detector keeps one detection of a player and class within `NMS_WINDOW` frames, so an event
        # that near to one can only be meant to be there.
        return refine(events, as_evidence(first), Refine(window=NMS_WINDOW)).table

    return cross_fit(fit, apply, detections, truth)
