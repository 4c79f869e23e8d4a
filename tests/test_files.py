import os
import pickle
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from footpass.data.paths import release_dir
from footpass.files import DataError, atomic_write, fingerprint, identity, sources


def test_an_error_has_parts_and_reads_as_one_line():
    error = DataError("score 2 is outside 0..1", "p.json", "game_1_H1", 7)
    assert (error.file, error.half, error.row) == ("p.json", "game_1_H1", 7)
    assert str(error) == "p.json: half game_1_H1, row 7: score 2 is outside 0..1"
    assert str(DataError("no events", "p.json", row=0)) == "p.json: row 0: no events"
    assert str(DataError("no halves")) == DataError("no halves").reason == "no halves"


def test_an_error_comes_whole_from_another_process():
    error = DataError("score 2 is outside 0..1", "p.json", "game_1_H1", 7)
    again = pickle.loads(pickle.dumps(error))
    assert vars(again) == vars(error) and str(again) == str(error)


def test_a_place_is_added_where_it_was_not_known():
    error = DataError("no frame 9", "match.mp4").at("another.mp4", half="game_1_H1")
    assert str(error) == "match.mp4: half game_1_H1: no frame 9"


def test_a_writer_that_fails_leaves_the_earlier_file_and_nothing_else(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("earlier")
    with pytest.raises(RuntimeError), atomic_write(path) as stream:
        stream.write("half of it")
        raise RuntimeError
    assert path.read_text() == "earlier" and os.listdir(tmp_path) == ["out.txt"]


def test_no_space_on_the_device_is_a_data_error_and_the_earlier_file_stays(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("earlier")
    with pytest.raises(DataError, match="No space left"), atomic_write(path):
        raise OSError(28, "No space left on device")
    assert path.read_text() == "earlier" and os.listdir(tmp_path) == ["out.txt"]


def test_written_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    with atomic_write(tmp_path / "ours") as stream:
        stream.write("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_fingerprint_depends_on_content_and_order(tmp_path):
    a, b, c = (tmp_path / name for name in "abc")
    a.write_text("1"), b.write_text("2"), c.write_text("1")
    assert fingerprint(a, b) == fingerprint(c, b) != fingerprint(b, a)


def test_fingerprints_tell_values_from_each_other():
    @dataclass(frozen=True)
    class Config:
        size: int = 1

    table = pd.DataFrame({"half": pd.Categorical(["a"], categories=["a", "b"]), "frame": [1]})
    parts = [
        None, "1", 1, [1], {"size": 2}, Config(3), np.zeros(4), np.zeros(4, "f4"), np.zeros((2, 2)),
        table, table.assign(frame=2), table.assign(half=table["half"].cat.set_categories(["a"])),
    ]  # fmt: skip
    assert len({fingerprint(part) for part in parts}) == len(parts)
    assert fingerprint(Config()) == fingerprint({"size": 1}) == fingerprint(Config(size=1))
    assert fingerprint(table) == fingerprint(table.copy())
    grid = np.arange(12.0).reshape(3, 4)
    assert fingerprint(grid.T.copy().T) == fingerprint(grid) != fingerprint(grid + 1)


def test_a_file_that_is_replaced_by_one_of_its_size_and_time_is_another(tmp_path):
    file = tmp_path / "data.h5"
    seen = []
    for content in "ab":
        (tmp_path / "new").write_text(content)
        os.utime(tmp_path / "new", (1_700_000_000, 1_700_000_000))
        os.replace(tmp_path / "new", file)
        seen.append(identity(file))
    assert seen[0][:3] == seen[1][:3] and seen[0] != seen[1]


def test_sources_are_the_code_of_some_wings():
    names = {file.name for file in sources("ensemble", "schema.py")}
    assert {"rescore.py", "schema.py"} <= names and "files.py" not in names
    assert set(sources("ensemble")) < set(sources())


def test_a_release_that_is_named_and_not_there_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTPASS_RELEASE", str(tmp_path))
    with pytest.raises(DataError, match="FOOTPASS_RELEASE"):
        release_dir()
    (tmp_path / "playbyplay_GT").mkdir()
    assert release_dir() == tmp_path
