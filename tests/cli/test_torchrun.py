"""Every training command and predict under torchrun: two processes do what one does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from footpass.__main__ import main
from footpass.data.cache import open_halves
from footpass.data.logits import logits_path, read_logits
from footpass.events import predictions_path, read_predictions
from footpass.training.checkpoints import load_checkpoint

pytestmark = pytest.mark.slow

# What each process runs: all commands in turn, so that they start only once.
SCRIPT = """
import json, sys, torch
from footpass.__main__ import main

if __name__ == "__main__":  # matches are simulated in processes of their own
    torch.set_num_threads(1)
    sys.exit(max(main(command) for command in json.loads(sys.argv[1])))
"""
SHARED = ("--profile", "smoke", "--batch", "2", "--accumulate", "2")


def commands(data: Path, out: Path, given: Path) -> list[list[str]]:
    """Trainings and predictions into ``out``; what they read of earlier ones is in ``given``."""
    where, detector = ("--data", data), ("predict", "--data", data, "--split")
    best = [given / model / "best.pt" for model in ("taad", "gnn", "dst")]
    both = ("--checkpoint", *best[:2], "--out", out / "taad", out / "gnn")
    logits = ("--logits", given / "taad", given / "gnn")
    pretrained = ("--pretrain", "--set", "pretraining.train.accumulate=2")
    lines = [
        ("train", "taad", *where, "--out", out / "taad", *SHARED),
        ("train", "gnn", *where, "--out", out / "gnn", "--from", best[0], *SHARED),
        (*detector, "train", *both),
        (*detector, "val", *both),
        ("train", "dst", *where, *logits, "--out", out / "dst", *pretrained, *SHARED),
        (*detector, "val", *logits, "--checkpoint", best[2], "--out", out / "dst"),
    ]
    return [[str(word) for word in line] for line in lines]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The season, what one process has made of it, and what two have."""
    folder = tmp_path_factory.mktemp("torchrun")
    data, one, two = folder / "data", folder / "one", folder / "two"
    for split in ("train", "val"):
        size = ("--matches", "1", "--minutes", "0.2", "--workers", "1")
        assert main(["simulate", "--out", str(data), "--split", split, *size]) == 0
    for command in commands(data, one, one):
        assert main(command) == 0
    (folder / "all.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    todo = json.dumps(commands(data, two, one))
    done = subprocess.run([*launch, folder / "all.py", todo], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return data, one, two, done.stdout


@pytest.mark.parametrize("model", ["taad", "gnn", "dst/pretraining", "dst"])
def test_two_processes_train_as_one(runs, model):
    _, one, two, _ = runs
    alone, both = (load_checkpoint(run / model / "last.pt") for run in (one, two))
    assert alone["config"]["train"] == both["config"]["train"]
    for name, weights in alone["model"].items():
        # Of a batch norm's statistics each process counts its own share.
        if "running_" not in name and "tracked" not in name:
            torch.testing.assert_close(both["model"][name], weights, msg=name, atol=1e-4, rtol=1e-3)
    for mine, theirs in zip(alone["rows"], both["rows"], strict=True):
        assert theirs["losses"] == pytest.approx(mine["losses"], rel=1e-3)


@pytest.mark.parametrize("model", ["taad", "gnn", "dst"])
def test_two_processes_predict_as_one(runs, model):
    data, one, two, _ = runs
    events = [read_predictions(predictions_path(run / model, "val")) for run in (one, two)]
    assert events[0].drop(columns="score").equals(events[1].drop(columns="score"))
    np.testing.assert_allclose(*(table["score"] for table in events), atol=1e-4)
    if model == "dst":
        return
    for split in ("train", "val"):
        for half in open_halves(data, split).values():
            logits = [read_logits(logits_path(run / model, split), half) for run in (one, two)]
            np.testing.assert_array_equal(*logits)


def test_the_first_line_says_how_a_training_goes(runs):
    *_, said = runs
    assert "cpu, fp32, 2 processes, 2 x 2 = 4 samples a step" in said
    assert said.count("processes") == 4  # once each, by the first of them; the DST's pre-training too
