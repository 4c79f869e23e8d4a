"""The graph that the TAAD + GNN sees at a frame: who is whose neighbour, and who is listened to."""

import networkx as nx
import torch

from footpass.data.cache import Footage
from footpass.data.video import video_reader
from footpass.detectors.clips import ClipConfig
from footpass.detectors.inputs import window_inputs
from footpass.files import DataError
from footpass.models.gnn import TAADGNN
from footpass.schema import N_ROLES, PITCH, Node


def player_graph(model: TAADGNN, footage: Footage, config: ClipConfig, frame: int) -> nx.DiGraph:
    """Players at an absolute frame, and the messages between them, in a window around it.

    The config is what the model was trained on. Nodes are slots with ``place`` (metres), ``team``,
    ``jersey`` and ``visible``. An edge goes from who is heard to who hears; its ``weight`` is the share
    of the last graph layer's channels in which this neighbour's message was the largest
    (`TAADGNN.explain`).
    """
    half = footage.half
    if not half.first_frame <= frame < half.end_frame:
        raise DataError(f"half {half.name} has no frame {frame}")
    start = max(half.first_frame, min(frame - config.frames // 2, half.end_frame - config.frames))
    window = half.window(start, min(start + config.frames, half.end_frame))
    pixels = video_reader(footage.video, config.size).clip(start, window.n_frames)
    inputs = window_inputs(window, pixels, config, next(model.parameters()).device)
    positions = inputs.nodes[..., Node.X : Node.Y + 1]
    near = model.listened_to(inputs.nodes, inputs.present)
    with torch.inference_mode():
        _, influence = model.eval().explain(*inputs, near)  # (1, 26, T, K)
    at = frame - start
    graph = nx.DiGraph()
    for slot in inputs.present[0, :, at].nonzero()[:, 0].tolist():
        graph.add_node(
            slot,
            place=tuple((positions[0, slot, at].double().cpu().numpy() * PITCH).tolist()),
            team=slot // N_ROLES,
            jersey=int(half.jersey_at(slot, frame)),
            visible=bool(inputs.visible[0, slot, at]),
        )
    for listener in list(graph):
        for k in near.exists[0, listener].nonzero()[:, 0].tolist():
            speaker = int(near.index[0, listener, k])
            if speaker in graph:
                graph.add_edge(speaker, listener, weight=float(influence[0, listener, at, k]))
    return graph
