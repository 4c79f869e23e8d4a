"""What a detector takes: pictures, boxes, masks and game state as tensors on its device."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from footpass.data.halves import HalfMatch
from footpass.detectors.augment import recolour, warp_boxes, warp_pixels
from footpass.detectors.clips import (
    _SAME_COLOUR,
    _SAME_PLACE,
    Clip,
    ClipConfig,
    public_boxes,
    window_boxes,
)
from footpass.models.x3d import normalise
from footpass.schema import N_ROLES, State


class ModelInputs(NamedTuple):
    """What the models take."""

    clip: Tensor  # (B, 3, T, H, W), normalised
    # (B, M, T, 4) and bool (B, M, T).
    boxes: Tensor
    visible: Tensor
    # (B, M, T, 5) (`schema.Node`) and bool (B, M, T): the game state, which only the graph model reads.
    nodes: Tensor
    present: Tensor

    def asked(self, without_box: bool) -> Tensor:
        """Bool ``(B, M, T)``, as `asked_about`."""
        return self.present if without_box else self.visible


def model_inputs(batch: Clip, device: torch.device | str) -> ModelInputs:
    """A collated batch on the device, augmented as its clips ask for.

    A box becomes the smallest one around its warped corners. A player who is warped out of the picture
    is no longer visible.
    """
    # A loss may call this under autocast, where coordinates of half precision would part a warped box
    # from its player by more than a pixel.
    with torch.autocast(torch.device(device).type, enabled=False):
        pixels = torch.as_tensor(batch.pixels).to(device, non_blocking=True).movedim(-1, 1)
        pixels = pixels.float().contiguous()  # (B, 3, T, H, W)
        boxes = torch.as_tensor(batch.boxes).to(device, non_blocking=True)
        visible = boxes.isfinite().all(-1)  # (B, M, T)
        if not (batch.warp == torch.from_numpy(_SAME_PLACE)).all():
            warp = torch.as_tensor(batch.warp).to(device)
            pixels, boxes = warp_pixels(pixels, warp), warp_boxes(boxes, warp)
            size = boxes.new_tensor(pixels.shape[:-3:-1])  # width, height
            visible &= ((boxes[..., 2:] > 0) & (boxes[..., :2] < size)).all(-1)
        if not (batch.colour == torch.from_numpy(_SAME_COLOUR)).all():
            pixels = recolour(pixels, torch.as_tensor(batch.colour).to(device))
        state, slots = torch.as_tensor(batch.state), torch.as_tensor(batch.slots)
        return ModelInputs(normalise(pixels), boxes, visible, *game_state(state, slots, device))


def game_state(state: Tensor, slots: Tensor, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Nodes and presence (`ModelInputs`) of states ``(B, 5, M, T)`` and their slots ``(B, M)``."""
    motion = state.to(device).float()[:, State.X : State.VISIBLE].movedim(1, -1)  # (B, M, T, 4)
    team = (slots.to(device) // N_ROLES)[..., None, None].expand(*motion.shape[:3], 1)
    return torch.cat((team.to(motion), motion), dim=-1), motion.isfinite().all(-1)


def window_inputs(
    window: HalfMatch, pixels: np.ndarray, config: ClipConfig, device: torch.device | str
) -> ModelInputs:
    """All slots of a window of a half, with its pictures ``(T, H, W, 3)``, as a batch of one clip."""
    slots = np.arange(len(window.jersey))
    clip = torch.from_numpy(pixels).to(device)[None].movedim(-1, 1)  # (1, 3, T, H, W)
    drawn = config.grow, config.size
    corners = public_boxes(window, *drawn) if config.public else window_boxes(window, slots, *drawn)
    boxes = torch.from_numpy(corners).to(device)
    visible = boxes.isfinite().all(-1)  # (26, T)
    state = torch.from_numpy(np.ascontiguousarray(window.state))  # (5, 26, T)
    game = game_state(state[None], torch.from_numpy(slots)[None], device)
    inputs = ModelInputs(normalise(clip), boxes[None], visible[None], *game)
    missing = config.frames - len(pixels)
    if not config.public or missing <= 0:
        return inputs
    # Zeros after normalising are grey; nobody is there.
    axes = (2, 1, 0, 1, 0)  # after the frames
    parts = zip(inputs, axes, strict=True)
    return ModelInputs(*(F.pad(part, (0, 0) * after + (0, missing)) for part, after in parts))


def mirror_inputs(inputs: ModelInputs) -> ModelInputs:
    """The same clips of the match mirrored along the pitch (`schema.MIRRORS`); players keep their order.

    So what a model says of it is of the same players.
    """
    clip, boxes, visible, nodes, present = inputs
    x1, y1, x2, y2 = boxes.unbind(-1)
    width = clip.shape[-1]
    team, x, y, vx, vy = nodes.unbind(-1)  # as in `schema.Node`
    return ModelInputs(
        clip.flip(-1),
        torch.stack((width - x2, y1, width - x1, y2), dim=-1),
        visible,
        torch.stack((1 - team, 1 - x, y, -vx, vy), dim=-1),
        present,
    )
