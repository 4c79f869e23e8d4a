"""Figures for the notebooks: every function gives a matplotlib figure."""

from footpass.plots.data import (
    candidate_weights,
    class_count_bars,
    f1_against_frequency,
    gaps,
    real_against_simulated,
    spread_over_matches,
    transition_graph,
    transition_matrix,
    visibility,
)
from footpass.plots.detectors import clips_as_seen, filmstrip, learning_curves, logit_traces
from footpass.plots.errors import error_strips, some_misses
from footpass.plots.graph import event_by_two_models, graph_on_pitch, listened_to
from footpass.plots.scores import (
    calibration,
    class_intervals,
    compare_learning,
    confusion_table,
    effect_plot,
    f1_by_class,
    f1_changes,
    f1_table,
    importance,
    precision_recall_f1,
    recall_by_visibility,
    score_against_cost,
    scores_against_ceilings,
    tuned_against_held_out,
)
from footpass.plots.style import CLASS_COLOURS
from footpass.plots.timelines import changes_on_a_timeline, events_on_slots, window_of_play
from footpass.plots.views import slot_of
