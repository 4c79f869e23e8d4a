import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footpass.events import read_ground_truth, read_predictions, select_halves
from footpass.files import DataError
from footpass.metrics import Interval, after_replay, compare, confusion, evaluate, match_events, misses
from footpass.schema import ACTION_LABELS
from tests.oracles.matching import match_events as plain_match_events
from tests.tables import predictions, truth

HALVES = ("game_1_H1", "game_1_H2")


@pytest.fixture(scope="module")
def val(release):
    return read_ground_truth(release / "playbyplay_GT" / "playbyplay_val.json")


@pytest.fixture(scope="module")
def released(release):
    folder = release / "playbyplay_PRED"
    return {path.name: read_predictions(path) for path in folder.glob("*_val.json")}


def test_equals_the_official_evaluator_in_every_count_and_split(reference, released, val):
    cases = json.loads((reference / "official_metrics.json").read_text())
    assert len(cases) == 10
    for case in cases:
        result = evaluate(released[case["predictions"]], val, case["delta"], case["threshold"])
        counts, splits = result.counts, result.splits()
        assert case["classes"] == list(ACTION_LABELS)
        for name in ("tp", "fp", "gt"):
            assert getattr(counts, name).tolist() == case[name], (case["predictions"], name)
        for ours, theirs in {
            "box": "bbox",
            "no_box": "no_bbox",
            "replay": "replay",
            "live": "live",
        }.items():
            assert splits[ours].tp.tolist() == case["tp_splits"][theirs]
            assert splits[ours].gt.tolist() == case["gt_splits"][theirs]
            assert (splits[ours].gt - splits[ours].tp).tolist() == case["fn_splits"][theirs]
        assert counts.micro == pytest.approx(case["micro"], abs=1e-12)
        assert result.macro_f1 == pytest.approx(case["macro_f1"], abs=1e-12)


def test_published_baselines_have_their_published_scores(released, val):
    scores = {name: round(evaluate(table, val).macro_f1, 4) for name, table in released.items()}
    assert scores == {"playbyplay_TAAD_val.json": 0.2445, "playbyplay_DST_val.json": 0.4926}


def test_events_after_a_replay_are_the_live_ones_of_five_seconds(val, released):
    true = truth(
        ("game_1_H1", 100, 0, 7, 1, False, True),
        ("game_1_H1", 225, 0, 7, 1, True, False),
        ("game_1_H1", 226, 0, 7, 1, True, False),
        ("game_1_H1", 99, 0, 7, 1, True, False),
        ("game_1_H2", 101, 0, 7, 1, True, False),
        halves=HALVES,
    )
    assert after_replay(true).tolist() == [False, True, False, False, False]
    after = {}
    for name, table in released.items():
        part = evaluate(table, val).splits()["after_replay"]
        after[name] = int(part.tp.sum()), int(part.gt.sum())
    assert after == {"playbyplay_TAAD_val.json": (433, 666), "playbyplay_DST_val.json": (467, 666)}


# Few players, frames and scores, so that ties, duplicates and rivals for one event are common.
player = (st.integers(0, 1), st.sampled_from([7, 10]), st.sampled_from([1, 2]))
frames = st.integers(0, 30)
guesses = st.lists(
    st.tuples(st.sampled_from(HALVES), frames, *player, st.sampled_from([0.2, 0.5, 0.9])), max_size=25
)
events = st.lists(st.tuples(st.sampled_from(HALVES), frames, *player), max_size=25)


@settings(max_examples=300)
@given(guesses, events, st.integers(0, 12))
def test_matching_is_that_of_the_plain_loop(guesses, events, tolerance):
    mine = predictions(*guesses, halves=HALVES)
    true = truth(*((*event, True, False) for event in events), halves=HALVES)
    assert match_events(mine, true, tolerance).tolist() == plain_match_events(mine, true, tolerance)


def test_of_two_equally_near_events_the_first_in_the_file_is_taken():
    true = truth((20, 0, 7, 1), (10, 0, 7, 1))
    assert match_events(predictions((15, 0, 7, 1, 0.5)), true).tolist() == [0]


def test_ties_in_score_follow_file_order():
    mine = predictions((14, 0, 7, 1, 0.5), (10, 0, 7, 1, 0.5))
    assert match_events(mine, truth((10, 0, 7, 1))).tolist() == [0, -1]


def test_tolerance_and_threshold_are_inclusive():
    true = truth((100, 0, 7, 1))
    assert evaluate(predictions((112, 0, 7, 1, 0.15)), true).counts.tp.tolist() == [1] + [0] * 7
    assert evaluate(predictions((113, 0, 7, 1, 0.9)), true).counts.fp.tolist() == [1] + [0] * 7
    assert evaluate(predictions((100, 0, 7, 1, 0.1499)), true).counts.fp.sum() == 0


@pytest.mark.parametrize("wrong", [(0, 8, 1), (1, 7, 1), (0, 7, 2)])
def test_another_jersey_team_or_class_is_a_miss_and_a_false_alarm(wrong):
    result = evaluate(predictions((100, *wrong, 0.9)), truth((100, 0, 7, 1)))
    assert result.counts.tp.sum() == 0 and result.counts.fp.sum() == 1


def test_frames_near_the_end_of_one_player_do_not_reach_the_next():
    """Players are laid end to end on one axis; the tolerance must not cross the seams."""
    true = truth((0, 0, 7, 1), (0, 0, 7, 2), (30, 0, 7, 1))
    mine = predictions((30, 0, 7, 2, 0.9), (29, 0, 7, 1, 0.9))
    assert match_events(mine, true, tolerance=25).tolist() == [-1, 2]


def test_average_precision_by_hand():
    """Ranking hit, miss, hit of 3 events: precision 1 up to recall 1/3, 2/3 up to 2/3, 0 above."""
    true = truth((0, 0, 7, 1), (100, 0, 7, 1), (200, 0, 7, 1))
    mine = predictions((0, 0, 7, 1, 0.9), (50, 0, 7, 1, 0.8), (100, 0, 7, 1, 0.7))
    by_hand = (4 * 1 + 3 * 2 / 3) / 11  # recall levels 0..0.3 and 0.4..0.6
    assert evaluate(mine, true).average_precision[0] == pytest.approx(by_hand)


def test_average_precision_at_the_very_level_of_recall():
    """3 of 10 events found is recall 0.3, and level 0.3 is reached."""
    true = truth(*((100 * k, 0, 7, 1) for k in range(10)))
    mine = predictions(*((100 * k, 0, 7, 1, 0.9) for k in range(3)))
    assert evaluate(mine, true).average_precision[0] == pytest.approx(4 / 11)


def test_a_perfect_ranking_has_average_precision_1():
    true = truth(*((100 * k, 0, 7, 1) for k in range(7)))
    mine = predictions(*((100 * k, 0, 7, 1, 0.9 - 0.1 * k) for k in range(7)))
    assert evaluate(mine, true).average_precision[0] == pytest.approx(1)


def test_a_missing_half_counts_as_missed_unless_the_official_behaviour_is_asked_for():
    true = truth(
        ("game_1_H1", 10, 0, 7, 1, True, False), ("game_1_H2", 10, 0, 7, 1, True, False), halves=HALVES
    )
    mine = predictions((10, 0, 7, 1, 0.9))
    strict, official = evaluate(mine, true), evaluate(mine, true, strict=False)
    assert strict.missing_halves == official.missing_halves == ("game_1_H2",)
    assert strict.counts.recall[0] == 0.5 and official.counts.recall[0] == 1


def test_an_empty_half_is_not_a_missing_one():
    true = truth(("game_1_H2", 10, 0, 7, 1, True, False), halves=HALVES)
    result = evaluate(predictions(halves=HALVES), true, strict=False)
    assert result.missing_halves == () and result.counts.gt[0] == 1


def test_predictions_for_a_half_without_truth_are_an_error_and_can_be_left_out():
    mine = predictions(("game_1_H2", 10, 0, 7, 1, 0.9), halves=HALVES)
    with pytest.raises(DataError, match="game_1_H2"):
        evaluate(mine, truth((10, 0, 7, 1)))
    assert evaluate(mine, truth((10, 0, 7, 1)), strict=False).counts.fp.sum() == 0


@pytest.mark.parametrize(
    "arguments",
    [{"tolerance": -1}, {"threshold": 1.5}, {"threshold": float("nan")}, {"halves": ("x_H1",)}],
)
def test_bad_arguments_are_errors(arguments):
    mine = predictions(halves=arguments.pop("halves", ("game_1_H1",)))
    with pytest.raises(DataError):
        evaluate(mine, truth((10, 0, 7, 1)), **arguments)


def test_one_half_alone_scores_as_the_official_script_has_it(released, val):
    """The trap of the official script: it skips halves, and so one half alone looks good."""
    first = select_halves(released["playbyplay_DST_val.json"], ["game_47_H1"])
    assert evaluate(first, val, strict=False).counts.micro["f1"] == pytest.approx(0.77, abs=0.005)
    assert evaluate(first, val).counts.micro["f1"] == pytest.approx(0.252, abs=0.001)


def test_matches_add_up_to_the_whole(released, val):
    result = evaluate(released["playbyplay_TAAD_val.json"], val)
    per_match = result.per_match()
    assert list(per_match) == ["game_18", "game_24", "game_47"]
    for name in ("tp", "fp", "gt"):
        total = sum(getattr(counts, name) for counts in per_match.values())
        assert total.tolist() == getattr(result.counts, name).tolist()


def test_bootstrap_holds_the_score_and_a_model_does_not_differ_from_itself(released, val):
    result = evaluate(released["playbyplay_DST_val.json"], val)
    comparison = compare({"DST": result, "again": result}, samples=300)
    score = comparison.scores["DST"]
    assert score == comparison.scores["again"] and score.low < score.value < score.high
    assert comparison.gains == {"again": Interval(0, 0, 0)}


def test_bootstrap_spread_is_that_of_resampled_blocks():
    """One event a block, found in every other: resampling is a binomial, whose spread is known."""
    n, block = 400, 7500
    true = truth(*((block * k + 1, 0, 7, 1) for k in range(n)))
    mine = predictions(*((block * k + 1, 0, 7, 1, 0.9) for k in range(0, n, 2)))
    comparison = compare({"one": evaluate(mine, true)}, samples=4000, seed=1)
    interval, (passes, *others) = comparison.scores["one"], comparison.classes["one"]
    recall = np.random.default_rng(2).binomial(n, 0.5, 20_000) / n
    by_hand = np.percentile(2 * recall / (1 + recall) / 8, [5, 95])  # macro: 1 of 8 classes
    assert (interval.low, interval.high) == pytest.approx(tuple(by_hand), abs=1e-3)
    whole = 8 * interval.low, 8 * interval.high  # of the one class that occurs
    assert passes.value == pytest.approx(2 / 3) and (passes.low, passes.high) == pytest.approx(whole)
    assert set(others) == {Interval(0, 0, 0)}


def test_bootstrap_of_models_with_false_alarms_at_different_times():
    true = truth((10, 0, 7, 1))
    late = evaluate(predictions((10, 0, 7, 1, 0.9), (90_000, 0, 7, 1, 0.9)), true)
    silent = evaluate(predictions(halves=("game_1_H1",)), true)
    gains = compare({"late": late, "silent": silent}, samples=10).gains
    assert gains["silent"].value == pytest.approx(-1 / 12)  # F1 of one class of eight was 2/3


def test_bootstrap_of_several_seeds_is_of_their_mean_and_holds_their_spread():
    """In one block everything is drawn alike, so that only the seeds differ: two of them, 1/8 and 0."""
    true = truth((10, 0, 7, 1))
    hit, miss = (evaluate(predictions((frame, 0, 7, 1, 0.9)), true) for frame in (10, 100))
    comparison = compare({"single": hit, "several": (hit, miss)}, samples=4000)
    (single, several), change = comparison.scores.values(), comparison.gains["several"]
    assert (single.value, single.low, single.high) == (1 / 8, 1 / 8, 1 / 8)
    assert several.value == pytest.approx(1 / 16)
    assert (several.low, several.high) == (0, 1 / 8)  # of two draws, a quarter are both misses
    assert (change.value, change.low, change.high) == pytest.approx((-1 / 16, -1 / 8, 0))
    assert compare({"thrice": (hit, hit, hit)}, samples=100).scores["thrice"] == single


def test_a_gain_that_every_seed_has_is_sure_however_far_seeds_are_apart():
    true = truth((10, 0, 7, 1), (10, 0, 7, 2), (10, 0, 7, 3))
    found = [[(10, 0, 7, cls, 0.9) for cls in classes] for classes in ((1,), (1, 2))]
    before = [evaluate(predictions(*rows), true) for rows in found]
    after = [evaluate(predictions(*rows, (10, 0, 7, 3, 0.9)), true) for rows in found]
    comparison = compare({"before": before, "after": after}, samples=400)
    gain, score = comparison.gains["after"], comparison.scores["after"]
    assert (gain.low, gain.value, gain.high) == pytest.approx((1 / 8, 1 / 8, 1 / 8))
    assert (score.low, score.high) == pytest.approx((2 / 8, 3 / 8))


def test_a_comparison_says_in_words_what_was_gained(released, val):
    results = {name: evaluate(released[f"playbyplay_{name}_val.json"], val) for name in ("TAAD", "DST")}
    comparison = compare(results, against="DST", samples=300)
    gain, other = comparison.gains["TAAD"], compare(results, samples=300).gains["DST"]
    assert (gain.value, gain.low, gain.high) == pytest.approx((-other.value, -other.high, -other.low))
    words = comparison.verdict("TAAD")
    assert words.startswith("TAAD against DST: macro F1 -0.248 (-0.2") and words.endswith(", worse")
    assert Interval(0.1, -0.1, 0.3).verdict == "no difference found"
    with pytest.raises(DataError, match="'GNN'.*TAAD, DST"):
        compare(results, against="GNN")


def test_misses_are_explained_by_the_nearest_false_alarm():
    """Each kind of fault, and a hit, which explains nothing."""
    true = truth((100, 0, 7, 2), (200, 0, 7, 3), (300, 0, 7, 2), (400, 1, 3, 5), (500, 1, 3, 5))
    said = predictions(
        (100, 0, 7, 2, 0.9),  # the hit
        (203, 0, 7, 1, 0.8),  # another class
        (200, 0, 9, 3, 0.8),  # a team-mate, which says less
        (301, 0, 9, 2, 0.7),  # a team-mate
        (430, 1, 3, 5, 0.6),  # too late
        (500, 0, 3, 5, 0.6),  # an opponent
        (551, 1, 3, 5, 0.6),  # later than it may
    )
    evaluation = evaluate(said, true)
    table = misses(evaluation)
    assert table["frame"].tolist() == [200, 300, 400, 500]
    assert table["fault"].tolist() == ["class", "player", "time", "nothing"]
    frames = [evaluation.predictions["frame"].get(row) for row in table["instead"]]
    assert frames == [203, 301, 430, None]
    assert misses(evaluate(said[:0], true))["fault"].tolist() == ["nothing"] * 5
    assert len(misses(evaluate(true.assign(score=1.0), true))) == 0


def test_confusion_says_what_events_were_taken_for():
    evaluation = evaluate(
        predictions((100, 0, 7, 2, 0.9), (205, 0, 7, 1, 0.8), (300, 1, 3, 5, 0.7), (401, 0, 9, 2, 0.6)),
        truth((101, 0, 7, 2), (200, 0, 7, 3), (400, 0, 8, 2), (500, 1, 3, 5)),
    )
    table = confusion(evaluation)
    found = {
        (row, column): int(table.loc[row, column])
        for row in table.index
        for column in table.columns
        if table.loc[row, column]
    }
    assert found == {
        ("pass", "pass"): 1,
        ("cross", "drive"): 1,  # the right player at the right time
        ("pass", "not found"): 1,
        ("shot", "not found"): 1,
        ("nothing there", "shot"): 1,
        ("nothing there", "pass"): 1,  # another player's
    }
    counts = evaluation.counts
    assert np.trace(table.to_numpy()) == counts.tp.sum()
    assert table.iloc[:-1].sum(axis=1).tolist() == counts.gt.tolist()
