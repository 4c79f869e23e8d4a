"""Two at work in one folder: the second waits where both can do useful work, else says who is there."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from footpass.__main__ import main
from footpass.data.paths import tactical_path
from footpass.data.provenance import Provenance, mark_season, read_provenance
from footpass.data.tactical import half_names
from footpass.events import write_events
from footpass.files import DataError, locked
from footpass.importers.match import ImportConfig, import_match
from footpass.training.config import TrainConfig
from footpass.training.loop import train
from tests import seasons
from tests.importers.test_import import clip
from tests.tables import truth


@contextmanager
def behind(folder: Path, caplog, work: Callable, *args) -> Iterator[Future]:
    """Let another thread begin something, which waits for what this one does in the folder."""
    with ThreadPoolExecutor(1) as pool, locked(folder):
        later = pool.submit(work, *args)
        while "waiting for it" not in caplog.text and not later.done():
            time.sleep(0.01)
        assert not later.done()
        yield later


def elsewhere(work: Callable, *args):
    """What it gives in another thread, for which a lock of this one holds."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work, *args).result()


def test_two_imports_at_once_keep_both_matches(tmp_path, caplog):
    parts = [clip(range(60))]
    with behind(tmp_path, caplog, import_match, tmp_path, parts, ImportConfig(game=2)) as later:
        import_match(tmp_path, parts, ImportConfig(game=1))
    assert later.result()
    assert half_names(tmp_path / tactical_path("val")) == ["game_1_H1", "game_2_H1"]


def test_splits_that_are_simulated_at_once_are_both_marked(tmp_path, caplog):
    made = Provenance(simulated=True, seed=3)
    with behind(tmp_path, caplog, mark_season, tmp_path, "val", made) as later:
        mark_season(tmp_path, "train", made)
    later.result()
    assert all(read_provenance(tmp_path / tactical_path(split)) == made for split in ("train", "val"))


def test_of_two_that_label_at_once_the_second_finds_the_first(tmp_path, caplog, capsys):
    half = next(iter(seasons.FIRST))
    data, events, out = (tmp_path / name for name in ("data", "events.json", "out"))
    data.mkdir()
    seasons.write(data, {half: {(seasons.FIRST[half] + 40, 2): 2}}, split="val")
    write_events(truth((seasons.FIRST[half] + 41, 0, 32, 3), halves=(half,)), events)
    command = ["label", "--events", str(events), "--data", str(data), "--out", str(out)]
    with behind(out, caplog, main, command) as later:
        assert main(command) == 0
    assert later.result() == 2 and "there already" in capsys.readouterr().err


def test_of_two_seasons_at_once_the_second_says_who_is_there(tmp_path, capsys):
    command = ["simulate", "--out", str(tmp_path), "--matches", "1", "--minutes", "0.2", "--no-video"]
    with locked(tmp_path / ".simulate_train"):
        assert elsewhere(main, [*command, "--split", "train"]) == 2
    assert "is at work there: wait for it, or choose another folder" in capsys.readouterr().err


def test_of_two_trainings_at_once_the_second_says_who_is_there(tmp_path):
    config = TrainConfig(epochs=1, lr={"weight": 0.1, "bias": 0.1})
    model, data = nn.Linear(1, 1), torch.zeros(4, 1)
    with locked(tmp_path), pytest.raises(DataError, match="is at work there"):
        elsewhere(train, model, config, lambda epoch: data, lambda m, x: m(x).mean(), tmp_path)
