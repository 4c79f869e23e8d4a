"""Training a TAAD: it can learn by heart, it trains and predicts from the command line, bad input."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset, default_collate

from footpass.__main__ import main
from footpass.configs import PROFILES
from footpass.data.cache import open_footage
from footpass.data.logits import logits_path
from footpass.detectors import train as training
from footpass.detectors.augment import Augmentation
from footpass.detectors.clips import Clip, ClipDataset
from footpass.detectors.predict import load_detector
from footpass.detectors.recipes import TAADRecipe
from footpass.detectors.spotting import (
    LogitAdjustment,
    events_from_store,
    guessed_events,
    write_adjustment,
)
from footpass.detectors.train import ClipLoss, clip_figures, train_detector
from footpass.events import predictions_path, read_predictions
from footpass.experiments.profile import load_profile
from footpass.files import DataError
from footpass.models.taad import TAAD, TAADConfig
from footpass.models.x3d import X3DConfig
from footpass.schema import ACTION_LABELS, ACTIONS, Action
from footpass.training.checkpoints import LAST, checkpoint_path, load_checkpoint
from footpass.training.config import TrainConfig
from footpass.training.loop import train
from tests import seasons

H1, H2 = "game_1_H1", "game_1_H2"
SMOKE = load_profile("smoke").taad
EVENTS = {
    "train": {H1: {(40, 0): 1, (80, 2): 2, (120, 14): 3}, H2: {(340, 20): 4, (390, 2): 2}},
    "val": {H1: {(60, 2): 2, (100, 14): 1}, H2: {(350, 0): 2}},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return seasons.write_splits(tmp_path_factory.mktemp("season"), EVENTS)


# --- learning by heart


class Painted(Dataset):
    """16 clips, two of each class: at the event, noise with a bright patch where the actor is."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.clips = [self.clip(1 + i % len(ACTIONS), rng) for i in range(16)]

    @staticmethod
    def clip(cls, rng):
        frames, size, at = 12, (32, 48), int(rng.integers(4, 8))
        pixels = rng.integers(0, 60, (frames, *size, 3))
        x, y = rng.integers(0, 32), rng.integers(0, 16)
        colour = 120 * np.array([cls & 1, cls >> 1 & 1, cls >> 2 & 1]) + 75
        pixels[at - 1 : at + 2, y : y + 16, x : x + 16] = colour if cls < 8 else 0
        boxes = np.tile(np.array([x, y, x + 16, y + 16], np.float32), (2, frames, 1))
        boxes[1] = [0, 0, 8, 8] if x > 16 else [40, 24, 48, 32]  # someone else, who does nothing
        labels = np.zeros((2, frames), np.int8)
        labels[0, at - 1 : at + 2] = cls
        return Clip(
            pixels.astype(np.uint8),
            boxes,
            labels,
            slots=np.arange(2),
            state=np.zeros((5, 2, frames), np.float32),
            half=np.int64(0),
            start=np.int64(0),
            at=np.int64(at),
            warp=np.eye(2, 3, dtype=np.float32),
            colour=np.eye(3, 4, dtype=np.float32),
        )

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, index):
        return self.clips[index]


def test_sixteen_clips_are_learned_by_heart(tmp_path):
    """Over 0.95 right at the frames of the action, none found where nothing happens."""
    torch.manual_seed(0)
    clips = Painted()
    small = X3DConfig(8, (8, 16, 16, 16), (1, 1, 1, 1))
    model = TAAD(TAADConfig(small, width=32, head=64))
    config = TrainConfig(epochs=24, batch=8, lr={"": 1e-2}, max_grad_norm=1.0, weight_decay=0.0)
    before = clip_figures(model.eval(), clips, config)
    rows = train(model, config, lambda epoch: clips, ClipLoss(0.05), tmp_path)
    after = clip_figures(model.eval(), clips, config)
    assert before["accuracy"] < 0.5
    assert after["accuracy"] > 0.95
    assert rows[-1]["loss"] < 0.2 * rows[0]["loss"]


# --- loss and figures


def test_the_loss_counts_visible_frames_by_the_weight_of_their_class():
    batch = default_collate([Painted()[0], Painted()[1]])
    batch.boxes[0, 1] = torch.nan  # the other one of the first clip is not visible
    logits = torch.randn(2, 9, 2, 12, generator=torch.Generator().manual_seed(0))
    model = torch.nn.Identity()
    model.weight = torch.nn.Parameter(torch.ones(1))
    model.forward = lambda *inputs: logits
    loss, weight = ClipLoss(0.1)(model, batch)
    p = logits.log_softmax(1)
    total = norm = 0.0
    for b, m, t in np.ndindex(2, 2, 12):
        if (b, m) != (0, 1):
            cls = int(batch.labels[b, m, t])
            w = 0.1 if cls == 0 else 0.9
            total, norm = total - w * float(p[b, cls, m, t]), norm + w
    assert float(weight) == pytest.approx(norm)
    assert float(loss) == pytest.approx(total / norm, rel=1e-5)


class Perfect(torch.nn.Module):
    """Sees the labels, and turns them into logits; misses one class."""

    without_box = False

    def __init__(self, clips, missed=0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.batches = iter(
            [default_collate(clips[i : i + 3]).labels.long() for i in range(0, len(clips), 3)]
        )
        self.missed = missed

    def forward(self, *inputs):
        labels = next(self.batches)
        labels = labels.masked_fill(labels == self.missed, 0)
        return 5 * torch.nn.functional.one_hot(labels, 9).movedim(-1, 1).float()


def test_figures_of_a_perfect_model_are_perfect(data):
    footage = list(open_footage(data, "train").values())
    clips = ClipDataset(footage, replace(SMOKE.clips, dilation=0))
    every = [clips[i] for i in range(len(clips))]
    config = TrainConfig(batch=3)
    perfect = clip_figures(Perfect(every), clips, config)
    assert all(perfect.pop(f"f1/{label}") in (0.0, 1.0) for label in ACTION_LABELS)
    assert perfect == {"macro_f1": 4 / 8, "micro_f1": 1.0, "accuracy": 1.0}  # 4 of 8 classes occur
    without = clip_figures(Perfect(every, missed=Action.PASS), clips, config)
    assert without["macro_f1"] == 3 / 8 and without["accuracy"] == pytest.approx(3 / 5)


def test_processes_share_the_clips_and_all_get_the_figures_of_one(monkeypatch):
    torch.manual_seed(0)
    clips, config, shares = Painted(), TrainConfig(batch=3), []
    model = TAAD(TAADConfig(X3DConfig(8, (8, 16, 16, 16), (1, 1, 1, 1)), width=32, head=64)).eval()
    alone = clip_figures(model, clips, config)
    for rank in range(3):
        monkeypatch.setattr(training, "rank_and_world", lambda rank=rank: (rank, 3))
        monkeypatch.setattr(training, "gather", lambda mine: shares.append(mine) or [mine])
        clip_figures(model, clips, config)
    monkeypatch.setattr(training, "gather", lambda mine: shares)
    assert sorted(map(len, shares)) == [2, 2, 2] and clip_figures(model, clips, config) == alone


class Damaged(Painted):
    def __getitem__(self, index):
        raise DataError("ends at frame 40", "match.mp4", H1)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_validation_video_is_one_line_from_a_worker_too(workers):
    with pytest.raises(DataError) as error:
        clip_figures(TAAD(SMOKE.model).eval(), Damaged(), TrainConfig(workers=workers))
    assert str(error.value) == "match.mp4: half game_1_H1: ends at frame 40"


# --- from data to predictions


def test_training_and_prediction_from_the_command_line(data, tmp_path, capsys, caplog):
    out = tmp_path / "run"
    arguments = ["--data", str(data), "--out", str(out)]
    assert main(["train", "taad", *arguments, "--profile", "smoke", "--epochs", "2"]) == 0
    assert "no Kinetics weights were given: the backbone starts from random ones" in caplog.text
    assert "to learn from of class shot, header, tackle, block in these halves" in caplog.text
    assert "to validate on of class cross, throw-in, shot, header, tackle, block" in caplog.text
    assert f"{checkpoint_path(out)}: macro F1" in capsys.readouterr().out
    caplog.clear()  # a finished run begins with nothing
    assert main(["train", "taad", *arguments, "--profile", "smoke", "--epochs", "2"]) == 0
    assert "random" not in caplog.text and "no event" not in caplog.text
    best = str(checkpoint_path(out))
    assert main(["predict", "--checkpoint", best, *arguments, "--split", "val"]) == 0
    assert f"{logits_path(out, 'val')}: logits of 2 halves" in capsys.readouterr().out
    written = read_predictions(predictions_path(out, "val"))
    halves = {name: entry.half for name, entry in open_footage(data, "val").items()}
    np.testing.assert_array_equal(
        written.drop(columns="half"),
        events_from_store(logits_path(out, "val"), halves).drop(columns="half"),
    )
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [0, 1] and all(row["loss"] > 0 for row in rows)

    chosen = LogitAdjustment(1.5, (-2.0, *[0.5] * 8))
    write_adjustment(chosen, out / "adjustment.json")
    again = ["predict", "--checkpoint", best, *arguments, "--adjustment"]
    assert main([*again, str(out / "adjustment.json")]) == 0
    np.testing.assert_array_equal(
        read_predictions(predictions_path(out, "val")).drop(columns="half"),
        events_from_store(logits_path(out, "val"), halves, adjustment=chosen).drop(columns="half"),
    )
    for content, message in (
        ("[1]", "not an adjustment of logits (predict --fit-adjustment writes one)"),
        ('{"smooth": 1.0}', "LogitAdjustment.smooth: no such field"),
    ):
        (out / "bad.json").write_text(content)
        assert main([*again, str(out / "bad.json")]) == 2
        assert message in capsys.readouterr().err

    model, clips = load_detector(best)
    assert clips == SMOKE.clips and model.config == SMOKE.model


def test_two_runs_of_a_recipe_are_equal_and_another_seed_differs(data, tmp_path):
    train_footage, val_footage = (open_footage(data, split) for split in ("train", "val"))

    def losses(name, seed):
        recipe = replace(SMOKE, train=replace(SMOKE.train, epochs=2, seed=seed))
        rows = train_detector(recipe, train_footage, val_footage, tmp_path / name)
        return [row["loss"] for row in rows]

    first = losses("a", 0)
    assert first == losses("b", 0)
    assert first != losses("c", 1)


def test_fine_tuning_begins_with_the_weights_it_is_given(data, tmp_path):
    footage = open_footage(data, "train")
    recipe = replace(SMOKE, train=replace(SMOKE.train, epochs=1))
    train_detector(recipe, footage, footage, tmp_path / "first")
    start = checkpoint_path(tmp_path / "first")
    still = replace(recipe, train=replace(recipe.train, lr={"": 0.0}, seed=9))
    train_detector(still, footage, footage, tmp_path / "second", start=start)
    before, after = (
        load_checkpoint(path)["model"] for path in (start, checkpoint_path(tmp_path / "second"))
    )
    learned = dict(TAAD(SMOKE.model).named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in learned)
    other = replace(recipe, model=replace(recipe.model, width=recipe.model.width + 8))
    with pytest.raises(DataError, match=r"model\.width"):
        train_detector(other, footage, footage, tmp_path / "third", start=start)


def test_a_run_of_another_recipe_is_not_continued(data, tmp_path):
    footage = open_footage(data, "train")
    one = replace(SMOKE, train=replace(SMOKE.train, epochs=1))
    train_detector(one, footage, footage, tmp_path)
    before = (tmp_path / LAST).read_bytes()
    other = replace(one, clips=replace(one.clips, dilation=2))
    with pytest.raises(DataError, match=r"of another config: about.clips"):
        train_detector(other, footage, footage, tmp_path)
    assert (tmp_path / LAST).read_bytes() == before


def test_a_run_on_another_season_is_not_continued(data, tmp_path):
    footage = open_footage(data, "train")
    recipe = replace(SMOKE, train=replace(SMOKE.train, epochs=1))
    train_detector(recipe, footage, footage, tmp_path / "run")
    other = seasons.write(tmp_path, {H1: EVENTS["train"][H1], H2: {(341, 20): 4, (390, 2): 2}})
    with pytest.raises(DataError, match=r"of another config: about.events"):
        train_detector(recipe, open_footage(other, "train"), footage, tmp_path / "run")


def test_the_best_epoch_is_chosen_on_one_set_of_clips(data, tmp_path):
    footage = open_footage(data, "train")
    one = replace(SMOKE, train=replace(SMOKE.train, epochs=1))
    train_detector(one, footage, footage, tmp_path)
    with pytest.raises(DataError, match=r"of another config: about.validation"):
        train_detector(replace(one, validation=one.validation + 1), footage, footage, tmp_path)
    content = torch.load(tmp_path / LAST, weights_only=True)
    del content["config"]["about"]["validation"]  # as of an older one
    torch.save(content, tmp_path / LAST)
    assert len(train_detector(SMOKE, footage, footage, tmp_path)) == SMOKE.train.epochs


def test_a_backbone_has_one_beginning_wherever_its_file_lies(data, tmp_path):
    footage = open_footage(data, "train")
    recipe = replace(SMOKE, train=replace(SMOKE.train, epochs=1))
    torch.save(TAAD(SMOKE.model).features.x3d.state_dict(), tmp_path / "one")
    shutil.copy(tmp_path / "one", tmp_path / "two")
    for name in ("one", "two"):
        rows = train_detector(recipe, footage, footage, tmp_path / "run", kinetics=tmp_path / name)
    start = checkpoint_path(tmp_path / "run")
    with pytest.raises(DataError, match="a backbone begins with one of them"):
        train_detector(recipe, footage, footage, tmp_path, kinetics=tmp_path / "one", start=start)
    assert len(rows) == 1


def test_kinetics_weights_that_do_not_fit_are_an_error(data, tmp_path):
    footage = open_footage(data, "train")
    torch.save({"model_state": {"blocks.0.conv": torch.ones(1)}}, tmp_path / "x3d.pyth")
    with pytest.raises(DataError, match=r"x3d.pyth: no weights for this backbone"):
        train_detector(SMOKE, footage, footage, tmp_path / "run", kinetics=tmp_path / "x3d.pyth")


def test_public_checkpoints_are_taken(reference, tmp_path):
    shapes = json.loads((reference / "taad_state_dict.json").read_text())["state_dict"]
    state = {name: torch.zeros(shape) for name, shape in shapes.items()}
    torch.save({"model_state_dict": state}, tmp_path / "public.pt")
    model, clips = load_detector(tmp_path / "public.pt", public=True)
    assert model.config == TAADConfig(public=True) and clips.frames == 50
    with pytest.raises(DataError, match=r"public.pt: .* no checkpoint of this project"):
        load_detector(tmp_path / "public.pt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "taad", "--profile", "large"], "profile 'large' is none of"),
        (["train", "taad", "--epochs", "0"], "epochs"),
        (["predict", "--checkpoint", "nothing.pt"], "nothing.pt: no such checkpoint"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(data, tmp_path, capsys, arguments, message):
    assert main([*arguments, "--data", str(data), "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("error:") == 1
    assert not list(tmp_path.iterdir())


def test_recipes_of_all_profiles_can_be_made():
    for recipe in (load_profile(name).taad for name in PROFILES):
        assert isinstance(recipe, TAADRecipe)
        TAAD(recipe.model)
    paper = load_profile("paper").taad
    assert (paper.clips.size, paper.clips.frames) == ((352, 640), 50)
    assert paper.train.batch * paper.train.accumulate == 48
    assert paper.augmentation == Augmentation()


def test_guesses_have_the_rates_of_the_training_events(data):
    train_footage, val_footage = (open_footage(data, split) for split in ("train", "val"))
    drawn = [guessed_events(train_footage, val_footage, seed) for seed in range(300)]
    per_draw = np.bincount(np.concatenate([table["cls"] for table in drawn]), minlength=9) / 300
    # Train and val halves are equally long here, so the expectation is the count itself.
    np.testing.assert_allclose(per_draw, [0, 1, 2, 1, 1, 0, 0, 0, 0], atol=0.3)
    table = drawn[0]
    assert table.equals(guessed_events(train_footage, val_footage, 0)) and not table.equals(drawn[1])
    every = pd.concat(drawn)
    slots = every["jersey"] - 30  # as the season has it
    assert set(slots) == set(seasons.PLAYERS) - {25}  # who is visible, and nobody else
    assert (every["team"] == slots // 13).all()
