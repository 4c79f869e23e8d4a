"""Plans: sizes by hand, shares of processes, and a small training that takes as long as was planned."""

import time

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from footpass import __main__ as program
from footpass.experiments.planning import Planner, _count
from footpass.experiments.profile import load_profile
from footpass.training.config import TrainConfig


def test_arithmetic_and_memory_of_a_layer_by_hand():
    class Layer(nn.Linear):
        def forward(self, x):
            return super().forward(x).exp()

    config = TrainConfig(batch=32)
    counted = _count(lambda: (Layer(100, 50), [torch.zeros(32, 100)]), config, FakeTensorMode())
    weights = 4 * (100 * 50 + 50)
    assert (counted[0], counted[2]) == (2 * 32 * 100 * 50, weights)
    activations = 4 * 32 * 50  # of the product, its exponential and what backward makes of them
    assert 4 * weights <= counted[1] <= 4 * weights + 8 * activations


def test_the_paper_profile_is_planned_as_published():
    """192,000 windows; 7 classes with 500 clips and 174 tackles that have a box."""
    rows = {row.stage: row for row in Planner(load_profile("paper"), rate=1e13).stages()}
    assert list(rows) == ["taad", "taad logits", "gnn", "gnn logits", "dst"]
    clips, epochs = rows["taad"].work.split(" clips x ")
    assert abs(int(clips.replace(",", "")) - 3674) <= 2 and epochs == "25 epochs"
    assert rows["dst"].work == "192,000 windows x 10 epochs"
    # 6 clips do not fit into 22 GB, as the official TAAD found; the weights are nothing beside them.
    assert 30 < rows["taad"].memory / 2**30 < 45
    assert rows["dst"].disk == pytest.approx(4 * 4 * 45.5e6, rel=0.01)
    assert all(row.seconds == pytest.approx(row.flops / 1e13) for row in rows.values())


def test_processes_share_a_step_in_whole_micro_batches(caplog):
    """8 micro-batches among 3 processes take as long as 3 do; one cannot be shared."""
    three = Planner(load_profile("smoke"), processes=3)
    assert three._share(TrainConfig(accumulate=8)) == pytest.approx(8 / 3)
    assert not caplog.messages and three._share(TrainConfig(accumulate=1)) == 1
    assert caplog.messages == ["accumulate = 1 cannot be shared by 3 processes: some of them idle"]


def test_the_command_says_what_its_times_rest_on(capsys):
    what = "plan --profile smoke --variant transformer --gpus 2 --tflops 5"
    assert program.main(what.split()) == 0
    first, head, *rows = capsys.readouterr().out.splitlines()
    assert first == "smoke on 2 GPUs; times assuming 5 TFLOP/s a GPU: not measured, without loading"
    assert head.split() == ["stage", "work", "TFLOP", "memory", "disk", "time"]
    assert [row.split()[0] for row in rows] == [
        "taad",
        "taad",
        "gnn",
        "gnn",
        "pretraining",
        "dst",
        "all",
    ]
    assert program.main(["plan", "--gpus", "-1"]) == 2


@pytest.mark.slow
def test_a_plan_is_measured_in_under_a_minute():
    """Of CPU time: the machine may be busy."""
    began = time.process_time()
    rows = list(Planner(load_profile("smoke")).stages())
    assert time.process_time() - began < 60
    assert all(row.seconds > 0 for row in rows) and rows[0].stage == "season"
