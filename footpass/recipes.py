"""What is trained, on what and how: one recipe per profile, and where its results lie."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from footpass.checkpoints import load_checkpoint, load_model
from footpass.clips import (
    Augmentation,
    Clip,
    ClipConfig,
    ClipDataset,
    Events,
    Footage,
    asked_about,
    learnable_events,
    model_inputs,
)
from footpass.configs import build, plain
from footpass.events import concat, write_events
from footpass.files import fingerprint
from footpass.halves import events_of
from footpass.inference import UNADJUSTED, LogitAdjustment, events_from_store, spot, write_logits
from footpass.losses import masked_cross_entropy
from footpass.metrics import evaluate
from footpass.models.gnn import TAADGNN, GNNConfig
from footpass.models.reference import load_reference, read_public
from footpass.models.taad import TAAD, TAADConfig
from footpass.models.x3d import X3DConfig
from footpass.processes import rank_and_world
from footpass.schema import ACTIONS, N_CLASSES, N_ROLES, N_SLOTS, Action, State
from footpass.training import BEST, LAST, TrainConfig, autocast, train

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TAADRecipe:
    """A TAAD, the clips it learns from, and how.

    Attributes
    ----------
    background
        Weight of the background class in the loss; each action has 1 minus it.
    validation
        Validation clips per class, the same in all epochs.
    """

    model: TAADConfig
    clips: ClipConfig
    train: TrainConfig
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    background: float = 0.05
    validation: int = 100


# Two CPU cores have no time for the published sizes: a batch of 6 clips would take them a minute.
_SMALL = X3DConfig(stem=8, widths=(8, 24, 32, 48), depths=(1, 2, 2, 1))
_MEDIUM = X3DConfig(stem=8, widths=(8, 32, 48, 64), depths=(1, 3, 3, 1))
# Where all events lie in the middle of short clips, a model learns the place in the clip (the padding of
# its convolutions tells it) before it looks at the players: here they may lie almost anywhere.
_SHORT = ClipConfig(frames=16, size=(128, 224), earliest=1, latest=14, others=8)
TAAD_RECIPES: dict[str, TAADRecipe] = {
    "smoke": TAADRecipe(
        model=TAADConfig(X3DConfig(4, (4, 8, 8, 8), (1, 1, 1, 1)), width=8, head=16),
        clips=replace(_SHORT, size=(64, 96), per_class=4),
        train=TrainConfig(epochs=2, batch=4),
        validation=4,
    ),
    "demo": TAADRecipe(
        model=TAADConfig(_SMALL, width=48, head=64),
        clips=replace(_SHORT, per_class=40),
        train=TrainConfig(epochs=8, batch=2, rates={"": 2e-3}, warmup=20, clip=1.0),
        validation=10,
    ),
    "study": TAADRecipe(
        model=TAADConfig(_MEDIUM, width=48, head=64),
        clips=replace(_SHORT, size=(176, 320), per_class=150),
        train=TrainConfig(
            epochs=22,
            batch=2,
            accumulate=2,  # so that two processes can share a step
            rates={"": 2e-3},
            warmup=100,
            milestones=(16, 20),
            clip=1.0,
            ema=0.98,
            precision="bf16",
        ),
        background=0.25,
        validation=25,
    ),
    "paper": TAADRecipe(
        model=TAADConfig(),
        clips=ClipConfig(),
        train=TrainConfig(
            epochs=25,
            batch=6,
            accumulate=8,
            rates={"": 1e-3, "features.x3d.": 5e-5},
            warmup=50,
            milestones=(10, 20),
            frozen_epochs=2,
            precision="fp16",
            workers=8,
            save_every=20,
        ),
    ),
}


@dataclass(frozen=True)
class GNNRecipe(TAADRecipe):
    """A TAAD + GNN, which is taught the same way, but about all players and with a focal loss.

    Attributes
    ----------
    gammas
        Pairs of an epoch, from 0, and the focal loss's gamma from it on.
    """

    model: GNNConfig  # type: ignore[assignment]  # instead of a TAAD's, not a kind of it
    gammas: tuple[tuple[int, float], ...] = ((0, 1.0), (2, 1.25))


def _with_everyone(profile: str) -> ClipConfig:
    """The clips of a TAAD recipe, of the same pictures, with all slots."""
    return replace(TAAD_RECIPES[profile].clips, others=N_SLOTS - 1)


# With the backbones of the TAAD recipes, to start from what these have learned. Until the graph has
# found a use for it, it stays as it is: that is also cheaper.
_SMALL_GRAPH = GNNConfig(_SMALL, width=48, visual=32, graph=64, head=64)
GNN_RECIPES: dict[str, GNNRecipe] = {
    "smoke": GNNRecipe(
        model=GNNConfig(TAAD_RECIPES["smoke"].model.x3d, width=8, visual=8, graph=8, head=16),
        clips=_with_everyone("smoke"),
        train=TrainConfig(epochs=2, batch=4, frozen_epochs=1),
        validation=4,
    ),
    "demo": GNNRecipe(
        model=_SMALL_GRAPH,
        clips=_with_everyone("demo"),
        train=TrainConfig(
            epochs=8,
            batch=2,
            rates={"": 2e-3, "features.": 2e-4},
            warmup=20,
            clip=1.0,
            frozen_epochs=4,
            precision="bf16",
        ),
        validation=10,
    ),
    "study": GNNRecipe(
        model=replace(_SMALL_GRAPH, x3d=_MEDIUM),
        clips=_with_everyone("study"),
        train=TrainConfig(
            epochs=9,
            batch=2,
            accumulate=2,
            rates={"": 2e-3, "features.": 4e-4},
            warmup=100,
            milestones=(6, 8),
            clip=1.0,
            ema=0.98,
            frozen_epochs=3,
            precision="bf16",
        ),
        background=0.12,  # for 22 players the same odds of an event as TAAD's 0.25 for 9
        validation=25,
    ),
    "paper": GNNRecipe(
        model=GNNConfig(),
        clips=replace(_with_everyone("paper"), per_class=600),
        train=TAAD_RECIPES["paper"].train,
    ),
}


def checkpoint_path(run_dir: str | Path) -> Path:
    """The best checkpoint of a run."""
    return Path(run_dir, BEST)


def logits_path(run_dir: str | Path, split: str) -> Path:
    """The logit store of a run (`footpass.inference`) on a split."""
    return Path(run_dir, f"logits_{split}.h5")


def predictions_path(run_dir: str | Path, split: str) -> Path:
    """The events that a run predicts on a split."""
    return Path(run_dir, f"predictions_{split}.json")


def train_taad(
    recipe: TAADRecipe,
    train_footage: Mapping[str, Footage],
    val_footage: Mapping[str, Footage],
    run_dir: str | Path,
    device: torch.device | str = "cpu",
    kinetics: str | Path | None = None,
) -> list[dict]:
    """Train a TAAD, or go on with a run that was interrupted; rows per epoch as of `training.train`.

    Parameters
    ----------
    kinetics
        File with weights for the backbone (pytorchvideo's X3D-S); without it, they are random.

    Raises
    ------
    DataError
        As in `ClipDataset` and `training.train`, or if there are no such weights.
    """
    torch.manual_seed(recipe.train.seed)
    model = TAAD(recipe.model)
    if kinetics:
        model.features.x3d.load_kinetics(kinetics)
    elif _begins(run_dir):
        log.warning("no Kinetics weights were given: the backbone starts from random ones")
    clips = _clips(recipe, train_footage, val_footage, model.everyone, run_dir)
    about = {"kinetics": str(kinetics) if kinetics else None}
    return _train(model.to(device), recipe, *clips, ClipLoss(recipe.background), run_dir, about)


def train_gnn(
    recipe: GNNRecipe,
    train_footage: Mapping[str, Footage],
    val_footage: Mapping[str, Footage],
    run_dir: str | Path,
    device: torch.device | str = "cpu",
    start: str | Path | None = None,
) -> list[dict]:
    """Train a TAAD + GNN, see `train_taad`.

    Parameters
    ----------
    start
        Checkpoint of a TAAD with the same backbone and width, whose features it starts from; without it,
        they are random.

    Raises
    ------
    DataError
        As in `train_taad`, or if the checkpoint does not fit, or a half has no positions.
    """
    torch.manual_seed(recipe.train.seed)
    model = TAADGNN(recipe.model)
    if start:
        sizes = {name: plain(recipe.model)[name] for name in ("x3d", "width")}
        content = load_checkpoint(start, {"kind": "TAAD", "model": sizes})
        names = [name for name in content["model"] if name.startswith("features.")]
        features = {name.removeprefix("features."): content["model"][name] for name in names}
        model.features.load_state_dict(features)
    elif _begins(run_dir):
        log.warning("no TAAD was given to start from: the backbone starts from random weights")
    clips = _clips(recipe, train_footage, val_footage, model.everyone, run_dir)
    about = {"gammas": recipe.gammas, "start": fingerprint(start) if start else None}
    ends = [epoch for epoch, _ in recipe.gammas[1:]] + [recipe.train.epochs]
    for end, (_, gamma) in zip(ends, recipe.gammas, strict=True):
        # A run with more epochs is the same run, going on; so the loss may change in between.
        part = replace(recipe, train=replace(recipe.train, epochs=min(end, recipe.train.epochs)))
        loss = ClipLoss(recipe.background, gamma, model.everyone)
        rows = _train(model.to(device), part, *clips, loss, run_dir, about)
    return rows


def _clips(
    recipe: TAADRecipe,
    train_footage: Mapping[str, Footage],
    val_footage: Mapping[str, Footage],
    everyone: bool,
    run_dir: str | Path,
) -> tuple[ClipDataset, ClipDataset]:
    """Clips to train on, and those to validate on."""
    config = recipe.clips
    parts = [list(footage.values()) for footage in (train_footage, val_footage)]
    events = [learnable_events([f.half for f in part], config.frames, everyone) for part in parts]
    for part, purpose in zip(events, ("learn from", "validate on"), strict=True):
        absent = [action.label for action in ACTIONS if action not in part.cls]
        if absent and _begins(run_dir):
            log.warning("no event to %s of class %s in these halves", purpose, ", ".join(absent))
    seed = recipe.train.seed
    clips = ClipDataset(parts[0], config, recipe.augmentation, seed, events=events[0])
    # Not dilated: these labels are the events themselves.
    fixed = replace(config, per_class=recipe.validation, dilation=0)
    return clips, ClipDataset(parts[1], fixed, events=events[1])


def _train(
    model: nn.Module,
    recipe: TAADRecipe,
    clips: ClipDataset,
    fixed: ClipDataset,
    loss: "ClipLoss",
    run_dir: str | Path,
    about: Mapping[str, object],
) -> list[dict]:
    return train(
        model,
        recipe.train,
        clips.at_epoch,
        loss,
        run_dir,
        validate=lambda best: clip_figures(best, fixed, recipe.train),
        about={
            "clips": plain(recipe.clips),
            "augmentation": plain(recipe.augmentation) if recipe.augmentation else None,
            "background": recipe.background,
            "events": _mark(clips.events),  # a run must not go on with another season
            **about,
        },
    )


def _begins(run_dir: str | Path) -> bool:
    """Whether a run has nothing to go on from: what it begins with is said only then."""
    return not Path(run_dir, LAST).exists()


def _mark(events: Events) -> str:
    return hashlib.sha256(np.stack(events).astype("<i8").tobytes()).hexdigest()[:12]


@dataclass(frozen=True)
class ClipLoss:
    """Cross-entropy where a model is asked what happens, and the weight that it is the mean of.

    Attributes
    ----------
    background
        As of `TAADRecipe`.
    gamma
        Of the focal loss; 0 is cross-entropy.
    everyone
        Ask about players without a box too.
    """

    background: float
    gamma: float = 0.0
    everyone: bool = False

    def __call__(self, model: nn.Module, batch: Clip) -> tuple[Tensor, Tensor]:
        device = next(model.parameters()).device
        inputs = model_inputs(batch, device)
        asked = inputs.asked(self.everyone)
        labels = torch.as_tensor(batch.labels).to(device).long()  # (B, M, T)
        weights = torch.full((N_CLASSES,), 1 - self.background, device=device)
        weights[Action.BACKGROUND] = self.background
        loss = masked_cross_entropy(model(*inputs), labels, asked, weights, self.gamma)
        return loss, weights[labels[asked]].sum()


def clip_figures(model: nn.Module, clips: ClipDataset, config: TrainConfig) -> dict[str, float]:
    """How well the events in clips are found.

    Every tracklet of every clip counts as a player in a half of its own; the metric is the challenge's.

    Returns
    -------
    dict
        ``macro_f1``, ``micro_f1``, and ``accuracy`` of the class at the frame that a clip is around.
    """
    device = next(model.parameters()).device
    found, true, right = [], [], []
    with torch.inference_mode():
        for number, batch in enumerate(DataLoader(clips, config.batch, num_workers=config.workers)):
            inputs = model_inputs(batch, device)
            with autocast(device, config.precision):
                logits = model(*inputs)  # (B, 9, M, T)
            asked = inputs.asked(bool(model.everyone)).cpu().numpy()
            logits = logits.float().cpu().numpy()
            labels, at, each = batch.labels.numpy(), batch.at.numpy(), np.arange(len(logits))
            right.append(logits[each, :, 0, at].argmax(axis=1) == labels[each, 0, at])
            players, frames = asked.shape[1:]
            flat = logits.swapaxes(0, 1).reshape(N_CLASSES, -1, frames)  # (9, B*M, T)
            tracklet, *rest = spot(flat, asked.reshape(-1, frames))
            first = number * config.batch
            found.append((first + tracklet // players, tracklet % players, *rest))
            clip, tracklet, frame = np.nonzero((labels > 0) & asked)
            true.append((first + clip, tracklet, frame, labels[clip, tracklet, frame]))
    predictions = _clip_events(found, len(clips), ("score",))
    truth = _clip_events(true, len(clips)).assign(box_visible=True, replay=False)
    counts = evaluate(predictions, truth).counts
    return {
        "macro_f1": counts.macro_f1,
        "micro_f1": counts.micro["f1"],
        "accuracy": float(np.concatenate(right).mean()),
    }


def _clip_events(parts: list[tuple], clips: int, more: tuple[str, ...] = ()) -> pd.DataFrame:
    """Event table of (clip, tracklet, frame, class, ...) of batches: a half for each clip."""
    clip, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    names = [f"clip_{i}_H1" for i in range(clips)]
    table = dict(zip(("jersey", "frame", "cls", *more), columns, strict=True))
    return pd.DataFrame({"half": pd.Categorical.from_codes(clip, categories=names), "team": 0, **table})


_DETECTORS: dict[type[nn.Module], type] = {TAAD: TAADConfig, TAADGNN: GNNConfig}


def load_detector(path: str | Path, public: bool = False) -> tuple[TAAD | TAADGNN, ClipConfig]:
    """A trained TAAD or TAAD + GNN on the CPU, and the clips that it is for.

    Parameters
    ----------
    public
        The file is a checkpoint of the public repository, at the published sizes.

    Raises
    ------
    DataError
        If the file is missing, damaged, or of another model.
    """
    if public:
        weights = read_public(path)
        graph = any(name.startswith("EdgeMLP") for name in weights)
        model = TAADGNN(GNNConfig()) if graph else TAAD(TAADConfig())
        load_reference(model, weights)
        return model, ClipConfig()
    model, config = load_model(path, _DETECTORS)
    return model, build(ClipConfig, config["about"]["clips"])


def predict(
    checkpoint: str | Path,
    footage: Mapping[str, Footage],
    run_dir: str | Path,
    split: str,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    public: bool = False,
    adjustment: LogitAdjustment = UNADJUSTED,
) -> pd.DataFrame:
    """Events that a checkpoint finds, after writing `logits_path` and `predictions_path`.

    Parameters
    ----------
    adjustment
        As in `inference.events_from_logits`; the logits are written as they are.

    Raises
    ------
    DataError
        As in `load_detector` and `write_logits`, or if a graph model has no positions.
    """
    model, clips = load_detector(checkpoint, public)
    halves = {name: entry.half for name, entry in footage.items()}
    for half in halves.values():
        asked_about(half, model.everyone)  # before hours of inference
    path = logits_path(run_dir, split)
    mark = fingerprint(checkpoint)
    write_logits(model.to(device), footage, path, clips, mark, precision=precision)
    events = events_from_store(path, halves, model.everyone, adjustment)
    if rank_and_world()[0] == 0:
        write_events(events, predictions_path(run_dir, split))
    return events


def guessed_events(
    train: Mapping[str, Footage], val: Mapping[str, Footage], seed: int = 0
) -> pd.DataFrame:
    """What the class prior alone gives: as many events a minute as in training, of whomever is visible.

    Each is of a random visible player at a random moment, with score 1.
    """
    rng = np.random.default_rng(seed)
    tables = [events_of(entry.half) for entry in train.values()]
    frames = sum(entry.half.n_frames for entry in train.values())
    rates = np.bincount(pd.concat(tables)["cls"], minlength=N_CLASSES) / frames
    guesses = []
    for name, entry in val.items():
        half = entry.half
        slots, at = np.nonzero(half.state[State.VISIBLE] > 0)
        cls = np.repeat(np.arange(N_CLASSES), rng.poisson(rates * half.n_frames))
        chosen = rng.choice(len(at), len(cls))
        place = {"frame": half.first_frame + at[chosen], "team": slots[chosen] // N_ROLES}
        jersey = half.jersey_at(slots[chosen], place["frame"]).astype(np.int64)
        column = pd.Categorical.from_codes(np.zeros(len(cls), int), categories=[name])
        guesses.append(
            pd.DataFrame({"half": column, **place, "jersey": jersey, "cls": cls, "score": 1.0})
        )
    return concat(guesses)
