import io
import json
import subprocess
import sys

import pytest

from footpass.__main__ import main
from footpass.events import read_predictions, write_events
from tests.tables import predictions, truth


@pytest.fixture
def files(tmp_path):
    halves = ("game_1_H1", "game_1_H2")
    rows = [(half, 10, 0, 7, 1, True, False) for half in halves]
    write_events(truth(*rows, halves=halves), tmp_path / "g.json")
    write_events(predictions((12, 0, 7, 1, 0.9)), tmp_path / "p.json")
    return tmp_path


def evaluate(folder, *options):
    files = ["--predictions", str(folder / "p.json"), "--ground-truth", str(folder / "g.json")]
    return main(["evaluate", *files, *options])


def test_evaluate_writes_the_figures_and_names_the_missing_half(files, capsys):
    assert evaluate(files, "--per-match", "--json", str(files / "out.json")) == 0
    printed = capsys.readouterr()
    assert "game_1_H2" in printed.err and printed.out.rstrip().endswith("macro F1 0.0833")
    figures = json.loads((files / "out.json").read_text())
    assert figures["macro_f1"] == pytest.approx(2 / 3 / 8)
    assert figures["micro"] == pytest.approx({"precision": 1, "recall": 0.5, "f1": 2 / 3})
    assert figures["per_class"]["drive"] == pytest.approx(
        {"tp": 1, "fp": 0, "fn": 1, "gt": 2, "precision": 1, "recall": 0.5, "f1": 2 / 3, "ap": 6 / 11}
    )
    assert figures["splits"]["box"]["drive"] == {"tp": 1, "fn": 1, "gt": 2, "recall": 0.5}
    assert figures["halves"] == ["game_1_H1", "game_1_H2"]
    assert figures["missing_halves"] == ["game_1_H2"]
    assert figures["per_match"]["game_1"]["macro_f1"] == pytest.approx(2 / 3 / 8)


def test_no_strict_leaves_the_missing_half_out(files, capsys):
    assert evaluate(files, "--no-strict") == 0
    assert capsys.readouterr().out.rstrip().endswith("macro F1 0.1250")


@pytest.mark.parametrize(
    ("options", "kept"),
    [((), [(12, 0.7), (50, 0.3)]), (("--weights", 3, 1), [(12, 0.8), (50, 0.15)]),
     (("--agreement", 2), [(12, 0.7)]), (("--threshold", 0.31), [(12, 0.7)]),
     (("--agreement", 2, "--except", "drive", "--exponent", 0), [(12, 0.7), (50, 0.6)])],
)  # fmt: skip
def test_fuse_weighs_scores_of_the_same_event(files, options, kept):
    """A fused score of 0 to 1 is written as 0.15 to 1: what is kept is not dropped by the evaluator."""
    write_events(predictions((14, 0, 7, 1, 0.5), (50, 0, 7, 1, 0.6)), files / "q.json")
    names = ("--predictions", files / "p.json", files / "q.json", "--out", files / "out.json")
    assert main(["fuse", *map(str, (*names, *options))]) == 0
    events = read_predictions(files / "out.json")
    assert events["frame"].tolist() == [frame for frame, _ in kept]
    assert events["score"].tolist() == pytest.approx([0.15 + 0.85 * score for _, score in kept])


def test_fuse_fits_its_settings_leaving_one_match_out(tmp_path, capsys):
    """What one model has alone is wrong in all matches: that is found, and said for others."""
    halves = ("game_1_H1", "game_2_H1")
    rows = [(half, frame, 0, 7, 2) for half in halves for frame in (100, 300)]
    write_events(truth(*rows, halves=halves), tmp_path / "g.json")
    wrong = [(half, 600, 0, 7, 2, 0.8) for half in halves]
    events = predictions(*((*row, 0.8) for row in rows), halves=halves)
    write_events(events, tmp_path / "p.json")
    write_events(predictions(*((*row, 0.8) for row in rows), *wrong, halves=halves), tmp_path / "q.json")
    names = ["--predictions", tmp_path / "p.json", tmp_path / "q.json", "--out", tmp_path / "out.json"]
    fitted = ("--ground-truth", tmp_path / "g.json")
    assert main(["fuse", *map(str, (*names, *fitted))]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "macro F1 0.1250, leaving one match out"
    assert len(read_predictions(tmp_path / "out.json")) == 4
    assert said[1].startswith("fitted on all of these, for others: --weights 1.0 0.5 --agreement 1 ")
    again = said[1].partition(": ")[2].split()
    assert main(["fuse", *map(str, names), *again]) == 0
    assert len(read_predictions(tmp_path / "out.json")) == 4


def test_submit_writes_a_zip(files, capsys):
    out = files / "out.zip"
    assert main(["submit", "--predictions", str(files / "p.json"), "--out", str(out)]) == 0
    assert out.is_file() and "1 event in 1 half" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "--predictions", "missing.json", "--ground-truth", "g.json"],
        ["evaluate", "--predictions", ".", "--ground-truth", "g.json"],
        ["evaluate", "--predictions", "p.json", "--ground-truth", "p.json"],
        ["evaluate", "--predictions", "p.json", "--ground-truth", "g.json", "--tolerance", "x"],
        ["evaluate", "--predictions", "p.json", "--ground-truth", "g.json", "--json", "no/out.json"],
        ["evaluate", "--predictions", "p.json", "--ground-truth", "g.json", "--json", "."],
        ["submit", "--predictions", "p.json", "--out", "no/out.zip"],
        ["submit", "--predictions", "g.json", "--out", "out.zip"],
        ["submit", "--predictions", "p.json", "--out", "out.zip", "--layout", "round"],
        ["report", "--profile", "huge"],
        ["no-such-command"],
        [],
    ],
    ids=" ".join,
)
def test_any_error_is_one_line_and_exit_code_2(files, monkeypatch, capsys, command):
    monkeypatch.chdir(files)
    assert main(command) == 2
    message = capsys.readouterr().err.splitlines()
    errors = [line for line in message if not line.startswith("no predictions for")]
    assert len(errors) == 1 and errors[0].startswith("error: ")


def test_a_line_break_in_a_file_name_does_not_break_the_line(tmp_path, capsys):
    assert main(["submit", "--predictions", "a\nb", "--out", str(tmp_path / "o.zip")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_lines_are_written_whole_where_nothing_is_buffered(monkeypatch):
    """A signal that came between a line and its end had "interrupted" follow on the same line."""

    class Terminal(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, text) -> int:
            written.append(bytes(text))
            return len(text)

    written: list[bytes] = []
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(Terminal(), write_through=True))
    assert main(["models", "taad"]) == 0
    assert len(written) > 5
    assert all(line.endswith(b"\n") for line in written)


def test_help_works_from_the_shell_without_loading_torch(tmp_path):
    code = "import sys, footpass.__main__ as m; m.main(['--help'])"
    shown = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert shown.returncode == 0 and "evaluate" in shown.stdout
    code = "import sys, footpass.__main__, footpass.metrics; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert shown.stdout.strip() == "False"


def test_released_scores_on_the_command_line(release, reference, tmp_path, capsys):
    out = tmp_path / "out.json"
    files = {
        "--predictions": release / "playbyplay_PRED" / "playbyplay_DST_val.json",
        "--ground-truth": release / "playbyplay_GT" / "playbyplay_val.json",
        "--json": out,
    }
    assert main(["evaluate", *(str(part) for pair in files.items() for part in pair)]) == 0
    assert capsys.readouterr().out.rstrip().endswith("macro F1 0.4926")
    assert json.loads(out.read_text())["per_class"]["tackle"]["tp"] == 1
