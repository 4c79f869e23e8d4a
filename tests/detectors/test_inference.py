"""Inference: windows against one pass, the store broken off and resumed, events against a plain loop."""

import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from benchmarks.whole import peak
from footpass.data.cache import Footage, open_footage
from footpass.data.halves import HalfMatch
from footpass.data.logits import frames_per_second, read_logits
from footpass.data.video import VideoReader
from footpass.detectors import predict, windows
from footpass.detectors.clips import ClipConfig
from footpass.detectors.inputs import window_inputs
from footpass.detectors.predict import Store, write_together
from footpass.detectors.spotting import (
    NMS_WINDOW,
    SMOOTHINGS,
    UNADJUSTED,
    LogitAdjustment,
    events_from_logits,
    events_from_store,
    fit_adjustment,
    spot,
)
from footpass.detectors.windows import half_logits, logits_of_versions, logits_together
from footpass.files import DataError
from footpass.metrics import evaluate
from footpass.models.gnn import TAADGNN, GNNConfig
from footpass.models.taad import TAAD, TAADConfig
from footpass.models.x3d import X3DConfig
from footpass.schema import MIRRORS, MODEL_SIZE, Action
from tests import seasons

H1, H2 = "game_1_H1", "game_1_H2"
CONFIG = ClipConfig(frames=50, size=(32, 48), earliest=15, latest=35)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = seasons.write(tmp_path_factory.mktemp("season"), {H1: {}, H2: {}}, split="val")
    return open_footage(folder, "val")


class Probe(nn.Module):
    """Logits that say what the model was given.

    Class 0 is the mean pixel, 1 to 4 the box where visible, 5 the visibility, 6 the place in the window.
    """

    def __init__(self):
        super().__init__()
        self.calls = []
        self.scale = nn.Parameter(torch.ones(()))

    def __deepcopy__(self, memo):
        return self  # inference takes a copy, and the calls are counted here

    def forward(self, clip, boxes, visible, nodes, present):
        assert not self.training and not torch.is_grad_enabled()
        self.calls.append(clip.shape[2])
        logits = torch.zeros(1, 9, *visible.shape[1:])
        logits[:, 0] = clip.mean(dim=(1, 3, 4))[:, None]
        logits[:, 1:5] = boxes.nan_to_num().movedim(-1, 1)
        logits[:, 5] = visible
        logits[:, 6] = torch.arange(clip.shape[2])
        return logits


def write_logits(model, footage, path, config, made_by):
    """Write the logits of one model; where."""
    write_together([Store(path, dict.fromkeys(footage, model), config, made_by)], footage)
    return path


def whole(model, entry, config=CONFIG, **more):
    """Logits of a half in one array, and where its stretches begin."""
    stretches = list(half_logits(model, entry, config, **more))
    starts = [start for start, _ in stretches]
    return np.concatenate([logits for _, logits in stretches], axis=-1), starts


# --- windows


@pytest.mark.parametrize("name", [H1, H2])
def test_every_frame_of_the_half_gets_its_own_picture_and_boxes(footage, name):
    """The first and the last frames included."""
    half = footage[name].half
    logits, starts = whole(Probe(), footage[name])
    assert logits.shape == (9, 26, half.n_frames) and starts[0] == half.first_frame
    frames = range(half.first_frame, half.end_frame)
    levels = (np.array([seasons.level(f) for f in frames]) / 255 - 0.45) / 0.225
    np.testing.assert_allclose(logits[0, 3], levels, atol=0.06)
    for slot in range(26):
        for t, frame in enumerate(frames):
            seen = slot in seasons.PLAYERS and not seasons.hidden(slot, frame)
            assert logits[5, slot, t] == seen
    x1, y1, x2, y2 = seasons.model_box(14, half.first_frame + 7, CONFIG.size)
    grow = 0.0625 * np.array([x2 - x1, y2 - y1])
    expected = [x1 - grow[0], y1 - grow[1], x2 + grow[0], y2 + grow[1]]
    np.testing.assert_allclose(logits[1:5, 14, 7], expected, rtol=1e-4)


@pytest.mark.parametrize(("frames", "stride"), [(50, 25), (50, 50), (50, 7), (30, 13), (180, 25)])
def test_overlapping_windows_are_averaged(footage, frames, stride):
    config = ClipConfig(frames=frames, size=(32, 48), earliest=0, latest=1)
    half = footage[H1].half
    logits, _ = whole(Probe(), footage[H1], config, stride=stride)
    places = [[] for _ in range(half.n_frames)]  # of each frame in the windows that it is in
    for start in range(0, half.n_frames, stride):
        for t in range(start, min(start + frames, half.n_frames)):
            places[t].append(t - start)
        if start + frames >= half.n_frames:
            break
    np.testing.assert_allclose(logits[6, 0], [np.mean(p) for p in places], rtol=1e-5)


def test_versions_of_a_half_get_together_the_logits_that_each_has_alone(footage):
    model = taad(0)
    half, video = footage[H2].half, footage[H2].video
    other = replace(half, boxes=half.boxes[::-1] + 2, state=half.state[:, ::-1])
    together = logits_of_versions(model, [half, other], video, CONFIG)
    for version, logits in zip([half, other], together, strict=True):
        alone, _ = whole(model, Footage(version, video))
        np.testing.assert_allclose(logits, alone, atol=1e-5)
    with pytest.raises(DataError, match="by itself"):
        logits_of_versions(SimpleNamespace(without_box=True), [half, other], video, CONFIG)


@pytest.fixture
def decoded(monkeypatch):
    """Frames that were asked of videos."""
    asked, frames = [], VideoReader.frames

    def counted(self, indices):
        asked.extend(np.asarray(indices).tolist())
        return frames(self, indices)

    monkeypatch.setattr(VideoReader, "frames", counted)
    return asked


def test_every_frame_is_decoded_once(footage, decoded):
    whole(Probe(), footage[H2])
    assert decoded == list(range(300, 420))


def taad(seed):
    torch.manual_seed(seed)
    return TAAD(TAADConfig(width=8, head=16, x3d=X3DConfig(4, (4, 8, 8, 8), (1, 1, 1, 1))))


def test_several_models_share_one_decoding_and_say_what_each_says_alone(footage, tmp_path, decoded):
    """Also where one of them was broken off: the half that it has is not done again."""
    grown = replace(CONFIG, grow=1.5)
    models = (taad(0), CONFIG), (taad(1), CONFIG), (taad(2), grown)
    alone, together = (
        [
            Store(tmp_path / kind / f"{i}.h5", dict.fromkeys(footage, model), clips, f"model {i}")
            for i, (model, clips) in enumerate(models)
        ]
        for kind in ("alone", "together")
    )
    for store in alone:
        store.path.parent.mkdir(exist_ok=True)
        write_together([store], footage)
    del decoded[:]
    together[0].parts.mkdir(parents=True)
    write_logits(models[0][0], {H1: footage[H1]}, tmp_path / "one.h5", CONFIG, "model 0")
    os.replace(tmp_path / "one.h5", together[0].parts / f"{H1}.h5")
    write_together(together, footage)
    # Once by itself for the half that was there, then each half for all.
    assert decoded == [*range(3, 183), *range(3, 183), *range(300, 420)]
    for one, other in zip(alone, together, strict=True):
        assert not other.parts.exists()
        for entry in footage.values():
            expected = read_logits(one.path, entry.half)
            np.testing.assert_array_equal(read_logits(other.path, entry.half), expected)


def test_models_that_see_other_pictures_are_run_one_by_one(footage, tmp_path):
    longer = replace(CONFIG, frames=60)
    models = dict.fromkeys(footage, Probe())
    stores = [Store(tmp_path / f"{c.frames}.h5", models, c, "one") for c in (CONFIG, longer)]
    with pytest.raises(DataError, match="clips of 50 frames of 32 x 48 and 60 frames of 32 x 48"):
        write_together(stores, footage)


@pytest.mark.parametrize(
    ("other", "shared"), [({"others": 25, "per_class": 9}, True), ({"grow": 2}, False)]
)
def test_models_that_see_the_same_share_a_windows_inputs(footage, monkeypatch, other, shared):
    """What only training asks of their clips does not matter; how boxes are drawn does."""
    made = []

    def counted(*args):
        made.append(window_inputs(*args))
        return made[-1]

    monkeypatch.setattr(windows, "window_inputs", counted)
    models, configs = (Probe(), Probe()), (CONFIG, replace(CONFIG, **other))
    parts = list(logits_together(models, configs, footage[H1], None, "fp32", False))
    assert len(made) == len(models[0].calls) * (1 if shared else 2)
    both = np.concatenate([logits for _, logits in parts], axis=-1)
    for logits, config in zip(both, configs, strict=True):
        np.testing.assert_array_equal(logits, whole(Probe(), footage[H1], config)[0])


@pytest.mark.parametrize("graph", [False, True])
def test_mirrored_is_the_mean_of_the_match_and_of_its_mirror_image(footage, graph):
    """A mirror image that is made by hand: of the film, the boxes, the positions and the teams."""
    half = footage[H2].half
    window = half.window(half.first_frame, half.first_frame + CONFIG.frames)
    entry = Footage(window, footage[H2].video)
    sizes = {"width": 8, "x3d": X3DConfig(4, (4, 8, 8, 8), (1, 1, 1, 1))}
    torch.manual_seed(0)
    model = TAADGNN(GNNConfig(**sizes, visual=8, graph=8)) if graph else TAAD(TAADConfig(**sizes))
    boxes = window.boxes[..., [2, 1, 0, 3]]
    boxes[..., [0, 2]] = MODEL_SIZE[1] - boxes[..., [0, 2]]
    mirror, slots = MIRRORS["X"], np.asarray(MIRRORS["X"].slots)
    image = replace(window, state=mirror.state(window.state), boxes=boxes[slots])
    with VideoReader(entry.video, CONFIG.size) as reader:
        film = reader.clip(half.first_frame, CONFIG.frames)
    with torch.inference_mode():
        plain, seen = (
            model.eval()(*window_inputs(match, np.ascontiguousarray(pictures), CONFIG, "cpu"))[0].numpy()
            for match, pictures in ((window, film), (image, film[:, :, ::-1]))
        )
    expected = (plain + seen[:, slots]) / 2  # who was in a slot is now in its mirror image
    assert np.abs(expected - plain).max() > 1e-3
    found, _ = whole(model, entry, mirrored=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_only_a_window_is_held_at_a_time(footage):
    """Memory does not grow with the half: no stretch is longer than a window, and few windows wait."""
    model, at_once = Probe(), torch.get_num_threads()
    stream = half_logits(model, footage[H1], CONFIG)
    for number, (_, logits) in enumerate(stream):
        assert logits.shape[-1] <= CONFIG.frames
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()  # here, in the caller
        assert len(model.calls) <= number + 2 + at_once


@pytest.mark.parametrize("threads", [1, 3])
def test_several_windows_at_once_say_what_one_after_the_other_does(footage, threads):
    expected, _ = whole(Probe(), footage[H1])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found, _ = whole(Probe(), footage[H1])
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found, expected)


def test_a_stride_that_leaves_gaps_is_refused(footage):
    with pytest.raises(DataError, match="stride 51: windows of 50 frames would leave gaps"):
        whole(Probe(), footage[H1], stride=51)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a process's peak is read from /proc")
def test_memory_does_not_grow_with_the_length_of_a_half(tmp_path):
    """Peak of `predict` on 16 minutes, against 4: within 10 %."""
    peaks = [peak(tmp_path, minutes) for minutes in (4, 16)]
    assert peaks[1] < 1.1 * peaks[0], peaks


# --- the store


def test_the_store_has_absolute_frames(footage, tmp_path):
    path = write_logits(Probe(), footage, tmp_path / "logits.h5", CONFIG, "one")
    half = footage[H2].half
    expected, _ = whole(Probe(), footage[H2])
    with h5py.File(path) as file:
        assert list(file) == [H1, H2] and file[H2].dtype == np.float16
        assert file[H2].shape == (9, 26, 420) and file[H2].attrs["first_frame"] == 300
        np.testing.assert_array_equal(file[H2][:, :, :300], 0)
        np.testing.assert_array_equal(file[H2][:, :, 300:], expected.astype(np.float16))
        assert file[H2].id.get_num_chunks() < 420 / 250 + 1  # what is before the half takes no space
    np.testing.assert_array_equal(read_logits(path, half), expected.astype(np.float16))
    assert sorted(tmp_path.iterdir()) == [path]


class Crash(Exception):
    pass


class Crashing(Probe):
    """Fails in its n-th window."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def forward(self, *inputs):
        if len(self.calls) == self.after:
            raise Crash
        return super().forward(*inputs)


def test_a_store_that_was_broken_off_goes_on_where_it_stopped(footage, tmp_path):
    path, clean = tmp_path / "logits.h5", tmp_path / "clean.h5"
    model = Probe()
    write_logits(model, footage, clean, CONFIG, "one")
    first = sum(1 for _ in half_logits(Probe(), footage[H1], CONFIG))
    with pytest.raises(Crash):
        write_logits(Crashing(first + 1), footage, path, CONFIG, "one")  # in the second half
    assert not path.exists()
    again = Probe()
    write_logits(again, footage, path, CONFIG, "one")
    assert len(again.calls) == len(model.calls) - first  # the first half is not done again
    for entry in footage.values():
        np.testing.assert_array_equal(read_logits(path, entry.half), read_logits(clean, entry.half))
    write_logits(Crashing(0), footage, path, CONFIG, "one")  # it is complete: nothing is computed


@pytest.mark.parametrize("changes", ["boxes", "video"])
def test_logits_of_other_data_are_not_taken_over(footage, tmp_path, changes):
    """A half of the same length, with corrected boxes or another video."""
    path, entry = tmp_path / "logits.h5", footage[H1]
    write_logits(Probe(), {H1: entry}, path, CONFIG, "one")
    if changes == "boxes":
        half = replace(entry.half, boxes=entry.half.boxes + np.float16(1))
        other = replace(entry, half=half)
    else:
        video = tmp_path / "other.mp4"
        video.write_bytes(Path(entry.video).read_bytes() + b"more")
        other = replace(entry, video=video)
    with pytest.raises(Crash):
        write_logits(Crashing(0), {H1: other}, path, CONFIG, "one")


@pytest.mark.parametrize("ends", ["the model fails", "nobody wants more"])
def test_no_video_is_closed_while_it_is_decoded(footage, monkeypatch, ends):
    """Windows are decoded ahead in a thread: closing the file under it would crash the process."""
    decoding, closed = threading.Event(), []
    frames, close = VideoReader.frames, VideoReader.__exit__

    def slow(self, indices):
        decoding.set()
        time.sleep(0.2)
        pictures = frames(self, indices)
        decoding.clear()
        return pictures

    def watched(self, *error):
        closed.append(not decoding.is_set())
        close(self, *error)

    monkeypatch.setattr(VideoReader, "frames", slow)
    monkeypatch.setattr(VideoReader, "__exit__", watched)
    if ends == "the model fails":
        with pytest.raises(Crash):
            list(half_logits(Crashing(after=1), footage[H1], CONFIG))
    else:
        stream = half_logits(Probe(), footage[H1], CONFIG)
        next(stream)
        stream.close()
    assert closed == [True]


def test_logits_of_another_model_are_not_taken_over(footage, tmp_path):
    path = tmp_path / "logits.h5"
    write_logits(Probe(), footage, path, CONFIG, "one")
    with pytest.raises(Crash):
        write_logits(Crashing(1), footage, path, CONFIG, "another")
    before = read_logits(path, footage[H1].half)  # the earlier store is still there
    np.testing.assert_array_equal(before, whole(Probe(), footage[H1])[0].astype(np.float16))


def test_damaged_stores_are_errors(footage, tmp_path):
    path = tmp_path / "logits.h5"
    half = footage[H1].half
    path.write_bytes(b"no HDF5")
    with pytest.raises(DataError, match=r"logits.h5: cannot be read or is cut off"):
        read_logits(path, half)
    with h5py.File(path, "w") as file:
        file[H1] = np.zeros((9, 26, 100), np.float16)
    with pytest.raises(DataError, match=r"game_1_H1: logits of shape \(9, 26, 100\)"):
        read_logits(path, half)
    with pytest.raises(DataError, match=r"no half game_1_H2; it has game_1_H1"):
        read_logits(path, footage[H2].half)


def test_a_pass_of_several_models_is_the_speed_of_none(footage, tmp_path):
    stores = [Store(tmp_path / name, dict.fromkeys(footage, Probe()), CONFIG, name) for name in "abc"]
    write_together(stores[:1], footage)
    write_together(stores[1:], footage)
    alone, *together = (frames_per_second(store.path) for store in stores)
    assert alone > 0 and together == [None, None]


# --- events


def loop(logits, visible):
    """Events one tracklet and class at a time: take the best, drop what is near, and again."""
    found = []
    for m in range(logits.shape[1]):
        candidates = {}
        for t in range(logits.shape[2]):
            x = logits[:, m, t].astype(np.float64)
            cls = int(np.argmax(x))
            score = 1 / np.exp(np.sort(x) - x[cls]).sum()
            if cls and visible[m, t]:
                candidates.setdefault(cls, []).append((-score, t))
        for cls, rest in candidates.items():
            rest.sort()
            while rest:
                score, t = rest.pop(0)
                found.append((m, t, cls, -score))
                rest = [(s, u) for s, u in rest if abs(u - t) > NMS_WINDOW]
    return sorted(found, key=lambda event: (event[1], event[0]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 1.0, 4.0]))
def test_events_equal_a_plain_loop(seed, background):
    rng = np.random.default_rng(seed)
    logits = rng.integers(-3, 4, (9, 3, 100)).astype(np.float16)  # whole numbers: ties are common
    logits[0] += background
    visible = rng.random((3, 100)) < 0.8
    expected = loop(logits, visible)
    tracklet, frame, cls, score = spot(logits, visible)
    assert list(zip(tracklet, frame, cls, strict=True)) == [event[:3] for event in expected]
    np.testing.assert_allclose(score, [event[3] for event in expected], rtol=1e-5)


def half_with(jersey, visible=1.0):
    frames = jersey.shape[1]
    state = np.full((5, 26, frames), visible, np.float32)
    return HalfMatch("game_9_H2", 1000, state, np.zeros((26, frames, 4), np.float32), jersey, None)


def test_events_have_absolute_frames_and_the_jersey_of_the_moment():
    jersey = np.full((26, 60), -1, np.int16)
    jersey[15, :30], jersey[15, 30:] = 7, 12  # a substitution
    logits = np.zeros((9, 26, 60), np.float16)
    logits[0] = 3
    logits[Action.SHOT, 15, [10, 11, 50]] = 5, 6, 7
    logits[Action.PASS, 15, 12] = 8  # another class: not suppressed
    logits[Action.PASS, 4, 59] = 4  # nobody knows his number
    events = events_from_logits(logits, half_with(jersey))
    rows = events[["frame", "team", "jersey", "cls"]].to_numpy().tolist()
    assert rows == [
        [1011, 1, 7, Action.SHOT],
        [1012, 1, 7, Action.PASS],
        [1050, 1, 12, Action.SHOT],
        [1059, 0, -1, Action.PASS],
    ]
    others = 7 * np.exp(0.0)
    assert events["score"][0] == pytest.approx(np.exp(6) / (np.exp(6) + np.exp(3) + others), rel=1e-5)
    assert list(events["half"].cat.categories) == ["game_9_H2"]


def test_nothing_is_found_where_nobody_is_visible():
    logits = np.zeros((9, 26, 60), np.float16)
    logits[Action.PASS] = 5
    jersey = np.ones((26, 60), np.int16)
    assert not len(events_from_logits(logits, half_with(jersey, visible=0.0)))
    assert len(events_from_logits(logits, half_with(jersey)))


def test_a_half_without_events_is_not_lost(footage, tmp_path):
    path = write_logits(Probe(), footage, tmp_path / "logits.h5", CONFIG, "one")
    with h5py.File(path, "r+") as file:
        file[H2][...] = 0
        file[H1][...] = 0
        file[H1][Action.PASS, 0, 50] = 1
    events = events_from_store(path, {name: entry.half for name, entry in footage.items()})
    assert list(events["half"].cat.categories) == [H1, H2]
    assert events[["frame", "team", "jersey", "cls"]].to_numpy().tolist() == [[50, 0, 30, Action.PASS]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_an_error(value):
    logits = np.zeros((9, 26, 10), np.float16)
    logits[:, 2, 4] = value  # all of them, so that none is the best
    with pytest.raises(DataError, match=r"game_9_H2: logits that are not finite"):
        events_from_logits(logits, half_with(np.ones((26, 10), np.int16)))


def test_logits_of_other_frames_are_an_error():
    with pytest.raises(DataError, match=r"game_9_H2: logits of shape \(9, 26, 9\) instead of"):
        events_from_logits(np.zeros((9, 26, 9)), half_with(np.ones((26, 10), np.int16)))


def test_halves_are_shared_by_several_processes(footage, tmp_path, monkeypatch):
    """The second of two does the second half only, and leaves it for the first to put together."""
    path = tmp_path / "logits.h5"
    monkeypatch.setattr(predict, "rank_and_world", lambda: (1, 2))
    write_logits(Probe(), footage, path, CONFIG, "one")
    assert [file.name for file in (tmp_path / "logits.h5.parts").iterdir()] == [f"{H2}.h5"]
    monkeypatch.setattr(predict, "rank_and_world", lambda: (0, 2))
    write_logits(Probe(), footage, path, CONFIG, "one")
    np.testing.assert_array_equal(
        read_logits(path, footage[H2].half), whole(Probe(), footage[H2])[0].astype(np.float16)
    )


def test_further_halves_join_a_store_that_keeps_what_it_has(footage, tmp_path, decoded):
    """Thirty matches more of a split once had those before them predicted again."""
    write_logits(Probe(), {H1: footage[H1]}, path := tmp_path / "logits.h5", CONFIG, "one")
    del decoded[:]
    write_logits(Probe(), footage, path, CONFIG, "one")
    assert decoded == list(range(300, 420))
    for name, entry in footage.items():
        expected = whole(Probe(), entry)[0].astype(np.float16)
        np.testing.assert_array_equal(read_logits(path, footage[name].half), expected)
    del decoded[:]
    write_logits(Probe(), footage, path, CONFIG, "another")
    assert decoded == [*range(3, 183), *range(300, 420)]


# --- adjustment


def overstated(seed, noise=False):
    """A half of 100 passes and 4 shots, half of which the detector takes for shots at times.

    With noise, single frames that look like shots lie between the events, which last three frames.
    """
    rng = np.random.default_rng(seed)
    logits = np.zeros((9, 26, 3300), np.float16)
    logits[0] = 4
    rows = []
    for number, at in enumerate(range(30, 3150, 30)):
        slot, cls = int(rng.integers(26)), Action.SHOT if number % 26 == 25 else Action.PASS
        logits[cls, slot, at - noise : at + noise + 1] = 8
        if number % 2 and cls == Action.PASS:
            logits[Action.SHOT, slot, at] = 8.5
        if noise:
            logits[cls, int(rng.integers(26)), at + 15] = 9
        rows.append((at + 1000, slot // 13, slot % 13, int(cls)))
    jersey = np.repeat(np.arange(26) % 13, 3300).reshape(26, 3300).astype(np.int16)
    truth = pd.DataFrame(rows, columns=["frame", "team", "jersey", "cls"])
    truth.insert(0, "half", pd.Categorical(["game_9_H2"] * len(rows)))
    return logits, half_with(jersey), truth.assign(box_visible=True, replay=False)


def test_offsets_are_those_with_the_best_score_on_halves_that_were_not_learned_from():
    logits, half, truth = overstated(0)
    fitted = fit_adjustment({half.name: logits}, {half.name: half}, truth)
    assert fitted.smoothing == 0  # an event of one frame is made no clearer by it
    # By class, strength * log(share), one strength for all.
    share = (np.bincount(truth["cls"], minlength=9)[1:] + 1) / (len(truth) + 8)
    strength = np.array(fitted.offsets[1:]) / np.log(share)
    np.testing.assert_allclose(strength, strength[0])
    assert strength[0] > 0
    logits, half, truth = overstated(1)
    before, after = (
        evaluate(events_from_logits(logits, half, adjustment=one), truth).counts.f1
        for one in (UNADJUSTED, fitted)
    )
    assert before[Action.SHOT - 1] < 0.2 and before[Action.PASS - 1] < 0.7
    assert after[Action.SHOT - 1] == after[Action.PASS - 1] == 1


def test_smoothing_takes_off_what_lasts_a_single_frame():
    logits, half, truth = overstated(0, noise=True)
    fitted, offsets = (
        fit_adjustment({half.name: logits}, {half.name: half}, truth, smoothings=choice)
        for choice in (SMOOTHINGS, (0.0,))
    )
    assert fitted.smoothing > 0 and offsets.smoothing == 0
    logits, half, truth = overstated(1, noise=True)
    alone, both = (
        evaluate(events_from_logits(logits, half, adjustment=one), truth).macro_f1
        for one in (offsets, fitted)
    )
    assert both > alone + 0.05


def test_adjusted_logits_are_averages_over_time_plus_offsets():
    logits = np.random.default_rng(0).normal(size=(9, 3, 60)).astype(np.float16)
    offsets = tuple((np.arange(9) / 4).tolist())
    done = LogitAdjustment(2.0, offsets)(logits)
    # The definition, with the border's values beyond the border.
    k = np.arange(-8, 9)
    weights = np.exp(-(k**2) / 8) / np.exp(-(k**2) / 8).sum()
    frames = np.clip(np.arange(60)[:, None] + k, 0, 59)
    expected = (logits.astype(float)[..., frames] * weights).sum(-1) + np.array(offsets)[:, None, None]
    np.testing.assert_allclose(done, expected, atol=1e-5)
    assert LogitAdjustment()(logits) is logits


def test_where_no_adjustment_is_better_there_is_none():
    half, logits = half_with(np.zeros((26, 100), np.int16)), np.zeros((9, 26, 100), np.float16)
    logits[0] = 9
    _, _, truth = overstated(0)
    assert fit_adjustment({half.name: logits}, {half.name: half}, truth.iloc[:0]) == UNADJUSTED
    with pytest.raises(DataError, match="no halves to fit"):
        fit_adjustment({}, {}, truth)


@pytest.mark.parametrize(
    "bad",
    [
        dict(smoothing=-1.0),
        dict(smoothing=np.nan),
        dict(smoothing=np.inf),
        dict(smoothing="1"),
        dict(offsets=(0.0,) * 8),
        dict(offsets=(np.nan,) * 9),
    ],
)
def test_what_is_no_adjustment(bad):
    with pytest.raises(DataError, match="LogitAdjustment"):
        LogitAdjustment(**bad)
