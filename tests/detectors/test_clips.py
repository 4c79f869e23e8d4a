"""Clips: what is drawn, where windows lie, boxes and labels against loops, pictures follow boxes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, default_collate

from footpass.data.cache import Footage, open_footage
from footpass.data.halves import HalfMatch, dense
from footpass.data.paths import tactical_path, video_path
from footpass.data.tactical import write_tactical
from footpass.data.video import write_video
from footpass.detectors import clips as clips_module
from footpass.detectors.augment import (
    Augmentation,
    random_colour,
    random_warp,
    recolour,
    warp_boxes,
    warp_pixels,
)
from footpass.detectors.clips import (
    Clip,
    ClipConfig,
    ClipDataset,
    dilated_labels,
    draw_events,
    draw_slots,
    learnable_events,
    window_boxes,
)
from footpass.detectors.inputs import model_inputs
from footpass.files import DataError
from footpass.models.x3d import normalise
from footpass.schema import MODEL_SIZE, N_SLOTS, Action, Tactical
from tests import seasons
from tests.oracles import boxes as plain_boxes

H1, H2 = "game_1_H1", "game_1_H2"
EVENTS = {
    H1: {
        (3, 0): Action.PASS,  # the half's first frame
        (60, 2): Action.PASS,
        (90, 14): Action.DRIVE,
        (91, 14): Action.SHOT,
        (120, 25): Action.TACKLE,  # without a box
        (182, 15): Action.HEADER,  # the half's last frame
    },
    H2: {(300, 20): Action.CROSS, (350, 0): Action.PASS, (351, 0): Action.BLOCK, (419, 2): Action.PASS},
}
SMALL = ClipConfig(frames=30, size=(32, 48), earliest=10, latest=20)


@pytest.fixture(scope="module")
def season(tmp_path_factory):
    return seasons.write(tmp_path_factory.mktemp("season"), EVENTS)


@pytest.fixture(scope="module")
def footage(season):
    return list(open_footage(season, "train").values())


def half_of(labels, visible=None):
    """A half from frame 100 on, with these labels (26, T)."""
    labels = np.asarray(labels, np.int8)
    frames = labels.shape[1]
    state = np.zeros((5, N_SLOTS, frames), np.float32)
    state[4] = 1 if visible is None else visible
    boxes = np.where(state[4][..., None] > 0, [10.0, 20, 30, 60], np.nan).astype(np.float32)
    return HalfMatch("game_9_H1", 100, state, boxes, np.ones((N_SLOTS, frames), np.int16), labels)


# --- which events


def test_only_events_with_a_box_are_drawn_from(footage):
    events = learnable_events([f.half for f in footage], 30)
    found = {(footage[h].half.name, int(f), int(s)): int(c) for h, f, s, c in zip(*events, strict=True)}
    expected = {
        (half, *place): int(cls)
        for half, table in EVENTS.items()
        for place, cls in table.items()
        if place != (120, 25)
    }
    assert found == expected


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from(list(Action)[1:]), min_size=1, max_size=60),
    st.integers(1, 10),
    st.integers(0, 3),
)
def test_a_draw_is_balanced_and_without_repeats(classes, per_class, epoch):
    cls = np.array(classes)
    rows = draw_events(cls, per_class, seed=1, epoch=epoch)
    assert len(set(rows.tolist())) == len(rows)
    for action in Action:
        assert (cls[rows] == action).sum() == min((cls == action).sum(), per_class)
    np.testing.assert_array_equal(rows, draw_events(cls, per_class, seed=1, epoch=epoch))


def test_every_epoch_and_seed_draws_anew():
    cls = np.repeat([1, 2], 1000)
    draws = [draw_events(cls, 20, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(draw) for draw in draws}) == 4
    # In the long run every event is drawn: none has a smaller chance than others.
    counts = np.bincount(np.concatenate([draw_events(cls, 500, 0, epoch) for epoch in range(40)]))
    assert counts.min() > 0 and abs(counts.mean() - 20) < 1e-9


def test_validation_clips_are_fixed_and_training_clips_are_not(footage):
    validation = ClipDataset(footage, SMALL)
    again = ClipDataset(footage, SMALL)
    assert [int(clip.start) for clip in validation] == [int(clip.start) for clip in again]
    train = ClipDataset(footage, SMALL, Augmentation())
    epochs = [[int(clip.start) for clip in train.at_epoch(epoch)] for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[1] == [int(clip.start) for clip in train.at_epoch(1)]
    assert train.at_epoch(1).events is train.events


# --- which windows


def test_the_event_lies_within_the_range_both_ends_included(footage):
    half = next(f for f in footage if f.half.name == H1)
    config = ClipConfig(frames=10, size=(32, 48), earliest=3, latest=5)
    places = {
        int(clip.at)
        for epoch in range(12)
        for clip in ClipDataset([half], config, seed=5, epoch=epoch)
        if int(clip.start) > 3 and int(clip.start) < 183 - 10
    }
    assert places == {3, 4, 5}


def test_windows_at_the_borders_of_a_half_stay_inside(footage):
    at = {}
    for clip in ClipDataset(footage, SMALL):
        half = footage[int(clip.half)].half
        start, place = int(clip.start), int(clip.at)
        assert half.first_frame <= start and start + 30 <= half.end_frame
        actor, frame = int(clip.slots[0]), start + place
        assert EVENTS[half.name][frame, actor] == clip.labels[0, place]
        at[half.name, frame] = place
    assert at[H1, 3] == 0 and at[H2, 300] == 0  # the first frame of a half
    assert at[H1, 182] == 29 and at[H2, 419] == 29  # its last


def test_more_tracklets_from_an_epoch_on(footage):
    clips = ClipDataset(footage, replace(SMALL, others=2, others_from=((1, 5), (3, 6))))
    assert [len(clips.at_epoch(epoch)[0].slots) for epoch in range(5)] == [3, 6, 6, 7, 7]


def test_random_clips_lie_anywhere_beside_those_of_events(footage):
    clips = ClipDataset(footage, replace(SMALL, random_per_half=40), epoch=1)
    plain = ClipDataset(footage, SMALL, epoch=1)
    assert len(clips) == len(plain) + 80 and len(clips.at_epoch(2)) == len(clips)
    anywhere = [clips[i] for i in np.flatnonzero(clips.rows < 0)]
    assert {int(clip.half) for clip in anywhere} == {0, 1}
    for clip in anywhere:
        half = footage[int(clip.half)].half
        assert half.first_frame <= clip.start <= half.end_frame - SMALL.frames
    assert len({int(clip.start) for clip in anywhere}) > 30  # of 300 frames
    events = sorted(clips.rows[clips.rows >= 0])
    assert events == sorted(plain.rows)  # no event is left out for them


def test_pictures_are_those_of_the_window(footage):
    for clip in ClipDataset(footage, SMALL):
        start = int(clip.start)
        assert clip.pixels.shape == (30, 32, 48, 3) and clip.pixels.dtype == np.uint8
        levels = [seasons.level(frame) for frame in range(start, start + 30)]
        np.testing.assert_allclose(clip.pixels.mean(axis=(1, 2, 3)), levels, atol=3)


def test_tracklets_are_the_actor_and_visible_others():
    visible = np.zeros((N_SLOTS, 40))
    visible[[1, 4, 9], 5] = 1  # one frame is enough
    window = half_of(np.zeros((N_SLOTS, 40)), visible)
    chosen = {tuple(draw_slots(window, 4, 2, np.random.default_rng(seed))) for seed in range(20)}
    assert chosen == {(4, 1, 9), (4, 9, 1)}
    five = draw_slots(window, 4, 4, np.random.default_rng(0))  # fewer are visible than asked for
    assert set(five[1:3]) == {1, 9} and len(set(five.tolist())) == 5
    without_box = draw_slots(window, 4, 25, np.random.default_rng(0))
    assert sorted(without_box) == list(range(26))


# --- boxes and labels


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_boxes_and_labels_equal_a_loop_over_slots_and_frames(seed):
    rng = np.random.default_rng(seed)
    rows = plain_boxes.random_rows(rng, frames=40, players=8)
    half = dense(rows, "game_1_H1")
    start = int(rng.integers(half.first_frame, half.end_frame - 12))
    window = half.window(start, start + 12)
    slots = rng.permutation(N_SLOTS)[:5]
    size = (176, 320)
    boxes, labels = plain_boxes.gather(rows, slots, start, start + 12, 1.125, size)
    np.testing.assert_allclose(window_boxes(window, slots, 1.125, size), boxes, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(window.labels[slots], labels)


def test_boxes_grow_about_their_centre_also_over_the_border():
    """The public scripts move the centre, and clamp in training only."""
    rows = plain_boxes.random_rows(np.random.default_rng(0), frames=3, players=1)
    rows[:, Tactical.BOX_X : Tactical.BOX_HEIGHT + 1] = (-30, 0, 60, 108)  # centre 0, 54 in full HD
    half = dense(rows, "game_1_H1")
    at = np.flatnonzero(np.isfinite(half.boxes[:, 0, 0]))
    x1, y1, x2, y2 = window_boxes(half, at, 2.0, MODEL_SIZE)[0, 0]
    assert (x1, x2) == pytest.approx((-20, 20))
    assert (y1, y2) == pytest.approx((-17.6, 52.8), rel=1e-5)


def test_training_boxes_grow_at_random_within_their_range(footage):
    plain = ClipDataset(footage, SMALL)
    train = ClipDataset(footage, SMALL, Augmentation(grow=(1.0, 1.25)))
    factors = []
    for clip in train:
        width = np.nanmean(clip.boxes[..., 2] - clip.boxes[..., 0], axis=1)
        factors += (width / (48 * 48 / 1920)).tolist()
    factors = np.array(factors)[np.isfinite(factors)]
    assert 1.0 <= factors.min() < 1.06 and 1.19 < factors.max() <= 1.25
    box = plain[0].boxes[0, 0]
    assert box[2] - box[0] == pytest.approx(1.125 * 48 * 48 / 1920, rel=1e-5)


def dilated_loop(labels, dilation):
    """Each frame has the label of the nearest event within reach, of two the earlier."""
    result = np.zeros_like(labels)
    for slot, t in np.ndindex(labels.shape):
        near = [
            (abs(t - u), u) for u in range(labels.shape[1]) if labels[slot, u] and abs(t - u) <= dilation
        ]
        result[slot, t] = labels[slot, min(near)[1]] if near else 0
    return result


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 3), st.floats(0.02, 0.6))
def test_dilated_labels_equal_a_loop(seed, dilation, share):
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 9, (N_SLOTS, 15)) * (rng.random((N_SLOTS, 15)) < share)
    half = half_of(labels)
    start, stop = sorted(100 + rng.choice(16, 2, replace=False))
    expected = dilated_loop(labels, dilation)[:, start - 100 : stop - 100]
    np.testing.assert_array_equal(dilated_labels(half, start, stop, dilation), expected)


def test_dilation_reaches_into_the_window_and_not_over_an_event():
    labels = np.zeros((N_SLOTS, 10))
    labels[0, [2, 5, 6]] = [1, 2, 3]
    labels[1, [0, 9]] = 4
    dilated = dilated_labels(half_of(labels), 103, 110, 1)
    assert dilated[0].tolist() == [1, 2, 2, 3, 3, 0, 0]  # the event at 2 is before the window
    assert dilated[1].tolist() == [0, 0, 0, 0, 0, 4, 4]
    assert dilated_labels(half_of(labels), 100, 103, 1)[1].tolist() == [4, 4, 0]


# --- workers


def loaded(footage, workers):
    dataset = ClipDataset(footage, SMALL, Augmentation(), seed=3)
    return list(DataLoader(dataset, batch_size=4, num_workers=workers))


def test_batches_are_the_same_with_any_number_of_workers(footage):
    alone, two = loaded(footage, 0), loaded(footage, 2)
    assert len(alone) == len(two) == 3
    for ours, theirs in zip(alone, two, strict=True):
        for name, a, b in zip(Clip._fields, ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)


# --- augmentation


def painted(boxes, size, value=200.0):
    """One frame per box, black but for the box: (1, 3, N, H, W)."""
    pixels = torch.zeros(1, 3, len(boxes), *size)
    for frame, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        pixels[0, :, frame, int(y1) : int(y2), int(x1) : int(x2)] = value
    return pixels


def bounds(picture):
    """Edges x1, y1, x2, y2 of what is lit, to a fraction of a pixel for straight edges."""
    lit = picture / 200.0
    columns, rows = lit.amax(dim=0), lit.amax(dim=1)
    result = []
    for profile in (columns, rows):
        on = torch.nonzero(profile > 0.02).flatten()
        first, last = int(on[0]), int(on[-1])
        result.append((first + 1 - float(profile[first]), last + float(profile[last])))
    (x1, x2), (y1, y2) = result
    return torch.tensor([x1, y1, x2, y2])


BOXES = torch.tensor([[20.0, 30, 44, 60], [50, 10, 60, 22], [33, 41, 77, 51]])


@pytest.mark.parametrize(
    "warp",
    [
        [[1, 0, 0], [0, 1, 0]],
        [[1, 0, 5.5], [0, 1, -3.25]],  # a shift
        [[-1, 0, 96], [0, 1, 0]],  # a flip
        [[1.1, 0, -4.8], [0, 1.1, -3.2]],  # larger, about the centre
        [[-0.9, 0, 91.2], [0, 0.9, 2.0]],
    ],
)
def test_a_painted_rectangle_follows_its_box_exactly(warp):
    """Without rotation every edge is at the same place in the picture and the box."""
    warp = torch.tensor([warp], dtype=torch.float32)
    pixels = warp_pixels(painted(BOXES, (64, 96)), warp)
    moved = warp_boxes(BOXES[None, None], warp)[0, 0]
    for frame, box in enumerate(moved):
        torch.testing.assert_close(bounds(pixels[0, 0, frame]), box, atol=0.15, rtol=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_a_painted_rectangle_follows_its_box_under_any_draw(seed):
    warp = random_warp(Augmentation(), (64, 96), np.random.default_rng(seed))
    warp = torch.from_numpy(warp)[None]
    pixels = warp_pixels(painted(BOXES[:1], (64, 96)), warp)[0, 0, 0]
    (x1, y1, x2, y2), box = warp_boxes(BOXES[None, None, :1], warp)[0, 0, 0], BOXES[0]
    # The weight of the lit pixels is the area, their mean the centre.
    inside = x1 > 1 and y1 > 1 and x2 < 95 and y2 < 63
    if inside:
        y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(96) + 0.5, indexing="ij")
        weight = pixels / pixels.sum()
        centre = torch.stack([(weight * x).sum(), (weight * y).sum()])
        torch.testing.assert_close(centre, torch.stack([x1 + x2, y1 + y2]) / 2, atol=0.1, rtol=0)
        scale = torch.linalg.det(warp[0, :, :2]).abs()
        area = scale * (box[2] - box[0]) * (box[3] - box[1])
        torch.testing.assert_close(pixels.sum() / 200, area, rtol=0.02, atol=0)
        # Rotated by 1.5 degrees at most, the box around the corners is hardly larger.
        assert area <= (x2 - x1) * (y2 - y1) * 1.001 <= 1.1 * area


def test_draws_of_warps_have_their_published_size():
    rng = np.random.default_rng(0)
    warps = np.stack([random_warp(Augmentation(), (64, 96), rng) for _ in range(2000)])
    scale = np.sqrt(np.abs(np.linalg.det(warps[:, :, :2])))
    assert 0.9 <= scale.min() < 0.905 and 1.095 < scale.max() <= 1.1
    assert abs((np.linalg.det(warps[:, :, :2]) < 0).mean() - 0.5) < 0.04
    angle = np.rad2deg(np.arctan2(warps[:, 1, 0], np.abs(warps[:, 0, 0])))
    assert 1.45 < np.abs(angle).max() <= 1.5001
    centre = warps @ [48, 32, 1]  # where the picture's centre goes
    shift = np.abs(centre - [48, 32])
    assert (shift.max(axis=0) <= [9.6001, 6.4001]).all() and (shift.max(axis=0) > [9.4, 6.2]).all()


def test_missing_boxes_stay_missing():
    boxes = torch.full((1, 1, 2, 4), torch.nan)
    boxes[0, 0, 1] = torch.tensor([1.0, 2, 3, 4])
    moved = warp_boxes(boxes, torch.tensor([[[1.0, 0, 2], [0, 1, 0]]]))
    assert moved[0, 0, 0].isnan().all() and moved[0, 0, 1].tolist() == [3, 2, 5, 4]


def colour(**change):
    nothing = dict(jitter=0.0, hue=0.0)
    return torch.from_numpy(random_colour(Augmentation(**nothing | change), np.random.default_rng(4)))


def test_colours_change_as_asked():
    pixels = torch.rand(1, 3, 2, 4, 5) * 255
    torch.testing.assert_close(recolour(pixels, colour()[None]), pixels, atol=1e-3, rtol=0)
    luma = torch.tensor([0.299, 0.587, 0.114])
    hue = colour(hue=0.1)
    assert (hue[:, :3] - torch.eye(3)).abs().max() > 0.05
    torch.testing.assert_close(luma @ hue[:, :3], luma, atol=1e-3, rtol=0)  # as bright as before
    grey = torch.full((3,), 77.0)
    torch.testing.assert_close(hue[:, :3] @ grey, grey, atol=0.1, rtol=0)  # grey has no hue
    rng = np.random.default_rng(0)
    draws = np.stack([random_colour(Augmentation(hue=0.0), rng) for _ in range(3000)])
    greys = draws[:, :, :3].sum(axis=2)  # brightness times contrast
    assert 0.64 <= greys.min() < 0.67 and 1.40 < greys.max() <= 1.4401


def test_colours_stay_colours():
    pixels = torch.tensor([0.0, 255.0]).repeat(1, 3, 1, 1, 1)
    brighter = torch.tensor([[[1.3, 0, 0, -0.1], [0, 1.3, 0, -0.1], [0, 0, 1.3, -0.1]]])
    assert recolour(pixels, brighter).unique().tolist() == [0, 255]


def test_an_augmented_batch_changes_pictures_and_boxes_of_each_clip(footage):
    train = ClipDataset(footage, SMALL, Augmentation(grow=(1.125, 1.125)), seed=1)
    batch = default_collate([train[i] for i in range(3)])
    clip, boxes, visible, *_ = model_inputs(batch, "cpu")
    assert clip.shape == (3, 3, 30, 32, 48) and clip.dtype == torch.float32
    for b in range(3):
        alone = model_inputs(default_collate([train[b]]), "cpu")
        torch.testing.assert_close(clip[b], alone.clip[0])
        torch.testing.assert_close(boxes[b], alone.boxes[0], equal_nan=True)
        expected = warp_boxes(batch.boxes[b : b + 1], batch.warp[b : b + 1])[0]
        torch.testing.assert_close(boxes[b], expected, equal_nan=True)
    assert (visible <= batch.boxes.isfinite().all(-1)).all()


def test_augmentation_keeps_its_precision_under_autocast(footage):
    batch = default_collate([ClipDataset(footage, SMALL, Augmentation(), seed=1)[0]])
    exact = model_inputs(batch, "cpu")
    with torch.autocast("cpu", torch.bfloat16):
        assert all(
            map(
                torch.equal,
                map(torch.nan_to_num, model_inputs(batch, "cpu")),
                map(torch.nan_to_num, exact),
            )
        )


def test_clips_that_are_not_augmented_are_not_resampled(footage):
    batch = default_collate([ClipDataset(footage, SMALL)[0]])
    clip, boxes, visible, *_ = model_inputs(batch, "cpu")
    torch.testing.assert_close(clip, normalise(batch.pixels.movedim(-1, 1)), rtol=0, atol=0)
    torch.testing.assert_close(boxes, batch.boxes, equal_nan=True, rtol=0, atol=0)
    np.testing.assert_array_equal(visible, batch.boxes.isfinite().all(-1))


def test_a_player_who_is_warped_out_of_the_picture_is_not_visible(footage):
    clip = ClipDataset(footage, SMALL)[0]
    away = clip._replace(warp=np.array([[1, 0, 1000], [0, 1, 0]], np.float32))
    assert not model_inputs(default_collate([away]), "cpu").visible.any()


# --- what cannot be used


def copy_of(season, tmp_path, events=EVENTS):
    folder = tmp_path / "season"
    folder.mkdir()
    return seasons.write(folder, events)


def test_a_missing_video_is_named(season, tmp_path):
    folder = copy_of(season, tmp_path)
    (folder / video_path("game_1")).unlink()
    with pytest.raises(DataError, match=r"half game_1_H1: no video game_1.mp4 .* unpack"):
        open_footage(folder, "train")


def test_a_video_that_ends_before_the_half_is_an_error(season, tmp_path):
    folder = copy_of(season, tmp_path)
    pictures = (np.zeros((32, 48, 3), np.uint8) for _ in range(200))
    write_video(folder / video_path("game_1"), pictures)
    with pytest.raises(
        DataError, match=r"game_1_H2: its last frame is 419 and the video has 200 frames: it is cut off"
    ):
        open_footage(folder, "train")


def test_a_clip_beyond_the_end_of_the_video_is_an_error(footage, tmp_path):
    """Where the video's headers promise more than it has, only reading finds out."""
    path = tmp_path / "short.mp4"
    write_video(path, (np.zeros((32, 48, 3), np.uint8) for _ in range(100)))
    first = next(f for f in footage if f.half.name == H1)
    dataset = ClipDataset([Footage(first.half, path)], SMALL)
    with pytest.raises(
        DataError, match=r"short.mp4: half game_1_H1: no frame \d+: the video has 100 frames"
    ):
        list(dataset)


def test_no_event_with_a_box_is_an_error(season, tmp_path):
    folder = copy_of(season, tmp_path, {H1: {(120, 25): Action.TACKLE}})
    footage = list(open_footage(folder, "train").values())
    with pytest.raises(DataError, match=r"game_1_H1: no event whose player has a box"):
        ClipDataset(footage, SMALL)


def test_challenge_halves_and_short_halves_are_errors(season, tmp_path):
    write_tactical(
        tmp_path / tactical_path("challenge"), {H1: seasons.rows(H1, {})[:, : Tactical.LABEL]}.items()
    )
    write_tactical(tmp_path / tactical_path("val"), {H1: seasons.rows(H1, EVENTS[H1])[: 20 * 7]}.items())
    video = seasons.write(tmp_path, EVENTS) / video_path("game_1")
    challenge, short = (
        [Footage(open_footage(tmp_path, split)[H1].half, video)] for split in ("challenge", "val")
    )
    with pytest.raises(DataError, match="game_1_H1: a challenge half has no labels"):
        ClipDataset(challenge, SMALL)
    with pytest.raises(DataError, match="game_1_H1: 20 frames, too short for clips of 30"):
        ClipDataset(short, SMALL)


@pytest.mark.parametrize(
    "change", [dict(earliest=21), dict(latest=30), dict(others=26), dict(per_class=0), dict(grow=0.0)]
)
def test_impossible_clips_are_refused(change):
    with pytest.raises(DataError):
        ClipConfig(**dict(frames=30, earliest=10, latest=20) | change)


def test_the_module_reads_no_file_before_it_is_asked(footage, monkeypatch):
    monkeypatch.setattr(clips_module, "video_reader", lambda *_: pytest.fail("opened a video"))
    assert len(ClipDataset(footage, SMALL)) == 9
