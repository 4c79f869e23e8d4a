"""Detectors in folds: who learns from what, logits by the fold that has not, other seasons, starts."""

import shutil
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import folds as benchmark
from footpass.__main__ import main
from footpass.data.cache import open_footage
from footpass.data.logits import logits_path, made_by, read_logits
from footpass.data.paths import tactical_path
from footpass.data.tactical import write_tactical
from footpass.detectors import train as training
from footpass.detectors.folds import held_out_by, make_folds
from footpass.detectors.predict import predict
from footpass.events import halves_of, match_of, predictions_path, read_predictions
from footpass.files import DataError, fingerprint
from footpass.schema import Tactical
from footpass.training.checkpoints import checkpoint_path, load_checkpoint, save_checkpoint
from tests import seasons

EVENTS = {
    "game_1_H1": {(40, 0): 1, (80, 2): 2},
    "game_2_H1": {(60, 14): 3, (130, 2): 2},
    "game_2_H2": {(340, 20): 4},
    "game_3_H1": {(100, 0): 5, (50, 2): 2},
}
HELD_OUT = [{"game_1_H1", "game_3_H1"}, {"game_2_H1", "game_2_H2"}]  # from which of two folds
SMOKE = ("--profile", "smoke", "--epochs", "1")
FEW = ("--set", "validation=1")  # clips per class to validate on


def season(folder: Path, events=EVENTS) -> Path:
    seasons.write(folder, events)
    return seasons.write(folder, {"game_1_H1": {(60, 2): 2, (100, 14): 1}}, "val")


def footpass(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def trained(data: Path, out: Path, folds: int = 2, model: str = "taad", *more) -> int:
    return footpass("train", model, "--data", data, "--out", out, "--folds", folds, *SMOKE, *FEW, *more)


def weights(checkpoint: Path) -> torch.Tensor:
    state = load_checkpoint(checkpoint)["model"]
    return torch.cat([state[name].flatten().float() for name in sorted(state)])


def best(run: Path) -> list[Path]:
    return [checkpoint_path(run / f"fold{number}") for number in range(2)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return season(tmp_path_factory.mktemp("season"))


@pytest.fixture(scope="module")
def taad(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("taad")
    assert trained(data, run) == 0
    return run


def test_each_match_is_held_out_by_one_fold_and_its_checkpoint_says_so(data, taad):
    for checkpoint, held_out in zip(best(taad), HELD_OUT, strict=True):
        learned = load_checkpoint(checkpoint)["config"]["about"]["learned"]
        assert set(learned) == set(EVENTS) - held_out
    footage = open_footage(data, "train")
    for count in (2, 3):
        folds = make_folds(taad, count, footage)
        held_out = [footage.keys() - fold.footage.keys() for fold in folds]
        assert sorted(name for part in held_out for name in part) == sorted(EVENTS)
        matches = [set(map(match_of, part)) for part in held_out]
        assert all(a.isdisjoint(b) for i, a in enumerate(matches) for b in matches[:i])


def test_a_fold_is_the_same_whatever_happens_in_the_match_that_it_is_without(data, taad, tmp_path):
    """Of another game 2, fold 1 learns the very weights that it has; fold 0 others."""
    changed = {**EVENTS, "game_2_H1": {(70, 20): 4, (150, 0): 6}}
    assert trained(season(tmp_path / "data", changed), tmp_path / "run") == 0
    pairs = zip(best(taad), best(tmp_path / "run"), strict=True)
    assert [torch.equal(*map(weights, pair)) for pair in pairs] == [False, True]


def test_each_half_has_the_logits_of_the_fold_without_it_and_a_dst_learns_from_them(
    data, taad, tmp_path
):
    footage = open_footage(data, "train")
    out = tmp_path / "out"
    arguments = ("--checkpoint", taad, "--data", data, "--split", "train", "--out", out)
    assert footpass("predict", "--folds", *arguments) == 0
    for checkpoint, held_out in zip(best(taad), HELD_OUT, strict=True):
        predict(checkpoint, footage, checkpoint.parent, "train")
        for name, entry in footage.items():
            own = read_logits(logits_path(checkpoint.parent, "train"), entry.half)
            of_folds = read_logits(logits_path(out, "train"), entry.half)
            assert np.array_equal(own, of_folds) == (name in held_out)
    assert halves_of(read_predictions(predictions_path(out, "train"))) == list(EVENTS)

    store = logits_path(out, "train")
    assert made_by(store) == f"TAAD {fingerprint(*best(taad))}"
    before = store.read_bytes()
    assert footpass("predict", "--folds", *arguments) == 0  # is there
    assert store.read_bytes() == before
    predict(best(taad)[0], open_footage(data, "val"), out, "val")
    assert footpass("train", "dst", "--data", data, "--logits", out, "--out", out, *SMOKE) == 0
    learned = load_checkpoint(checkpoint_path(out))["config"]["about"]["provenance"]["models"]
    assert learned == [made_by(store)]

    same = [data, out, out, "--out", tmp_path / "dst", "--profile", "smoke", "--seeds", 1]
    found = benchmark.main([str(argument) for argument in same])
    assert astuple(found.gains["held out"]) == (0, 0, 0)


@pytest.mark.parametrize("count", [1, 4, 0, -1])
def test_there_are_two_folds_at_least_and_a_match_for_each(data, tmp_path, capsys, count):
    assert trained(data, tmp_path / "run", count) == 2
    assert "of 3 matches: take at least 2, each with a match" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_folds_of_another_season_are_refused(data, taad, tmp_path, capsys):
    def refused(folder: Path) -> str:
        out = ("--checkpoint", taad, "--data", folder, "--split", "train", "--out", tmp_path / "out")
        assert footpass("predict", "--folds", *out) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    moved = season(tmp_path / "moved")
    rows = {name: seasons.rows(name, events) for name, events in EVENTS.items()}
    rows["game_3_H1"][:, Tactical.X] += 0.1
    write_tactical(moved / tactical_path("train"), rows.items())
    message = "half game_3_H1: the fold learned from another, of another season?"
    assert f"{best(taad)[1]}: {message}" in refused(moved)
    fewer = season(tmp_path / "fewer", {name: EVENTS[name] for name in list(EVENTS)[:3]})
    assert message in refused(fewer)
    more = season(tmp_path / "more", {**EVENTS, "game_4_H1": {}})
    assert "half game_4_H1: 2 folds of 2 hold its match out, not one" in refused(more)


def test_what_broke_off_goes_on_and_is_not_predicted_with(data, taad, tmp_path, monkeypatch):
    run, footage = tmp_path / "run", open_footage(data, "train")
    with pytest.raises(DataError, match="no folds there: train with --folds first"):
        held_out_by(run, footage)

    def broken(recipe, train, val, folder, *args, learn=training.train_detector, **more):
        if folder.name == "fold1":
            raise DataError("the power is cut")
        return learn(recipe, train, val, folder, *args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(training, "train_detector", broken)
        assert trained(data, run) == 2
    with pytest.raises(DataError, match=r"half game_2_H1: 0 folds of 1 hold its match out, not one"):
        held_out_by(run, footage)
    done = best(run)[0].read_bytes()
    assert trained(data, run) == 0
    assert best(run)[0].read_bytes() == done
    for one, other in zip(best(run), best(taad), strict=True):
        assert torch.equal(weights(one), weights(other))


def test_a_graph_starts_from_the_taad_without_the_same_matches(data, taad, tmp_path, caplog):
    assert trained(data, tmp_path, 2, "gnn", "--from", taad) == 0
    for graph, start in zip(best(tmp_path), best(taad), strict=True):
        about = load_checkpoint(graph)["config"]["about"]
        assert about["start"] == fingerprint(start)
        assert about["learned"] == load_checkpoint(start)["config"]["about"]["learned"]
    assert "if it has learned from these matches" not in caplog.text


def test_what_would_start_from_a_match_that_it_is_without_is_refused(data, taad, tmp_path, caplog):
    footage = open_footage(data, "train")
    for fold in make_folds(tmp_path, 3, footage):
        fold.dir.mkdir()
        save_checkpoint(checkpoint_path(fold.dir), {"about": fold.about}, {"model": {}})
    with pytest.raises(DataError, match="its folds are not the 2 to be trained: take as many"):
        make_folds(tmp_path / "gnn", 2, footage, tmp_path)
    make_folds(tmp_path / "gnn", 2, footage, best(taad)[0])  # nobody knows where it comes from
    assert f"{best(taad)[0]}: if it has learned from these matches" in caplog.text


@pytest.mark.parametrize(
    "more", [(), ("--split", "train", "--logits", "x"), ("--split", "train", "--fit-adjustment", "x")]
)
def test_folds_predict_the_logits_of_train_alone(data, taad, tmp_path, capsys, more):
    where = ("--checkpoint", taad, "--data", data, "--out", tmp_path)
    assert footpass("predict", "--folds", *where, *more) == 2
    assert "--folds is for logits of --split train" in capsys.readouterr().err


def test_folds_of_several_settings_are_not_one_detector(data, taad, tmp_path, capsys):
    run = shutil.copytree(taad, tmp_path / "run")
    content = load_checkpoint(best(run)[1])
    content["config"]["about"]["clips"]["grow"] = 1.2
    save_checkpoint(best(run)[1], content.pop("config"), content)
    out = ("--data", data, "--split", "train", "--out", tmp_path / "out")
    assert footpass("predict", "--folds", "--checkpoint", run, *out) == 2
    assert "folds of several settings: train them all in one way" in capsys.readouterr().err
