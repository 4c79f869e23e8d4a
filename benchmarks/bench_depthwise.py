"""Depthwise 3D convolution as a banded 2D one, against torch's own, forward and backward on the CPU."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv3d

from benchmarks.harness import compare, main
from footpass.models.x3d import Depthwise

CHANNELS, FRAMES, HEIGHT, WIDTH = 54, 16, 32, 56


def run() -> dict:
    """The largest convolution with stride 1 of the small profiles' backbone, a batch of 4 clips."""
    torch.manual_seed(0)
    layer = Depthwise(CHANNELS, (3, 3, 3))
    clip = torch.randn(4, CHANNELS, FRAMES, HEIGHT, WIDTH, requires_grad=True)

    def gradients(convolve: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        return torch.autograd.grad(convolve(clip).square().mean(), (clip, layer.weight))

    def plain(x: Tensor) -> Tensor:
        return conv3d(x, layer.weight, padding=1, groups=CHANNELS)

    return compare(
        "depthwise",
        f"{CHANNELS} channels, 4 clips x {FRAMES} frames x {HEIGHT} x {WIDTH}, forward and backward",
        fast=lambda: gradients(layer),
        plain=lambda: gradients(plain),
        target=2,
        same=lambda a, b: all(torch.allclose(x, y, atol=1e-6) for x, y in zip(a, b, strict=True)),
    )


if __name__ == "__main__":
    main(run)
