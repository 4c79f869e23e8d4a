import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from footpass.__main__ import main
from footpass.configs import write_config
from footpass.ensemble import rescore
from footpass.ensemble.candidates import check_order, delay_of, label, merge, on_time, scores_of
from footpass.ensemble.classifiers import (
    PARTS,
    Boosting,
    Rows,
    apply_linear,
    calibrate,
    closed,
    fit_linear,
)
from footpass.ensemble.config import RescoreConfig
from footpass.ensemble.features import GAPS, features, transitions
from footpass.ensemble.rescore import choose, fit, rescore_lomo
from footpass.events import halves_of, match_of, read_predictions, select_halves, write_events
from footpass.experiments import profile as profiles
from footpass.experiments.profile import load_profile
from footpass.experiments.release import TRUTH_FILES, simulate_release
from footpass.files import DataError
from footpass.metrics import evaluate
from footpass.schema import ACTIONS, N_CLASSES, SCORE_THRESHOLD, Action
from footpass.simulate.copy_paste import CopyPasteConfig, cut_snippets, paste
from tests.oracles import features as plain_features
from tests.tables import predictions, truth

TINY = RescoreConfig(2, repeats=1, stages=1, boosting=Boosting(500, trees=3, least_rows=5))
EXACT = CopyPasteConfig(frame_jitter=0, score_jitter=0)


@pytest.fixture(scope="module")
def season():
    """Simulated ground truth and detections; only the first minutes of every half, to be fast."""
    season = simulate_release(3, seed=1)

    def early(table):
        first = table.groupby("half", observed=True)["frame"].transform("min")
        return table[table["frame"] < first + 8_000].reset_index(drop=True)

    tables = {name: early(season.predictions[name]) for name in ("DST", "TAAD")}
    return tables, early(season.val), early(season.train)


@pytest.fixture(scope="module")
def fitted(season):
    tables, val, train = season
    return fit(list(tables.values()), val, train, TINY)


# Candidates


def test_merge_joins_the_same_player_and_class_within_the_tolerance():
    a = predictions((100, 0, 7, 2, 0.8), (300, 0, 7, 2, 0.6))
    b = predictions((112, 0, 7, 2, 0.4), (313, 0, 7, 2, 0.5), (100, 0, 7, 1, 0.9))
    merged = merge([a, b])
    assert merged[["frame", "cls", "score_0", "score_1"]].values.tolist() == [
        [100, 2, 0.8, 0.4],
        [100, 1, 0, 0.9],
        [300, 2, 0.6, 0],
        [313, 2, 0, 0.5],
    ]


def test_merge_of_three_models_and_of_one():
    a, b = predictions((100, 0, 7, 2, 0.8)), predictions((105, 0, 7, 2, 0.4))
    assert scores_of(merge([a, b, a])).tolist() == [[0.8, 0.4, 0.8]]
    assert scores_of(merge([a])).tolist() == [[0.8]]
    with pytest.raises(DataError, match="no predictions"):
        merge([])


def test_label_prefers_the_own_class_and_uses_each_event_once():
    found = merge([predictions((100, 0, 7, 1, 0.9), (102, 0, 7, 2, 0.5), (104, 0, 7, 2, 0.4))])
    assert label(found, truth((101, 0, 7, 2))).tolist() == [0, 2, 0]
    assert label(found, truth((101, 0, 7, 2), (100, 0, 7, 6))).tolist() == [6, 2, 0]
    assert label(found, truth((101, 0, 8, 2))).tolist() == [0, 0, 0]


def test_transitions_count_what_comes_before():
    pairs = [row for i in range(4000) for row in ((1000 * i, 0, 7, 2), (1000 * i + 30, 1, 9, 8))]
    ratios = transitions(truth(*pairs))
    near = np.digitize(30, GAPS)
    # An opponent's pass 30 frames before is what every block has and no pass, so half of all events.
    assert ratios[0, Action.BLOCK, Action.PASS, 2, near] == pytest.approx(2, rel=0.05)
    assert ratios[0, Action.PASS, Action.PASS, 2, near] == pytest.approx(0, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["game_1_H1", "game_1_H2"]),
            st.integers(0, 900),
            st.integers(0, 1),
            st.integers(-1, 3),
            st.integers(1, 8),
            st.floats(0.1, 1),
        ),
        max_size=25,
    ),
    st.integers(0, 1000),
)
def test_features_equal_the_plain_loop(rows, seed):
    halves = ("game_1_H1", "game_1_H2")
    table = merge([predictions(*rows[::2], halves=halves), predictions(*rows[1::2], halves=halves)])
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(N_CLASSES), len(table)).reshape(-1, N_CLASSES)
    ratios = rng.random((2, N_CLASSES, N_CLASSES, 3, len(GAPS) + 1)) + 0.1
    ours, plain = features(table, p, ratios), plain_features.features(table, p, ratios)
    if len(table):
        pd.testing.assert_frame_equal(ours, plain, rtol=1e-4, atol=1e-5)


def test_a_models_delay_is_taken_off():
    known = truth(*((100 * i, 0, 7, 2) for i in range(1, 20)))
    late = predictions(*((100 * i + 1 + 6 * (i % 3 == 0), 0, 7, 2, 0.5) for i in range(1, 20)))
    assert delay_of(late, known) == 1
    assert delay_of(late[:0], known) == 0
    first, second = on_time([late, late], (1, 0))
    assert (first["frame"] == late["frame"] - 1).all() and second.equals(late)


# Simulated detections


def test_a_patch_comes_back_on_the_match_it_was_cut_from():
    known = truth(*((100 * i, i % 2, 1 + i % 5, 1 + i % 8) for i in range(1, 60)))
    found = predictions(*((100 * i + 3, i % 2, 1 + i % 5, 1 + i % 8, 0.7) for i in range(1, 60)))
    config = CopyPasteConfig(frame_jitter=0, score_jitter=0, donors=(1, 1, 1, 1, 1))
    (pasted,) = paste(cut_snippets(known, [found], config), known, np.random.default_rng(0), config)
    columns = ["frame", "team", "jersey", "cls"]
    assert pasted[columns].values.tolist() == found[columns].values.tolist()
    assert pasted["score"].to_numpy() == pytest.approx(0.7)


def test_a_wrong_player_stays_the_one_who_acts_next():
    known = truth((100, 0, 7, 2), (140, 0, 9, 1))
    found = predictions((101, 0, 9, 2, 0.7))  # the pass given to its receiver
    other = truth((500, 1, 3, 2), (540, 1, 4, 1))
    (pasted,) = paste(cut_snippets(known, [found], EXACT), other, np.random.default_rng(0), EXACT)
    assert pasted[["frame", "team", "jersey", "cls"]].values.tolist() == [[501, 1, 4, 2]]


def test_background_is_not_pasted_onto_other_events():
    known = truth((100, 0, 7, 2), (1000, 0, 9, 2))
    found = predictions((300, 0, 7, 5, 0.7))
    crowded = truth((500, 1, 3, 2), (700, 1, 4, 2))  # 200 frames on there is another event
    (pasted,) = paste(cut_snippets(known, [found], EXACT), crowded, np.random.default_rng(0), EXACT)
    assert 700 not in pasted["frame"].tolist()


def test_pasted_detections_are_as_good_as_the_real_ones(season):
    tables, val, _ = season
    pasted = paste(cut_snippets(val, [*tables.values()]), val, np.random.default_rng(0))
    for real, simulated in zip(tables.values(), pasted, strict=True):
        ours, theirs = evaluate(simulated, val).counts.micro, evaluate(real, val).counts.micro
        assert ours == pytest.approx(theirs, abs=0.06)


# Calibration and decoding


def test_shift_removes_a_constant_factor_of_the_odds():
    rng = np.random.default_rng(0)
    right = rng.uniform(0.05, 0.95, 20_000)
    y = np.where(rng.random(20_000) < right, 2, 0)
    p = np.zeros((20_000, N_CLASSES))
    p[:, 2] = 1 / (1 + np.exp(-(np.log(right / (1 - right)) + 1)))  # odds too high by e
    known = truth(*((10 * i, 0, 7, 2) for i in range(2 * (y == 2).sum())))
    shift, recall = calibrate([Rows(pd.DataFrame(), y, 0, False, 1.0)], [p], known)
    assert shift[2] == pytest.approx(-1, abs=0.06)
    assert recall[2] == pytest.approx(0.5, abs=1e-3)
    assert shift[1] == 0


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(float, st.integers(1, 12), elements=st.floats(0.01, 1)), st.floats(0.3, 1))
def test_decoding_keeps_the_best_of_all_numbers(p, recall):
    table = merge([predictions(*((100 * i, 0, 7, 5, 0.5) for i in range(len(p))))])
    full = np.zeros((len(p), N_CLASSES))
    full[:, Action.SHOT] = p
    kept = choose(table, full, np.full(N_CLASSES, recall))
    total, best = p.sum() / recall, np.sort(p)[::-1]
    scores = [2 * best[:k].sum() / (k + total) for k in range(1, len(p) + 1)]
    mine = np.sort((kept["score"].to_numpy() - SCORE_THRESHOLD) / (1 - SCORE_THRESHOLD))[::-1]
    assert mine == pytest.approx(best[: len(mine)])
    assert 2 * mine.sum() / (len(mine) + total) == pytest.approx(max(scores))
    assert (kept["cls"] == Action.SHOT).all() and (kept["score"] >= SCORE_THRESHOLD).all()


def test_decoding_nothing_gives_an_empty_table_with_all_halves():
    table = merge([predictions(halves=("game_1_H1", "game_1_H2"))])
    kept = choose(table, np.zeros((0, N_CLASSES)), np.ones(N_CLASSES))
    assert not len(kept) and halves_of(kept) == ["game_1_H1", "game_1_H2"]


def test_closed_probabilities_sum_to_one():
    p = closed(np.array([[0, 0.6, 0.9, 0, 0, 0, 0, 0, 0], [9, 0.1, 0, 0, 0, 0, 0, 0, 0]]))
    assert p[0, :3] == pytest.approx([0, 0.4, 0.6]) and p[1, :2] == pytest.approx([0.9, 0.1])


# Linear classifiers


def _sides():
    """Candidates of two folds, 50 a class, true of their own class the likelier the higher the score."""
    sets, x, p = [], [], []
    for fold in (0, 1):
        rng = np.random.default_rng(fold)
        score, cls = rng.random(400), 1 + np.arange(400) % 8
        rows = [(100 * i, 0, 7, c, s) for i, (c, s) in enumerate(zip(cls.tolist(), score, strict=True))]
        merged = merge([predictions(*rows)])
        sets.append(Rows(merged, np.where(rng.random(400) < score, cls, 0), fold, False, 1.0 + fold))
        x.append(merged[["score_0"]].astype(np.float32))
        p.append(closed(np.eye(N_CLASSES)[cls] * 0.3))
    return sets, x, p


def test_linear_classifiers_expect_as_many_as_there_are():
    """A logistic regression's probabilities add up to the hits, if its intercept is not penalised."""
    sets, x, p = _sides()
    models = fit_linear(sets, x, p, Boosting(), np.random.default_rng(0))
    for part, fitted in zip(PARTS, models, strict=True):
        expected, hits = np.zeros(N_CLASSES), np.zeros(N_CLASSES)
        for rows, values, q in ((sets[f], x[f], p[f]) for f in part):
            expected += rows.weight * apply_linear(fitted, values, q, rows.candidates).sum(axis=0)
            hits += rows.weight * np.bincount(rows.labels, minlength=N_CLASSES)
        # Drive and pass are candidates for each other, so theirs are scaled down where they exceed 1.
        assert expected[3:] == pytest.approx(hits[3:], rel=1e-3)


def test_linear_classifiers_of_one_fold_do_not_see_the_other():
    sets, x, p = _sides()
    wrong = [sets[0], replace(sets[1], labels=sets[1].labels[::-1])]
    before, after = (
        fit_linear(known, x, p, Boosting(), np.random.default_rng(0)) for known in (sets, wrong)
    )
    assert before[0] == after[0] and before[1] != after[1] and before[2] != after[2]


def test_linear_classifiers_by_hand():
    table = merge([predictions((100, 0, 7, 5, 0.9), (200, 0, 7, 6, 0.9))])
    x = table[["score_0"]].astype(np.float32)
    p = np.eye(N_CLASSES)[table["cls"]] * 0.8
    # Of score, p_this and p_own: the score lies ten scales above the mean and counts as four.
    model = [0.5, [0.4, 0.0, np.log(4) - 1], [0.05, 1.0, 2.0], [0.25, 1.0, 2.0]]
    models = [model if action == Action.SHOT else None for action in ACTIONS]
    found = apply_linear(models, x, p, table)
    assert found[0, Action.SHOT] == pytest.approx(1 / (1 + np.exp(-(0.5 + 1 + np.log(4) + 1))), rel=1e-5)
    assert found[0].sum() == pytest.approx(1) and found[1, 0] == 1


# The pipeline


def test_calibration_is_by_linear_classifiers_of_the_other_fold(season, monkeypatch):
    tables, val, train = season
    fitted, used = [], []

    def spied_fit(*arguments):
        fitted.extend(fit_linear(*arguments))
        return fitted

    def spied_apply(models, x, p, table):
        part = next(i for i, known in enumerate(fitted) if known is models)
        used.append((PARTS[part], set(map(match_of, halves_of(table)))))
        return apply_linear(models, x, p, table)

    monkeypatch.setattr(rescore, "fit_linear", spied_fit)
    monkeypatch.setattr(rescore, "apply_linear", spied_apply)
    fit([*tables.values()], val, train, TINY)
    first, second, third = dict.fromkeys(map(match_of, halves_of(val)))  # in turn: folds 0, 1, 0
    assert used == [((1,), {first, third}), ((0,), {second})]


def test_lomo_predictions_do_not_depend_on_the_scored_matchs_truth(season, tmp_path):
    tables, val, train = season
    before, _ = rescore_lomo(tables, val, train, TINY)
    for match in [match_of(halves_of(val)[0])]:  # one is enough: all are treated alike
        mine = [half for half in halves_of(val) if match_of(half) == match]
        noisy, scored, rng = val.copy(), val["half"].isin(mine), np.random.default_rng(0)
        for name, low, high in (("frame", 0, 70_000), ("team", 0, 2), ("jersey", 1, 30), ("cls", 1, 9)):
            noisy.loc[scored, name] = rng.integers(low, high, scored.sum())
        after, _ = rescore_lomo(tables, noisy, train, TINY)
        files = [tmp_path / "before.json", tmp_path / "after.json"]
        for table, file in zip((before, after), files, strict=True):
            write_events(select_halves(table, mine), file)
        assert files[0].read_bytes() == files[1].read_bytes(), match
        # The noise did reach the others: what is fitted on this match is not the same any more.
        assert not before[~before["half"].isin(mine)].equals(after[~after["half"].isin(mine)])


def test_everything_is_kept_by_saving_and_loading(season, fitted, tmp_path):
    tables = [*season[0].values()]
    write_config(fitted, tmp_path / "m.json")
    loaded = rescore.load(tmp_path / "m.json")
    assert loaded.config == fitted.config
    pd.testing.assert_frame_equal(rescore.apply(loaded, tables), rescore.apply(fitted, tables))


def test_the_second_run_reads_the_fitted_pipelines(season, tmp_path, monkeypatch):
    tables, val, train = season
    first, _ = rescore_lomo(tables, val, train, TINY, cache_dir=tmp_path)
    monkeypatch.setattr(rescore, "fit", None)
    second, models = rescore_lomo(tables, val, train, TINY, cache_dir=tmp_path)
    pd.testing.assert_frame_equal(first, second)
    assert len(models) == len(list(tmp_path.iterdir())) == 3


def test_a_half_that_one_model_lacks_is_rescored_from_the_other(season, fitted):
    dst, taad = season[0].values()
    kept = halves_of(dst)[1:]
    events = rescore.apply(fitted, [select_halves(dst, kept), taad])
    assert set(halves_of(events)) == set(halves_of(dst))
    assert (events["half"] == halves_of(dst)[0]).any()


def test_a_class_that_never_occurs_is_not_invented(season):
    tables, val, train = season
    without = [table[table["cls"] != Action.TACKLE].reset_index(drop=True) for table in (val, train)]
    found = [table[table["cls"] != Action.TACKLE].reset_index(drop=True) for table in tables.values()]
    events = rescore.apply(fit(found, *without, TINY), found)
    assert len(events) and not (events["cls"] == Action.TACKLE).any()


def test_train_truth_must_not_hold_what_is_fitted_on(season):
    tables, val, _ = season
    with pytest.raises(DataError, match="in the train ground truth too"):
        fit([*tables.values()], val, val, TINY)


def test_predictions_of_another_split_are_refused(season, fitted):
    (dst, taad), val, train = season[0].values(), *season[1:]
    elsewhere = taad.assign(
        half=taad["half"].cat.rename_categories(lambda half: half.replace("_", "_9"))
    )
    with pytest.raises(DataError, match="prediction file 2: no half in common with the ground truth"):
        fit([dst, elsewhere], val, train, TINY)
    with pytest.raises(DataError, match="prediction file 2: no half in common with the first"):
        rescore.apply(fitted, [dst, elsewhere])


def test_as_many_tables_as_fitted_on(season, fitted):
    with pytest.raises(DataError, match="fitted on 2 prediction files, given 1"):
        rescore.apply(fitted, [season[0]["DST"]])


@pytest.mark.parametrize(
    "change",
    [
        {"format": "x"},
        {"shift": [0]},
        {"models": [[[], {"trees": [["tree"]], "linear": []}]]},
        {"models": [[[], {"trees": [[None] * 8] * 2, "linear": [[1, 2]]}]]},
        {"config": {"no": 1}},
    ],
)
def test_a_file_that_is_no_pipeline_is_refused(fitted, tmp_path, change):
    write_config(fitted, tmp_path / "m.json")
    content = json.loads((tmp_path / "m.json").read_text()) | change
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"m\.json: (not a fitted|a damaged) re-scoring"):
        rescore.load(tmp_path / "m.json")


# Command line


@pytest.fixture
def files(season, tmp_path, monkeypatch):
    tables, val, train = season
    for folder, name, table in (
        (tmp_path, "DST.json", tables["DST"]),
        (tmp_path, "TAAD.json", tables["TAAD"]),
        (tmp_path, "val.json", val),
        (tmp_path, TRUTH_FILES["train"], train),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        write_events(table, folder / name)
    monkeypatch.setenv("FOOTPASS_RELEASE", str(tmp_path))
    tiny = replace(load_profile("smoke"), rescore=TINY)
    monkeypatch.setattr(profiles, "load_profile", lambda name: tiny)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_four_models_are_rescored_at_once(season):
    """The pipeline learns what each adds: events that the other three lack, and what they share."""
    tables, val, train = season
    dst, taad = tables.values()
    four = [dst, dst[::2].reset_index(drop=True), taad, taad.assign(score=taad["score"] / 2)]
    rescorer = fit(four, val, train, TINY)
    assert len(rescorer.delays) == 4 and {"score_0", "score_3"} <= set(rescorer.names)
    table, p = rescore.probabilities(rescorer, four)
    assert scores_of(table).shape == (len(table), 4) and p.shape == (len(table), N_CLASSES)
    events = rescore.apply(rescorer, four)
    assert halves_of(events) == halves_of(val)
    assert evaluate(events, val).macro_f1 > evaluate(taad, val).macro_f1


PREDICTIONS = ["--predictions", "DST.json", "TAAD.json"]


def test_command_lomo_writes_events_of_all_halves(files, season, capsys):
    truth_ = ["--ground-truth", "val.json", "--out", "out.json", "--profile", "smoke"]
    assert main(["rescore", "lomo", *PREDICTIONS, *truth_]) == 0
    assert "macro F1" in capsys.readouterr().out
    events = read_predictions("out.json")
    assert halves_of(events) == halves_of(season[1])
    assert events["score"].min() >= SCORE_THRESHOLD


def test_command_fit_then_apply(files, season):
    known = ["--ground-truth", "val.json", "--profile", "smoke"]
    model = "new/model.json"
    assert main(["rescore", "fit", *PREDICTIONS, *known, "--out", model]) == 0
    assert main(["rescore", "apply", *PREDICTIONS, "--model", model, "--out", "out.json"]) == 0
    expected = rescore.apply(rescore.load(model), [*season[0].values()])
    pd.testing.assert_frame_equal(read_predictions("out.json"), expected)


def test_swapped_files_are_refused(files, fitted, season, capsys, caplog):
    """By what made them; where they do not say, by how many events they have: here 1 to 2."""
    swapped = ["--predictions", "TAAD.json", "DST.json"]
    apply = ["rescore", "apply", "--model", "model.json", "--out", "out.json"]
    write_config(fitted, "model.json")
    assert main([*apply, *swapped]) == 2
    assert "--predictions in another order than the re-scoring was fitted in" in capsys.readouterr().err
    tables, known = list(season[0].values()), ["DST 1", "TAAD 2"]
    check_order(tables[::-1], ["", ""], (100.0, 101.0), ())  # cannot be told
    check_order(tables, known, (), known)
    with pytest.raises(DataError, match="another order"):
        check_order(tables[::-1], known[::-1], (), known)
    check_order(tables, ["DST 3", "TAAD 2"], (), known)
    assert "given those of ['DST 3', 'TAAD 2']" in caplog.text


def test_command_with_nowhere_to_write_fails_before_it_fits(files, monkeypatch, capsys):
    monkeypatch.setattr(rescore, "fit", lambda *_: pytest.fail("hours for nothing"))
    known = ["--ground-truth", "val.json", "--profile", "smoke", "--out", "val.json/model.json"]
    assert main(["rescore", "fit", *PREDICTIONS, *known]) == 2
    assert "val.json: cannot be made" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", *PREDICTIONS], "rescore fit needs --ground-truth"),
        (["apply", *PREDICTIONS], "rescore apply needs --model"),
        ([*PREDICTIONS], "required: action"),
        (["lomo", "--predictions", "DST.json", "DST.json", "--ground-truth", "val.json"], "twice"),
        (["lomo", *PREDICTIONS, "--ground-truth", "none.json"], "none.json: cannot be read"),
    ],
)
def test_command_errors_are_one_line(files, capsys, arguments, message):
    assert main(["rescore", *arguments, "--out", "out.json"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
