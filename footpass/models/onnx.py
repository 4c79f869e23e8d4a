"""Models as ONNX files, which run without torch; sizes of pictures, clips and teams stay free."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from footpass.files import DataError, atomic_write
from footpass.models.dst import DST
from footpass.models.gnn import TAADGNN
from footpass.models.player_dst import PlayerDST
from footpass.models.taad import TAAD
from footpass.schema import N_SLOTS, Node

OPSET = 17
_FRAMES, _SIZE = 16, (64, 96)  # of the clip that is traced; any other may be given later


class Encoder(nn.Module):
    """What the decoder of a DST reads: of whole windows, ``(B, T, inputs)``.

    Of a `DST` the frames ``(B, T, width)``, of a `PlayerDST` the first four of `player_dst.Read`.
    """

    def __init__(self, dst: DST | PlayerDST) -> None:
        super().__init__()
        self.dst = dst

    def forward(self, features: Tensor) -> Tensor | tuple[Tensor, ...]:
        frames = torch.ones_like(features[..., 0], dtype=torch.long).cumsum(1)  # 1, 2, 3
        if isinstance(self.dst, DST):
            return self.dst.encode(features, frames)[0]
        return tuple(self.dst.read(features, frames)[:4])


def export(model: nn.Module, path: str | Path) -> dict[str, list[str]]:
    """Write a TAAD, a TAAD + GNN, or the encoder of a DST, as ONNX.

    A detector takes the first three or all of `detectors.inputs.ModelInputs`; an encoder of windows of a
    `PlayerDST` takes as many frames as its step divides.

    Returns
    -------
    dict[str, list[str]]
        Names of inputs and outputs, each with its axes: a number, or a name where any will do.
    """
    if any(isinstance(module, nn.TransformerEncoderLayer) for module in model.modules()):
        reason = (
            "the attention of a temporal transformer, a branch or slots is exported for one length only"
        )
        raise DataError(f"no ONNX file of it: {reason}", path)
    inputs, outputs, model = _signature(model)
    example = [torch.zeros(shape, dtype=kind) for _, shape, kind, _ in inputs]
    axes = {name: dict(enumerate(names)) for name, *_, names in inputs}
    axes |= {name: dict(enumerate(names)) for name, names in outputs.items()}
    free = {name: {i: n for i, n in part.items() if not n.isdigit()} for name, part in axes.items()}
    for name, graph in (("sort", _stable_sort), ("hypot", _hypot)):
        torch.onnx.register_custom_op_symbolic(f"aten::{name}", graph, OPSET)
    try:
        with torch.no_grad(), warnings.catch_warnings(), atomic_write(path, "wb") as stream:
            warnings.simplefilter("ignore")  # of the tracer, at each size that it takes for a constant
            torch.onnx.export(
                model.eval(),
                tuple(example),
                stream,
                input_names=[name for name, *_ in inputs],
                output_names=list(outputs),
                dynamic_axes=free,
                opset_version=OPSET,
                dynamo=False,
            )
    except (ImportError, torch.onnx.OnnxExporterError) as error:
        raise DataError(f"no ONNX file of it: {error}; is onnx installed?", path) from error
    return {name: list(part.values()) for name, part in axes.items()}


def _signature(model: nn.Module) -> tuple[list[tuple], dict[str, list[str]], nn.Module]:
    """Inputs (name, shape of the example, type, axes), axes of the outputs, and what is to be traced."""
    if isinstance(model, TAAD | TAADGNN):
        players = [1, N_SLOTS, _FRAMES]
        each = ["clips", "tracklets", "frames"]
        inputs: list[tuple] = [
            (
                "clip",
                [1, 3, _FRAMES, *_SIZE],
                torch.float32,
                ["clips", "3", "frames", "height", "width"],
            ),
            ("boxes", [*players, 4], torch.float32, [*each, "4"]),
            ("visible", players, torch.bool, each),
            ("nodes", [*players, len(Node)], torch.float32, [*each, str(len(Node))]),
            ("present", players, torch.bool, each),
        ]
        count = 3 if isinstance(model, TAAD) else 5
        return inputs[:count], {"logits": ["clips", "9", "tracklets", "frames"]}, model
    if not isinstance(model, DST | PlayerDST):
        raise DataError(
            f"{type(model).__name__}: only TAAD, TAADGNN and the encoder of a DST are exported"
        )
    config: Any = model.config
    width = str(config.width)
    shape = [1, config.window_length, config.inputs]
    inputs = [("features", shape, torch.float32, ["windows", "frames", str(config.inputs)])]
    if isinstance(model, DST):
        return inputs, {"memory": ["windows", "frames", width]}, Encoder(model)
    steps, slots = ["windows", "steps"], str(N_SLOTS)
    outputs = {
        "steps": [*steps, width],
        "players": [*steps, slots, str(config.player)],
        "odds": [*steps, slots, "8"],
        "hazard": steps,
    }
    return inputs, outputs, Encoder(model)


def _stable_sort(graph: Any, x: Any, stable: Any, dim: Any, descending: Any) -> Any:
    """`Tensor.sort` as `gnn.nearest_neighbours` calls it; TopK leaves equals in their order, too."""
    last = graph.op("Constant", value_t=torch.tensor([-1]))
    size = graph.op("Gather", graph.op("Shape", x), last, axis_i=0)
    return graph.op("TopK", x, size, axis_i=-1, largest_i=0, outputs=2)


def _hypot(graph: Any, x: Any, y: Any) -> Any:
    return graph.op("Sqrt", graph.op("Add", graph.op("Mul", x, x), graph.op("Mul", y, y)))
