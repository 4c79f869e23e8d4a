"""Training of TAAD and TAAD + GNN on clips."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler

from footpass.configs import plain
from footpass.data.cache import Footage
from footpass.data.provenance import together
from footpass.detectors.clips import Clip, ClipConfig, ClipDataset, Events, learnable_events
from footpass.detectors.inputs import model_inputs
from footpass.detectors.predict import load_detector
from footpass.detectors.recipes import GNNRecipe, TAADRecipe
from footpass.detectors.spotting import spot
from footpass.files import DataError, fingerprint
from footpass.metrics import evaluate
from footpass.models.gnn import TAADGNN, GNNConfig
from footpass.models.losses import masked_cross_entropy
from footpass.models.public import is_public, load_reference, read_public
from footpass.models.taad import TAAD, TAADConfig
from footpass.schema import ACTIONS, N_CLASSES, Action
from footpass.training.checkpoints import (
    LAST,
    load_checkpoint,
    load_weights,
    new_model,
    trained_weights,
)
from footpass.training.config import TrainConfig, gentle
from footpass.training.distributed import gather, rank_and_world
from footpass.training.loop import Track, loaded, train
from footpass.training.optim import autocast
from footpass.training.tracking import f1_figures

log = logging.getLogger(__name__)
Recipe = TypeVar("Recipe", bound=TAADRecipe)


def train_detector(
    recipe: TAADRecipe,
    train_footage: Mapping[str, Footage],
    val_footage: Mapping[str, Footage],
    run_dir: str | Path,
    device: torch.device | str = "cpu",
    kinetics: str | Path | None = None,
    start: str | Path | None = None,
    track: Track | None = None,
    about: Mapping[str, object] | None = None,
    features: str | Path | None = None,
) -> list[dict]:
    """Train a TAAD, or a TAAD + GNN by the recipe of one, or go on with a run that was interrupted.

    The backbone begins with Kinetics weights (pytorchvideo's X3D-S) or random ones, unless there is a
    ``start``: the checkpoint of a detector of the same kind and sizes, or, for a TAAD + GNN, of a TAAD
    with the same backbone and width, whose features it takes. Or it keeps the ``features`` of such a
    detector as they are and learns the rest alone; `predict` computes them once for all that share them.
    ``about`` is what else its checkpoints should say. Rows per epoch are as of `training.loop.train`.
    """
    torch.manual_seed(recipe.train.seed)
    model: Any = new_model(TAADGNN if isinstance(recipe, GNNRecipe) else TAAD, recipe.model).to(device)
    begins = not Path(run_dir, LAST).exists()  # what a run begins with is said only then
    begin = _begin(model, recipe, kinetics, start, features, begins)
    clips, without_box = recipe.clips, model.without_box
    parts = [list(footage.values()) for footage in (train_footage, val_footage)]
    events = [learnable_events([f.half for f in part], clips.frames, without_box) for part in parts]
    if begins:
        _say_absent(*events)
    data = ClipDataset(parts[0], clips, recipe.augmentation, recipe.train.seed, events=events[0])
    # Not dilated: these labels are the events themselves.
    fixed = replace(clips, per_class=recipe.validation, dilation=0, random_per_half=0)
    fixed_data = ClipDataset(parts[1], fixed, events=events[1])
    loss = ClipLoss(recipe.background, 0.0, without_box)

    def of_epoch(epoch: int) -> ClipDataset:
        # The loss changes with the epoch, within one run: so its rates fall on one schedule.
        loss.gamma = recipe.gamma(epoch)
        return data.at_epoch(epoch)

    return train(
        model,
        recipe.train,
        of_epoch,
        loss,
        run_dir,
        validate=lambda best: clip_figures(best, fixed_data, recipe.train),
        about={
            "clips": clips,
            "augmentation": recipe.augmentation,
            "background": recipe.background,
            # A run must not go on with another season, nor its best epoch be chosen on another.
            "events": fingerprint(np.stack(data.events)),
            "validation": fingerprint(recipe.validation, np.stack(fixed_data.events)),
            "provenance": plain(together(entry.half.provenance for entry in train_footage.values())),
            **begin,
            **(about or {}),
        },
        track=track,
    )


def _say_absent(train: Events, val: Events) -> None:
    for part, purpose in ((train, "learn from"), (val, "validate on")):
        absent = ", ".join(action.label for action in ACTIONS if action not in part.cls)
        if absent:
            log.warning("no event to %s of class %s in these halves", purpose, absent)


def _begin(
    model: Any,
    recipe: TAADRecipe,
    kinetics: str | Path | None,
    start: str | Path | None,
    features: str | Path | None,
    says: bool,
) -> dict[str, Any]:
    """Take the weights that a run begins with; what a checkpoint says of them.

    Runs that go on must find the same; older ones do not name all of it.
    """
    graph = isinstance(recipe, GNNRecipe)
    named = [str(one) for one in (kinetics and "weights of Kinetics", start, features) if one]
    if len(named) > 1:
        raise DataError(f"{', and '.join(named)}: a backbone begins with one of them")
    if features:
        _take_features(model, recipe, features)
        model.features.freeze()
    elif start:
        _start_from(model, recipe, start)
    elif kinetics:
        model.features.x3d.load_kinetics(kinetics)
    elif says and graph:
        log.warning("no TAAD was given to start from: the backbone starts from random weights")
    elif says:
        log.warning("no Kinetics weights were given: the backbone starts from random ones")
    if kinetics and Path(kinetics).is_file():  # and no address
        kinetics = fingerprint(Path(kinetics))
    return {
        "start": fingerprint(Path(start)) if start else None,
        "kinetics": kinetics or None,
        "features": fingerprint(Path(features)) if features else None,
        **({"gammas": recipe.gammas} if isinstance(recipe, GNNRecipe) else {}),
    }


def _start_from(model: TAAD | TAADGNN, recipe: TAADRecipe, path: str | Path) -> None:
    """Take a detector's weights; a TAAD + GNN takes the features of a TAAD too."""
    sizes = plain(recipe.model)
    if isinstance(model, TAAD):
        load_weights(model, _trained(path, recipe.model, {"kind": "TAAD", "model": sizes}), path)
    elif _kind(path) == "TAADGNN":
        load_weights(model, load_checkpoint(path), path)
    else:
        _take_features(model, recipe, path)


def _take_features(model: TAAD | TAADGNN, recipe: TAADRecipe, path: str | Path) -> None:
    """Take those of a detector with the same backbone and width."""
    sizes = plain(recipe.model)
    kind = "TAADGNN" if _kind(path) == "TAADGNN" else "TAAD"
    expected = {"kind": kind, "model": {name: sizes[name] for name in ("x3d", "width")}}
    content = _trained(path, recipe.model, expected)
    weights, of = trained_weights(content), "features."
    features = {name.removeprefix(of): weights[name] for name in weights if name.startswith(of)}
    model.features.load_state_dict(features)


def fine_tuning(recipe: Recipe, start: str | Path) -> Recipe:
    """A recipe for going on from a trained detector of its kind: its sizes, a tenth of the rates.

    A TAAD that a TAAD + GNN takes its features from changes nothing.
    """
    graph = isinstance(recipe, GNNRecipe)
    if is_public(start):  # of the published sizes, which the recipe must have
        return recipe if graph else replace(recipe, train=gentle(recipe.train))
    if _kind(start) != (TAADGNN if graph else TAAD).__name__:
        return recipe
    model, clips = load_detector(start)
    sizes: Any = model.config  # of its kind
    clips = _seen_as(recipe.clips, clips)
    return replace(recipe, model=sizes, clips=clips, train=gentle(recipe.train))


def on_features(recipe: Recipe, detector: str | Path) -> Recipe:
    """A recipe for learning on the features of a trained detector: they have its sizes."""
    if is_public(detector):
        return recipe
    known, clips = load_detector(detector)
    model = replace(recipe.model, x3d=known.config.x3d, width=known.config.width)
    return replace(recipe, model=model, clips=_seen_as(recipe.clips, clips))


def _seen_as(clips: ClipConfig, others: ClipConfig) -> ClipConfig:
    names = ("frames", "size", "earliest", "latest", "grow")
    return replace(clips, **{name: getattr(others, name) for name in names})


def _kind(path: str | Path) -> Any:
    """Of model, as a checkpoint of ours says it."""
    return None if is_public(path) else load_checkpoint(path)["config"].get("kind")


def _trained(
    path: str | Path, config: TAADConfig | GNNConfig, expected: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Content of the checkpoint of a detector that is as expected, or of a public TAAD."""
    if not is_public(path):
        return load_checkpoint(path, expected)
    published = TAAD(TAADConfig())
    if (config.x3d, config.width) != (published.config.x3d, published.config.width):
        raise DataError("a public TAAD has the published sizes: train with --profile paper", path)
    load_reference(published, read_public(path), path)
    log.warning(
        "%s: a public TAAD: its weights are the start; boxes, borders and edges are from here on as "
        "this project has them, not as the public code",
        path,
    )
    return {"model": published.state_dict()}


@dataclass
class ClipLoss:
    """Cross-entropy where a model is asked what happens, and the weight that it is the mean of."""

    background: float  # as of `TAADRecipe`
    gamma: float = 0.0  # of the focal loss; 0 is cross-entropy
    without_box: bool = False  # ask about players without a box too

    def __call__(self, model: nn.Module, batch: Clip) -> tuple[Tensor, Tensor]:
        device = next(model.parameters()).device
        inputs = model_inputs(batch, device)
        asked = inputs.asked(self.without_box)
        labels = torch.as_tensor(batch.labels).to(device).long()  # (B, M, T)
        weights = torch.full((N_CLASSES,), 1 - self.background, device=device)
        weights[Action.BACKGROUND] = self.background
        loss = masked_cross_entropy(model(*inputs), labels, asked, weights, self.gamma)
        return loss, weights[labels[asked]].sum()


def clip_figures(model: nn.Module, clips: ClipDataset, config: TrainConfig) -> dict[str, float]:
    """How well the events in clips are found, by the challenge's metric.

    Every tracklet of every clip counts as a player in a half of its own. With ``macro_f1``,
    ``micro_f1``, ``f1/pass`` and so on comes the ``accuracy`` of the class at the frame that a clip is
    around.
    """
    device, (rank, world) = next(model.parameters()).device, rank_and_world()
    places = [*BatchSampler(range(len(clips)), config.batch, drop_last=False)]
    mine, parts = places[rank::world], []  # of several processes, each looks at a share
    with torch.inference_mode():
        for place, batch in zip(mine, loaded(clips, mine, config.workers, device), strict=True):
            inputs = model_inputs(batch, device)
            with autocast(device, config.precision):
                logits = model(*inputs)  # (B, 9, M, T)
            asked = inputs.asked(bool(model.without_box)).cpu().numpy()
            logits = logits.float().cpu().numpy()
            labels, at, each = batch.labels.numpy(), batch.at.numpy(), np.arange(len(logits))
            good = logits[each, :, 0, at].argmax(axis=1) == labels[each, 0, at]
            players, frames = asked.shape[1:]
            flat = logits.swapaxes(0, 1).reshape(N_CLASSES, -1, frames)  # (9, B*M, T)
            tracklet, *rest = spot(flat, asked.reshape(-1, frames))
            said = place[0] + tracklet // players, tracklet % players, *rest
            clip, tracklet, frame = np.nonzero((labels > 0) & asked)
            told = place[0] + clip, tracklet, frame, labels[clip, tracklet, frame]
            parts.append((place[0], good, said, told))
    ordered = sorted(chain(*gather(parts)), key=lambda part: part[0])  # as one process has them
    _, right, found, true = zip(*ordered, strict=True)
    predictions = _clip_events(found, len(clips), ("score",))
    truth = _clip_events(true, len(clips)).assign(box_visible=True, replay=False)
    counts = evaluate(predictions, truth).counts
    return {**f1_figures(counts), "accuracy": float(np.concatenate(right).mean())}


def _clip_events(parts: Sequence[tuple], clips: int, more: tuple[str, ...] = ()) -> pd.DataFrame:
    """Event table of (clip, tracklet, frame, class, ...) of batches: a half for each clip."""
    clip, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    names = [f"clip_{i}_H1" for i in range(clips)]
    table = dict(zip(("jersey", "frame", "cls", *more), columns, strict=True))
    return pd.DataFrame({"half": pd.Categorical.from_codes(clip, categories=names), "team": 0, **table})
