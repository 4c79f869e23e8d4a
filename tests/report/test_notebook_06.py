"""Notebook 06 on somebody's own logits: a hand-made volume, tactical data and release."""

import json

import h5py
import numpy as np
import pandas as pd
import papermill
import pytest

from footpass.data.paths import tactical_path
from footpass.data.tactical import write_tactical
from footpass.events import write_events
from footpass.experiments.release import PREDICTION_FILES, TRUTH_FILES
from footpass.report.notebooks import NOTEBOOKS
from footpass.schema import N_CLASSES, N_SLOTS, Action, Tactical, slot
from tests.tables import predictions, truth

HALVES = ("game_1_H1", "game_2_H1")
FIRST, LAST = 1000, 3100


def tactical_rows() -> np.ndarray:
    """Two teams of eleven: the player of role r wears r, in all frames."""
    frame, team, role = np.meshgrid(np.arange(FIRST, LAST), [0, 1], np.arange(1, 12), indexing="ij")
    rows = np.full((frame.size, len(Tactical)), np.nan, np.float32)
    rows[:, Tactical.FRAME], rows[:, Tactical.TEAM] = frame.ravel(), team.ravel()
    rows[:, Tactical.ROLE] = rows[:, Tactical.JERSEY] = role.ravel()
    rows[:, Tactical.LABEL] = 0
    rows[:, Tactical.BOX_X : Tactical.LABEL] = 10, 10, 20, 30  # all have a box
    return rows


@pytest.fixture
def folder(tmp_path):
    """Passes and drives, of which the model gives every fourth to a team-mate; logits see who it was."""
    events = [
        (half, FIRST + 50 * i, i % 2, 1 + i % 11, Action.PASS if i % 3 else Action.DRIVE)
        for half in HALVES
        for i in range(1, 41)
    ]
    given = [(*e[:3], 1 + e[3] % 11 if i % 4 == 0 else e[3], e[4], 0.9) for i, e in enumerate(events)]
    labels = truth(*((*event, True, False) for event in events), halves=HALVES)
    made = predictions(*given, halves=HALVES)
    for file, table in [
        *((TRUTH_FILES[split], labels) for split in ("train", "val")),
        *((PREDICTION_FILES[model], made) for model in ("TAAD", "DST")),
    ]:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        write_events(table, tmp_path / file)
    write_tactical(tmp_path / tactical_path("val"), dict.fromkeys(HALVES, tactical_rows()).items())
    with h5py.File(tmp_path / "logits.h5", "w") as file:
        for half in HALVES:
            volume = np.zeros((N_CLASSES, N_SLOTS, LAST), np.float16)
            volume[Action.BACKGROUND] = 6
            for name, frame, team, jersey, cls in events:
                if name == half:
                    volume[cls, slot(team, jersey), frame] = 9
            file.create_dataset(half, data=volume, compression="gzip")
    return tmp_path


def test_notebook_06_on_hand_made_logits(folder):
    parameters = {
        "profile": "smoke",
        "data": str(folder),
        "run_dir": str(folder / "run"),
        "logits": str(folder / "logits.h5"),
        "tactical": str(folder),
    }
    notebook = NOTEBOOKS / "06_postprocessing.ipynb"
    papermill.execute_notebook(
        notebook, folder / "out.ipynb", parameters=parameters, cwd=NOTEBOOKS, progress_bar=False
    )
    content = json.loads((folder / "run" / "metrics.json").read_text())
    metrics = {metric["name"]: metric["value"] for metric in content["metrics"]}
    # Two classes of eight occur; three quarters are right at first, all once logits say who it was.
    assert metrics["base_macro_f1"] == pytest.approx(2 / 8 * 0.75, abs=0.01)
    assert metrics["few_numbers_held_out"] == metrics["published_held_out"] == 2 / 8
    assert [source["what"] for source in content["data"]] == ["public FOOTPASS release", "logits"]
    table = next(table for table in content["tables"] if table["name"] == "changes")
    changes = pd.DataFrame(table["rows"], columns=table["columns"])
    assert changes[["step", "helped"]].values.tolist() == [["reassign", 20]]
