"""Transformer layers that keep the slot axis: attention across a frame's slots, and along each slot.

The winner of the 2026 challenge reads the game state this way beside the frames' encoder (PAVE, arXiv
2606.28389: `DSTConfig.branch`); the entry with the best micro F1 reads everything so (ME-DST, arXiv
2608.01696: `DSTConfig.encoder`). Neither has public code: this is made from the papers' descriptions.
"""

import torch
from torch import Tensor, nn

from footpass.models.transformer import frame_code
from footpass.schema import MISSING, N_ROLES, N_SLOTS, N_STATE, N_TEAMS, PITCH, State

# What brings the numbers of the game state to about -1..1.
CENTRE = (0.5, 0.5, 0.0, 0.0, 0.0)
SCALE = (2.0, 2.0, 0.2, 0.2, 1.0)
N_TACTICAL = 4
_FAR = 50.0  # metres that count as 1


class SlotEncoder(nn.Module):
    """Reads T frames of 26 slots, each a vector of ``inputs`` numbers.

    With ``order`` "serial" a layer looks across slots, then along time; with "parallel" both look at the
    same, and what they make of it is summed. Without ``roles``, slots differ by what they read alone.
    Attention has 4 heads, as published for a width of 64; under that, fewer, which are no narrower.
    """

    def __init__(
        self, inputs: int, width: int, layers: int, dropout: float, order: str, roles: bool
    ) -> None:
        super().__init__()
        heads = 4 if width >= 64 else 2 if width >= 32 else 1
        self.width, self.serial = width, order == "serial"
        self.read = nn.Linear(inputs, width)
        self.role = nn.Embedding(N_ROLES, width) if roles else None
        self.team = nn.Embedding(N_TEAMS, width) if roles else None

        def layer() -> nn.Module:
            return nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, batch_first=True)

        self.across = nn.ModuleList(layer() for _ in range(layers))
        self.along = nn.ModuleList(layer() for _ in range(layers))

    def forward(self, x: Tensor, there: Tensor, frames: Tensor) -> Tensor:
        """``x (B, T, 26, inputs)`` to ``(B, T, 26, width)``, zero where a slot is missing.

        ``there (B, T, 26)`` is False for a missing slot or a padded frame, which nobody attends to;
        ``frames (B, T)`` are the numbers of the frames.
        """
        batch, length = frames.shape
        x = self.read(x) + frame_code(frames, self.width)[:, :, None]
        if self.role is not None and self.team is not None:
            slots = torch.arange(N_SLOTS, device=x.device)
            x = x + self.role(slots % N_ROLES) + self.team(slots // N_ROLES)
        for across, along in zip(self.across, self.along, strict=True):
            y = across(x.flatten(0, 1), src_key_padding_mask=_hidden(there.flatten(0, 1)))
            y = y.unflatten(0, (batch, length))  # (B, T, 26, width)
            z = (y if self.serial else x).transpose(1, 2).flatten(0, 1)  # (B * 26, T, width)
            z = along(z, src_key_padding_mask=_hidden(there.transpose(1, 2).flatten(0, 1)))
            z = z.unflatten(0, (batch, N_SLOTS)).transpose(1, 2)
            x = z if self.serial else y + z
        return x.masked_fill(~there[..., None], 0)


def _hidden(there: Tensor) -> Tensor:
    """``(N, L)`` bool, whom nobody attends to; of a row of nobody, all: it must not become NaN."""
    return ~there & there.any(dim=1, keepdim=True)


def mean_of_slots(x: Tensor, there: Tensor) -> Tensor:
    """``(B, T, width)``: mean over the slots that are there of ``(B, T, 26, width)``, zero elsewhere."""
    return x.sum(dim=2) / there.sum(dim=2, keepdim=True).clamp(min=1)


def split_features(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Game state ``(B, T, 26, 5)`` at about -1..1, logits ``(B, T, 26, 9 V)``, and who is there.

    ``features (B, T, inputs)`` are those of `sequence.tokens.window_features`.
    """
    state, logits = features.split((N_STATE, features.shape[-1] - N_STATE), -1)
    state = state.unflatten(-1, (len(State), N_SLOTS)).transpose(2, 3)  # (B, T, 26, 5)
    there = state[..., State.X] != MISSING
    state = (state - state.new_tensor(CENTRE)) * state.new_tensor(SCALE)
    logits = logits.unflatten(-1, (-1, N_SLOTS)).transpose(2, 3)  # (B, T, 26, 9 V)
    return state.masked_fill(~there[..., None], 0), logits, there


def tactical_features(state: Tensor, there: Tensor) -> Tensor:
    """``(B, T, 26, 4)``: how far the nearest opponent, team-mate, own and other goal are, 1 is 50 m.

    ``state`` is that of `split_features`; distances to nobody are 1.
    """
    pitch = state.new_tensor(PITCH)
    at = state[..., [State.X, State.Y]] / 2 * pitch  # metres from the centre spot
    apart = torch.cdist(at, at).masked_fill(~there[..., None, :], _FAR)  # (B, T, 26, 26)
    slots = torch.arange(N_SLOTS, device=at.device)
    mates = slots[:, None] // N_ROLES == slots // N_ROLES
    opponent = apart.masked_fill(mates, _FAR).amin(-1)
    mate = apart.masked_fill(~mates | (slots[:, None] == slots), _FAR).amin(-1)
    goal = pitch[0] / 2 * (2 * (slots // N_ROLES) - 1)  # team 0's own goal is on the left
    own, other = (torch.hypot(at[..., 0] - side * goal, at[..., 1]) for side in (1, -1))
    distances = torch.stack((opponent, mate, own, other), dim=-1) / _FAR
    return distances.clamp(max=1).masked_fill(~there[..., None], 0)
