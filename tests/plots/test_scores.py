"""Figures of scores: what they name."""

import pandas as pd

from footpass.plots import effect_plot, score_against_cost


def test_named_is_what_nothing_cheaper_beats():
    scores = pd.DataFrame(
        {"macro F1": [0.3, 0.25, 0.5, 0.4, 0.5], "low": 0.2, "high": 0.6},
        index=["cheap", "worse for as much", "best", "worse for more", "as good for more"],
    )
    costs = pd.DataFrame({"training, s": [60, 60, 120, 180, 240]}, scores.index)
    (axes,) = score_against_cost(scores, costs).axes
    assert [text.get_text() for text in axes.texts] == ["cheap", "best"]


def test_effects_stand_in_their_groups():
    table = pd.DataFrame({"change": [0.1, 0.2, -0.1], "low": 0.0, "high": 0.3, "against": "x"}, [*"abc"])
    (axes,) = effect_plot(table.assign(group=["one", "one", "two"])).axes
    told = [text.get_text() for text in axes.texts]
    assert [text for text in told if text in ("one", "two")] == ["one", "two"]
