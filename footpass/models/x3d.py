"""X3D-S, the video backbone (Feichtenhofer 2020, arXiv 2004.04730), with features at three strides.

Parameter names are those of the public pytorchvideo checkpoint, so Kinetics weights load as they are.
Two of its names mislead and are kept: the stem's ``conv_t`` is the spatial convolution and ``conv_xy``
the temporal one.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils.checkpoint import checkpoint

from footpass.configs import Depth, Width, config_dataclass
from footpass.files import DataError

PIXEL_MEAN, PIXEL_STD = 0.45, 0.225  # of the Kinetics weights, pixels as 0..1, the same for R, G and B


def normalise(pixels: Tensor) -> Tensor:
    """Pixels 0..255 of any shape to what the backbone expects."""
    pixels = pixels.to(torch.float32, copy=True)  # the only copy: memory costs more than arithmetic here
    return pixels.div_(255).sub_(PIXEL_MEAN).div_(PIXEL_STD)


@config_dataclass
class X3DConfig:
    """Sizes of the backbone; the defaults are X3D-S."""

    stem: Width = 24  # channels of the stem, at stride 2
    # Channels and residual blocks of the four stages, at strides 4, 8, 16 and 32.
    widths: tuple[Width, Width, Width, Width] = (24, 48, 96, 192)
    depths: tuple[Depth, Depth, Depth, Depth] = (3, 5, 11, 7)
    # Inner channels of a block per outer channel.
    expansion: Annotated[float, Field(ge=1, le=100)] = 2.25


def inferring(x: Tensor) -> bool:
    """Whether to take what is fastest on a CPU without gradients, and cannot be traced or exported."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.onnx.is_in_onnx_export()
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not traced


def memory_layout(clip: Tensor) -> torch.memory_format:
    """In which layout a device is fastest.

    Without gradients the CPU is in that of its convolutions; training there needs frames that can become
    channels (see Depthwise). CUDA's kernels for contiguous depthwise convolutions are the slow ones.
    """
    last = inferring(clip) or clip.device.type == "cuda"
    return torch.channels_last_3d if last else torch.contiguous_format


def convolve(conv: nn.Conv3d, x: Tensor) -> Tensor:
    """A convolution by oneDNN: with one thread torch takes plain loops, four times slower."""
    onednn = torch.backends.mkldnn.is_available() and x.dtype == torch.float32
    if not (inferring(x) and onednn) or torch.is_autocast_enabled("cpu"):
        return F.conv3d(x, conv.weight, conv.bias, conv.stride, conv.padding, groups=conv.groups)
    return torch.ops.aten.mkldnn_convolution(
        x, conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups
    )


class X3D(nn.Module):
    """Stem and four stages: ``(B, 3, T, H, W)`` to features at strides 8, 16 and 32; time is kept.

    With ``recompute``, only the input of each residual block is kept for backward and the rest computed
    again: the same gradients for much less memory and one more forward.
    """

    def __init__(self, config: X3DConfig, recompute: bool = False) -> None:
        super().__init__()
        self.recompute = recompute
        self.frozen = 0
        self.blocks = nn.ModuleList([_Stem(config.stem)])
        previous = config.stem
        for width, depth in zip(config.widths, config.depths, strict=True):
            inner = int(width * config.expansion)
            self.blocks.append(_Stage(previous, inner, width, depth))
            previous = width

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = clip.contiguous(memory_format=memory_layout(clip))  # (B, 3, T, H, W)
        features = []
        for block in self.blocks:
            for layer in getattr(block, "res_blocks", [block]):
                x = _recomputed(layer, x) if self.recompute and torch.is_grad_enabled() else layer(x)
            features.append(x)
        fine, middle, coarse = features[2:]
        return fine, middle, coarse  # (B, C, T, H/8, W/8), (.., H/16, W/16), (.., H/32, W/32)

    def freeze(self, blocks: int | None) -> None:
        """Freeze the first ``blocks`` of the five (0 none, None all) and let the others train.

        A frozen block learns nothing at all: the statistics of its batch norms stay too, also after
        `train()`.
        """
        self.frozen = blocks = len(self.blocks) if blocks is None else blocks
        for i, block in enumerate(self.blocks):
            block.requires_grad_(i >= blocks)
        self.train(self.training)

    def train(self, mode: bool = True) -> "X3D":
        super().train(mode)
        for block in self.blocks[: self.frozen]:
            block.eval()
        return self

    def load_kinetics(self, path: str | Path) -> None:
        """Load a pytorchvideo X3D checkpoint; its classification head is left out.

        ``path`` is a file, or an address (``https://...``), from which it is loaded once and kept where
        `torch.hub` keeps its files.
        """
        try:
            address = "://" in str(path)
            load: Callable = torch.hub.load_state_dict_from_url if address else torch.load
            state = load(str(path), map_location="cpu", weights_only=True)
            state = state.get("model_state", state)
            self.load_state_dict({k: v for k, v in state.items() if not k.startswith("blocks.5.")})
        except Exception as error:  # torch.load raises anything from OSError to UnpicklingError
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise DataError(f"no weights for this backbone: {' '.join(reason[:2])}", path) from error


def folded(model: nn.Module) -> nn.Module:
    """A copy for inference: batch norms are part of the convolutions before them.

    Of each module that names them as ``folds``, pairs of a convolution and its norm.
    """
    model = copy.deepcopy(model).eval()
    for module in list(model.modules()):
        parts = dict(module.named_modules())
        for conv_name, norm_name in getattr(module, "folds", ()):
            if norm_name not in parts:
                continue
            conv, norm = parts[conv_name], parts[norm_name]
            learned = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *learned)
            owner, _, name = norm_name.rpartition(".")
            setattr(parts[owner], name, nn.Identity())
    return model


class _Stem(nn.Module):
    folds = (("conv.conv_xy", "norm"),)

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.ModuleDict()
        self.conv["conv_t"] = nn.Conv3d(3, width, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.conv["conv_xy"] = Depthwise(width, (5, 1, 1))
        self.norm = nn.BatchNorm3d(width)

    def forward(self, x: Tensor) -> Tensor:
        spatial = cast(nn.Conv3d, self.conv["conv_t"])
        return F.relu_(self.norm(self.conv["conv_xy"](convolve(spatial, x))))


class _Stage(nn.Module):
    def __init__(self, width_in: int, inner: int, width: int, depth: int) -> None:
        super().__init__()
        first = _ResBlock(width_in, inner, width, stride=2, excite=True)
        rest = [_ResBlock(width, inner, width, 1, excite=i % 2 == 0) for i in range(1, depth)]
        self.res_blocks = nn.ModuleList([first, *rest])


class _ResBlock(nn.Module):
    folds = (("branch1_conv", "branch1_norm"),)

    def __init__(self, width_in: int, inner: int, width: int, stride: int, excite: bool) -> None:
        super().__init__()
        strides = (1, stride, stride)
        if width_in != width or stride > 1:
            self.branch1_conv = Pointwise(width_in, width, stride)
        if width_in != width:
            self.branch1_norm = nn.BatchNorm3d(width)
        self.branch2 = _Bottleneck(width_in, inner, width, strides, excite)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.branch1_conv(x) if hasattr(self, "branch1_conv") else x
        shortcut = self.branch1_norm(shortcut) if hasattr(self, "branch1_norm") else shortcut
        return F.relu_(shortcut + self.branch2(x))


class _Bottleneck(nn.Module):
    folds = (("conv_a", "norm_a"), ("conv_b", "norm_b.0"), ("conv_c", "norm_c"))

    def __init__(
        self, width_in: int, inner: int, width: int, strides: tuple[int, int, int], excite: bool
    ) -> None:
        super().__init__()
        self.conv_a = Pointwise(width_in, inner)
        self.norm_a = nn.BatchNorm3d(inner)
        self.conv_b = Depthwise(inner, (3, 3, 3), strides)
        excitation = _SqueezeExcitation(inner) if excite else nn.Identity()
        self.norm_b = nn.Sequential(nn.BatchNorm3d(inner), excitation)
        self.conv_c = Pointwise(inner, width)
        self.norm_c = nn.BatchNorm3d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.norm_a(self.conv_a(x)))
        x = F.silu(self.norm_b(self.conv_b(x)))
        return self.norm_c(self.conv_c(x))


class Pointwise(nn.Conv3d):
    """A 1x1x1 convolution: for inference on the CPU a matrix product, which is faster there."""

    def __init__(self, width_in: int, width: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__(width_in, width, 1, (1, stride, stride), bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T, H, W)
        if not inferring(x):
            return super().forward(x)
        x = x[..., :: self.stride[1], :: self.stride[2]].movedim(1, -1)
        return F.linear(x, self.weight.flatten(1), self.bias).movedim(-1, 1)


class Depthwise(nn.Conv3d):
    """Convolution of each channel by itself, stride 1 in time, zeros around.

    The CPU has no fast backward of a depthwise 3D convolution. To train on short clips there, frames
    become channels: a 2D convolution in groups of ``T`` whose weights are a band matrix over time. It
    computes ``T / 3`` times as much, several times faster (``benchmarks/bench_depthwise.py``).
    """

    def __init__(
        self, width: int, kernel: tuple[int, int, int], stride: tuple[int, int, int] = (1, 1, 1)
    ) -> None:
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        super().__init__(width, width, kernel, stride, padding, groups=width, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T, H, W)
        batch, channels, frames, *size = x.shape
        if x.device.type != "cpu" or frames > 24 or not torch.is_grad_enabled():
            return convolve(self, x)
        taps, time = self.kernel_size[0], torch.arange(frames)
        tap = time - time[:, None] + taps // 2  # [to, from]: the frames' distance as a tap of the kernel
        # As a product: the gradient of an index would be added up one by one.
        chosen = (tap[..., None] == torch.arange(taps)).flatten(0, 1).to(self.weight.dtype)
        band = chosen @ self.weight[:, 0].flatten(2)  # (C, T * T, kh * kw)
        kernels = band.view(channels * frames, frames, *self.kernel_size[1:])
        flat = x.reshape(batch, channels * frames, *size)
        y = F.conv2d(flat, kernels, None, self.stride[1:], self.padding[1:], 1, channels)
        return y.unflatten(1, (channels, frames))


class _SqueezeExcitation(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = _round_to_8(width / 16)
        squeeze, excite = Pointwise(width, narrow, bias=True), Pointwise(narrow, width, bias=True)
        self.block = nn.Sequential(squeeze, nn.ReLU(), excite, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.block(x.mean(dim=(2, 3, 4), keepdim=True))


def _round_to_8(width: float) -> int:
    """Nearest multiple of 8, at least 8 and not under 0.9 of the width: the rule of the X3D paper."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * width else rounded + 8


def _recomputed(layer: nn.Module, x: Tensor) -> Tensor:
    def passes() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), _statistics_kept(layer)

    # No dropout inside, so there is no random state to restore.
    return checkpoint(layer, x, use_reentrant=False, preserve_rng_state=False, context_fn=passes)


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Batch norms inside use the batch's statistics but leave the running ones as they are.

    Without it each training step would count twice. (Momentum 0, not ``track_running_stats``: the
    second pass must save the same tensors as the first.)
    """
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
