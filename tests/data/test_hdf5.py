"""HDF5 from anywhere: only plain tables in the file itself are read; why others are not is named."""

import fcntl
import os

import h5py
import numpy as np
import pytest

from footpass.data.halves import dense
from footpass.data.logits import read_logits
from footpass.data.tactical import read_rows
from footpass.files import DataError, strictly
from footpass.schema import N_CLASSES, N_SLOTS
from tests.data.test_halves import row, table

HALF = "game_1_H1"
ROWS = table(*(row(frame, 0, 3) for frame in range(20)))


def link(file):
    file["other"] = ROWS
    file[HALF] = h5py.SoftLink("/other")


def other_file(file):
    with h5py.File(file.filename + ".other", "w") as other:
        other[HALF] = ROWS
    file[HALF] = h5py.ExternalLink(file.filename + ".other", HALF)


def external(file):
    secret = file.filename + ".secret"
    with open(secret, "wb") as stream:
        stream.write(ROWS.tobytes())
    size = ROWS.nbytes
    file.create_dataset(HALF, ROWS.shape, "f4", external=[(secret, 0, size)])


def virtual(file):
    file["other"] = ROWS
    layout = h5py.VirtualLayout(ROWS.shape, "f4")
    layout[:] = h5py.VirtualSource(file["other"])
    file.create_virtual_dataset(HALF, layout)


def named_type(file):
    file["type"] = np.dtype("f4")
    file.create_dataset(HALF, data=ROWS, dtype=file["type"])


KINDS = {
    "a link": (link, "is a link to something else"),
    "a link in a circle": (
        lambda file: file.update({HALF: h5py.SoftLink("/" + HALF)}),
        "is a link to something else",
    ),
    "a link to another file": (other_file, "is a link to something else"),
    "external storage": (external, "its numbers lie in other files"),
    "a virtual dataset": (virtual, "its numbers lie in other files"),
    "a named type": (named_type, "has a named type"),
    "a group": (lambda file: file.create_group(HALF), "no half game_1_H1; it has game_1_H1"),
    "nothing": (lambda file: file.update({HALF: h5py.Empty("f4")}), "is empty, without a shape"),
    "text": (lambda file: file.update({HALF: np.full((9, 14), b"a")}), "type |S1 instead of float32"),
    "whole numbers": (lambda file: file.update({HALF: np.ones((9, 14), int)}), "type int64 instead of"),
    "half precision": (
        lambda file: file.update({HALF: ROWS.astype("f2")}),
        "type float16 instead of float32: it rounds frames above 2048",
    ),
    "rows without end": (
        lambda file: file.create_dataset(HALF, (10**12, 14), "f4", chunks=(10_000, 14)),
        "1,000,000,000,000 rows: no half has more than 2,600,000",
    ),
    "a chunk without end": (
        lambda file: file.create_dataset(
            HALF, (2**24, 14), "f4", chunks=(2**24, 14), compression="gzip"
        ),
        "chunks of (16777216, 14) numbers would fill the memory",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_half_that_is_no_plain_table_is_refused(tmp_path, kind):
    make, reason = KINDS[kind]
    path = tmp_path / "t.h5"
    with h5py.File(path, "w") as file:
        make(file)
    with pytest.raises(DataError) as error:
        read_rows(path, HALF)
    assert str(error.value).startswith(f"{path}: ") and reason in str(error.value)


def test_why_a_file_cannot_be_opened_is_named(tmp_path):
    path = tmp_path / "t.h5"
    with h5py.File(path, "w") as file:
        file[HALF] = ROWS
    with open(path, "r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="is locked by another program"):
            read_rows(path, HALF)
    np.testing.assert_array_equal(read_rows(path, HALF), ROWS)
    with pytest.raises(DataError, match="is a folder"):
        read_rows(tmp_path, HALF)
    if os.geteuid():  # root may read anything
        path.chmod(0)
        with pytest.raises(DataError, match="may not be read"):
            read_rows(path, HALF)


# --- logits


def store(path, change=lambda volume: volume, **attributes):
    volume = np.random.default_rng(0).normal(size=(N_CLASSES, N_SLOTS, 120)).astype(np.float16)
    with h5py.File(path, "w") as file:
        file[HALF] = change(volume)
        file[HALF].attrs.update(attributes)
    return volume


@pytest.fixture
def half():
    """Frames 20 to 119."""
    return dense(table(*(row(frame, 0, 3) for frame in range(20, 120))), HALF)


def test_logits_are_those_of_the_halfs_frames(tmp_path, half):
    for dtype in (np.float16, np.float32, np.float64):
        volume = store(tmp_path / "l.h5", lambda volume, dtype=dtype: volume.astype(dtype))
        np.testing.assert_array_equal(read_logits(tmp_path / "l.h5", half), volume[:, :, 20:])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_named_by_frame(tmp_path, half, value):
    def spoil(volume):
        volume[3, 4, [5, 31, 40]] = value  # 5 is before the half
        return volume

    store(tmp_path / "l.h5", spoil)
    with pytest.raises(DataError, match=r"l.h5: half game_1_H1: the logits of frame 31 are not finite"):
        read_logits(tmp_path / "l.h5", half)


def test_logits_a_few_frames_short_detect_nothing_there(tmp_path, half, caplog):
    volume = store(tmp_path / "l.h5", lambda volume: volume[:, :, :50])
    read = read_logits(tmp_path / "l.h5", half)
    assert read.shape == (N_CLASSES, N_SLOTS, 100)
    np.testing.assert_array_equal(read[:, :, :30], volume[:, :, 20:50])
    assert not read[:, :, 30:].any()
    assert "half game_1_H1: logits end 70 frames before it" in caplog.text
    with strictly(), pytest.raises(DataError, match="logits end 70 frames before it"):
        read_logits(tmp_path / "l.h5", half)
    store(tmp_path / "l.h5", lambda volume: volume[:, :, :44])
    with pytest.raises(DataError, match=r"logits of shape \(9, 26, 44\) instead of \(9, 26, 120\)"):
        read_logits(tmp_path / "l.h5", half)


def test_logits_of_a_half_that_begins_elsewhere_are_refused(tmp_path, half):
    store(tmp_path / "l.h5", first_frame=19)
    with pytest.raises(DataError, match="made of a half that begins at frame 19, not 20"):
        read_logits(tmp_path / "l.h5", half)
