"""Graphs of a batch of clips the usual way: node by node, then a list of edges over all frames."""

import torch
from torch import Tensor


def neighbours(positions: Tensor, present: Tensor, k: int, radius: float) -> list[list[list[int]]]:
    """What `footpass.models.gnn.nearest_neighbours` chooses: of each clip and node, nearest first."""
    chosen = []
    for clip, there in zip(positions, present, strict=True):
        means = [track[seen].mean(dim=0) for track, seen in zip(clip, there, strict=True)]
        nodes = []
        for i, here in enumerate(means):
            candidates = []
            for j, other in enumerate(means):
                distance = torch.dist(here, other).item()  # NaN where one is never present
                if i != j and distance <= radius:
                    candidates.append((distance, j))
            nodes.append([j for _, j in sorted(candidates)[:k]])
        chosen.append(nodes)
    return chosen


def edges(chosen: list[list[list[int]]], frames: int) -> Tensor:
    """``(2, E)`` source and target for all clips and frames, nodes numbered through the batch."""
    pairs = []
    first = 0
    for nodes in chosen:
        for _ in range(frames):
            for target, sources in enumerate(nodes):
                pairs += [(first + source, first + target) for source in sources]
            first += len(nodes)
    return torch.tensor(pairs, dtype=torch.long).view(-1, 2).T
