"""What figures share: labels and legends that hide nothing, colours that everybody can tell apart."""

import itertools
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from footpass import plots
from footpass.files import PROJECT
from footpass.metrics import evaluate
from footpass.plots.style import CLASS_COLOURS, SERIES, TEAMS, ink, label_points
from footpass.schema import Action
from tests.tables import predictions, truth

HALVES = ("game_1_H1",)


def linear(colour: str) -> np.ndarray:
    """An sRGB colour in linear light."""
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def as_deuteranopes_see(colour: str) -> np.ndarray:
    """CIE Lab of a colour without green cones (Machado, Oliveira and Fernandes 2009, severity 1)."""
    lacking = [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ]
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(np.array(lacking) @ linear(colour), 0, 1) / (0.9505, 1, 1.089)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    """Contrast ratio as in WCAG 2."""
    low, high = sorted(np.dot(linear(c), (0.2126, 0.7152, 0.0722)) + 0.05 for c in (one, other))
    return high / low


@pytest.mark.parametrize("palette", [SERIES, TEAMS, tuple(CLASS_COLOURS.values())], ids=str)
def test_colours_differ_without_green_cones(palette):
    for one, other in itertools.combinations(palette, 2):
        assert np.linalg.norm(as_deuteranopes_see(one) - as_deuteranopes_see(other)) > 10, (one, other)


TEMPLATE = (PROJECT / "footpass" / "report" / "templates" / "match.html").read_text()
OUTCOMES = [re.findall(rf"--{name}: (#\w{{6}})", TEMPLATE) for name in
            ("found", "wrong-class", "wrong-player", "made-up", "missed")]  # fmt: skip


@pytest.mark.parametrize(
    "palette, ground", list(zip(zip(*OUTCOMES, strict=True), ("#f5f7f9", "#1d2328"), strict=True))
)
def test_outcomes_on_the_match_page_differ_from_each_other_and_from_the_ground(palette, ground):
    for one, other in itertools.combinations(palette, 2):
        assert np.linalg.norm(as_deuteranopes_see(one) - as_deuteranopes_see(other)) > 15, (one, other)
    assert all(contrast(colour, ground) >= 2.9 for colour in palette)


@pytest.mark.parametrize("colour", [*SERIES, *CLASS_COLOURS.values(), "#D0D0D0"])
def test_ink_can_be_read(colour):
    assert contrast(colour, ink(colour)) >= 4.5


points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), min_size=2, max_size=8, unique=True)


@settings(max_examples=15)
@given(points)
def test_labels_lie_on_no_point_and_on_no_other_label(places):
    x, y = np.array(places, float).T
    figure, axes = plt.subplots(figsize=(8, 6))
    axes.set(xlim=(-1, 10), ylim=(-1, 6))
    label_points(axes, x, y, ["ab"] * len(x))
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    spots = axes.transData.transform(np.column_stack([x, y]))
    assert not any(box.count_contains(spots) for box in boxes)
    plt.close(figure)


@pytest.fixture
def result():
    rows = [("game_1_H1", 100 * k, k % 2, 3, cls, True, False) for k, cls in enumerate(Action, 1) if cls]
    found = [(*row[:5], 0.9) for row in rows[::2]]
    return evaluate(predictions(*found, halves=HALVES), truth(*rows, halves=HALVES))


def test_legends_of_bars_are_off_the_bars(result):
    for figure in (
        plots.recall_by_visibility({"TAAD": result, "DST": result, "a system with a long name": result}),
        plots.f1_by_class({"none": [result, result], "sqrt": [result], "inverse": [result]}),
        plots.precision_recall_f1(result),
        plots.class_count_bars(result.truth),
    ):
        (axes,) = figure.axes
        figure.draw_without_rendering()
        assert not axes.get_legend().get_window_extent().overlaps(axes.bbox)
        plt.close(figure)


def test_bars_are_the_mean_over_seeds(result):
    nothing = evaluate(result.predictions[:0], result.truth)
    figure = plots.f1_by_class({"half": [result, nothing], "all": [result]})
    half, whole = (np.array([bar.get_height() for bar in bars]) for bars in figure.axes[0].containers)
    np.testing.assert_allclose(whole, result.counts.f1)
    np.testing.assert_allclose(half, result.counts.f1 / 2)
    plt.close(figure)


def test_a_change_of_nothing_has_no_minus(result):
    figure = plots.f1_changes(result, {"same": result})
    assert figure.axes[0].get_title() == "same: +0.0000"
    plt.close(figure)


def test_a_likely_repetition_is_a_ring_beside_its_node():
    from footpass.data.statistics import derive

    rows = [("game_1_H1", 50 * k, 0, k % 5, Action.PASS, True, False) for k in range(1, 30)]
    figure = plots.transition_graph(derive(truth(*rows, halves=HALVES)))
    rings = [patch for patch in figure.axes[0].patches if isinstance(patch, plt.Circle)]
    assert len(rings) == 1 and np.linalg.norm(rings[0].center) > 1
    plt.close(figure)


def test_tables_of_figures_need_not_have_every_class():
    table = pd.DataFrame({"drive": [0.5], "tackle": [np.nan]}, ["a system"])
    plt.close(plots.f1_table(table))
