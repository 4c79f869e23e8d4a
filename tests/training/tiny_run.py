"""A run small enough to be killed and repeated: ``python tiny_run.py DIR EPOCHS [STOP]``."""

import itertools
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from footpass.models.x3d import X3D, X3DConfig
from footpass.training.config import TrainConfig
from footpass.training.distributed import join_processes, rank_and_world
from footpass.training.loop import train

SAMPLES = 10
# All that changes in a run: average, warm-up, decay, freezing, dropout, a last step that is not full.
CONFIG = TrainConfig(
    epochs=3,
    batch=2,
    accumulate=2,
    lr={"": 1e-2, "x3d.": 5e-3},
    warmup=2,
    milestones=(2,),
    max_grad_norm=1.0,
    ema=0.8,
    frozen_epochs=1,
    save_every=2,
)


@dataclass(frozen=True)
class TinyConfig:
    classes: int = 3


class Tiny(nn.Module):
    """A video backbone, dropout and a head."""

    def __init__(self, config: TinyConfig | None = None) -> None:
        super().__init__()
        self.config = config or TinyConfig()
        self.x3d = X3D(X3DConfig(stem=4, widths=(4, 4, 8, 8), depths=(1, 1, 1, 1)))
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(8, self.config.classes)

    def freeze(self, blocks: int | None) -> None:
        self.x3d.freeze(blocks)

    def forward(self, clip: Tensor) -> Tensor:
        *_, x = self.x3d(clip)  # (B, 8, T, 1, 1)
        return self.head(self.dropout(x.mean((2, 3, 4))))


def tiny(seed: int = 0) -> Tiny:
    torch.manual_seed(seed)
    return Tiny()


def samples(epoch: int) -> Dataset:
    """Clips and classes, drawn anew in each epoch."""
    rng = torch.Generator().manual_seed(epoch)
    clips = torch.randn(SAMPLES, 3, 2, 16, 16, generator=rng)
    return TensorDataset(clips, torch.randint(3, (SAMPLES,), generator=rng))


def weighted_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Class 0 is masked, so micro-batches count differently, and one may not count at all."""
    device = next(model.parameters()).device
    clips, target = (part.to(device) for part in batch)
    weight = target.float()
    each = F.cross_entropy(model(clips).float(), target, reduction="none")
    return (each * weight).sum() / weight.sum().clamp(min=1e-9), weight.sum()


def figures(model: nn.Module) -> Mapping[str, float]:
    """Stands for a macro F1: something that rises and falls with the weights."""
    return {"macro_f1": float(torch.sin(1000 * model.head.weight.detach().sum()))}


def run(folder: Path, epochs: int = CONFIG.epochs, model: nn.Module | None = None) -> list[dict]:
    config = replace(CONFIG, epochs=epochs)
    return train(model or tiny(), config, samples, weighted_loss, folder, validate=figures)


def stop_at(moment: int, sign: Path) -> None:
    """Wait to be killed in the micro-batch of this number, once ``sign`` is there."""
    calls, loss = itertools.count(1), weighted_loss

    def stopping_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        if next(calls) == moment:
            sign.touch()
            time.sleep(3600)
        return loss(model, batch)

    globals()["weighted_loss"] = stopping_loss


if __name__ == "__main__":
    torch.set_num_threads(1)
    device = join_processes()
    if len(sys.argv) > 3:
        stop_at(int(sys.argv[3]), Path(sys.argv[1], "stopped"))
    # What each process starts from must not matter: the first one's weights count.
    run(Path(sys.argv[1]), int(sys.argv[2]), tiny(seed=rank_and_world()[0]).to(device))
