"""The sequence model at work: its loss on a batch of windows, and halves to events."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from torch import Tensor
from torch.utils.data import DataLoader

from footpass.losses import token_losses
from footpass.models.dst import DST
from footpass.schema import N_ROLES, PAD, TOLERANCE, Token
from footpass.tokens import decode
from footpass.windows import FixedWindows, Sample, Source, WindowConfig, collate


def sequence_loss(
    model: DST, batch: Sample, weights: Tensor | None = None, smoothing: float = 0.05
) -> tuple[Tensor, int]:
    """Loss of writing the windows' tokens, each from those before it, and how many tokens there are.

    Parameters
    ----------
    weights, smoothing
        As in `losses.token_losses`.
    """
    device = next(model.parameters()).device
    features, frames, tokens = (part.to(device, non_blocking=True) for part in batch)
    logits = model(features, frames, tokens[:, :-1])
    target = tokens[:, 1:]
    return token_losses(logits, target, weights, smoothing).sum(), int(
        (target[..., Token.ACTION] != PAD).sum()
    )


def write_events(
    model: DST,
    halves: Mapping[str, Source],
    config: WindowConfig,
    stride: int | None = None,
    batch: int = 16,
    max_events: int = 50,
    beams: int = 1,
) -> pd.DataFrame:
    """Events of halves, as the model writes them window by window.

    Windows overlap, and each answers for its own frames only (`tokens.windows`), so an event near a
    border is taken from the window that sees it whole. Where two windows disagree about the frame, and
    both claim the event, the better one is kept.

    Parameters
    ----------
    model
        On the device that it is on; it is put into evaluation mode.
    stride
        Frames between windows; half a window by default.
    batch
        Windows decoded together.
    max_events, beams
        As in `DST.write`.

    Returns
    -------
    pd.DataFrame
        ``half, frame, team, jersey, cls, score``, by half and frame; the score is the probability of the
        class. Events of players whose jersey is never known have jersey -1.
    """
    data = FixedWindows(halves, config, stride or max(1, config.span // 2))
    device = next(model.parameters()).device
    model.eval()
    rows, codes, owners = [], [], []
    code = {name: number for number, name in enumerate(halves)}
    places = enumerate(data.places)
    for samples in DataLoader(data, batch_size=batch, collate_fn=collate):
        features, frames = samples.features.to(device), samples.frames.to(device)
        for written in model.write(features, frames, max_events, beams):
            owner, (half, window) = next(places)
            events = decode(written.tokens.cpu().numpy(), window.start)  # (n, 3)
            own = (events[:, 0] >= window.own_start) & (events[:, 0] < window.own_stop)
            frame, slots, cls = events[own].T
            score = written.scores.cpu().numpy()[own]
            jersey = half.jersey_at(slots, frame)
            rows.append(np.stack([frame, slots // N_ROLES, jersey, cls, score], axis=1))
            codes.append(np.full(len(frame), code[half.name]))
            owners.append(np.full(len(frame), owner))
    values = np.concatenate(rows)
    table = pd.DataFrame(values[:, :4].astype(np.int64), columns=["frame", "team", "jersey", "cls"])
    table["score"] = values[:, 4]
    table.insert(0, "half", pd.Categorical.from_codes(np.concatenate(codes), categories=list(halves)))
    return table.drop(index=_claimed_twice(table, np.concatenate(owners))).sort_values(
        ["half", "frame"], kind="stable", ignore_index=True
    )


def _claimed_twice(table: pd.DataFrame, owner: np.ndarray) -> np.ndarray:
    """Rows of events that the window before or after claims too, with a better score."""
    who = ["half", "team", "jersey", "cls"]
    order = np.lexsort([table["frame"], *(table[column] for column in who[1:]), table["half"].cat.codes])
    a, b = order[:-1], order[1:]  # neighbours of a player and class
    same = (table[who].to_numpy()[a] == table[who].to_numpy()[b]).all(axis=1)
    frame, score = table["frame"].to_numpy(), table["score"].to_numpy()
    twice = same & (owner[a] != owner[b]) & (frame[b] - frame[a] <= TOLERANCE)
    return np.where(score[a] < score[b], a, b)[twice]
