"""Events to tokens and back, through windows of any kind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from footpass.files import DataError
from footpass.schema import EOS, MISSING, NO_SLOT, PAD, SOS, Action, State
from footpass.sequence.tokens import decode, encode, window_features
from footpass.sequence.windows import Sample, Window, collate, windows

FIRST = 75_000
events_of_a_half = st.lists(
    st.tuples(st.integers(FIRST, FIRST + 199), st.integers(0, 25), st.integers(1, 8)), max_size=60
).map(lambda rows: np.array(sorted(rows), dtype=np.int64).reshape(-1, 3))


def padded(sentences: list[np.ndarray]):
    """The tokens of some windows as a batch has them."""
    return collate([Sample(np.zeros((1, 1)), np.ones(1), one) for one in sentences]).tokens


def test_tokens_of_a_window():
    events = [[110, 3, Action.SHOT], [100, 25, Action.PASS], [149, 0, Action.DRIVE], [150, 1, 1]]
    tokens = encode(np.array(events), start=100, length=50)
    assert tokens.tolist() == [
        [SOS, NO_SLOT, 0],
        [1, 25, 1],  # the window's first frame is 1
        [4, 3, 11],
        [0, 0, 50],  # its last is its window_length
        [EOS, NO_SLOT, 51],
    ]
    assert decode(tokens, start=100).tolist() == [[100, 25, 2], [110, 3, 5], [149, 0, 1]]


def test_a_window_without_events_is_a_start_and_an_end():
    tokens = encode(np.empty((0, 3)), start=0, length=50)
    assert tokens.tolist() == [[SOS, NO_SLOT, 0], [EOS, NO_SLOT, 51]]
    assert decode(tokens, start=0).shape == (0, 3)
    assert decode(np.empty((0, 3)), start=0).shape == (0, 3)


@given(events_of_a_half, st.integers(1, 250), st.data())
def test_a_half_survives_windows_tokens_and_padding(events, window_length, data):
    """Whatever the windows, also 60 events in one and several at one frame: each comes back once."""
    stride = data.draw(st.integers(1, window_length))
    parts = windows(FIRST, FIRST + 200, window_length, stride)
    batch = padded([encode(events, part.start, window_length) for part in parts])
    found = []
    for part, tokens in zip(parts, batch, strict=True):
        for event in decode(tokens, part.start).tolist():
            assert part.start <= event[0] < part.stop
            if part.own_start <= event[0] < part.own_stop:
                found.append(event)
    assert sorted(found) == events.tolist()


@given(st.integers(0, 300), st.integers(1, 400), st.integers(1, 120), st.data())
def test_windows_cover_and_own_every_frame(first, length, window_length, data):
    stride = data.draw(st.integers(1, window_length))
    parts = windows(first, first + length, window_length, stride)
    owned = [frame for part in parts for frame in range(part.own_start, part.own_stop)]
    assert owned == list(range(first, first + length))
    for part in parts:
        assert part.start <= part.own_start < part.own_stop <= part.stop
        assert part.stop - part.start == min(window_length, length)


def test_windows_of_a_half():
    assert windows(0, 1600, 750, 750) == [
        Window(0, 750, 0, 750),
        Window(750, 1500, 750, 1175),
        Window(850, 1600, 1175, 1600),  # moved back; it owns what it sees best
    ]
    assert windows(10, 60, 750, 375) == [Window(10, 60, 10, 60)]
    own = [(w.own_start, w.own_stop) for w in windows(0, 1500, 750, 375)]
    assert own == [(0, 562), (562, 937), (937, 1500)]


def test_padding_is_neither_end_nor_start():
    """In the public code the end of a sequence and padding share a number."""
    batch = padded([encode(np.array([[5, 1, 1]]), 0, 10), encode(np.empty((0, 3)), 0, 10)])
    assert batch.shape == (2, 3, 3)
    assert batch[1].tolist() == [[SOS, NO_SLOT, 0], [EOS, NO_SLOT, 11], [PAD] * 3]


def test_tokens_without_an_end_are_kept():
    """The public decoding drops a window that has no end."""
    tokens = encode(np.array([[5, 1, 1], [6, 2, 2]]), 0, 10)[1:-1]
    assert decode(tokens, 0).tolist() == [[5, 1, 1], [6, 2, 2]]


@pytest.mark.parametrize("row", [[5, 26, 1], [5, -1, 1], [5, 0, 0], [5, 0, 9]])
def test_what_is_no_event_is_an_error(row):
    with pytest.raises(DataError, match=r"event 1: .* is not an event"):
        encode(np.array([[1, 1, 1], row]), 0, 10)


def test_impossible_windows_are_errors():
    with pytest.raises(DataError, match="are none"):
        windows(5, 5, 10, 10)
    with pytest.raises(DataError, match=r"stride 11 is not within 1\.\.10"):
        windows(0, 50, 10, 11)


def test_features_of_a_window_are_in_the_published_order():
    rng = np.random.default_rng(0)
    state, taad, gnn = (rng.random((n, 26, 4)).astype(np.float32) for n in (5, 9, 9))
    state[:4, 7, 2] = np.nan
    features = window_features(state, taad, gnn)
    assert features.shape == (4, 598)
    assert features.dtype == np.float32
    for t in range(4):
        for m in range(26):
            missing = (t, m) == (2, 7)
            for c in State:
                assert features[t, c * 26 + m] == (MISSING if missing else state[c, m, t])
            for c in range(9):
                assert features[t, 130 + c * 26 + m] == taad[c, m, t]
                assert features[t, 364 + c * 26 + m] == gnn[c, m, t]
    assert np.array_equal(window_features(state, taad), features[:, :364])
