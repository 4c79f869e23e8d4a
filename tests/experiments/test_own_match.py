"""What tracks cost, on tables made by hand; all else of notebook 09 is run with it."""

import pytest

from footpass.experiments import own_match
from footpass.experiments.own_match import OFFICIAL, costs
from tests import tables

TRUE = [(100 * k, k % 2, k % 5, 1 + k % 8) for k in range(80)]


def test_a_match_is_simulated_again_only_where_the_simulator_is_another(tmp_path, monkeypatch):
    def write_season(folder, *settings, **more):
        (folder / "playbyplay_GT").mkdir(parents=True)
        (folder / "playbyplay_GT" / "playbyplay_val.json").touch()

    monkeypatch.setattr(own_match, "write_season", write_season)
    folders = []
    for edition in (3, 3, 4):
        monkeypatch.setattr(own_match, "EDITION", edition)
        folders.append(own_match.practice_match(tmp_path / "season", 1.0, 0, None).folder)
    assert folders[0] == folders[1] != folders[2] and {*folders} == {*tmp_path.iterdir()}


def test_what_tracks_cost_is_the_change_of_macro_f1_against_the_official_data():
    truth = tables.truth(*TRUE)
    whole = tables.predictions(*((*row, 0.9) for row in TRUE))
    # Every other event is given to somebody else: half of each class found, and as many made up.
    other = tables.predictions(*((f, t, j + 50 * (f // 800 % 2), c, 0.9) for f, t, j, c in TRUE))
    events = {
        "TAAD": {OFFICIAL: whole, "exact": whole, "bad": other},
        "DST": {OFFICIAL: other, "bad": whole},
    }
    table = costs(events, truth).set_index("model", append=True)
    assert table["macro F1"].to_dict() == pytest.approx(
        {("exact", "TAAD"): 1.0, ("bad", "TAAD"): 0.5, ("bad", "DST"): 1.0}
    )
    assert table["change"].tolist() == pytest.approx([0.0, -0.5, 0.5])
    assert table.loc[("bad", "TAAD"), "high"] < -0.3 < 0.3 < table.loc[("bad", "DST"), "low"]
    assert table.loc[("exact", "TAAD"), ["low", "high"]].tolist() == [0, 0]
