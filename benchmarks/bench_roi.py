"""Mean of RoI-align as one product per frame, against sampling every point of every box."""

import json

import torch

from benchmarks import plain_roi
from benchmarks.timing import LiveBytes, seconds
from footpass.models.taad import ROI_CELLS, STRIDE, roi_mean


def example(tracklets: int = 26, frames: int = 50) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One clip of features at the published size and boxes of the size of players."""
    rng = torch.Generator().manual_seed(0)
    features = torch.rand(1, 192, frames, 44, 80, generator=rng)
    corner = torch.rand(1, tracklets, frames, 2, generator=rng) * torch.tensor([600.0, 280.0])
    size = torch.rand(1, tracklets, frames, 2, generator=rng) * 30 + torch.tensor([15.0, 40.0])
    boxes = torch.cat((corner, corner + size), dim=-1) / STRIDE
    return features, boxes, torch.ones(1, tracklets, frames, dtype=torch.bool)


def run() -> dict:
    """Forward of one clip with 26 boxes a frame, and the memory that it takes."""
    features, boxes, visible = example()
    features.requires_grad_()
    functions = (roi_mean, plain_roi.roi_mean)
    fast, plain = (seconds(lambda f=f: f(features, boxes, visible), 3) for f in functions)
    with LiveBytes() as live:
        roi_mean(features, boxes, visible)
    # Box by box, the plain version holds little; a library that samples all boxes at once holds these.
    extent = (boxes[..., 2:] - boxes[..., :2]) / torch.tensor(ROI_CELLS[::-1])
    points = (extent.ceil() * torch.tensor(ROI_CELLS[::-1])).prod(dim=-1).sum()
    sampled = float(points) * features.shape[1] * features.element_size()
    return {
        "name": "roi",
        "fast_s": fast,
        "plain_s": plain,
        "ratio": plain / fast,
        "target": ">= 10",
        "what": "forward, 1 clip x 50 frames x 26 boxes, features 192 x 44 x 80; "
        f"{live.peak / 2**20:.0f} MiB at the peak, the values at all sampling points would be "
        f"{sampled / 2**20:.0f}",
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
