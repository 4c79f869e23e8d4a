"""TAAD + GNN against the public model; neighbours and graph convolution against slow loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from footpass.models.gnn import TAADGNN, EdgeConv, GNNConfig, Neighbours, nearest_neighbours
from footpass.models.public import load_reference
from footpass.models.x3d import X3DConfig
from footpass.schema import N_SLOTS, Node
from tests import golden
from tests.oracles import graph as plain_graph

TINY = GNNConfig(
    X3DConfig(stem=8, widths=(8, 12, 16, 24), depths=(1, 1, 1, 1)),
    width=16,
    visual=8,
    graph=12,
    head=16,
    neighbours=3,
    radius=0.5,
)


@pytest.fixture
def tiny() -> TAADGNN:
    torch.manual_seed(0)
    return TAADGNN(TINY).eval()


def example(clips: int = 2, slots: int = 7, frames: int = 6) -> list[Tensor]:
    """Clip, boxes, visible, nodes, present: some slots are away for a time, one for ever."""
    rng = torch.Generator().manual_seed(3)
    clip = torch.rand(clips, 3, frames, 32, 64, generator=rng)
    corner = torch.rand(clips, slots, frames, 2, generator=rng) * 30
    boxes = torch.cat((corner, corner + 12), dim=-1)
    visible = torch.rand(clips, slots, frames, generator=rng) < 0.6
    nodes = torch.rand(clips, slots, frames, len(Node), generator=rng)
    present = torch.rand(clips, slots, frames, generator=rng) < 0.8
    present[:, 4] = False
    return [clip, boxes, visible, nodes, present]


def golden_example() -> tuple[Tensor, ...]:
    t = torch.arange(8.0)
    tracks = [(2 + 3 * m + 0.5 * t, 1 + 1.2 * m + 0 * t, 8 + m % 5, 18 + m % 7) for m in range(N_SLOTS)]
    boxes = torch.stack([torch.stack((x, y, x + w, y + h), dim=-1) for x, y, w, h in tracks])[None]
    visible = torch.ones(1, N_SLOTS, 8, dtype=torch.bool)
    visible[0, 4:9, 2:6] = False
    nodes = golden.wave((1, N_SLOTS, 8, 5), 0.11)
    nodes[..., 0] = (torch.arange(N_SLOTS) >= 13)[None, :, None]
    sources = (torch.arange(N_SLOTS)[:, None] - torch.tensor([1, 2, 3])) % N_SLOTS
    neighbours = Neighbours(sources[None], torch.ones(1, N_SLOTS, 3, dtype=torch.bool))
    clip = golden.wave((1, 3, 8, 64, 96), 0.013)
    return clip, boxes, visible, nodes, torch.ones_like(visible), neighbours


def test_gnn_equals_the_public_model(reference):
    model = TAADGNN(GNNConfig()).eval()
    state = golden.filled(golden.read(reference, "gnn_state_dict")["state_dict"])
    for i in (1, 2, 3):  # two names of one tensor; the later one was filled last
        for part in ("weight", "bias"):
            state[f"EdgeMLP{i}.{part}"] = state[f"conv{i}.nn.{part}"]
    load_reference(model, state)
    with torch.no_grad():
        output = model(*golden_example())
    wanted = golden.read(reference, "gnn_golden")
    wanted = torch.tensor(wanted["output"]).view(wanted["shape"])
    torch.testing.assert_close(output, wanted, rtol=0, atol=1e-5)


# Whole numbers on a small grid: equal distances are frequent, and distances are exact.
grid = st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans())


@settings(max_examples=80, deadline=None)
@given(st.lists(grid, min_size=12, max_size=12), st.integers(1, 7), st.sampled_from([0.5, 1.5, 9.0]))
def test_neighbours_are_those_of_the_slow_loop(drawn, k, radius):
    values = torch.tensor(drawn, dtype=torch.float32).view(1, 6, 2, 3)
    positions, present = values[..., :2].clone(), values[..., 2] > 0
    wanted = plain_graph.neighbours(positions, present, k, radius)[0]
    positions[~present] = torch.nan
    index, exists = nearest_neighbours(positions, present, k, radius)
    chosen = [row[seen].tolist() for row, seen in zip(index[0], exists[0], strict=True)]
    assert chosen == wanted


def test_edges_of_all_frames_are_what_the_dense_graph_says():
    _, _, _, nodes, present = example()
    index, exists = nearest_neighbours(nodes[..., Node.X : Node.Y + 1], present, 3, 0.5)
    pairs = plain_graph.edges(
        plain_graph.neighbours(nodes[..., Node.X : Node.Y + 1], present, 3, 0.5), frames=2
    )
    dense = {
        (b * 14 + t * 7 + int(index[b, m, k]), b * 14 + t * 7 + m)
        for b in range(2)
        for t in range(2)
        for m in range(7)
        for k in range(3)
        if exists[b, m, k]
    }
    assert set(map(tuple, pairs.T.tolist())) == dense
    assert len(dense) > 20


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 1))
def test_edge_conv_is_the_largest_of_the_messages_towards_a_node(seed, density):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 4, 3, 5, generator=rng)
    index = torch.randint(0, 4, (2, 4, 3), generator=rng)
    sends = torch.rand(2, 4, 3, 3, generator=rng) < density
    layer = EdgeConv(5, 6)
    output, winner = layer(x, Neighbours(index, sends.any(dim=-1)), sends)
    for b in range(2):
        for target in range(4):
            for t in range(3):
                own = x[b, target, t]
                messages = {
                    k: layer.linear(torch.cat((own, x[b, index[b, target, k], t] - own)))
                    for k in range(3)
                    if sends[b, target, k, t]
                }
                wanted = torch.stack([*messages.values()]).amax(dim=0) if messages else torch.zeros(6)
                torch.testing.assert_close(output[b, target, t], wanted)
                for channel, k in enumerate(winner[b, target, t].tolist() if messages else []):
                    torch.testing.assert_close(messages[k][channel], wanted[channel])


def test_messages_go_towards_the_node_not_away_from_it(tiny):
    """The public training code turns its edges round."""
    inputs = example(clips=1)
    index = torch.tensor([1, 0, 1, 1, 1, 1, 1]).view(1, 7, 1)
    exists = torch.zeros(1, 7, 1, dtype=torch.bool)
    exists[0, 0] = True  # node 0 listens to node 1; nobody listens to node 0
    inputs[4][:] = True
    before = tiny(*inputs, Neighbours(index, exists))
    inputs[3][0, 1] += 1
    listener = (tiny(*inputs, Neighbours(index, exists)) - before).abs().amax(dim=(0, 1, 3))
    assert listener[0] > 1e-4
    assert (listener[2:] == 0).all()
    inputs[3][0, 1] -= 1
    inputs[3][0, 0] += 1
    other = (tiny(*inputs, Neighbours(index, exists)) - before).abs().amax(dim=(0, 1, 3))
    assert (other[1:] == 0).all()


def test_permuting_the_slots_permutes_the_output(tiny):
    clip, *rest = example()
    output, influence = tiny.explain(clip, *rest)
    order = [3, 6, 0, 4, 5, 1, 2]
    turned, turned_influence = tiny.explain(clip, *(part[:, order] for part in rest))
    torch.testing.assert_close(turned, output[:, :, order])
    torch.testing.assert_close(turned_influence, influence[:, order])


def test_what_is_not_present_reaches_nobody(tiny):
    """The public code prepares this mask and does not use it."""
    clip, boxes, visible, nodes, present = example()
    output, influence = tiny.explain(clip, boxes, visible, nodes, present)
    nodes[~present], boxes[~present] = torch.nan, -1e3
    again, again_influence = tiny.explain(clip, boxes, visible | ~present, nodes, present)
    assert again.equal(output)
    assert again_influence.equal(influence)
    assert output.isfinite().all()


def test_clips_without_any_edge(tiny):
    """The public code crashes on them."""
    clip, boxes, visible, nodes, present = example()
    present[0] = False
    present[0, 2] = True  # one player alone
    present[1] = False  # nobody
    output, influence = tiny.explain(clip, boxes, visible, nodes, present)
    output.square().sum().backward()
    assert output.isfinite().all()
    assert (influence == 0).all()
    assert all(p.grad.isfinite().all() for p in tiny.parameters() if p.grad is not None)


def test_half_precision_stays_close(tiny):
    inputs = example()
    wanted = tiny(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        half = tiny(*inputs)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), wanted, rtol=0, atol=0.05)


def test_influence_is_a_share_of_the_neighbours_that_are_there(tiny):
    *inputs, present = example()
    nodes = inputs[3]
    index, exists = nearest_neighbours(
        nodes[..., Node.X : Node.Y + 1], present, TINY.neighbours, TINY.radius
    )
    _, influence = tiny.explain(*inputs, present)  # (B, M, T, K)
    sends = torch.stack([present[b, index[b]] & exists[b, ..., None] for b in range(2)])
    heard = sends.transpose(2, 3) & present[..., None]
    assert (influence[~heard] == 0).all()
    assert influence.sum(dim=-1).max() <= 1 + 1e-6
    assert influence[heard].mean() > 0.05
