"""The match page: what came of each event, what the page holds, and what it says in a browser."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest
from hypothesis import given

from footpass.__main__ import main
from footpass.data.halves import HalfMatch, events_of
from footpass.data.paths import play_by_play_path
from footpass.events import read_ground_truth, read_predictions, select_halves, write_events
from footpass.files import DataError
from footpass.metrics import evaluate
from footpass.report.match_page import (
    NOBODY,
    STEP,
    Kind,
    MatchData,
    page_data,
    peaks,
    read_match,
    verdicts,
    write_match_page,
)
from footpass.schema import N_CLASSES, N_ROLES, N_SLOTS, PITCH, Action, Role, State
from tests import seasons
from tests.tables import CROWDED, predictions, truth

HALF = "game_1_H1"


class Page(HTMLParser):
    """A page as a browser sees it: its scripts, and the data in one of them."""

    def __init__(self, path):
        super().__init__()
        self.scripts, self.tags, self._inside = [], [], False
        self.feed(path.read_text(encoding="utf-8"))

    @property
    def data(self):
        (text,) = [text for kind, text in self.scripts if kind == "application/json"]
        return json.loads(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append((dict(attributes).get("type"), ""))
            self._inside = True

    def handle_endtag(self, tag):
        self._inside = self._inside and tag != "script"

    def handle_data(self, data):
        if self._inside:
            kind, text = self.scripts[-1]
            self.scripts[-1] = kind, text + data


def judged_slowly(found, true):
    """Each prediction's truth and kind: the metric's rules three times over, one pair at a time."""
    taken, kind = {}, {}
    for name, keys in (
        (Kind.FOUND, ("half", "team", "jersey", "cls")),
        (Kind.WRONG_CLASS, ("half", "team", "jersey")),
        (Kind.WRONG_PLAYER, ("half", "cls")),
    ):
        for i in sorted(range(len(found)), key=lambda i: -found["score"].iloc[i]):
            if i in taken:
                continue
            free = [
                (abs(int(found["frame"].iloc[i]) - int(true["frame"].iloc[j])), j)
                for j in range(len(true))
                if j not in taken.values() and all(found[k].iloc[i] == true[k].iloc[j] for k in keys)
            ]
            if free and min(free)[0] <= 12:
                taken[i], kind[i] = min(free)[1], name
    return [(taken.get(i, -1), kind.get(i, Kind.MADE_UP)) for i in range(len(found))]


@given(CROWDED, CROWDED)
def test_leftovers_are_matched_again_by_the_metric_s_rules(guesses, facts):
    halves = ("a_H1", "a_H2")
    true = truth(*(row[:5] for row in facts), halves=halves)
    judged = verdicts(evaluate(predictions(*guesses, halves=halves), true))
    pairs = list(zip(judged["truth"], judged["kind"], strict=True))
    assert pairs == judged_slowly(judged, true)


def test_kinds_by_example():
    true = truth((100, 0, 7, 2), (200, 0, 7, 2), (300, 1, 4, 3), (400, 1, 4, 5))
    guesses = predictions(
        (103, 0, 7, 2, 0.9),  # found
        (203, 0, 7, 3, 0.9),  # the player did something else
        (303, 1, 9, 3, 0.9),  # somebody else did it
        (413, 1, 4, 5, 0.9),  # a frame too late
        (100, 0, 7, 2, 0.1),  # not counted
    )
    judged = verdicts(evaluate(guesses, true))
    assert list(judged["truth"]) == [0, 1, 2, -1]
    assert list(judged["kind"]) == [Kind.FOUND, Kind.WRONG_CLASS, Kind.WRONG_PLAYER, Kind.MADE_UP]
    table = page_data(MatchData(HALF, true, {"a": guesses}))[1]["a"].set_index("class")
    assert list(table.loc["shot", ["events", "missed", "made up", "found"]]) == [1, 1, 1, 0]
    assert list(table.loc["pass", ["events", "found", "wrong class", "missed"]]) == [2, 1, 1, 0]
    assert list(table.loc["cross", ["events", "wrong player"]]) == [1, 1]
    assert table.loc["pass", ["precision", "recall", "F1"]].tolist() == pytest.approx([1, 0.5, 2 / 3])
    parts = table[["found", "wrong class", "wrong player", "missed"]].sum(axis=1)
    assert (parts == table["events"]).all()
    assert table.loc["all", "F1"] == pytest.approx(2 * 1 / (1 + 3 + 4))


@pytest.fixture
def half():
    """60 frames from 100 on: a keeper who runs, a striker in the picture until 130, and role changes."""
    state = np.full((len(State), N_SLOTS, 60), np.nan, np.float32)
    state[State.VISIBLE] = 0
    jersey = np.full((N_SLOTS, 60), -1, np.int16)
    state[State.X, Role.GK - 1], state[State.Y, Role.GK - 1] = np.linspace(-0.05, 1.1, 60), 1 / 3
    jersey[Role.GK - 1] = 1
    striker = N_ROLES + Role.CF - 1
    state[State.X, striker], state[State.Y, striker] = 0.5, np.linspace(0, 1, 60)
    state[State.VISIBLE, striker, :30] = 1
    jersey[striker, 5:30], jersey[striker, 30:] = 9, 19  # a substitution
    labels = np.zeros((N_SLOTS, 60), np.int8)
    labels[striker, 20], labels[Role.GK - 1, 50] = Action.SHOT, Action.PASS
    boxes = np.full((N_SLOTS, 60, 4), np.nan, np.float32)
    return HalfMatch(HALF, 100, state, boxes, jersey, labels)


def test_the_page_holds_positions_to_the_centimetre_and_events_as_they_are(half, tmp_path):
    true, guesses = events_of(half), predictions((121, 1, 9, 5, 0.4567), (149, 0, 44, 2, 0.8))
    logits = np.full((N_CLASSES, N_SLOTS, 60), -9, np.float16)
    logits[Action.SHOT, N_ROLES + Role.CF - 1, 22] = 0
    match = MatchData(HALF, true, {"mine": guesses}, half, logits)
    write_match_page(match, tmp_path / "page.html")
    data = Page(tmp_path / "page.html").data
    # 9 came off after frame 129, 19 came on: both play CF; nobody knows the role of 44.
    assert data["rows"] == [[0, 1, "GK"], [0, 44, ""], [1, 9, "CF"], [1, 19, "CF"]]
    packed = np.frombuffer(base64.b64decode(data["positions"]["data"]), "<i2")
    x, y, who = packed.reshape(3, N_SLOTS, -1)
    assert data["positions"] | {"data": 0} == {"first": 100, "step": STEP, "slots": 26, "data": 0}
    at = np.arange(0, 60, STEP)
    for slot in range(N_SLOTS):
        there = np.isfinite(half.state[State.X, slot, at])
        assert (who[slot][~there] == NOBODY).all()
        for values, part, size in ((x, State.X, PITCH[0]), (y, State.Y, PITCH[1])):
            exact = 100 * size * half.state[part, slot, at[there]]
            np.testing.assert_allclose(values[slot][there], exact, atol=0.501)
    assert who[Role.GK - 1].tolist() == [0] * len(at)
    assert who[N_ROLES + Role.CF - 1].tolist() == [5, 5, 5, 6, 6]  # 2 * row + visible
    assert data["truth"] == {
        "frame": [120, 150], "cls": [Action.SHOT, Action.PASS], "row": [2, 0],
        "box_visible": [1, 0], "replay": [0, 1],
    }  # fmt: skip
    (source,) = data["sources"]
    assert source == {
        "name": "mine", "frame": [121, 149], "cls": [5, 2], "row": [2, 1], "score": [0.457, 0.8],
        "truth": [0, 1], "kind": [Kind.FOUND, Kind.WRONG_PLAYER],
    }  # fmt: skip
    assert data["evidence"]["frame"][0] == 122 and data["evidence"]["row"][0] == 2
    assert (data["first"], data["last"]) == (100, 159)


def test_evidence_is_the_highest_moment_near_by():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(N_CLASSES, 3, 80)).astype(np.float16)
    visible = rng.random((3, 80)) < 0.8
    odds = np.exp(logits.astype(np.float64))
    score = odds[1:] / odds.sum(axis=0) * visible
    expected = {
        (slot, at, cls + 1)
        for cls, slot, at in np.ndindex(score.shape)
        if score[cls, slot, at] >= 0.05
        and score[cls, slot, at] == score[cls, slot, max(at - 12, 0) : at + 13].max()
    }
    found = peaks(logits, visible)
    assert set(zip(found["slot"], found["index"], found["cls"], strict=True)) == expected
    place = found["cls"] - 1, found["slot"], found["index"]
    np.testing.assert_allclose(found["score"], score[place], rtol=1e-5)
    assert found["score"].is_monotonic_decreasing
    with pytest.raises(DataError, match="not finite"):
        peaks(np.where(logits > 2, np.inf, logits), visible)


def test_no_string_from_data_becomes_markup(tmp_path):
    half = "</script><script>alert(1)</script><!--\u2028_H1"
    match = MatchData(
        half,
        truth((10, 0, 7, 1), halves=(half,)),
        {"<img src=x onerror='alert(2)'>": predictions((10, 0, 7, 1, 0.5), halves=(half,))},
    )
    write_match_page(match, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert len(page.scripts) == 2 and not [tag for tag, _ in page.tags if tag in ("img", "b")]
    assert page.data["half"] == half
    assert page.data["sources"][0]["name"] == "<img src=x onerror='alert(2)'>"
    assert not any(name in ("src", "href") for _, attributes in page.tags for name in attributes)
    addresses = re.findall(r"\w+://[\w./]+", (tmp_path / "page.html").read_text())
    assert set(addresses) == {"http://www.w3.org/2000/svg"}  # a name, not to be loaded


def test_a_full_half_is_a_small_file(tmp_path):
    """45 minutes, 26 slots in use, 1000 events, 2000 predictions and noisy logits everywhere."""
    rng, frames = np.random.default_rng(0), 67_500
    state = np.ones((len(State), N_SLOTS, frames), np.float32)
    state[:2] = rng.random((2, N_SLOTS, frames), np.float32)
    jersey = np.repeat(np.arange(N_SLOTS, dtype=np.int16)[:, None], frames, axis=1)
    boxes = np.zeros((N_SLOTS, 1, 4), np.float32)
    half = HalfMatch(HALF, 0, state, boxes, jersey, None)
    logits = rng.standard_normal((N_CLASSES, N_SLOTS, frames), np.float32)

    def events(n):
        at = rng.integers(0, frames, n)
        return [(int(f), int(f) % 2, int(f) % 13 + 13 * (int(f) % 2), 1 + int(f) % 8) for f in at]

    guesses = {name: predictions(*((*row, 0.5) for row in events(2000))) for name in "ab"}
    match = MatchData(HALF, truth(*events(1000)), guesses, half, logits)
    content = write_match_page(match, tmp_path / "page.html")
    assert len(content["rows"]) == 26 and len(content["evidence"]["frame"]) == 20_000
    assert (tmp_path / "page.html").stat().st_size < 3e6


@pytest.fixture
def folder(tmp_path):
    """A season of one match, tactical data and play-by-play, with two files of predictions."""
    events = {half: {(seasons.FIRST[half] + 40, 2): 1} for half in seasons.FIRST}
    seasons.write(tmp_path, events, split="val")
    for name, score in (("one", 0.4), ("two", 0.9)):
        (tmp_path / name).mkdir()
        guesses = predictions((44, 0, 32, 1, score), halves=(HALF,))
        write_events(guesses, tmp_path / name / "predictions_val.json")
    with h5py.File(tmp_path / "logits_val.h5", "w") as file:
        file["game_1_H1"] = np.zeros((N_CLASSES, N_SLOTS, 183), np.float16)
    return tmp_path


def command(folder, *more, half=HALF):
    out = ["--out", str(folder / "page.html")]
    return ["report-match", "--data", str(folder), "--half", half, *out, *map(str, more)]


def test_the_command_writes_a_page(folder, capsys):
    files = [folder / name / "predictions_val.json" for name in ("one", "two")]
    logits = ["--logits", folder / "logits_val.h5"]
    assert main(command(folder, "--predictions", *files, *logits)) == 0
    data = Page(folder / "page.html").data
    assert [source["name"] for source in data["sources"]] == [
        "one/predictions_val",
        "two/predictions_val",
    ]
    assert [source["kind"] for source in data["sources"]] == [[Kind.FOUND], [Kind.FOUND]]
    assert "game_1_H1, 1 true events, 1 of one/predictions_val" in capsys.readouterr().out
    assert main(command(folder)) == 0  # nothing predicted: positions and truth
    assert Page(folder / "page.html").data["sources"] == []


def test_play_by_play_alone_is_enough(tmp_path):
    true = truth((50, 0, 7, 1), (90, 1, 9, 2))
    (tmp_path / play_by_play_path("val")).parent.mkdir()
    write_events(true, tmp_path / play_by_play_path("val"))
    match = read_match(tmp_path, "val", HALF)
    content = write_match_page(match, tmp_path / "page.html")
    assert content["positions"] is None and content["evidence"] is None
    assert (content["first"], content["last"]) == (50, 90)
    assert content["rows"] == [[0, 7, ""], [1, 9, ""]]
    with pytest.raises(DataError, match=r"logits need val_tactical_data\.h5"):
        read_match(tmp_path, "val", HALF, logits=tmp_path / "logits.h5")


def test_predictions_without_truth_are_not_judged(half):
    """A challenge half has no labels."""
    unlabelled = HalfMatch(HALF, 100, half.state, half.boxes, half.jersey, None)
    guesses = predictions((121, 1, 9, 5, 0.4), (122, 1, 9, 5, 0.1))
    content, figures = page_data(MatchData(HALF, None, {"mine": guesses}, unlabelled))
    assert content["truth"] is None and figures == {}
    assert content["sources"][0]["kind"] == [Kind.UNJUDGED]
    json.dumps(content)


def test_a_half_in_which_nothing_is_predicted_is_all_missed():
    content, figures = page_data(MatchData(HALF, truth((10, 0, 7, 1)), {"none": predictions()}))
    assert content["sources"][0]["frame"] == []
    assert figures["none"].set_index("class").loc["all", ["events", "missed"]].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("half", "options", "reason"),
    [
        ("game_9_H1", (), "val_tactical_data.h5: no half game_9_H1"),
        (
            "game_1_H2",
            ("--predictions", "one/predictions_val.json"),
            "no half game_1_H2; it has game_1_H1",
        ),
        (
            HALF,
            ("--split", "train"),
            "no train_tactical_data.h5 and no playbyplay_GT",
        ),
        (HALF, ("--predictions", "logits_val.h5"), "logits_val.h5"),
        (HALF, ("--predictions", "nowhere.json"), "nowhere.json: cannot be read"),
        (HALF, ("--predictions", *["one/predictions_val.json"] * 2), "given twice"),
        (HALF, ("--logits", "one/predictions_val.json"), "cannot be read"),
        ("game_1_H2", ("--logits", "logits_val.h5"), "no half game_1_H2"),
        (HALF, ("--out", "no/page.html"), "no/page.html"),
    ],
)
def test_bad_input_is_one_clear_line(folder, monkeypatch, capsys, half, options, reason):
    monkeypatch.chdir(folder)
    assert main(command(folder, *options, half=half)) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith("error: ") and reason in message
    assert not (folder / "page.html").exists()


def test_the_release_gives_a_page_without_tactical_data(release, tmp_path):
    file = release / "playbyplay_PRED" / "playbyplay_DST_val.json"
    match = read_match(release, "val", "game_24_H2", [file])
    content, figures = page_data(match)
    true = select_halves(read_ground_truth(release / play_by_play_path("val")), ["game_24_H2"])
    mine = select_halves(read_predictions(file), ["game_24_H2"])
    counts = evaluate(mine, true).counts
    table = figures["playbyplay_DST_val"].iloc[:-1]
    assert (
        table["found"].tolist() == counts.tp.tolist() and table["events"].tolist() == counts.gt.tolist()
    )
    others = ["made up", "wrong class", "wrong player"]
    assert table[others].to_numpy().sum() == counts.fp.sum()
    assert content["positions"] is None and content["truth"]["frame"] == true["frame"].tolist()


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="needs chromium or chrome")
def test_the_address_leads_to_an_event_in_a_browser(half, tmp_path):
    guesses = predictions((123, 1, 9, 5, 0.4), (140, 0, 44, 2, 0.8))
    write_match_page(MatchData(HALF, events_of(half), {"mine": guesses}, half), tmp_path / "page.html")
    flags = "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run"
    flags = [*flags.split(), "--disable-component-update", "--virtual-time-budget=3000", "--dump-dom"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    address = (tmp_path / "page.html").as_uri() + "#e=p0"
    dom = subprocess.run([BROWSER, *flags, profile, address], capture_output=True, text=True).stdout
    assert "mine: 1 found, 0 wrong class, 1 wrong player, 0 made up, 0 missed." in dom
    told = "0:00.8, found: shot by 9 CF (right); predicted 3 frames late, score 0.40."
    assert dom.count(told) == 2  # beside the pitch, and in the list
    assert "0:02.0, wrong player: pass by 1 GK (left), in a replay; predicted by 44 (left)" in dom
