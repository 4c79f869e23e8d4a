"""A DST for little data: one player like the other, and an event told in turn as when, who and what.

The published DST (`footpass.models.dst`) learns what slot 17's logits mean apart from slot 4's, and how
to copy them; that takes tens of matches. Here all players are read with the same weights, and the
detector's log-odds are where the answers start from: what encoder and decoder add is a correction.
The events of a window are a marked point process: given those before it, the next one comes at a time
with a probability that follows from its hazard, step by step, and then has a player and a class.
"""

from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import AliasChoices, Field
from torch import Tensor, nn

from footpass.configs import Depth, Share, Width, config_dataclass
from footpass.files import DataError
from footpass.models.slots import CENTRE, SCALE
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
    MISSING,
    N_ACTION_TOKENS,
    N_CLASSES,
    N_ROLES,
    N_SLOTS,
    N_STATE,
    NO_SLOT,
    PAD_FRAME,
    PITCH,
    SCORE_THRESHOLD,
    SOS,
    TOLERANCE,
    State,
    Token,
)

_GAPS = (1, 2, 3, 4, 5, 7, 9, 12, 16, 22, 30, 45)  # steps since the last event, in classes
_NEVER = -50.0  # log-odds
_SURE = 8.0  # log-odds beyond which evidence says no more
_NEAR_LINE, _NEAR_GOAL, _STILL = 2.0, 12.0, 1.5  # metres, metres, m/s: there, nearness is 1/e


@config_dataclass
class PlayerDSTConfig(Sizes):
    """Sizes of a `PlayerDST`."""

    # As of `DSTConfig`.
    window_length: WindowLength = 375
    fusion: Fusion = "none"
    # Frames that are read as one; events are told no more exactly, within half of it.
    step: Annotated[int, Field(ge=1, le=100)] = 5
    player: Width = 24  # features of a player at a step
    width: Width = 64
    heads: Width = 4
    encoder_layers: Depth = 1
    decoder_layers: Depth = 1
    feedforward: Width = 128
    dropout: Share = 0.1
    # Share of players whose evidence is hidden from a window in training: of the halves that it was
    # trained on, a detector's logits look better than of others.
    forget: Share = 0.15
    # Games that are drawn of a window to decode it, and the share of them in which an event has to
    # happen to be written.
    samples: Annotated[
        int, Field(ge=1, le=10_000, validation_alias=AliasChoices("samples", "games"))
    ] = 64
    min_probability: Annotated[
        Share, Field(gt=0, validation_alias=AliasChoices("min_probability", "least"))
    ] = SCORE_THRESHOLD


class Read(NamedTuple):
    """A batch of windows as read, n steps each."""

    steps: Tensor  # (B, n, width) what happens at a step, all in all
    players: Tensor  # (B, n, 26, player)
    odds: Tensor  # (B, n, 26, 8) log-odds of each class, the best within the tolerance
    hazard: Tensor  # (B, n) log-odds of an event at a step, whatever was before
    keys_values: list[KeysValues]  # of the steps, for each layer of the decoder
    real: Tensor  # (B, n) bool, False for steps after the window's end


class Answers(NamedTuple):
    """What a `PlayerDST` says of the next event."""

    when: Tensor  # (B, L, n + 1) log-probabilities of its step; the last: there is none
    who: Tensor  # (B, L, 26, 8) log-odds of player and class, at the right step
    step: Tensor  # (B, L) the right step, n at the end; at padding it means nothing


class Prior(nn.Module):
    """What is said before anything was understood: the detectors' log-odds, and the last event's habits.

    A handful of numbers that may learn much faster than the rest (`lr` of `TrainConfig`).
    """

    def __init__(self, volumes: int) -> None:
        super().__init__()
        actions = N_CLASSES - 1
        self.trust = nn.Parameter(torch.full((2, volumes, actions), 1 / volumes))  # not seen, seen
        self.bias = nn.Parameter(torch.full((2, actions), -3.0))
        with torch.no_grad():
            self.trust[0, 0] = 0.0  # TAAD was never taught what to say of whom it does not see
        self.sharp = nn.Parameter(torch.tensor([1.5, 1.0]))
        gap = torch.zeros(SOS + 1, len(_GAPS) + 1)  # by the last event's class
        gap[:SOS, :3] = torch.tensor([-6.0, -4.0, -2.0])  # what was just told is not to be told again
        self.gap = nn.Parameter(gap)
        self.next = nn.Parameter(torch.zeros(SOS + 1, 3, actions))  # same player, team-mate, opponent

    def forward(self, odds: Tensor, seen: Tensor) -> Tensor:
        """Log-odds ``(..., 8, 26)`` of all detectors together, from each one's ``(..., V, 8, 26)``."""
        each = [(self.trust[i][..., None] * odds).sum(-3) + self.bias[i][:, None] for i in (0, 1)]
        return torch.where(seen[..., None, :], each[1], each[0])


class PlayerDST(nn.Module):
    """Frames to events; `answer_losses` for training, `write` for decoding."""

    def __init__(self, config: PlayerDSTConfig) -> None:
        super().__init__()
        self.config = config
        width, player = config.width, config.player
        volumes, actions = FUSIONS[config.fusion], N_CLASSES - 1
        self.prior = Prior(volumes)
        self.said = nn.Linear(config.step * volumes * actions, player)
        self.stands = nn.Linear(len(State) + 1 + 4, player)
        self.slot = nn.Parameter(0.5 * torch.randn(N_SLOTS, player))
        self.alone, self.others = nn.Linear(player, player), nn.Linear(2 * player, player)
        self.around = nn.Linear(3 * player, player)
        self.norms = nn.ModuleList(nn.LayerNorm(player) for _ in range(2))
        self.look = nn.Linear(player, config.heads)
        self.take = nn.Linear(config.heads * player, width)
        self.field = nn.Linear(N_SLOTS * (len(State) + 1), width)
        self.steps_norm = nn.LayerNorm(width)
        self.encoder = transformer_layers(config, config.encoder_layers, cross=False)
        self.write_action = nn.Embedding(N_ACTION_TOKENS, width)
        self.write_slot = nn.Embedding(N_SLOTS + 1, width)
        self.decoder = transformer_layers(config, config.decoder_layers, cross=True)
        self.local, self.query, self.key = (nn.Linear(width, n) for n in (1, width, width))
        self.know_past, self.know_step = nn.Linear(width, width), nn.Linear(width, width)
        self.know_player, self.tell = nn.Linear(player, width), nn.Linear(width, actions)
        for table in (self.write_action, self.write_slot):
            nn.init.normal_(table.weight, std=0.5)
        # Log of class weights (8,) that training has had, to be taken out of the classes' odds.
        self.log_weights: Tensor | None = None
        for last in (self.local, self.key, self.tell):  # at first, the prior is all that counts
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)

    def read(self, features: Tensor, frames: Tensor) -> Read:
        """Read windows; ``features (B, T, inputs)`` and ``frames (B, T)`` as in `DST.forward`."""
        size, step = self.config, self.config.step
        batch, missing = len(features), -features.shape[1] % step
        features = F.pad(features, (0, 0, 0, missing))
        given = F.pad(frames, (0, missing), value=PAD_FRAME).unflatten(1, (-1, step)) != PAD_FRAME
        real = given[..., 0]  # (B, n)
        by_step = features.unflatten(1, (-1, step))  # (B, n, step, inputs)
        middle = (given.sum(-1) // 2)[..., None, None]  # of the frames that there are
        state = by_step[..., :N_STATE].gather(2, middle.expand(-1, -1, 1, N_STATE))[:, :, 0]
        state = state.unflatten(-1, (len(State), N_SLOTS)).transpose(2, 3)  # (B, n, 26, 5)
        there = (state[..., :1] != MISSING) & real[..., None, None]
        places = _places(state) * there  # (B, n, 26, 4)
        state = (state - state.new_tensor(CENTRE)) * state.new_tensor(SCALE)
        state = F.pad(state, (0, 1), value=1.0) * there  # (B, n, 26, 6)
        logits = by_step[..., N_STATE:].unflatten(-1, (-1, N_CLASSES, N_SLOTS))
        odds = (logits[..., 1:, :] - logits[..., :1, :]).clamp(-_SURE, _SURE)  # (B, n, step, V, 8, 26)
        odds = odds.where(given[..., None, None, None], -_SURE)
        seen = (state[..., State.VISIBLE] > 0.5)[:, :, None]  # (B, n, 1, 26)
        if self.training and size.forget:
            seen = seen & (torch.rand(batch, 1, 1, N_SLOTS, device=seen.device) >= size.forget)
            odds = odds.where(seen[..., None, None, :], -_SURE)
        known = self.prior(odds, seen.expand(-1, -1, step, -1))  # (B, n, step, 8, 26)
        known = known.masked_fill(~there[:, :, None, None, :, 0], -2 * _SURE)
        hazard = self.prior.sharp[0] * known.flatten(2).amax(-1) + self.prior.sharp[1]  # (B, n)
        best = F.pad(known.amax(2).flatten(2).transpose(1, 2), (self._near, self._near), value=-99.0)
        best = F.max_pool1d(best, 2 * self._near + 1, stride=1)  # (B, 8 * 26, n)
        best = best.transpose(1, 2).unflatten(-1, (N_CLASSES - 1, N_SLOTS)).transpose(2, 3)

        odds = (odds / 4).permute(0, 1, 5, 2, 3, 4).flatten(3)  # (B, n, 26, step * V * 8)
        x = self.norms[0](
            self.said(odds) + self.stands(torch.cat((state, places), -1)) + self.slot
        ).relu()
        others = self.others(torch.cat((x.mean(2), x.amax(2)), dim=-1))
        x = x + (self.alone(x) + others[:, :, None]).relu()
        near = F.pad(x * real[..., None, None], (0, 0, 0, 0, 1, 1))
        x = x + self.around(torch.cat((near[:, :-2], x, near[:, 2:]), dim=-1)).relu()
        x = self.norms[1](x)  # (B, n, 26, player)
        share = self.look(x).softmax(dim=2)  # (B, n, 26, heads)
        taken = torch.einsum("bnsh,bnsp->bnhp", share, x).flatten(2)
        steps = self.steps_norm(self.take(taken) + self.field(state.flatten(2)))
        number = 1 + step // 2 + step * torch.arange(steps.shape[1], device=steps.device)
        steps = steps + frame_code(number, size.width)  # (B, n, width)
        mask = None if real.all() else real[:, None, None, :]
        for layer in self.encoder:
            steps = layer(steps, mask=mask)
        hazard = hazard + self.local(steps)[..., 0]
        return Read(steps, x, best, hazard, memory_of(self.decoder, steps), real)

    @property
    def _near(self) -> int:
        return TOLERANCE // self.config.step

    def _told(
        self, tokens: Tensor, read: Read, past: list[KeysValues] | None = None
    ) -> tuple[Tensor, list[KeysValues]]:
        """What the decoder makes of the tokens ``(B, L, 3)`` so far: ``(B, L, width)``."""
        action, slot, frame = tokens.clamp(min=0).unbind(-1)
        x = self.write_action(action) + self.write_slot(slot) + frame_code(frame, self.config.width)
        mask = None if read.real.all() else read.real[:, None, None, :]
        return decoder_step(self.decoder, x, read.keys_values, mask, past)

    def when(self, told: Tensor, tokens: Tensor, read: Read) -> Tensor:
        """Log-probabilities ``(B, L, n + 1)`` of the next event's step; the last: there is none."""
        action, _, frame = tokens.clamp(min=0).unbind(-1)
        number = torch.arange(read.hazard.shape[1], device=told.device)
        passed = number - self._step(frame)[..., None]  # (B, L, n) steps since the last event
        gap = torch.bucketize(passed, torch.tensor(_GAPS, device=told.device), right=True)
        hazard = read.hazard[:, None] + self.prior.gap[action.clamp(max=SOS)[..., None], gap]
        hazard += self.query(told) @ self.key(read.steps).transpose(1, 2) / self.config.width**0.5
        # Log-odds (B, L, n) of an event at a step, if none was between it and the last one.
        hazard = hazard.masked_fill(~read.real[:, None] | (passed < 0), _NEVER)
        until = F.logsigmoid(-hazard).cumsum(-1)  # that there is none up to here
        at = hazard + until  # log of sigmoid(h), of 1 - sigmoid(h) for each step before
        return torch.cat((at, until[..., -1:]), dim=-1)

    def who(self, told: Tensor, tokens: Tensor, step: Tensor, read: Read) -> Tensor:
        """Log-odds ``(B, L, 26, 8)`` of player and class of the next event, at a step ``(B, L)``."""
        action, slot, _ = tokens.clamp(min=0).unbind(-1)
        window = torch.arange(len(step), device=step.device)[:, None]
        past = self.know_past(told) + self.know_step(read.steps[window, step])
        # Window by window and in place: of all at once, new memory would cost more than the sums do.
        each = zip(read.players[window, step], past[:, :, None], strict=True)
        said = [self.tell(self.know_player(players).add_(of).relu_()) for players, of in each]
        slots = torch.arange(N_SLOTS, device=step.device)
        mate = slots // N_ROLES == slot[..., None] // N_ROLES
        relation = torch.where(slots == slot[..., None], 0, torch.where(mate, 1, 2))  # (B, L, 26)
        habit = self.prior.next[action.clamp(max=SOS)[..., None], relation]
        odds = read.odds[window, step] + habit + torch.stack(said)
        if self.log_weights is None:
            return odds
        fair = odds - self.log_weights.to(odds)
        return fair + (odds.logsumexp(-1) - fair.logsumexp(-1))[..., None]  # players as likely as before

    def _step(self, frame: Tensor) -> Tensor:
        return (frame - 1).clamp(min=0) // self.config.step

    def forward(self, features: Tensor, frames: Tensor, tokens: Tensor) -> Answers:
        """What is answered after each of ``tokens`` but the last, given those before it.

        The arguments are those of `DST.forward`, with EOS and padding in ``tokens (B, L, 3)`` too: who
        and what are asked at the step that is the right one.
        """
        read = self.read(features, frames)
        before, target = tokens[:, :-1], tokens[:, 1:]
        told, _ = self._told(before, read)
        steps = read.hazard.shape[1]
        step = self._step(target[..., Token.FRAME]).clamp(max=steps - 1)
        none = target[..., Token.ACTION] == EOS
        return Answers(
            self.when(told, before, read),
            self.who(told, before, step, read),
            step.masked_fill(none, steps),
        )

    @torch.no_grad()
    def write(
        self, features: Tensor, frames: Tensor, max_events: int = 50, beams: int = 1
    ) -> list[Written]:
        """Decode windows to events, all together: those that happen in enough of many possible games.

        Games are drawn event by event from what the model thinks likely, given those before. The score
        of an event is the share of the games in which this player does this within the tolerance: what
        one sequence, however likely, cannot tell. The arguments are those of `DST.write`; there are no
        beams, and the draws are the same each time and for every window, whatever it is decoded with.
        """
        if beams != 1:
            raise DataError(f"{beams} beams: PlayerDST draws whole games, it has no beams")
        mass = self._drawn(features, frames, max_events)  # (B, 208, n)
        number, reach = torch.arange(mass.shape[-1], device=mass.device), 2 * self._near + 1
        likely = F.avg_pool1d(mass, reach, 1, self._near) * reach  # within the tolerance of each step
        none = number[:0]
        found = [(none, none, none, mass.new_zeros(0))]
        while True:
            best, at = likely.max(-1)  # (B, 208)
            window, which = (best >= self.config.min_probability).nonzero(as_tuple=True)
            if not len(window):
                break
            away = (number - at[window, which][:, None]).abs()  # (N, n)
            near = mass[window, which].masked_fill(away > self._near, -1.0)
            found.append((window, which, near.argmax(-1), best[window, which].clamp(max=1.0)))
            # Nobody does the same twice within two tolerances, for these would be counted twice.
            likely[window, which] = likely[window, which].masked_fill(away < reach, 0.0)
        window, which, step, score = map(torch.cat, zip(*found, strict=True))
        slot, action = which // (N_CLASSES - 1), which % (N_CLASSES - 1)
        frame = self._middle(step, frames.amax(1)[window])
        order = frame.argsort(stable=True)
        told = torch.stack((action, slot, frame), dim=-1)[order]
        mine = [window[order] == one for one in range(len(frames))]
        return [Written(told[rows], score[order][rows]) for rows in mine]

    def _drawn(self, features: Tensor, frames: Tensor, max_events: int) -> Tensor:
        """How often each player does each thing at each step of a game, ``(B, 208, n)``.

        The mean over the games that are drawn; of a drawn step, it takes the probabilities of all
        players and classes rather than the ones drawn, which varies less.
        """
        read, count = self.read(features, frames), self.config.samples
        batch, steps = read.hazard.shape
        dice = torch.Generator().manual_seed(0)
        window = torch.arange(batch, device=features.device)[:, None].expand(batch, count)
        mass = read.hazard.new_zeros(batch, steps, N_SLOTS * (N_CLASSES - 1))
        last = torch.tensor([SOS, NO_SLOT, 0], device=features.device).expand(batch, count, 3)
        alive = torch.ones(batch, count, dtype=torch.bool, device=features.device)
        past = None
        for _ in range(max_events):
            told, past = self._told(last.reshape(-1, 1, 3), read, past)
            told = told.view(batch, count, -1)
            when = self.when(told, last, read).exp()  # (B, games, n + 1)
            step = _draw(when, dice)
            alive = alive & (step < steps)
            if not alive.any():
                break
            step = step.clamp(max=steps - 1)
            who = self.who(told, last, step, read).flatten(2).softmax(-1)  # (B, games, 208)
            mass.index_put_((window, step), who * alive[..., None] / count, accumulate=True)
            which = _draw(who, dice)
            frame = self._middle(step, frames.amax(1, keepdim=True))
            last = torch.stack((which % (N_CLASSES - 1), which // (N_CLASSES - 1), frame), dim=-1)
        return mass.transpose(1, 2)

    def _middle(self, step: Tensor, length: Tensor) -> Tensor:
        """Number of the frame in the middle of a step of a window of ``length`` frames."""
        return torch.minimum(step * self.config.step + 1 + self.config.step // 2, length)


def _draw(likely: Tensor, dice: torch.Generator) -> Tensor:
    """One of n for each of G games of B windows, ``(B, G)``, with probabilities ``(B, G, n)``.

    By one number a game, the same for all windows, so that none depends on those beside it. The numbers
    are spread evenly, one in each G-th of 0..1 (stratified sampling), which varies less than chance.
    """
    count = likely.shape[1]
    number = (torch.randperm(count, generator=dice) + torch.rand(count, generator=dice)) / count
    until = likely.cumsum(-1)
    level = number.to(until)[:, None] * until[..., -1:]
    return torch.searchsorted(until, level)[..., 0]


def _places(state: Tensor) -> Tensor:
    """How near to a touchline, a goal line and a goal, and how still, each 0..1: ``(..., 4)``.

    Where somebody stands says much of what he does, but too finely to be learned from little: a thrower
    stands on the line, and so does the taker of a corner.
    """
    x, y, vx, vy, _ = state.unbind(-1)
    line = PITCH[1] * (0.5 - (y - 0.5).abs()).abs()  # metres
    end = PITCH[0] * (0.5 - (x - 0.5).abs()).abs()
    goal = torch.hypot(end, PITCH[1] * (y - 0.5))
    near = (-line / _NEAR_LINE).exp(), (-end / _NEAR_LINE).exp(), (-goal / _NEAR_GOAL).exp()
    return torch.stack((*near, (-torch.hypot(vx, vy) / _STILL).exp()), dim=-1)
