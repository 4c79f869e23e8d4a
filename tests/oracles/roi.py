"""RoI-align and mean by their definition: visit every sampling point of every box."""

import torch
from torch import Tensor

from footpass.models.taad import ROI_CELLS


def roi_mean(features: Tensor, boxes: Tensor, visible: Tensor, zero_outside: bool = False) -> Tensor:
    """`weighted_mean` with the `roi_weights` of `footpass.models.taad`, box by box."""
    clips, tracklets, frames, _ = boxes.shape
    pooled = []
    for b in range(clips):
        for m in range(tracklets):
            for t in range(frames):
                if visible[b, m, t]:
                    pooled.append(_one_box(features[b, :, t], boxes[b, m, t], zero_outside))
                else:
                    pooled.append(features.new_zeros(features.shape[1]))
    return torch.stack(pooled).view(clips, tracklets, frames, -1)


def _one_box(image: Tensor, box: Tensor, zero_outside: bool) -> Tensor:
    x1, y1, x2, y2 = box
    y, x = _points(y1, y2, ROI_CELLS[0]), _points(x1, x2, ROI_CELLS[1])
    rows, columns = (y >= -1) & (y <= image.shape[1]), (x >= -1) & (x <= image.shape[2])
    y, x = y.clamp(0, image.shape[1] - 1), x.clamp(0, image.shape[2] - 1)
    top, left = y.long(), x.long()
    bottom = (top + 1).clamp(max=image.shape[1] - 1)
    right = (left + 1).clamp(max=image.shape[2] - 1)
    down, across = (y - top)[:, None], (x - left)[None, :]
    values = (
        image[:, top[:, None], left] * (1 - down) * (1 - across)
        + image[:, top[:, None], right] * (1 - down) * across
        + image[:, bottom[:, None], left] * down * (1 - across)
        + image[:, bottom[:, None], right] * down * across
    )  # (C, points down, points across)
    if zero_outside:
        values = values * (rows[:, None] & columns[None, :])
    return values.mean(dim=(1, 2))


def _points(start: Tensor, end: Tensor, cells: int) -> Tensor:
    """Adaptive sampling: each cell has as many points as it is feature cells long, rounded up."""
    cell = (end - start).clamp(min=1) / cells
    per_cell = int(cell.ceil())
    return torch.cat(
        [start + i * cell + (torch.arange(per_cell) + 0.5) * cell / per_cell for i in range(cells)]
    )
