"""The DST in the published layout, on `torch.nn.Transformer`: one-hot inputs, no cache.

Every step of decoding reads all tokens again, and the memory's keys and values are made again.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from footpass.models.dst import DSTConfig
from footpass.models.transformer import frame_code
from footpass.schema import EOS, N_ACTION_TOKENS, N_SLOT_TOKENS, NO_SLOT, PAD_FRAME, SOS, Token


class PlainDST(nn.Module):
    """Parameters have the public names, so `load_reference` takes its state dict."""

    def __init__(self, config: DSTConfig) -> None:
        super().__init__()
        self.config = config
        vocabulary, frames = N_ACTION_TOKENS + N_SLOT_TOKENS, config.window_length + 2
        self.encoder_embedding = nn.Linear(config.inputs + frames, config.width)
        self.decoder_embedding = nn.Linear(vocabulary + frames, config.width)
        self.transformer = nn.Transformer(
            config.width,
            config.heads,
            config.encoder_layers,
            config.decoder_layers,
            config.feedforward,
            config.dropout,
            batch_first=True,
        )
        self.action_and_roleid_output_projection = nn.Linear(config.width, vocabulary)
        self.timestamp_output_projection = nn.Linear(config.width, frames)

    def encode(self, features: Tensor, frames: Tensor) -> Tensor:
        number = frames.where(frames != PAD_FRAME, self.config.window_length + 1)
        x = torch.cat((features, F.one_hot(number, self.config.window_length + 2)), dim=-1)
        x = self.encoder_embedding(x) + frame_code(frames, self.config.width)
        return self.transformer.encoder(x, src_key_padding_mask=frames == PAD_FRAME)

    def logits(self, tokens: Tensor, memory: Tensor, padded: Tensor | None) -> tuple[Tensor, ...]:
        sizes = (N_ACTION_TOKENS, N_SLOT_TOKENS, self.config.window_length + 2)
        one_hot = [F.one_hot(tokens[..., i], size) for i, size in enumerate(sizes)]
        x = self.decoder_embedding(torch.cat(one_hot, dim=-1).float())
        x = x + frame_code(tokens[..., Token.FRAME], self.config.width)
        later = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        x = self.transformer.decoder(x, memory, tgt_mask=later, memory_key_padding_mask=padded)
        action, slot = self.action_and_roleid_output_projection(x).split(sizes[:2], dim=-1)
        return action, slot, self.timestamp_output_projection(x)

    def write(self, features: Tensor, frames: Tensor, max_events: int) -> list[Tensor]:
        """Tokens of each window, as `footpass.models.dst.DST.write` gives them with one beam."""
        with torch.no_grad():
            return self.write_from(self.encode(features, frames), frames, max_events)

    @torch.no_grad()
    def write_from(self, memory: Tensor, frames: Tensor, max_events: int) -> list[Tensor]:
        """The same for windows that have been read."""
        padded = frames == PAD_FRAME
        lengths = (~padded).sum(dim=1).tolist()
        padded = padded if self.config.mask_memory else None
        tokens = torch.tensor([SOS, NO_SLOT, 0]).repeat(len(memory), 1, 1)
        for _ in range(max_events):
            last = [head[:, -1].softmax(-1) for head in self.logits(tokens, memory, padded)]
            following = [_most_likely(*heads) for heads in zip(*last, lengths, strict=True)]
            tokens = torch.cat((tokens, torch.tensor(following)[:, None]), dim=1)
            if (tokens[..., Token.ACTION] == EOS).any(dim=1).all():
                break
        return [_until_end(row[1:]) for row in tokens]


def _most_likely(action: Tensor, slot: Tensor, frame: Tensor, length: int) -> tuple[int, int, int]:
    who = slot[:NO_SLOT].argmax()
    what = action[:SOS].argmax()
    if action[EOS] * slot[NO_SLOT] > action[what] * slot[who]:
        return EOS, NO_SLOT, len(frame) - 1
    return int(what), int(who), int(frame[1 : length + 1].argmax()) + 1


def _until_end(tokens: Tensor) -> Tensor:
    for i, action in enumerate(tokens[:, Token.ACTION].tolist()):
        if action == EOS:
            return tokens[:i]
    return tokens
