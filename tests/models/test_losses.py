"""Losses against PyTorch's own on what is not masked, and class weights against their formulas."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from footpass.files import DataError
from footpass.models.losses import (
    WEIGHTINGS,
    class_weights,
    masked_cross_entropy,
    token_losses,
    token_weights,
)
from footpass.schema import EOS, PAD, SOS

TRAIN_COUNTS = np.array([35527, 45621, 2156, 1730, 1097, 3642, 285, 1269])


def clips(seed: int = 0) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 9, 3, 5, generator=rng, requires_grad=True)
    target = torch.randint(0, 9, (2, 3, 5), generator=rng)
    mask = torch.rand(2, 3, 5, generator=rng) < 0.6
    weights = torch.rand(9, generator=rng) + 0.1
    return logits, target, mask, weights


def sentences() -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    sizes = (10, 27, 42)
    logits = tuple(torch.randn(3, 6, n, generator=rng, requires_grad=True) for n in sizes)
    target = torch.stack([torch.randint(0, n, (3, 6), generator=rng) for n in (8, 27, 42)], dim=-1)
    target[0, 4:], target[2, 1:] = PAD, PAD
    return logits, target


@pytest.mark.parametrize("weighted", [True, False])
def test_cross_entropy_is_pytorchs_on_what_is_not_masked(weighted):
    logits, target, mask, weights = clips()
    weights = weights if weighted else None
    wanted = F.cross_entropy(logits.movedim(1, -1)[mask], target[mask], weights)
    torch.testing.assert_close(masked_cross_entropy(logits, target, mask, weights), wanted)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 3))
def test_focal_loss_by_its_formula(seed, gamma):
    logits, target, mask, weights = clips(seed)
    loss = masked_cross_entropy(logits, target, mask, weights, gamma)
    total = weight_sum = 0.0
    for b, m, t in mask.nonzero().tolist():
        p = logits[b, :, m, t].double().softmax(0)[target[b, m, t]]
        weight = weights[target[b, m, t]]
        total += -weight * (1 - p) ** gamma * p.log()
        weight_sum += weight
    torch.testing.assert_close(loss, (total / weight_sum).float(), rtol=1e-4, atol=1e-6)


def test_focal_loss_of_a_certain_target_has_a_gradient():
    logits = torch.tensor([[[60.0], [0.0]]], requires_grad=True)
    nothing = torch.zeros(1, 1, dtype=torch.long)
    masked_cross_entropy(logits, nothing, torch.ones(1, 1, dtype=torch.bool), gamma=0.5).backward()
    assert logits.grad.isfinite().all()


def test_masked_values_count_for_nothing():
    """The public losses are averaged over what is masked, too."""
    logits, target, mask, weights = clips()
    loss = masked_cross_entropy(logits, target, mask, weights)
    worse = torch.where(mask[:, None], logits, torch.nan)
    again = masked_cross_entropy(worse, target.where(mask, PAD), mask, weights)
    assert again == loss
    again.backward()
    assert (logits.grad == 0).logical_or(mask[:, None]).all()


def test_nothing_left_is_zero_with_a_gradient_not_nan():
    logits, target, mask, weights = clips()
    loss = masked_cross_entropy(logits, target, torch.zeros_like(mask), weights, gamma=1.0)
    loss.backward()
    assert loss == 0
    assert (logits.grad == 0).all()
    heads, tokens = sentences()
    losses = token_losses(heads, torch.full_like(tokens, PAD))
    losses.sum().backward()
    assert losses.tolist() == [0, 0, 0]
    assert all((head.grad == 0).all() for head in heads)


@pytest.mark.parametrize("weighted", [True, False])
def test_token_losses_are_pytorchs_over_real_tokens(weighted):
    logits, target = sentences()
    weights = torch.tensor(token_weights(TRAIN_COUNTS, "sqrt")).float() if weighted else None
    real = target[..., 0] != PAD
    wanted = [
        F.cross_entropy(logits[0][real], target[real][:, 0], weights, label_smoothing=0.05),
        F.cross_entropy(logits[1][real], target[real][:, 1], label_smoothing=0.05),
        F.cross_entropy(logits[2][real], target[real][:, 2]),
    ]
    torch.testing.assert_close(token_losses(logits, target, weights), torch.stack(wanted))


def test_weights_are_not_rounded_to_half_precision():
    logits, target = sentences()
    half = tuple(head.detach().bfloat16() for head in logits)
    single = tuple(head.float() for head in half)
    weights = torch.tensor(token_weights(TRAIN_COUNTS, "sqrt")).float()
    assert torch.equal(token_losses(half, target, weights), token_losses(single, target, weights))


def test_more_padding_changes_no_loss():
    logits, target = sentences()
    longer = tuple(F.pad(head, (0, 0, 0, 7), value=1e4) for head in logits)
    padded = F.pad(target, (0, 0, 0, 7), value=PAD)
    torch.testing.assert_close(token_losses(longer, padded), token_losses(logits, target))


def test_class_weights_by_their_formulas():
    n = TRAIN_COUNTS.astype(float)
    formulas = {
        "none": np.ones(8),
        "inverse": 1 / n,
        "sqrt": n**-0.5,
        "effective": 1 / np.array([sum(0.999**i for i in range(int(c))) for c in n]),
    }
    assert tuple(formulas) == WEIGHTINGS
    for scheme, raw in formulas.items():
        weights = class_weights(TRAIN_COUNTS, scheme)
        assert weights.mean() == pytest.approx(1)
        np.testing.assert_allclose(weights / weights[0], raw / raw[0], rtol=1e-9)
    sqrt = class_weights(TRAIN_COUNTS, "sqrt")
    assert sqrt.max() / sqrt.min() == pytest.approx(12.65, abs=0.01)  # of 160 to 1


def test_a_class_that_never_occurs_leaves_the_others_alone():
    weights = class_weights(np.array([100, 25, 0]), "sqrt")
    np.testing.assert_allclose(weights, [2 / 3, 4 / 3, 1])
    np.testing.assert_array_equal(class_weights(np.zeros(3), "inverse"), np.ones(3))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=9), st.sampled_from(WEIGHTINGS))
def test_rarer_is_never_lighter(counts, scheme):
    weights = class_weights(np.array(counts), scheme)
    assert weights.mean() == pytest.approx(1)
    seen = sorted((count, -weight) for count, weight in zip(counts, weights, strict=True) if count)
    assert all(a[1] <= b[1] + 1e-9 for a, b in pairwise(seen))


def test_the_end_weighs_as_much_as_an_average_event():
    weights = token_weights(TRAIN_COUNTS, "sqrt")
    assert weights[SOS] == 0
    assert weights[EOS] == pytest.approx((TRAIN_COUNTS * weights[:8]).sum() / TRAIN_COUNTS.sum())
    assert token_weights(TRAIN_COUNTS, "none")[EOS] == pytest.approx(1)
    assert token_weights(np.zeros(8), "sqrt")[EOS] == 1


def test_bad_counts_are_errors():
    with pytest.raises(DataError, match="'square': choose one of none, inverse, sqrt, effective"):
        class_weights(TRAIN_COUNTS, "square")
    with pytest.raises(DataError, match="not all finite and at least 0"):
        class_weights(np.array([1, -1]), "sqrt")
    with pytest.raises(DataError, match="expected one per action"):
        token_weights(np.ones(9), "sqrt")
