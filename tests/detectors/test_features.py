"""Detectors that keep another's features: what learns, what is shared, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from footpass.__main__ import main
from footpass.data.cache import open_footage
from footpass.detectors.clips import ClipDataset
from footpass.detectors.inputs import model_inputs
from footpass.detectors.predict import Run, load_detector, predict_together
from footpass.detectors.train import on_features, train_detector
from footpass.detectors.windows import logits_together
from footpass.experiments.profile import load_profile
from footpass.files import DataError
from footpass.models.taad import PlayerFeatures
from footpass.training.checkpoints import LAST, checkpoint_path, load_checkpoint, save_checkpoint
from tests import seasons

SMOKE = load_profile("smoke")
EVENTS = {
    "train": {"game_1_H1": {(40, 0): 1, (80, 2): 2}, "game_1_H2": {(340, 20): 4, (390, 2): 2}},
    "val": {"game_1_H1": {(60, 2): 2, (100, 14): 1}},
}


def trained(kind, data, out, temporal="convolution", **begin):
    """The checkpoint of a detector after an epoch."""
    recipe = getattr(SMOKE, kind)
    recipe = replace(recipe, train=replace(recipe.train, epochs=1))
    if kind == "taad":
        recipe = replace(recipe, model=replace(recipe.model, temporal=temporal))
    train_detector(recipe, open_footage(data, "train"), open_footage(data, "val"), out, **begin)
    return checkpoint_path(out)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return seasons.write_splits(tmp_path_factory.mktemp("season"), EVENTS)


@pytest.fixture(scope="module")
def detectors(data, tmp_path_factory):
    """A TAAD; on its features a head of each kind; and a TAAD + GNN."""
    out = tmp_path_factory.mktemp("detectors")
    taad = trained("taad", data, out / "taad")
    heads = [
        trained("taad", data, out / name, name, features=taad) for name in ("convolution", "transformer")
    ]
    return [taad, *heads, trained("gnn", data, out / "gnn", features=taad)]


def test_what_comes_after_the_features_learns_alone(detectors):
    taad, *others = (load_detector(path)[0] for path in detectors)
    for other in others:
        for name, tensor in taad.features.state_dict().items():
            assert other.features.state_dict()[name].equal(tensor), name  # batch-norm statistics too
    torch.manual_seed(SMOKE.taad.train.seed)
    fresh = type(taad)(taad.config)
    assert not others[0].classify.weight.equal(taad.classify.weight)
    assert not others[0].classify.weight.equal(fresh.classify.weight)


def test_frozen_features_are_those_that_learn_would_see(detectors, data):
    """Frozen, they are computed as for inference, where only what boxes read is computed."""
    model, clips = load_detector(detectors[0])
    footage = list(open_footage(data, "train").values())
    inputs = model_inputs(torch.utils.data.default_collate([ClipDataset(footage, clips)[0]]), "cpu")
    plain = model.features.eval()(*inputs[:3])
    assert plain.requires_grad
    model.features.freeze()
    model.train()
    frozen = model.features(*inputs[:3])
    assert not frozen.requires_grad and not model.features.training
    torch.testing.assert_close(frozen, plain.detach(), rtol=1e-4, atol=1e-5)
    model.freeze(0)  # as each epoch does: what is frozen as a whole stays so
    assert not any(parameter.requires_grad for parameter in model.features.parameters())


@pytest.mark.parametrize("mirrored", [False, True])
def test_features_are_computed_once_for_all_that_share_them(detectors, data, mirrored, monkeypatch):
    models, clips = zip(*map(load_detector, detectors), strict=True)
    (footage,) = open_footage(data, "val").values()
    how = footage, None, "fp32", mirrored
    alone = [
        np.concatenate([x for _, x in logits_together([model], [own], *how)], axis=-1)
        for model, own in zip(models, clips, strict=True)
    ]
    seen, compute = [], PlayerFeatures.forward

    def counted(self, *clip):
        seen.append(1)
        return compute(self, *clip)

    monkeypatch.setattr(PlayerFeatures, "forward", counted)
    windows = sum(1 for _ in logits_together(models[:1], clips[:1], *how))
    once = len(seen)
    assert once >= windows
    together = np.concatenate([x for _, x in logits_together(models, clips, *how)], axis=-1)
    assert len(seen) == 2 * once
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-5, atol=1e-5)

    with torch.no_grad():
        models[1].features.merge8.conv.weight[0] += 1.0
    seen.clear()
    list(logits_together(models, clips, *how))
    assert len(seen) == 2 * once  # of other weights, it has features of its own


def test_logits_of_a_run_do_not_depend_on_who_else_asks(detectors, data, tmp_path):
    footage = open_footage(data, "val")
    runs = [Run(path, tmp_path / path.parent.name) for path in detectors]
    tables = predict_together(runs, footage, "val")
    again = predict_together([runs[-1]], footage, "val")  # found complete
    assert tables[-1].equals(again[0])


def test_other_features_are_no_start_and_no_way_to_go_on(detectors, data, tmp_path):
    taad, head, *_, gnn = detectors
    with pytest.raises(DataError, match="a backbone begins with one of them"):
        trained("taad", data, tmp_path / "both", features=taad, start=head)
    with pytest.raises(DataError, match="weights of Kinetics, and .*best.pt: a backbone begins"):
        trained("taad", data, tmp_path / "kinetics", features=taad, kinetics="x3d.pth")
    run = tmp_path / "run"
    trained("taad", data, run, features=taad)
    assert load_checkpoint(checkpoint_path(run))["config"]["about"]["features"]
    changed = load_checkpoint(taad)
    changed["model"]["features.merge8.norm.bias"] += 1
    torch.save(changed, tmp_path / "other.pt")
    with pytest.raises(DataError, match="of another config: about.features"):
        trained("taad", data, run, features=tmp_path / "other.pt")
    wide = replace(SMOKE.taad, model=replace(SMOKE.taad.model, width=16))
    footage = [open_footage(data, split) for split in ("train", "val")]
    with pytest.raises(DataError, match="of another config: model.width"):
        train_detector(wide, *footage, tmp_path / "wide", features=gnn)


@pytest.mark.parametrize("kind", ["taad", "gnn"])
def test_a_run_does_not_take_or_leave_features_on_the_way(kind, detectors, data, tmp_path):
    """Nor a start; but a checkpoint from before all of them were named goes on as it began."""
    ways = {"plain": {}, "kept": {"features": detectors[0]}, "started": {"start": detectors[0]}}
    named = {"taad": "kinetics", "gnn": "start"}[kind]  # what they have always said
    for way, begin in ways.items():
        trained(kind, data, tmp_path / way, **begin)
        for other in ways.keys() - {way}:
            with pytest.raises(DataError, match=r"of another config: about\.(start|features)"):
                trained(kind, data, tmp_path / way, **ways[other])
        content = load_checkpoint(tmp_path / way / LAST)
        about = content["config"]["about"]
        for name in {"start", "kinetics", "features"} - {named}:
            if about[name] is None:
                del about[name]
        save_checkpoint(tmp_path / way / LAST, content.pop("config"), content)
        trained(kind, data, tmp_path / way, **begin)


def test_the_command_takes_them_too(detectors, data, tmp_path, capsys):
    where = "--data", data, "--out", tmp_path / "run", "--profile", "smoke", "--set", "train.epochs=1"
    assert main(["train", "gnn", *map(str, where), "--features", str(detectors[0])]) == 0
    taad, gnn = (load_detector(path)[0] for path in (detectors[0], checkpoint_path(tmp_path / "run")))
    assert gnn.features.merge8.conv.weight.equal(taad.features.merge8.conv.weight)
    assert "random weights" not in capsys.readouterr().err


def test_features_have_their_detectors_sizes_whatever_the_profile_says(detectors):
    own = load_profile("demo").gnn
    recipe = on_features(own, detectors[0])
    assert (recipe.model.x3d, recipe.model.width) == (SMOKE.taad.model.x3d, SMOKE.taad.model.width)
    assert (recipe.clips.frames, recipe.clips.size) == (SMOKE.taad.clips.frames, SMOKE.taad.clips.size)
    assert (recipe.model.head, recipe.clips.others, recipe.train) == (own.model.head, 25, own.train)
