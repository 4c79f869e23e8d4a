"""Neighbours of a batch of clips as one sort, against node by node in Python."""

import torch

from benchmarks.harness import compare, main
from footpass.models.gnn import GNNConfig, Neighbours, nearest_neighbours
from footpass.schema import N_SLOTS
from tests.oracles import graph as plain_graph

CLIPS, FRAMES = 6, 50


def run() -> dict:
    """From positions to who sends to whom, 6 clips of 50 frames."""
    rng = torch.Generator().manual_seed(0)
    positions = torch.rand(CLIPS, N_SLOTS, FRAMES, 2, generator=rng)
    present = (torch.rand(CLIPS, N_SLOTS, 1, generator=rng) < 22 / 26).expand(-1, -1, FRAMES)
    arguments = positions, present, GNNConfig.neighbours, GNNConfig.radius
    return compare(
        "graph",
        f"graphs of {CLIPS} clips x {FRAMES} frames x {N_SLOTS} slots, 6 neighbours",
        fast=lambda: nearest_neighbours(*arguments),
        plain=lambda: plain_graph.edges(plain_graph.neighbours(*arguments), FRAMES),
        target=50,
        repeats=20,
        same=_same_edges,
    )


def _same_edges(dense: Neighbours, edges: torch.Tensor) -> bool:
    clip, target, k = dense.exists.nonzero().T
    first = (clip[:, None] * FRAMES + torch.arange(FRAMES)) * N_SLOTS
    pairs = [(first + node[:, None]).flatten() for node in (dense.index[clip, target, k], target)]
    return set(zip(*torch.stack(pairs).tolist(), strict=True)) == set(zip(*edges.tolist(), strict=True))


if __name__ == "__main__":
    main(run)
