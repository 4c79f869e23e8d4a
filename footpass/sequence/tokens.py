"""Windows of a half for the sequence model: their features, and events <-> tokens.

An event is a row ``frame, slot, cls`` with the absolute frame; its token is ``action, slot, frame``
(`schema.Token`) with the frame counted from 1 at the window's start. Both directions are here, so that
they cannot disagree by a frame.
"""

import numpy as np

from footpass.files import DataError
from footpass.schema import ACTIONS, EOS, MISSING, N_SLOTS, NO_SLOT, PAD, SOS, State, Token


def encode(events: np.ndarray, start: int, length: int) -> np.ndarray:
    """Tokens ``(n + 2, 3)`` int64 of one window: SOS, its events by frame, slot and class, EOS.

    Events are rows ``(N, 3)`` int of frame, slot 0..25 and class 1..8; those outside the window, which
    starts at frame ``start``, are left out. A longest window has ``length`` frames.
    """
    events = np.asarray(events, dtype=np.int64).reshape(-1, 3)
    wrong = (events[:, 1:] < (0, ACTIONS[0])) | (events[:, 1:] > (N_SLOTS - 1, ACTIONS[-1]))
    if wrong.any():
        row = int(wrong.any(axis=1).argmax())
        raise DataError(f"event {row}: frame, slot, class {events[row].tolist()} is not an event")
    inside = events[(events[:, 0] >= start) & (events[:, 0] < start + length)]
    frame, slot, cls = inside[np.lexsort(inside.T[::-1])].T
    tokens = np.empty((len(inside) + 2, len(Token)), dtype=np.int64)
    tokens[0] = SOS, NO_SLOT, 0
    tokens[1:-1] = np.stack([cls - 1, slot, frame - start + 1], axis=1)
    tokens[-1] = EOS, NO_SLOT, length + 1
    return tokens


def decode(tokens: np.ndarray, start: int) -> np.ndarray:
    """Events ``(n, 3)`` int64, frame, slot and class, of a window's tokens: undoes `encode`.

    Tokens ``(L, 3)``, with or without SOS, keep their order; from EOS or padding on, nothing is read.
    """
    tokens = np.asarray(tokens, dtype=np.int64).reshape(-1, len(Token))
    tokens = tokens[int(len(tokens) > 0 and tokens[0, Token.ACTION] == SOS) :]
    ends = np.flatnonzero(np.isin(tokens[:, Token.ACTION], (EOS, PAD)))
    action, slot, frame = tokens[: ends[0] if len(ends) else None].T
    return np.stack([frame - 1 + start, slot, action + 1], axis=1)


def window_features(state: np.ndarray, *logits: np.ndarray) -> np.ndarray:
    """What the encoder reads of each frame: ``(T, 130 + 234 * len(logits))`` float32.

    Of the state ``(5, 26, T)`` (`schema.State`; x is NaN where a slot is empty) and logits ``(9, 26,
    T)`` each, TAAD's and those fused with them, in the order of the published checkpoints.
    """
    state = np.where(np.isnan(state[State.X]), MISSING, state)
    parts = [np.moveaxis(part, -1, 0).reshape(part.shape[-1], -1) for part in (state, *logits)]
    return np.concatenate(parts, axis=1, dtype=np.float32)
