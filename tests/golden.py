"""The known weights and inputs that the golden values of the public models were computed with."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / f"{name}.json").read_text())


def filled(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """A state dict of these shapes: each tensor a sine whose phase comes from its name."""
    return {name: _fill(name, shape) for name, shape in shapes.items()}


def _fill(name: str, shape: list[int]) -> torch.Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    size = math.prod(shape)
    phase = zlib.crc32(name.encode()) % 10007 / 10007 * 2 * math.pi
    b = np.sin(0.7390851 * np.arange(size) + phase)
    if name.endswith("running_var"):
        values = 1 + 0.25 * b
    elif name.endswith("running_mean"):
        values = 0.1 * b
    elif len(shape) == 1:
        values = 1 + 0.1 * b if name.endswith("weight") else 0.05 * b
    else:
        values = b * math.sqrt(2 / (size / shape[0]))
    return torch.tensor(values.reshape(shape), dtype=torch.float32)


def wave(shape: tuple[int, ...], frequency: float) -> torch.Tensor:
    values = np.sin(frequency * np.arange(math.prod(shape)))
    return torch.tensor(values.reshape(shape), dtype=torch.float32)
