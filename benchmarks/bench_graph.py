"""Neighbours of a batch of clips as one sort, against node by node in Python."""

import json

import torch

from benchmarks import plain_graph
from benchmarks.timing import seconds
from footpass.models.gnn import GNNConfig, nearest_neighbours
from footpass.schema import N_SLOTS

CLIPS, FRAMES = 6, 50


def run() -> dict:
    """From positions to who sends to whom, 6 clips of 50 frames."""
    rng = torch.Generator().manual_seed(0)
    positions = torch.rand(CLIPS, N_SLOTS, FRAMES, 2, generator=rng)
    present = torch.rand(CLIPS, N_SLOTS, 1, generator=rng).expand(-1, -1, FRAMES) < 22 / 26
    k, radius = GNNConfig.neighbours, GNNConfig.radius
    fast = seconds(lambda: nearest_neighbours(positions, present, k, radius), 20)
    plain = seconds(
        lambda: plain_graph.edges(plain_graph.neighbours(positions, present, k, radius), FRAMES), 5
    )
    return {
        "name": "graph",
        "fast_s": fast,
        "plain_s": plain,
        "ratio": plain / fast,
        "target": ">= 50",
        "what": f"graphs of {CLIPS} clips x {FRAMES} frames x {N_SLOTS} slots, 6 neighbours",
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
