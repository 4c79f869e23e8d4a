"""Weights of the zoo: what is put in comes out, and nothing else does."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from footpass import zoo
from footpass.__main__ import main
from footpass.configs import plain
from footpass.data.cache import open_footage
from footpass.data.logits import logits_path
from footpass.detectors.clips import ClipConfig
from footpass.detectors.spotting import UNADJUSTED, LogitAdjustment, events_from_store
from footpass.detectors.train import fine_tuning
from footpass.events import predictions_path, read_predictions
from footpass.experiments.profile import load_profile
from footpass.experiments.publishing import trial
from footpass.files import DataError
from footpass.models.taad import TAAD, TAADConfig
from footpass.models.x3d import X3DConfig
from footpass.sequence.train import fine_tuning as dst_fine_tuning
from footpass.training.checkpoints import load_checkpoint, save_checkpoint
from footpass.training.config import gentle
from tests import seasons

TINY = TAADConfig(X3DConfig(stem=8, widths=(8, 12, 16, 24), depths=(1, 1, 1, 1)), width=16, head=24)
CLIPS = ClipConfig(frames=16, size=seasons.SIZE, earliest=1, latest=14)
CARD = zoo.Card(
    what="A tiny detector.", kind="TAAD", data="nothing", seed=0, revision="abc", parameters=1,
    limits="It knows nothing.", licence="MIT", scores=(zoo.Score("none", 1.0, 0.5, 0.4, 0.6),),
    smoothing=1.5, offsets=(0.5,) * 9,
)  # fmt: skip


@pytest.fixture
def model() -> TAAD:
    torch.manual_seed(0)
    return TAAD(TINY)


@pytest.fixture
def folder(model, tmp_path):
    config = {"kind": "TAAD", "model": plain(TINY), "about": {"clips": plain(CLIPS)}}
    save_checkpoint(tmp_path / "best.pt", config, {"model": model.state_dict(), "row": {"epoch": 1}})
    (tmp_path / "zoo").mkdir()
    zoo.add("tiny", tmp_path / "best.pt", CARD, tmp_path / "zoo")
    return tmp_path / "zoo"


def test_a_model_comes_out_as_it_went_in_but_for_half_precision(model, folder):
    again = zoo.load("tiny", folder).state_dict()
    for name, value in model.state_dict().items():
        assert again[name].dtype == value.dtype
        matrix = value.is_floating_point() and value.dim() > 1
        rounded = value.half().to(value.dtype) if matrix else value
        torch.testing.assert_close(again[name], rounded, rtol=0, atol=0)
    assert not zoo.load("tiny", folder).training


def test_its_file_is_smaller(folder):
    assert (folder / "tiny.pt").stat().st_size < 0.8 * (folder.parent / "best.pt").stat().st_size


def test_its_card_is_kept_and_knows_its_file(folder):
    digest = hashlib.sha256((folder / "tiny.pt").read_bytes()).hexdigest()
    assert zoo.cards(folder) == {"tiny": replace(CARD, sha256=digest)}
    assert zoo.weights("tiny", folder) == folder / "tiny.pt"


def test_a_damaged_or_foreign_file_is_refused(folder):
    content = bytearray((folder / "tiny.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "tiny.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"tiny.pt: not the weights that its card is of"):
        zoo.load("tiny", folder)
    (folder / "tiny.pt").unlink()
    with pytest.raises(DataError, match=r"tiny.pt: has a card and is not there"):
        zoo.load("tiny", folder)


def test_a_damaged_card_is_refused(folder):
    (folder / "tiny.json").write_text('{"what": 1}')
    with pytest.raises(DataError, match=r"tiny.json: not the card of a model"):
        zoo.cards(folder)


def test_an_unknown_model_is_answered_with_those_there_are(folder):
    with pytest.raises(DataError, match="no model 'giant' in the zoo; it has tiny"):
        zoo.load("giant", folder)


def test_a_path_stays_a_path_and_a_name_of_the_zoo_does_not(tmp_path):
    assert zoo.resolve(tmp_path / "best.pt") == tmp_path / "best.pt"
    with pytest.raises(DataError, match="no model 'giant'"):
        zoo.resolve("zoo:giant")


def test_a_detector_brings_its_adjustment(folder):
    assert zoo.adjustment("zoo:tiny", folder) == LogitAdjustment(1.5, (0.5,) * 9)
    assert zoo.adjustment(folder / "tiny.pt") == UNADJUSTED


def test_what_it_read_is_called_as_in_the_zoo(folder):
    before = {"about": {"provenance": {"models": ["TAAD abc", "TAADGNN def"]}}, "samples": 3}
    save_checkpoint(folder / "dst.pt", before, {"model": {}, "row": {}})
    zoo.add("new", folder / "dst.pt", CARD, folder, renamed={"TAAD abc": "TAAD 123"})
    config = load_checkpoint(folder / "new.pt")["config"]
    assert config == {"about": {"provenance": {"models": ["TAAD 123", "TAADGNN def"]}}, "samples": 3}


def test_a_command_takes_a_model_of_the_zoo_and_its_adjustment(folder, tmp_path, monkeypatch):
    seasons.write(tmp_path / "data", {half: {} for half in seasons.FIRST}, "val")
    named = {}
    for how, checkpoint in {"named": "zoo:tiny", "path": str(folder / "tiny.pt")}.items():
        with monkeypatch.context() as patch:
            patch.setattr(zoo, "weights", lambda name: folder / f"{name}.pt")
            patch.setattr(zoo, "card", lambda name, _: zoo.cards(folder)[name])
            where = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / how)]
            assert main(["predict", "--checkpoint", checkpoint, *where]) == 0
        named[how] = read_predictions(predictions_path(tmp_path / how, "val"))
    halves = {name: entry.half for name, entry in open_footage(tmp_path / "data", "val").items()}
    store = logits_path(tmp_path / "path", "val")
    for how, adjustment in (("path", UNADJUSTED), ("named", LogitAdjustment(1.5, (0.5,) * 9))):
        events = events_from_store(store, halves, adjustment=adjustment)
        assert len(events) == len(named[how])
        np.testing.assert_array_equal(events["frame"], named[how]["frame"])
    footage = open_footage(tmp_path / "data", "val")
    events = zoo.spot("tiny", footage, folder)
    np.testing.assert_array_equal(events["frame"], named["named"]["frame"])


def test_models_are_listed(capsys):
    assert main(["models"]) == (0 if zoo.cards() else 2)
    said = capsys.readouterr()
    for name, card in zoo.cards().items():
        assert f"zoo:{name}: {card.what}" in said.out


def test_every_model_in_the_box_is_the_one_its_card_is_of():
    for name, card in zoo.cards().items():
        model = zoo.load(name)
        assert type(model).__name__ == card.kind
        assert sum(part.numel() for part in model.parameters()) == card.parameters


def test_the_box_is_small():
    assert sum(path.stat().st_size for path in zoo.ZOO.glob("*.pt")) < 10 * 2**20


def test_models_score_on_the_trial_match_what_their_cards_record(tmp_path):
    known = zoo.cards()
    names = sorted(known, key=lambda name: len(known[name].reads))
    for name, score, _ in trial(names, tmp_path) if names else ():
        assert score == pytest.approx(known[name].check, abs=0.03), name


def test_a_profile_that_starts_from_the_zoo_takes_its_sizes_and_a_tenth_of_the_rates():
    """The demo's own sizes are the same, so that a model from nothing can be compared."""
    profile = load_profile("demo")
    assert profile.start == "zoo"
    taad = fine_tuning(profile.taad, zoo.resolve("zoo:taad"))
    assert taad == replace(profile.taad, train=gentle(profile.taad.train))
    assert taad.train.lr == pytest.approx({"": 2e-4})
    dst = dst_fine_tuning(load_profile("smoke").dst, zoo.resolve("zoo:dst"))
    assert dst.model == profile.dst.model and dst.windows.window_length == 375
    seasons = [load_profile(name).season for name in ("demo", "study")]
    assert seasons[0].seed != seasons[1].seed and seasons[0].val * seasons[0].minutes >= 20
