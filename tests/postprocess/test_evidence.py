"""Evidence from events and from logits: hand-made cases, and loops over everything as oracle."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footpass.data.halves import HalfMatch
from footpass.events import concat
from footpass.files import DataError
from footpass.postprocess.evidence import EventEvidence, LogitEvidence, Remembered, load_logits
from footpass.postprocess.steps import Gate, Reassign, gate, reassign
from footpass.schema import N_CLASSES, N_SLOTS, Action, State, slot
from tests.oracles import postprocess as plain
from tests.tables import CROWDED, predictions, truth

PASS, DRIVE, TACKLE = Action.PASS, Action.DRIVE, Action.TACKLE
HALF = "game_1_H1"


def lineup(
    first: int, jersey: np.ndarray, name: str = HALF, visible: np.ndarray | float = 1.0
) -> HalfMatch:
    """A half of which only the jerseys matter, and who has a box: by default everybody."""
    state = np.zeros((len(State), *jersey.shape), np.float32)
    state[State.VISIBLE] = visible
    return HalfMatch(name, first, state, np.zeros((0, *jersey.shape)), jersey, None)


def volume(frames: int, *bumps: tuple[int, int, int, float]) -> np.ndarray:
    """Logits that say background, with bumps ``(cls, slot, frame, logit)``."""
    logits = np.zeros((N_CLASSES, N_SLOTS, frames), np.float16)
    logits[Action.BACKGROUND] = 5
    for cls, place, frame, logit in bumps:
        logits[cls, place, frame] = logit
    return logits


def probability(logit: float) -> float:
    """Softmax of ``logit`` against a background of 5 and seven zeros."""
    return float(np.exp(logit) / (np.exp(5) + np.exp(logit) + N_CLASSES - 2))


# -- events ---------------------------------------------------------------------------------------------


def test_peak_is_the_strongest_of_the_same_player_and_class_within_the_window():
    source = EventEvidence(
        predictions(
            (100, 0, 7, PASS, 0.6),
            (106, 0, 7, PASS, 0.8),
            (107, 0, 7, PASS, 0.9),  # a frame too far
            (101, 0, 7, DRIVE, 0.95),  # another class
            (101, 1, 7, PASS, 0.95),  # the opponent with the same jersey
            (101, 0, 8, PASS, 0.97),  # a team-mate
        )
    )
    query = predictions((101, 0, 7, PASS, 0.5), (101, 0, 9, PASS, 0.5), (101, 0, 7, TACKLE, 0.5))
    strength, frame = source.peak(query, window=5)
    assert strength.tolist() == [0.8, 0, 0] and frame.tolist() == [106, 101, 101]
    strength, jersey = source.best_mate(query, window=5)
    assert strength.tolist() == [0.97, 0.97, 0] and jersey.tolist() == [8, 8, 7]


def test_of_equal_peaks_the_nearest_then_the_earlier():
    source = EventEvidence(
        predictions((97, 0, 7, PASS, 0.8), (103, 0, 7, PASS, 0.8), (110, 0, 7, PASS, 0.8))
    )
    query = predictions((100, 0, 7, PASS, 1.0), (102, 0, 7, PASS, 1.0), (108, 0, 7, PASS, 1.0))
    assert source.peak(query, window=10)[1].tolist() == [97, 103, 110]


def test_a_half_that_the_model_lacks_is_not_known():
    source = EventEvidence(predictions((100, 0, 7, PASS, 0.8)))
    query = predictions(
        ("game_1_H2", 100, 0, 7, PASS, 0.5), (HALF, 100, 0, 7, PASS, 0.5), halves=("game_1_H2", HALF)
    )
    strength, frame = source.peak(query, window=5)
    np.testing.assert_array_equal(strength, [np.nan, 0.8])
    assert frame.tolist() == [100, 100]


def test_empty_tables():
    one, none = predictions((100, 0, 7, PASS, 0.8)), predictions()
    assert EventEvidence(none).peak(one, 5)[0].tolist() == [0]
    assert len(EventEvidence(one).peak(none, 5)[0]) == 0
    logits = LogitEvidence({HALF: volume(9)}, {HALF: lineup(0, np.zeros((N_SLOTS, 9), np.int16))})
    assert len(logits.peak(none, 5)[0]) == 0


def test_that_nothing_is_seen_may_be_taken_for_evidence():
    jersey = np.full((N_SLOTS, 9), 7, np.int16)
    logits, lineups = {HALF: volume(9)}, {HALF: lineup(0, jersey, visible=0.0)}
    query = predictions((4, 0, 7, PASS, 0.5), ("b_H1", 4, 0, 7, PASS, 0.5), halves=(HALF, "b_H1"))
    for unseen, wanted in ((False, np.nan), (True, 0.0)):
        source = LogitEvidence(logits, lineups, unseen).select([HALF])
        np.testing.assert_array_equal(source.peak(query, 2)[0], [wanted, np.nan])


def test_an_event_that_is_asked_about_again_is_looked_up_once(monkeypatch):
    source = EventEvidence(
        predictions((100, 0, 7, PASS, 0.6), (103, 0, 8, PASS, 0.8), halves=(HALF, "b_H1"))
    )
    asked, near = [], EventEvidence.near
    monkeypatch.setattr(EventEvidence, "near", lambda *args: asked.append(len(args[1])) or near(*args))
    query, kept = predictions((101, 0, 7, PASS, 0.5)), Remembered(source)
    for one in (kept, kept, kept.select([HALF]), source):
        assert [part.tolist() for part in one.peak(query, 3)] == [[0.6], [100]]
        assert [part.tolist() for part in one.best_mate(query, 3)] == [[0.8], [8]]
    assert asked == 4 * [1]
    more = predictions((101, 0, 7, PASS, 0.9), (200, 0, 7, PASS, 0.5), (200, 0, 7, PASS, 0.4))
    assert kept.peak(more, 3)[0].tolist() == [0.6, 0, 0] and asked[4:] == [1]


def test_what_is_remembered_of_a_half_is_not_known_where_the_half_is_not_covered():
    halves = (HALF, "b_H1")
    rows = (100, 0, 7, PASS, 0.6), ("b_H1", 100, 0, 7, PASS, 0.6)
    kept, query = (
        Remembered(EventEvidence(predictions(*rows, halves=halves))),
        predictions(*rows, halves=halves),
    )
    assert kept.peak(query, 3)[0].tolist() == [0.6, 0.6]
    for part in halves:
        np.testing.assert_array_equal(
            kept.select([part]).peak(query, 3)[0], [0.6 if half == part else np.nan for half in halves]
        )


def test_ground_truth_is_no_evidence():
    with pytest.raises(DataError, match="the table has no score"):
        EventEvidence(truth((100, 0, 7, PASS)))


def test_halves_can_be_cut_out():
    source = EventEvidence(
        predictions((5, 0, 7, PASS, 0.8), ("b_H1", 5, 0, 7, PASS, 0.7), halves=(HALF, "b_H1"))
    )
    assert source.select(["b_H1"]).halves == ("b_H1",)
    assert source.select(["b_H1"]).table["score"].tolist() == [0.7]


@settings(deadline=None, max_examples=60)
@given(CROWDED, CROWDED, st.integers(0, 12))
def test_events_as_a_loop_has_it(detected, asked, window):
    halves = ("a_H1", "a_H2")
    table, query = predictions(*detected, halves=halves), predictions(*asked, halves=halves)
    oracle, remembered = plain.PlainEvidence(table), Remembered(EventEvidence(table))
    for name in ("peak", "best_mate"):
        for source in (EventEvidence(table), remembered, remembered):
            strength, what = getattr(source, name)(query, window)
            found = list(zip(strength.tolist(), what.tolist(), strict=True))
            assert found == [getattr(oracle, name)(event, window) for event in asked]


def test_own_evidence_is_a_part_of_all():
    jersey = np.random.default_rng(0).integers(-1, 4, size=(N_SLOTS, 30))
    logits = np.random.default_rng(1).normal(size=(N_CLASSES, N_SLOTS, 30))
    query = predictions((10, 0, 1, PASS, 0.5), (12, 1, 2, DRIVE, 0.5), (12, 1, -1, DRIVE, 0.5))
    hits = ((f, t, j, PASS, 0.5) for f in range(8, 14) for t in (0, 1) for j in (1, 2))
    for source in (
        LogitEvidence({HALF: logits}, {HALF: lineup(0, jersey)}),
        EventEvidence(predictions(*hits)),
    ):
        everybody = source.near(query, 3)
        mine = everybody.jersey == query["jersey"].to_numpy()[everybody.event]
        assert 0 < mine.sum() < len(mine)
        for part, whole in zip(source.near(query, 3, own=True), everybody, strict=True):
            np.testing.assert_array_equal(part, whole[mine])


# -- logits ---------------------------------------------------------------------------------------------


def test_logits_of_the_slot_that_the_player_is_in_at_that_frame():
    left, right = slot(0, 2), slot(0, 13)
    jersey = np.full((N_SLOTS, 40), -1, np.int16)
    jersey[left, :20], jersey[right, 20:] = 7, 7  # changes slots at frame 120
    jersey[left, 20:] = 9  # a substitute
    source = LogitEvidence(
        {HALF: volume(40, (PASS, left, 18, 4.0), (PASS, left, 22, 8.0), (PASS, right, 24, 6.0))},
        {HALF: lineup(100, jersey)},
    )
    query = predictions((119, 0, 7, PASS, 0.5), (119, 0, 9, PASS, 0.5), (119, 0, 3, PASS, 0.5))
    strength, frame = source.peak(query, window=10)
    # 7 in his first slot, then in his second: 8.0 is the substitute's. 3 is not on the pitch.
    np.testing.assert_allclose(strength, [probability(6), probability(8), 0], rtol=1e-3)
    assert frame.tolist() == [124, 122, 119]
    strength, frame = source.peak(query, window=4)
    np.testing.assert_allclose(strength[:2], [probability(4), probability(8)], rtol=1e-3)
    assert frame.tolist() == [118, 122, 119]
    strength, mate = source.best_mate(query, window=10)
    np.testing.assert_allclose(strength, [probability(8), probability(6), probability(8)], rtol=1e-3)
    assert mate.tolist() == [9, 7, 9]


def test_no_logits_beyond_the_edges_of_the_half():
    jersey = np.full((N_SLOTS, 10), 7, np.int16)
    logits = volume(10, (PASS, 0, 9, 4.0))
    source = LogitEvidence({HALF: logits}, {HALF: lineup(40, jersey)})
    query = predictions((40, 0, 7, PASS, 0.5), (49, 0, 7, PASS, 0.5), (0, 0, 7, PASS, 0.5))
    strength, frame = source.peak(query, window=10)
    np.testing.assert_allclose(strength, [probability(4), probability(4), 0], rtol=1e-3)
    assert frame.tolist() == [49, 49, 0]


def test_of_who_has_no_box_pixels_tell_nothing():
    jersey = np.full((N_SLOTS, 40), -1, np.int16)
    seen, hidden = slot(0, 2), slot(0, 3)
    jersey[seen], jersey[hidden] = 2, 3
    visible = np.ones((N_SLOTS, 40))
    visible[hidden, :20] = 0
    logits = volume(40, (PASS, hidden, 10, 9.0), (PASS, hidden, 25, 4.0), (PASS, seen, 12, 6.0))
    source = LogitEvidence({HALF: logits}, {HALF: lineup(0, jersey, visible=visible)})
    query = predictions((10, 0, 3, PASS, 0.5), (16, 0, 3, PASS, 0.5), (10, 0, 2, PASS, 0.5))
    strength, frame = source.peak(query, window=9)
    # At 10 nothing within the window was seen of 3, whatever the logits say; at 16 what came after 20.
    np.testing.assert_allclose(strength, [np.nan, probability(4), probability(6)], rtol=1e-3)
    assert frame.tolist() == [10, 25, 12]
    strength, mate = source.best_mate(query, window=9)
    np.testing.assert_allclose(strength, [probability(6), probability(6), 0], rtol=1e-3)
    assert mate.tolist() == [2, 2, 2]
    # Who is not on the pitch at all, or not then, did nothing; of others nobody knows.
    others = predictions((10, 0, 99, PASS, 0.5), (10, 0, -1, PASS, 0.5), (900, 0, 3, PASS, 0.5))
    np.testing.assert_array_equal(source.peak(others, window=9)[0], [0, np.nan, 0])
    without_box = concat([query, others])
    kept = gate(without_box, source, Gate((0.5,) * 8, window=9)).table
    assert kept["jersey"].tolist() == [3, 2, -1] and kept["frame"].tolist() == [10, 10, 10]
    given = reassign(query.iloc[:2], source, Reassign(margin=0.1, window=9)).table
    assert given["jersey"].tolist() == [3, 2]


def test_a_number_that_is_unknown_for_a_while_is_that_of_before():
    jersey = np.full((N_SLOTS, 40), -1, np.int16)
    jersey[0, :5] = 7
    half = lineup(0, jersey)
    half.state[State.X, 0, 30:], half.state[State.VISIBLE, 0, 30:] = np.nan, 0  # now he is off
    source = LogitEvidence({HALF: volume(40, (PASS, 0, 20, 6.0))}, {HALF: half})
    query = predictions((20, 0, 7, PASS, 0.5), (36, 0, 7, PASS, 0.5))
    np.testing.assert_allclose(source.peak(query, window=3)[0], [probability(6), 0], rtol=1e-3)


def is_hidden(half, visible, event, window):
    """On the pitch within the window, but never with a box."""
    _, frame, team, jersey, *_ = event
    boxes = [
        visible[s, f - half.first_frame]
        for f in range(max(frame - window, half.first_frame), min(frame + window + 1, half.end_frame))
        for s in range(13 * team, 13 * team + 13)
        if half.jersey_at(s, f) == jersey >= 0
    ]
    return bool(boxes) and not any(boxes)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_logits_as_a_loop_has_it(seed, window):
    rng = np.random.default_rng(seed)
    first, count = 5, 20
    visible = rng.random((N_SLOTS, count)) < 0.5
    half = lineup(first, rng.integers(-1, 4, size=(N_SLOTS, count)), visible=visible)
    logits = rng.normal(size=(N_CLASSES, N_SLOTS, count)).astype(np.float16)
    query = predictions(
        *zip(
            rng.integers(0, 30, 8).tolist(),
            rng.integers(0, 2, 8).tolist(),
            rng.integers(0, 4, 8).tolist(),
            rng.integers(1, 9, 8).tolist(),
            [0.5] * 8,
            strict=True,
        )
    )
    x = np.exp(logits.astype(np.float32) - logits.max(axis=0).astype(np.float32))
    shares = x / x.sum(axis=0)
    hits = [
        (f, int(half.jersey_at(s, f)), s // 13, c, float(shares[c, s, f - first]))
        for f in range(first, first + count)
        for s in range(N_SLOTS)
        for c in range(1, N_CLASSES)
        if half.jersey_at(s, f) >= 0 and visible[s, f - first]
    ]
    # One hit a player, class and frame: of several slots with one jersey the strongest counts anyway.
    oracle = plain.PlainEvidence(predictions(*((f, t, j, c, p) for f, j, t, c, p in hits)))
    source = LogitEvidence({HALF: logits}, {HALF: half})
    for name in ("peak", "best_mate"):
        strength, what = getattr(source, name)(query, window)
        expected = [getattr(oracle, name)(event, window) for event in plain.rows_of(query)]
        hidden = [is_hidden(half, visible, event, window) for event in plain.rows_of(query)]
        wanted = [one[0] or (np.nan if h else 0) for h, one in zip(hidden, expected, strict=True)]
        np.testing.assert_allclose(strength, wanted, rtol=1e-5)
        assert what.tolist() == [one[1] for one in expected]


def test_a_logit_store_is_read_like_arrays(tmp_path):
    jersey = np.full((N_SLOTS, 10), 7, np.int16)
    logits = {"a_H1": volume(10, (PASS, 0, 4, 6.0)), "b_H1": volume(10)}
    with h5py.File(tmp_path / "logits.h5", "w") as file:
        for half, array in logits.items():
            file[half] = array
    lineups = {half: lineup(0, jersey, half) for half in logits}
    stored, held = load_logits(tmp_path / "logits.h5", lineups), LogitEvidence(logits, lineups)
    query = predictions(
        ("b_H1", 3, 0, 7, PASS, 1.0), ("a_H1", 3, 0, 7, PASS, 1.0), halves=("b_H1", "a_H1")
    )
    for window in (0, 3):
        for a, b in zip(stored.peak(query, window), held.peak(query, window), strict=True):
            np.testing.assert_array_equal(a, b)
    assert stored.select(["b_H1"]).halves == ("b_H1",)


def test_bad_logits(tmp_path):
    jersey = np.full((N_SLOTS, 10), 7, np.int16)
    with pytest.raises(
        DataError, match=r"half game_1_H1: logits of shape \(8, 26, 10\) instead of \(9, 26"
    ):
        LogitEvidence({HALF: volume(10)[1:]}, {HALF: lineup(0, jersey)})
    with pytest.raises(DataError, match="half game_1_H1: logits without tactical data"):
        LogitEvidence({HALF: volume(10)}, {})
    (tmp_path / "bad.h5").write_text("no")
    with pytest.raises(DataError, match=r"bad\.h5: cannot be read"):
        load_logits(tmp_path / "bad.h5", {})


def test_stored_logits_by_frame_of_the_half_instead_of_the_video(tmp_path):
    """They would silently support the wrong events of every second half."""
    with h5py.File(tmp_path / "logits.h5", "w") as file:
        file["game_1_H2"] = volume(10)
    late = lineup(75_000, np.zeros((N_SLOTS, 10), np.int16), "game_1_H2")
    with pytest.raises(DataError, match=r"shape \(9, 26, 10\) instead of \(9, 26, 75010\)"):
        load_logits(tmp_path / "logits.h5", {"game_1_H2": late})
