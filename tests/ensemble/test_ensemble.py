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


@pytest.mark.parametrize("weights", [(), (0, 0), (1, -1)])
def test_weights_that_mean_nothing(weights):
    with pytest.raises(DataError, match="weights"):
        FusionConfig(weights)


def test_one_weight_per_table():
    with pytest.raises(DataError, match="1 weights for 2 prediction files"):
        fuse([A, B], FusionConfig((1,)))


def test_a_half_that_one_model_lacks_comes_from_the_other():
    other = predictions(("game_1_H2", 50, 1, 9, 5, 0.9), halves=("game_1_H2",))
    fused = fuse([A, other], FusionConfig((1, 1)))
    assert fused["half"].tolist() == ["game_1_H1"] * 3 + ["game_1_H2"]


def test_fitted_fusion_drops_what_only_one_model_sees_if_that_is_wrong():
    known = truth((101, 0, 7, 2))
    config = fit_fusion({"a": A, "b": B}, known)
    assert rows(fuse([A, B], config)) == [[100, 0, 7, 2]]


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
