"""Checkpoints of the public repository: taken as they come, and computing as the code there does."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.bench_window import half_rows
from footpass.data.halves import dense
from footpass.detectors.clips import ClipConfig, public_boxes
from footpass.detectors.inputs import window_inputs
from footpass.detectors.predict import load_detector
from footpass.detectors.train import _trained
from footpass.files import DataError
from footpass.models.gnn import GNNConfig
from footpass.models.public import is_public, load_reference, read_public
from footpass.models.taad import TAAD, TAADConfig
from tests import golden

TENSORS = {"x3d.blocks.0.weight": torch.arange(3.0), "fc1.bias": torch.ones(2)}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"model_state_dict": tensors, "epoch": 3, "loss": torch.ones(1)},
        lambda tensors: {"state_dict": tensors, "epoch": 3},
        lambda tensors: {"model": {"state_dict": tensors}},
        lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
        lambda tensors: {"model": {f"_orig_mod.module.{name}": t for name, t in tensors.items()}},
        lambda tensors: {"state_dict": {f"model.{name}": tensor for name, tensor in tensors.items()}},
    ],
)
def test_wrappings_are_taken_off(tmp_path, wrap):
    torch.save(wrap(TENSORS), tmp_path / "public.pt")
    found = read_public(tmp_path / "public.pt")
    assert found.keys() == TENSORS.keys() and all(found[name].equal(TENSORS[name]) for name in found)
    assert is_public(tmp_path / "public.pt")


@pytest.mark.parametrize(
    "content", [dict(enumerate(TENSORS.values())), [1], {"state_dict": 3}, {}, TENSORS, {"x3d": "text"}]
)
def test_what_is_no_public_checkpoint_is_one_line_that_names_the_file(tmp_path, content):
    path = tmp_path / "public.pt"
    torch.save(content, path)
    with pytest.raises(DataError, match=r"public.pt: ") as error:
        load_reference(TAAD(TAADConfig()), read_public(path), path)
    assert len(str(error.value)) < 600 and "\n" not in str(error.value)


def test_who_forgets_that_a_checkpoint_is_public_is_told(tmp_path):
    torch.save({"state_dict": TENSORS}, tmp_path / "public.pt")
    with pytest.raises(DataError, match=r"public.pt: .*take the public repository's with --public"):
        load_detector(tmp_path / "public.pt")


def test_a_file_that_is_cut_off_is_named(tmp_path):
    path = tmp_path / "public.pt"
    torch.save(TENSORS, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"public.pt: no readable checkpoint"):
        read_public(path)


def by_hand(left, top, width, height, grow=1.125):
    """Box as the public inference makes it, number by number."""
    x1 = max(min(1920, int(left - ((grow - 1) * width // 2))), 0)
    y1 = max(min(1080, int(top - ((grow - 1) * height // 2))), 0)
    x2 = max(min(1920, int(left + grow * width)), 0)
    y2 = max(min(1080, int(top + grow * height)), 0)
    return [int(x1 / 3), int(y1 / 3.068181), int(x2 / 3), int(y2 / 3.068181)]


def test_boxes_are_rounded_and_cut_as_in_the_public_inference():
    rng = np.random.default_rng(0)
    rows = rng.integers((-40, -40, 1, 1), (1940, 1100, 200, 300), (26 * 20, 4))
    scale = np.array([640 / 1920, 352 / 1080])
    corners = np.concatenate((rows[:, :2] * scale, (rows[:, :2] + rows[:, 2:]) * scale), axis=1)
    boxes = corners.reshape(26, 20, 4).astype(np.float32)
    boxes[3] = np.nan
    found = public_boxes(SimpleNamespace(boxes=boxes), 1.125, (352, 640))
    wanted = np.array([by_hand(*row.tolist()) for row in rows], np.float32).reshape(26, 20, 4)
    seen = np.arange(26) != 3
    np.testing.assert_array_equal(found[seen], wanted[seen])
    assert np.isnan(found[3]).all()


def test_the_last_window_is_filled_up_with_grey_where_nobody_is():
    half = dense(half_rows(8), "game_1_H1")
    config = ClipConfig(frames=8, size=(64, 96), earliest=1, latest=6, public=True)
    pixels = np.full((5, 64, 96, 3), 200, np.uint8)
    window = half.window(half.first_frame, half.first_frame + 5)
    clip, boxes, visible, nodes, present = window_inputs(window, pixels, config, "cpu")
    assert clip.shape == (1, 3, 8, 64, 96) and boxes.shape == (1, 26, 8, 4)
    assert (clip[:, :, 5:] == 0).all() and (clip[:, :, :5] != 0).all()
    assert not visible[..., 5:].any() and not present[..., 5:].any() and nodes.shape == (1, 26, 8, 5)
    assert window_inputs(window, pixels, ClipConfig(8, (64, 96), 1, 6), "cpu").clip.shape[2] == 5


def test_a_graph_model_starts_from_a_public_taad_and_says_so(reference, tmp_path, caplog):
    path = tmp_path / "public.pt"
    torch.save(golden.filled(golden.read(reference, "taad_state_dict")["state_dict"]), path)
    weights = _trained(path, GNNConfig(), {})["model"]
    assert weights["features.merge8.conv.weight"].equal(read_public(path)["conv_L8_16.weight"])
    assert "public.pt: a public TAAD: its weights are the start" in caplog.text
    with pytest.raises(DataError, match=r"public.pt: .*published sizes: train with --profile paper"):
        _trained(path, GNNConfig(width=8), {})
