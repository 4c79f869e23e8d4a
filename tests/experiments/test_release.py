"""Events in the public layout: what is written is read again, and says what it is."""

import json

import pandas as pd
import pytest

from footpass.data.provenance import REAL, Provenance
from footpass.experiments.release import PREDICTION_FILES, read_release, write_release
from footpass.files import DataError
from footpass.schema import Action
from tests.tables import predictions, truth

HALVES = ("game_1_H1", "game_1_H2")
TRUTH = truth(("game_1_H1", 30, 0, 7, Action.PASS, True, False), halves=HALVES)
FOUND = {
    model: predictions(("game_1_H2", 40, 1, number, Action.SHOT, 0.5), halves=HALVES)
    for number, model in enumerate(PREDICTION_FILES, 3)
}


MADE = Provenance(True, "0.1.0", 3, {"matches": 2})


def written(folder):
    tables = {"train": TRUTH, "val": TRUTH}
    return write_release(folder, tables, FOUND, "two models on a synthetic season", MADE)


def test_our_models_events_are_read_like_the_release(tmp_path):
    release = read_release(written(tmp_path / "release"))
    pd.testing.assert_frame_equal(release.val, TRUTH)
    for model, table in FOUND.items():
        pd.testing.assert_frame_equal(release.predictions[model], table)
    assert release.source == "two models on a synthetic season" and release.provenance == MADE


def test_without_its_note_and_marks_it_is_the_public_one(tmp_path):
    for path in written(tmp_path).rglob("*.json"):
        if path.name == "source.json" or ".provenance" in path.name:
            path.unlink()
    release = read_release(tmp_path)
    assert release.source == "public FOOTPASS release" and release.provenance == REAL


def test_a_damaged_note_is_named(tmp_path):
    (written(tmp_path) / "source.json").write_text("{")
    with pytest.raises(DataError, match=r"source\.json"):
        read_release(tmp_path)
    (tmp_path / "source.json").write_text(json.dumps({"what": 1}))
    with pytest.raises(DataError, match=r"source\.json: not a note of write_release"):
        read_release(tmp_path)
