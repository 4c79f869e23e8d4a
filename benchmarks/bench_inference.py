"""TAAD on a window of frames: folded norms, matrix products and maps where boxes are, against none."""

from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.harness import compare, main
from footpass.models import taad, x3d

TRACKLETS, FRAMES, SIZE = 14, 16, (352, 640)  # players with a box, as in a broadcast's wide shot


def plain_conv(conv: nn.Conv3d, x: Tensor) -> Tensor:
    """As torch does it."""
    return F.conv3d(x, conv.weight, conv.bias, conv.stride, conv.padding, groups=conv.groups)


def run() -> dict:
    """The published sizes in float32, both without gradients."""
    rng = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = taad.TAAD(taad.TAADConfig()).eval()
    clip = torch.rand(1, 3, FRAMES, *SIZE, generator=rng)
    corner = torch.rand(1, TRACKLETS, 1, 2, generator=rng) * torch.tensor([600.0, 280.0])
    boxes = torch.cat((corner, corner + torch.tensor([25.0, 60.0])), dim=-1).repeat(1, 1, FRAMES, 1)
    inputs = clip, boxes, torch.ones(1, TRACKLETS, FRAMES, dtype=torch.bool)
    folded = x3d.folded(model)

    @torch.inference_mode()
    def plain() -> np.ndarray:
        with (
            patch.object(taad, "inferring", lambda x: False),
            patch.object(x3d, "convolve", plain_conv),
            patch.object(x3d.Pointwise, "forward", plain_conv),
        ):
            return model(*inputs).numpy()

    return compare(
        "inference",
        f"TAAD at its published size on {FRAMES} frames of {SIZE[0]} x {SIZE[1]} with {TRACKLETS} boxes",
        fast=torch.inference_mode()(lambda: folded(*inputs).numpy()),
        plain=plain,
        target=1.5,
        same=lambda a, b: np.allclose(a, b, atol=1e-4),
    )


if __name__ == "__main__":
    main(run)
