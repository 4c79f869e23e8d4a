"""Outputs of all commands on a full disk.

A command first writes its outputs whole, then again on a small disk (tmpfs) that holds them already and
has no room for them twice, and where they are several, anew with room for the first few of them.
Right is: exit code 2, one line that begins with "error:" and speaks of space, earlier files intact or
replaced by whole ones, no temporary file left. Where the room is enough after all: all outputs, whole.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import h5py
import nbformat
import numpy as np
import pandas as pd
import pytest

from footpass.events import halves_of, select_halves
from footpass.experiments.release import PREDICTION_FILES, TRUTH_FILES, simulate_release, write_release
from footpass.files import PROJECT
from footpass.schema import FPS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root: it mounts disks"),
]

_HALF = "game_2001_H1"
_PAGE = 4096  # bytes: what a tmpfs counts in

# Runs commands in processes that have imported already what takes seconds.
_SERVER = """
import json, os, sys
import footpass.cli.predict, footpass.ensemble.rescore, footpass.plots.views, torch.utils.tensorboard
import footpass.experiments.publishing
from footpass.__main__ import script

for line in sys.stdin:
    arguments, stderr = json.loads(line)
    if os.fork() == 0:
        sys.argv[1:] = arguments
        os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(2, 1)
        sys.exit(script())
    os.write(1, b"%d\\n" % os.waitstatus_to_exitcode(os.wait()[1]))
"""
_NOTEBOOK = (
    "profile = None\nrun_dir = None",
    "import matplotlib.pyplot as plt\nfrom footpass.report.run import start_run",
    "run = start_run('x', profile=profile, run_dir=run_dir)",
    "figure = plt.figure()\nrun.figure(figure, 'plot', caption='c', alt='a')\nrun.finish()",
)
SMOKE = ["--profile", "smoke"]
_GRID = 'seeds = [0]\n[[rows]]\nname = "TAAD"\nmodel = "taad"\n'


class Case(NamedTuple):
    """What makes outputs, and what there is to do before they are made once more."""

    command: list
    deleted: tuple[str, ...] = ()
    copied: tuple[Path, ...] = ()  # inputs that lie on the disk too
    again: tuple = ()  # options
    place: str = "runs/disk"  # of the disk, in the copy of the project


class Bench:
    """A copy of the project, a season, a detector with its predictions, a release, and a disk."""

    def __init__(self, folder: Path) -> None:
        self.project, self.season, self.release = (folder / n for n in ("project", "season", "release"))
        self.taad, self.dst, self.stderr = (folder / name for name in ("taad", "dst", "stderr"))
        self.steps, self.rescorer = folder / "steps.json", folder / "rescorer.json"
        self.video = folder / "radar.mp4"  # of a size that no model reads
        self.disk = self.project / Case([]).place
        taad, dst = (self.release / file for file in PREDICTION_FILES.values())
        self.events = ["--predictions", dst, "--evidence", taad]
        self.both = ["--predictions", dst, taad, *SMOKE]
        self.known = ["--ground-truth", self.release / TRUTH_FILES["val"]]

    def prepare(self) -> None:
        """Make all there is to be, and start the server."""
        ignored = shutil.ignore_patterns("__pycache__")
        for name in ("footpass", "notebooks"):
            shutil.copytree(PROJECT / name, self.project / name, ignore=ignored)
        shutil.copy(PROJECT / "pyproject.toml", self.project)
        (self.project / "README.md").write_text("No tables.")
        cells = [nbformat.v4.new_code_cell(code) for code in _NOTEBOOK]
        cells[0].metadata["tags"] = ["parameters"]
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# T\n\n**Q?**"), *cells])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python", "language": "python"}
        nbformat.write(book, self.project / "notebooks" / "x.ipynb")
        (self.project / "notebooks" / "grid.toml").write_text(_GRID)
        self.server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            cwd=self.project,
            env=os.environ | {"PYTHONPATH": str(self.project), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        simulated = simulate_release(1)
        predictions = {name: begin(table) for name, table in simulated.predictions.items()}
        tables = {"train": begin(simulated.train), "val": begin(simulated.val)}
        write_release(self.release, tables, predictions, "a release", simulated.provenance)
        plan = ["--matches", 1, "--minutes", 0.8]
        data = ["--data", self.season, "--out", self.taad]
        for command in (
            ["simulate", "--out", self.season, "--split", "train", *plan],
            ["simulate", "--out", self.season, "--split", "val", *plan, "--as", "gsr"],
            ["train", "taad", *data, *SMOKE, "--epochs", 1],
            ["predict", *data, "--checkpoint", self.taad / "best.pt", "--split", "train"],
            ["predict", *data, "--checkpoint", self.taad / "best.pt"],
            ["train", "dst", *data[:2], *SMOKE, "--logits", self.taad, "--out", self.dst],
            ["postprocess", "fit", *self.events, *self.known, "--out", self.steps],
            ["rescore", "fit", *self.both, *self.known, "--out", self.rescorer],
            ["view", self.season, _HALF, "--view", "radar", "--seconds", 24, "--out", self.video],
            ["report", "notebooks/x.ipynb", *SMOKE, "--name", "done"],
        ):
            assert self.run(command)[0] == 0, self.stderr.read_text()

    def run(self, command: list) -> tuple[int, str]:
        """Exit code of a command, and what it says."""
        print(json.dumps([[*map(str, command)], str(self.stderr)]), file=self.server.stdin, flush=True)
        return int(self.server.stdout.readline()), self.stderr.read_text(errors="replace")

    def outputs(self) -> list[Path]:
        """Files on the disk, in the order of their writing."""
        files = [path for path in self.disk.rglob("[!.]*") if path.is_file() and path.name != "filler"]
        return sorted(files, key=lambda path: path.stat().st_mtime_ns)


def begin(events: pd.DataFrame) -> pd.DataFrame:
    """The first six minutes of each match."""
    return select_halves(events[events["frame"] < 6 * 60 * FPS], halves_of(events)[::2])


@contextmanager
def disk(folder: Path, kept: list[Path], room: int) -> Iterator[None]:
    """A small disk at a folder, with these of its files and so much room."""
    content = folder.with_name(f"{folder.name}-content")
    folder.rename(content)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=True)
    try:
        for path in kept:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(content / path.relative_to(folder), path)
        free = os.statvfs(folder).f_bavail * _PAGE
        with open(folder / "filler", "wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, free - room)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)
        shutil.rmtree(folder)
        content.rename(folder)


def scoring(bench: Bench) -> dict[str, Case]:
    """Commands that read events."""
    out, found = bench.disk / "o.json", bench.taad / "predictions_val.json"
    rescore = [*bench.both, "--cache", bench.disk / "cache"]
    export = ["export", "--predictions", found, "--data", bench.season, "--threshold", 0]
    return {
        "evaluate": Case(["evaluate", *bench.events[:2], *bench.known, "--json", out]),
        "submit": Case(["submit", "--predictions", found, "--out", bench.disk / "o.zip"]),
        "postprocess fit": Case(["postprocess", "fit", *bench.events, *bench.known, "--out", out]),
        "postprocess lomo": Case(["postprocess", "lomo", *bench.events, *bench.known, "--out", out]),
        "postprocess apply": Case(
            ["postprocess", "apply", *bench.events, "--model", bench.steps, "--out", out]
        ),
        "rescore fit": Case(["rescore", "fit", *rescore, *bench.known, "--out", out]),
        "rescore lomo": Case(["rescore", "lomo", *rescore, *bench.known, "--out", out], ("cache",)),
        "rescore apply": Case(["rescore", "apply", *rescore, "--model", bench.rescorer, "--out", out]),
        "export cdf": Case([*export, "cdf", "--score", "1-0", "2-0", "--out", bench.disk / "cdf"]),
        **{
            f"export {form}": Case([*export, form, "--out", bench.disk / f"o.{form}"])
            for form in ("spadl", "osl", "sportscode", "srt", "csv")
        },
    }


def seasons(bench: Bench) -> dict[str, Case]:
    """Commands that write data folders, or show what is in one."""
    out, data = bench.disk, bench.season
    plan = ["simulate", "--matches", 1, "--minutes", 0.4, "--workers", 1, "--out", out]
    truth, tracks = data / "playbyplay_GT/playbyplay_val.json", data / f"as_gsr/{_HALF}.json"
    video, view = data / "videos/game_2001.mp4", ["view", data, _HALF, "--out"]
    train, val = "train_tactical_data.h5", "val_tactical_data.h5"
    spot = ["spot", video, "--tracks", tracks, "--checkpoint", bench.taad / "best.pt"]
    return {
        "check": Case(["check", data, "--json", out / "o.json"]),
        "prepare": Case(["prepare", out], ("prepared",), (data / val,)),
        "simulate": Case(plan, (train,)),
        "simulate without video": Case([*plan, "--no-video"], (train,)),
        "simulate gsr, mot, kloppy": Case(
            [*plan, "--no-video", "--as", "gsr", "mot", "kloppy"], (train,)
        ),
        "import": Case(["import", "gsr", tracks, "--out", out], (val,)),
        "import and transcode": Case(
            ["import", "gsr", tracks, "--video", bench.video, "--out", out], (val, "videos")
        ),
        "label": Case(
            ["label", "--events", truth, "--data", data, "--out", out], (train, "playbyplay_GT")
        ),
        "view mp4": Case([*view, out / "o.mp4", "--seconds", 4]),
        "view png": Case([*view, out / "o.png"]),
        "spot": Case([*spot, "--seconds", 2, "--out", out], ("data",)),
        "report-match": Case(["report-match", "--data", data, "--half", _HALF, "--out", out / "o.html"]),
    }


def models(bench: Bench) -> dict[str, Case]:
    """Commands that train or compute."""
    out, more, zoo = ["--out", bench.disk], ("--epochs", 2), PROJECT / "footpass/zoo"
    data = ["--data", bench.season]
    detector = ["predict", *data, "--checkpoint", bench.taad / "best.pt"]
    dst = ["predict", *data, "--checkpoint", bench.dst / "best.pt", "--logits", bench.taad]
    taad = ["train", "taad", *data, *SMOKE, "--epochs", 1, *out]
    logits = ["train", "dst", *data, *SMOKE, "--logits", bench.taad]
    grid = ["ablate", *data, *SMOKE, "--grid", bench.project / "notebooks/grid.toml"]
    return {
        # A training goes on: anew, it would replace its own checkpoints.
        "train taad": Case(taad, again=more),
        "train for TensorBoard": Case([*taad, "--tracker", "tensorboard"], again=more),
        "train gnn": Case(["train", "gnn", *data, *SMOKE, "--epochs", 1, *out], again=more),
        "train dst": Case([*logits, *out], again=more),
        # The prepared season is a cache of its files, and copies are others: it is made anew.
        "train dst after simulated matches": Case(
            [*logits, "--pretrain", *out], ("pretraining/season-*/prepared",), again=more
        ),
        "train play-by-play": Case(
            ["train", "play-by-play", *SMOKE, "--release", bench.release, *out], again=more
        ),
        "predict": Case([*detector, *out], ("logits_val.h5",)),
        "predict of a DST": Case([*dst, *out]),
        "onnx": Case(["onnx", bench.taad / "best.pt", bench.disk / "o.onnx"]),
        "adjustment": Case([*detector, "--out", bench.taad, "--fit-adjustment", bench.disk / "a.json"]),
        "ablate": Case([*grid, "--name", bench.disk.name]),
        "report": Case(["report", "notebooks/x.ipynb", *SMOKE, "--name", bench.disk.name]),
        "publish": Case(["publish", "done"], place="reports/done"),
        "publish models": Case(
            ["publish", "smoke", "--models", "taad"], copied=(zoo / "__init__.py",), place="footpass/zoo"
        ),
    }


def commands(bench: Bench) -> dict[str, Case]:
    return scoring(bench) | seasons(bench) | models(bench)


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("bench"))
    bench.prepare()
    yield bench
    bench.server.stdin.close()
    bench.server.wait()


def assert_whole(path: Path) -> None:
    """Read a file to its end, if its kind tells where that is."""
    if path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".html":
        assert path.read_text().rstrip().endswith("</html>")
    elif path.suffix == ".h5":
        h5py.File(path).close()
    elif path.suffix == ".npy":
        np.load(path)
    elif path.suffix in (".pt", ".zip"):
        assert zipfile.ZipFile(path).testzip() is None


def kinds(bench: Bench) -> dict[str, int]:
    """Names of the files on the disk, one of several that differ in numbers, and which is the last."""
    names = (path.relative_to(bench.disk).as_posix() for path in bench.outputs())
    return {re.sub(r"\d", "", name): number for number, name in enumerate(names)}


@pytest.mark.parametrize("name", commands(Bench(Path())))
def test_a_full_disk_is_one_line_and_earlier_files_stay(name, bench, monkeypatch):
    case = commands(bench)[name]
    monkeypatch.setattr(bench, "disk", bench.project / case.place)
    shutil.rmtree(bench.disk, ignore_errors=True)
    bench.disk.mkdir(parents=True)
    inputs = [Path(shutil.copy(file, bench.disk)) for file in case.copied]
    right, said = bench.run(case.command)
    assert right in (0, 1), said
    outputs = bench.outputs()
    sizes = [-(-path.stat().st_size // _PAGE) * _PAGE * (path not in inputs) for path in outputs]
    made = kinds(bench)

    def fails(command: list, kept: list[Path], room: int) -> None:
        before = {path: path.read_bytes() for path in kept}
        with disk(bench.disk, kept, room):
            code, said = bench.run(command)
            *_, last = said.replace("\r", "\n").splitlines() or [""]
            if room and code == right:  # what is left there already needs no room
                assert kinds(bench).keys() == made.keys()
            else:
                assert code == 2 and last.startswith("error: ") and "space" in last, (code, said)
                assert said.count("error: ") == 1
            assert "Traceback" not in said and "Exception ignored" not in said
            assert not list(bench.disk.rglob(".*.tmp"))
            assert all(path.read_bytes() == before[path] for path in kept if not room)
            assert {*kept} <= {*bench.outputs()}
            for path in bench.outputs():
                assert_whole(path)

    gone = [path for name in case.deleted for path in bench.disk.glob(name)]
    kept = [path for path in outputs if not any(map(path.is_relative_to, gone))]
    for room in {0, max(sizes) // 2 // _PAGE * _PAGE}:
        fails([*case.command, *case.again], kept, room)
    for number in made.values() if len(made) > 1 else ():  # anew, with room for all that come before
        if outputs[number] not in inputs:
            room = sum(sizes[:number]) + sizes[number] // 2 // _PAGE * _PAGE
            fails(case.command, inputs, room)
