"""How a model is trained: settings, learning rate; without torch, so that ``--help`` is quick."""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from math import cos, pi
from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from footpass.configs import Count, Positive, config_dataclass
from footpass.files import DataError


@config_dataclass
class TrainConfig:
    """How a model is trained; the defaults are plain, the published values are in the profile ``paper``.

    Attributes
    ----------
    epochs
        Times that the data are gone through; with 0 the weights stay those that it has to start from.
    batch, accumulate
        Samples in a micro-batch, and micro-batches in an optimizer step over all processes together, so
        that a run takes the same steps on any number of GPUs; a multiple of this number. The sizes of an
        epoch's micro-batches differ by one at most.
    lr
        Learning rates of parameters by the start of their name; the longest counts, ``""`` is the rest.
    weight_decay
        Of weights; biases and norms, all that has one axis, have none.
    warmup
        Optimizer steps in which the learning rates rise from zero.
    milestones, decay
        Epochs, counted from 0, before which the learning rates are multiplied by ``decay``.
    schedule
        ``"steps"`` at the milestones, or after the warm-up along half a ``"cosine"`` to zero.
    constant
        Those of ``lr`` that stay as they are once they are warm.
    max_grad_norm
        Largest norm of the gradient, None for any.
    precision
        Of the forward pass: fp32, bf16, on CUDA only fp16, or auto, which is the half precision that the
        device is fast at, else fp32.
    ema
        Decay of the exponential moving average of the weights, which is then what is validated and kept
        as best; None for none.
    average_epochs
        Last epochs the mean of whose weights, with equal shares, is what is validated and kept as best;
        0 for none.
    frozen_epochs
        First epochs in which the video backbone learns nothing, batch-norm statistics included.
    frozen_blocks
        First blocks of the backbone that never learn.
    seed
        Of dropout, and of whatever else the model draws.
    workers
        Processes that load data; 0 loads in this one. The results are the same.
    save_every
        Optimizer steps between checkpoints; None saves after each epoch.
    """

    epochs: Count = 10
    batch: Positive = 8
    accumulate: Positive = 1
    lr: Annotated[
        Mapping[str, Annotated[float, Field(ge=0)]],
        Field(max_length=1000, validation_alias=AliasChoices("lr", "rates")),
    ] = field(default_factory=lambda: {"": 1e-3})
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup: Count = 0
    milestones: Annotated[tuple[Count, ...], Field(max_length=1000)] = ()
    decay: Annotated[float, Field(ge=0)] = 0.1
    schedule: Literal["steps", "cosine"] = "steps"
    constant: Annotated[tuple[str, ...], Field(max_length=1000)] = ()
    max_grad_norm: Annotated[
        float | None, Field(gt=0, validation_alias=AliasChoices("max_grad_norm", "clip"))
    ] = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    ema: Annotated[float | None, Field(gt=0, lt=1)] = None
    average_epochs: Count = 0
    frozen_epochs: Count = 0
    frozen_blocks: Count = 0
    seed: Count = 0
    workers: Annotated[int, Field(ge=0, le=1000)] = 0
    save_every: Positive | None = None

    def __post_init__(self) -> None:
        strange = sorted(set(self.constant) - set(self.lr))
        if strange:
            keys = list(self.lr)
            raise DataError(f"TrainConfig.constant = {strange}: not among the keys of lr, {keys}")
        if self.ema and self.average_epochs:
            raise DataError("TrainConfig: ema and average_epochs: one average of the weights, not two")


TRACKERS = ("tensorboard", "wandb")
FINE_TUNING = 0.1


def gentle(config: TrainConfig) -> TrainConfig:
    """The same with a tenth of the learning rates: trained weights would be lost at the usual ones."""
    return replace(config, lr={start: FINE_TUNING * lr for start, lr in config.lr.items()})


def learning_rate(
    step: int,
    lr: float,
    warmup: int = 0,
    milestones: Sequence[int] = (),
    decay: float = 0.1,
    cosine: int = 0,
) -> float:
    """Learning rate of an optimizer step, from 0.

    Steps are those of the optimizer, not micro-batches (the public scripts count these, and never leave
    their warm-up).

    Parameters
    ----------
    lr, warmup
        What it rises to, linearly: step ``warmup - 1`` is the first to have it.
    milestones, decay
        From these steps on it is multiplied by ``decay``, once for each.
    cosine
        Steps after which it is zero, on half a cosine from the end of the warm-up; 0: it does not fall.
    """
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if cosine:
        rise *= (1 + cos(pi * min(max((step - warmup) / max(cosine - warmup, 1), 0), 1))) / 2
    return lr * rise * decay ** sum(step >= milestone for milestone in milestones)
