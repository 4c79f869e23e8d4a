"""Halves: against a loop over rows, hand-made rows with every quirk, and a cache that breaks."""

import json
import mmap
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.bench_window import half_rows
from footpass import files
from footpass.__main__ import main
from footpass.data import cache as cache_module
from footpass.data import paths
from footpass.data.cache import load_half, open_halves, prepared_dir
from footpass.data.halves import dense, events_of
from footpass.data.paths import data_dir, find, tactical_path, video_path
from footpass.data.tactical import half_names, read_rows, write_tactical
from footpass.events import read_ground_truth
from footpass.files import DataError
from footpass.schema import Action, Role, Tactical, slot
from tests.oracles import window as plain_window

NAN = np.nan
SECOND_HALF = 75_557
BOX = (960, 540, 48, 108)


def row(frame, team, role, jersey=7, xy=(0.5, 0.5), v=(0, 0), box=(NAN,) * 4, cls=0):
    return [frame, 100 * (team + 1) + 1, team, jersey, role, *xy, *v, *box, cls]


def table(*rows):
    return np.array(rows, np.float32)


def loop(rows):
    """The arrays of a half by the obvious loop over its rows, later ones over earlier ones."""
    frames = [int(r[0]) for r in rows]
    first, count = min(frames), max(frames) - min(frames) + 1
    state = np.full((5, 26, count), NAN, np.float32)
    state[4] = 0
    boxes = np.full((26, count, 4), NAN, np.float32)
    jersey = np.full((26, count), -1)
    labels = np.zeros((26, count), int)
    for r in rows.astype(np.float64):
        t, s = int(r[0]) - first, int(13 * r[2] + r[4] - 1)
        x, y, w, h = r[9:13]
        seen = all(np.isfinite(r[9:13]))
        state[:, s, t] = [*r[5:9], seen]
        sx, sy = 640 / 1920, 352 / 1080
        boxes[s, t] = [x * sx, y * sy, (x + w) * sx, (y + h) * sy] if seen else NAN
        jersey[s, t] = -1 if np.isnan(r[3]) else int(r[3])
        labels[s, t] = int(r[13]) if len(r) > 13 else 0
    return first, state, boxes, jersey, labels


def assert_same_half(half, other):
    assert (half.name, half.first_frame) == (other.name, other.first_frame)
    for name in ("state", "boxes", "jersey", "labels"):
        np.testing.assert_array_equal(getattr(half, name), getattr(other, name))


# --- rows to arrays


numbers = st.one_of(st.just(NAN), st.integers(-50, 2000).map(float))
any_row = st.tuples(
    st.integers(75_000, 75_012),
    st.just(101),
    st.integers(0, 1),
    st.one_of(st.just(NAN), st.integers(0, 99)),
    st.sampled_from([1, 2, 13]),
    *[st.floats(-0.25, 1.25, width=32)] * 4,
    *[numbers] * 4,
    st.integers(0, 8),
)


def cell_of(row):
    """Frame, team and role: what at most one row may have."""
    return row[0], row[2], row[4]


@settings(max_examples=150, deadline=None)
@given(st.lists(any_row, min_size=1, max_size=40, unique_by=cell_of), st.booleans())
def test_arrays_equal_a_loop_over_the_rows(rows, labelled):
    rows = np.array(rows, np.float32)[:, : 14 if labelled else 13]
    first, state, boxes, jersey, labels = loop(rows)
    half = dense(rows, "game_1_H2")
    assert half.first_frame == first
    assert half.end_frame == int(rows[:, 0].max()) + 1
    np.testing.assert_array_equal(half.state, state)
    np.testing.assert_allclose(half.boxes, boxes, rtol=1e-6)
    np.testing.assert_array_equal(half.jersey, jersey)
    if labelled:
        np.testing.assert_array_equal(half.labels, labels)
    else:
        assert half.labels is None
    assert [half.state.dtype, half.boxes.dtype, half.jersey.dtype] == [np.float32, np.float32, np.int16]


def test_a_second_half_keeps_its_absolute_frames():
    half = dense(table(row(SECOND_HALF, 0, 1), row(SECOND_HALF + 3, 1, 1)), "game_1_H2")
    assert (half.first_frame, half.n_frames, half.end_frame) == (SECOND_HALF, 4, SECOND_HALF + 4)
    part = half.window(SECOND_HALF + 2, SECOND_HALF + 4)
    assert part.first_frame == SECOND_HALF + 2
    assert np.isfinite(part.state[0, slot(1, 1)]).tolist() == [False, True]


def test_frames_without_rows_are_frames_without_players():
    half = dense(table(row(10, 0, 5, box=BOX), row(13, 0, 5, box=BOX)), "game_1_H1")
    at = slot(0, 5)
    assert half.state[4, at].tolist() == [1, 0, 0, 1]
    assert np.isnan(half.state[:4, at, 1:3]).all() and np.isnan(half.boxes[at, 1:3]).all()
    assert half.jersey[at].tolist() == [7, -1, -1, 7]


def test_boxes_are_corners_in_pixels_of_the_models_picture():
    half = dense(table(row(0, 0, 1, box=BOX)), "game_1_H1")
    np.testing.assert_allclose(half.boxes[0, 0], [320, 176, 336, 211.2], rtol=1e-6)


def test_half_a_box_is_no_box():
    half = dense(table(row(0, 0, 1, box=(10, 10, NAN, 20))), "game_1_H1")
    assert half.state[4, 0, 0] == 0 and np.isnan(half.boxes[0, 0]).all()


def test_the_order_of_the_rows_does_not_matter():
    rows = half_rows(50)
    shuffled = np.random.default_rng(0).permutation(rows)
    assert_same_half(dense(shuffled, "game_1_H1"), dense(rows, "game_1_H1"))


def test_a_player_who_changes_role_changes_slot():
    rows = table(row(0, 1, Role.LM, 8), row(1, 1, Role.LM, 8), row(2, 1, Role.RM, 8))
    half = dense(rows, "game_1_H1")
    assert half.jersey[slot(1, Role.LM)].tolist() == [8, 8, -1]
    assert half.jersey[slot(1, Role.RM)].tolist() == [-1, -1, 8]


def test_a_window_outside_the_half_is_refused():
    half = dense(table(row(100, 0, 1), row(199, 0, 1)), "game_1_H1")
    assert half.window(100, 200).n_frames == 100
    for start, stop in ((99, 120), (150, 201), (160, 150)):
        with pytest.raises(DataError, match=r"game_1_H1: no window .* its frames are 100\.\.199"):
            half.window(start, stop)


# --- jerseys


def slow_jersey(half, at, frame):
    known = [(f, j) for f, j in enumerate(half.jersey[at], half.first_frame) if j >= 0]
    before = [j for f, j in known if f <= frame]
    return before[-1] if before else (known[0][1] if known else -1)


def test_the_jersey_is_the_nearest_known_before_else_after():
    """A slot whose jersey is unknown, then 9, unknown again, then substituted by 19."""
    jerseys = {1: NAN, 2: 9, 3: NAN, 4: NAN, 6: 19, 7: NAN}
    rows = table(*(row(frame, 0, 12, jersey) for frame, jersey in jerseys.items()))
    half = dense(rows, "game_1_H1")
    frames = np.arange(-3, 12)
    expected = [9] * 9 + [19] * 6
    assert half.jersey_at(slot(0, 12), frames).tolist() == expected
    assert half.jersey_at(slot(0, 11), frames).tolist() == [-1] * 15


@settings(max_examples=60, deadline=None)
@given(st.lists(any_row, min_size=1, max_size=30, unique_by=cell_of))
def test_jerseys_equal_a_search_in_each_slot(rows):
    half = dense(np.array(rows, np.float32), "game_1_H1")
    slots, frames = np.divmod(np.arange(26 * 20), 20)
    frames = frames + 74_996
    found = half.jersey_at(slots, frames)
    assert found.tolist() == [slow_jersey(half, s, f) for s, f in zip(slots, frames, strict=True)]


# --- labels


def test_events_are_the_labelled_rows_with_what_was_visible():
    rows = table(
        row(10, 0, 6, 11, box=BOX, cls=Action.PASS),
        row(10, 1, 6, 22),
        row(20, 0, 6, 11, box=BOX),
        row(20, 1, 6, 22, cls=Action.TACKLE),  # not visible, somebody else is
        row(30, 0, 6, 11),
        row(30, 1, 6, 22, cls=Action.THROW_IN),  # nobody is visible: a replay
        row(30, 0, 7, NAN, cls=Action.BLOCK),  # jersey not known
    )
    events = events_of(dense(rows, "game_1_H1"))
    assert list(events) == ["half", "frame", "team", "jersey", "cls", "box_visible", "replay"]
    assert events.drop(columns="half").values.tolist() == [
        [10, 0, 11, Action.PASS, True, False],
        [20, 1, 22, Action.TACKLE, False, False],
        [30, 0, -1, Action.BLOCK, False, True],
        [30, 1, 22, Action.THROW_IN, False, True],
    ]


def test_the_official_ground_truth_survives_the_way_through_rows(release):
    """Rows made of a real half's events, with the boxes its flags ask for, give these events again."""
    truth = read_ground_truth(release / "playbyplay_GT" / "playbyplay_val.json")
    for name, events in list(truth.groupby("half", observed=True))[:2]:
        rows = []
        for event in events.itertuples():
            actor_box, other_box = (
                BOX if seen else (NAN,) * 4 for seen in (event.box_visible, not event.replay)
            )
            rows.append(row(event.frame, event.team, 12, event.jersey, box=actor_box, cls=event.cls))
            rows.append(row(event.frame, 1 - event.team, 1, 1, box=other_box))
        found = events_of(dense(table(*rows), name))
        expected = events.reset_index(drop=True)
        columns = list(expected.columns[1:])
        pd.testing.assert_frame_equal(found[columns], expected[columns], check_dtype=True)


def test_a_challenge_half_has_no_events():
    half = dense(table(row(0, 0, 1))[:, :13], "game_0_H1")
    with pytest.raises(DataError, match="game_0_H1: a challenge half has no labels"):
        events_of(half)


# --- files


def test_written_rows_are_read_back(tmp_path):
    rows = half_rows(100)
    write_tactical(tmp_path / "t.h5", {"game_1_H1": rows, "game_1_H2": rows[:, :13]}.items())
    assert half_names(tmp_path / "t.h5") == ["game_1_H1", "game_1_H2"]
    np.testing.assert_array_equal(read_rows(tmp_path / "t.h5", "game_1_H1"), rows)
    np.testing.assert_array_equal(read_rows(tmp_path / "t.h5", "game_1_H2"), rows[:, :13])
    with h5py.File(tmp_path / "t.h5") as file:
        assert file["game_1_H1"].dtype == np.float32


def test_the_same_rows_give_the_same_file(tmp_path):
    for name in "ab":
        write_tactical(tmp_path / name, iter([("game_1_H1", half_rows(10))]))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_rows_of_another_shape_are_not_written(tmp_path):
    with pytest.raises(DataError, match=r"half game_1_H1: rows of shape \(3, 12\)"):
        write_tactical(tmp_path / "t.h5", {"game_1_H1": np.zeros((3, 12))}.items())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.zeros((3, 12), np.float32), r"shape \(3, 12\) instead of \(rows, 14\)"),
        (np.zeros(3, np.float32), r"shape \(3,\) instead of"),
        (np.zeros((3, 14), np.int32), "type int32 instead of float32"),
        (np.zeros((0, 14), np.float32), "has no rows"),
    ],
)
def test_another_table_is_refused(tmp_path, content, reason):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["game_1_H1"] = content
    with pytest.raises(DataError, match=f"t.h5: half game_1_H1: {reason}"):
        read_rows(tmp_path / "t.h5", "game_1_H1")


def test_files_that_are_not_there_or_not_whole_or_not_hdf5(tmp_path):
    with pytest.raises(DataError, match=r"none.h5: no such file"):
        half_names(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(DataError, match=r"text.h5: cannot be read or is cut off"):
        half_names(tmp_path / "text.h5")
    write_tactical(tmp_path / "t.h5", {"game_1_H1": half_rows(100)}.items())
    with pytest.raises(DataError, match=r"t.h5: no half game_1_H2; it has game_1_H1"):
        read_rows(tmp_path / "t.h5", "game_1_H2")
    os.truncate(tmp_path / "t.h5", 20_000)
    with pytest.raises(DataError, match=r"t.h5: cannot be read or is cut off, unpack it again"):
        half_names(tmp_path / "t.h5")


def test_what_is_no_half_is_left_out(tmp_path):
    write_tactical(tmp_path / "t.h5", {"metadata": np.zeros((1, 14))}.items())
    with pytest.raises(DataError, match="no half, whose name ends in _H1 or _H2; it has 'metadata'"):
        half_names(tmp_path / "t.h5")
    write_tactical(
        tmp_path / "t.h5", {"metadata": np.zeros((1, 14)), "game_1_H1": half_rows(10)}.items()
    )
    assert half_names(tmp_path / "t.h5") == ["game_1_H1"]


# --- the cache


@pytest.fixture
def season(tmp_path):
    """A data folder with one match of the val split."""
    rows = half_rows(1000)
    later = rows.copy()
    later[:, Tactical.FRAME] += 70_000
    write_tactical(tmp_path / "val_tactical_data.h5", {"game_1_H1": rows, "game_1_H2": later}.items())
    return tmp_path


def test_a_prepared_half_equals_its_rows_and_is_mapped(season):
    path = season / "val_tactical_data.h5"
    halves = open_halves(season, "val")
    assert list(halves) == ["game_1_H1", "game_1_H2"]
    for name, half in halves.items():
        assert_same_half(half, dense(read_rows(path, name), name))
        assert isinstance(_owner(half.state), mmap.mmap)
        assert not half.state.flags.writeable


def _owner(array):
    """What the memory of an array belongs to."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def test_a_window_equals_reading_the_half_and_filtering_rows(season):
    half = open_halves(season, "val")["game_1_H2"]
    start = half.first_frame + 123
    part = half.window(start, start + 750)
    state, labels = plain_window.window(season / "val_tactical_data.h5", "game_1_H2", start, start + 750)
    np.testing.assert_array_equal(part.state, state)
    np.testing.assert_array_equal(part.labels, labels)
    assert labels.any()


def test_a_challenge_half_comes_out_of_the_cache_without_labels(tmp_path):
    write_tactical(tmp_path / "challenge_tactical_data.h5", {"game_0_H1": half_rows(10)[:, :13]}.items())
    for _ in range(2):
        assert open_halves(tmp_path, "challenge")["game_0_H1"].labels is None


def test_the_second_time_nothing_is_read_from_the_tactical_file(season, monkeypatch):
    first = open_halves(season, "val")
    monkeypatch.setattr(cache_module, "read_rows", None)
    again = open_halves(season, "val")
    for name in first:
        assert_same_half(again[name], first[name])


def test_a_changed_file_is_prepared_again(season):
    path = season / "val_tactical_data.h5"
    before = open_halves(season, "val")["game_1_H1"]
    x = before.state[0].copy()
    rows = read_rows(path, "game_1_H1")
    rows[:, Tactical.X] += 1
    write_tactical(path, {"game_1_H1": rows}.items())
    after = open_halves(season, "val")
    assert list(after) == ["game_1_H1"]
    np.testing.assert_array_equal(after["game_1_H1"].state, dense(rows, "game_1_H1").state)
    np.testing.assert_array_equal(before.state[0], x)  # who has the old one open keeps it


def test_a_half_written_half_is_not_used_and_not_left(season, monkeypatch):
    """Whatever step of writing fails, the next start prepares the half again."""
    path, cache = season / "val_tactical_data.h5", season / "prepared"
    expected = dense(read_rows(path, "game_1_H1"), "game_1_H1")
    real = cache_module.atomic_write
    for fails in ("cells.npy", "meta.json"):

        def broken(target, mode="w", fails=fails):
            if target.name == fails:
                raise DataError(f"{target}: no space")
            return real(target, mode)

        with monkeypatch.context() as patched, pytest.raises(DataError, match="no space"):
            for module in (cache_module, files):
                patched.setattr(module, "atomic_write", broken)
            load_half(path, "game_1_H1", cache)
        assert [file.name for file in cache.rglob("*") if file.is_file()] == [".lock"]
    assert_same_half(load_half(path, "game_1_H1", cache), expected)


@pytest.mark.parametrize("damage", ["no meta", "empty meta", "other cells", "short cells", "no cells"])
def test_a_damaged_cache_is_made_again(season, damage):
    path, cache = season / "val_tactical_data.h5", season / "prepared"
    expected = dense(read_rows(path, "game_1_H1"), "game_1_H1")
    load_half(path, "game_1_H1", cache)
    folder = cache / "val_tactical_data" / "game_1_H1"
    assert sorted(file.name for file in folder.iterdir()) == ["cells.npy", "meta.json"]
    if damage == "no meta":
        (folder / "meta.json").unlink()
    elif damage == "empty meta":
        (folder / "meta.json").write_text("{}")
    elif damage == "other cells":
        np.save(folder / "cells.npy", np.zeros((10, 26)))
    elif damage == "short cells":
        os.truncate(folder / "cells.npy", 5000)
    else:
        (folder / "cells.npy").unlink()
    assert_same_half(load_half(path, "game_1_H1", cache), expected)


def test_a_cache_that_cannot_be_written_is_an_error(season):
    (season / "file").write_text("")
    with pytest.raises(DataError, match="file/val_tactical_data: cannot be made"):
        open_halves(season, "val", cache=season / "file")


# --- where data is


def test_data_is_found_in_the_folders_of_the_archives_and_behind_links(season, tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    (data / "link").symlink_to(season)
    (season / "loop").symlink_to(season)
    for folder in ("videos_fullHD_VAL", "videos_352x640_VAL"):
        (data / folder).mkdir()
        (data / folder / "game_1.mp4").touch()
    assert list(open_halves(data, "val")) == ["game_1_H1", "game_1_H2"]
    assert find(data, video_path("game_1")) == data / "videos_352x640_VAL" / "game_1.mp4"
    assert find(data, tactical_path("train")) is None


def test_a_missing_split_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"no train_tactical_data.h5 there .* footpass check"):
        open_halves(tmp_path, "train")


def test_the_data_folder_is_the_named_one_or_data_if_it_holds_something(season, tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTPASS_DATA", str(season))
    assert data_dir() == season.resolve()
    monkeypatch.setenv("FOOTPASS_DATA", str(season / "nowhere"))
    with pytest.raises(DataError, match=r"FOOTPASS_DATA=.*nowhere: no such folder"):
        data_dir()


def test_without_a_name_the_data_folder_is_the_one_beside_the_package(tmp_path, monkeypatch):
    monkeypatch.delenv("FOOTPASS_DATA", raising=False)
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    assert data_dir() is None
    (tmp_path / "data" / "tactical_data_VAL").mkdir(parents=True)
    assert data_dir() is None  # a folder without tactical data
    write_tactical(tmp_path / "data" / "tactical_data_VAL" / "val_tactical_data.h5", {}.items())
    assert data_dir() == (tmp_path / "data").resolve()


# --- the command


def test_of_processes_that_come_at_once_one_prepares(season):
    path, cache = season / "val_tactical_data.h5", season / "prepared"
    for _ in range(10):
        start = threading.Barrier(4)

        def prepare(_, start=start):
            start.wait()
            return load_half(path, "game_1_H1", cache)

        with ThreadPoolExecutor(4) as pool:
            assert len({half.n_frames for half in pool.map(prepare, range(4))}) == 1
        shutil.rmtree(cache)


def test_prepare_prepares_every_split_once(season, tmp_path, capsys, monkeypatch):
    shutil.copy(season / "val_tactical_data.h5", season / "train_tactical_data.h5")
    monkeypatch.setenv("FOOTPASS_CACHE", str(tmp_path / "elsewhere"))
    assert main(["prepare", str(season)]) == 0
    assert "train: 2 halves" in capsys.readouterr().out
    out = prepared_dir(season)
    assert out.parent == tmp_path / "elsewhere"
    for split in ("train", "val"):
        meta = out / f"{split}_tactical_data" / "game_1_H1" / "meta.json"
        assert json.loads(meta.read_text())["labelled"] is True
    assert not (season / "prepared").exists()


def test_prepare_of_a_folder_without_data_is_an_error(tmp_path, capsys):
    assert main(["prepare", str(tmp_path)]) == 2
    assert "no train_tactical_data.h5 or val_tactical_data.h5" in capsys.readouterr().err
