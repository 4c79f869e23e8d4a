"""Damaged files: each reader takes what it is given or raises one DataError, never anything else."""

import json
import random

import h5py
import numpy as np
import pytest

from benchmarks.bench_window import half_rows
from footpass.data.halves import dense
from footpass.data.logits import read_logits
from footpass.data.tactical import half_names, read_rows, write_tactical
from footpass.data.video import VideoReader
from footpass.events import read_events
from footpass.files import DataError
from tests.data.test_video import SMALL, encode
from tests.fuzz import changed


def damaged(content, rng):
    """Some bytes changed, most of them where a file's headers are; or it is cut off."""
    content = bytearray(content)
    if rng.random() < 0.1:
        return content[: rng.randrange(len(content))]
    for _ in range(rng.randint(1, 8)):
        size = rng.choice((1, 1, 1, 2, 4, 8))
        near = rng.choice((len(content), 2000, 2000)) - size
        at = rng.randrange(max(1, min(near, len(content) - size)))
        at = rng.choice((at, at, len(content) - size - at))  # an index may be at the end
        content[at : at + size] = rng.choice((rng.randbytes(size), b"\xff" * size, bytes(size)))
    return content


def survives(read, content, path, cases):
    """Share of the damaged copies that are taken; whatever is raised but a DataError is a failure."""
    taken = 0
    for seed in range(cases):
        path.write_bytes(damaged(content, random.Random(seed)))
        try:
            read(path)
            taken += 1
        except DataError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
    return taken / cases


@pytest.mark.filterwarnings("ignore")  # of numbers that overflow
@pytest.mark.parametrize("packed", [True, False])
def test_tactical_files(tmp_path, packed):
    rows = {"game_1_H1": half_rows(8), "game_1_H2": half_rows(4)[:, :13]}
    write_tactical(tmp_path / "good.h5", rows.items())
    if not packed:
        with h5py.File(tmp_path / "good.h5", "w") as file:
            file.update(rows)

    def read(path):
        for name in half_names(path):
            dense(read_rows(path, name), name, path)

    read(tmp_path / "good.h5")
    content = (tmp_path / "good.h5").read_bytes()
    assert 0.05 < survives(read, content, tmp_path / "bad.h5", 200) < 0.95


def test_logit_stores(tmp_path):
    half = dense(half_rows(8), "game_1_H1")
    with h5py.File(tmp_path / "good.h5", "w") as file:
        volume = np.ones((9, 26, half.end_frame), np.float16)
        file.create_dataset(half.name, data=volume, chunks=True, compression="gzip")
    read_logits(tmp_path / "good.h5", half)
    content = (tmp_path / "good.h5").read_bytes()
    taken = survives(lambda path: read_logits(path, half), content, tmp_path / "bad.h5", 200)
    assert 0.05 < taken < 0.95


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_videos(tmp_path, name):
    content = encode(tmp_path / name, {"g": "10", "bf": "2"}, n=40).read_bytes()

    def read(path):
        with VideoReader(path, SMALL) as reader:
            reader.frames([0, 30, 39, 5])

    read(tmp_path / name)
    assert 0.05 < survives(read, content, tmp_path / f"bad_{name}", 60) < 0.95


def test_play_by_play_files(tmp_path):
    events = {"game_1_H1": [[60, 0, 10, 2, 0.5], [90, 1, 7, 3, 0.25]], "game_1_H2": [[5000, 0, 1, 1, 1]]}
    official = {"keys": list(events), "events": events}
    taken = 0
    for seed in range(200):
        rng = random.Random(seed)
        content = json.dumps(changed(official if seed % 2 else events, rng)).encode()
        path = tmp_path / "events.json"
        path.write_bytes(damaged(content, rng) if rng.random() < 0.3 else content)
        try:
            taken += len(read_events(path)) >= 0
        except DataError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
    assert 10 < taken < 190
