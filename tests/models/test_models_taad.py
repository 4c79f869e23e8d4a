"""TAAD against the public model, its pooling against RoI-align by definition."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from footpass.files import DataError
from footpass.models.public import load_reference
from footpass.models.taad import (
    STRIDE,
    TAAD,
    TAADConfig,
    TemporalConfig,
    TemporalTransformer,
    roi_weights,
    weighted_mean,
)
from footpass.models.x3d import X3DConfig, folded
from tests import golden
from tests.oracles import roi as plain_roi

TINY = TAADConfig(X3DConfig(stem=8, widths=(8, 12, 16, 24), depths=(1, 1, 1, 1)), width=16, head=24)


@pytest.fixture
def tiny() -> TAAD:
    torch.manual_seed(0)
    return TAAD(TINY).eval()


def example(clips: int = 2, tracklets: int = 3, frames: int = 4) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(1)
    clip = torch.rand(clips, 3, frames, 64, 96, generator=rng)
    corner = torch.rand(clips, tracklets, frames, 2, generator=rng) * 50
    boxes = torch.cat((corner, corner + 10 + 20 * torch.rand(corner.shape, generator=rng)), dim=-1)
    visible = torch.rand(clips, tracklets, frames, generator=rng) < 0.7
    return clip, boxes, visible


def roi_mean(features, boxes, visible, zero_outside=False):
    return weighted_mean(features, roi_weights(boxes, visible, features.shape[-2:], zero_outside))


def test_pooling_equals_the_golden_values(reference):
    values = golden.read(reference, "roi_pool_golden")
    features = golden.wave((1, 4, 1, 8, 12), 0.37)
    boxes = torch.tensor(values["boxes_x1y1x2y2"])[None, :, None]
    pooled = roi_mean(features, boxes / STRIDE, torch.ones(boxes.shape[:3], dtype=torch.bool))
    torch.testing.assert_close(pooled[0, :, 0], torch.tensor(values["output"]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "off", "public"), [(torch.float32, 2e-4, False), (torch.float64, 1e-6, True)]
)
def test_taad_equals_the_public_model(reference, dtype, off, public):
    """No point of these boxes lies further outside than a cell: they are the same for both rules."""
    weights, cases = golden.calibrated(reference, "taad")
    model = TAAD(TAADConfig(public=public)).eval()
    load_reference(model, weights, "public.pt")
    for case, size in zip(cases, ((64, 96), (96, 160)), strict=True):
        clip, boxes, visible, wanted = golden.case_inputs(case, *size)
        said = golden.all_ways(model.to(dtype), clip.to(dtype), boxes.to(dtype), visible)
        for way, output in said.items():
            torch.testing.assert_close(output, wanted.to(dtype), rtol=0, atol=off, msg=way)


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("size", [(64, 96), (72, 104), (40, 56)])
def test_inference_says_what_training_does(size, public):
    """Folded norms, matrix products and maps where boxes are; odd maps and boxes outside among them."""
    torch.manual_seed(0)
    model = TAAD(replace(TINY, public=public)).eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    _, boxes, visible = example()
    inputs = torch.rand(2, 3, 4, *size), boxes - 15, visible
    dense = model(*inputs)
    with torch.inference_mode():
        torch.testing.assert_close(folded(model)(*inputs), dense, rtol=1e-4, atol=1e-5)
        nobody = folded(model)(*inputs[:2], torch.zeros_like(visible))
    torch.testing.assert_close(
        nobody, model(*inputs[:2], torch.zeros_like(visible)), rtol=1e-4, atol=1e-5
    )


def test_boxes_a_pixel_off_fail_the_golden_values_by_a_factor_of_100(reference):
    weights, cases = golden.calibrated(reference, "taad")
    model = TAAD(TAADConfig()).eval()
    load_reference(model, weights, "public.pt")
    clip, boxes, visible, wanted = golden.case_inputs(cases[0], 64, 96)
    with torch.no_grad():
        off = model(clip, boxes + torch.tensor([1.0, 0, 1, 0]), visible) - wanted
    assert off.abs().max() > 0.02


corners = st.tuples(st.floats(-30, 40, width=32), st.floats(-30, 40, width=32))
sizes = st.tuples(st.floats(0, 60, width=32), st.floats(0, 60, width=32))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(corners, sizes, st.booleans()), min_size=4, max_size=4))
@pytest.mark.parametrize("zero_outside", [False, True])
def test_pooling_is_the_mean_over_the_sampling_points(zero_outside, drawn):
    """Any box: smaller than a cell, larger than the picture, across its border, outside it."""
    features = golden.wave((1, 3, 2, 9, 14), 0.7)
    boxes = [[x, y, x + w, y + h] for (x, y), (w, h), _ in drawn]
    boxes = torch.tensor(boxes).view(1, 2, 2, 4)
    visible = torch.tensor([seen for *_, seen in drawn]).view(1, 2, 2)
    fast, plain = (
        pool(features, boxes, visible, zero_outside) for pool in (roi_mean, plain_roi.roi_mean)
    )
    torch.testing.assert_close(fast, plain, rtol=0, atol=2e-5)


def test_gradient_of_the_pooling():
    _, boxes, visible = example()
    one, two = (torch.rand(2, 5, 4, 8, 12, generator=torch.Generator().manual_seed(2)) for _ in range(2))
    for pool, features in ((roi_mean, one), (plain_roi.roi_mean, two)):
        pool(features.requires_grad_(), boxes / STRIDE, visible).square().sum().backward()
    torch.testing.assert_close(one.grad, two.grad)


def test_a_missing_box_may_be_anything_and_gives_the_same_as_no_picture(tiny):
    clip, boxes, visible = example()
    boxes[~visible] = torch.nan
    output = tiny(clip, boxes, visible)
    assert output.shape == (2, 9, 3, 4)
    assert output.isfinite().all()
    boxes[~visible] = 10.0
    assert output.equal(tiny(clip, boxes, visible))
    nobody = torch.zeros_like(visible)
    assert tiny(clip, boxes, nobody).equal(tiny(torch.zeros_like(clip), boxes, nobody))


def test_tracklets_and_clips_do_not_touch_each_other(tiny):
    clip, boxes, visible = example()
    output = tiny(clip, boxes, visible)
    order = [2, 0, 1]
    torch.testing.assert_close(output[:, :, order], tiny(clip, boxes[:, order], visible[:, order]))
    torch.testing.assert_close(output[1:], tiny(clip[1:], boxes[1:], visible[1:]))


def test_a_picture_whose_sides_are_no_multiples_of_32(tiny):
    clip, boxes, visible = example()
    assert tiny(clip[..., :50, :90], boxes, visible).isfinite().all()


def test_a_public_checkpoint_that_does_not_fit_is_one_clear_error(reference):
    model = TAAD(TAADConfig())
    state = golden.filled(golden.read(reference, "taad_state_dict")["state_dict"])
    load_reference(model, state, "public.pt")
    alias = "x3d_L4.0.norm.weight"
    load_reference(model, {**state, alias: state["x3d.blocks.0.norm.weight"]}, "public.pt")
    with pytest.raises(DataError, match=f"{alias} should repeat x3d.blocks.0.norm.weight"):
        load_reference(model, {**state, alias: torch.zeros(24)}, "public.pt")
    with pytest.raises(DataError, match=r"other\.weight is not part of TAAD"):
        load_reference(model, {**state, "other.weight": torch.zeros(1)}, "public.pt")
    with pytest.raises(DataError, match=r"classify\.bias is \(3,\), this model's is \(9,\)"):
        load_reference(model, {**state, "fc1.bias": torch.zeros(3)}, "public.pt")
    state.pop("conv1.weight")
    with pytest.raises(DataError, match=r"nothing for conv\.weight of TAAD"):
        load_reference(model, state, "public.pt")


TRANSFORMER = replace(TINY, temporal="transformer", transformer=TemporalConfig(2, 16, 4, 32, 10, 0.0))


@torch.no_grad()
def test_a_temporal_transformer_reads_visible_frames_alone():
    torch.manual_seed(0)
    model = TAAD(TRANSFORMER).eval()
    clip, boxes, visible = example(clips=1, tracklets=3, frames=8)
    visible[0, 2] = False
    output = model(clip, boxes, visible)
    assert output.shape == (1, 9, 3, 8) and output.isfinite().all()
    # Who is hidden has features of zero; where he is hidden, others' frames must not read them.
    x, mask = torch.randn(1, 8, 16), visible[0, :1]
    other = x.masked_fill(~mask[..., None], 9.0)
    read, again = (model.attend(part, mask) for part in (x, other))
    torch.testing.assert_close(read[mask], again[mask])


@torch.no_grad()
def test_a_temporal_transformer_tells_the_order_of_frames():
    model = TAAD(TRANSFORMER).eval()
    x, all_seen = torch.randn(1, 8, 16), torch.ones(1, 8, dtype=torch.bool)
    turned = model.attend(x.flip(1), all_seen).flip(1)
    assert (turned - model.attend(x, all_seen)).abs().max() > 1e-3


def test_a_clip_longer_than_the_positions_is_refused():
    with pytest.raises(DataError, match="12 frames: the head has positions for 10"):
        TAAD(TRANSFORMER)(*example(frames=12))


def test_the_published_temporal_transformer_has_the_sizes_of_the_description():
    """4 layers of width 256, feed-forward 1024, 50 positions, from 192 and to 512 channels."""
    layer = 4 * 256 * 256 + 4 * 256 + 2 * 256 * 1024 + 1024 + 256 + 4 * 256
    head = TemporalTransformer(192, 512, TemporalConfig())
    wanted = 192 * 256 + 256 + 50 * 256 + 4 * layer + 2 * 256 + 256 * 512 + 512
    assert sum(p.numel() for p in head.parameters()) == wanted
