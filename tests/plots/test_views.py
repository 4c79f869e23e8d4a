"""Pictures of a half: what is drawn where, as mp4, and in a notebook."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from footpass.__main__ import main
from footpass.data.cache import Footage
from footpass.data.halves import HalfMatch
from footpass.data.video import probe, write_video
from footpass.files import DataError
from footpass.metrics import evaluate
from footpass.plots import views
from footpass.plots.errors import error_strips, some_misses
from footpass.schema import MODEL_SIZE, N_SLOTS, Action, Role, State, slot
from footpass.simulate.season import write_season

FIRST, LENGTH = 100, 60
KEEPER, STRIKER, UNSEEN = slot(0, Role.GK), slot(1, Role.CF), slot(1, Role.LB)
BOX = (100.0, 80.0, 120.0, 130.0)


@pytest.fixture
def half():
    """Three players who stand still; the striker has a box, the keeper and the back have none."""
    state = np.full((len(State), N_SLOTS, LENGTH), np.nan, np.float32)
    state[State.VISIBLE] = 0
    jersey = np.full((N_SLOTS, LENGTH), -1, np.int16)
    boxes = np.full((N_SLOTS, LENGTH, 4), np.nan, np.float32)
    for who, x, y, number in ((KEEPER, 0.05, 0.5, 1), (STRIKER, 0.3, 0.4, 9), (UNSEEN, 0.8, 0.1, 3)):
        state[State.X, who], state[State.Y, who], state[State.VX :, who] = x, y, 0
        jersey[who] = number
    state[State.VISIBLE, STRIKER] = 1
    boxes[STRIKER] = BOX
    return HalfMatch("game_1_H1", FIRST, state, boxes, jersey, np.zeros((N_SLOTS, LENGTH), np.int8))


@pytest.fixture
def truth():
    return pd.DataFrame(
        {
            "half": pd.Categorical(["game_1_H1", "game_1_H1", "game_2_H1"]),
            "frame": [110, 140, 110],
            "team": [1, 0, 1],
            "jersey": [9, 1, 3],
            "cls": [Action.SHOT, Action.BLOCK, Action.PASS],
        }
    )


@pytest.fixture
def video(tmp_path):
    picture = np.full((*MODEL_SIZE, 3), 90, np.uint8)
    write_video(tmp_path / "game_1.mp4", (picture for _ in range(FIRST + LENGTH)))
    from footpass.data.video import VideoReader

    return VideoReader(tmp_path / "game_1.mp4")


def has(picture, colour):
    """Pixels of exactly that colour."""
    return (picture == np.array(colour, np.uint8)).all(axis=-1)


def test_overlay_draws_the_box_of_the_player_who_has_one(half):
    picture = np.full((*MODEL_SIZE, 3), 90, np.uint8)
    shown = views.overlay(picture, half, FIRST, key=False)
    assert shown.shape == (704, 1280, 3)
    red, blue = has(shown, views.TEAM_COLOURS[1]), has(shown, views.TEAM_COLOURS[0])
    rows, columns = np.nonzero(red)
    assert (columns.min(), columns.max(), rows.max()) == (200, 240, 260)  # twice the box
    assert red[170:260, 200].all() and red[170:260, 240].all() and red[260, 200:240].all()
    assert not blue.any()  # the keeper has no box
    unchanged = (shown == 90).all(axis=-1)
    assert unchanged.mean() > 0.99


def test_the_key_of_an_overlay_names_the_colours_that_are_there(half, truth):
    picture = np.full((*MODEL_SIZE, 3), 90, np.uint8)
    corner = np.s_[:40, 640:]
    colours = (*views.TEAM_COLOURS, views.TRUE, views.PREDICTED)

    def named(*tables, **options):
        shown = views.overlay(picture, half, 120, *tables, **options)[corner]
        return [bool(has(shown, colour).any()) for colour in colours]

    assert named() == [False, True, False, False]  # the striker alone has a box
    assert named(truth) == [False, True, True, False]
    assert named(None, truth.assign(score=0.5)) == [False, True, False, True]
    assert named(truth, key=False) == [False] * 4


def test_labels_lie_on_no_other_player_s_jersey(half, truth):
    picture = np.full((*MODEL_SIZE, 3), 90, np.uint8)
    half.state[State.VISIBLE, KEEPER] = 1
    x1, _, x2, y2 = half.boxes[STRIKER, 0]
    half.boxes[KEEPER] = x1, y2 + 10, x2, y2 + 30  # its number is where the striker's event was named
    plain, marked = (views.overlay(picture, half, 110, shown, key=False) for shown in (None, truth[:1]))
    (top, left), *_ = np.argwhere(has(plain, views.TEAM_COLOURS[0]))
    tag = np.s_[top : top + 14, left : left + 12]
    assert (plain[tag] == marked[tag]).all()


def test_overlay_names_events_from_12_frames_before_to_12_after(half, truth):
    picture = np.full((*MODEL_SIZE, 3), 90, np.uint8)

    def marked(frame):
        return has(views.overlay(picture, half, frame, truth), views.TRUE)[150:290, 190:250].sum()

    plain = marked(FIRST + 40)  # the jersey is white too
    assert marked(110) > plain + 200
    assert [marked(frame) > plain for frame in (122, 123)] == [True, False]


def test_overlay_lists_events_without_a_box_and_predictions_in_yellow(half, truth):
    picture = np.full((*MODEL_SIZE, 3), 90, np.uint8)
    without = views.overlay(picture, half, 140, truth)
    assert has(without, views.TRUE)[660:].sum() > 20  # the keeper's block, at the bottom
    predicted = views.overlay(picture, half, 140, None, truth.assign(score=0.5))
    assert has(predicted, views.PREDICTED)[660:].sum() > 20
    assert not has(predicted, views.TRUE)[660:].any()


def test_an_event_does_not_strike_through_the_jersey(half, truth):
    picture = np.full((*MODEL_SIZE, 3), 90, np.uint8)
    tag = np.s_[145:160, 200:212]  # above the striker's box
    plain = views.overlay(picture, half, 110)[tag]
    marked = views.overlay(picture, half, 110, truth, truth.assign(score=0.5))[tag]
    assert (marked == plain).all()


def test_labels_of_one_place_stand_beside_each_other(half, truth):
    picture = np.full((*MODEL_SIZE, 3), 90, np.uint8)

    def white(*classes):
        away = truth.iloc[[1] * len(classes)].assign(jersey=77, cls=list(classes))  # on nobody's back
        return has(views.overlay(picture, half, 140, away), views.TRUE)[600:]

    one, other, both = white(Action.BLOCK), white(Action.PASS), white(Action.BLOCK, Action.PASS)
    assert both.sum() == one.sum() + other.sum()


def test_a_text_is_as_far_from_its_outline_on_all_sides():
    canvas = np.full((60, 200, 3), 128, np.uint8)
    views._write(canvas, [views.Text("block #24", (50, 30), views.TRUE, 14, stroke=2)])
    outline = [np.flatnonzero((canvas < 25).all(axis=2).any(axis=side)) for side in (0, 1)]
    text = [np.flatnonzero((canvas > 200).all(axis=2).any(axis=side)) for side in (0, 1)]
    for inner, outer in zip(text, outline, strict=True):
        before, behind = inner[0] - outer[0], outer[-1] - inner[-1]
        assert 0 <= before <= 3 and 0 <= behind <= 3 and abs(before - behind) <= 1


@pytest.mark.parametrize("at", [(-8, 5), (190, 58), (-500, 30), (50, 500)])
def test_a_text_may_leave_the_picture(at):
    canvas = np.full((60, 200, 3), 128, np.uint8)
    views._write(canvas, [views.Text("block #24", at, views.TRUE, 14, stroke=2)])
    assert canvas.shape == (60, 200, 3)


def test_events_of_other_halves_are_not_shown(half, truth):
    other = truth[truth["half"] == "game_2_H1"]
    assert (views.radar(half, 110, other) == views.radar(half, 110)).all()


def test_radar_has_full_discs_for_who_is_seen_and_hollow_ones_for_who_is_not(half):
    shown = views.radar(half, FIRST + 30)
    red, blue = has(shown, views.TEAM_COLOURS[1]), has(shown, views.TEAM_COLOURS[0])
    discs = {
        "striker": red[:, : views.RADAR_SIZE[1] // 2],
        "back": red[:, views.RADAR_SIZE[1] // 2 :],
        "keeper": blue,
    }
    assert discs["striker"].sum() > 1.4 * discs["back"].sum() > 0
    assert discs["keeper"].sum() == pytest.approx(discs["back"].sum(), rel=0.2)
    rows, columns = np.nonzero(discs["striker"])
    length = 5.8 * 105
    left = (views.RADAR_SIZE[1] - length) / 2
    assert columns.mean() == pytest.approx(left + 0.3 * length, abs=2)
    rows, columns = np.nonzero(blue)
    assert rows.mean() == pytest.approx(views.RADAR_SIZE[0] / 2 - 4, abs=2)  # y = 0.5
    assert columns.mean() == pytest.approx(left + 0.05 * length, abs=2)


def test_frames_that_are_not_there(half, video):
    with pytest.raises(DataError, match=r"game_1_H1: no frames 90\.\.110: it has 100\.\.159"):
        views.frames("radar", half, range(90, 111))
    with pytest.raises(DataError, match=r"no frames 150\.\.160"):
        views.frames("overlay", half, range(150, 161), video)
    with pytest.raises(DataError, match="needs the match's video"):
        views.frames("overlay", half, range(100, 101))
    with pytest.raises(DataError, match="'heat' is neither"):
        views.frames("heat", half, range(100, 101))
    with pytest.raises(DataError, match="has no frame 99"):
        views.radar(half, 99)


def test_overlay_frames_are_the_video_s_frames(half, tmp_path):
    """Each picture of the video is one grey level: its frame number."""
    from footpass.data.video import VideoReader

    pictures = (np.full((*MODEL_SIZE, 3), frame, np.uint8) for frame in range(FIRST + LENGTH))
    write_video(tmp_path / "steps.mp4", pictures)
    span = range(105, 158)
    shown = list(views.frames("overlay", half, span, VideoReader(tmp_path / "steps.mp4")))
    levels = [int(np.median(picture)) for picture in shown]
    assert len(levels) == len(span)
    np.testing.assert_allclose(levels, list(span), atol=2)


def test_without_a_notebook_the_explorer_is_figures(half, video, truth):
    figures = views.explore(half, video, truth)
    assert len(figures) == 2 and all(isinstance(one, Figure) for one in figures)
    assert [len(one.axes) for one in figures] == [2, 2]  # broadcast and radar
    assert views.explore(half, None, None) == []


def test_a_strip_of_a_player_without_a_box_is_the_middle_of_the_picture(half, tmp_path):
    from footpass.data.video import VideoReader

    picture = np.zeros((*MODEL_SIZE, 3), np.uint8)
    picture[:, 280:360] = 200  # the middle
    write_video(tmp_path / "middle.mp4", (picture for _ in range(FIRST + LENGTH)))
    events = pd.DataFrame({"frame": [120], "team": [0], "jersey": [1], "cls": [Action.PASS]})
    figure = views.close_ups(half, VideoReader(tmp_path / "middle.mp4"), events, steps=(-1, 0))
    for ax in figure.axes:
        shown = ax.images[0].get_array()
        assert shown.shape == (MODEL_SIZE[0], MODEL_SIZE[0], 3)
        assert shown[:, 140:210].mean() > 150 > shown[:, :100].mean() + 100


def test_errors_are_shown_with_what_was_said(half, video, truth):
    """A shot that was taken for a cross, and a keeper's block that nobody saw."""
    truth = truth.assign(box_visible=[True, False, False], replay=[False, True, False])[:2]
    said = truth[:1].assign(cls=int(Action.CROSS), score=0.9).drop(columns=["box_visible", "replay"])
    evaluation = evaluate(said, truth)
    footage = {"game_1_H1": Footage(half, video.path)}
    table = some_misses(evaluation, footage).set_index("fault")
    assert table.loc["class", "what"] == "shot by #9"
    assert table.loc["class", "said"] == "a cross by the same player"
    assert table.loc["nothing", "what"] == "block by #1, in a replay"
    assert table.loc["nothing", "when"] == "game_1_H1 00:01"
    figure = error_strips(table, evaluation, footage)
    assert len(figure.axes) == 2 * 5


def test_the_best_play_is_within_its_half(half, video, truth):
    seen = truth[:2].assign(box_visible=True, replay=False)
    found = evaluate(truth[:2].assign(score=0.9), seen)
    footage = {"game_1_H1": Footage(half, video.path)}
    assert views.best_play(found, footage, 1.6) == ("game_1_H1", range(100, 140))
    assert views.best_play(found, footage, 6) == ("game_1_H1", range(100, 160))


def test_in_a_notebook_slider_and_events_move_the_pictures(half, video, truth, monkeypatch):
    class Shell:
        kernel = object()

    monkeypatch.setattr("IPython.get_ipython", Shell)
    chooser, slider, picture, above = views.explore(half, video, truth).children
    assert [value for _, value in chooser.options] == [110, 140]
    assert (slider.min, slider.max, slider.value) == (100, 159, 100)
    before = picture.value, above.value
    chooser.value = 140
    assert slider.value == 140
    assert picture.value != before[0] and above.value != before[1]
    assert bytes(picture.value).startswith(b"\x89PNG")


def test_view_command(tmp_path, capsys):
    write_season(tmp_path, 1, minutes=0.1, seed=1, workers=1)
    arguments = ["view", str(tmp_path), "game_1001_H2"]
    for name in ("overlay", "radar"):
        out = tmp_path / f"{name}.mp4"
        assert main([*arguments, "--view", name, "--out", str(out), "--seconds", "1"]) == 0
        info = probe(out)
        assert info.n_frames == 25
        assert (info.height, info.width) == ((704, 1280) if name == "overlay" else views.RADAR_SIZE)
    assert main([*arguments, "--out", str(tmp_path / "one.png")]) == 0
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    (tmp_path / "videos" / "game_1001.mp4").unlink()
    for wrong, reason in (
        ([*arguments, "--out", str(tmp_path / "x.mp4")], "no videos/game_1001.mp4; try --view radar"),
        (["view", str(tmp_path), "game_5_H1", "--out", "x.mp4"], "no half game_5_H1"),
        ([*arguments, "--out", "x.gif"], "x.gif: a name that ends in .mp4 or .png"),
        ([*arguments, "--seconds", "nan", "--out", "x.mp4"], "--seconds nan: not a length"),
        ([*arguments, "--view", "radar", "--start", "9", "--out", "x.png"], "no frames 9..9"),
    ):
        assert main(wrong) == 2
        assert reason in capsys.readouterr().err


def test_close_ups_are_of_the_player_and_drawn_on_only_if_asked(half, video, truth):
    plain = views.close_ups(half, video, truth[:1], steps=(-20, 0, 60))  # beyond both ends of the half
    marked = views.close_ups(half, video, truth[:1], truth, steps=(0,))
    pictures = [axes.images[0].get_array() for axes in plain.axes]
    assert [picture.shape for picture in pictures] == [(96, 96, 3)] * 3
    assert all(has(picture, picture[40, 40]).mean() > 0.9 for picture in pictures)  # the grey video
    (drawn,) = (axes.images[0].get_array() for axes in marked.axes)
    assert has(drawn, views.TEAM_COLOURS[1])[:, 60:100].any() and has(drawn, views.TRUE).any()
    assert [axes.get_title() for axes in plain.axes] == ["-20", "anchor", "+60"]
    plt.close("all")
