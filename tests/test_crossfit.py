"""Leave one match out: what is fitted never sees the match it is applied to."""

import numpy as np
import pandas as pd
import pytest

from footpass.crossfit import cross_fit, in_sample
from footpass.events import halves_of, select_halves
from footpass.files import DataError

HALVES = ["b_H1", "a_H1", "b_H2", "a_H2", "c_H1"]  # matches are interleaved on purpose


def table(halves: list[str], frames: list[int] | None = None) -> pd.DataFrame:
    """One drive a half."""
    return pd.DataFrame(
        {
            "half": pd.Categorical(halves, categories=halves),
            "frame": frames or [100 + i for i in range(len(halves))],
            "team": 0,
            "jersey": 7,
            "cls": 1,
            "score": 0.5,
        }
    )


def truth_of(predictions: pd.DataFrame) -> pd.DataFrame:
    return predictions.drop(columns="score").assign(box_visible=True, replay=False)


def mean_frame(inputs, truth):
    return truth["frame"].mean()


def put_there(model, inputs):
    return inputs["dst"].assign(frame=round(model))


def test_every_match_gets_what_the_others_taught():
    predictions = table(HALVES)
    truth = truth_of(predictions).assign(frame=[10, 200, 20, 400, 900])
    result, models = cross_fit(mean_frame, put_there, {"dst": predictions}, truth)
    # By hand: a is left out of (10, 20, 900), b of (200, 400, 900), c of (10, 20, 200, 400).
    assert models == {"b": 500.0, "a": 310.0, "c": 157.5}
    assert halves_of(result) == HALVES
    assert list(result["half"]) == HALVES
    assert list(result["frame"]) == [500, 310, 500, 310, 158]


def test_many_matches_are_left_out_in_groups():
    predictions = table(HALVES)
    truth = truth_of(predictions).assign(frame=[10, 200, 20, 400, 900])
    result, models = cross_fit(mean_frame, put_there, {"dst": predictions}, truth, folds=2)
    # b and c are left out together, so a alone has taught theirs.
    assert models == {"b": 300.0, "c": 300.0, "a": 310.0}
    assert list(result["frame"]) == [300, 310, 300, 310, 300]
    alone = cross_fit(mean_frame, put_there, {"dst": predictions}, truth)
    pd.testing.assert_frame_equal(
        cross_fit(mean_frame, put_there, {"dst": predictions}, truth, folds=9).table, alone.table
    )
    with pytest.raises(DataError, match="1 fold: at least 2"):
        cross_fit(mean_frame, put_there, {"dst": predictions}, truth, folds=1)


def test_in_sample_fits_on_everything():
    predictions = table(HALVES)
    truth = truth_of(predictions).assign(frame=[10, 200, 20, 400, 900])
    result, models = in_sample(mean_frame, put_there, {"dst": predictions}, truth)
    assert models == {"all": 306.0}
    assert set(result["frame"]) == {306}


def test_fit_and_apply_see_only_their_halves():
    predictions, calls = table(HALVES), []

    def fit(inputs, truth):
        calls.append(("fit", halves_of(inputs["dst"]), halves_of(truth), set(truth["half"])))

    def apply(model, inputs):
        calls.append(("apply", halves_of(inputs["dst"])))
        return inputs["dst"]

    cross_fit(fit, apply, {"dst": predictions}, truth_of(predictions))
    assert len(calls) == 6
    for (_, fitted, labelled, rows), (_, scored) in zip(calls[::2], calls[1::2], strict=True):
        assert fitted == labelled and rows == set(fitted)
        assert not {half[0] for half in fitted} & {half[0] for half in scored}
        assert sorted(fitted + scored) == sorted(HALVES)


def test_noise_as_truth_of_a_match_does_not_change_its_events():
    predictions = table(HALVES)
    truth = truth_of(predictions)
    noise = np.random.default_rng(0).integers(0, 10_000, len(truth))
    noisy = truth.assign(frame=truth["frame"].where(truth["half"].str[0] != "a", noise))
    before, after = (
        cross_fit(mean_frame, put_there, {"dst": predictions}, labels).table for labels in (truth, noisy)
    )
    pd.testing.assert_frame_equal(
        select_halves(before, ["a_H1", "a_H2"]), select_halves(after, ["a_H1", "a_H2"])
    )
    assert not before.equals(after)


def test_writing_into_what_was_handed_over_changes_nothing():
    predictions = table(HALVES)
    truth = truth_of(predictions)
    untouched = predictions.copy(), truth.copy()

    def vandal(inputs, labels):
        inputs["dst"]["frame"] = -1
        inputs["dst"].loc[:, "score"] = 9.0
        labels.loc[:, "cls"] = 8

    cross_fit(vandal, lambda model, inputs: inputs["dst"], {"dst": predictions}, truth)
    pd.testing.assert_frame_equal(predictions, untouched[0])
    pd.testing.assert_frame_equal(truth, untouched[1])


def test_a_model_that_lacks_a_half_does_not_get_an_empty_one():
    predictions = table(HALVES)
    other = select_halves(predictions, HALVES[1:])
    seen = []

    def apply(model, inputs):
        seen.append(halves_of(inputs["taad"]))
        return inputs["dst"]

    inputs = {"dst": predictions, "taad": other}
    result = cross_fit(mean_frame, apply, inputs, truth_of(predictions)).table
    assert seen == [["b_H2"], ["a_H1", "a_H2"], ["c_H1"]]
    assert halves_of(result) == HALVES


@pytest.mark.parametrize(
    ("halves", "reason"),
    [(["a_H1", "a_H2"], "hold out a: needs at least two"), ([], "hold out a match")],
)
def test_fewer_than_two_matches(halves, reason):
    predictions = table(HALVES)
    truth = select_halves(truth_of(predictions), halves)
    with pytest.raises(DataError, match=reason):
        cross_fit(mean_frame, put_there, {"dst": predictions}, truth)


@pytest.mark.parametrize("run", [cross_fit, in_sample])
def test_bad_input(run):
    predictions = table(HALVES)
    truth = truth_of(predictions)
    with pytest.raises(DataError, match="half c_H1 is in no input"):
        run(mean_frame, put_there, {"dst": select_halves(predictions, HALVES[:-1])}, truth)
    with pytest.raises(DataError, match="input 'dst' has box_visible, replay: ground truth is no input"):
        run(mean_frame, put_there, {"dst": truth}, truth)
    with pytest.raises(DataError, match="apply returned half"):
        run(mean_frame, lambda model, inputs: table(["x_H1"]), {"dst": predictions}, truth)
    with pytest.raises(DataError, match="input 'dst' has truth"):
        run(mean_frame, put_there, {"dst": predictions.assign(truth=-1)}, truth)
