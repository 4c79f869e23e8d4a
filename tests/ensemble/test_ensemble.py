import numpy as np
import pytest

from footpass.ensemble.fusion import FusionConfig, fit_fusion, fuse, perfect_choice, perfect_players
from footpass.files import DataError
from footpass.metrics import evaluate
from footpass.schema import Action
from tests.tables import predictions, truth

A = predictions((100, 0, 7, 2, 0.8), (300, 0, 7, 2, 0.6), (500, 1, 4, 7, 0.3))
B = predictions((112, 0, 7, 2, 0.4), (313, 0, 7, 2, 0.6))


def rows(table):
    return table[["frame", "team", "jersey", "cls"]].values.tolist()


def test_fused_score_is_the_weighted_mean_above_the_official_threshold():
    fused = fuse([A, B], FusionConfig((3, 1)))
    assert rows(fused)[0] == [100, 0, 7, 2]
    assert fused["score"].tolist() == pytest.approx(
        [0.15 + 0.85 * s for s in (0.75 * 0.8 + 0.25 * 0.4, 0.75 * 0.6, 0.25 * 0.6, 0.75 * 0.3)]
    )


def test_the_exponent_says_how_much_a_model_without_the_event_counts():
    """0: not at all, 1: as a score of 0; 0.5 is published."""
    means, shares = np.array([0.7, 0.6, 0.6, 0.3]), np.array([1, 0.75, 0.25, 0.75])
    for exponent in (0.0, 0.5, 1.0):
        fused = fuse([A, B], FusionConfig((3, 1), exponent=exponent))
        np.testing.assert_allclose(fused["score"], 0.15 + 0.85 * means * shares**exponent)
    unheard = fuse([A, B], FusionConfig((1, 0), exponent=0.5))
    assert dict(zip(unheard["frame"], unheard["score"], strict=True))[313] == pytest.approx(0.15)


def test_four_members_are_fused_as_published():
    """Mean x (n/N)^0.5; what one of them has alone is dropped, but a tackle."""
    members = [A, B, A[:2].assign(score=0.5), B[:1].assign(frame=111, score=0.9)]
    fused = fuse(members, FusionConfig((1,) * 4, 2, exceptions=(Action.TACKLE,), exponent=0.5))
    scores = dict(zip(fused["frame"], (fused["score"] - 0.15) / 0.85, strict=True))
    n, m = 0.65, 0.55 * 0.5**0.5  # mean of 0.8, 0.4, 0.5 and 0.9; of 0.6 and 0.5, in two of four
    assert scores == pytest.approx({100: n, 300: m, 500: 0.3 * 0.25**0.5})


def test_agreement_counts_models_within_twelve_frames():
    fused = fuse([A, B], FusionConfig((1, 1)))
    assert dict(zip(fused["frame"], fused["agreement"], strict=True)) == {100: 2, 300: 1, 313: 1, 500: 1}


def test_an_excepted_class_needs_no_agreement():
    assert rows(fuse([A, B], FusionConfig((1, 1), agreement=2))) == [[100, 0, 7, 2]]
    excepted = fuse([A, B], FusionConfig((1, 1), agreement=2, exceptions=(Action.TACKLE,)))
    assert excepted["frame"].tolist() == [100, 500]


def test_threshold_is_inclusive_and_a_single_model_is_itself():
    fused = fuse([A], FusionConfig((1,), threshold=0.6))
    assert fused["frame"].tolist() == [100, 300]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"weights": weights} for weights in ((), (0, 0), (1, -1))),
        *({"agreement": 0}, {"exponent": -1}, {"threshold": 5}, {"threshold": np.nan}),
    ],
)
def test_what_means_nothing_is_refused(wrong):
    with pytest.raises(DataError, match=next(iter(wrong))):
        FusionConfig(**{"weights": (1,)} | wrong)


def test_one_weight_per_table_and_no_more_to_agree():
    with pytest.raises(DataError, match="1 weights for 2 prediction files"):
        fuse([A, B], FusionConfig((1,)))
    with pytest.raises(DataError, match="agreement of 3 models, and there are 2"):
        fuse([A, B], FusionConfig((1, 1), agreement=3))


def test_a_half_that_one_model_lacks_comes_from_the_other():
    other = predictions(("game_1_H2", 50, 1, 9, 5, 0.9), halves=("game_1_H2",))
    fused = fuse([A, other], FusionConfig((1, 1)))
    assert fused["half"].tolist() == ["game_1_H1"] * 3 + ["game_1_H2"]


def test_fitted_fusion_drops_what_only_one_model_sees_if_that_is_wrong():
    known = truth((101, 0, 7, 2))
    config = fit_fusion({"a": A, "b": B}, known)
    assert rows(fuse([A, B], config)) == [[100, 0, 7, 2]]


def test_an_exponent_is_searched_where_several_are_given():
    """One model alone is right and sure, what all three have is wrong."""
    common = (100, 0, 7, 2, 0.5)
    tables = {"a": predictions(common), "b": predictions(common, (300, 0, 7, 2, 0.9))}
    tables["c"] = predictions(common)
    known = truth((300, 0, 7, 2))
    fused = [
        fuse(list(tables.values()), fit_fusion(tables, known, exponents))
        for exponents in ((1.0,), (1.0, 0.0))
    ]
    assert [rows(table) for table in fused] == [
        [[100, 0, 7, 2], [300, 0, 7, 2]],
        [[300, 0, 7, 2]],
    ]


def test_perfect_choice_keeps_what_is_true_in_either():
    known = truth((101, 0, 7, 2), (320, 0, 7, 2), (700, 0, 1, 1))
    assert perfect_choice([A, B], known)["frame"].tolist() == [100, 313]


def test_perfect_players_corrects_only_the_player():
    known = truth((101, 1, 3, 2), (300, 0, 7, 1))
    assert rows(perfect_players(A, known)) == [[100, 1, 3, 2], [300, 0, 7, 2], [500, 1, 4, 7]]


def test_ceilings_on_the_release(release):
    from footpass.experiments.release import read_release

    public = read_release(release)
    tables = [public.predictions["DST"], public.predictions["TAAD"]]
    # The published ceilings of these files.
    assert evaluate(perfect_choice(tables, public.val), public.val).macro_f1 == pytest.approx(
        0.786, abs=5e-4
    )
    players = perfect_players(tables[0], public.val)
    assert evaluate(players, public.val).macro_f1 == pytest.approx(0.591, abs=5e-4)
