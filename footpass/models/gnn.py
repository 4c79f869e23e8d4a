"""TAAD + GNN: pixels and neighbours (FOOTPASS, Ochin 2025).

A player is a node at every frame; three graph convolutions (EdgeConv, Wang et al. 2019, arXiv
1801.07829) bring in the nearest players, convolutions over time go between them. The graph is dense:
26 slots, K neighbours each, and masks, so a batch is a few gathers and no list of edges is ever built.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from footpass.configs import Share, Width, config_dataclass
from footpass.models.public import rename, take_alias
from footpass.models.taad import Detector, features_from_reference
from footpass.models.x3d import X3DConfig
from footpass.schema import N_CLASSES, N_SLOTS, Node


@config_dataclass
class GNNConfig:
    """Sizes of a TAAD + GNN; the defaults are the published ones."""

    x3d: X3DConfig = field(default_factory=X3DConfig)
    # Channels of the top-down path, of a player's visual features, of the graph layers and of the head.
    width: Width = 192
    visual: Width = 64
    graph: Width = 128
    head: Annotated[Width, Field(multiple_of=2)] = 256
    # At most so many neighbours, within this distance (units of the pitch positions).
    neighbours: Annotated[int, Field(ge=1, lt=N_SLOTS)] = 6
    radius: Annotated[float, Field(ge=0)] = 2.0
    graph_dropout: Share = 0.1
    head_dropout: Share = 0.2
    checkpoint_backbone: bool = False
    # Compute as the public code does: messages go from a player to the nearest others rather than from
    # them, and what lies outside the picture is zero (`roi_weights`).
    public: bool = False


class Neighbours(NamedTuple):
    """Whom each node listens to."""

    index: Tensor  # type: ignore[assignment]  # (B, M, K) who sends to node m; hides a method of tuples
    exists: Tensor  # (B, M, K) bool; where False, the index means nothing


def nearest_neighbours(positions: Tensor, present: Tensor, k: int, radius: float) -> Neighbours:
    """At most ``k`` nearest others of each node by mean position over the clip, within ``radius``.

    ``positions (B, M, T, 2)`` may be anything, NaN too, where not ``present (B, M, T)``. The nearest
    come first; of two as near, the lower slot.
    """
    total = positions.where(present[..., None], 0).sum(dim=2)
    mean = total / present.sum(dim=2)[..., None]  # (B, M, 2), NaN where nowhere: as far away as can be
    distance = (mean[:, :, None] - mean[:, None]).norm(dim=-1)  # (B, M, M)
    number = torch.arange(distance.shape[1], device=distance.device)
    nobody = (number == number[:, None]) | distance.isnan()  # oneself, and who is nowhere
    distance = distance.masked_fill(nobody, torch.inf)
    distance, index = distance.sort(dim=-1, stable=True)
    return Neighbours(index[..., :k], distance[..., :k] <= radius)


def turned_round(neighbours: Neighbours) -> Neighbours:
    """Those that each node is a neighbour of: the same edges, the other way."""
    index, exists = neighbours
    clips, slots, _ = index.shape
    heard = torch.zeros(clips, slots, slots, dtype=torch.bool, device=index.device)
    heard.scatter_(2, index, exists)  # [m, n]: m listens to n
    everyone = torch.arange(slots, device=index.device).expand_as(heard)
    return Neighbours(everyone, heard.transpose(1, 2))


class EdgeConv(nn.Module):
    """Each node takes, channel by channel, the largest message of its neighbours.

    The message from j to i is ``linear([x_i, x_j - x_i])``. Split into what depends on i and on j, it is
    ``A x_i + B x_j``: two products per node and none per edge, and A x_i can be added after the maximum.
    """

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * width_in, width)

    def forward(self, x: Tensor, neighbours: Neighbours, sends: Tensor) -> tuple[Tensor, Tensor]:
        """Send one round of messages to ``x (B, M, T, F)``.

        ``sends (B, M, K, T)`` tells whether neighbour k of node m sends at frame t.

        Returns
        -------
        Tensor, Tensor
            ``(B, M, T, width)``, zero where nobody sends; and which of the K neighbours won, same shape.
        """
        own, difference = self.linear.weight.chunk(2, dim=1)
        theirs = F.linear(x, difference)  # (B, M, T, width)
        own = F.linear(x, own - difference, self.linear.bias)
        clip = torch.arange(len(x), device=x.device)[:, None, None]
        messages = theirs[clip, neighbours.index]  # (B, M, K, T, width)
        messages = messages.masked_fill(~sends[..., None], -torch.inf)
        largest, winner = messages.max(dim=2)  # (B, M, T, width)
        heard = sends.any(dim=2)[..., None]  # (B, M, T, 1)
        return (own + largest.masked_fill(~heard, 0)).where(heard, 0), winner


class _TimeConv(nn.Module):
    """Convolution over the frames of each node, then layer norm and GELU."""

    def __init__(self, width_in: int, width: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width_in, width, 5, padding=2, bias=False)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        nodes = x.shape[:3]
        x = self.conv(x.flatten(0, 1).transpose(1, 2)).transpose(1, 2)  # (B*M, T, width)
        return self.dropout(F.gelu(self.norm(x))).reshape(*nodes, -1)  # (B, M, T, width)


class TAADGNN(Detector):
    """Logits of each class for each slot and frame, from pixels, positions and neighbours.

    What is not present reaches nobody: its values, whatever they are, never change another output.
    """

    without_box = True  # can it say what a player does who has no box?

    def __init__(self, config: GNNConfig) -> None:
        super().__init__(config)
        visual, graph, head = config.visual, config.graph, config.head
        self.visual = nn.Sequential(
            nn.Linear(config.width, config.width), nn.ReLU(), nn.Linear(config.width, visual), nn.ReLU()
        )
        self.edge_convs = nn.ModuleList(
            EdgeConv(width, graph) for width in (len(Node) + visual, graph, graph)
        )
        self.time_convs = nn.ModuleList(_TimeConv(graph, graph, config.graph_dropout) for _ in range(2))
        self.head = _TimeConv(visual + graph, head, config.head_dropout)
        self.rnn = nn.GRU(head, head // 2, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classify = nn.Linear(head, N_CLASSES)

    def listened_to(self, nodes: Tensor, present: Tensor) -> Neighbours:
        """Whom each node listens to: its nearest others, or as the public code has it."""
        positions, config = nodes[..., Node.X : Node.Y + 1], self.config
        near = nearest_neighbours(positions, present, config.neighbours, config.radius)
        return turned_round(near) if config.public else near

    def forward(self, *inputs: Any) -> Tensor:
        """``(B, 9, M, T)`` logits; the arguments are those of `explain`."""
        return self.explain(*inputs)[0]

    def explain(
        self,
        clip: Tensor,
        boxes: Tensor,
        visible: Tensor,
        nodes: Tensor,
        present: Tensor,
        neighbours: Neighbours | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Classify every slot at every frame and say which neighbours had a part in it.

        Parameters
        ----------
        clip, boxes, visible
            As in `PlayerFeatures.forward`, for all M = 26 slots.
        nodes
            ``(B, M, T, 5)`` team, x, y, vx, vy (`schema.Node`); anything, NaN too, where not present.
        present
            ``(B, M, T)`` bool, whether the slot has a player.
        neighbours
            By default those of `listened_to`.

        Returns
        -------
        Tensor, Tensor
            Logits ``(B, 9, M, T)``; and influence ``(B, M, T, K)``, the share of channels of the last
            graph layer in which a neighbour's message won and was not cut by the ReLU.
        """
        there = present[..., None]  # (B, M, T, 1)
        nodes = nodes.where(there, 0)
        if neighbours is None:
            neighbours = self.listened_to(nodes, present)
        batch = torch.arange(len(clip), device=clip.device)[:, None, None]
        sends = present[batch, neighbours.index] & neighbours.exists[..., None]  # (B, M, K, T)

        visual = self.visual(self.features(clip, boxes, visible)) * there  # (B, M, T, visual)
        x = torch.cat((nodes.to(visual.dtype), visual), dim=-1)
        for i, edge_conv in enumerate(self.edge_convs):
            if i:
                x = self.time_convs[i - 1](x)
            x, winner = edge_conv(x, neighbours, sends)
            x = F.relu(x) * there  # (B, M, T, graph)
        slots = torch.arange(neighbours.index.shape[2], device=x.device)
        won = (winner[..., None] == slots) & (x > 0)[..., None]  # (B, M, T, graph, K)
        influence = won.float().mean(dim=3)

        x = self.head(torch.cat((visual, x), dim=-1))  # (B, M, T, head)
        over_time, _ = self.rnn(x.flatten(0, 1))  # (B*M, T, head)
        x = x + self.dropout(over_time).view_as(x)
        return self.classify(x).movedim(3, 1), influence  # (B, 9, M, T), (B, M, T, K)

    @staticmethod
    def from_reference(public: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Public tensors under our names, for `models.public.load_reference`."""
        state = features_from_reference(public)
        names = {"MLP_to_graph_1.": "visual.0.", "MLP_to_graph_2.": "visual.2."}
        names |= {"conv_T.": "head.conv.", "head_ln.ln.": "head.norm.", "fc1.": "classify."}
        for i in (1, 2, 3):
            take_alias(state, f"EdgeMLP{i}.", f"conv{i}.nn.")
            names[f"conv{i}.nn."] = f"edge_convs.{i - 1}.linear."
            names[f"edge_temporal{i}."] = f"time_convs.{i - 1}.conv."
            names[f"edge_ln{i}.ln."] = f"time_convs.{i - 1}.norm."
        return rename(state, names)
