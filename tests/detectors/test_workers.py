"""`predict` by several workers: what one process writes, errors, workers that are lost."""

import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import h5py
import pytest
import torch

from footpass.__main__ import main
from footpass.data.cache import open_footage
from footpass.data.logits import logits_path
from footpass.data.video import VideoReader
from footpass.detectors.clips import ClipConfig
from footpass.detectors.predict import Run, Workers, predict_together
from footpass.events import predictions_path
from footpass.files import DataError
from footpass.models.gnn import TAADGNN, GNNConfig
from footpass.models.taad import TAAD, TAADConfig
from footpass.models.x3d import X3DConfig
from footpass.training.checkpoints import save_checkpoint
from tests import seasons
from tests.cluster import cluster, kill_one_at_work, lost_tasks

HALVES = [f"game_{match}_H{half}" for match in (1, 2) for half in (1, 2)]
KINDS = ("taad", "gnn")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a season, and a checkpoint of each kind."""
    work = tmp_path_factory.mktemp("work")
    seasons.write(work / "data", {name: {} for name in HALVES}, "val")
    x3d = X3DConfig(4, (4, 8, 8, 8), (1, 1, 1, 1))
    clips = asdict(ClipConfig(frames=50, size=(32, 48), earliest=15, latest=35))
    torch.manual_seed(0)
    graph = TAADGNN(GNNConfig(width=8, visual=8, graph=8, head=16, x3d=x3d))
    for name, model in zip(KINDS, (TAAD(TAADConfig(width=8, head=16, x3d=x3d)), graph), strict=True):
        config = {"kind": type(model).__name__, "model": asdict(model.config), "about": {"clips": clips}}
        save_checkpoint(work / f"{name}.pt", config, {"model": model.state_dict(), "row": {}})
    return work


def predict(out: Path, *options: str) -> list[str]:
    """The command, of both checkpoints, by paths from the folder that ``out`` is in."""
    given = ("--checkpoint", *(f"{kind}.pt" for kind in KINDS), "--data", "data")
    return ["predict", *given, "--out", *(f"{out.name}/{kind}" for kind in KINDS), *options]


def written(out: Path) -> list:
    """All that is in the files below, and their names."""
    found: list = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    for kind in KINDS:
        found.append(predictions_path(out / kind, "val").read_text())
        with h5py.File(logits_path(out / kind, "val")) as file:
            for name, logits in file.items():
                found += [name, logits.attrs["made_of"], logits[...].tobytes()]
    return found


def test_two_processes_write_bit_for_bit_what_one_does(work, monkeypatch):
    monkeypatch.chdir(work)
    for name, workers in (("one", "1"), ("two", "2")):
        assert main(predict(work / name, "--workers", workers)) == 0
    assert written(work / "two") == written(work / "one")


@pytest.fixture
def call(work, tmp_path):
    """Let an executor predict with both checkpoints into a folder."""

    def call(executor):
        runs = [Run(work / f"{kind}.pt", tmp_path / kind) for kind in KINDS]
        footage = open_footage(work / "data", "val")
        return predict_together(runs, footage, "val", workers=Workers(executor, work / "data"))

    return call


def test_halves_that_are_done_stay_done_after_an_error(call, tmp_path, monkeypatch):
    frames, decoded, broken = VideoReader.frames, [], ["game_2.mp4"]

    def watched(self, indices):
        if self.path.name in broken:
            raise DataError("cannot be decoded", self.path)
        decoded.append(self.path.name)
        return frames(self, indices)

    monkeypatch.setattr(VideoReader, "frames", watched)
    with ThreadPoolExecutor(1) as executor, pytest.raises(DataError, match="game_2.mp4: cannot be"):
        call(executor)
    for kind in KINDS:
        parts = {path.stem for path in (tmp_path / kind / "logits_val.h5.parts").iterdir()}
        assert {"game_1_H1", "game_1_H2"} <= parts and not parts & {"game_2_H1", "game_2_H2"}
    broken.clear()
    decoded.clear()
    with ThreadPoolExecutor(2) as executor:
        first = call(executor)
    assert "game_2.mp4" in decoded and "game_1.mp4" not in decoded
    (tmp_path / "gnn" / "logits_val.h5").unlink()
    with ThreadPoolExecutor(2) as executor:
        again = call(executor)  # of the GNN alone
    assert [a.equals(b) for a, b in zip(first, again, strict=True)] == [True, True]
    assert not list(tmp_path.rglob("*.parts"))
    assert [len(table) for table in call(Pretending())] == [len(table) for table in first]  # not asked


class Pretending(Executor):
    """Does nothing: of the first task it says how that ended, of the others nothing yet."""

    def __init__(self, error: Exception | None = None) -> None:
        self.futures: list[Future] = []
        self.error = error

    def submit(self, fn, /, *args, **kwargs):
        self.futures.append(future := Future())
        if len(self.futures) == 1:
            future.set_exception(self.error) if self.error else future.set_result(None)
        return future


@pytest.mark.parametrize(
    ("error", "said"),
    [(DataError("a fault"), "a fault"), (None, "game_1_H1: a worker wrote it elsewhere")],
)
def test_after_an_error_the_rest_is_cancelled(call, error, said):
    """Also where a worker's part is not there, for its folder is another machine's."""
    executor = Pretending(error)
    with pytest.raises(DataError, match=said):
        call(executor)
    assert [future.cancelled() for future in executor.futures] == [False] + 3 * [True]


def test_workers_beside_torchrun_are_refused(work, monkeypatch, capsys):
    monkeypatch.chdir(work)
    monkeypatch.setattr("footpass.training.distributed.rank_and_world", lambda: (0, 2))
    assert main(predict(work / "none", "--workers", "2")) == 2
    assert "torchrun, --workers and --dask do the same" in capsys.readouterr().err


def start(command: list[str]) -> subprocess.Popen:
    footpass = (sys.executable, "-m", "footpass")
    return subprocess.Popen([*footpass, *command], stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_three_dask_workers_one_killed_write_what_one_process_does(work, tmp_path, monkeypatch):
    """Scheduler and workers are processes of their own, in another working folder."""
    monkeypatch.chdir(work)
    long = ("--stride", "2")  # so that one can be killed while at work
    assert main(predict(work / "alone", *long)) == 0
    with cluster(tmp_path, 3) as client:
        dask = ("--dask", client.scheduler.address)
        spread = start(predict(work / "spread", *long, *dask))
        while not list(work.glob("spread/*/*.parts/.*.tmp")) and spread.poll() is None:
            time.sleep(0.02)
        kill_one_at_work(client)
        while not (lost := lost_tasks(client)) and spread.poll() is None:
            time.sleep(0.02)
        said = spread.communicate()[1]
        assert spread.returncode == 0, said
        assert lost and len(client.scheduler_info()["workers"]) == 2
        assert "4/4" in said  # halves, by the bar
        assert written(work / "spread") == written(work / "alone")

        wrong = start(predict(work / "wrong", "--stride", "51", *dask))
        error = "error: stride 51: windows of 50 frames would leave gaps"
        assert (wrong.communicate()[1].splitlines()[-1], wrong.returncode) == (error, 2)
