"""How gradients become weights: learning rates, parameter groups, optimizer steps."""

import logging
from collections.abc import Mapping
from math import inf, isfinite
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from footpass.files import DataError
from footpass.training.config import TrainConfig, learning_rate
from footpass.training.distributed import average_buffers, rank_and_world

log = logging.getLogger(__name__)
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Mixed precision, as of `TrainConfig.precision`."""
    return torch.autocast(device.type, _DTYPES[precision], enabled=precision != "fp32")


def parameter_groups(model: nn.Module, lr: Mapping[str, float], weight_decay: float) -> list[dict]:
    """Parameters by learning rate and with or without weight decay, for an optimizer; sizes are logged.

    Each has ``params``, ``base_lr``, ``weight_decay`` and ``start``, that of their names.
    """
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        starts = [start for start in lr if name.startswith(start)]
        if not starts:
            raise DataError(f"no learning rate for {name}; there are rates for {list(lr)}")
        key = max(starts, key=len), parameter.ndim > 1
        groups.setdefault(key, []).append(parameter)
    idle = sorted(set(lr) - {start for start, _ in groups})
    if idle:
        kind = type(model).__name__
        raise DataError(f"learning rates for {idle}: no parameter of {kind} is left for them")
    result = []
    for (start, decays), params in sorted(groups.items()):
        kind = "weights" if decays else "biases and norms"
        log.info("%s of %s*: %d parameters", kind, start, sum(p.numel() for p in params))
        decay = weight_decay if decays else 0.0
        group = {"params": params, "base_lr": lr[start], "weight_decay": decay, "start": start}
        result.append(group)
    return result


class Updates:
    """What changes in a run, and how: weights, moments, average, position; what a checkpoint holds.

    An epoch has ``per_epoch`` optimizer steps.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, per_epoch: int) -> None:
        self.model, self.config, self.per_epoch = model, config, per_epoch
        self.optimizer = torch.optim.AdamW(parameter_groups(model, config.lr, config.weight_decay))
        device = next(model.parameters()).device.type
        # Losses are sums, larger than the means that the default scale is made for.
        enabled = config.precision == "fp16"
        self.scaler = torch.amp.GradScaler(device, init_scale=2.0**10, enabled=enabled)
        average = get_ema_multi_avg_fn(config.ema) if config.ema else None
        self.ema = AveragedModel(model, multi_avg_fn=average) if average else None
        self.step = 0
        self.total = [0.0, 0.0]  # of this epoch: loss times weight, and weight
        self.best = -inf
        self.rows: list[dict] = []

    def apply(self, loss_sum: float, weight: float) -> None:
        """Take an optimizer step; sums are over the step and all processes, as the gradients are."""
        config = self.config
        self._demand_finite("loss", loss_sum)
        milestones = [epoch * self.per_epoch for epoch in config.milestones]
        cosine = config.epochs * self.per_epoch if config.schedule == "cosine" else 0
        for group in self.optimizer.param_groups:
            falls = () if group["start"] in config.constant else (milestones, config.decay, cosine)
            group["lr"] = learning_rate(self.step, group["base_lr"], config.warmup, *falls)
        self.scaler.unscale_(self.optimizer)
        _, world = rank_and_world()  # DDP has taken the mean over processes, not the sum
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                parameter.grad *= world / max(weight, 1e-12)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.max_grad_norm or inf)
        if not self.scaler.is_enabled():  # the scaler leaves such a step out, and tries a lower scale
            self._demand_finite("gradient", float(norm))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        average_buffers(self.model)
        if self.ema:
            self.ema.update_parameters(self.model)
        self.step += 1
        self.total = [self.total[0] + loss_sum, self.total[1] + weight]

    def _demand_finite(self, what: str, value: float) -> None:
        if not isfinite(value):
            raise DataError(
                f"optimizer step {self.step}: the {what} is {value}: "
                "try lower rates, a warm-up, max_grad_norm or more precision"
            )

    @property
    def mean_loss(self) -> float:
        """Of the epoch so far."""
        return self.total[0] / max(self.total[1], 1e-12)

    @property
    def lr(self) -> dict[str, float]:
        """The latest learning rates, by the start of the parameters' names."""
        return {group["start"]: group["lr"] for group in self.optimizer.param_groups}

    @property
    def averaged(self) -> nn.Module:
        """The model to validate and to keep: the average of the weights, where there is one."""
        return self.ema.module if self.ema else self.model

    def close_epoch(self, row: dict) -> bool:
        """Note the figures of an epoch; whether it is the best so far."""
        self.rows.append(row)
        self.total = [0.0, 0.0]
        figure = row.get("macro_f1", self.step)  # without validation the last is the best
        best = figure > self.best
        self.best = max(figure, self.best)
        return best

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "total": self.total,
            "best": self.best,
            "rows": self.rows,
        }

    def load_state_dict(self, state: Mapping[str, Any], path: Path) -> None:
        """Go on from `state_dict`, as read from ``path``."""
        try:
            self.model.load_state_dict(state["model"])
            if self.ema:
                self.ema.load_state_dict(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            for name in ("step", "total", "best", "rows"):
                setattr(self, name, state[name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise DataError(f"no run to go on with: {error}: delete it to train anew", path) from error
