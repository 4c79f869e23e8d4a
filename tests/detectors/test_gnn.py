"""TAAD + GNN from clips to events: flips, what it is asked about, training, commands, bad input."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import default_collate

from footpass.__main__ import main
from footpass.configs import PROFILES
from footpass.data.cache import open_footage
from footpass.data.logits import logits_path
from footpass.data.paths import tactical_path, video_path
from footpass.data.tactical import write_tactical
from footpass.data.video import write_video
from footpass.detectors.augment import Augmentation
from footpass.detectors.clips import ClipConfig, ClipDataset, learnable_events, shown_match
from footpass.detectors.inputs import game_state, model_inputs
from footpass.detectors.predict import load_detector
from footpass.detectors.recipes import GNNRecipe
from footpass.detectors.spotting import events_from_store
from footpass.detectors.train import ClipLoss, clip_figures, train_detector
from footpass.detectors.windows import half_logits
from footpass.events import match_of, predictions_path, read_predictions
from footpass.experiments.profile import load_profile
from footpass.files import DataError
from footpass.models.gnn import TAADGNN, GNNConfig
from footpass.models.taad import TAAD
from footpass.schema import ACTION_LABELS, FULL_HD, N_ROLES, N_SLOTS, Action, Node, Role, State, Tactical
from footpass.training.checkpoints import LAST, checkpoint_path, load_checkpoint
from footpass.training.config import TrainConfig
from tests import seasons

H1, H2 = "game_1_H1", "game_1_H2"
SMOKE = load_profile("smoke").gnn
EVENTS = {
    "train": {
        H1: {(40, 0): 1, (80, 2): 2, (120, 14): 3, (150, 25): 5},  # slot 25 never has a box
        H2: {(340, 20): 4, (390, 2): 2},
    },
    "val": {H1: {(60, 2): 2, (100, 14): 1}, H2: {(350, 0): 2}},
}
ALL = ClipConfig(frames=16, size=(64, 96), earliest=6, latest=6, others=N_SLOTS - 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return seasons.write_splits(tmp_path_factory.mktemp("season"), EVENTS)


@pytest.fixture(scope="module")
def taad(data, tmp_path_factory):
    """A trained TAAD."""
    out = tmp_path_factory.mktemp("taad")
    recipe = load_profile("smoke").taad
    recipe = replace(recipe, train=replace(recipe.train, epochs=1))
    train_detector(recipe, open_footage(data, "train"), open_footage(data, "val"), out)
    return checkpoint_path(out)


def without_positions(rows):
    rows = rows.copy()
    rows[:, Tactical.X : Tactical.VY + 1] = np.nan
    return rows


# --- flips

FLIP, STILL = np.array([[-1.0, 0, 96], [0, 1, 0]]), np.eye(2, 3)


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_flipping_twice_is_the_identity(seed):
    rng = np.random.default_rng(seed)
    state = rng.random((len(State), N_SLOTS, 7), np.float32)
    state[:4, rng.random((N_SLOTS, 7)) < 0.2] = np.nan
    slots = rng.permutation(N_SLOTS)
    shown, there = shown_match(state, slots, FLIP)
    assert (shown // N_ROLES == 1 - slots // N_ROLES).all()
    whole = np.empty_like(state)
    whole[:, shown] = there  # the mirrored match, all slots in order
    again, back = shown_match(whole, shown, FLIP)
    np.testing.assert_array_equal(again, slots)
    np.testing.assert_allclose(back, state[:, slots], atol=1e-6)


def test_without_a_flip_the_game_stays_as_it_is():
    state = np.random.default_rng(0).random((len(State), N_SLOTS, 7))
    slots = np.array([3, 20, 1])
    shown, there = shown_match(state, slots, STILL)
    np.testing.assert_array_equal(shown, slots)
    np.testing.assert_array_equal(there, state[:, slots])


_SIDES = {Role.LB: Role.RB, Role.LCB: Role.RCB, Role.LM: Role.RM, Role.LW: Role.RW}
_SIDES |= {right: left for left, right in _SIDES.items()}


def mirrored_rows(rows):
    """The match as a mirror beside the pitch shows it, by the table of symmetries."""
    rows = rows.copy()
    rows[:, Tactical.X] = 1 - rows[:, Tactical.X]
    rows[:, Tactical.VX] *= -1
    rows[:, Tactical.TEAM] = 1 - rows[:, Tactical.TEAM]
    rows[:, Tactical.ROLE] = [_SIDES.get(Role(int(role)), role) for role in rows[:, Tactical.ROLE]]
    rows[:, Tactical.BOX_X] = FULL_HD[1] - rows[:, Tactical.BOX_X] - rows[:, Tactical.BOX_WIDTH]
    return rows


def test_a_flipped_clip_is_a_clip_of_the_mirrored_match(tmp_path):
    """Pictures, boxes, nodes and labels, of a season whose rows and video are mirrored by hand."""
    rng = np.random.default_rng(0)
    height, width = seasons.SIZE
    ramp = np.tile(np.linspace(20, 180, width)[None, :, None], (height, 1, 3))
    pictures = [(ramp + 2 * (frame % 28)).astype(np.uint8) for frame in range(seasons.N_FRAMES)]
    rows = {half: seasons.rows(half, EVENTS["train"][half]) for half in (H1, H2)}
    for table in rows.values():
        table[:, [Tactical.VX, Tactical.VY]] = rng.normal(size=(len(table), 2))
    footage = []
    for folder, change, turn in (("plain", np.copy, 1), ("mirrored", mirrored_rows, -1)):
        folder = tmp_path / folder
        path = folder / video_path(match_of(H1))
        path.parent.mkdir(parents=True)
        write_tactical(folder / tactical_path("train"), ((half, change(t)) for half, t in rows.items()))
        write_video(path, (np.ascontiguousarray(picture[:, ::turn]) for picture in pictures))
        footage.append(list(open_footage(folder, "train").values()))
    only_flips = Augmentation(0, 0, 0, flip=1.0, jitter=0, hue=0, grow=(1.125, 1.125))
    flipped = ClipDataset(footage[0], ALL, only_flips)
    mirrored = ClipDataset(footage[1], ALL)
    assert len(flipped) == len(mirrored) == 5
    for ours, theirs in zip(flipped, mirrored, strict=True):
        assert ours.slots[0] == theirs.slots[0] and ours.start == theirs.start  # the same actor
        orders = np.argsort(ours.slots), np.argsort(theirs.slots)
        for name, axis in (("labels", 0), ("state", 1)):
            a, b = (getattr(c, name).take(o, axis) for c, o in zip((ours, theirs), orders, strict=True))
            np.testing.assert_allclose(a, b, atol=1e-6, err_msg=name)
        a, b = (model_inputs(default_collate([clip]), "cpu") for clip in (ours, theirs))
        torch.testing.assert_close(a.clip, b.clip, atol=0.15, rtol=0)  # coding is not symmetric
        for name in ("boxes", "visible", "nodes", "present"):
            values = [getattr(x, name)[:, o] for x, o in zip((a, b), orders, strict=True)]
            torch.testing.assert_close(*values, atol=1e-3, rtol=0, equal_nan=True, msg=name)


# --- what it reads, and whom it is asked about


def test_nodes_say_team_place_and_speed():
    state = torch.arange(2 * 5 * 3 * 4.0).view(2, 5, 3, 4)
    state[1, State.VY, 2, 1] = torch.nan
    slots = torch.tensor([[0, 12, 13], [25, 3, 14]])
    nodes, present = game_state(state, slots, "cpu")
    assert nodes.shape == (2, 3, 4, len(Node))
    assert nodes[..., Node.TEAM].unique(dim=2)[..., 0].tolist() == [[0, 0, 1], [1, 0, 1]]
    for node, component in ((Node.X, State.X), (Node.Y, State.Y), (Node.VX, State.VX)):
        torch.testing.assert_close(nodes[..., node], state[:, component])
    assert (~present).nonzero().tolist() == [[1, 2, 1]]


def test_events_without_a_box_are_learned_from_too(data):
    halves = [entry.half for entry in open_footage(data, "train").values()]
    seen = learnable_events(halves, 16)
    every = learnable_events(halves, 16, without_box=True)
    missing = set(zip(*every, strict=True)) - set(zip(*seen, strict=True))
    assert missing == {(0, 150, 25, Action.SHOT)}
    assert set(zip(*seen, strict=True)) < set(zip(*every, strict=True))


class Knowing(nn.Module):
    """Sees a batch's labels and turns them into logits; what is not asked about is all shots."""

    without_box = True

    def __init__(self, clips):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.batches = iter([default_collate([clip]).labels.long() for clip in clips])

    def forward(self, clip, boxes, visible, nodes, present):
        labels = next(self.batches).masked_fill(~present, Action.SHOT)
        return 9 * nn.functional.one_hot(labels, 9).movedim(-1, 1).float()


def test_loss_and_figures_are_of_all_who_are_present(data):
    footage = list(open_footage(data, "train").values())
    events = learnable_events([entry.half for entry in footage], 16, without_box=True)
    clips = ClipDataset(footage, replace(ALL, dilation=0), events=events)
    every = [clips[i] for i in range(len(clips))]
    assert len(every) == 6
    config = TrainConfig(batch=1)
    figures = clip_figures(Knowing(every), clips, config)
    assert sum(figures.pop(f"f1/{label}") for label in ACTION_LABELS) == 5  # of 8 classes occur
    assert figures == {"macro_f1": 5 / 8, "micro_f1": 1.0, "accuracy": 1.0}

    class Fixed(Knowing):
        def forward(self, clip, boxes, visible, nodes, present):
            return logits

    batch = default_collate(every[:1])
    asked = model_inputs(batch, "cpu").present
    assert asked.sum() == len(seasons.PLAYERS) * 16  # slot 25, without a box, among them
    logits = torch.randn(1, 9, N_SLOTS, 16, generator=torch.Generator().manual_seed(0))
    loss, weight = ClipLoss(0.05, 1.25, without_box=True)(Fixed(every), batch)
    p = logits.softmax(1)
    total = norm = 0.0
    for b, m, t in asked.nonzero().tolist():
        cls = int(batch.labels[b, m, t])
        w, q = 0.05 if cls == 0 else 0.95, float(p[b, cls, m, t])
        total, norm = total - w * (1 - q) ** 1.25 * np.log(q), norm + w
    assert float(weight) == pytest.approx(norm, rel=1e-5)
    assert float(loss) == pytest.approx(total / norm, rel=1e-4)


class Mirror(nn.Module):
    """Logits that say what the graph model was given: 1 to 5 the node, 6 presence."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, clip, boxes, visible, nodes, present):
        logits = torch.zeros(1, 9, *visible.shape[1:])
        logits[:, 1:6] = nodes.nan_to_num().movedim(-1, 1)
        logits[:, 6] = present
        return logits


def test_inference_reads_the_game_of_every_frame(data):
    entry = open_footage(data, "val")[H2]
    logits = np.concatenate([part for _, part in half_logits(Mirror(), entry, ALL)], axis=-1)
    state = entry.half.state
    present = np.isfinite(state[State.X])
    np.testing.assert_array_equal(logits[6] > 0, present)
    np.testing.assert_array_equal(present.any(axis=1).nonzero()[0], seasons.PLAYERS)
    team = np.broadcast_to(np.arange(N_SLOTS) >= N_ROLES, present.T.shape).T
    np.testing.assert_array_equal(logits[1, present], team[present])
    np.testing.assert_allclose(logits[2:6], np.nan_to_num(state[:4]), rtol=1e-5, atol=1e-6)


# --- training


def test_the_start_is_the_taads_and_the_backbone_waits(data, taad, tmp_path):
    train, val = (open_footage(data, split) for split in ("train", "val"))
    recipe = replace(SMOKE, train=replace(SMOKE.train, epochs=1))
    train_detector(recipe, train, val, tmp_path, start=taad)
    model, _ = load_detector(checkpoint_path(tmp_path))
    start, _ = load_detector(taad)
    assert isinstance(model, TAADGNN) and isinstance(start, TAAD)
    for name, tensor in start.features.x3d.state_dict().items():
        assert model.features.x3d.state_dict()[name].equal(tensor), name
    moved = model.features.merge8.conv.weight - start.features.merge8.conv.weight
    assert 0 < moved.detach().abs().max() < 0.1  # one epoch away


def test_the_loss_changes_when_the_schedule_says(data, tmp_path):
    """And a run that is called again, or broken off there, goes on the same way."""
    train, val = (open_footage(data, split) for split in ("train", "val"))

    def rows(name, gammas, epochs=3):
        recipe = replace(SMOKE, gammas=gammas, train=replace(SMOKE.train, epochs=epochs))
        return [row["loss"] for row in train_detector(recipe, train, val, tmp_path / name)]

    steady = rows("steady", ((0, 1.0),))
    changed = rows("changed", ((0, 1.0), (2, 3.0)))
    # Sums over threads may differ in the last digits, and with them what is learned.
    assert changed[:2] == pytest.approx(steady[:2], rel=1e-4) and changed[2] < 0.9 * steady[2]
    assert rows("changed", ((0, 1.0), (2, 3.0))) == changed
    assert rows("resumed", ((0, 1.0), (2, 3.0)), epochs=1) == pytest.approx(changed[:1], rel=1e-4)
    assert rows("resumed", ((0, 1.0), (2, 3.0))) == pytest.approx(changed, rel=1e-4)
    for gammas in ((), ((1, 2.0),)):  # until it says anything, a plain cross-entropy
        plain = rows("plain", ((0, 0.0),), epochs=1)
        assert rows(str(len(gammas)), gammas, epochs=1) == pytest.approx(plain, rel=1e-4)


def test_rates_fall_on_one_cosine_whatever_the_loss_does(data, tmp_path):
    footage = [open_footage(data, split) for split in ("train", "val")]
    falling = replace(SMOKE.train, epochs=3, schedule="cosine")
    rates = []
    for name, gammas in (("steady", ((0, 1.0),)), ("changed", ((0, 1.0), (2, 3.0)))):
        recipe = replace(SMOKE, gammas=gammas, train=falling)
        rates.append([row["lr"] for row in train_detector(recipe, *footage, tmp_path / name)])
    assert rates[0] == rates[1]


def test_a_run_with_another_start_or_schedule_is_not_continued(data, taad, tmp_path):
    train, val = (open_footage(data, split) for split in ("train", "val"))
    recipe = replace(SMOKE, train=replace(SMOKE.train, epochs=1))
    train_detector(recipe, train, val, tmp_path, start=taad)
    before = (tmp_path / LAST).read_bytes()
    with pytest.raises(DataError, match=r"of another config: about.start"):
        train_detector(recipe, train, val, tmp_path)
    with pytest.raises(DataError, match=r"of another config: about.gammas"):
        train_detector(replace(recipe, gammas=((0, 2.0),)), train, val, tmp_path, start=taad)
    assert (tmp_path / LAST).read_bytes() == before


def test_recipes_of_all_profiles_can_be_made_and_start_from_the_taads():
    for profile in map(load_profile, PROFILES):
        taad, recipe = profile.taad, profile.gnn
        assert isinstance(recipe, GNNRecipe) and recipe.clips.others == N_SLOTS - 1
        TAADGNN(recipe.model).features.load_state_dict(TAAD(taad.model).features.state_dict())
        assert (recipe.clips.frames, recipe.clips.size) == (taad.clips.frames, taad.clips.size)
    paper = load_profile("paper").gnn
    assert paper.gammas == ((0, 1.0), (2, 1.25)) and paper.clips.per_class == 600


# --- the command line


def test_training_and_prediction_from_the_command_line(data, taad, tmp_path, capsys, caplog):
    out = tmp_path / "run"
    arguments = ["--data", str(data), "--out", str(out)]
    assert main(["train", "gnn", *arguments, "--profile", "smoke", "--from", str(taad)]) == 0
    assert "random" not in caplog.text
    assert f"{checkpoint_path(out)}: macro F1" in capsys.readouterr().out
    best = str(checkpoint_path(out))
    assert main(["predict", "--checkpoint", best, *arguments, "--split", "val"]) == 0
    assert f"{logits_path(out, 'val')}: logits of 2 halves" in capsys.readouterr().out
    written = read_predictions(predictions_path(out, "val"))
    halves = {name: entry.half for name, entry in open_footage(data, "val").items()}
    events = events_from_store(logits_path(out, "val"), halves, without_box=True)
    np.testing.assert_array_equal(written.drop(columns="half"), events.drop(columns="half"))
    seen = events_from_store(logits_path(out, "val"), halves)
    hidden = events.merge(seen, how="left", indicator=True)["_merge"] == "left_only"
    assert set(events["jersey"][hidden]) <= {30 + 5, 30 + 25}  # who at times has no box
    assert load_detector(best)[1] == SMOKE.clips


def test_training_without_a_start_says_so(data, tmp_path, caplog):
    out = ["--data", str(data), "--out", str(tmp_path / "run"), "--profile", "smoke", "--epochs", "1"]
    assert main(["train", "gnn", *out]) == 0
    assert "no TAAD was given to start from: the backbone starts from random weights" in caplog.text


def test_public_checkpoints_are_told_apart(reference, tmp_path):
    shapes = json.loads((reference / "gnn_state_dict.json").read_text())["state_dict"]
    state = {name: torch.zeros(shape) for name, shape in shapes.items()}
    torch.save({"model_state_dict": state}, tmp_path / "public.pt")
    model, clips = load_detector(tmp_path / "public.pt", public=True)
    assert isinstance(model, TAADGNN) and model.config == GNNConfig(public=True) and clips.frames == 50


# --- bad input


def error_of(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("error:") == 1
    return error.splitlines()[-1]


def test_a_start_that_does_not_fit_is_an_error(data, taad, tmp_path, capsys):
    train = ["train", "gnn", "--profile", "smoke", "--data", data, "--out", tmp_path / "run", "--from"]
    assert "nothing.pt: no such checkpoint" in error_of(capsys, *train, tmp_path / "nothing.pt")
    torch.save({"config": {"kind": "Tiny", "model": {}}, "model": {}}, tmp_path / "tiny.pt")
    message = "of another config: kind is 'Tiny' there, not 'TAAD'"
    assert message in error_of(capsys, *train, tmp_path / "tiny.pt")
    larger = [*train, taad]
    larger[3] = "demo"
    assert "best.pt: of another config: model.x3d.stem is" in error_of(capsys, *larger)
    (tmp_path / "broken.pt").write_bytes(taad.read_bytes()[:2000])
    assert "broken.pt: damaged" in error_of(capsys, *train, tmp_path / "broken.pt")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--out", "one"], "--out: 1 folder for 2 checkpoints"),
        (["--out", "one", "./one"], "--out: a folder is given twice"),
        (["--out", "one", "two", "--adjustment", "some.json"], "an adjustment is of one detector"),
    ],
)
def test_several_checkpoints_each_have_a_folder(
    data, taad, tmp_path, monkeypatch, capsys, more, message
):
    monkeypatch.chdir(tmp_path)
    both = ["--data", data, "--checkpoint", taad, taad]
    assert message in error_of(capsys, "predict", *both, *more)
    assert not any(tmp_path.iterdir())


def test_a_checkpoint_of_another_kind_predicts_nothing(data, tmp_path, capsys):
    torch.save({"config": {"kind": "Tiny", "model": {}}, "model": {}}, tmp_path / "tiny.pt")
    arguments = ["--data", data, "--out", tmp_path / "run", "--checkpoint", tmp_path / "tiny.pt"]
    error = error_of(capsys, "predict", *arguments)
    assert "tiny.pt: of another config: kind is 'Tiny', not one of TAAD, TAADGNN" in error


def test_halves_without_positions_are_an_error(data, taad, tmp_path, capsys):
    """A TAAD takes them: it does not read positions."""
    (tmp_path / "season").mkdir()
    folder = seasons.write(tmp_path / "season", EVENTS["train"])
    for split in ("train", "val"):
        rows = {half: seasons.rows(half, EVENTS["train"][half]) for half in (H1, H2)}
        rows[H2] = without_positions(rows[H2])
        write_tactical(folder / tactical_path(split), rows.items())
    where = ["--data", folder, "--out", tmp_path / "run"]
    message = "half game_1_H2: no positions of the players with a box: the graph model needs them"
    assert message in error_of(capsys, "train", "gnn", "--profile", "smoke", *where)
    recipe = replace(SMOKE, train=replace(SMOKE.train, epochs=1))
    train_detector(recipe, open_footage(data, "train"), open_footage(data, "val"), tmp_path / "gnn")
    best = checkpoint_path(tmp_path / "gnn")
    assert message in error_of(capsys, "predict", "--checkpoint", best, *where)
    assert not (tmp_path / "run").exists()
    assert main(["predict", "--checkpoint", str(taad), *map(str, where)]) == 0


def test_a_trained_graph_model_is_fine_tuned_whatever_the_profiles_sizes(data, tmp_path):
    """Its sizes and clips are taken, the learning rates are a tenth of the profile's."""
    recipe = replace(SMOKE, train=replace(SMOKE.train, epochs=1))
    train_detector(recipe, open_footage(data, "train"), open_footage(data, "val"), tmp_path / "gnn")
    best, out = checkpoint_path(tmp_path / "gnn"), tmp_path / "tuned"
    few = ["--epochs", "1", "--warmup", "0", "--set", "clips.per_class=2", "--set", "validation=2"]
    where = ["--data", str(data), "--out", str(out)]
    assert main(["train", "gnn", *where, "--profile", "demo", "--from", str(best), *few]) == 0
    (before, clips), (tuned, theirs) = load_detector(best), load_detector(checkpoint_path(out))
    assert tuned.config == before.config
    assert (theirs.frames, theirs.size) == (clips.frames, clips.size)
    lr = load_profile("demo").gnn.train.lr
    saved = load_checkpoint(checkpoint_path(out))["config"]["train"]["lr"]
    assert saved == pytest.approx({start: rate / 10 for start, rate in lr.items()})
    for name, tensor in before.named_parameters():
        moved = (dict(tuned.named_parameters())[name] - tensor).abs().max()
        assert moved <= 0.05, name  # it went on from there, by few and small steps
