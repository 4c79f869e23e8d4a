"""Commands as one types them: halves are listed, a submission is named, a wrong split is refused."""

import json
import zipfile

import pytest

from footpass.__main__ import main
from footpass.data.paths import tactical_path
from footpass.data.tactical import write_tactical
from footpass.experiments.release import TRUTH_FILES, find_train_truth
from footpass.files import DataError
from tests import seasons


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A match in val, another's first half in challenge, no videos."""
    folder = tmp_path_factory.mktemp("data")
    rows = {name: seasons.rows(name, {}) for name in seasons.FIRST}
    write_tactical(folder / tactical_path("val"), rows.items())
    write_tactical(folder / tactical_path("challenge"), {"game_9_H1": rows["game_1_H1"]}.items())
    return folder


def predictions(path, **halves):
    path.write_text(json.dumps({"keys": list(halves), "events": halves}))
    return str(path)


def test_halves_are_listed_by_split(data, capsys):
    assert main(["halves", str(data)]) == 0
    assert [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()] == [
        ["val", "game_1_H1", "no video"],
        ["val", "game_1_H2", "no video"],
        ["challenge", "game_9_H1", "no video"],
    ]


def test_a_submission_names_its_split_and_halves(data, tmp_path, capsys):
    events = predictions(tmp_path / "p.json", game_9_H1=[[10, 0, 30, 1, 0.9]])
    out = str(tmp_path / "entry.zip")
    assert main(["submit", "--predictions", events, "--data", str(data), "--out", out]) == 0
    assert capsys.readouterr().out == f"{out}: challenge: 1 event in 1 half: game_9_H1\n"


def test_an_event_moved_a_little_beyond_its_half_is_moved_back(data, tmp_path, capsys, caplog):
    """As steps that correct a delay do: frame 2 of a half that begins at 3, and 194 of one to 182."""
    rows = [[2, 0, 30, 1, 0.9], [100, 0, 30, 1, 0.9], [194, 0, 30, 1, 0.9]]
    events, out = predictions(tmp_path / "p.json", game_9_H1=rows), tmp_path / "entry.zip"
    what = ["submit", "--predictions", events, "--data", str(data), "--out", str(out)]
    assert main([*what, "--strict"]) == 2
    assert "frame 194 is not within 3..182" in capsys.readouterr().err and not out.exists()
    assert main(what) == 0
    assert "game_9_H1: frame 194 is not within 3..182: moved there" in caplog.text
    with zipfile.ZipFile(out) as archive:
        (moved,) = json.loads(archive.read("predictions.json"))["events"].values()
    assert [row[0] for row in moved] == [3, 100, 182]


@pytest.mark.parametrize("halves", [{}, {"game_9_H1": []}])
def test_no_events_at_all_are_an_entry_with_a_warning(data, tmp_path, capsys, halves):
    events, out = predictions(tmp_path / "p.json", **halves), tmp_path / "entry.zip"
    assert main(["submit", "--predictions", events, "--data", str(data), "--out", str(out)]) == 0
    assert "no events at all" in capsys.readouterr().err
    with zipfile.ZipFile(out) as archive:
        content = json.loads(archive.read("predictions.json"))
    assert content == {"keys": ["game_9_H1"], "events": {"game_9_H1": []}}


@pytest.mark.parametrize(
    ("halves", "split", "message"),
    [
        ({"game_1_H1": [[10, 0, 30, 1, 0.9]]}, "challenge", "they are of val: --split val"),
        ({"game_1_H1": [[10, 0, 30, 1, 0.9]]}, "val", "missing in val: game_1_H2"),
        ({"game_9_H2": [[10, 0, 30, 1, 0.9]]}, "challenge", "unknown in challenge: game_9_H2"),
        ({"game_9_H1": [[999, 0, 30, 1, 0.9]]}, "challenge", "frame 999 is not within 3..182"),
        ({"game_9_H1": []}, "train", "no tactical data of train, but of val, challenge"),
    ],
)
def test_predictions_of_another_split_are_refused(data, tmp_path, capsys, halves, split, message):
    events = predictions(tmp_path / "p.json", **halves)
    what = ["--data", str(data), "--split", split, "--out", str(tmp_path / "entry.zip")]
    assert main(["submit", "--predictions", events, *what]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "entry.zip").exists()


def test_train_truth_is_beside_the_truth_else_in_the_data_else_in_the_release(tmp_path, monkeypatch):
    places = ("release", "data", "own")
    files = {place: tmp_path / place / TRUTH_FILES["train"] for place in places}
    for file in files.values():
        file.parent.mkdir(parents=True)
    truth = files["own"].with_name("playbyplay_val.json")
    monkeypatch.setenv("FOOTPASS_RELEASE", str(tmp_path / "release"))
    monkeypatch.setenv("FOOTPASS_DATA", str(tmp_path / "data"))
    with pytest.raises(DataError, match="no playbyplay_train.json beside it: name one"):
        find_train_truth(truth)
    for place in places:
        files[place].touch()
        assert find_train_truth(truth).samefile(files[place])
