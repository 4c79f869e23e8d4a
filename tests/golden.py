"""The known weights and inputs that the golden values of the public models were computed with."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from footpass.models.x3d import folded


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


def calibrated(folder: Path, name: str) -> tuple[dict[str, torch.Tensor], list[dict]]:
    """Weights with which a model's outputs follow its input, and the cases of `case_inputs`."""
    content = read(folder, f"{name}_calibrated")
    weights = filled(read(folder, f"{name}_state_dict")["state_dict"])
    for tensor, values in content["tensors"].items():
        weights[tensor] = torch.tensor(values, dtype=torch.float32).view_as(weights[tensor])
    return weights, content["cases"]


def case_inputs(
    case: dict, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clip, boxes, visible and wanted output of a calibrated case."""
    clips, _, slots, frames = case["shape"]
    b, c, t, y, x = np.ogrid[:clips, :3, :frames, :height, :width]
    clip = np.sin(0.21 * x + 0.13 * y + 0.35 * t + 2 * c + b)
    clip = clip * np.cos(0.11 * x - 0.29 * y + 0.5 * t)
    far = (x - 20 - 5 * t) ** 2 + (y - 15 - 3 * t) ** 2
    clip = clip + 1.5 * np.cos(c + b) * np.exp(-far / 72)
    b, m, t = np.ogrid[:clips, :slots, :frames]
    x1 = (37 * m + 11 * b + 1.75 * t) % (width - 12) - 4.25
    y1 = (23 * m + 7 * b + 1.25 * t) % (height - 16) - 5.5
    x2 = np.minimum(x1 + 6 + 5 * (m % 5) + t / 4, width + 1.25)
    y2 = np.minimum(y1 + 9 + 7 * (m % 4) + t / 2, height + 1.5)
    boxes = np.stack((x1, y1, x2, y2), axis=-1)
    visible = torch.from_numpy((t + 3 * m + 5 * b) % 11 >= 3)
    wanted = torch.tensor(case["output"]).view(case["shape"])
    # The published values were computed from float32 inputs.
    return torch.from_numpy(clip).float(), torch.from_numpy(boxes).float(), visible, wanted


def all_ways(model: nn.Module, *inputs: object) -> dict[str, torch.Tensor]:
    """What a model in evaluation mode says by the kernels of training, of inference, and folded."""
    with torch.enable_grad():
        said = {"training": model(*inputs).detach()}
    with torch.inference_mode():
        return said | {"inference": model(*inputs), "folded": folded(model)(*inputs)}
