"""The DST from the command line: trains and predicts on tactical data and on play-by-play, bad input."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from footpass.__main__ import main
from footpass.data.logits import logits_path
from footpass.data.paths import tactical_path
from footpass.data.provenance import read_provenance
from footpass.data.tactical import write_tactical
from footpass.events import halves_of, predictions_path, read_predictions, select_halves, write_events
from footpass.experiments.play_by_play import leave_one_match_out
from footpass.experiments.pretraining import pretrain_dst, pretraining_recipe
from footpass.experiments.profile import load_profile, varied
from footpass.experiments.release import PREDICTION_FILES, TRUTH_FILES, Release
from footpass.files import DataError
from footpass.models.dst import DST, DSTConfig
from footpass.models.player_dst import PlayerDSTConfig
from footpass.sequence.decode import load_dst, open_recorded, predict_events
from footpass.sequence.recipes import DSTRecipe
from footpass.sequence.train import train_dst
from footpass.sequence.windows import WindowConfig
from footpass.simulate.detections import released_detectors, simulate_detections
from footpass.simulate.events import simulate_season
from footpass.simulate.logits import perfect_logits
from footpass.training.checkpoints import LAST, checkpoint_path
from footpass.training.config import TrainConfig
from tests import seasons

EVENTS = {
    "train": {"game_1_H1": {(40, 0): 1, (80, 2): 2}, "game_1_H2": {(340, 20): 4}},
    "val": {"game_1_H1": {(60, 2): 2}, "game_1_H2": {(350, 0): 2}},
}


def logits(run: Path, split: str, halves=tuple(seasons.FIRST)) -> None:
    """A logit store with noise in it."""
    run.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    with h5py.File(logits_path(run, split), "w") as store:
        for name in halves:
            volume = np.zeros((9, 26, seasons.FIRST[name] + seasons.LENGTH[name]), np.float16)
            volume[..., seasons.FIRST[name] :] = rng.normal(size=(9, 26, seasons.LENGTH[name]))
            store[name] = volume


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("season")
    for split, halves in EVENTS.items():
        rows = {name: seasons.rows(name, events) for name, events in halves.items()}
        write_tactical(folder / tactical_path(split), rows.items())
        for run in ("taad", "gnn"):
            logits(folder / run, split)
    return folder


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def test_a_fused_dst_trains_and_predicts(data, tmp_path, capsys):
    runs = data / "taad", data / "gnn"
    what = ["--data", data, "--logits", *runs, "--out", tmp_path, "--profile", "smoke"]
    code, out, err = run(capsys, "train", "dst", *what, "--weighting", "sqrt", "--epochs", 2)
    assert code == 0 and f"{checkpoint_path(tmp_path)}: macro F1 0." in out
    model, windows = load_dst(checkpoint_path(tmp_path))
    assert model.config.fusion == "concat" and windows.window_length == 100
    again = ["--checkpoint", checkpoint_path(tmp_path), "--data", data, "--out", tmp_path / "events"]
    code, out, err = run(capsys, "predict", *again, "--logits", *runs)
    assert code == 0, err
    events = read_predictions(predictions_path(tmp_path / "events", "val"))
    wanted = predict_events(model, open_recorded(data, "val", runs), windows)
    assert halves_of(events) == list(EVENTS["val"])
    np.testing.assert_array_equal(events["frame"], wanted["frame"])
    np.testing.assert_array_equal(events["jersey"], wanted["jersey"])
    np.testing.assert_allclose(events["score"], wanted["score"])

    code, _, err = run(capsys, "predict", *again, "--logits", runs[0])
    assert code == 2 and "fusion 'concat' reads the logits of 2 model(s), the halves have 1" in err
    code, _, err = run(capsys, "predict", *again)
    assert code == 2 and "a DST reads logits: name the runs that made them with --logits" in err
    code, _, err = run(capsys, "predict", *again, "--logits", *runs, "--adjustment", "some.json")
    assert code == 2 and "a DST has no logits to adjust: --adjustment is for detectors" in err


def test_logits_come_in_the_order_that_was_learned(data, tmp_path, capsys):
    for name, model in (("taad", "TAAD 1"), ("gnn", "TAADGNN 2"), ("other", "TAADGNN 3")):
        for split in EVENTS:
            logits(tmp_path / name, split)
            with h5py.File(logits_path(tmp_path / name, split), "r+") as store:
                for half in store.values():
                    half.attrs["made_by"] = model
    taad, gnn, other = tmp_path / "taad", tmp_path / "gnn", tmp_path / "other"
    what = ["--data", data, "--out", tmp_path, "--profile", "smoke", "--epochs", 1]
    assert run(capsys, "train", "dst", *what, "--logits", taad, gnn)[0] == 0
    predict = ["predict", "--checkpoint", checkpoint_path(tmp_path), "--data", data, "--out", tmp_path]
    code, _, err = run(capsys, *predict, "--logits", gnn, taad)
    assert code == 2
    assert "it learned from logits of TAAD 1, then TAADGNN 2, not of TAADGNN 2, then TAAD 1" in err
    assert run(capsys, *predict, "--logits", taad, gnn)[0] == 0
    written = read_provenance(predictions_path(tmp_path, "val")).models
    assert written[0].startswith("PlayerDST ") and written[1:] == ("TAAD 1", "TAADGNN 2")
    assert run(capsys, *predict, "--logits", taad, other)[0] == 0  # said, for it may be meant


def test_gnn_logits_of_a_half_that_are_missing_are_named(data, tmp_path, capsys):
    for split in EVENTS:
        logits(tmp_path / "gnn", split, ["game_1_H1"])
    what = ["--logits", data / "taad", tmp_path / "gnn", "--out", tmp_path / "out"]
    code, _, err = run(capsys, "train", "dst", "--data", data, *what, "--profile", "smoke")
    assert code == 2 and f"{logits_path(tmp_path / 'gnn', 'train')}: no half game_1_H2" in err
    assert err.splitlines()[-1].startswith("error: ")


def test_logits_of_four_detectors_are_fused_and_of_five_are_not(data, tmp_path, capsys):
    runs = [data / "taad", data / "gnn"] * 2
    what = ["--data", data, "--out", tmp_path, "--profile", "smoke", "--epochs", 1]
    assert run(capsys, "train", "dst", *what, "--logits", *runs)[0] == 0
    assert load_dst(checkpoint_path(tmp_path))[0].config.fusion == "concat4"
    again = ["--checkpoint", checkpoint_path(tmp_path), "--data", data, "--out", tmp_path]
    assert run(capsys, "predict", *again, "--logits", *runs)[0] == 0
    code, _, err = run(capsys, "train", "dst", *what, "--logits", *runs, data / "taad")
    assert code == 2 and "--logits: 5 runs, expected one, or up to 4" in err


def test_variants_are_trained_in_folders_of_their_own_and_go_on(data, tmp_path, capsys):
    what = ["--data", data, "--logits", data / "taad", "--out", tmp_path, "--profile", "smoke"]
    train = ("train", "dst", *what, "--variant", "A", "D", "--set", "model.width=32")
    code, out, err = run(capsys, *train)
    assert code == 0, err
    for name, branch in (("A", "serial"), ("D", "parallel")):
        assert f"{checkpoint_path(tmp_path / name)}: macro F1 0." in out and f"{name}: cpu" in out
        config = load_dst(checkpoint_path(tmp_path / name))[0].config
        assert (config.branch, config.branch_width, config.width) == (branch, 8, 32)
    before = checkpoint_path(tmp_path / "A").stat().st_mtime_ns
    assert run(capsys, *train)[0] == 0
    assert checkpoint_path(tmp_path / "A").stat().st_mtime_ns == before  # it was finished
    # What goes on from a variant's model is told that it is this one's.
    again = [*train[:7], tmp_path / "again", *train[8:]]
    assert run(capsys, *again, "--variant", "A", "--from", checkpoint_path(tmp_path / "A"))[0] == 0
    code, _, err = run(capsys, *again, "--from", checkpoint_path(tmp_path / "A"))
    assert code == 2 and "A/best.pt: not the model of variant D: leave out --from" in err
    code, _, err = run(capsys, *train[:-2], "--variant", "A", "E")
    assert code == 2 and "profile smoke has no variant 'E'; it has transformer, A, B, C, D" in err


def test_a_model_and_its_windows_agree():
    with pytest.raises(DataError, match="the model is for windows of 750 frames, not of 500"):
        DSTRecipe(DSTConfig(), WindowConfig(window_length=500), TrainConfig())


def test_training_goes_on_from_a_pretraining(data, tmp_path):
    """With a learning rate of next to nothing the weights stay; what is no size may differ."""
    recipe = load_profile("smoke").dst
    pretrain_dst(recipe, tmp_path / "first")
    start = tmp_path / "first" / LAST
    halves = open_recorded(data, "train", [data / "taad"])
    still = replace(
        recipe,
        model=replace(recipe.model, forget=0.0, min_probability=0.2),
        train=replace(recipe.train, lr={"": 1e-12}),
    )
    train_dst(still, lambda epoch: halves, np.ones(8), tmp_path / "then", start=start)
    before, after = (load_dst(path)[0] for path in (start, tmp_path / "then" / LAST))
    assert after.config.min_probability == 0.2
    for name, weight in before.state_dict().items():
        np.testing.assert_allclose(after.state_dict()[name], weight, atol=1e-6)
    other = replace(recipe, model=replace(recipe.model, width=32))
    with pytest.raises(DataError, match="last.pt: its weights are not of this PlayerDST"):
        train_dst(other, lambda epoch: halves, np.ones(8), tmp_path / "other", start=start)


def test_a_dst_is_pretrained_from_the_command_line(data, tmp_path, capsys, monkeypatch):
    """It begins with the weights that its pre-training ended with, whose matches are simulated."""
    begun = []
    monkeypatch.setattr("footpass.sequence.train.load_weights", lambda *given: begun.append(given[-1]))
    what = ["--data", data, "--logits", data / "taad", "--out", tmp_path / "run", "--profile", "smoke"]
    code, _, err = run(capsys, "train", "dst", *what, "--pretrain", "--set", "pretraining.minutes=0.2")
    assert code == 0, err
    first = tmp_path / "run" / "pretraining" / LAST
    assert begun == [first] and load_dst(first)[0].config.forget == PlayerDSTConfig().forget
    code, _, err = run(capsys, "train", "dst", *what, "--pretrain", "--set", "pretraining=none")
    assert code == 2 and "this profile's DST has no pre-training" in err


def test_pretraining_begins_with_detectors_that_are_never_wrong(tmp_path, monkeypatch):
    profile = load_profile("smoke")
    recipe, taught = varied(profile, "A").dst, profile.dst.pretraining
    windows = replace(recipe.windows, short_epochs=1, short_length=50)
    train = replace(taught.train, epochs=3)
    taught = replace(taught, clear_epochs=1, windows=windows, train=train)
    with pytest.raises(DataError, match="a PlayerDST reads whole windows"):
        replace(profile.dst, pretraining=taught)
    seen = []
    monkeypatch.setattr(
        "footpass.experiments.pretraining.train_dst",
        lambda recipe, halves, *rest: seen.append((recipe, [halves(epoch) for epoch in range(3)])),
    )
    pretrain_dst(pretraining_recipe(replace(recipe, pretraining=taught)), tmp_path)
    (used, (clear, *noisy)) = seen[0]
    assert used.windows == windows
    for name, one in clear.items():
        np.testing.assert_array_equal(one.logits[0], perfect_logits(one.half))
        assert not np.array_equal(noisy[0][name].logits[0], one.logits[0])
        np.testing.assert_array_equal(noisy[0][name].logits[0], noisy[1][name].logits[0])


def test_pretraining_is_of_the_recipe_alone(tmp_path, monkeypatch):
    """The same twice, wherever its matches are kept; they are simulated once."""
    recipe = load_profile("smoke").dst
    pretrain_dst(recipe, tmp_path / "one")
    pretrain_dst(recipe, tmp_path / "two", shared=tmp_path)
    assert len(list(tmp_path.glob("season-pretraining-*"))) == 1
    assert not list((tmp_path / "two").glob("season*"))
    one, two = (load_dst(tmp_path / folder / LAST)[0].state_dict() for folder in ("one", "two"))
    assert all((one[name] == two[name]).all() for name in one)
    (season,) = (tmp_path / "one").glob("season*")
    made = (season / tactical_path("train")).stat().st_mtime_ns
    pretrain_dst(recipe, tmp_path / "one")
    assert (season / tactical_path("train")).stat().st_mtime_ns == made
    monkeypatch.setattr("footpass.experiments.pretraining.train_dst", lambda *args: [])
    longer = replace(recipe.pretraining, minutes=0.5)
    pretrain_dst(replace(recipe, pretraining=longer), tmp_path / "one")
    assert len(list((tmp_path / "one").glob("season*"))) == 2  # others learn from matches of their own


# --- play-by-play alone


@pytest.fixture(scope="module")
def small():
    """A match to train on and three to validate on, of a few minutes."""
    truth = simulate_season(4, minutes=4, seed=0)
    halves = halves_of(truth)
    train, val = select_halves(truth, halves[:2]), select_halves(truth, halves[2:])
    return Release(train, val, simulate_detections(val, released_detectors(), seed=0), files=())


def test_no_match_is_scored_by_a_model_that_knows_its_detections(small, tmp_path):
    """Each match's model is trained on the others: changing a match changes its own events alone."""
    recipe = load_profile("smoke").play_by_play
    first = [half for half in halves_of(small.val) if half.startswith("game_1_")]
    taad = small.predictions["TAAD"]
    other = taad[~(taad["half"].isin(first) & (np.arange(len(taad)) % 2 == 0))]
    tables = [
        leave_one_match_out(recipe, small.train, {"TAAD": table}, small.val, tmp_path / name)
        for name, table in (("one", taad), ("other", other))
    ]
    states = [
        {match: model.state_dict()["heads.weight"] for match, model in result.models.items()}
        for result in tables
    ]
    same = {match: bool((states[0][match] == states[1][match]).all()) for match in states[0]}
    assert same == {"game_1": True, "game_2": False, "game_3": False}


def test_play_by_play_from_the_command_line(small, tmp_path, capsys):
    for split, file in TRUTH_FILES.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        write_events(getattr(small, split), tmp_path / file)
    for model, file in PREDICTION_FILES.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        write_events(small.predictions[model], tmp_path / file)
    out = tmp_path / "out"
    what = ["--release", tmp_path, "--out", out, "--profile", "smoke"]
    code, said, err = run(capsys, "train", "play-by-play", *what)
    assert code == 0, err
    assert "leaving one match out" in said
    events = read_predictions(predictions_path(out, "val"))
    assert halves_of(events) == halves_of(small.val)
    folds = sorted(path.name for path in out.iterdir() if path.is_dir())
    assert folds == ["game_1+game_2", "game_1+game_3", "game_2+game_3"]
    assert isinstance(load_dst(out / folds[0] / LAST)[0], DST)
    events_before = json.loads(predictions_path(out, "val").read_text())
    run(capsys, "train", "play-by-play", *what)  # finished runs are not trained again
    assert json.loads(predictions_path(out, "val").read_text()) == events_before
