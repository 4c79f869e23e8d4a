"""Odd rows: what is made of each, that it is named once, and that nobody is lost who shares a slot."""

import json
import logging

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footpass.__main__ import main
from footpass.data.cache import open_footage, open_halves
from footpass.data.halves import dense, events_of
from footpass.data.mending import mend, suspicions
from footpass.data.tactical import write_tactical
from footpass.data.video import write_video
from footpass.files import DataError
from footpass.schema import Action, Role, State, Tactical, slot
from tests.data.test_halves import BOX, NAN, row, table


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        (Tactical.ROLE, 0, "role 0 is not a whole number of 1..13: left out"),
        (Tactical.ROLE, 14, "role 14 is not a whole number of 1..13: left out"),
        (Tactical.ROLE, NAN, "role nan is not a whole number of 1..13: left out"),
        (Tactical.TEAM, 2, "team 2 is not a whole number of 0..1: left out"),
        (Tactical.FRAME, NAN, "frame nan is not a whole number of 0..16777215: left out"),
        (Tactical.FRAME, -1, "frame -1 is not a whole number of 0..16777215: left out"),
        (Tactical.FRAME, 9e6, "frame 9000000 is hours away from the half's other frames: left out"),
    ],
)
def test_a_row_without_a_place_is_left_out(column, value, reason):
    rows = table(*(row(frame, 0, 3) for frame in range(6)))
    rows[4, column] = value
    mended = mend(rows)
    assert [(str(fault), fault.rows.tolist()) for fault in mended.faults] == [(reason, [4])]
    assert mended.numbers.tolist() == [0, 1, 2, 3, 5]
    half = dense(rows, "game_1_H1")
    assert half.jersey[slot(0, 3)].tolist() == [7, 7, 7, 7, -1, 7]


@pytest.mark.parametrize(
    ("column", "value", "reason", "read"),
    [
        (Tactical.JERSEY, np.inf, "jersey inf is not a whole number of -1..999: taken for unknown", NAN),
        (Tactical.LABEL, 9, "label 9 is not a whole number of 0..8: taken for no event", 0),
        (Tactical.LABEL, NAN, "label nan is not a whole number of 0..8: taken for no event", 0),
        (Tactical.X, -np.inf, "the position (-inf, 0.5) is none: taken for unknown", NAN),
        (Tactical.VY, 1e9, "the speed (0, 1e+09) is none: estimated from positions", NAN),
        (
            Tactical.BOX_Y,
            1e5,
            "the box (960, 100000, 48, 108) is larger than any picture: taken for no box",
            NAN,
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_mended(column, value, reason, read):
    rows = table(*(row(frame, 0, 3, box=BOX) for frame in range(6)))
    rows[[2, 4], column] = value
    mended = mend(rows)
    (fault,) = mended.faults
    assert (str(fault).replace(" (and 1 more row)", ""), fault.rows.tolist()) == (reason, [2, 4])
    np.testing.assert_array_equal(mended.rows[[2, 4], column], read)
    untouched = np.delete(rows, [2, 4], axis=0)
    np.testing.assert_array_equal(np.delete(mended.rows, [2, 4], axis=0), untouched)


def test_a_half_without_a_row_that_has_a_place_is_refused():
    rows = table(row(0, 0, 0), row(1, 0, 99))
    with pytest.raises(DataError, match=r"my.h5: half game_1_H1: no row has a place: role 0 is not"):
        dense(rows, "game_1_H1", "my.h5")


def test_the_rows_given_are_not_changed():
    rows = table(row(0, 0, 1, cls=NAN), row(0, 0, 1, 9), row(0, 0, 0))
    before = rows.copy()
    mend(rows)
    np.testing.assert_array_equal(rows, before)


def test_speeds_are_estimated_from_where_the_same_player_was():
    """1 % of 105 m and 2 % of 68 m a frame; 0 and 5 have one neighbour, and 6 is another player."""
    rows = table(
        *(row(f, 0, 5, 7 if f < 6 else 8, xy=(0.01 * f, 0.02 * f), v=(NAN, NAN)) for f in range(7))
    )
    rows[2, Tactical.VX : Tactical.VY + 1] = 3, 4
    half = dense(rows, "game_1_H1")
    expected = np.tile([[26.25], [34.0]], 7)
    expected[:, 2], expected[:, 6] = (3, 4), 0
    np.testing.assert_allclose(half.state[[State.VX, State.VY], slot(0, 5)], expected, atol=1e-4)


plain = row(3, 1, 4, box=BOX, cls=Action.PASS)
wild = st.tuples(*(st.one_of(st.just(value), st.floats()) for value in plain))


@pytest.mark.filterwarnings("error")
@settings(max_examples=200, deadline=None)
@given(st.lists(wild, min_size=1, max_size=12), st.sampled_from([13, 14]), st.sampled_from("fd"))
def test_any_numbers_at_all_become_a_half_or_one_error(rows, width, dtype):
    with np.errstate(over="ignore"):
        rows = np.array(rows)[:, :width].astype(dtype)
    try:
        half = dense(rows, "game_1_H1", "my.h5")
    except DataError as error:
        assert str(error).startswith("my.h5: half game_1_H1: no row has a place: ")
        return
    assert not np.isinf(half.state).any() and not np.isinf(half.boxes).any()
    known = np.isfinite(half.state[: State.VISIBLE]).all(axis=0)
    assert (known | np.isnan(half.state[: State.VISIBLE]).all(axis=0)).all()
    assert (np.isfinite(half.boxes).all(axis=-1) == (half.state[State.VISIBLE] > 0)).all()
    list(suspicions(mend(rows).rows))


# --- players who share a slot


def test_of_two_players_in_one_slot_the_new_one_gets_a_free_one():
    rows = [row(frame, 0, Role.CF, 9) for frame in range(10)]
    rows += [row(frame, 0, Role.GK, 1) for frame in range(10)]
    rows += [row(frame, 0, Role.CF, 19, cls=Action.SHOT * (frame == 5)) for frame in (4, 5)]
    half = dense(table(*rows), "game_1_H1")
    assert half.jersey[slot(0, Role.CF)].tolist() == [9] * 10
    assert half.jersey[slot(0, Role.LB)].tolist() == [-1] * 4 + [19] * 2 + [-1] * 4
    assert events_of(half)[["frame", "jersey", "cls"]].values.tolist() == [[5, 19, Action.SHOT]]


def test_where_no_slot_is_free_the_labelled_player_is_kept():
    rows = [row(frame, 0, role, role) for frame in range(3) for role in Role]
    rows += [row(1, 0, Role.CF, 99, cls=Action.SHOT), row(2, 0, Role.CF, 99)]
    mended = mend(table(*rows))
    half = dense(table(*rows), "game_1_H1")
    assert half.jersey[slot(0, Role.CF)].tolist() == [Role.CF, 99, Role.CF]
    (fault,) = mended.faults
    assert str(fault).endswith("is for team 0 role 12 at frame 1 too (and 1 more row): left out")
    assert fault.rows.tolist() == [13 + Role.CF - 1, 3 * 13 + 1]


def test_of_two_rows_of_one_player_the_labelled_one_is_kept_else_the_last():
    rows = table(
        row(0, 0, 5, 7, xy=(0.1, 0.1), cls=Action.PASS),
        row(0, 0, 5, 7, xy=(0.2, 0.2)),
        row(1, 0, 5, 7, xy=(0.3, 0.3)),
        row(1, 0, 5, 7, xy=(0.4, 0.4)),
    )
    half = dense(rows, "game_1_H1")
    np.testing.assert_allclose(half.state[State.X, slot(0, 5)], [0.1, 0.4])
    assert half.labels[slot(0, 5)].tolist() == [Action.PASS, 0]
    rows[:, Tactical.JERSEY] = -1, NAN, NAN, -1  # unknown: told by the identity
    assert mend(rows).numbers.tolist() == [0, 3]


crowded = st.tuples(
    st.integers(0, 4),
    st.integers(0, 1),
    st.sampled_from([1, 2]),
    st.integers(1, 4),
    st.sampled_from([0, 0, 0, 2, 5]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(crowded, min_size=1, max_size=60))
def test_no_player_is_lost_while_his_team_has_a_free_slot(players):
    """At most eight players of a team in thirteen slots: all are in, once, with their labels."""
    rows = table(*(row(f, team, role, jersey, cls=cls) for f, team, role, jersey, cls in players))
    mended = mend(rows)
    cells = mended.rows[:, [Tactical.FRAME, Tactical.TEAM, Tactical.ROLE]]
    assert len(np.unique(cells, axis=0)) == len(cells)
    who = {(f, team, role, jersey) for f, team, role, jersey, _ in players}
    assert len(mended.rows) == sum(
        len({(role, jersey) for g, t, role, jersey in who if (g, t) == (f, team)})
        for f in range(5)
        for team in (0, 1)
    )
    kept = rows[mended.numbers]
    for f, team, role, jersey in who:
        labels = {p[4] for p in players if p[:4] == (f, team, role, jersey)}
        same = (kept[:, [0, 2, 4, 3]] == (f, team, role, jersey)).all(axis=1)
        assert same.sum() == 1 and (kept[same, Tactical.LABEL] > 0) == (max(labels) > 0)


# --- what only looks wrong


def whole_half(change):
    rows = table(*(row(f, 0, 5, xy=(0.5, 0.5), box=BOX) for f in range(300)))
    return [str(fault) for fault in suspicions(change(rows))]


def changed(part, value):
    def change(rows):
        rows[part] = value(rows[part])
        return rows

    return change


def test_what_only_looks_wrong_is_named():
    assert whole_half(lambda rows: rows) == []
    every = slice(None)
    (reason,) = whole_half(changed((every, [5, 6]), lambda xy: xy * (105, 68)))
    assert reason.startswith("the position (52.5, 34) is off the pitch") and "x / 105, y / 68" in reason
    (reason,) = whole_half(changed((every, slice(9, 13)), lambda box: box / 3))
    assert "no box reaches beyond 640x360: in pixels of the 640x352 video? x * 3, y * 3.068182" in reason
    (reason,) = whole_half(lambda rows: rows[rows[:, 0] % 3 != 1])
    assert reason == "no row for frame 1, and so 100 times: every frame has some"
    assert whole_half(lambda rows: rows[(rows[:, 0] < 100) | (rows[:, 0] > 200)]) == []  # highlights


def test_rows_apart_from_the_half_are_left_out():
    """One would make the half longer than its video; a highlight of a second is no stray."""
    rows = table(*(row(f, 0, 5) for f in (7, *range(100, 400), 460, 461)))
    mended = mend(rows)
    assert [str(fault) for fault in mended.faults] == [
        "frame 7 is apart from the half's other frames: left out",
        "frame 460 is apart from the half's other frames (and 1 more row): left out",
    ]
    assert mended.rows[[0, -1], 0].tolist() == [100, 399]
    highlights = table(*(row(f, 0, 5) for f in (*range(100, 400), *range(500, 525))))
    assert mend(highlights).faults == []


# --- named once, refused on request


@pytest.fixture
def season(tmp_path):
    rows = table(*(row(frame, 0, 3) for frame in range(50)), row(7, 0, 0))
    write_tactical(tmp_path / "val_tactical_data.h5", {"game_1_H1": rows}.items())
    return tmp_path


def test_odd_rows_are_named_when_a_half_is_prepared_and_refused_by_strict(season, caplog, capsys):
    said = f"{season}/val_tactical_data.h5: half game_1_H1, row 50: "
    said += "role 0 is not a whole number of 1..13: left out"
    with caplog.at_level(logging.WARNING):
        open_halves(season, "val")
        open_halves(season, "val")
    assert [record.getMessage() for record in caplog.records] == [said]
    assert main(["prepare", str(season)]) == 0
    page = ["report-match", "--data", str(season), "--out", str(season / "match.html")]
    for command in (["prepare", str(season)], [*page, "--half", "game_1_H1"]):
        assert main([*command, "--strict"]) == 2
        assert capsys.readouterr().err.splitlines()[-1] == f"error: {said}"


def test_what_is_no_half_is_left_out_and_named(season, caplog):
    with h5py.File(season / "val_tactical_data.h5", "a") as file:
        file["calibration"] = np.zeros(3)
    assert list(open_halves(season, "val")) == ["game_1_H1"]
    assert caplog.messages[0] == f"{season}/val_tactical_data.h5: left out, being no half: 'calibration'"


def test_rows_just_beyond_the_end_of_the_video_are_left_out(season, caplog):
    (season / "videos").mkdir()
    write_video(season / "videos" / "game_1.mp4", [np.zeros((32, 48, 3), np.uint8)] * 40)
    half = open_footage(season, "val")["game_1_H1"].half
    assert (half.first_frame, half.end_frame) == (0, 40)
    assert "game_1_H1: its last frame is 49 and the video has 40 frames: what is beyond" in caplog.text


def test_check_names_a_second_half_that_is_counted_from_its_own_start(season, capsys):
    rows = table(*(row(frame, 0, 3) for frame in range(50)))
    write_tactical(season / "val_tactical_data.h5", {"game_1_H1": rows, "game_1_H2": rows}.items())
    assert main(["check", str(season), "--json", str(season / "check.json")]) == 1
    (problem,) = json.loads((season / "check.json").read_text())["problems"]
    assert problem["half"] == "game_1_H2"
    assert problem["reason"].startswith("begins at frame 0, before game_1_H1 ends at 49: counted from")
