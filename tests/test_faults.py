"""Faults of the machine and of other libraries end a command in one line that says what to do."""

import subprocess
import sys

import lightgbm
import pytest
import torch

import footpass.__main__ as cli
from footpass.faults import explain
from footpass.files import PROJECT, DataError

SHARED = (
    "DataLoader worker (pid 9) is killed by signal: Bus error. It is possible that dataloader's workers "
    "are out of shared memory. Please try to raise your shared memory limit."
)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DataError("no events", "p.json", "game_1_H1"), "p.json: half game_1_H1: no events"),
        (
            FileNotFoundError(2, "No such file or directory", "p.json"),
            "p.json: No such file or directory",
        ),
        (OSError(28, "No space left on device"), "No space left on device"),
        (MemoryError(), "memory is full"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "smaller --batch"),
        (RuntimeError(SHARED), "--workers 0, or start the container with --shm-size"),
        (RuntimeError("unable to allocate shared memory(shm) for file </torch_1>"), "--shm-size"),
        (RuntimeError("DataLoader worker (pid 9) is killed by signal: Killed."), "fewer --workers"),
        (
            RuntimeError("unable to write to file </torch_7_1>: No space left on device (28)"),
            "--shm-size",
        ),
        (
            lightgbm.basic.LightGBMError("Model file doesn't\nspecify classes"),
            "Model file doesn't specify",
        ),
        (ModuleNotFoundError("No module named 'av'", name="av"), "av is not installed: pip install"),
        (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates not allowed"), "cannot be written"),
        (TypeError("expected str"), "TypeError: expected str (a fault of footpass: FOOTPASS_DEBUG=1"),
    ],
)
def test_a_fault_is_one_line_that_says_what_to_do(error, words):
    assert words in explain(error) and "\n" not in explain(error)


def test_memory_that_torch_is_not_given_is_explained():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60)
    assert "the memory is full" in explain(error.value)


def test_a_line_that_nobody_would_read_to_its_end_is_cut():
    assert len(explain(DataError("tensor, " * 1000))) == 500


@pytest.fixture
def failing(monkeypatch):
    """`evaluate` raises this error behind a progress bar."""

    def fail(error: BaseException) -> list[str]:
        def run(args):
            from tqdm import tqdm

            for _ in tqdm([1]):
                raise error

        monkeypatch.setattr("footpass.cli.evaluate._evaluate", run)
        return ["evaluate", "--predictions", "p.json", "--ground-truth", "g.json"]

    return fail


def test_an_error_begins_a_line_of_its_own_behind_a_bar(failing, capsys):
    assert cli.main(failing(MemoryError())) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("error: the memory is full") and "Traceback" not in said


def test_the_traceback_is_there_for_those_who_ask(failing, capsys, monkeypatch):
    monkeypatch.setenv("FOOTPASS_DEBUG", "1")
    assert cli.main(failing(DataError("no events"))) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said and said.endswith("error: no events\n")


def test_ctrl_c_is_no_error(failing, capsys):
    assert cli.main(failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err.endswith("interrupted\n")


def test_without_its_dependencies_the_program_says_how_to_install_them():
    command = [sys.executable, "-S", "-m", "footpass", "check", "."]
    run = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
    assert run.returncode == 2 and "pip install -r requirements.txt" in run.stderr
    assert run.stderr.startswith("error: ") and run.stderr.count("\n") == 1


def test_a_name_that_the_terminal_cannot_show_is_no_error(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "footpass", "check", str(tmp_path / "\u00fc")],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(PROJECT)},
    )
    assert b"\\xfc: no such folder" in run.stderr and b"Traceback" not in run.stderr


def test_a_reader_who_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m footpass evaluate --help | head -1; exit ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=PROJECT)
    assert run.stderr == "" and run.returncode in (0, 141)


def test_an_output_is_not_an_input(tmp_path, capsys):
    truth = tmp_path / "g.json"
    truth.write_text('{"keys": [], "events": {}}')
    link = tmp_path / "link.json"
    link.symlink_to(truth)
    command = [
        "evaluate",
        "--predictions",
        str(truth),
        "--ground-truth",
        str(truth),
        "--json",
        str(link),
    ]
    assert cli.main(command) == 2
    assert "link.json: --json would write over what the command reads" in capsys.readouterr().err
    assert truth.read_text() == '{"keys": [], "events": {}}'


def test_an_output_is_no_file_of_a_data_folder_that_is_read(tmp_path, capsys):
    truth = tmp_path / "playbyplay_GT" / "playbyplay_val.json"
    truth.parent.mkdir()
    truth.write_text("{}")
    assert cli.main(["check", str(tmp_path), "--json", str(truth)]) == 2
    assert "--json would write over what the command reads" in capsys.readouterr().err
    assert truth.read_text() == "{}"
    assert cli.main(["check", str(tmp_path), "--json", str(tmp_path / "found.json")]) == 1
