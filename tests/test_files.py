import os
import pickle

import pytest

from footpass.data.paths import release_dir
from footpass.files import DataError, atomic_write, fingerprint


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


def test_a_release_that_is_named_and_not_there_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTPASS_RELEASE", str(tmp_path))
    with pytest.raises(DataError, match="FOOTPASS_RELEASE"):
        release_dir()
    (tmp_path / "playbyplay_GT").mkdir()
    assert release_dir() == tmp_path
