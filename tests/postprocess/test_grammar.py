"""Decoding with the grammar of matches: counts of transitions, and the best of all chains."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from benchmarks.grammar import same_team_throw_ins
from footpass.__main__ import main
from footpass.data.statistics import derive, load_statistics
from footpass.events import read_ground_truth, read_predictions, write_events
from footpass.experiments.release import PREDICTION_FILES, TRUTH_FILES
from footpass.metrics import evaluate
from footpass.postprocess.grammar import (
    GAPS,
    REACH,
    SHAPE,
    _ratios,
    decode,
    legal,
    legal_events,
    log_ratios,
)
from footpass.schema import Action
from footpass.simulate.events import simulate_season
from tests.tables import predictions, truth

PASS, THROW, HEADER, DRIVE = Action.PASS, Action.THROW_IN, Action.HEADER, Action.DRIVE
HALVES = ("game_1_H1", "game_1_H2")


def drawn(rng: np.random.Generator, n: int):
    """A small random problem: few frames, so that many candidates share one."""
    frames = rng.choice([0, 1, 5, 30, 500, 500 + REACH], n)
    rows = zip(rng.choice(HALVES, n), frames, *rng.integers([0, 1, 1], [2, 3, 9], (n, 3)).T, strict=True)
    table = predictions(*((*row, 0.5) for row in rows), halves=HALVES)
    transitions = rng.normal(0, 2, (*SHAPE, len(GAPS) + 1))
    transitions[rng.random(transitions.shape) < 0.2] = -np.inf
    return table, rng.normal(0, 2, n), transitions


def total(candidates, transitions) -> float:
    """What a subset has for it, term by term."""
    value = sum(row[-1] for row in candidates)
    for (half, frame, team, jersey, cls, _), row in pairwise(sorted(candidates)):
        gap = row[1] - frame
        if row[0] == half and gap <= REACH:
            relation = 2 if row[2] != team else 0 if row[3] == jersey else 1
            gap_bin = sum(gap >= edge for edge in GAPS)
            value += transitions[cls - 1, relation, row[4] - 1, gap_bin]
    return value


@pytest.mark.parametrize("seed", range(30))
def test_the_chain_is_the_best_of_all_subsets(seed):
    rng = np.random.default_rng(seed)
    table, log_odds, transitions = drawn(rng, n := int(rng.integers(0, 9)))
    columns = [table[name].tolist() for name in ("half", "frame", "team", "jersey", "cls")]
    rows = list(zip(*columns, log_odds.tolist(), strict=True))
    subsets = [subset for size in range(n + 1) for subset in combinations(rows, size)]
    best = max(subsets, key=lambda subset: total(subset, transitions))
    kept = decode(table, log_odds, transitions)
    assert tuple(row for row, keep in zip(rows, kept, strict=True) if keep) == best


def test_without_transitions_a_candidate_stays_if_nothing_speaks_against_it():
    table, log_odds, _ = drawn(np.random.default_rng(0), 300)
    log_odds[::7] = 0.0
    np.testing.assert_array_equal(decode(table, log_odds, np.zeros((8, 3, 8, 1))), log_odds >= 0)


def test_the_order_of_the_rows_means_nothing():
    rng = np.random.default_rng(1)
    table, log_odds, transitions = drawn(rng, 200)
    order = rng.permutation(len(table))
    kept = decode(table, log_odds, transitions)
    np.testing.assert_array_equal(
        decode(table.iloc[order].reset_index(drop=True), log_odds[order], transitions), kept[order]
    )


def test_independent_classes_and_actors_are_as_frequent_as_by_chance():
    shares = np.arange(1, 9), np.array([5, 3, 2]), np.arange(8, 0, -1)
    counts = np.einsum("a,r,b->arb", *shares)
    np.testing.assert_allclose(_ratios(counts), 1)


def test_where_all_gaps_are_alike_they_say_nothing_more():
    """Transitions are counted elsewhere too (`data.statistics`), for the simulator."""
    table = simulate_season(1, seed=0)
    table = table.sort_values(["half", "frame"], kind="stable")
    table["frame"] = 50 * np.arange(len(table))
    counts, middle = derive(table).transitions, np.digitize(50, GAPS)
    shares = [counts.sum(axis=axes) / counts.sum() for axes in ((1, 2), (0, 2), (0, 1))]
    chance = counts.sum() * np.einsum("a,r,b->arb", *shares)
    everyone = (counts.sum(axis=0) + 5) / (chance.sum(axis=0) + 5)
    coarse = (counts + 5 * everyone) / (chance + 5)
    ratios, seen = log_ratios(table), np.log((counts + 5 * coarse) / (chance + 5))
    mean = (counts * seen).sum(axis=(0, 1)) / counts.sum(axis=(0, 1))
    np.testing.assert_allclose(ratios[..., middle], seen - mean)
    np.testing.assert_allclose(ratios[..., middle + 1], np.log(coarse) - mean)  # never: of all gaps


def test_real_matches_forbid_what_the_laws_of_the_game_do():
    counts = load_statistics().transitions
    allowed = legal(counts)
    same, mate, opponent = range(3)
    for before in Action(1), Action(2), Action(3), Action(5), Action(7), Action(8):
        assert not allowed[before - 1, [same, mate], THROW - 1].any(), before
    assert allowed[:, opponent, THROW - 1].all()
    assert allowed[DRIVE - 1, same, PASS - 1] and allowed[PASS - 1, mate, DRIVE - 1]
    assert counts[~allowed].sum() / counts.sum() < 0.005


def test_the_weaker_side_of_an_impossible_pair_goes():
    touch, throw = (100, 0, 7, PASS), (160, 0, 3, THROW)
    strong = predictions((*touch, 0.3), (*throw, 0.8))
    assert list(legal_events(strong)["cls"]) == [THROW]
    weak = predictions((*touch, 0.8), (*throw, 0.3))
    assert list(legal_events(weak)["cls"]) == [PASS]
    between = predictions((*touch, 0.8), (130, 1, 5, HEADER, 0.2), (*throw, 0.3))
    assert len(legal_events(between)) == 3
    unseen = predictions((*touch, 0.8), (130, 1, 5, HEADER, 0.14), (*throw, 0.3))
    assert list(legal_events(unseen)["cls"]) == [PASS]  # the metric does not see the header


def test_certain_events_have_finite_odds():
    sure = predictions((100, 0, 7, PASS, 1.0), (160, 0, 3, THROW, 1.0), (220, 0, 4, DRIVE, 1.0))
    assert len(legal_events(sure)) == 2
    assert not len(legal_events(predictions()))


def test_throw_ins_after_a_touch_of_the_own_team_are_counted():
    rows = ((5, 0, 1, THROW), (9, 0, 2, PASS), (200, 0, 3, THROW), (300, 1, 4, PASS), (400, 0, 3, THROW))
    assert same_team_throw_ins(truth(*rows)) == 0.5  # nothing comes before the first


def test_released_throw_ins_become_possible_and_better(release):
    table = read_predictions(release / PREDICTION_FILES["DST"])
    val, train = (read_ground_truth(release / TRUTH_FILES[split]) for split in ("val", "train"))
    kept = legal_events(table)
    assert same_team_throw_ins(train) == pytest.approx(0.0116, abs=1e-4)
    assert same_team_throw_ins(table) == pytest.approx(0.192, abs=1e-3)
    assert same_team_throw_ins(kept) < 0.03
    before, after = (evaluate(events, val).counts for events in (table, kept))
    assert after.f1[THROW - 1] > before.f1[THROW - 1]
    assert after.micro["f1"] > before.micro["f1"] + 0.005


def test_the_command_writes_the_legal_events(tmp_path, capsys):
    table = predictions((100, 0, 7, PASS, 0.8), (160, 0, 3, THROW, 0.3), (220, 1, 4, PASS, 0.5))
    write_events(table, tmp_path / "events.json")
    files = ("--predictions", tmp_path / "events.json", "--out", tmp_path / "legal.json")
    assert main(["postprocess", "legal", *map(str, files)]) == 0
    assert "2 of 3 events" in capsys.readouterr().out
    assert list(read_predictions(tmp_path / "legal.json")["frame"]) == [100, 220]
