"""DST, Denoising Sequence Transduction: the game as a language (FOOTPASS, Ochin 2025).

An encoder reads the game state and the noisy logits of every frame of a window; a decoder writes the
events as a sentence, one token (action, slot, frame) after the other, with a head for each of the three.
The layers are those of `torch.nn.Transformer` (normalised after each step, ReLU), written out so that
decoding can keep keys and values.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from footpass.configs import Depth, Share, Width, config_dataclass
from footpass.models.slots import (
    N_TACTICAL,
    SlotEncoder,
    mean_of_slots,
    split_features,
    tactical_features,
)
from footpass.models.transformer import (
    FUSIONS,
    Fusion,
    KeysValues,
    Sizes,
    WindowLength,
    Written,
    decoder_step,
    frame_code,
    memory_of,
    transformer_layers,
)
from footpass.schema import (
    EOS,
    N_ACTION_TOKENS,
    N_CLASSES,
    N_SLOT_TOKENS,
    N_SLOTS,
    N_STATE,
    NO_SLOT,
    PAD_FRAME,
    SOS,
    State,
    Token,
)

SILENT = -2.0  # logit of a class less that of the background, from which on it is evidence
SlotWidth = Annotated[Width, Field(multiple_of=8)]  # of up to 4 heads, each of an even number


@config_dataclass
class DSTConfig(Sizes):
    """Sizes of a DST; the defaults are the published ones."""

    window_length: WindowLength = 750  # frames of the longest window
    # "none" reads TAAD's logits, "concat" those of TAAD + GNN beside them (arXiv 2606.09679); "concat3"
    # and "concat4" those of more detectors.
    fusion: Fusion = "none"
    width: Width = 512
    heads: Width = 8
    encoder_layers: Depth = 6
    decoder_layers: Depth = 6
    feedforward: Width = 2048
    dropout: Share = 0.1
    mask_memory: bool = True  # whether the decoder is kept from padded frames; the published one is not
    # What is read of a detector: its "logits", or the "evidence" in them, how far a class is above
    # `SILENT` below the background. A small DST otherwise takes long to hear events in the sum of noise.
    reads: Literal["logits", "evidence"] = "logits"
    # A `SlotEncoder` of the players' game state beside the frames, "serial" or "parallel", and its size:
    # with the logits it is added to what the encoder reads (PAVE, arXiv 2606.28389).
    branch: Literal["none", "serial", "parallel"] = "none"
    branch_width: SlotWidth = 64
    branch_layers: Depth = 1
    # "frames" reads a frame as one vector; "slots" keeps the slots apart in layers of slot_width, with
    # roles and distances (ME-DST, arXiv 2608.01696).
    encoder: Literal["frames", "slots"] = "frames"
    slot_width: SlotWidth = 64


class TokenLogits(NamedTuple):
    """Logits of the three heads: ``(B, L, 10)``, ``(B, L, 27)`` and ``(B, L, window_length + 2)``."""

    action: Tensor
    slot: Tensor
    frame: Tensor


class Memory(NamedTuple):
    """What the decoder reads of a batch of windows, made once."""

    keys_values: list[KeysValues]  # for each of its layers
    mask: Tensor | None  # (B, 1, 1, T) bool, True for frames to be read; None for all
    length: Tensor  # (B,) number of each window's last frame


class DST(nn.Module):
    """Frames to events; `forward` for training, `write` for decoding."""

    def __init__(self, config: DSTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.read = nn.Linear(config.inputs, width)
        # A linear layer on one-hot numbers is a table: look the row up, build no one-hot.
        self.read_frame = nn.Embedding(config.window_length + 2, width)  # the last for padding
        self.write_action = nn.Embedding(N_ACTION_TOKENS, width)
        self.write_slot = nn.Embedding(N_SLOT_TOKENS, width)
        self.write_frame = nn.Embedding(config.window_length + 2, width)  # 0 for SOS, the last for EOS
        frame_layers = config.encoder_layers if config.encoder == "frames" else 0
        self.encoder = transformer_layers(config, frame_layers, cross=False)
        self.encoder_norm = nn.LayerNorm(width)
        self.decoder = transformer_layers(config, config.decoder_layers, cross=True)
        self.decoder_norm = nn.LayerNorm(width)
        self.heads = nn.Linear(width, N_ACTION_TOKENS + N_SLOT_TOKENS + config.window_length + 2)
        # What is added up must be heard: next to the frame's code, whose sines reach 1, the public start
        # of 0.02 leaves slots unlearned for hundreds of steps. The numbers of frames add little to it.
        tables = self.read_frame, self.write_action, self.write_slot, self.write_frame
        for table, loud in zip(tables, (0.1, 0.5, 0.5, 0.1), strict=True):
            nn.init.normal_(table.weight, std=loud)
        with torch.no_grad():
            # A frame is first recognised by its code, so that neighbours are alike from the start.
            code = frame_code(torch.arange(config.window_length + 2), width)
            self.heads.weight[-len(code) :] = 0.8 * (width / 2) ** -0.5 * code
            # What the decoder looks at comes through whole from the start, so that a frame is copied as
            # soon as it is found: without, the two are learned only together, and many times as late.
            for name, weight in self.decoder.named_parameters():
                if name.endswith(("cross.key_value.weight", "cross.out.weight")):
                    weight[-width:] = torch.eye(width)  # of keys and values, the values
            # What the game state adds must not drown a peak that comes and goes.
            self.read.weight[:, :N_STATE] *= 0.1
            if config.reads == "evidence":
                self.read.weight[:, N_STATE:] *= 5
        logits = FUSIONS[config.fusion] * N_CLASSES
        if config.branch != "none":
            sizes = len(State), config.branch_width, config.branch_layers
            self.branch = SlotEncoder(*sizes, config.dropout, config.branch, roles=False)
            self.branch_logits = nn.Linear(N_SLOTS * logits, width)
            self.branch_out = nn.Linear(width + config.branch_width, width)
        if config.encoder == "slots":
            sizes = len(State) + N_TACTICAL + logits, config.slot_width, config.encoder_layers
            self.slots = SlotEncoder(*sizes, config.dropout, "serial", roles=True)
            self.slots_out = nn.Linear(N_SLOTS * config.slot_width, width)

    def forward(self, features: Tensor, frames: Tensor, tokens: Tensor) -> TokenLogits:
        """Logits of the token after each of ``tokens``.

        Parameters
        ----------
        features
            ``(B, T, inputs)`` of each frame (`sequence.tokens.window_features`).
        frames
            ``(B, T)`` int, 1..window_length, `PAD_FRAME` for padding.
        tokens
            ``(B, L, 3)`` int, SOS first; padding after the last. What padding gives means nothing.
        """
        return self.next_tokens(tokens, self.memory(features, frames))[0]

    def memory(self, features: Tensor, frames: Tensor) -> Memory:
        """Read windows; the arguments are those of `forward`."""
        x, mask = self.encode(features, frames)
        return Memory(memory_of(self.decoder, x), mask, length=frames.amax(dim=1))

    def encode(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """``(B, T, width)`` of what was read, and the mask of `Memory`."""
        if self.config.reads == "evidence":
            features = _evidence(features)
        real = frames != PAD_FRAME
        mask = None if real.all() else real[:, None, None, :]
        x = self.read(features) + self.read_frame(frames.where(real, self.config.window_length + 1))
        x = x + frame_code(frames, self.config.width)  # (B, T, width)
        x = x + self._of_slots(features, frames, real)
        for layer in self.encoder:
            x = layer(x, mask=mask)
        # PyTorch's encoder gives zeros for padded frames; without `mask_memory` the decoder reads them.
        x = self.encoder_norm(x.where(real[..., None], 0))
        return x, mask if self.config.mask_memory else None

    def _of_slots(self, features: Tensor, frames: Tensor, real: Tensor) -> Tensor | float:
        """What branch and slot encoder add to the frames, ``(B, T, width)``; nothing without them."""
        config = self.config
        if config.branch == "none" and config.encoder == "frames":
            return 0.0
        state, logits, there = split_features(features)
        there = there & real[..., None]
        added: Tensor | float = 0.0
        if config.branch != "none":
            players = mean_of_slots(self.branch(state, there, frames), there)  # (B, T, branch_width)
            said = self.branch_logits(features[..., N_STATE:])
            added = self.branch_out(torch.cat((said, players), dim=-1))
        if config.encoder == "slots":
            read = torch.cat((state, tactical_features(state, there), logits), dim=-1)
            added = added + self.slots_out(self.slots(read, there, frames).flatten(2))
        return added

    def next_tokens(
        self, tokens: Tensor, memory: Memory, past: list[KeysValues] | None = None
    ) -> tuple[TokenLogits, list[KeysValues]]:
        """Logits after each token, and the decoder's keys and values up to here.

        ``tokens (B, L, 3)``; ``(B, 1, 3)`` with ``past``, what the last call gave. Of each window of the
        memory there may be several sequences, one after the other: then B is a multiple of its windows.
        """
        action, slot, frame = tokens.clamp(min=0).unbind(-1)  # (B, L); padding is read by nobody
        x = self.write_action(action) + self.write_slot(slot) + self.write_frame(frame)
        x = x + frame_code(frame, self.config.width)  # (B, L, width)
        x, present = decoder_step(self.decoder, x, memory.keys_values, memory.mask, past)
        sizes = (N_ACTION_TOKENS, N_SLOT_TOKENS, self.config.window_length + 2)
        return TokenLogits(*self.heads(self.decoder_norm(x)).split(sizes, dim=-1)), present

    @torch.no_grad()
    def write(
        self, features: Tensor, frames: Tensor, max_events: int = 50, beams: int = 1
    ) -> list[Written]:
        """Decode windows, ``features`` and ``frames`` as in `forward`, together, each until its EOS.

        Each step takes the most likely token that means something: an event has a slot and a frame of
        the window, the end has none. The most likely frame is taken without a choice, since its
        probability is spread over neighbours that mean the same. A sequence that does not end is cut
        after ``max_events`` (the training halves have at most 31 in 750 frames). One beam is greedy;
        more keep as many sequences open, ranked by mean log-probability per token.
        """
        memory = self.memory(features, frames)
        # Every step reads all of it, which is quicker where each head's frames lie side by side.
        kept = [(keys.contiguous(), values.contiguous()) for keys, values in memory.keys_values]
        memory = memory._replace(keys_values=kept)
        keys, _ = kept[0]
        shape, device = (len(keys), beams), keys.device
        window = torch.arange(len(keys), device=device)[:, None]
        last = torch.tensor([SOS, NO_SLOT, 0], device=device).expand(*shape, 1, 3)
        tokens, scores = last[:, :, :0], torch.zeros(*shape, 0, device=device)
        total = torch.full(shape, -torch.inf, device=device)
        total[:, 0] = 0.0  # all beams begin alike: only the first may have children
        length = torch.zeros(shape, device=device)  # tokens, EOS too
        done = torch.zeros(shape, dtype=torch.bool, device=device)
        number = torch.arange(self.config.window_length + 2, device=device)
        elsewhere = (number < 1) | (number > memory.length[:, None, None])  # (B, 1, window_length + 2)
        end = torch.tensor([EOS, NO_SLOT, self.config.window_length + 1], device=device)
        past = None
        # One step more, for the end, tells between several sequences; of a single one it would be cut.
        for _ in range(max_events + (beams > 1)):
            logits, past = self.next_tokens(last.flatten(0, 1), memory, past)
            action, slot, frame = (head.float().log_softmax(-1).view(*shape, -1) for head in logits)
            who, slots = slot[..., :NO_SLOT].topk(beams)  # (B, beams, beams)
            step = action[..., :SOS, None] + who[..., None, :]  # (B, beams, 8, beams)
            stop = action[..., EOS] + slot[..., NO_SLOT]  # (B, beams)
            step = torch.cat((step.flatten(2), stop[..., None]), dim=2)  # (B, beams, n)
            n = step.shape[2]
            # A finished sequence stays as it is: its only child costs nothing.
            step[done] = F.one_hot(torch.tensor(n - 1, device=device), n).log()
            length = length + ~done
            total = (total[..., None] + step).flatten(1)  # (B, beams * n)
            best = (total / length.repeat_interleave(n, dim=1)).topk(beams).indices  # (B, beams)
            parent, choice = best // n, best % n
            total, length = total.gather(1, best), length.gather(1, parent)
            ends = choice == n - 1
            what = torch.where(ends, EOS, choice // beams)
            when = frame.masked_fill(elsewhere, -torch.inf).argmax(-1).gather(1, parent)
            event = torch.stack((what, slots[window, parent, choice % beams], when), dim=-1)
            last = torch.where(ends[..., None], end, event)[:, :, None]  # (B, beams, 1, 3)
            tokens = torch.cat((tokens[window, parent], last), dim=2)
            score = action[window, parent, what].exp()[..., None]
            scores = torch.cat((scores[window, parent], score), dim=2)
            done = done.gather(1, parent) | ends
            if done.all():
                break
            if beams > 1:
                rows = (window * beams + parent).flatten()
                past = [(keys[rows], values[rows]) for keys, values in past]
        events = (tokens[:, 0, :, Token.ACTION] != EOS).sum(dim=1).clamp(max=max_events)
        return [Written(tokens[i, 0, :n], scores[i, 0, :n]) for i, n in enumerate(events.tolist())]

    @staticmethod
    def from_reference(public: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Public tensors under our names, for `models.public.load_reference`.

        The public decoder embedding is one matrix on three one-hot vectors: its columns become the rows
        of three tables, its bias goes into the first. The public EOS is written into the frame that also
        means padding; here that frame means EOS only, as padding is masked.
        """
        state = dict(public)
        ours = {}
        table = state.pop("encoder_embedding.weight").T  # (inputs + window_length + 2, width)
        frames = len(state["timestamp_output_projection.bias"])
        ours["read.weight"], ours["read_frame.weight"] = table[:-frames].T, table[-frames:]
        ours["read.bias"] = state.pop("encoder_embedding.bias")
        sizes = (N_ACTION_TOKENS, N_SLOT_TOKENS, frames)
        action, slot, frame = state.pop("decoder_embedding.weight").T.split(sizes)
        action = action + state.pop("decoder_embedding.bias")
        for name, rows in (("action", action), ("slot", slot), ("frame", frame)):
            ours[f"write_{name}.weight"] = rows
        for part in ("weight", "bias"):
            heads = ("action_and_roleid_output_projection", "timestamp_output_projection")
            ours[f"heads.{part}"] = torch.cat([state.pop(f"{head}.{part}") for head in heads])
        for name in [name for name in state if "in_proj_" in name]:
            prefix, part = name.split("in_proj_")
            packed = state.pop(name)  # query, key and value, one below the other
            width = len(packed) // 3
            state[f"{prefix}query.{part}"], state[f"{prefix}key_value.{part}"] = packed.split(
                (width, 2 * width)
            )
        for name, tensor in state.items():
            for theirs, our in _PUBLIC_NAMES.items():
                name = name.replace(theirs, our)
            ours[name] = tensor
        return ours


def _evidence(features: Tensor) -> Tensor:
    """Features with evidence (`DSTConfig.reads`) for logits; the background has none."""
    state, logits = features.tensor_split([N_STATE], dim=-1)
    volumes = logits.unflatten(-1, (-1, N_CLASSES, N_SLOTS))
    evidence = (volumes[..., 1:, :] - volumes[..., :1, :] - SILENT).clamp(min=0)
    return torch.cat((state, F.pad(evidence, (0, 0, 1, 0)).flatten(-3)), dim=-1)


_PUBLIC_NAMES = {
    "transformer.encoder.norm": "encoder_norm",
    "transformer.decoder.norm": "decoder_norm",
    "transformer.encoder.layers": "encoder",
    "transformer.decoder.layers": "decoder",
    "self_attn": "attention",
    "multihead_attn": "cross",
    "out_proj": "out",
    "linear1": "feedforward.0",
    "linear2": "feedforward.3",
    "norm1": "norms.0",
    "norm2": "norms.1",
    "norm3": "norms.2",
}
