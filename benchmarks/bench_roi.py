"""Mean of RoI-align as one product per frame, against sampling every point of every box."""

import torch

from benchmarks.harness import compare, main
from footpass.experiments.costs import LiveBytes
from footpass.models.taad import ROI_CELLS, STRIDE, roi_weights, weighted_mean
from tests.oracles import roi as plain_roi

TRACKLETS, FRAMES = 26, 50


def run() -> dict:
    """One clip of features at the published size, with boxes of the size of players."""
    rng = torch.Generator().manual_seed(0)
    features = torch.rand(1, 192, FRAMES, 44, 80, generator=rng)
    corner = torch.rand(1, TRACKLETS, FRAMES, 2, generator=rng) * torch.tensor([600.0, 280.0])
    size = torch.rand(1, TRACKLETS, FRAMES, 2, generator=rng) * 30 + torch.tensor([15.0, 40.0])
    boxes = torch.cat((corner, corner + size), dim=-1) / STRIDE
    visible = torch.ones(1, TRACKLETS, FRAMES, dtype=torch.bool)

    def fast() -> torch.Tensor:
        return weighted_mean(features, roi_weights(boxes, visible, features.shape[-2:]))

    with LiveBytes() as live:
        fast()
    # Box by box, the plain version holds little. A library that pools all boxes at once has four cells
    # around each point to read; the values at the points alone are:
    cells = torch.tensor(ROI_CELLS[::-1])
    points = ((size / STRIDE / cells).ceil() * cells).prod(dim=-1).sum()
    sampled = float(points) * features.shape[1] * features.element_size()
    return compare(
        "roi",
        f"1 clip x {FRAMES} frames x {TRACKLETS} boxes, 192 channels of 44 x 80; peak memory "
        f"{live.peak / 2**20:.0f} MiB, all sampled values would be {sampled / 2**20:.0f}",
        fast=fast,
        plain=lambda: plain_roi.roi_mean(features, boxes, visible),
        target=10,
        same=lambda a, b: torch.allclose(a, b, atol=1e-5),
    )


if __name__ == "__main__":
    main(run)
