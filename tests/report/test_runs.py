import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from footpass.configs import resolve_profile
from footpass.data.provenance import Provenance
from footpass.experiments.stages import Stage, Study
from footpass.files import DataError, fingerprint
from footpass.metrics import Interval
from footpass.report.run import format_cell, slug, start_run


def test_names_become_parts_of_metrics_names():
    names = ("TAAD + GNN", "throw-in", "+ GNN fusion", "GNN fusion, the truth for the GNN's logits")
    slugs = "taad_gnn", "throw_in", "gnn_fusion", "gnn_fusion_the_truth_for_the_gnn_s_logits"
    assert tuple(map(slug, names)) == slugs


def test_a_run_directory_tells_its_story(tmp_path):
    source = tmp_path / "data.json"
    source.write_text("{}")
    plt.close("all")  # what other tests have left open
    run = start_run("x", profile="smoke", run_dir=tmp_path / "run", seed=3, config={"rate": 0.1})
    run.uses("a file", [source], Provenance(True, "0.1.0", 5), "trained here")
    run.metric("f1", Interval(0.5, 0.4, 0.6), "F1")
    run.figure(plt.figure(), "plot", caption="c", alt="a")
    run.answer("Half of it.")
    run.table(
        pd.DataFrame({"n": [1, 2], "share": [0.5, np.nan]}, ["a", "b"]).rename_axis("k"), "t", "cap"
    )
    assert not (run.dir / "metrics.json").exists()
    run.finish()
    told = json.loads((run.dir / "metrics.json").read_text())
    assert (told["profile"], told["seed"], told["config"]) == ("smoke", 3, {"rate": 0.1})
    data = {"what": "a file", "simulated": True, "seed": 5, "version": "0.1.0"}
    data["systems"] = "trained here"
    assert told["data"] == [data | {"fingerprint": fingerprint(source)}]
    assert told["trained"] == []
    assert told["answer"] == "Half of it."
    assert told["metrics"] == [{"name": "f1", "value": 0.5, "label": "F1", "interval": [0.4, 0.6]}]
    assert told["tables"][0]["columns"] == ["k", "n", "share"]
    assert told["tables"][0]["rows"] == [["a", 1, 0.5], ["b", 2, None]]
    assert (run.dir / told["figures"][0]["file"]).read_bytes().startswith(b"\x89PNG")
    assert plt.get_fignums() == []


def test_starting_again_takes_the_old_result_away(tmp_path):
    start_run("x", run_dir=tmp_path).finish()
    start_run("x", run_dir=tmp_path)
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize("arguments", [{"profile": "huge"}, {"seed": "1"}, {"seed": True}, {"seed": -1}])
def test_wrong_parameters_are_errors(tmp_path, arguments):
    with pytest.raises(DataError):
        start_run("x", run_dir=tmp_path, **arguments)


def test_tests_run_in_the_smoke_profile(monkeypatch):
    assert resolve_profile() == "smoke"
    monkeypatch.delenv("FOOTPASS_PROFILE")
    assert resolve_profile() == "demo"


@pytest.mark.parametrize(
    "value, text",
    [
        (45621, "45,621"),
        (213.47, "213.470"),
        (2.0, "2"),
        (1.0, "1.000"),
        (-1e-9, "0.000"),
        (None, "–"),
        ("a<b", "a<b"),
    ],
)
def test_cells_are_written_as_people_write_them(value, text):
    assert format_cell(value) == text


def test_what_a_study_has_trained_is_recorded(tmp_path):
    study = Study(tmp_path, None, None)
    rows = [{"seconds": 3.0, "revision": "abc"}, {"seconds": 1.5, "revision": "abc"}]
    study.known[("taad",)] = Stage("taad", tmp_path / "taad-1", rows)
    run = start_run("x", profile="smoke", run_dir=tmp_path)
    run.finish(study.trained)
    told = json.loads((tmp_path / "metrics.json").read_text())
    assert told["trained"] == [{"stage": "taad-1", "seconds": 4.5, "revisions": ["abc"]}]
