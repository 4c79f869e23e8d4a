"""ONNX files against the models that they are of, at sizes that they were not traced with."""

import numpy as np
import pytest
import torch

from footpass.files import DataError
from footpass.models.dst import DST, DSTConfig
from footpass.models.gnn import TAADGNN, GNNConfig
from footpass.models.onnx import Encoder, export
from footpass.models.player_dst import PlayerDST, PlayerDSTConfig
from footpass.models.taad import TAAD, TAADConfig
from footpass.models.x3d import X3DConfig

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

SMALL = X3DConfig(stem=4, widths=(4, 8, 8, 8), depths=(1, 1, 1, 1))
DETECTORS = {
    "taad": lambda: TAAD(TAADConfig(width=8, head=16, x3d=SMALL)),
    "gnn": lambda: TAADGNN(GNNConfig(width=8, visual=8, graph=8, head=16, x3d=SMALL)),
}
DSTS = {
    "player": lambda: PlayerDST(
        PlayerDSTConfig(window_length=100, player=8, width=16, heads=2, feedforward=32)
    ),
    "published": lambda: DST(
        DSTConfig(100, width=32, heads=4, encoder_layers=1, decoder_layers=1, feedforward=64)
    ),
}


def lively(model):
    """The model with weights large enough that its outputs tell one input from another."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=rng)
    return model.eval()


def clip(height, width, tracklets, frames):
    rng = torch.Generator().manual_seed(height + tracklets)
    seen = (1, tracklets, frames)
    corner = torch.rand(*seen, 2, generator=rng) * 60 - 10
    boxes = torch.cat((corner, corner + 5 + 40 * torch.rand(corner.shape, generator=rng)), dim=-1)
    visible, present = (torch.rand(seen, generator=rng) < share for share in (0.6, 0.8))
    present[:, -1] = False  # who never plays is nobody's neighbour
    pixels = torch.randn(1, 3, frames, height, width, generator=rng)
    nodes = torch.rand(*seen, 5, generator=rng).masked_fill(~present[..., None], torch.nan)
    return pixels, boxes.masked_fill(~visible[..., None], torch.nan), visible, nodes, present


def outputs(path, tensors):
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return session.run(None, {n: t.numpy() for n, t in zip(names, tensors, strict=False)})


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_says_the_same_without_torch(name, tmp_path):
    model = lively(DETECTORS[name]())
    export(model, tmp_path / "model.onnx")
    for height, width in ((64, 96), (96, 128), (72, 104)):
        for tracklets, frames in ((7, 16), (3, 12), (26, 30)):
            inputs = clip(height, width, tracklets, frames)
            with torch.inference_mode():
                wanted = model(*inputs).numpy()
            (found,) = outputs(tmp_path / "model.onnx", inputs)
            assert wanted.std() > 0.1
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", DSTS)
def test_an_encoder_reads_the_same_without_torch(name, tmp_path):
    model = lively(DSTS[name]())
    axes = export(model, tmp_path / "model.onnx")
    for windows, frames in ((1, 100), (3, 100), (2, 60)):
        rng = torch.Generator().manual_seed(frames)
        features = torch.randn(windows, frames, model.config.inputs, generator=rng)
        with torch.inference_mode():
            wanted = Encoder(model)(features)
        found = outputs(tmp_path / "model.onnx", [features])
        assert len(axes) == 1 + len(found)
        for one, other in zip(found, wanted if isinstance(wanted, tuple) else [wanted], strict=True):
            np.testing.assert_allclose(one, other.numpy(), rtol=0, atol=1e-4)


def test_a_model_whose_attention_has_one_length_is_refused(tmp_path):
    model = DST(DSTConfig(100, width=32, heads=4, feedforward=64, branch="serial", branch_width=8))
    with pytest.raises(DataError, match="one length only"):
        export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
