"""Altered steps, adjustments, re-scorings and checkpoints: taken, or one `DataError`; nothing else."""

import json
import random
import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
import torch

from footpass.configs import plain, write_config
from footpass.detectors.clips import ClipConfig
from footpass.detectors.predict import load_detector
from footpass.detectors.spotting import LogitAdjustment, read_adjustment, write_adjustment
from footpass.ensemble import rescore
from footpass.ensemble.config import Boosting, RescoreConfig
from footpass.ensemble.trees import booster
from footpass.events import read_predictions, write_events
from footpass.experiments.profile import load_profile
from footpass.experiments.release import simulate_release
from footpass.files import PROJECT, DataError
from footpass.models.taad import TAAD, TAADConfig
from footpass.postprocess import search
from footpass.postprocess.steps import NMS, Gate, PostprocessConfig, Reassign, Refine
from footpass.training import checkpoints
from footpass.training.checkpoints import save_checkpoint
from tests.fuzz import changed, taken

CASES = 200


def test_steps(tmp_path):
    path = tmp_path / "steps.json"
    search.save(PostprocessConfig(Reassign(0.5), Gate(), Refine(), NMS(3)), path)
    whole = json.loads(path.read_text())
    write = lambda rng: path.write_text(json.dumps(changed(whole, rng)))  # noqa: E731
    assert 5 < taken(search.load, write, path, CASES) < CASES - 50


def test_adjustments(tmp_path):
    path = tmp_path / "adjustment.json"
    write_adjustment(LogitAdjustment(1.5, (0.5,) * 9), path)
    whole = json.loads(path.read_text())
    write = lambda rng: path.write_text(json.dumps(changed(whole, rng)))  # noqa: E731
    assert 5 < taken(read_adjustment, write, path, CASES) < CASES - 50


def test_checkpoints(tmp_path):
    path = tmp_path / "best.pt"
    model = TAAD(load_profile("smoke").taad.model)
    weights = dict(list(model.state_dict().items()))
    config = {"kind": "TAAD", "model": plain(model.config), "about": {"clips": plain(ClipConfig())}}

    def write(rng):
        content = {"config": config, "model": weights}
        if rng.random() < 0.15:
            content = changed(content, rng)
        else:
            content["config"] = changed(config, rng)
        torch.save(content, path)

    assert 0 < taken(load_detector, write, path, CASES) < CASES - 50


def test_a_model_larger_than_the_machine_is_refused_before_it_is_built(tmp_path, monkeypatch):
    path, config = tmp_path / "best.pt", load_profile("smoke").taad.model
    content = {"kind": "TAAD", "about": {"clips": plain(ClipConfig())}}
    save_checkpoint(path, content | {"model": plain(replace(config, head=2**16))}, {"model": {}})
    monkeypatch.setattr(checkpoints, "_memory", lambda: 2**20)
    with pytest.raises(DataError, match=r"best.pt: damaged.*TAADConfig: 0 GB of weights, and this"):
        load_detector(path)
    save_checkpoint(path, content | {"model": plain(TAADConfig()) | {"head": 10**12}}, {"model": {}})
    with pytest.raises(DataError, match=r"best.pt: damaged.*TAADConfig.head = 10+: .* equal to 65536"):
        load_detector(path)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Folder with a small re-scoring and the predictions that it is for."""
    folder = tmp_path_factory.mktemp("fitted")
    season = simulate_release(2, seed=1)
    tables = [table[table["frame"] < 20_000] for table in season.predictions.values()]
    tables = [table.reset_index(drop=True) for table in tables]
    config = RescoreConfig(2, repeats=1, stages=1, boosting=Boosting(500, trees=3, least_rows=5))
    write_config(rescore.fit(tables, season.val, season.train, config), folder / "whole.json")
    for number, table in enumerate(tables):
        write_events(table[:200], folder / f"{number}.json")
    return folder


def tree_changed(text: str, rng: random.Random) -> str:
    """LightGBM's text with a number, a name or a line of its header or trees altered, or cut off."""
    lines = text.split("\n")
    at = rng.choice([i for i in range(lines.index("end of trees")) if "=" in lines[i]])
    name, _, values = lines[at].partition("=")
    numbers = values.split(" ")
    odd = ("-1", "0", "7", "100000000", "-100000000", "nan", "1e999", "1_0", "x", "")
    numbers[rng.randrange(len(numbers))] = rng.choice(odd)
    line = f"{name}={' '.join(numbers)}"
    twice = f"{lines[at]}\n{lines[at]}"
    new = rng.choice((line, line, line, f"{name}=", f"{name}x={values}", "", twice))
    return "\n".join([*lines[:at], new, *lines[at + 1 :]][: at + 1 if rng.random() < 0.1 else None])


def read_altered(folder: Path) -> None:
    """Read and apply altered re-scorings, with a GiB of memory; how many were taken is printed."""
    whole = json.loads((folder / "whole.json").read_text())
    trees = [text for fold in whole["models"][0][1]["trees"] for text in fold if text]
    for fold in whole["models"][0][1]["trees"]:
        fold[2:] = [None] * 6  # two classes are read faster than eight
    tables = [read_predictions(folder / f"{number}.json") for number in (0, 1)]
    names = rescore.load(folder / "whole.json").names
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (pages + 2**30,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (100, 100))  # seconds, of which it needs ten
    path = folder / "altered.json"

    def write(rng):
        content = dict(whole)
        key = rng.choice((*whole, "models", "models"))
        content[key] = changed(content[key], rng)
        path.write_text(json.dumps(content))

    def write_tree(rng):
        path.write_text(tree_changed(rng.choice(trees), rng))

    def predict(path):
        try:
            booster(path.read_text(), names).predict(np.random.default_rng(0).random((50, len(names))))
        except DataError as error:
            raise error.at(path) from error

    counts = (
        taken(lambda path: rescore.apply(rescore.load(path), tables), write, path, CASES),
        taken(predict, write_tree, path, CASES),
    )
    print(*counts)


def test_rescorings_and_their_trees(fitted):
    """In a process of its own, which a crash would end."""
    code = "import pathlib, sys; from tests.test_fuzz_settings import read_altered as read; "
    code += "read(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(fitted)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole, trees = map(int, done.stdout.split())
    assert 0 < whole < CASES - 50 and 0 < trees < CASES - 50


@pytest.mark.parametrize(
    ("line", "change", "reason"),
    [
        ("left_child", lambda values: ["100000000"] * len(values), "not each a child once"),
        ("left_child", lambda values: ["0", *values[1:]], "not each a child once"),
        ("right_child", lambda values: values[:-1], "right_child is not .* numbers"),
        (
            "split_feature",
            lambda values: ["165", *values[1:]],
            "split_feature is not .* numbers from 0 to",
        ),
        ("leaf_value", lambda values: ["nan", *values[1:]], "leaf_value is no list of numbers"),
        ("threshold", lambda values: ["1e999", *values[1:]], "threshold is not"),
        ("decision_type", lambda values: ["1", *values[1:]], "a category for a threshold"),
        ("num_leaves", lambda values: ["1000000000"], "num_leaves is no"),
        ("is_linear", lambda values: ["1"], "is_linear is not"),
    ],
)
def test_a_tree_that_is_none_is_named(fitted, tmp_path, line, change, reason):
    content = json.loads((fitted / "whole.json").read_text())
    trees = content["models"][0][1]["trees"]
    pattern = rf"(?<=^{line}=).*$"
    new = re.sub(pattern, lambda m: " ".join(change(m[0].split())), trees[0][0], count=1, flags=re.M)
    assert new != trees[0][0]
    trees[0][0] = new
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"bad.json: not a fitted re-scoring.*tree 0: .*{reason}"):
        rescore.load(tmp_path / "bad.json")


def test_checked_trees_predict_what_the_library_predicts(fitted):
    rescorer = rescore.load(fitted / "whole.json")
    x = np.random.default_rng(0).normal(0, 3, (200, len(rescorer.names)))
    for texts, fold in zip(rescorer.repeats[0][1][0].trees, rescorer.boosters[0][0], strict=True):
        for text, checked in zip(texts, fold, strict=True):
            if text:
                np.testing.assert_array_equal(checked.predict(x), lgb.Booster(model_str=text).predict(x))
