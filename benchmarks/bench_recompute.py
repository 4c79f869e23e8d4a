"""Training with the backbone recomputed in backward: memory at the published size, and time.

Memory is counted on fake tensors, which have sizes and no values: 6 clips of 50 frames of 352 x 640
fit on any machine. (Where both can run, real tensors give the same count: tests/test_models_x3d.py.)
"""

import json

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.harness import compare
from footpass.experiments.costs import LiveBytes
from footpass.models.taad import PlayerFeatures
from footpass.models.x3d import X3DConfig

PUBLISHED = (6, 3, 50, 352, 640)
SMALL = (1, 3, 16, 96, 160)


def step(model: PlayerFeatures, clip: torch.Tensor) -> torch.Tensor:
    """The part of a training step before the boxes: backbone, top-down path, some loss."""
    stride8, stride16, stride32 = model.x3d(clip)
    return model.merge8(model.merge16(stride32, stride16), stride8).square().mean()


def memory(recompute: bool, shape: tuple[int, ...]) -> tuple[int, int]:
    """Bytes that a step's forward keeps for backward, and bytes at the step's peak; weights apart."""
    model = PlayerFeatures(X3DConfig(), 192, recompute)
    clip = torch.zeros(shape)
    with LiveBytes() as live:
        loss = step(model, clip)
        kept = live.now
        loss.backward()
    return kept, live.peak


def run() -> dict:
    """Ratio of peak memory without and with recomputation; and the times of a smaller step."""
    with FakeTensorMode():
        (kept, peak), (kept_plain, peak_plain) = (memory(flag, PUBLISHED) for flag in (True, False))
    gib = 2**30
    clip = torch.rand(SMALL)
    model, plain = (PlayerFeatures(X3DConfig(), 192, flag) for flag in (True, False))
    plain.load_state_dict(model.state_dict())
    times = compare(
        "recompute",
        f"ratio of peak memory of a training step, 6 x 50 x 352 x 640, float32: {peak / gib:.1f} GiB "
        f"against {peak_plain / gib:.1f} (kept for backward: {kept / gib:.1f} against "
        f"{kept_plain / gib:.1f}); times of a step of 1 x 16 x 96 x 160",
        fast=lambda: _loss_after_backward(model, clip),
        plain=lambda: _loss_after_backward(plain, clip),
        target=2.5,
    )
    return {**times, "ratio": peak_plain / peak}


def _loss_after_backward(model: PlayerFeatures, clip: torch.Tensor) -> float:
    loss = step(model, clip)
    loss.backward()
    return loss.item()


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
