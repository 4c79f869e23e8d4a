"""TAAD + GNN against the public model; neighbours and graph convolution against slow loops."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from footpass.models.gnn import (
    TAADGNN,
    EdgeConv,
    GNNConfig,
    Neighbours,
    nearest_neighbours,
    turned_round,
)
from footpass.models.public import load_reference
from footpass.models.x3d import X3DConfig
from footpass.schema import Node
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


def golden_model(reference, **changes) -> tuple[TAADGNN, list[dict]]:
    weights, cases = golden.calibrated(reference, "gnn")
    for i in (1, 2, 3):  # two names of one tensor
        for part in ("weight", "bias"):
            weights[f"EdgeMLP{i}.{part}"] = weights[f"conv{i}.nn.{part}"]
    model = TAADGNN(GNNConfig(**changes)).eval()
    load_reference(model, weights, "public.pt")
    return model, cases


def golden_inputs(case: dict, height: int, width: int) -> tuple[list[Tensor], Neighbours, Tensor]:
    """What the model takes, whom each node listens to, and the wanted output."""
    clip, boxes, visible, wanted = golden.case_inputs(case, height, width)
    clips, _, slots, frames = case["shape"]
    nodes = golden.wave((clips, slots, frames, 5), 0.11)
    nodes[..., 0] = (torch.arange(slots) >= 13)[None, :, None]
    sources = (torch.arange(slots)[:, None] - torch.tensor([1, 2, 5])) % slots  # i -> i + 1, 2, 5
    exists = torch.ones(slots, 3, dtype=torch.bool)
    exists[3] = False  # hears nothing
    neighbours = Neighbours(*(part.expand(clips, slots, 3) for part in (sources, exists)))
    return [clip, boxes, visible, nodes, torch.ones_like(visible)], neighbours, wanted


@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 5e-4), (torch.float64, 1e-6)])
def test_gnn_equals_the_public_model(reference, dtype, off):
    model, cases = golden_model(reference)
    for case, size in zip(cases, ((64, 96), (96, 160)), strict=True):
        inputs, neighbours, wanted = golden_inputs(case, *size)
        inputs = [part.to(dtype) if part.is_floating_point() else part for part in inputs]
        for way, output in golden.all_ways(model.to(dtype), *inputs, neighbours).items():
            torch.testing.assert_close(output, wanted.to(dtype), rtol=0, atol=off, msg=way)


def test_edges_the_other_way_fail_the_golden_values_by_a_factor_of_100(reference):
    model, cases = golden_model(reference)
    inputs, neighbours, wanted = golden_inputs(cases[0], 64, 96)
    with torch.no_grad():
        off = model(*inputs, turned_round(neighbours)) - wanted
    assert off.abs().max() > 0.05


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


def test_a_public_model_sends_to_the_nearest(tiny):
    """As the public training code has it, which its weights were made with."""
    _, _, _, nodes, present = example()
    own = tiny.listened_to(nodes, present)
    theirs = TAADGNN(replace(TINY, public=True)).listened_to(nodes, present)
    edges = [
        {(b, m, int(n.index[b, m, k])) for b, m, k in n.exists.nonzero().tolist()} for n in (own, theirs)
    ]
    assert edges[1] == {(b, n, m) for b, m, n in edges[0]} and len(edges[0]) > 10


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
