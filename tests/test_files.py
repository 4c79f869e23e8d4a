import gc
import os
import pickle
import resource
import signal
import stat
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from footpass.data.paths import release_dir
from footpass.data.video import write_video
from footpass.files import (
    PROJECT,
    DataError,
    atomic_write,
    fingerprint,
    identity,
    inside,
    locked,
    protected,
    sources,
)
from footpass.training.checkpoints import save_checkpoint


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


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out.txt").symlink_to("disk/real.txt")
    for text in ("first", "second"):  # of a link that leads nowhere yet, too
        with atomic_write(tmp_path / "out.txt") as stream:
            stream.write(text)
        assert (tmp_path / "out.txt").is_symlink() and (tmp_path / "disk/real.txt").read_text() == text


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_private_file_stays_private_also_while_it_is_written(tmp_path, mode):
    path = tmp_path / "out"
    path.touch(0o600)
    with atomic_write(path, mode):
        (temporary,) = tmp_path.glob(".*.tmp")
        assert temporary.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_write_protected_file_is_refused(tmp_path):
    path = tmp_path / "out"
    path.write_text("earlier")
    path.chmod(0o444)
    with (
        pytest.raises(DataError, match="out: cannot be written: is write-protected"),
        atomic_write(path),
    ):
        pass
    assert path.read_text() == "earlier" and os.listdir(tmp_path) == ["out"]


def test_what_is_read_is_not_written_whatever_it_is_called(tmp_path):
    (tmp_path / "data").write_text("rows")
    (tmp_path / "link").symlink_to("data")
    with protected([tmp_path / "data"]), atomic_write(tmp_path / "other") as stream:
        stream.write("x")
    for name in ("data", "link"):
        with (
            protected([tmp_path / "data"]),
            pytest.raises(DataError, match=f"{name}: cannot be written: is what the command reads"),
            atomic_write(tmp_path / name),
        ):
            pass
    assert (tmp_path / "data").read_text() == "rows"


@pytest.mark.parametrize("mode", ["w", "wb", "w+b"])
def test_a_pipe_is_written_into(tmp_path, mode):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with atomic_write(tmp_path / "pipe", mode) as stream:
        stream.write("text" if mode == "w" else b"text")
    assert os.read(reader, 9) == b"text" and stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    os.close(reader)


def test_standard_output_goes_on_where_it_was(tmp_path):
    """It may be a file, which the shell has open: replaced, what is printed later would be lost."""
    code = (
        "from footpass.files import atomic_write\n"
        "print('before')\n"
        "with atomic_write('/dev/stdout') as stream: stream.write('within\\n')\n"
        "print('after')"
    )
    with open(tmp_path / "out", "w") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True, cwd=PROJECT)
    assert (tmp_path / "out").read_text() == "before\nwithin\nafter\n"


def test_an_error_of_another_file_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(FileNotFoundError, match="input"), atomic_write(tmp_path / "out"):
        (tmp_path / "input").read_text()
    assert not os.listdir(tmp_path)


@contextmanager
def files_of_at_most(size):
    """The kernel refuses to write files beyond a size, as it does on a full disk."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def write_hdf5(path):
    with atomic_write(path, "w+b") as stream, h5py.File(stream, "w") as file:
        for name in "abc":
            rows = np.random.default_rng(0).random((500, 14), np.float32)
            file.create_dataset(name, data=rows, chunks=(100, 14), compression="gzip")
            file.flush()


def write_mp4(path):
    write_video(path, np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), np.uint8))


def write_zip(path):
    with atomic_write(path, "wb") as stream, zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", os.urandom(50_000))


def write_array(path):
    with atomic_write(path, "wb") as stream:
        np.save(stream, np.zeros((4000, 3)))


def write_checkpoint(path):
    save_checkpoint(path, {}, {"model": torch.zeros(20_000)})


@pytest.mark.usefixtures("capsys")  # whose stderr is no file
@pytest.mark.parametrize("size", [0, 1, 600, 3000, 30_000])
@pytest.mark.parametrize("write", [write_hdf5, write_mp4, write_zip, write_array, write_checkpoint])
def test_a_full_disk_is_one_error_and_leaves_the_earlier_file(tmp_path, write, size):
    unraisable = []
    hook, sys.unraisablehook = sys.unraisablehook, unraisable.append
    path = tmp_path / "out"
    path.write_text("earlier")
    try:
        with (
            files_of_at_most(size),
            pytest.raises(DataError, match="out: cannot be written: File too large"),
        ):
            write(path)
        gc.collect()
    finally:
        sys.unraisablehook = hook
    assert path.read_text() == "earlier" and os.listdir(tmp_path) == ["out"] and not unraisable
    write(path)  # HDF5 and FFmpeg are in order
    assert path.stat().st_size > 30_000


def test_a_name_never_leads_out_of_its_folder(tmp_path):
    assert inside(tmp_path, "demo-2", "--name") == tmp_path / "demo-2"
    for name in ("../x", "a/b", "/etc", "..", ".", "", "a\\b"):
        with pytest.raises(DataError, match="--name .* a name of a folder in .*, not a path"):
            inside(tmp_path, name, "--name")


def test_a_folder_is_locked_for_others_and_open_to_its_holder(tmp_path):
    code = (
        "import sys; from footpass.files import locked\n"
        "with locked(sys.argv[1], waits=False): print('at work')"
    )
    other = [sys.executable, "-c", code, str(tmp_path)]
    with locked(tmp_path), locked(tmp_path, waits=False):
        run = subprocess.run(other, capture_output=True, text=True, cwd=PROJECT)
    assert f"process {os.getpid()} on " in run.stderr and "is at work there" in run.stderr
    assert subprocess.run(other, capture_output=True, text=True, cwd=PROJECT).stdout == "at work\n"


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
