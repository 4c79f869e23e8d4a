"""Augmentation of clips: one random warp and one change of colour for a whole clip."""

from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from footpass.configs import Share, config_dataclass
from footpass.models.x3d import PIXEL_MEAN

Growth = Annotated[float, Field(gt=0, le=10)]


@config_dataclass
class Augmentation:
    """How much a training clip is changed at random; the defaults are the published ones."""

    # Largest shift as a share of width and height, and largest change of size.
    translate: Share = 0.1
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.1
    rotate: Annotated[float, Field(ge=0, le=180)] = 1.5  # largest angle in degrees
    flip: Share = 0.5  # probability of a horizontal flip
    # Largest change of brightness, contrast and saturation, and of the hue in turns.
    jitter: Share = 0.2
    hue: Share = 0.1
    grow: tuple[Growth, Growth] = (1.0, 1.25)  # range of `ClipConfig.grow`, drawn for each tracklet


def random_warp(
    augmentation: Augmentation, size: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Scale, rotation and flip about the picture's centre, then a shift: ``(2, 3)``, see `Clip.warp`."""
    height, width = size
    angle = np.deg2rad(rng.uniform(-1, 1) * augmentation.rotate)
    scale = 1 + rng.uniform(-1, 1) * augmentation.scale
    flip = -1 if rng.random() < augmentation.flip else 1
    shift = rng.uniform(-1, 1, 2) * augmentation.translate * (width, height)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * turn * (flip, 1)  # (2, 2)
    centre = np.array([width / 2, height / 2])
    return np.c_[linear, centre + shift - linear @ centre].astype(np.float32)


_LUMA = np.array([0.299, 0.587, 0.114])

# RGB to brightness and two coordinates of colour, in whose plane a hue is an angle (NTSC's YIQ).
_YIQ = np.array([_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def random_colour(augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, saturation and hue in one linear map, ``(3, 4)``, see `Clip.colour`.

    Contrast is about the mean pixel of the backbone's training rather than of the clip, and the hue
    turns in the plane of colours of equal brightness rather than around a hexagon.
    """
    brightness, contrast, saturation = 1 + rng.uniform(-1, 1, 3) * augmentation.jitter
    angle = 2 * np.pi * rng.uniform(-1, 1) * augmentation.hue
    colour = saturation * np.exp(1j * angle)
    chroma = np.array([[1, 0, 0], [0, colour.real, -colour.imag], [0, colour.imag, colour.real]])
    linear = contrast * brightness * np.linalg.inv(_YIQ) @ chroma @ _YIQ  # (3, 3)
    return np.c_[linear, np.full(3, (1 - contrast) * PIXEL_MEAN)].astype(np.float32)


def warp_pixels(pixels: Tensor, warp: Tensor) -> Tensor:
    """Move the pictures of each clip, float ``(B, 3, T, H, W)``, by its ``(2, 3)``; outside is black."""
    size = warp.new_tensor(pixels.shape[:-3:-1])  # width, height
    linear = warp[:, :, :2].inverse()  # (B, 2, 2)
    # In the coordinates of grid_sample, -1 to 1 from edge to edge: from a place to where it came from.
    centre = (size / 2)[:, None]
    shift = linear @ (centre - warp[:, :, 2:]) - centre  # (B, 2, 1)
    theta = torch.cat((linear * size / size[:, None], 2 * shift / size[:, None]), dim=2)
    flat = pixels.flatten(1, 2)  # (B, 3*T, H, W): one grid for all frames
    grid = F.affine_grid(theta, list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, align_corners=False).view_as(pixels)


def warp_boxes(boxes: Tensor, warp: Tensor) -> Tensor:
    """Smallest boxes ``(B, M, T, 4)`` around the warped corners of boxes; NaN stays NaN."""
    corners = boxes[..., [0, 1, 2, 1, 0, 3, 2, 3]].unflatten(-1, (4, 2))  # (B, M, T, 4, 2)
    linear, shift = warp[:, None, None, :, :2], warp[:, None, None, None, :, 2]
    corners = corners @ linear.transpose(-1, -2) + shift
    return torch.cat((corners.amin(-2), corners.amax(-2)), dim=-1)


def recolour(pixels: Tensor, colour: Tensor) -> Tensor:
    """Change the colours of each clip, float 0..255 ``(B, 3, T, H, W)``, by its ``(3, 4)``."""
    flat = torch.baddbmm(255 * colour[:, :, 3:], colour[:, :, :3], pixels.flatten(2))  # (B, 3, T*H*W)
    return flat.clamp_(0, 255).view_as(pixels)
