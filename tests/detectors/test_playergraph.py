"""The graph of players at a frame, and what is read from it."""

import networkx as nx
import numpy as np
import pytest
import torch

from footpass.data.cache import open_footage
from footpass.data.halves import events_of
from footpass.detectors.clips import ClipConfig
from footpass.detectors.player_graph import player_graph
from footpass.experiments.profile import load_profile
from footpass.files import DataError
from footpass.models.gnn import TAADGNN
from footpass.plots.graph import event_by_two_models, graph_on_pitch, listened_to
from footpass.plots.views import slot_of
from footpass.schema import N_ROLES, N_SLOTS, PITCH, Action, State
from tests import seasons
from tests.oracles import graph as plain_graph

H1 = "game_1_H1"
CONFIG = ClipConfig(frames=16, size=(64, 96), earliest=1, latest=14, others=N_SLOTS - 1)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = seasons.write(tmp_path_factory.mktemp("season"), {H1: {(90, 14): Action.SHOT}})
    return open_footage(folder, "train")[H1]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return TAADGNN(load_profile("smoke").gnn.model)


def test_the_graph_is_that_of_the_slow_loop(footage, model):
    graph = player_graph(model, footage, CONFIG, 90)
    assert sorted(graph) == sorted(seasons.PLAYERS)
    window = footage.half.window(82, 98)
    positions = torch.from_numpy(window.state[: State.Y + 1].transpose(1, 2, 0).copy())[None]
    present = positions.isfinite().all(-1)
    sizes = model.config
    wanted = plain_graph.neighbours(positions.nan_to_num(), present, sizes.neighbours, sizes.radius)[0]
    for slot in seasons.PLAYERS:
        assert sorted(graph.predecessors(slot)) == sorted(wanted[slot])
    heard = [weight for *_, weight in graph.edges(data="weight")]
    assert 0 < max(heard) <= 1 and min(heard) >= 0
    assert all(graph.in_degree(slot, "weight") <= 1 + 1e-6 for slot in graph)


def test_players_are_where_and_who_they_are(footage, model):
    graph = player_graph(model, footage, CONFIG, 65)  # slot 5 is hidden in 60..79
    for slot, player in graph.nodes(data=True):
        expected = np.array([slot / 26, 65 / 1000]) * PITCH
        np.testing.assert_allclose(player["place"], expected, rtol=1e-5)
        assert (player["team"], player["jersey"]) == (slot // N_ROLES, 30 + slot)
        assert player["visible"] == (slot not in (5, 25))


@pytest.mark.parametrize("frame", [3, 182])
def test_the_first_and_the_last_frame_have_a_graph(footage, model, frame):
    assert len(player_graph(model, footage, CONFIG, frame).edges) == 7 * 6


def test_a_frame_outside_the_half_is_an_error(footage, model):
    with pytest.raises(DataError, match="half game_1_H1 has no frame 183"):
        player_graph(model, footage, CONFIG, 183)


def test_what_is_listened_to_is_weighted():
    graph = nx.DiGraph()
    for slot, team, visible in ((0, 0, True), (1, 0, False), (13, 1, True)):
        graph.add_node(slot, team=team, visible=visible)
    graph.add_edge(1, 0, weight=0.6)  # a team-mate without a box
    graph.add_edge(13, 0, weight=0.2)
    table = listened_to([graph], [13])
    assert table["all neighbours alike"].tolist() == [0.5, 0.5, 0.5]
    assert table["as listened to"].tolist() == pytest.approx([0.75, 0.25, 0.25])


def test_the_actor_of_an_event_is_found_and_drawn(footage, model):
    event = next(events_of(footage.half).itertuples())
    assert slot_of(footage.half, event) == 14
    graph = player_graph(model, footage, CONFIG, event.frame)
    on_pitch = graph_on_pitch(graph, 14)
    assert {text.get_text() for text in on_pitch.axes[0].texts} == {
        str(30 + slot) for slot in seasons.PLAYERS
    }
    logits = np.zeros((9, N_SLOTS, footage.half.n_frames), np.float16)
    logits[Action.SHOT, 14, 90 - 3] = 10
    _, curves, flat = event_by_two_models(
        graph, {"a": logits, "b": 0 * logits}, footage.half, event
    ).axes
    peak = {line.get_label(): line.get_ydata() for line in curves.lines[:8]}
    assert peak["shot"].max() > 0.99 and curves.lines[4].get_xdata()[peak["shot"].argmax()] == 0
    assert {len(set(line.get_ydata())) for line in flat.lines[:8]} == {1}
