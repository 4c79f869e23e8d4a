"""Windows: against hand-placed players, mirrors of whole halves, and halves that do not fit together."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from footpass.data.halves import dense
from footpass.files import DataError
from footpass.schema import (
    EOS,
    MIRRORS,
    MISSING,
    N_SLOTS,
    NO_SLOT,
    PAD,
    PAD_FRAME,
    Action,
    Role,
    State,
    Tactical,
    slot,
)
from footpass.sequence.sources import (
    Detected,
    Excerpt,
    Recorded,
    detected,
    mirrored,
    with_slots,
)
from footpass.sequence.tokens import decode, window_features
from footpass.sequence.windows import FixedWindows, WindowConfig, WindowDataset, collate, sample
from tests.tables import predictions, truth

FIRST = 75_000


def random_half(rng, frames=60, name="game_1_H2", players=20):
    """A half whose players, places and labels are random."""
    rows = []
    for place in rng.choice(N_SLOTS, players, replace=False):
        block = np.full((frames, len(Tactical)), np.nan, np.float32)
        block[:, Tactical.FRAME] = FIRST + np.arange(frames)
        block[:, Tactical.TEAM], block[:, Tactical.ROLE] = place // 13, place % 13 + 1
        block[:, Tactical.JERSEY] = place + 1
        block[:, Tactical.X : Tactical.VY + 1] = rng.normal(size=(frames, 4))
        block[:, Tactical.LABEL] = rng.integers(1, 9, frames) * (rng.random(frames) < 0.05)
        rows.append(block)
    return dense(np.concatenate(rows), name)


def random_logits(rng, frames=60):
    return rng.normal(size=(9, 26, frames)).astype(np.float16)


@st.composite
def excerpts(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    half = random_half(rng, frames=draw(st.integers(1, 8)), players=draw(st.integers(1, 26)))
    volumes = [random_logits(rng, half.n_frames) for _ in range(draw(st.integers(1, 2)))]
    return Recorded(half, *volumes).cut(half.first_frame, half.end_frame)


def same(a: Excerpt, b: Excerpt) -> None:
    np.testing.assert_allclose(a.state, b.state, atol=1e-6)
    np.testing.assert_array_equal(a.labels, b.labels)
    assert len(a.logits) == len(b.logits)
    for one, other in zip(a.logits, b.logits, strict=True):
        np.testing.assert_array_equal(one, other)


# --- mirrors


@given(excerpts(), st.sampled_from(list(MIRRORS)))
@settings(max_examples=30, deadline=None)
def test_a_mirror_undoes_itself(excerpt, name):
    same(mirrored(mirrored(excerpt, MIRRORS[name]), MIRRORS[name]), excerpt)


@given(excerpts())
@settings(max_examples=30, deadline=None)
def test_x_then_y_is_xy(excerpt):
    both = mirrored(mirrored(excerpt, MIRRORS["X"]), MIRRORS["Y"])
    same(both, mirrored(excerpt, MIRRORS["XY"]))
    same(mirrored(mirrored(excerpt, MIRRORS["Y"]), MIRRORS["X"]), both)


@pytest.mark.parametrize("name", MIRRORS)
def test_a_mirrored_window_is_the_window_of_the_mirrored_half(name):
    """The tactical rows are mirrored by hand, as the table of symmetries says."""
    rng = np.random.default_rng(5)
    sides = {Role.LB: Role.RB, Role.LCB: Role.RCB, Role.LM: Role.RM, Role.LW: Role.RW}
    sides |= {right: left for left, right in sides.items()}
    rows, other = [], []
    for place in range(N_SLOTS):
        for frame in range(30):
            x, y, vx, vy = rng.normal(size=4)
            cls = int(rng.integers(0, 9))
            team, role = place // 13, Role(place % 13 + 1)
            box = (np.nan,) * 4
            rows.append([frame, 0, team, 7, role, x, y, vx, vy, *box, cls])
            if "X" in name:
                x, vx, team = 1 - x, -vx, 1 - team
            if "Y" in name:
                y, vy = 1 - y, -vy
            if name != "XY":
                role = sides.get(role, role)
            other.append([frame, 0, team, 7, role, x, y, vx, vy, *box, cls])
    plain, turned = (Recorded(dense(np.array(part, np.float32), "game_1_H1")) for part in (rows, other))
    same(mirrored(plain.cut(7, 19), MIRRORS[name]), turned.cut(7, 19))


def test_logits_follow_their_player():
    """A peak of the left back of team 0 is, seen from the other side, the right back's of team 1."""
    half = random_half(np.random.default_rng(0), frames=4, players=26)
    volume = np.zeros((9, 26, 4), np.float32)
    volume[Action.CROSS, slot(0, Role.LB), 2] = 5
    turned = mirrored(Recorded(half, volume).cut(FIRST, FIRST + 4), MIRRORS["X"])
    assert np.argwhere(turned.logits[0]).tolist() == [[Action.CROSS, slot(1, Role.RB), 2]]


def test_a_mirror_leaves_the_half_alone():
    half = random_half(np.random.default_rng(1))
    before = half.state.copy()
    mirrored(Recorded(half).cut(FIRST, FIRST + 60), MIRRORS["XY"])
    np.testing.assert_array_equal(half.state, before)


# --- tactical halves


def test_features_and_tokens_of_a_window():
    """One player, one event, one peak: everything is where it should be."""
    rows = np.full((40, len(Tactical)), np.nan, np.float32)
    rows[:, Tactical.FRAME] = FIRST + np.arange(40)
    rows[:, Tactical.TEAM], rows[:, Tactical.ROLE], rows[:, Tactical.JERSEY] = 1, Role.GK, 9
    rows[:, Tactical.X : Tactical.VY + 1] = 0.25, 0.5, -1, 2
    rows[:, Tactical.LABEL] = 0
    rows[23, Tactical.LABEL] = Action.SHOT
    volume = np.zeros((9, 26, 40), np.float16)
    volume[Action.SHOT, 13, 24] = 3
    half = Recorded(dense(rows, "game_1_H2"), volume)
    got = sample(half.cut(FIRST + 20, FIRST + 30), WindowConfig(window_length=10))
    assert got.features.shape == (10, 26 * 5 + 26 * 9) and got.features.dtype == np.float32
    state = got.features[:, : 26 * 5].reshape(10, 5, 26)
    np.testing.assert_array_equal(state[:, :, 13], [[0.25, 0.5, -1, 2, 0]] * 10)
    assert (np.delete(state, 13, axis=2) == MISSING).all()
    logits = got.features[:, 26 * 5 :].reshape(10, 9, 26)
    assert np.argwhere(logits).tolist() == [[4, Action.SHOT, 13]]
    assert got.frames.tolist() == list(range(1, 11))
    assert decode(got.tokens, FIRST + 20).tolist() == [[FIRST + 23, 13, Action.SHOT]]


def test_random_windows_depend_on_seed_epoch_and_index_alone():
    rng = np.random.default_rng(2)
    parts = {f"game_{i}_H1": random_half(rng, name=f"game_{i}_H1") for i in range(3)}
    halves = {name: Recorded(half, random_logits(rng)) for name, half in parts.items()}
    config = WindowConfig(window_length=20, per_half=7)
    one, again = (WindowDataset(halves, config, seed=3, epoch=1) for _ in range(2))
    assert len(one) == 21
    backwards = [again[i] for i in reversed(range(21))][::-1]
    for i, other in enumerate(backwards):
        np.testing.assert_array_equal(one[i].features, other.features)
        np.testing.assert_array_equal(one[i].tokens, other.tokens)
    for other in (WindowDataset(halves, config, 3, 2), WindowDataset(halves, config, 4, 1)):
        assert any(not np.array_equal(one[i].features, other[i].features) for i in range(21))


def test_random_windows_reach_both_ends_of_a_half():
    half = random_half(np.random.default_rng(3), frames=12)
    volume = np.broadcast_to(np.arange(12, dtype=np.float32), (9, 26, 12))
    data = WindowDataset({"h": Recorded(half, volume)}, WindowConfig(10, 60, "none"))
    assert {data[i].features[0, -1] for i in range(60)} == {0.0, 1.0, 2.0}


def test_short_windows_lie_anywhere_in_a_whole_one():
    """Their frames have the numbers of their place, their events too; then windows are whole."""
    half = random_half(np.random.default_rng(6), frames=40)
    config = WindowConfig(20, 200, "none", short_epochs=1, short_length=5)
    data = WindowDataset({"h": Recorded(half)}, config, epoch=0)
    seen = {tuple(data[i].frames.tolist()) for i in range(200)}
    assert seen == {tuple(range(first, first + 5)) for first in range(1, 17)}
    frame, slots = np.nonzero(half.labels.T)
    labels = set(zip(frame.tolist(), slots.tolist(), half.labels[slots, frame].tolist(), strict=True))
    features = window_features(half.state)
    for one in (data[i] for i in range(200)):
        place = next(p for p in range(36) if np.array_equal(features[p : p + 5], one.features))
        first = int(one.frames[0])
        found = {tuple(event) for event in decode(one.tokens, place + 1 - first).tolist()}
        assert found == {event for event in labels if place <= event[0] < place + 5}
        assert one.tokens[-1].tolist() == [EOS, NO_SLOT, 21]
    assert WindowDataset({"h": Recorded(half)}, config, epoch=1)[0].frames.tolist() == [*range(1, 21)]
    with pytest.raises(DataError, match="short_length 21 is over window_length 20"):
        WindowConfig(20, short_epochs=1, short_length=21)


def test_fixed_windows_hold_every_event_of_their_own_frames_once():
    half = Recorded(random_half(np.random.default_rng(4), frames=57))
    for stride in (10, 20):
        data = FixedWindows({"h": half}, WindowConfig(window_length=20), stride)
        events = [
            event
            for (_, window), item in zip(data.places, (data[i] for i in range(len(data))), strict=True)
            for event in decode(item.tokens, window.start).tolist()
            if window.own_start <= event[0] < window.own_stop
        ]
        frame, slots = np.nonzero(half.half.labels.T)
        cls = half.half.labels[slots, frame]
        assert sorted(events) == np.stack([frame + FIRST, slots, cls], axis=1).tolist()


def test_a_batch_is_filled_up_to_its_longest():
    half = random_half(np.random.default_rng(5), frames=30)
    short = sample(Recorded(half).cut(FIRST, FIRST + 6), WindowConfig(window_length=20))
    long = sample(Recorded(half).cut(FIRST, FIRST + 20), WindowConfig(window_length=20))
    batch = collate([short, long])
    assert batch.features.shape == (2, 20, 130) and batch.features.dtype == torch.float32
    assert batch.frames[0].tolist() == [*range(1, 7), *[PAD_FRAME] * 14]
    assert (batch.tokens[0, len(short.tokens) :] == PAD).all()
    np.testing.assert_array_equal(batch.features[1].numpy(), long.features)


# --- play-by-play alone


def test_detections_are_peaks_at_their_player():
    taad = predictions((100, 0, 7, Action.PASS, 0.1), (130, 1, 7, Action.SHOT, 0.9))
    half = Detected("game_1_H1", [taad], truth((131, 1, 7, Action.SHOT)))
    got = half.cut(95, 135)
    assert np.isnan(got.state).all()
    places = np.argwhere(got.logits[0]).tolist()
    assert places == [[Action.SHOT, 13, 35]]  # a score of 0.1 is as good as none
    assert got.logits[0][Action.SHOT, 13, 35] == pytest.approx(5 * (np.log(9) - np.log(1 / 9)))
    assert np.argwhere(got.labels).tolist() == [[13, 36]] and got.labels[13, 36] == Action.SHOT


def test_a_player_keeps_a_slot_and_a_substitute_gets_a_free_one():
    """Thirteen fill the slots of a team; the next gets that of whoever has not been seen for longest."""
    rows = [(10 * i, 0, i, Action.PASS, 0.5) for i in range(1, 14)]
    rows += [(500, 0, i, Action.PASS, 0.5) for i in range(1, 14) if i != 5]
    half = Detected("game_1_H1", [predictions(*rows, (600, 0, 99, Action.PASS, 0.5))])
    assert half.jersey_at(np.arange(13), 400).tolist() == list(range(1, 14))
    assert half.jersey_at(np.arange(13), 600).tolist() == [1, 2, 3, 4, 99, *range(6, 14)]
    assert half.jersey_at(np.array([20]), np.array([0])).tolist() == [-1]
    assert np.argwhere(half.cut(590, 601).logits[0])[0].tolist() == [Action.PASS, 4, 10]


def test_the_slots_of_detections_do_not_depend_on_the_truth_of_the_scored_half():
    taad = predictions((5, 0, 7, 2, 0.5), (9, 0, 8, 2, 0.5), (11, 1, 9, 2, 0.5))
    alone = detected([taad])["game_1_H1"]
    assert alone.stints[["team", "jersey", "slot"]].to_numpy().tolist() == [
        [0, 7, 0],
        [0, 8, 1],
        [1, 9, 13],
    ]
    assert alone.cut(0, 20).labels is None


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_sparse_windows_say_the_same_as_full_ones(seed):
    """Frames that are left out are those without a peak, but the last; the tokens are the same."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 15))
    table = pd.DataFrame(
        {
            "half": pd.Categorical(["game_1_H1"] * n),
            "frame": rng.integers(0, 100, n),
            "team": rng.integers(0, 2, n),
            "jersey": rng.integers(1, 6, n),
            "cls": rng.integers(1, 9, n),
            "score": rng.uniform(0.2, 1, n),
        }
    )
    half = Detected("game_1_H1", [table], table.drop(columns="score"))
    excerpt = half.cut(0, 100)
    full = sample(excerpt, WindowConfig(window_length=100))
    short = sample(excerpt, WindowConfig(window_length=100, sparse=True))
    kept = sorted({*table["frame"], 99})
    np.testing.assert_array_equal(short.frames, np.array(kept) + 1)
    np.testing.assert_array_equal(short.features, full.features[kept])
    np.testing.assert_array_equal(short.tokens, full.tokens)
    assert not np.delete(full.features, kept, axis=0).any()


def test_a_sparse_window_without_any_peak_still_has_a_frame():
    half = Detected("game_1_H1", [predictions((5, 0, 7, 2, 0.5), (900, 0, 8, 2, 0.5))])
    got = sample(half.cut(100, 200), WindowConfig(window_length=100, sparse=True))
    assert got.frames.tolist() == [100] and not got.features.any()


def test_shuffled_players_stay_in_their_team_and_whole():
    """Each slot's peak and label move together, and team-mates stay team-mates."""
    rows = [(50, team, jersey, 1 + jersey % 8, 0.9) for team in (0, 1) for jersey in range(11)]
    half = Detected("game_1_H1", [predictions(*rows)], truth(*[(f, t, j, c) for f, t, j, c, _ in rows]))
    half.end_frame = 55  # room for one window
    data = WindowDataset({"h": half}, WindowConfig(5, 40, "players"))
    seen = set()
    for i in range(40):
        events = decode(data[i].tokens, 0)
        frame, slots, cls = events.T
        logits = data[i].features[:, 130:].reshape(-1, 9, 26)
        peaks = np.argwhere(logits[frame[0]]).tolist()
        assert sorted(peaks) == sorted(np.stack([cls, slots], axis=1).tolist())
        team = slots // 13
        assert sorted(cls[team == 0]) == sorted(cls[team == 1]) == sorted(1 + np.arange(11) % 8)
        seen.add(tuple(slots))
    assert len(seen) == 40


# --- what does not fit


def test_logits_of_another_length_are_named():
    half = random_half(np.random.default_rng(0))
    with pytest.raises(DataError, match=r"half game_1_H2: logit volume 2 of shape \(9, 26, 59\)"):
        Recorded(half, np.zeros((9, 26, 60)), np.zeros((9, 26, 59)))


def test_a_window_longer_than_the_half():
    half = Recorded(random_half(np.random.default_rng(0)))
    with pytest.raises(DataError, match=r"half game_1_H2: 60 frames, too short for windows of 61"):
        WindowDataset({"h": half}, WindowConfig(window_length=61))
    assert len(FixedWindows({"h": half}, WindowConfig(window_length=61))[0].frames) == 60


def test_a_challenge_half_has_nothing_to_learn_from():
    rng = np.random.default_rng(0)
    rows = np.zeros((60, len(Tactical) - 1), np.float32)
    rows[:, Tactical.FRAME] = np.arange(60)
    rows[:, Tactical.ROLE] = rng.integers(1, 14, 60)
    half = Recorded(dense(rows, "game_0_H1"))
    with pytest.raises(DataError, match="half game_0_H1: no labels"):
        WindowDataset({"h": half}, WindowConfig(window_length=10))[0]
    empty = FixedWindows({"h": half}, WindowConfig(window_length=10))[0]  # but it can be predicted
    assert empty.tokens[0, 1] == NO_SLOT and len(empty.tokens) == 2


def test_detections_that_lack_a_half_are_named():
    taad = predictions((5, 0, 7, 2, 0.5))
    both = truth((5, 0, 7, 2), halves=("game_1_H1", "game_1_H2"))
    with pytest.raises(DataError, match="detections 1 have no half game_1_H2"):
        detected([taad], both)
    with pytest.raises(DataError, match="half game_1_H2: no detections and no events"):
        detected([predictions(halves=("game_1_H2",))])


@pytest.mark.parametrize("wrong", [{"window_length": 0}, {"per_half": 0}, {"augment": "Z"}])
def test_impossible_choices(wrong):
    with pytest.raises(DataError, match="WindowConfig"):
        WindowConfig(**wrong)


def test_slots_can_be_taken_in_any_order():
    half = random_half(np.random.default_rng(8))
    order = np.random.default_rng(0).permutation(N_SLOTS)
    excerpt = Recorded(half, random_logits(np.random.default_rng(1))).cut(FIRST, FIRST + 10)
    moved = with_slots(excerpt, order)
    for i in range(N_SLOTS):
        np.testing.assert_array_equal(moved.state[State.X, i], excerpt.state[State.X, order[i]])
        np.testing.assert_array_equal(moved.labels[i], excerpt.labels[order[i]])
        np.testing.assert_array_equal(moved.logits[0][:, i], excerpt.logits[0][:, order[i]])
