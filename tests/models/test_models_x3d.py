"""The backbone: public names, recomputation, freezing, weights from a file."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.bench_recompute import memory
from footpass.files import DataError
from footpass.models.x3d import X3D, Depthwise, X3DConfig, memory_layout, normalise
from tests import golden

TINY = X3DConfig(stem=8, widths=(8, 12, 16, 24), depths=(1, 2, 2, 1))


@pytest.fixture
def tiny() -> X3D:
    torch.manual_seed(0)
    return X3D(TINY)


def test_names_and_shapes_are_those_of_the_public_model(reference):
    public = golden.read(reference, "taad_state_dict")["state_dict"]
    wanted = {
        name.removeprefix("x3d."): shape
        for name, shape in public.items()
        if name.startswith("x3d.") and not name.startswith("x3d.blocks.5.")
    }
    ours = {name: list(tensor.shape) for name, tensor in X3D(X3DConfig()).state_dict().items()}
    assert ours == wanted


def test_features_have_strides_8_16_32_and_keep_time(tiny):
    shapes = [tuple(x.shape) for x in tiny(torch.zeros(2, 3, 5, 64, 96))]
    assert shapes == [(2, 12, 5, 8, 12), (2, 16, 5, 4, 6), (2, 24, 5, 2, 3)]


def test_each_device_has_the_layout_that_it_is_fast_at():
    last, contiguous = torch.channels_last_3d, torch.contiguous_format
    with FakeTensorMode():
        on_gpu = torch.empty(1, 3, 2, 32, 32, device="cuda")
    assert memory_layout(on_gpu) == last
    assert memory_layout(torch.empty(1)) == contiguous
    with torch.inference_mode():
        assert (memory_layout(on_gpu), memory_layout(torch.empty(1))) == (last, last)


@pytest.mark.parametrize("half", [False, True])
def test_recomputation_changes_neither_gradients_nor_statistics(tiny, half):
    """Plain recomputation runs every batch norm twice, so its running statistics move twice."""
    again = X3D(TINY, recompute=True)
    again.load_state_dict(tiny.state_dict())
    clip = torch.randn(2, 3, 4, 32, 64)
    for model in (tiny, again):
        for _ in range(2):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = sum(x.float().square().mean() for x in model(clip))
            loss.backward()
    for (name, one), two in zip(tiny.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=0, atol=0, msg=name)
    for (name, one), two in zip(tiny.named_buffers(), again.buffers(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0, msg=name)
    assert again.blocks[0].norm.num_batches_tracked == 2
    assert again.blocks[0].norm.momentum == 0.1


def test_recomputation_in_a_frozen_and_an_open_block(tiny):
    again = X3D(TINY, recompute=True)
    again.load_state_dict(tiny.state_dict())
    clip = torch.randn(1, 3, 4, 32, 32)
    for model in (tiny, again):
        model.freeze(2)
        sum(x.square().mean() for x in model(clip)).backward()
    assert again.blocks[1].res_blocks[0].branch2.conv_a.weight.grad is None
    for one, two in zip(tiny.blocks[2].parameters(), again.blocks[2].parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=0, atol=0)


def test_recomputation_keeps_little_for_backward():
    kept, peak = memory(True, (1, 3, 8, 96, 160))
    kept_plain, peak_plain = memory(False, (1, 3, 8, 96, 160))
    assert kept < 0.2 * kept_plain
    assert peak < 0.4 * peak_plain


def test_memory_counts_of_fake_and_real_tensors_agree():
    shape = (1, 3, 2, 32, 32)
    real = memory(True, shape)
    with FakeTensorMode():
        assert memory(True, shape) == real


def test_frozen_blocks_keep_their_statistics_too(tiny):
    """In the public training, batch norms of the frozen backbone go on counting."""
    tiny.freeze(3)
    before = copy.deepcopy(tiny.state_dict())
    tiny.train()
    tiny(torch.randn(2, 3, 4, 32, 32))
    changed = {name for name, value in tiny.state_dict().items() if not value.equal(before[name])}
    assert {name.split(".")[1] for name in changed} == {"3", "4"}
    trained = {name.split(".")[1] for name, p in tiny.named_parameters() if p.requires_grad}
    assert trained == {"3", "4"}


def test_unfreezing_gives_everything_back(tiny):
    tiny.freeze(5)
    tiny.freeze(0)
    assert all(p.requires_grad for p in tiny.parameters())
    assert all(module.training for module in tiny.modules())
    tiny.eval()
    tiny.freeze(1)
    assert not any(module.training for module in tiny.modules())


def test_pixels_are_normalised():
    pixels = torch.tensor([0, 255], dtype=torch.uint8)
    torch.testing.assert_close(normalise(pixels), torch.tensor([-2.0, 2.4444444]))


@pytest.mark.parametrize("wrapped", [True, False])
def test_kinetics_weights_load_from_a_file_without_their_head(tiny, tmp_path, wrapped):
    state = {**tiny.state_dict(), "blocks.5.proj.weight": torch.zeros(400, 7)}
    torch.save({"model_state": state} if wrapped else state, tmp_path / "x3d.pyth")
    other = X3D(TINY)
    other.load_kinetics(tmp_path / "x3d.pyth")
    for name, value in tiny.state_dict().items():
        assert value.equal(other.state_dict()[name]), name


def test_kinetics_weights_load_from_an_address(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "kept"))
    torch.save(tiny.state_dict(), tmp_path / "x3d.pyth")
    other = X3D(TINY)
    other.load_kinetics((tmp_path / "x3d.pyth").as_uri())
    assert all(value.equal(other.state_dict()[name]) for name, value in tiny.state_dict().items())
    with pytest.raises(DataError, match=r"absent\.pyth: no weights for this backbone"):
        other.load_kinetics((tmp_path / "absent.pyth").as_uri())


def test_weights_that_do_not_fit_are_one_clear_error(tiny, tmp_path):
    with pytest.raises(DataError, match=r"absent\.pyth: no weights for this backbone"):
        tiny.load_kinetics(tmp_path / "absent.pyth")
    (tmp_path / "text.pyth").write_text("not a checkpoint")
    with pytest.raises(DataError, match=r"text\.pyth"):
        tiny.load_kinetics(tmp_path / "text.pyth")
    torch.save(X3D(replace(TINY, expansion=3.0)).state_dict(), tmp_path / "wide.pyth")
    with pytest.raises(DataError, match=r"wide\.pyth.*size mismatch for blocks\.1"):
        tiny.load_kinetics(tmp_path / "wide.pyth")


@pytest.mark.parametrize("kernel, stride", [((5, 1, 1), 1), ((3, 3, 3), 1), ((3, 3, 3), 2)])
def test_banded_depthwise_convolution_is_the_plain_one(kernel, stride):
    torch.manual_seed(0)
    layer = Depthwise(6, kernel, (1, stride, stride))
    clip = torch.randn(2, 6, 7, 9, 10, requires_grad=True)
    plain = F.conv3d(clip, layer.weight, stride=layer.stride, padding=[k // 2 for k in kernel], groups=6)
    direction = torch.randn_like(plain)
    got = torch.autograd.grad((layer(clip) * direction).sum(), (clip, layer.weight))
    want = torch.autograd.grad((plain * direction).sum(), (clip, layer.weight))
    torch.testing.assert_close(layer(clip), plain, atol=1e-5, rtol=1e-5)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
