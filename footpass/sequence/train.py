"""Training of a DST, and its loss on a batch of windows."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from footpass.configs import plain
from footpass.data.provenance import together
from footpass.files import fingerprint
from footpass.metrics import evaluate
from footpass.models.losses import answer_losses, token_losses, token_weights
from footpass.models.player_dst import PlayerDST
from footpass.schema import PAD, Token
from footpass.sequence.decode import _check_inputs, load_dst, predict_shared
from footpass.sequence.recipes import _MODELS, AnyDST, DSTRecipe
from footpass.sequence.sources import Source
from footpass.sequence.windows import Sample, WindowConfig, WindowDataset, collate, grouped
from footpass.training.checkpoints import load_checkpoint, load_weights, new_model
from footpass.training.loop import Track, train
from footpass.training.tracking import f1_figures


def train_dst(
    recipe: DSTRecipe,
    halves: Callable[[int], Mapping[str, Source]],
    counts: np.ndarray,
    run_dir: str | Path,
    device: torch.device | str = "cpu",
    val: tuple[Mapping[str, Source], pd.DataFrame] | None = None,
    start: str | Path | None = None,
    track: Track | None = None,
) -> list[dict]:
    """Train a DST, or go on with a run that was interrupted; rows per epoch as of `training.loop.train`.

    ``halves`` gives, for an epoch's number, those to draw windows from; ``counts (8,)`` are training
    events by class, for the weights. It begins with the weights of the checkpoint ``start``, of a model
    of these sizes, or random ones. With ``val``, halves and their true events, the best epoch is
    chosen by what it writes of them.
    """
    torch.manual_seed(recipe.train.seed)
    model = new_model(_MODELS[type(recipe.model)], recipe.model).to(device)
    if start:  # the checkpoint's config may differ in what is no size
        load_weights(model, load_checkpoint(start, {"kind": type(model).__name__}), start)
    weights = torch.as_tensor(token_weights(counts, recipe.weighting), dtype=torch.float32)
    begin = halves(0)
    first = _epoch(recipe, begin, 0)
    return train(
        model,
        recipe.train,
        lambda epoch: _epoch(recipe, halves(epoch), epoch) if epoch else first,
        lambda net, batch: sequence_loss(net, batch, weights.to(device), recipe.smoothing),
        run_dir,
        partial(_figures, *val, recipe.windows) if val else None,
        collate,
        about={
            "windows": recipe.windows,
            "weighting": recipe.weighting,
            "smoothing": recipe.smoothing,
            "start": fingerprint(Path(start)) if start else None,
            "data": _seen(first, counts),  # a run must not go on with other halves or logits
            "validation": fingerprint(val[1]) if val else None,
            "provenance": plain(together(half.provenance for half in begin.values())),
        },
        track=track,
    )


def _figures(
    halves: Mapping[str, Source], truth: pd.DataFrame, windows: WindowConfig, model: AnyDST
) -> dict[str, float]:
    return f1_figures(evaluate(predict_shared(model, halves, windows), truth).counts)


def fine_tuning(recipe: DSTRecipe, start: str | Path) -> DSTRecipe:
    """A recipe for going on from a trained DST: its sizes; the rates are meant for that as they are."""
    model, seen = load_dst(start)
    windows = replace(recipe.windows, window_length=seen.window_length)
    return replace(recipe, model=model.config, windows=windows)


def _seen(samples: WindowDataset | list[Sample], counts: np.ndarray) -> str:
    """Fingerprint of what a run learns from: class counts; first, middle, last window of an epoch."""
    some = sorted({0, len(samples) // 2, len(samples) - 1}) if len(samples) else ()
    return fingerprint(counts, *(part for i in some for part in samples[i]))


def _epoch(recipe: DSTRecipe, halves: Mapping[str, Source], epoch: int) -> WindowDataset | list[Sample]:
    seed = recipe.train.seed
    data = WindowDataset(halves, recipe.windows, seed, epoch)
    if not recipe.windows.sparse:  # all are equally long
        return data
    return grouped([data[i] for i in range(len(data))], recipe.train.batch, (seed, epoch))


def sequence_loss(
    model: nn.Module, batch: Sample, weights: Tensor | None = None, smoothing: float = 0.05
) -> tuple[Tensor, int]:
    """Loss of writing the windows' tokens, each from those before it, and how many tokens there are.

    Weights and smoothing are as in `losses.token_losses`.
    """
    device = next(model.parameters()).device
    features, frames, tokens = (torch.as_tensor(part).to(device, non_blocking=True) for part in batch)
    bare: Any = getattr(model, "module", model)  # of a model that several processes train
    _check_inputs(bare, features)
    target = tokens[:, 1:]
    if isinstance(bare, PlayerDST):
        losses = answer_losses(model(features, frames, tokens), target, weights, smoothing)
    else:
        losses = token_losses(model(features, frames, tokens[:, :-1]), target, weights, smoothing)
    return losses.sum(), int((target[..., Token.ACTION] != PAD).sum())
