"""Sequences: windows learned by heart, and halves to events with a model that writes what it is told."""

import numpy as np
import pandas as pd
import pytest
import torch

from footpass.events import class_counts, halves_of
from footpass.experiments.profile import load_profile
from footpass.files import DataError
from footpass.metrics import evaluate
from footpass.models.dst import DST, DSTConfig, TokenLogits
from footpass.models.transformer import Written
from footpass.schema import ACTIONS, PAD, Action
from footpass.sequence import decode as decoding
from footpass.sequence.decode import load_dst, predict_events, predict_shared
from footpass.sequence.sources import detected
from footpass.sequence.tokens import decode, encode
from footpass.sequence.train import sequence_loss, train_dst
from footpass.sequence.windows import FixedWindows, WindowConfig, collate
from footpass.simulate.detections import released_detectors, simulate_detections
from footpass.simulate.events import simulate_match
from tests import golden
from tests.tables import predictions, truth

SPARSE = WindowConfig(window_length=250, augment="none", sparse=True)


def test_eight_windows_are_learned_by_heart():
    """Greedy decoding gives back every event of eight windows: slot, class and frame."""
    events = simulate_match(1, minutes=4, seed=0).events
    taad = simulate_detections(events, released_detectors(), seed=0)["TAAD"]
    data = FixedWindows(detected([taad], events), SPARSE)
    samples = sorted((data[i] for i in range(len(data))), key=lambda one: -len(one.tokens))[:8]
    batch = collate(samples)
    torch.manual_seed(0)
    sizes = dict(width=64, heads=4, encoder_layers=1, decoder_layers=1, feedforward=128, dropout=0.0)
    model = DST(DSTConfig(window_length=250, **sizes))
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(100):
        loss, _ = sequence_loss(model, batch, smoothing=0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    written = model.eval().write(batch.features, batch.frames)
    assert sum(len(one.tokens) for one in samples) > 40
    for one, told in zip(written, samples, strict=True):
        assert decode(one.tokens.numpy(), 0).tolist() == decode(told.tokens, 0).tolist()


def test_a_run_does_not_go_on_with_other_logits(tmp_path):
    """Those of a detector that was trained anew, say."""
    events = simulate_match(1, minutes=2, seed=0).events
    recipe = load_profile("smoke").play_by_play
    halves = {
        seed: detected([simulate_detections(events, released_detectors(), seed)["TAAD"]], events)
        for seed in (0, 1)
    }
    counts = class_counts(events)
    rows = train_dst(recipe, lambda epoch: halves[0], counts, tmp_path)
    assert train_dst(recipe, lambda epoch: halves[0], counts, tmp_path) == rows
    with pytest.raises(DataError, match=r"last.pt: of another config: about.data"):
        train_dst(recipe, lambda epoch: halves[1], counts, tmp_path)


def test_public_checkpoints_are_read(reference, tmp_path):
    shapes = golden.read(reference, "dst_state_dict")["state_dict"]
    state = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    torch.save({"model_state_dict": state}, tmp_path / "public.pt")
    model, windows = load_dst(tmp_path / "public.pt", public=True)
    assert model.config == DSTConfig(mask_memory=False) and windows == WindowConfig()
    (tmp_path / "public.pt").write_bytes(b"no")
    with pytest.raises(DataError, match="public.pt: no readable checkpoint"):
        load_dst(tmp_path / "public.pt", public=True)


class KnowsNothing(torch.nn.Module):
    """All choices are equally likely."""

    def __init__(self):
        super().__init__()
        self.config = DSTConfig(window_length=250)
        self.logit = torch.nn.Parameter(torch.zeros(()))

    def forward(self, features, frames, tokens):
        assert tokens.shape == (3, 3, 3) and PAD not in tokens  # SOS and two events, not EOS
        return TokenLogits(*(self.logit.expand(3, 3, n) for n in (10, 27, 252)))


def test_the_loss_of_a_batch_counts_its_tokens():
    """Of logits that know nothing, each head's loss is the logarithm of its choices."""
    samples = FixedWindows(
        detected(
            [predictions((3, 0, 7, 2, 0.5))], truth((4, 0, 7, Action.PASS), (9, 1, 8, Action.SHOT))
        ),
        SPARSE,
    )
    batch = collate([samples[0]] * 3)
    loss, count = sequence_loss(KnowsNothing(), batch)
    assert count == 9
    assert float(loss.detach()) == pytest.approx(np.log([10, 27, 252]).sum(), rel=1e-5)


class Oracle(torch.nn.Module):
    """Writes the true events of each window, or what is put in their place."""

    def __init__(self, windows, score=0.7):
        super().__init__()
        self.config = DSTConfig(window_length=250)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.windows, self.score = iter(windows), score

    def write(self, features, frames, max_events, beams):
        written = []
        for _ in range(len(features)):
            tokens = torch.from_numpy(next(self.windows))[1:-1]
            written.append(Written(tokens, torch.full((len(tokens),), self.score)))
        return written


@pytest.mark.parametrize("stride", [None, 100, 250])
def test_events_come_back_whole_from_overlapping_windows(stride):
    """With true tokens in every window, each event is there once: nobody is lost or counted twice."""
    events = simulate_match(3, minutes=3, seed=1).events
    taad = simulate_detections(events, released_detectors(), seed=0)["TAAD"]
    halves = detected([taad], events)
    data = FixedWindows(halves, SPARSE, stride or 125)
    table = predict_events(Oracle([data[i].tokens for i in range(len(data))]), halves, SPARSE, stride, 3)
    columns = ["half", "frame", "team", "jersey", "cls"]
    order = ["half", "frame", "team", "jersey"]
    want = events[columns].sort_values(order, ignore_index=True)
    assert table[columns].sort_values(order, ignore_index=True).equals(want)
    assert np.allclose(table["score"], 0.7) and halves_of(table) == halves_of(events)
    result = evaluate(table, events)
    present = np.isin(ACTIONS, events["cls"])
    np.testing.assert_array_equal(result.counts.f1, present.astype(float))


def test_an_event_that_two_windows_claim_counts_once():
    """Two windows see a pass at their border a frame apart, each within what it answers for."""
    taad = predictions((0, 0, 7, Action.PASS, 0.5), (99, 0, 8, Action.PASS, 0.5))
    halves = detected([taad])
    config = WindowConfig(window_length=50, sparse=True)
    told = [[24 + 25, 0, 2]], [[25 + 25, 0, 2], [70, 1, 2]]  # windows 0..49 and 50..99
    windows = [encode(np.array(rows), 50 * i, 50) for i, rows in enumerate(told)]
    table = predict_events(Oracle(windows), halves, config, stride=50)
    assert table[["frame", "jersey"]].to_numpy().tolist() == [[49, 7], [70, 8]]


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_halves_and_all_get_the_events(monkeypatch, world):
    """Of three processes and two halves, one has nothing to do."""
    events = simulate_match(3, minutes=3, seed=1).events
    taad = simulate_detections(events, released_detectors(), seed=0)["TAAD"]
    halves = detected([taad], events)
    assert len(halves) == 2

    def oracle(some):
        data = FixedWindows(some, SPARSE, 125)
        return Oracle([data[i].tokens for i in range(len(data))])

    expected = predict_events(oracle(halves), halves, SPARSE)
    shares = [dict(list(halves.items())[rank::world]) for rank in range(world)]
    found = [predict_events(oracle(mine), mine, SPARSE) if mine else None for mine in shares]
    for rank, mine in enumerate(shares):
        monkeypatch.setattr(decoding, "rank_and_world", lambda rank=rank: (rank, world))
        monkeypatch.setattr(decoding, "gather", lambda part, r=rank: [*found[:r], part, *found[r + 1 :]])
        model = oracle(mine) if mine else None
        pd.testing.assert_frame_equal(predict_shared(model, halves, SPARSE), expected)


def test_a_half_in_which_nothing_is_written_is_still_there():
    halves = detected([predictions((0, 0, 7, 2, 0.5), (99, 0, 8, 2, 0.5))])
    nothing = [encode(np.zeros((0, 3)), 0, 250)]
    table = predict_events(Oracle(nothing), halves, SPARSE)
    assert len(table) == 0 and halves_of(table) == ["game_1_H1"]
    assert table["frame"].dtype == np.int64 and table["score"].dtype == np.float64
