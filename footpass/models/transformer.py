"""What both DSTs are made of: transformer layers with cached keys and values, and the code of frames."""

import math
from typing import Annotated, Any, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import AliasChoices, Field
from torch import Tensor, nn

from footpass.files import DataError
from footpass.schema import N_CLASSES, N_SLOTS, N_STATE

# How many logit volumes the encoder reads.
FUSIONS = {"none": 1, "concat": 2, "concat3": 3, "concat4": 4}
Fusion = Annotated[str, Field(pattern=f"^({'|'.join(FUSIONS)})$")]


# Frames of the longest window; "span" in older files.
WindowLength = Annotated[
    int, Field(ge=1, le=10_000, validation_alias=AliasChoices("window_length", "span"))
]
_FEW_ROWS = 4  # measured on the CPU: with 2 threads up to twice as fast, from 8 rows slower
CODE_BASE = 1000.0  # of the sinusoidal code; slower waves than 1000 frames would tell nothing
KeysValues = tuple[Tensor, Tensor]  # each (B, heads, T, width / heads)


class Sizes:
    """What the config of either DST says of itself."""

    def __post_init__(self: Any) -> None:
        if self.width % (2 * self.heads):
            raise DataError(f"width {self.width} is not a multiple of 2 * {self.heads} heads")

    @property
    def inputs(self: Any) -> int:
        """Features of a frame: 130 of the game state, and 234 for each detector."""
        return N_STATE + FUSIONS[self.fusion] * N_CLASSES * N_SLOTS


class Written(NamedTuple):
    """A decoded window: tokens ``(n, 3)`` without SOS and EOS, scores ``(n,)`` of their actions."""

    tokens: Tensor
    scores: Tensor


def frame_code(frames: Tensor, width: int) -> Tensor:
    """Sinusoidal code of frame numbers ``(...)``: sine and cosine by turns, ``(..., width)``."""
    rates = torch.arange(0, width, 2, device=frames.device) * (-math.log(CODE_BASE) / width)
    angles = frames[..., None] * rates.exp()
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


class _Linear(nn.Linear):
    """A linear layer that is quick for a few rows too: PyTorch's own then leaves all but one core idle.

    Decoding reads all weights for each token of a few windows. With the weights as the left factor, BLAS
    shares them out among the cores, as it does by itself for a single row.
    """

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2)
        if x.device.type != "cpu" or not 1 < len(rows) <= _FEW_ROWS:
            return super().forward(x)
        y = torch.addmm(self.bias[:, None], self.weight, rows.T)
        return y.T.contiguous().view(*x.shape[:-1], self.out_features)


class _Attention(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.query = _Linear(config.width, config.width)
        self.key_value = _Linear(config.width, 2 * config.width)
        self.out = _Linear(config.width, config.width)

    def keys_values(self, x: Tensor) -> KeysValues:
        keys, values = self.key_value(x).chunk(2, dim=-1)
        return self._split(keys), self._split(values)

    def forward(
        self, x: Tensor, keys_values: KeysValues, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        dropout, query = self.dropout if self.training else 0.0, self._split(self.query(x))
        # (B, heads, L, width / heads)
        x = F.scaled_dot_product_attention(query, *keys_values, mask, dropout, causal)
        return self.out(x.transpose(1, 2).flatten(2))  # (B, L, width)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, L, width / heads)


class TransformerLayer(nn.Module):
    """Attention to the own sequence, in the decoder to the memory, then two linear layers.

    The config is that of either DST.
    """

    def __init__(self, config: Any, cross: bool) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.cross = _Attention(config) if cross else None
        width, inner = config.width, config.feedforward
        self.feedforward = nn.Sequential(
            _Linear(width, inner), nn.ReLU(), nn.Dropout(config.dropout), _Linear(inner, width)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if cross else 2))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        keys_values: KeysValues | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        memory: tuple[KeysValues, Tensor | None] | None = None,
    ) -> Tensor:
        keys_values = keys_values or self.attention.keys_values(x)
        x = self.norms[0](x + self.dropout(self.attention(x, keys_values, mask, causal)))
        if memory is not None:
            assert self.cross is not None
            # Several sequences of a window are read as one longer one, so the memory is not repeated.
            by_window = x.reshape(len(memory[0][0]), -1, x.shape[-1])
            x = self.norms[1](x + self.dropout(self.cross(by_window, *memory)).view_as(x))
        return self.norms[-1](x + self.dropout(self.feedforward(x)))


def transformer_layers(config: Any, count: int, cross: bool) -> nn.ModuleList:
    """An encoder's layers, or with ``cross`` a decoder's."""
    return nn.ModuleList(TransformerLayer(config, cross) for _ in range(count))


def memory_of(decoder: Any, x: Tensor) -> list[KeysValues]:
    """Keys and values of what was read, ``(B, T, width)``, for each layer of a decoder."""
    return [layer.cross.keys_values(x) for layer in decoder]


def decoder_step(
    decoder: Any,  # layers
    x: Tensor,
    memory: list[KeysValues],
    mask: Tensor | None,
    past: list[KeysValues] | None = None,
) -> tuple[Tensor, list[KeysValues]]:
    """Tokens ``(B, L, width)`` through all layers of a decoder, and its keys and values up to here.

    ``memory`` and ``mask`` are the keys and values of what was read (`memory_of`), and which of it to
    attend to. ``past`` is what the last call gave, of the tokens before these; L is 1 then.
    """
    present = []
    for i, layer in enumerate(decoder):
        keys_values = layer.attention.keys_values(x)
        if past is not None:
            (old_keys, old_values), (keys, values) = past[i], keys_values
            keys_values = torch.cat((old_keys, keys), dim=2), torch.cat((old_values, values), dim=2)
        x = layer(x, keys_values, causal=past is None, memory=(memory[i], mask))
        present.append(keys_values)
    return x, present
