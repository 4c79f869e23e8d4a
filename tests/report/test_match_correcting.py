"""Correcting events in the match page, in a real browser: mouse, keys, undo, and what is downloaded."""

import importlib.util
import json
import shutil

import numpy as np
import pytest

from footpass.data.halves import HalfMatch
from footpass.events import read_ground_truth, write_events
from footpass.metrics import evaluate
from footpass.report.match_page import MatchData, write_match_page
from footpass.schema import N_ROLES, N_SLOTS, Action, Role, State
from tests.tables import predictions, truth

HALF = "game_1_H1"
FIRST = 100
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="needs chromium or chrome"),
    pytest.mark.skipif(not importlib.util.find_spec("playwright"), reason="needs playwright"),
]


@pytest.fixture(scope="module")
def window():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser.new_context(viewport={"width": 1200, "height": 900})
        browser.close()


@pytest.fixture
def page(window):
    opened = window.new_page()
    yield opened
    opened.evaluate("localStorage.clear()")  # which the pages of all files share
    opened.close()


@pytest.fixture
def half():
    """Two keepers and two strikers over 1000 frames; the right striker leaves the picture after 600."""
    state = np.full((len(State), N_SLOTS, 1000), np.nan, np.float32)
    state[State.VISIBLE] = 0
    jersey = np.full((N_SLOTS, 1000), -1, np.int16)
    for team in range(2):
        for role, number, x in ((Role.GK, 1, 0.1), (Role.CF, 9, 0.4)):
            slot = N_ROLES * team + role - 1
            state[State.X, slot], state[State.Y, slot] = x + 0.5 * team, 0.3 + 0.3 * team
            state[State.VISIBLE, slot], jersey[slot] = 1, number
    state[State.VISIBLE, N_ROLES + Role.CF - 1, 600:] = 0
    state[State.VISIBLE, :, 900:] = 0  # a replay
    return HalfMatch(HALF, FIRST, state, np.full((N_SLOTS, 1000, 4), np.nan, np.float32), jersey, None)


GUESSES = (
    (200, 0, 9, Action.DRIVE, 0.9),
    (260, 1, 9, Action.PASS, 0.8),
    (320, 1, 1, Action.CROSS, 0.7),
    (380, 0, 1, Action.PASS, 0.6),
)


class Desk:
    """A page in which events are being corrected."""

    def __init__(self, page, path):
        self.page, self.path, self.errors = page, path, []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.open("#c=1&t=0&z=50")  # 2 pixels a frame

    def open(self, address):
        self.page.goto(f"{self.path.as_uri()}?{address}")
        self.page.locator("#timeline").focus()

    def told(self, text, place="#event"):
        """Wait until the page says so."""
        self.page.locator(place, has_text=text).wait_for(timeout=5000)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def spot(self, frame, row):
        """Where a frame and a row are in the window."""
        box = self.page.locator("#timeline").bounding_box()
        x, y = self.page.evaluate(f"[x({frame}), y({row})]")
        return box["x"] + x, box["y"] + y

    def click(self, frame, row):
        self.page.mouse.click(*self.spot(frame, row))

    def drag(self, start, stop):
        ends = list(zip(self.spot(*start), self.spot(*stop), strict=True))
        self.page.mouse.move(*(a for a, _ in ends))
        self.page.mouse.down()
        for part in (0.3, 0.7, 1):
            self.page.mouse.move(*(a + part * (b - a) for a, b in ends))
        self.page.mouse.up()

    def events(self):
        """Rows of the play-by-play that a click on "download" gives."""
        with self.page.expect_download() as download:
            self.page.click("[data-key=s]")
        table = read_ground_truth(download.value.path())
        assert list(table["half"].cat.categories) == [HALF]
        assert not self.errors
        return [tuple(row[1:5]) for row in table.itertuples(index=False)]


@pytest.fixture
def desk(page, half, tmp_path):
    path = tmp_path / "page.html"
    write_match_page(MatchData(HALF, None, {"mine": predictions(*GUESSES)}, half), path)
    return Desk(page, path)


def test_a_long_name_does_not_make_the_page_wider_than_a_phone(page, half, tmp_path):
    named = {"dst-concat-sqrt-seed0-667e2c82/" + "predictions" * 4: predictions(*GUESSES)}
    write_match_page(MatchData(HALF, None, named, half), tmp_path / "page.html")
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 400


BEFORE = [tuple(map(int, row[:4])) for row in GUESSES]


def changed(*replaced, without=(), more=()):
    """The guesses with some of them replaced (by index), left out or added."""
    rows = {**dict(enumerate(BEFORE)), **dict(replaced)}
    return sorted([*(row for i, row in rows.items() if i not in without), *more])


def test_what_nobody_touches_is_downloaded_as_it_was(desk):
    assert desk.events() == BEFORE
    desk.told("0 of 4 accepted", "#progress")


def test_accepting_goes_on_to_the_next_open_event(desk):
    desk.press("n", "n", "a")
    desk.told("0:08.8, open: cross by 1 GK (right)")
    desk.press("a", "a")
    desk.told("3 of 4 accepted", "#progress")
    desk.page.check("#only-accepted")
    assert desk.events() == BEFORE[1:]


def test_keys_change_class_player_and_frame(desk):
    desk.press("n", "5")
    assert desk.events() == changed((0, (200, 0, 9, 5)))
    desk.press("ArrowDown")  # rows: left keeper, left striker, right keeper, right striker
    assert desk.events() == changed((0, (200, 1, 1, 5)))
    desk.press(".", ".", ",", "Shift+>")
    assert desk.events() == changed((0, (206, 1, 1, 5)))
    desk.told("1 of 4 accepted", "#progress")


def test_deleting_and_adding_by_key(desk):
    desk.press("n", "n", "x")
    assert desk.events() == changed(without=[1])
    desk.told("cross by 1 GK (right)")  # the next one is chosen
    desk.press("ArrowRight", "i")  # a second later, with the chosen event's class and player
    assert desk.events() == changed(without=[1], more=[(345, 1, 1, 3)])


def test_every_step_can_be_undone_and_done_again(desk):
    desk.press("n", "5", "ArrowDown", ".", "x", "i")
    after = desk.events()
    desk.press(*"uuuuu")
    assert desk.events() == BEFORE
    assert desk.page.is_disabled("#undo")
    desk.press("u", *"rrrr", "Control+y")
    assert desk.events() == after
    desk.press("Control+z", "Control+z")
    assert desk.events() == changed((0, (201, 1, 1, 5)))
    desk.press("7")
    assert desk.page.is_disabled("#redo")  # what was undone is another story now


def test_the_mouse_moves_an_event_in_time_and_to_another_player(desk):
    desk.drag((260, 3), (275, 3))
    assert desk.events() == changed((1, (275, 1, 9, 2)))
    desk.drag((275, 3), (268, 0))
    assert desk.events() == changed((1, (268, 0, 1, 2)))
    desk.press("u")
    assert desk.events() == changed((1, (275, 1, 9, 2)))
    desk.press("u")
    assert desk.events() == BEFORE  # a drag is one step


def test_a_click_only_chooses(desk):
    desk.click(260, 3)
    desk.told("pass by 9 CF (right)")
    assert desk.page.is_disabled("#undo") and desk.events() == BEFORE


def test_dragging_the_empty_timeline_still_moves_the_view(desk):
    left = desk.page.evaluate("view.left")
    desk.drag((300, 0), (280, 0))
    assert desk.page.evaluate("view.left") == pytest.approx(left + 20, abs=1)
    assert desk.events() == BEFORE


def test_a_double_click_adds_an_event_of_the_class_in_the_bar(desk):
    desk.page.select_option("#to-class", "6")
    desk.page.mouse.dblclick(*desk.spot(290, 0))
    assert desk.events() == changed(more=[(290, 0, 1, 6)])


def test_the_bar_changes_the_chosen_event(desk):
    desk.click(260, 3)
    desk.page.select_option("#to-class", label="8 block")
    desk.page.select_option("#to-row", label="9 CF (left)")
    desk.page.fill("#to-frame", "291")
    desk.page.press("#to-frame", "Enter")
    assert desk.events() == changed((1, (291, 0, 9, 8)))


def test_the_bar_shows_the_event_that_is_chosen(desk):
    desk.click(260, 3)
    bar = [desk.page.input_value(f"#{name}") for name in ("to-class", "to-row", "to-frame")]
    assert bar == ["2", "3", "260"] and desk.page.is_enabled("#to-frame")
    desk.page.select_option("#to-class", "1")  # what stood there at first
    assert desk.events() == changed((1, (260, 1, 9, 1)))


def test_a_player_who_has_no_row_can_be_named(desk):
    desk.click(260, 3)
    desk.page.on("dialog", lambda dialog: dialog.accept("left 23"))
    desk.page.select_option("#to-row", "new")
    assert desk.events() == changed((1, (260, 0, 23, 2)))
    order = desk.page.evaluate(
        "D.rows.map((_, row) => row).sort((a, b) => y(a) - y(b)).map(row => D.rows[row].slice(0, 2))"
    )
    assert order == [[0, 1], [0, 9], [0, 23], [1, 1], [1, 9]]
    desk.press("u")
    assert desk.events() == BEFORE


def test_a_player_on_the_pitch_is_given_the_chosen_event(desk):
    desk.click(260, 3)
    box = desk.page.locator("#radar").bounding_box()
    x, y = desk.page.evaluate("spot(0.1 * 105, 0.3 * 68)")  # the left keeper
    desk.page.mouse.click(box["x"] + x, box["y"] + y)
    assert desk.events() == changed((1, (260, 0, 1, 2)))


def test_flags_say_who_was_in_the_picture(desk):
    for frame, row in ((650, 3), (660, 2), (1050, 2)):
        desk.page.evaluate(f"add({frame}, {row}, 2)")
    with desk.page.expect_download() as download:
        desk.page.click("[data-key=s]")
    table = read_ground_truth(download.value.path()).set_index("frame")
    assert table["box_visible"].to_dict() == {
        200: True, 260: True, 320: True, 380: True, 650: True, 660: True, 1050: False,
    }  # fmt: skip
    assert table["replay"].to_dict()[1050] and not table["replay"].to_dict()[660]


def test_who_is_cut_away_within_half_a_second_was_in_the_picture(desk):
    # Samples at 988 and 1000, where the replay begins: 995 is nearer to it.
    assert desk.page.evaluate("pictured(995, 2)") == [1, 0]
    assert desk.page.evaluate("pictured(1001, 2)") == [0, 1]


def test_work_is_kept_over_a_reload_until_one_starts_over(desk):
    desk.press("n", "5", "a")
    desk.open("again")
    assert desk.page.is_hidden("#work")
    desk.press("e")
    assert desk.events() == changed((0, (200, 0, 9, 5)))
    desk.page.click("#restart")
    assert desk.events() == BEFORE
    desk.press("u")
    assert desk.events() == changed((0, (200, 0, 9, 5)))


def test_work_on_other_events_or_players_is_not_taken_for_this_page_s(page, desk, half, tmp_path):
    desk.press("n", "5")
    other = [(frame + 1, *rest) for frame, *rest in GUESSES]  # as many, and of the same names
    write_match_page(MatchData(HALF, None, {"mine": predictions(*other)}, half), tmp_path / "other.html")
    assert [row[0] for row in Desk(page, tmp_path / "other.html").events()] == [201, 261, 321, 381]
    write_match_page(MatchData(HALF, None, {"mine": predictions(*GUESSES[1:])}), tmp_path / "fewer.html")
    Desk(page, tmp_path / "fewer.html").press("n", "5")  # rows without the keeper and positions
    write_match_page(
        MatchData(HALF, None, {"mine": predictions(*GUESSES[1:])}, half), tmp_path / "all.html"
    )
    assert Desk(page, tmp_path / "all.html").events() == BEFORE[1:]


def test_where_nothing_can_be_kept_leaving_without_the_download_asks(desk):
    desk.page.evaluate("void (Storage.prototype.setItem = () => { throw new Error('full') })")
    asked = "(() => !dispatchEvent(new Event('beforeunload', { cancelable: true })))()"
    desk.press("n", "5")
    assert desk.page.evaluate(asked)
    desk.events()
    assert not desk.page.evaluate(asked)


def test_leaving_correcting_shows_the_predictions_again(desk):
    desk.press("n", "x", "e")
    assert desk.page.is_hidden("#work")
    desk.told("mine: 4 unjudged", "#summary")
    desk.press("e")
    desk.told("corrected: 3 open, 0 accepted", "#summary")


def test_true_events_can_be_corrected_where_nothing_is_predicted(page, tmp_path):
    path = tmp_path / "page.html"
    write_match_page(MatchData(HALF, truth((150, 0, 7, 2), (190, 1, 4, 5)), {}), path)
    desk = Desk(page, path)
    desk.press("n", "1")
    assert desk.events() == [(150, 0, 7, 2), (190, 1, 4, 1)]


def test_true_events_that_nobody_moves_keep_their_flags(page, half, tmp_path):
    true = truth((150, 0, 9, 2, False, True), (190, 1, 1, 5, False, False))
    write_match_page(MatchData(HALF, true, {}, half), tmp_path / "page.html")
    desk = Desk(page, tmp_path / "page.html")
    desk.press("n", "1", "n", ".")  # of the first the class, of the second the frame
    with page.expect_download() as download:
        page.click("[data-key=s]")
    rows = json.loads(download.value.path().read_text())["events"][HALF]
    assert rows == [[150, 0, 9, 1, 0, 1], [191, 1, 1, 5, 1, 0]]


def test_players_who_are_only_in_the_picture_are_offered_too(page, half, tmp_path):
    half.state[[State.X, State.Y]] = np.nan
    write_match_page(MatchData(HALF, None, {"mine": predictions()}, half), tmp_path / "page.html")
    desk = Desk(page, tmp_path / "page.html")
    desk.press("i")
    assert desk.events() == [(FIRST, 0, 1, 1)]
    assert page.evaluate("pictured(750, 3)") == [0, 0] and page.evaluate("playersAt(750)") == []


def test_the_keys_work_after_a_box_was_ticked_and_an_empty_frame_moves_nothing(desk):
    desk.press("n")
    desk.page.fill("#to-frame", "")
    desk.page.press("#to-frame", "Enter")
    desk.page.check("#only-accepted")
    desk.press("a")
    assert desk.events() == BEFORE[:1]


def test_a_player_without_a_number_can_be_named(desk):
    desk.click(260, 3)
    desk.page.on("dialog", lambda dialog: dialog.accept("right ?"))
    desk.page.select_option("#to-row", "new")
    assert desk.events() == changed((1, (260, 1, -1, 2)))


def test_leaving_correcting_names_the_predictions_that_are_shown(page, half, tmp_path):
    both = {"mine": predictions(*GUESSES), "other": predictions(*GUESSES[:2])}
    write_match_page(MatchData(HALF, None, both, half), tmp_path / "page.html")
    desk = Desk(page, tmp_path / "page.html")
    desk.press("e")
    page.select_option("#source", "1")
    page.focus("#timeline")
    desk.press("e", "e")
    desk.told("mine: 4 unjudged", "#summary")
    assert page.input_value("#source") == "0"


def test_the_download_is_ground_truth_that_predictions_are_scored_against(desk, tmp_path):
    desk.press("n", "5", "n", "x")
    with desk.page.expect_download() as download:
        desk.page.click("[data-key=s]")
    assert download.value.suggested_filename == f"playbyplay_{HALF}.json"
    table = read_ground_truth(download.value.path())
    counts = evaluate(predictions(*GUESSES), table).counts
    assert (int(counts.tp.sum()), int(counts.fp.sum()), int(counts.gt.sum())) == (2, 2, 3)
    write_events(table, tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(
        download.value.path().read_text()
    )


def test_what_is_under_the_pointer_is_said(page, half, tmp_path):
    path = tmp_path / "page.html"
    write_match_page(MatchData(HALF, None, {"guesses": predictions(*GUESSES)}, half), path)
    page.goto(path.as_uri())
    page.wait_for_function("items.length === 4 && view.scale > 0")
    place = (
        "(() => { const [x, y] = spotsOf(items[1])[0], { left, top } = timeline.getBoundingClientRect();"
    )
    page.mouse.move(*page.evaluate(f"{place} return [left + x + 2, top + y]; }})()"))
    page.wait_for_function("view.hover === items[1]")
    assert "pass by 9 CF (right)" in page.evaluate("describe(view.hover)")
    page.locator("h1").hover()
    page.wait_for_function("view.hover === null")
