"""Benchmarks run, plain, public and earlier code beside ours, and all find the same."""

from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import cases, progress
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
