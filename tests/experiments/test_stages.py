"""A study's stages: what their folders are named after, and what is made anew when."""

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from footpass.crossfit import CrossFit
from footpass.data.provenance import Provenance
from footpass.detectors.spotting import UNADJUSTED, LogitAdjustment
from footpass.ensemble import chain
from footpass.events import halves_of
from footpass.experiments import grid, stages
from footpass.experiments.costs import Cost, _a_step, costs
from footpass.experiments.grid import Outcome, run_grid, run_row
from footpass.experiments.profile import SeasonSize, load_profile
from footpass.experiments.rows import Grid, Row
from footpass.experiments.season import Season
from footpass.experiments.stage import Stage
from footpass.experiments.stages import Study
from footpass.files import DataError
from footpass.simulate.logits import perfect_logits
from tests import seasons as handmade

SMOKE = load_profile("smoke")


@pytest.fixture
def untrained(tmp_path, monkeypatch):
    """A study of no data whose stages are made at once."""
    for train in ("train_detector", "train_dst", "pretrain_dst"):
        monkeypatch.setattr(stages, train, lambda *args, **more: [])
    for name in ("fine_tuning", "on_features"):
        monkeypatch.setattr(stages, name, lambda recipe, start: recipe)
    monkeypatch.setattr(Study, "recorded", lambda *args: {})
    study = Study(tmp_path / "stages", SMOKE, season=None)
    nothing = {"_season_fingerprint": "season", "_held_out": set(), "training_footage": {}}
    truth = {"train": pd.DataFrame({"cls": np.zeros(0, int)})}
    for name, value in (nothing | {"footage": {"train": {}, "val": {}}, "truth": truth}).items():
        monkeypatch.setitem(Study.__dict__[name].__dict__, "func", lambda self, value=value: value)
    return study


def test_what_is_trained_keeps_its_folder(untrained):
    """Renamed, hours of training would be done again: a new setting is no part of old recipes."""
    made = [untrained.taad(1), untrained.gnn(), untrained.dst("concat", "sqrt", 1), untrained.dst()]
    made += [untrained.dst(pretrained=False), untrained.pretraining("concat")]
    assert [stage.dir.name for stage in made] == [
        "taad-seed1-feb0af09",
        "gnn-seed0-7a1a6bab",
        "dst-concat-sqrt-seed1-859dac9c",
        "dst-none-none-seed0-ae466f44",
        "dst-none-none-seed0-alone-a789cf6d",
        "pretraining-concat-24ca0ff2",
    ]


def test_variants_share_what_they_do_not_change(untrained):
    other = untrained.of_variant("A")
    assert untrained.of_variant(None) is untrained and untrained.of_variant("A") is other
    assert other.taad().dir == untrained.taad().dir
    assert other.dst().dir != untrained.dst().dir
    assert other.dst().dir.name in {stage["stage"] for stage in untrained.trained}


def test_variants_have_the_models_of_the_zoo_that_they_do_not_change(untrained):
    boxed = replace(untrained, profile=replace(SMOKE, start="zoo"), known={})
    other = boxed.of_variant("A")
    assert other.taad().zoo == boxed.taad().zoo == "zoo:taad"
    assert boxed.dst().zoo == "zoo:dst" and boxed.dst().start is None
    assert other.dst().zoo is None
    named = replace(SMOKE, start=("taad",))
    assert [named.from_zoo(name) for name in ("taad", "gnn")] == ["zoo:taad", None]


def test_models_of_the_zoo_can_be_used_as_they_are(untrained):
    """No epochs: nothing is learned, so weights of classes would change nothing."""
    dst = replace(SMOKE.dst, train=replace(SMOKE.dst.train, epochs=0))
    boxed = replace(untrained, profile=replace(SMOKE, start="zoo", dst=dst), known={})
    assert boxed.dst().dir != untrained.dst().dir
    with pytest.raises(DataError, match="0 epochs"):
        boxed.dst(weighting="sqrt")


def test_detectors_may_keep_the_features_of_another(untrained, monkeypatch):
    given = []
    monkeypatch.setattr(stages, "train_detector", lambda *args, **more: given.append(more) or [])
    variants = {"kept": {"features": "zoo:taad"}, "mine": {"features": "zoo:gnn"}}
    boxed = replace(untrained, profile=replace(SMOKE, start="zoo", variants=variants), known={})
    taad, gnn, other = (
        make(boxed.of_variant(v))
        for make, v in ((Study.taad, "kept"), (Study.gnn, "kept"), (Study.taad, "mine"))
    )
    assert (taad.zoo, gnn.zoo, gnn.start) == (None, None, None) and taad.dir != other.dir
    assert [str(one["features"].name) for one in given] == ["taad.pt", "taad.pt", "gnn.pt"]
    assert not any(one["start"] for one in given)
    assert taad.recipe.train.lr == SMOKE.taad.train.lr  # it goes on from nothing: no tenth of the rates
    with pytest.raises(DataError, match="weights of Kinetics, and features"):
        replace(boxed, profile=replace(SMOKE, features="zoo:taad"), kinetics="x3d.pth", known={}).taad()
    boxed.taad()
    assert given[-1]["features"] is None


def test_a_step_of_a_head_is_one_of_what_it_learns(folder, data, monkeypatch):
    study = study_of(folder, data, 1, monkeypatch)
    profile = replace(SMOKE, features=str(study.taad().checkpoint))
    model, *_ = _a_step(study, replace(study, profile=profile, known={}).taad())
    learned = {name for name, part in model.named_parameters() if part.requires_grad}
    assert learned and not any(name.startswith("features.") for name in learned)


def test_a_row_is_as_fast_as_all_its_detectors_or_nobody_knows(monkeypatch):
    speeds = {"taad": 200.0, "gnn": 50.0, "head": None, "dst": None}
    cost = lambda study, stage: Cost(1, 1, speeds[stage.name])  # noqa: E731
    monkeypatch.setattr("footpass.experiments.costs.stage_cost", cost)
    rows = [("taad",), ("taad", "gnn", "dst"), ("taad", "head", "dst")]
    outcomes = {
        "+".join(row): [Outcome(pd.DataFrame(), {name: Stage(name, Path(name), []) for name in row})]
        for row in rows
    }
    table = costs(None, outcomes)
    np.testing.assert_allclose(table["video, frames/s"], [200, 40, np.nan])


def test_highlights_are_of_the_detectors_that_learn_from_them_alone(folder, data, monkeypatch):
    """A model of the zoo that learns nothing is the same with and without, and goes on as it was."""
    plain, shown = (study_of(folder, data, 2, monkeypatch) for _ in range(2))
    more = {name.replace("1002", "4001"): half for name, half in plain.footage["train"].items()}
    monkeypatch.setitem(shown.season.__dict__, "highlights", lambda: more)
    given = []
    monkeypatch.setattr(
        stages, "train_detector", lambda recipe, seen, *_, **more: given.append(seen) or []
    )
    own = ["game_1001_H1", "game_1001_H2"]
    assert plain._season_fingerprint == shown._season_fingerprint
    assert plain.taad().dir != shown.taad().dir
    assert [*map(list, given)] == [own, [*own, "game_4001_H1", "game_4001_H2"]]
    learns_nothing = replace(SMOKE, taad=replace(SMOKE.taad, train=replace(SMOKE.taad.train, epochs=0)))
    one, other = (replace(study, profile=learns_nothing, known={}) for study in (plain, shown))
    assert one.taad().dir == other.taad().dir and [*map(list, given[2:])] == [own, own]


def test_what_a_dst_reads_is_part_of_its_folder(untrained):
    plain, oracle, calibrated = (
        untrained.dst("concat", reads=reads) for reads in ("detectors", "oracle", "calibrated")
    )
    assert len({plain.dir, oracle.dir, calibrated.dir}) == 3
    assert oracle.dir.name.startswith("dst-concat-oracle-none-seed0-")
    assert oracle.start == plain.start  # one pre-training


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two matches to learn from, of which detectors learn from one, and two to be scored on."""
    folder = tmp_path_factory.mktemp("growing") / "made"
    events = {"H1": {(40, 0): 1, (80, 2): 2}, "H2": {(340, 20): 4, (390, 2): 2}}
    for split, matches in (("train", (1001, 1002)), ("val", (2001, 2002))):
        halves = {f"game_{match}_{half}": events[half] for match in matches for half in events}
        handmade.write(folder, halves, split)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of stages, for the tests to share what they train."""
    return tmp_path_factory.mktemp("stages")


def study_of(folder, data, val: int, monkeypatch) -> Study:
    monkeypatch.setattr(stages, "fit_adjustment", lambda *args: UNADJUSTED)
    monkeypatch.setattr(stages, "fit_calibration", lambda *args: LogitAdjustment(scale=0.5))
    size = SeasonSize(2, val, 0.4, held_out=1)
    return Study(folder, SMOKE, Season(data, Provenance(True), size))


def test_more_matches_of_val_train_nothing_anew_but_are_found_and_scored(folder, data, monkeypatch):
    row, small = Row("DST"), study_of(folder, data, 1, monkeypatch)
    before = run_row(small, row, 0)
    assert halves_of(before.events) == ["game_2001_H1", "game_2001_H2"]
    names = {path.name for path in folder.iterdir()}

    large = study_of(folder, data, 2, monkeypatch)
    for kind, stage in (("detector", small.taad()), ("dst", small.dst())):
        # A finished training is read by the same function.
        monkeypatch.setattr(stages, f"train_{kind}", lambda *args, rows=stage.rows, **more: rows)
    monkeypatch.delattr(
        stages, "pretrain_dst"
    )  # it would simulate a hundred matches to find it is there
    after = run_row(large, row, 0)
    assert halves_of(after.events) == [f"game_{match}_H{n}" for match in (2001, 2002) for n in (1, 2)]
    (new,) = {path.name for path in folder.iterdir()} - names  # of folders, none but that of the row
    assert new.startswith("row-")
    # What both have seen is the same, and so is what is read again of the first.
    pd.testing.assert_frame_equal(
        stages.select_halves(after.events, halves_of(before.events)), before.events
    )
    again = study_of(folder, data, 1, monkeypatch)
    pd.testing.assert_frame_equal(again.predict(again.dst(), "val"), before.events)


def test_another_process_may_write_more_matches_at_any_time(folder, data, monkeypatch):
    """Of a larger study, between writing and reading: the lock is kept until this one has read."""
    small, large = (study_of(folder, data, val, monkeypatch) for val in (1, 2))
    keys = ["half", "frame", "team", "jersey", "cls"]
    monkeypatch.setattr(
        Study,
        "decoded",
        lambda self, *of: (self.truth["val"][keys].assign(score=1.0), Provenance(True)),
    )
    made = small.dst(), large.dst()
    others: list = []
    read = stages.read_predictions

    def read_late(path):
        if not others:
            others.append(ThreadPoolExecutor(1).submit(large.predict, made[1], "val"))
            wait(others, timeout=0.5)  # it has not got the lock, unless that was let go too early
        return read(path)

    monkeypatch.setattr(stages, "read_predictions", read_late)
    assert halves_of(small.predict(made[0], "val")) == ["game_2001_H1", "game_2001_H2"]
    assert len(halves_of(others[0].result())) == 4


def test_events_are_written_anew_by_code_that_writes_others(folder, data, monkeypatch):
    study = study_of(folder, data, 1, monkeypatch)
    before = study.predict(study.dst(), "val")
    asked = []
    monkeypatch.setattr(Study, "decoded", lambda *args: asked.append(1) or (before, Provenance(True)))
    for code, times in ((stages.DECODING, 0), (("metrics.py",), 1), (stages.DECODING, 2)):
        monkeypatch.setattr(stages, "DECODING", code)
        study.known.clear()
        study.predict(study.dst(), "val")
        assert len(asked) == times


@pytest.mark.parametrize("code", ["DECODING", "ADJUSTING"])
def test_a_row_is_made_anew_by_code_that_writes_its_events(folder, data, monkeypatch, code):
    study = study_of(folder, data, 1, monkeypatch)
    run_row(study, Row("DST"), 0)
    before = len(list(folder.glob("row-*")))
    monkeypatch.setattr(grid, code, ("timeline.py",))
    run_row(study, Row("DST"), 0)
    assert len(list(folder.glob("row-*"))) == before + 1


def test_a_dst_reads_the_truth_or_calibrated_logits_where_a_row_says_so(folder, data, monkeypatch):
    study = study_of(folder, data, 2, monkeypatch)
    plain, halved = (study.recorded("val", reads=reads) for reads in ("detectors", "calibrated"))
    oracle = study.recorded("val", "concat", "oracle")
    for name, one in plain.items():
        (logits,) = one.logits
        np.testing.assert_array_equal(halved[name].logits[0], (logits / 2).astype(np.float16))
        np.testing.assert_array_equal(oracle[name].logits[0], logits)
        np.testing.assert_array_equal(oracle[name].logits[1], perfect_logits(one.half))
        assert oracle[name].provenance.models == (*one.provenance.models, "oracle")
    assert not list(folder.glob("gnn-*"))  # nobody asks it
    # And through a row, of another kind of DST.
    row = Row("oracle", variant="A", fusion="concat", weighting="sqrt", reads="oracle")
    outcome = run_row(study, row, 0)
    assert outcome.stages["dst"].reads == "oracle" and set(outcome.stages) == {"taad", "dst"}
    # Its cost is that of its variant's recipe.
    dst = study.profile.dst
    other = replace(study.profile, dst=replace(dst, train=replace(dst.train, batch=1, precision="bf16")))
    *_, batch, precision = _a_step(replace(study, profile=other), outcome.stages["dst"])
    recipe = study.of_variant("A").profile.dst.train
    assert (len(batch[0]), precision) == (recipe.batch, recipe.precision) == (16, "fp32")
    divided = run_row(study, replace(row, divide_weights=True, thresholds=True), 0)
    assert halves_of(divided.events) == halves_of(outcome.events)


def test_one_match_of_val_is_too_few_to_fit_rows_on(folder, data, monkeypatch):
    study, names = study_of(folder, data, 1, monkeypatch), {path.name for path in folder.iterdir()}
    rows = Row("DST"), Row("gated", "steps", variant="A", steps=("gate",))
    with pytest.raises(DataError, match="row 'gated' is fitted on other.*leave out the group 'steps'"):
        run_grid(study, Grid(rows, (0,)))
    assert {path.name for path in folder.iterdir()} == names


def test_members_are_processed_and_fused_on_other_matches(folder, data, monkeypatch):
    study = study_of(folder, data, 2, monkeypatch)
    fused = run_row(study, Row("two", variant="A", members=("B",), steps=("gate",)), 0)
    assert set(fused.stages) == {"taad", "dst", "member B"}
    assert halves_of(fused.events) == list(study.footage["val"])
    assert len({stage.dir for stage in fused.stages.values()}) == 3


def test_a_row_is_rescored_by_its_scores_or_with_the_grammar_too(folder, data, monkeypatch):
    study, asked = study_of(folder, data, 2, monkeypatch), []

    def lomo(inputs, truth, train_truth, strength, folds):
        asked.append((list(inputs), len(train_truth), strength))
        return CrossFit(inputs["events"], {})

    monkeypatch.setattr(chain, "chain_lomo", lomo)
    for how in ("scores", "grammar"):
        run_row(study, Row(how, variant="A", rescore=how), 0)
    known = ["events", "detector"], len(study.truth["train"])
    assert asked == [(*known, 0.0), (*known, chain.STRENGTH)]
