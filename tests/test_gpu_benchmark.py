"""The GPU's benchmark, tried where there is none: it runs, and its file says that it was a rehearsal."""

import json
import sys

import pytest
import torch

from benchmarks import gpu


def test_without_a_gpu_it_measures_nothing(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path / "gpu.json")])
    with pytest.raises(SystemExit):
        gpu.main()
    assert "no CUDA device here" in capsys.readouterr().err and not any(tmp_path.iterdir())


def test_what_does_not_fit_is_a_row_without_figures():
    def measure() -> dict:
        raise torch.OutOfMemoryError("CUDA out of memory")

    row = gpu._row("training step", {"model": "taad"}, measure)
    assert row == {"what": "training step", "model": "taad", "error": "out of memory"}


@pytest.mark.slow
def test_a_rehearsal_says_so_and_two_processes_equal_one(monkeypatch, tmp_path):
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu", "--rehearse", "--out", str(out)])
    gpu.main()
    content = json.loads(out.read_text())
    assert content["rehearsal"] is True and content["device"] == "CPU"
    *rows, two = content["measurements"]
    (decoding,) = (row for row in rows if row["what"] == "decoding")
    rows.remove(decoding)
    assert decoding["frames_per_second"] > 0
    assert {row["what"] for row in rows} == {"training step", "inference"}
    assert all(row["seconds"] > 0 and row["peak_gib"] is None for row in rows)
    assert two["largest_difference"] < 1e-5
