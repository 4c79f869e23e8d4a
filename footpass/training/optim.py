"""How gradients become weights: learning rates, parameter groups, optimizer steps."""

import logging
import time
from collections.abc import Mapping
from functools import cache
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from footpass.files import DataError
from footpass.training.checkpoints import load_checkpoint
from footpass.training.config import TrainConfig, learning_rate
from footpass.training.distributed import average_buffers, rank_and_world

log = logging.getLogger(__name__)
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


_BF16 = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")  # among what torch says of a CPU
_GROWTH = 100  # steps without an overflow after which the scale of fp16 doubles: about an epoch
_SMALLEST = 2.0**-10  # scale at which no gradient overflows that is a number
_RESTARTS = 3  # of a run whose loss is no number in fp16
_BACK = 16.0  # what the scale is divided by then


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Mixed precision, as of `TrainConfig.precision`."""
    precision = resolve_precision(precision, device)
    return torch.autocast(device.type, _DTYPES[precision], enabled=precision != "fp32")


@cache
def resolve_precision(precision: str, device: torch.device) -> str:
    """``"auto"`` as what is fast on a device, which is logged; any other precision as it is.

    A CPU without instructions for bf16 takes 5 to 12 times as long in it as in fp32.
    """
    has_bf16 = device.type == "cpu" and any(map(torch.cpu.get_capabilities().get, _BF16))
    if device.type == "cuda":
        half = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    else:
        half = "bf16" if has_bf16 else "fp32"
    if precision == "auto":
        log.warning("precision auto: %s on this %s", half, device.type)
        return half
    if precision == "bf16" and device.type == "cpu" and not has_bf16:
        log.warning("this CPU has no bf16 and is slow at it: take precision auto or fp32")
    return precision


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


class NotFinite(DataError):
    """A loss or a gradient that is no number."""


class Updates:
    """What changes in a run, and how: weights, moments, average, position; what a checkpoint holds.

    An epoch has ``per_epoch`` optimizer steps.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, per_epoch: int) -> None:
        self.model, self.config, self.per_epoch = model, config, per_epoch
        groups = parameter_groups(model, config.lr, config.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, fused=True)  # a third of the time
        self.device = next(model.parameters()).device
        self.precision = resolve_precision(config.precision, self.device)
        # Losses are sums, larger than the means that the default scale is made for; and a run may have
        # fewer steps than the 2,000 after which the scale would grow by default.
        self.scaler = torch.amp.GradScaler(
            self.device.type,
            init_scale=2.0**10,
            growth_interval=_GROWTH,
            enabled=self.precision == "fp16",
        )
        average = get_ema_multi_avg_fn(config.ema) if config.ema else None  # None: a plain mean
        averages = config.ema or config.average_epochs
        self.ema = AveragedModel(model, multi_avg_fn=average) if averages else None
        self.restarts = 0
        self.step = 0
        self.total = [0.0, 0.0]  # of this epoch: loss times weight, and weight
        self.losses: list[float] = []  # of its steps
        self.seconds = 0.0  # that it took before it was broken off
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
        if self.scaler.is_enabled() and self.scaler.get_scale() < _SMALLEST:
            self._demand_finite("gradient", nan)
        self.optimizer.zero_grad()
        average_buffers(self.model)
        self.step += 1
        self._average()
        self.total = [self.total[0] + loss_sum, self.total[1] + weight]
        self.losses.append(round(loss_sum / max(weight, 1e-12), 6))

    def _average(self) -> None:
        """Let the weights after this step, or after this epoch, count in their average."""
        if self.ema is None:
            return
        if self.config.ema:
            self.ema.update_parameters(self.model)
            return
        epochs, within = divmod(self.step, self.per_epoch)
        first = self.config.epochs - self.config.average_epochs + 1
        if not within:
            if epochs <= first:
                self.ema.n_averaged.zero_()  # it may be of a run that was shorter before it went on
            if epochs >= first:
                self.ema.update_parameters(self.model)

    def _demand_finite(self, what: str, value: float) -> None:
        if not isfinite(value):
            raise NotFinite(
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
        return self.ema.module if self.ema and self.ema.n_averaged else self.model

    def close_epoch(self, row: dict) -> bool:
        """Note the figures of an epoch; whether it is the best so far."""
        self.rows.append(row)
        self.total, self.losses, self.seconds = [0.0, 0.0], [], 0.0
        figure = row.get("macro_f1", self.step)  # without validation the last is the best
        best = figure > self.best
        self.best = max(figure, self.best)
        return best

    def state_dict(self, began: float | None = None) -> dict[str, Any]:
        """All that is needed to go on, as tensors and plain values; ``began`` is when an epoch did."""
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "precision": self.precision,
            "processes": rank_and_world()[1],
            "step": self.step,
            "total": self.total,
            "losses": self.losses,
            "seconds": time.monotonic() - began if began else 0.0,
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
            if self.scaler.is_enabled() and state["scaler"]:  # one of another precision has no scale
                self.scaler.load_state_dict(state["scaler"])
            for name in ("step", "total", "best", "rows"):
                setattr(self, name, state[name])
            self.losses = state.get("losses", [])  # older checkpoints have none
            self.seconds = state.get("seconds", 0.0)
        except (KeyError, RuntimeError, ValueError) as error:
            raise DataError(f"no run to go on with: {error}: delete it to train anew", path) from error
        self._check_average(path)
        self._note("precision", state.get("precision", self.precision), self.precision, path)
        self._note("processes", state.get("processes", 1), rank_and_world()[1], path)

    def _check_average(self, path: Path) -> None:
        """Refuse to prolong a run whose average has epochs that the longer run's must not have."""
        last, epochs = self.config.average_epochs, self.step // self.per_epoch
        among = max(0, epochs - (self.config.epochs - last))  # of the last epochs
        if self.ema and not self.config.ema and among and self.ema.n_averaged > among:
            reason = f"its average began before the last {last} of {self.config.epochs} epochs"
            raise DataError(f"{reason}: go on to epoch {epochs + last} or later", path)

    @staticmethod
    def _note(name: str, before: object, now: object, path: Path) -> None:
        if before != now:
            log.warning("%s: goes on with %s %s, was %s: not to the last bit", path, name, now, before)

    def go_back(self, path: Path, error: NotFinite) -> None:
        """Return to the checkpoint ``path``, with a lower scale, after an error in fp16.

        What overflows in fp16 may not do so when the steps before it have been others.
        """
        if not self.scaler.is_enabled() or self.restarts == _RESTARTS:
            raise error
        self.restarts += 1
        self.optimizer.zero_grad()
        scale = self.scaler.get_scale() / _BACK
        state = load_checkpoint(path)
        scaler = state["scaler"] or self.scaler.state_dict()
        self.load_state_dict(state | {"scaler": scaler | {"scale": scale}}, path)
        back = "back to step %d, with scale %g (restart %d of %d)"
        log.warning(f"%s: {back}", error, self.step, scale, self.restarts, _RESTARTS)
