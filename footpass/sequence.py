"""The sequence model at work: its loss on a batch of windows, and halves to events."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from footpass.losses import token_losses
from footpass.models.dst import DST
from footpass.schema import N_ROLES
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
    return token_losses(logits, target, weights, smoothing).sum(), int((target[..., 0] >= 0).sum())


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

    Windows overlap, and each answers for the frames that are nearer to its middle than to its neighbours'
    (`tokens.windows`): an event near a border is seen whole by one of two.

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
    rows, numbers = [], []
    loader = DataLoader(data, batch_size=batch, collate_fn=collate)
    number = {name: i for i, name in enumerate(halves)}
    places = iter(data.places)
    for samples in loader:
        for written in model.write(
            samples.features.to(device), samples.frames.to(device), max_events, beams
        ):
            half, window = next(places)
            events = decode(written.tokens.cpu().numpy(), window.start)  # (n, 3)
            own = (events[:, 0] >= window.own_start) & (events[:, 0] < window.own_stop)
            frame, slots, cls = events[own].T
            jersey = half.jersey_at(slots, frame)
            score = written.scores.cpu().numpy()[own]
            rows.append(np.stack([frame, slots // N_ROLES, jersey, cls, score], axis=1))
            numbers.append(np.full(len(frame), number[half.name]))
    values = np.concatenate(rows)
    table = pd.DataFrame(values[:, :4].astype(np.int64), columns=["frame", "team", "jersey", "cls"])
    table["score"] = values[:, 4]
    table.insert(0, "half", pd.Categorical.from_codes(np.concatenate(numbers), categories=list(halves)))
    # A player cannot do the same twice at once: two windows that disagree by a frame at their border.
    table = table.sort_values(["half", "frame"], kind="stable", ignore_index=True)
    return table
