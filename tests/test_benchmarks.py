"""Benchmarks run, plain, public and earlier code beside ours, and all find the same."""

from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import cases, grammar, progress
from footpass.experiments.release import simulate_release, write_release
from footpass.files import PROJECT


@pytest.mark.slow
@pytest.mark.parametrize("name", [path.stem for path in Path(cases.__file__).parent.glob("bench_*.py")])
def test_a_benchmark_finds_what_its_plain_implementation_finds(name):
    """Two had long called functions that were gone."""
    assert import_module(f"benchmarks.{name}").run()["ratio"] > 0


@pytest.mark.slow
def test_earlier_code_the_public_loop_and_ours_count_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(cases, "EVENTS", {cases.FEW: cases.EVENTS[cases.FEW]})
    cases.write_files(tmp_path)
    with ExitStack() as stack:
        workers = {"after": stack.enter_context(progress._worker(str(tmp_path), PROJECT))}
        workers["public"] = stack.enter_context(progress._worker(str(tmp_path), PROJECT, "plain"))
        if (earlier := stack.enter_context(progress._earlier())) is not None:
            workers["before"] = stack.enter_context(progress._worker(str(tmp_path), earlier))
        row = progress._timed("scoring, few", workers)
        assert (row.before_s is None) == (earlier is None)
        assert row.after_s > 0 and row.public_s is not None
        workers["after"] = lambda name: (1.0, [0.0])
        with pytest.raises(AssertionError, match="scoring, few: public says"):
            progress._timed("scoring, few", workers)


@pytest.mark.slow
def test_the_grammar_is_measured_on_any_release(tmp_path, monkeypatch, capsys):
    made = simulate_release(3)
    truth = {"train": made.train, "val": made.val}
    write_release(tmp_path / "release", truth, made.predictions, "simulated", made.provenance)
    monkeypatch.setattr(grammar, "HELD_OUT", 1)
    monkeypatch.setattr(grammar, "SETTINGS", [(0.0, False), (0.2, False), (0.2, True)])
    files = ("--release", tmp_path / "release", "--cache", tmp_path / "cache")
    grammar.main([*map(str, files), "--profile", "smoke"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "legal events" in line]
    assert [row[5] for row in rows] == ["0.0%"] * 5
