import json
import zipfile

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from footpass.events import (
    concat,
    halves_of,
    load_json,
    match_of,
    read_ground_truth,
    read_predictions,
    select_halves,
    write_events,
    write_submission,
)
from footpass.files import DataError, strictly
from tests.tables import predictions, truth

GOOD = [100, 0, 10, 2, 0.9]


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def one_half(*rows):
    return {"keys": ["game_1_H1"], "events": {"game_1_H1": list(rows)}}


def test_reads_values_in_file_order(tmp_path):
    rows = [[75000, 1, 7, 8, 0.5], [30, 0, 10, 2, 1]]
    table = read_predictions(write(tmp_path / "p.json", one_half(*rows)))
    assert table.drop(columns="half").to_numpy().tolist() == rows
    assert table["half"].tolist() == ["game_1_H1"] * 2


def test_a_half_without_events_is_kept(tmp_path):
    content = {"keys": ["game_1_H1", "game_1_H2"], "events": {"game_1_H2": [], "game_1_H1": [GOOD]}}
    table = read_predictions(write(tmp_path / "p.json", content))
    assert halves_of(table) == ["game_1_H1", "game_1_H2"]
    write_events(table, tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == {
        "keys": ["game_1_H1", "game_1_H2"],
        "events": {"game_1_H1": [GOOD], "game_1_H2": []},
    }


def test_nothing_is_lost_when_there_is_no_half_at_all(tmp_path):
    table = read_predictions(write(tmp_path / "p.json", {"keys": [], "events": {}}))
    assert len(table) == 0 and halves_of(table) == []


BAD_FILES = {
    "not JSON": ("{", "not JSON"),
    "not UTF-8": (None, "not JSON"),
    "deep": ("[" * 100_000, "not JSON"),
    "a list": ([], '"keys" and "events"'),
    "no keys": ({"events": {}}, '"keys" and "events"'),
    "no events": ({"keys": []}, '"keys" and "events"'),
    "keys no list": ({"keys": "game_1_H1", "events": {}}, '"keys" is not a list'),
    "key no name": ({"keys": [1], "events": {}}, '"keys" is not a list of names'),
    "events no object": ({"keys": [], "events": []}, '"events" is not an object'),
    "key without events": ({"keys": ["game_1_H1"], "events": {}}, 'game_1_H1: is in "keys"'),
    "events without key": ({"keys": [], "events": {"game_1_H1": []}}, 'not in "keys"'),
    "half twice": ({"keys": ["game_1_H1"] * 2, "events": {"game_1_H1": []}}, "occurs twice"),
    "half twice in events": ('{"keys": ["a_H1"], "events": {"a_H1": [], "a_H1": []}}', "occurs twice"),
    "half twice in other letters": (r'{"a_H1": [], "\u0061_H1": []}', "occurs twice"),
    "half of no number": ({"keys": ["a_H" + "1" * 5000], "events": {}}, "the name does not end in _H1"),
    "name of no half": ({"keys": ["game_1"], "events": {"game_1": []}}, "does not end in _H1"),
    "events no rows": (
        {"keys": ["a_H1"], "events": {"a_H1": {}}},
        "a_H1: the events are not a list",
    ),
    "infinity": ('{"keys": ["a_H1"], "events": {"a_H1": [[1, 0, 1, 1, Infinity]]}}', "row 0: score inf"),
    "NaN": ('{"keys": ["a_H1"], "events": {"a_H1": [[1, 0, 1, 1, NaN]]}}', "row 0: score nan"),
}


@pytest.mark.parametrize("content, reason", BAD_FILES.values(), ids=BAD_FILES)
def test_bad_file_is_named_with_its_reason(tmp_path, content, reason):
    path = tmp_path / "p.json"
    path.write_bytes(b"\xff\xfe") if content is None else write(path, content)
    with pytest.raises(DataError, match="p.json") as error:
        read_predictions(path)
    assert reason in str(error.value)


BAD_ROWS = {
    "short": ([100, 0, 10, 2], "4 values instead of 5"),
    "long": ([*GOOD, 1], "6 values instead of 5"),
    "no list": ("drive", "is not a list"),
    "string": ([100, 0, "10", 2, 0.9], "jersey '10' is not an integer"),
    "boolean": ([100, False, 10, 2, 0.9], "team False is not an integer"),
    "null": ([None, 0, 10, 2, 0.9], "frame None is not an integer"),
    "boolean score": ([100, 0, 10, 2, True], "score True is not a number"),
    "class 0": ([100, 0, 10, 0, 0.9], "cls 0 is outside 1..8"),
    "class 9": ([100, 0, 10, 9, 0.9], "cls 9 is outside 1..8"),
    "team 2": ([100, 2, 10, 2, 0.9], "team 2 is outside 0..1"),
    "negative frame": ([-1, 0, 10, 2, 0.9], "frame -1 is outside"),
    "fractional frame": ([1.5, 0, 10, 2, 0.9], "frame 1.5 is not an integer"),
    "huge frame": ([10**30, 0, 10, 2, 0.9], "is outside"),
    "high score": ([100, 0, 10, 2, 1.01], "score 1.01 is outside 0..1"),
    "low score": ([100, 0, 10, 2, -0.1], "score -0.1 is outside 0..1"),
}


@pytest.mark.parametrize("row, reason", BAD_ROWS.values(), ids=BAD_ROWS)
def test_bad_row_is_named_with_file_half_and_row(tmp_path, row, reason):
    path = write(tmp_path / "p.json", one_half(GOOD, GOOD, row))
    with pytest.raises(DataError) as error:
        read_predictions(path)
    assert f"{path}: half game_1_H1, row 2: " in str(error.value)
    assert reason in str(error.value)


@pytest.mark.parametrize("flags", [[2, 0], [0, True], [0.5, 0]])
def test_flags_of_ground_truth_are_0_or_1(tmp_path, flags):
    with pytest.raises(DataError, match="row 0"):
        read_ground_truth(write(tmp_path / "g.json", one_half([100, 0, 10, 2, *flags])))


def test_ground_truth_read_as_predictions_says_what_a_row_should_be(tmp_path):
    path = write(tmp_path / "g.json", one_half([100, 0, 10, 2, 1, 0]))
    with pytest.raises(DataError, match=r"6 values instead of 5 \(frame, team, jersey, cls, score\)"):
        read_predictions(path)


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_missing_file_or_folder_is_a_data_error(tmp_path, name):
    with pytest.raises(DataError, match="cannot be read"):
        read_predictions(tmp_path / name)


rows = st.lists(
    st.tuples(
        st.sampled_from(["game_1_H1", "game_1_H2"]),
        st.integers(0, 200_000),
        st.integers(0, 1),
        st.integers(-1, 99),
        st.integers(1, 8),
        st.floats(0, 1),
    ),
    max_size=20,
)


@given(rows)
def test_written_predictions_read_back_the_same(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("round") / "p.json"
    table = predictions(*sorted(rows, key=lambda row: row[0]), halves=("game_1_H1", "game_1_H2"))
    write_events(table, path)
    pd.testing.assert_frame_equal(read_predictions(path), table)


def test_released_ground_truth_survives_a_round_trip(tmp_path, release):
    source = release / "playbyplay_GT" / "playbyplay_val.json"
    write_events(read_ground_truth(source), tmp_path / "g.json")
    assert json.loads((tmp_path / "g.json").read_text()) == json.loads(source.read_text())


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"frame": [1.5]}, "frame 1.5 is not an integer"),
        ({"score": [float("nan")]}, "score nan is outside"),
        ({"cls": [9]}, "cls 9"),
        ({"half": ["game_1_H1"]}, "not categorical"),
    ],
)
def test_a_bad_table_is_not_written(tmp_path, change, reason):
    path = write(tmp_path / "p.json", "earlier")
    with pytest.raises(DataError, match=reason):
        write_events(predictions((100, 0, 10, 2, 0.9)).assign(**change), path)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_into_a_folder_that_is_not_there_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        write_events(predictions((100, 0, 10, 2, 0.9)), tmp_path / "no" / "p.json")


@pytest.mark.parametrize("layout", ["official", "flat"])
def test_submission_holds_the_rows_in_both_layouts(tmp_path, layout):
    path = tmp_path / "out.zip"
    write_submission(predictions((100, 0, 10, 2, 0.9)), path, layout)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["predictions.json"]
        content = json.loads(archive.read("predictions.json"))
    events = content["events"] if layout == "official" else content
    assert events == {"game_1_H1": [GOOD]}
    assert layout == "flat" or content["keys"] == ["game_1_H1"]


def test_the_same_predictions_give_the_same_submission(tmp_path):
    for name in ("a.zip", "b.zip"):
        write_submission(predictions((100, 0, 10, 2, 0.9)), tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_ground_truth_is_no_submission(tmp_path):
    with pytest.raises(DataError, match="score"):
        write_submission(truth((100, 0, 10, 2)), tmp_path / "out.zip")


def test_select_and_concat_know_their_halves():
    table = predictions(
        ("game_1_H1", 5, 0, 1, 1, 0.5), ("game_2_H1", 6, 0, 1, 1, 0.5), halves=("game_1_H1", "game_2_H1")
    )
    second = select_halves(table, ["game_2_H1"])
    assert second["frame"].tolist() == [6] and halves_of(second) == ["game_2_H1"]
    both = concat([second, select_halves(table, ["game_1_H1"])])
    assert both["frame"].tolist() == [6, 5] and halves_of(both) == ["game_2_H1", "game_1_H1"]
    assert match_of("game_18_H2") == "game_18"


# --- other forms that the official evaluator reads


def test_whole_numbers_may_be_written_as_floats(tmp_path, caplog):
    path = write(tmp_path / "p.json", one_half([100.0, 0.0, 10, 2.0, 1], [101, 0, 10, 2, 0.5]))
    table = read_predictions(path)
    assert table.drop(columns="half").to_numpy().tolist() == [[100, 0, 10, 2, 1], [101, 0, 10, 2, 0.5]]
    assert table["frame"].dtype == "int64"
    assert caplog.messages == [
        f"{path}: half game_1_H1: 3 whole numbers are written with a decimal point"
    ]
    with strictly(), pytest.raises(DataError, match="with a decimal point"):
        read_predictions(path)


def test_a_byte_order_mark_is_passed_over(tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(one_half(GOOD)), encoding="utf-8-sig")
    assert len(read_predictions(path)) == 1


def test_the_flat_layout_of_a_submission_is_read(tmp_path):
    table = read_predictions(write(tmp_path / "p.json", {"game_1_H1": [GOOD], "game_1_H2": []}))
    assert halves_of(table) == ["game_1_H1", "game_1_H2"]
    write_submission(table, tmp_path / "entry.zip", "flat")
    with zipfile.ZipFile(tmp_path / "entry.zip") as archive:
        archive.extract("predictions.json", tmp_path)
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "predictions.json"), table)


def test_a_second_half_that_is_counted_from_its_own_start_is_named(tmp_path, caplog):
    content = {"game_1_H1": [[60, 0, 1, 1, 1], [900, 0, 1, 1, 1]], "game_1_H2": [[70, 0, 1, 1, 1]]}
    path = write(tmp_path / "p.json", content | {"game_2_H2": [[5, 0, 1, 1, 1]]})
    read_predictions(path)
    assert caplog.messages == [
        f"{path}: half game_1_H2: begins at frame 70, before game_1_H1 ends at 900: "
        "counted from its own start instead of the video's?"
    ]


@pytest.mark.parametrize("name", ["../x_H1", "/etc/x_H1", "a\\b_H1", "x\x00_H1", "x_H", "_H1"])
def test_a_half_whose_name_leads_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(DataError):
        read_predictions(write(tmp_path / "p.json", {"keys": [name], "events": {name: []}}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.integers(0, 200), st.sampled_from(["", '"', ",", "]", "NaN", "\\", '{"a":1,"a":2}']))
def test_json_is_read_as_python_reads_it(tmp_path_factory, content, at, noise):
    """The fast reader stands in for ``json`` where that has nothing to complain of."""
    text = json.dumps(content)
    text = text[:at] + noise + text[at:]
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(text, encoding="utf-8")

    def unique(pairs):
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    try:
        expected = repr(json.loads(text, object_pairs_hook=unique))
    except (ValueError, AssertionError):
        expected = DataError
    try:
        read = repr(load_json(path))
    except DataError:
        read = DataError
    assert read == expected
