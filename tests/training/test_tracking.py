"""Curves beside the log: TensorBoard's files hold what the log holds; wandb is told the same."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from footpass.files import DataError
from footpass.training.config import TrainConfig
from footpass.training.loop import train
from footpass.training.tracking import tracker


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.config, self.weight = {}, nn.Parameter(torch.zeros(1))


def run(folder, kind):
    torch.manual_seed(0)
    asked = []

    def picture(model):
        asked.append(model.training)
        return Figure()

    data = torch.arange(4.0)[:, None]
    config = TrainConfig(epochs=2, batch=2, lr={"weight": 0.1})
    figures = {"macro_f1": 0.5, "f1/pass": 0.25}
    rows = train(
        Line(), config, lambda epoch: data, lambda model, x: (model.weight * x - x).square().mean(),
        folder, lambda model: figures, track=tracker(kind, folder, picture),
    )  # fmt: skip
    assert asked == [False, False]
    return rows


def test_tensorboard_holds_what_the_log_holds(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rows = run(tmp_path, "tensorboard")
    assert rows == [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    events = accumulators.EventAccumulator(str(tmp_path)).Reload()
    expected = {"loss", "lr/weight", "macro_f1", "f1/pass", "seconds"}
    assert set(events.Tags()["scalars"]) == expected
    for name in ("loss", "f1/pass"):
        assert [event.step for event in events.Scalars(name)] == [0, 1]
        assert [event.value for event in events.Scalars(name)] == pytest.approx([r[name] for r in rows])
    assert [image.step for image in events.Images("detections")] == [0, 1]


def test_wandb_is_told_the_same(tmp_path, monkeypatch):
    told = []
    run_of = SimpleNamespace(log=lambda scalars, step: told.append((step, scalars)))
    fake = SimpleNamespace(init=lambda **_: run_of, Image=lambda figure: "picture")
    monkeypatch.setitem(sys.modules, "wandb", fake)
    rows = run(tmp_path, "wandb")
    assert [step for step, _ in told] == [0, 1]
    assert told[1][1]["loss"] == rows[1]["loss"] and told[1][1]["detections"] == "picture"


def test_what_is_not_installed_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(DataError, match="wandb is not installed: pip install wandb"):
        tracker("wandb", tmp_path)
