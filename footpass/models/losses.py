"""Losses of the models (cross-entropy, also focal; of sequences) and class weights from frequencies.

Every loss is a mean over what is not masked, as `torch.nn.functional.cross_entropy` takes it: weighted
by the weights of the targets, so that weights move the emphasis and not the size. Where all is masked
it is zero, with a gradient of zero.
"""

from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from footpass.files import DataError
from footpass.models.player_dst import Answers
from footpass.schema import ACTIONS, EOS, N_ACTION_TOKENS, PAD, SOS, Token

# Weight of a class seen n times, before normalising. "effective" is the effective number of samples
# of Cui et al. 2019 (arXiv 1901.05555), eq. 2; "sqrt" is the choice of arXiv 2606.09679.
EFFECTIVE_BETA = 0.999

_SCHEMES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": np.ones_like,
    "inverse": lambda n: 1 / n,
    "sqrt": lambda n: 1 / np.sqrt(n),
    "effective": lambda n: (1 - EFFECTIVE_BETA) / (1 - EFFECTIVE_BETA**n),
}

WEIGHTINGS = tuple(_SCHEMES)
Weighting = Annotated[str, Field(pattern=f"^({'|'.join(WEIGHTINGS)})$")]


def class_weights(counts: np.ndarray, scheme: str) -> np.ndarray:
    """Weight ``(C,)``, mean 1, of each class from its number of training events ``(C,)``.

    The scheme is one of `WEIGHTINGS`. A class that never occurs has weight 1: no target carries it, and
    an infinite weight would push all others to zero.
    """
    if scheme not in _SCHEMES:
        raise DataError(f"class weights {scheme!r}: choose one of {', '.join(WEIGHTINGS)}")
    counts = np.asarray(counts, dtype=np.float64)
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise DataError(f"class counts {counts.tolist()} are not all finite and at least 0")
    seen = counts > 0
    weights = np.ones_like(counts)
    if seen.any():
        raw = _SCHEMES[scheme](counts[seen])
        weights[seen] = raw / raw.mean()
    return weights


def token_weights(counts: np.ndarray, scheme: str) -> np.ndarray:
    """Weights ``(10,)`` of the DST's action tokens, from the training events per class, ``(8,)``.

    Those of the classes as of `class_weights`; SOS, which is never a target, has 0, and EOS that of an
    average event. With a weight of 1, as the mean class has, EOS would outweigh the frequent classes
    several times, and the model would learn to stop early.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if counts.shape != (len(ACTIONS),):
        raise DataError(f"class counts have shape {counts.shape}: expected one per action, 8")
    weights = np.zeros(N_ACTION_TOKENS)
    weights[:SOS] = class_weights(counts, scheme)
    weights[EOS] = np.average(weights[:SOS], weights=counts if counts.any() else None)
    return weights


def masked_cross_entropy(
    logits: Tensor, target: Tensor, mask: Tensor, weights: Tensor | None = None, gamma: float = 0.0
) -> Tensor:
    """Weighted cross-entropy where the mask is set; focal with ``gamma`` (Lin et al. 2017, eq. 5).

    Of logits ``(B, C, ...)``, class ids and a bool mask ``(B, ...)``, and class weights ``(C,)``, by
    default 1; what is masked may be anything, NaN too. The higher gamma, the less a target counts that
    is already likely.
    """
    target = target[mask]  # (N,)
    log_p = logits.movedim(1, -1)[mask].float().log_softmax(-1)  # (N, C)
    log_p = log_p.gather(1, target[:, None])[:, 0]  # (N,)
    weight = torch.ones_like(log_p) if weights is None else weights.to(log_p)[target]
    # 1 - p, precise near p = 1, and kept off 0 where a power under 1 has no gradient.
    doubt = (-log_p.expm1()).clamp(min=1e-8)
    return _mean(-weight * doubt**gamma * log_p, weight)


def token_losses(
    logits: tuple[Tensor, Tensor, Tensor],
    target: Tensor,
    action_weights: Tensor | None = None,
    smoothing: float = 0.05,
) -> Tensor:
    """Cross-entropies ``(3,)`` of the DST's heads, means over the tokens that are not padding.

    Parameters
    ----------
    logits
        Of actions, slots and frames, ``(B, L, ...)`` each (`models.dst.TokenLogits`).
    target
        ``(B, L, 3)`` the next tokens, `schema.PAD` where there is none.
    action_weights
        ``(10,)`` as of `token_weights`, for the action head only; by default all 1.
    smoothing
        Label smoothing of actions and slots. A frame's neighbours are as good as it is, and other frames
        are not, so frames have none.
    """
    losses = []
    for part, head in zip(Token, logits, strict=True):
        labels = target[..., part].flatten()  # (B*L,)
        weights = action_weights if part is Token.ACTION else None
        weights = torch.ones(head.shape[-1]) if weights is None else weights
        weights = weights.to(head.device, torch.float32)  # not those of a half-precision head
        flat, smoothed = head.flatten(0, 1).float(), 0.0 if part is Token.FRAME else smoothing
        total = F.cross_entropy(
            flat, labels, weights, ignore_index=PAD, reduction="none", label_smoothing=smoothed
        )
        losses.append(_mean(total, weights[labels.clamp(min=0)] * (labels != PAD)))
    return torch.stack(losses)


def _mean(loss: Tensor, weight: Tensor) -> Tensor:
    return loss.sum() / weight.sum().clamp(min=torch.finfo(loss.dtype).tiny)


def answer_losses(
    answers: Answers, target: Tensor, action_weights: Tensor | None = None, smoothing: float = 0.05
) -> Tensor:
    """Cross-entropies of action, slot and step, ``(3,)``: means over the tokens that have one.

    The arguments are those of `losses.token_losses`. An end is told by the step, so it has no weight.
    """
    action, slot, _ = target.unbind(-1)
    moment = -answers.when.gather(-1, answers.step[..., None])[..., 0]
    moment = moment[action != PAD].mean()
    event = (action != PAD) & (action != EOS)
    odds = answers.who[event].float()  # (N, 26, 8)
    if not len(odds):  # a sum of nothing, which still reaches every parameter: DDP waits for all
        nothing = 0 * answers.who.float().sum()
        return torch.stack((nothing, nothing, moment))
    which = odds[torch.arange(len(odds), device=odds.device), slot[event]]  # (N, 8)
    weights = None if action_weights is None else action_weights[:SOS].to(which)
    kind = F.cross_entropy(which, action[event], weights, label_smoothing=smoothing)
    return torch.stack((kind, F.cross_entropy(odds.logsumexp(-1), slot[event]), moment))
