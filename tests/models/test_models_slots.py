"""Slots kept apart: the winners' branch and encoder, by what must and must not change them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from footpass.files import DataError
from footpass.models.dst import DST, DSTConfig
from footpass.models.slots import SlotEncoder, split_features, tactical_features
from footpass.schema import MIRRORS, N_SLOTS, PAD_FRAME, PITCH, State
from footpass.sequence.tokens import window_features

SMALL = DSTConfig(
    window_length=12, width=32, heads=4, encoder_layers=1, decoder_layers=1, feedforward=32,
    branch_width=16, slot_width=16,
)  # fmt: skip
VARIANTS = {
    "serial": replace(SMALL, branch="serial"),
    "two layers": replace(SMALL, branch="serial", branch_layers=2),
    "parallel": replace(SMALL, branch="parallel"),
    "slots": replace(SMALL, encoder="slots"),
}


def half(length: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """State and logits of 12 frames; slots 3 and 20 are never there, slot 7 comes on late."""
    rng = np.random.default_rng(seed)
    state = rng.random((5, N_SLOTS, length)).astype(np.float32)
    state[State.VX : State.VISIBLE] = 6 * state[State.VX : State.VISIBLE] - 3
    state[State.VISIBLE] = state[State.VISIBLE] > 0.4
    state[:, [3, 20]] = np.nan
    state[:, 7, :5] = np.nan
    return state, rng.normal(size=(9, N_SLOTS, length)).astype(np.float32)


def read(state: np.ndarray, logits: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(window_features(state, logits))[None]


FRAMES = torch.arange(1, 13)[None]


def dst(config: DSTConfig) -> DST:
    torch.manual_seed(0)
    return DST(config).eval()


def test_a_plain_dst_has_neither_and_is_as_before():
    names = set(DST(SMALL).state_dict())
    assert not [name for name in names if name.startswith(("branch", "slots"))]
    for variant in VARIANTS.values():
        more = set(dst(variant).state_dict()) - names
        assert more and all(name.startswith(("branch", "slots")) for name in more)


@torch.no_grad()
def test_features_are_split_as_they_were_joined():
    state, logits = half()
    scaled, said, there = split_features(read(state, logits))
    np.testing.assert_allclose(said[0].numpy(), logits.transpose(2, 1, 0))
    assert there[0].numpy().tolist() == np.isfinite(state[0]).T.tolist()
    np.testing.assert_allclose(scaled[0, :, 9, State.X].numpy(), 2 * state[0, 9] - 1, atol=1e-6)
    assert (scaled[0][~there[0]] == 0).all()


@torch.no_grad()
def test_distances_against_a_loop():
    state, logits = half()
    scaled, _, there = split_features(read(state, logits))
    found = tactical_features(scaled, there)[0].numpy()
    at = state[:2].transpose(2, 1, 0) * PITCH  # (T, 26, 2) metres
    for frame, slot in ((0, 0), (3, 15), (8, 7)):
        apart = np.linalg.norm(at[frame] - at[frame, slot], axis=1)
        mine = np.arange(N_SLOTS) // 13 == slot // 13
        mates, others = apart[mine & (np.arange(N_SLOTS) != slot)], apart[~mine]
        goals = np.array([[0, 34], [105, 34]]) if slot < 13 else np.array([[105, 34], [0, 34]])
        own, other = np.linalg.norm(goals - at[frame, slot], axis=1)
        wanted = np.array([np.nanmin(others), np.nanmin(mates), own, other]) / 50
        np.testing.assert_allclose(found[frame, slot], wanted.clip(max=1), atol=1e-5)
    assert (found[:, [3, 20]] == 0).all()


@pytest.mark.parametrize("order", ["serial", "parallel"])
@torch.no_grad()
def test_permuted_slots_are_permuted(order):
    torch.manual_seed(0)
    encoder = SlotEncoder(5, 16, 2, 0.0, order, roles=False).eval()
    x, there = torch.randn(2, 12, N_SLOTS, 5), torch.rand(2, 12, N_SLOTS) < 0.8
    frames, order_of = FRAMES.expand(2, -1), torch.randperm(N_SLOTS)
    plain = encoder(x, there, frames)
    permuted = encoder(x[:, :, order_of], there[:, :, order_of], frames)
    torch.testing.assert_close(permuted, plain[:, :, order_of], rtol=0, atol=1e-5)


@torch.no_grad()
def test_with_roles_a_slot_is_known_by_its_place():
    encoder = SlotEncoder(5, 16, 1, 0.0, "serial", roles=True).eval()
    x, there = torch.ones(1, 12, N_SLOTS, 5), torch.ones(1, 12, N_SLOTS, dtype=torch.bool)
    read = encoder(x, there, FRAMES)[0, 0]
    assert torch.pdist(read).min() > 1e-3


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_what_a_missing_slot_holds_changes_nothing(name):
    """Nor what padding holds: only the slots and frames that are there are read."""
    model, (state, logits) = dst(VARIANTS[name]), half()
    features = read(state, logits)
    memory, _ = model.encode(features, FRAMES)
    # The branch masks the state's numbers of an empty slot; the published reading of frames does not.
    model.read.weight[:, : 5 * N_SLOTS] = 0
    memory, _ = model.encode(features, FRAMES)
    other = features.clone()
    for component in (State.Y, State.VX, State.VY, State.VISIBLE):
        other[..., component * N_SLOTS + 20] = 5.0
    torch.testing.assert_close(model.encode(other, FRAMES)[0], memory)
    padded = FRAMES.clone()
    padded[:, 9:] = PAD_FRAME
    other[:, 9:] = 7.0
    first = model.encode(features.where(padded[..., None] != PAD_FRAME, 0), padded)[0]
    torch.testing.assert_close(model.encode(other, padded)[0], first)


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_a_half_of_nobody_is_read_too(name):
    state, logits = half()
    memory, _ = dst(VARIANTS[name]).encode(read(np.full_like(state, np.nan), logits), FRAMES)
    assert memory.isfinite().all()


@pytest.mark.parametrize("mirror", MIRRORS)
@torch.no_grad()
def test_mirrors_commute_with_distances(mirror):
    """Who is how far from whom is the same on the mirrored pitch, in the mirrored slots."""
    state, logits = half()
    plain, turned = (
        tactical_features(*split_features(read(part, logits))[0::2])[0]
        for part in (state, MIRRORS[mirror].state(state))
    )
    torch.testing.assert_close(turned, plain[:, list(MIRRORS[mirror].slots)], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_weight_of_a_variant_learns(name):
    model, (state, logits) = dst(VARIANTS[name]).train(), half()
    tokens = torch.tensor([[[8, 26, 0], [1, 4, 3], [2, 5, 9]]])
    sum(part.square().sum() for part in model(read(state, logits), FRAMES, tokens)).backward()
    idle = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert not [name for name in idle if name.startswith(("branch", "slots"))]


def test_impossible_variants_are_refused():
    for change in (dict(branch="beside"), dict(branch_width=12), dict(encoder="pixels")):
        with pytest.raises(DataError):
            replace(SMALL, **change)


def test_published_branches_have_the_sizes_of_the_description():
    """Of PAVE's members A to D only sizes are published; what follows from them is counted by hand."""
    d_p, d = 64, 512
    layer = (
        4 * d_p * d_p + 4 * d_p + 2 * 4 * d_p * d_p + 5 * d_p + 4 * d_p
    )  # attention, two linear, norms
    joint = 26 * 9 * d + d + (d + d_p) * d + d
    member_a = DST(DSTConfig(branch="serial"))
    extra = sum(p.numel() for n, p in member_a.named_parameters() if n.startswith("branch"))
    assert extra == 5 * d_p + d_p + 2 * layer + joint
