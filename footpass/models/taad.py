"""TAAD, the Track-Aware Action Detector: what each player does, from pixels (FOOTPASS, Ochin 2025).

A video backbone, a top-down path to stride 8, the mean of the features inside each player's box at
each frame, and a small head over time. What comes before the head is shared with the graph model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from footpass.configs import Depth, Share, Width, config_dataclass
from footpass.files import DataError
from footpass.models.public import rename, take_alias
from footpass.models.x3d import X3D, X3DConfig, inferring
from footpass.schema import N_CLASSES

STRIDE = 8  # of the features that boxes are pooled from
ROI_CELLS = (4, 2)  # rows and columns of the RoI-align that the mean is taken of


@config_dataclass
class TemporalConfig:
    """Sizes of a `TemporalTransformer`; the defaults are the published ones."""

    layers: Depth = 4
    width: Width = 256
    heads: Width = 8
    feedforward: Width = 1024
    positions: Width = 50
    dropout: Share = 0.1

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise DataError(f"width {self.width} is not a multiple of {self.heads} heads")


@config_dataclass
class TAADConfig:
    """Sizes of a TAAD; the defaults are the published ones."""

    x3d: X3DConfig = field(default_factory=X3DConfig)
    # Channels of the top-down path, so of a player's features, and of the head.
    width: Width = 192
    head: Width = 512
    # Recompute the backbone in backward rather than keep its activations: less memory, more time.
    checkpoint_backbone: bool = False
    # Compute as the public code does: what lies outside the picture is zero (`roi_weights`).
    public: bool = False
    # What looks along time in the head: "convolution" over 3 frames, as published, or "transformer"
    # (PAVE, arXiv 2606.28389) of these sizes.
    temporal: Literal["convolution", "transformer"] = "convolution"
    transformer: TemporalConfig = field(default_factory=TemporalConfig)


class PlayerFeatures(nn.Module):
    """Backbone, top-down path and box pooling: a vector of ``width`` numbers per tracklet and frame.

    ``recompute`` is as of `X3D`, ``public`` as of `TAADConfig`.
    """

    frozen = False

    def __init__(
        self, x3d: X3DConfig, width: int, recompute: bool = False, public: bool = False
    ) -> None:
        super().__init__()
        self.public = public
        _, stride8, stride16, stride32 = x3d.widths
        self.x3d = X3D(x3d, recompute)
        self.merge16 = _Merge(stride32 + stride16, width)
        self.merge8 = _Merge(width + stride8, width)

    def freeze(self) -> None:
        """Learn nothing any more, statistics of batch norms included."""
        self.frozen = True
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "PlayerFeatures":
        return super().train(mode and not self.frozen)

    def forward(self, clip: Tensor, boxes: Tensor, visible: Tensor) -> Tensor:
        """Pool the features of every box: ``(B, M, T, width)``, zero where not visible.

        Parameters
        ----------
        clip
            ``(B, 3, T, H, W)`` normalised pixels.
        boxes
            ``(B, M, T, 4)`` x1, y1, x2, y2 in pixels of the clip; anything, NaN too, where not visible.
        visible
            ``(B, M, T)`` bool, whether there is a box.
        """
        # Frozen, they are computed as for inference, which is several times faster on a CPU.
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self._pooled(clip, boxes, visible)

    def _pooled(self, clip: Tensor, boxes: Tensor, visible: Tensor) -> Tensor:
        stride8, stride16, stride32 = self.x3d(clip)
        weights = roi_weights(boxes / STRIDE, visible, stride8.shape[-2:], self.public)
        at8 = at16 = None
        if inferring(clip):  # only what boxes will read
            at8 = weights.any(dim=2)  # (B, T, H/8, W/8)
            at16 = F.max_pool2d(F.max_pool2d(at8.float(), 3, 1, 1), 2, ceil_mode=True) > 0
        x = self.merge16(stride32, stride16, at16)  # (B, width, T, H/16, W/16)
        x = self.merge8(x, stride8, at8)  # (B, width, T, H/8, W/8)
        return weighted_mean(x, weights)


class _Merge(nn.Module):
    """A coarse map joins a map of twice its size."""

    folds = (("conv", "norm"),)

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(width_in, width, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.norm = nn.BatchNorm3d(width)

    def forward(self, coarse: Tensor, fine: Tensor, where: Tensor | None = None) -> Tensor:
        """``where`` ``(B, T, H, W)`` bool says which cells are of use; the others are zero."""
        height, width = fine.shape[-2:]
        # Odd sizes are halved upwards, so the doubled map may be one row or column too large.
        coarse = F.interpolate(coarse, scale_factor=(1, 2, 2))[..., :height, :width]
        x = torch.cat((coarse, fine), dim=1)  # (B, C, T, H, W)
        if where is None:
            return F.gelu(self.norm(self.conv(x)))
        x = F.pad(x.movedim(1, -1), (0, 0, 1, 1, 1, 1))  # (B, T, H + 2, W + 2, C)
        clip, frame, row, column = where.nonzero().T[..., None]  # each (N, 1)
        near = torch.arange(9, device=x.device)  # the cells under a kernel
        near = x[clip, frame, row + near // 3, column + near % 3].flatten(1)  # (N, 9 C)
        kernel = self.conv.weight.permute(0, 2, 3, 4, 1).flatten(1)  # (width, 9 C)
        y = F.linear(near, kernel, self.conv.bias)[..., None, None, None]
        y = F.gelu(self.norm(y)).flatten(1)  # (N, width)
        found = y.new_zeros(*where.shape, y.shape[1])
        found[where] = y
        return found.movedim(-1, 1)


def roi_weights(
    boxes: Tensor, visible: Tensor, size: Sequence[int], zero_outside: bool = False
) -> Tensor:
    """``(B, T, M, H, W)``: the weight of each cell of a map in the mean over the 4x2 cells of RoI-align.

    The sampling points of RoI-align are a grid, each cell has as many, and bilinear interpolation is a
    product of one weight per row and one per column. So the mean over all points is ``w_y^T F w_x``,
    with the mean weight of each row and column, and no point is ever sampled. `weighted_mean` with them
    is equal to ``torchvision.ops.roi_align`` as called by default (adaptive sampling, not aligned), then
    the mean; it is zero where not visible.

    Parameters
    ----------
    boxes, visible
        ``(B, M, T, 4)`` x1, y1, x2, y2 in cells of the map, and bool ``(B, M, T)``.
    size
        ``(H, W)``.
    zero_outside
        Points more than a cell outside the map are zero, as in torchvision's compiled kernel, which the
        public models were trained with; else they take the value at its border, as in its Python
        version. It differs only for boxes that leave the picture.
    """
    height, width = size
    # Coordinates are never less than float32: bfloat16 would be off by up to a quarter of a cell.
    boxes = boxes.to(torch.promote_types(boxes.dtype, torch.float32))
    boxes = boxes.where(visible[..., None], 0).transpose(1, 2)  # (B, T, M, 4)
    x1, y1, x2, y2 = boxes.unbind(-1)
    rows = _mean_weights(y1, y2, ROI_CELLS[0], height, zero_outside)  # (B, T, M, H)
    columns = _mean_weights(x1, x2, ROI_CELLS[1], width, zero_outside)  # (B, T, M, W)
    rows = rows * visible.transpose(1, 2)[..., None]
    return rows[..., :, None] * columns[..., None, :]


def weighted_mean(features: Tensor, weights: Tensor) -> Tensor:
    """``(B, M, T, C)`` of features ``(B, C, T, H, W)`` and weights ``(B, T, M, H, W)``."""
    flat = features.transpose(1, 2).flatten(3)  # (B, T, C, H*W)
    pooled = weights.flatten(3).to(flat.dtype) @ flat.transpose(2, 3)  # (B, T, M, C)
    return pooled.transpose(1, 2)


def _mean_weights(start: Tensor, end: Tensor, cells: int, size: int, zero_outside: bool) -> Tensor:
    """Mean weight ``(..., size)`` that points of boxes from start to end ``(...)`` give to rows."""
    extent = (end - start).clamp(min=1.0)
    count = cells * (extent / cells).ceil()  # points along this axis, the k-th at (k + 1/2) step
    step, start = (extent / count)[..., None], start[..., None]
    first, last = torch.zeros_like(start), count[..., None]
    if zero_outside:
        low, high = (-1 - start) / step - 0.5, (size - start) / step - 0.5
        first, last = torch.minimum(low.ceil().relu(), last), torch.minimum(high.floor() + 1, last)
        last = torch.maximum(last, first)
    # A point between two rows gives each a share that falls with the distance. So the rows from the one
    # after a gap on have all points before the gap, and of those in it their distances to the row before
    # it: the sum of an arithmetic series. What lies outside the map counts at its border.
    away = torch.arange(size, dtype=start.dtype, device=start.device) - start  # (..., size)
    before = torch.minimum(torch.maximum((away / step - 0.5).ceil(), first), last)  # points before a row
    low, high = before[..., :-1], before[..., 1:]
    passed = low - first + (high - low) * (away[..., 1:] - step * (high + low) / 2)  # (..., size - 1)
    passed = torch.cat((torch.zeros_like(last), passed, last - first), dim=-1)
    return (passed[..., 1:] - passed[..., :-1]) / count[..., None]


class TemporalTransformer(nn.Module):
    """A tracklet's features along a clip, by attention among the frames at which it is visible."""

    def __init__(self, width_in: int, width_out: int, sizes: TemporalConfig) -> None:
        super().__init__()
        self.read = nn.Linear(width_in, sizes.width)
        self.place = nn.Parameter(0.02 * torch.randn(sizes.positions, sizes.width))
        shape = sizes.width, sizes.heads, sizes.feedforward, sizes.dropout
        layer = nn.TransformerEncoderLayer(*shape, activation="gelu", batch_first=True, norm_first=True)
        norm = nn.LayerNorm(sizes.width)
        self.layers = nn.TransformerEncoder(layer, sizes.layers, norm, enable_nested_tensor=False)
        self.out = nn.Linear(sizes.width, width_out)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """``(N, T, width_in)`` and bool ``(N, T)`` to ``(N, T, width_out)``."""
        length, positions = x.shape[1], len(self.place)
        if length > positions:
            raise DataError(f"a clip of {length} frames: the head has positions for {positions}")
        hidden = ~visible & visible.any(dim=1, keepdim=True)  # who is never seen must not become NaN
        x = self.layers(self.read(x) + self.place[:length], src_key_padding_mask=hidden)
        return self.out(x)


class Detector(nn.Module):
    """What TAAD and TAAD + GNN share: the players' features, under a backbone that can be frozen."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.features = PlayerFeatures(
            config.x3d, config.width, config.checkpoint_backbone, config.public
        )

    def freeze(self, blocks: int | None) -> None:
        """Freeze the first blocks of the video backbone, None all of them: as of `X3D.freeze`.

        Features that are frozen as a whole stay so.
        """
        if not self.features.frozen:
            self.features.x3d.freeze(blocks)


class TAAD(Detector):
    """Logits of each class for each tracklet and frame, from pixels alone."""

    without_box = False  # can it say what a player does who has no box?

    def __init__(self, config: TAADConfig) -> None:
        super().__init__(config)
        if config.temporal == "transformer":
            self.attend = TemporalTransformer(config.width, config.head, config.transformer)
        else:
            self.conv = nn.Conv1d(config.width, config.head, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm1d(config.head)
        self.classify = nn.Linear(config.head, N_CLASSES)

    def forward(self, clip: Tensor, boxes: Tensor, visible: Tensor, *game_state: Tensor) -> Tensor:
        """``(B, 9, M, T)`` logits; the arguments are those of `PlayerFeatures.forward`.

        The game state (`detectors.inputs.ModelInputs`) is not read.
        """
        x = self.features(clip, boxes, visible)  # (B, M, T, width)
        clips, players = x.shape[:2]
        x = x.flatten(0, 1)  # (B*M, T, width)
        if self.config.temporal == "transformer":
            x = self.attend(x, visible.flatten(0, 1)).transpose(1, 2)
        else:
            x = self.conv(x.transpose(1, 2))
        x = F.gelu(self.norm(x))  # (B*M, head, T)
        x = self.classify(x.transpose(1, 2))  # (B*M, T, 9)
        return x.reshape(clips, players, *x.shape[1:]).movedim(3, 1)  # (B, 9, M, T)

    @staticmethod
    def from_reference(public: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Public tensors under our names, for `models.public.load_reference`."""
        names = {"conv1.": "conv.", "bn1.": "norm.", "fc1.": "classify."}
        return rename(features_from_reference(public), names)


def features_from_reference(public: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `PlayerFeatures` under our names; all others keep theirs."""
    state = {k: v for k, v in public.items() if not k.startswith("x3d.blocks.5.")}  # Kinetics classes
    for alias in ("x3d_L4.", "x3d_L8."):
        take_alias(state, alias, "x3d.blocks.")
    names = {
        "x3d.": "features.x3d.",
        "conv_L16_32.": "features.merge16.conv.",
        "bn_L16_32.": "features.merge16.norm.",
        "conv_L8_16.": "features.merge8.conv.",
        "bn_L8_16.": "features.merge8.norm.",
    }
    return rename(state, names)
