"""The benchmarks that compare with earlier code: it runs, and finds what today's finds."""

from contextlib import ExitStack

import pytest

from benchmarks import cases, progress
from footpass.files import PROJECT


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
