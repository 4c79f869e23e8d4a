import numpy as np
import pandas as pd
import pytest

from footpass.data.statistics import derive, load_statistics
from footpass.events import read_ground_truth
from footpass.experiments.release import simulate_release
from footpass.files import DataError
from footpass.schema import Action
from footpass.simulate.events import FORMATIONS, simulate_match, simulate_season
from footpass.timeline import OPPONENT, SAME_PLAYER, TEAM_MATE
from tests.tables import truth

# By class: a team's events in a half that are its most active player's, in the released train matches.
MOST_ACTIVE = [0.1576, 0.1551, 0.4253, 0.5657, 0.4207, 0.2741, 0.6521, 0.3615]


def most_active(events):
    teams = ["cls", "half", "team"]
    shares = events.groupby(teams, observed=True)["jersey"].value_counts(normalize=True)
    return shares.groupby(teams, observed=True).max().groupby("cls").mean()


@pytest.fixture(scope="module")
def season():
    return simulate_season(48, minutes=100, seed=5)


@pytest.fixture(scope="module")
def simulated(season):
    return derive(season)


@pytest.fixture(scope="module")
def real():
    return load_statistics()


def test_the_statistics_file_is_what_the_release_gives(release, real):
    table = read_ground_truth(release / "playbyplay_GT" / "playbyplay_train.json")
    fresh = derive(table)
    for name, value in vars(fresh).items():
        np.testing.assert_allclose(getattr(real, name), value, rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(most_active(table), MOST_ACTIVE, atol=1e-4)


def test_the_statistics_are_the_published_counts(real):
    assert real.count.tolist() == [35527, 45621, 2156, 1730, 1097, 3642, 285, 1269]
    assert real.box.tolist() == [30477, 37144, 1519, 754, 889, 2426, 174, 994]


def test_statistics_by_hand():
    """A pass, the receiver drives, an opponent tackles in a replay, and drives on."""
    table = truth(
        (10, 0, 7, Action.PASS, True, False),
        (40, 0, 8, Action.DRIVE, True, False),
        (50, 1, 3, Action.TACKLE, False, True),
        (90, 1, 3, Action.DRIVE, False, True),
    )
    statistics = derive(table)
    expected = np.zeros_like(statistics.transitions)
    for before, relation, after in (
        (Action.PASS, TEAM_MATE, Action.DRIVE),
        (Action.DRIVE, OPPONENT, Action.TACKLE),
        (Action.TACKLE, SAME_PLAYER, Action.DRIVE),
    ):
        expected[before - 1, relation, after - 1] = 1
    assert (statistics.transitions == expected).all()
    assert statistics.count.tolist() == [2, 1, 0, 0, 0, 0, 1, 0]
    assert statistics.box.tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert statistics.replay_after[0, Action.TACKLE - 1] == 1
    assert statistics.replay_after[1, Action.DRIVE - 1] == 1
    assert statistics.half_frames == 80


def test_class_shares_are_the_real_ones(simulated, real):
    """Within 5 % or, for the rare classes, three standard deviations of sampling them."""
    share, expected = (s.count / s.count.sum() for s in (simulated, real))
    spread = 3 * np.sqrt(expected / simulated.count.sum())
    assert (np.abs(share - expected) < np.maximum(0.05 * expected, spread)).all()


def test_pass_to_tackle_with_a_box_is_near_the_213_of_the_paper(simulated):
    ratio = simulated.box[Action.PASS - 1] / simulated.box[Action.TACKLE - 1]
    assert ratio == pytest.approx(213.5, rel=0.25)  # 174 tackles or so: 7.6 % is one deviation


def test_visibility_of_each_class_is_the_real_one(simulated, real):
    np.testing.assert_allclose(simulated.box / simulated.count, real.box / real.count, atol=0.08)
    np.testing.assert_allclose(simulated.replay / simulated.count, real.replay / real.count, atol=0.05)


def test_transitions_are_the_real_ones(simulated, real):
    share, expected = (
        s.transitions / s.transitions.sum((1, 2), keepdims=True) for s in (simulated, real)
    )
    rows = real.count > 1000  # tackles: too few to compare a row with
    np.testing.assert_allclose(share[rows], expected[rows], atol=0.05)
    assert ((simulated.transitions > 0) <= (real.transitions > 0)).all()


def test_the_time_between_events_is_the_real_one(simulated, real):
    """Events per second of play, which the gaps and the transitions give together."""
    rates = [s.count.sum() / (s.n_halves * s.half_frames) for s in (simulated, real)]
    assert rates[0] == pytest.approx(rates[1], rel=0.08)


def test_a_few_players_do_most_of_what_is_rare(season):
    np.testing.assert_allclose(most_active(season), MOST_ACTIVE, atol=0.16)


@pytest.fixture(scope="module")
def match():
    return simulate_match(3, minutes=90, seed=1)


def test_every_actor_is_on_the_pitch_and_every_team_has_eleven(match):
    for half, lineup in match.lineup.groupby("half"):
        events = match.events[match.events["half"] == half]
        joined = events.merge(lineup, on=["team", "jersey"])
        inside = (joined["start"] <= joined["frame"]) & (joined["frame"] < joined["stop"])
        assert inside.sum() == len(events)
        for frame in np.linspace(lineup["start"].min(), lineup["stop"].max() - 1, 50).astype(int):
            now = lineup[(lineup["start"] <= frame) & (frame < lineup["stop"])]
            assert now.groupby("team")["role"].nunique().tolist() == [11, 11]
            assert now.groupby("team")["jersey"].nunique().tolist() == [11, 11]


def test_halves_start_where_the_real_ones_do(match):
    first = match.lineup.groupby("half")["start"].min()
    assert first["game_3_H1"] == 50 and 70_000 < first["game_3_H2"] < 80_000
    assert match.events.groupby("half", observed=True)["frame"].is_monotonic_increasing.all()


def test_a_match_has_substitutions_and_changes_of_role(match):
    second = match.lineup[match.lineup["half"] == "game_3_H2"]
    assert len(second.groupby(["team", "jersey"])) > 22
    assert (match.lineup.groupby(["half", "team", "jersey"])["role"].nunique() > 1).any()


@pytest.mark.parametrize("formation", FORMATIONS)
def test_formations_have_eleven_different_roles(formation):
    roles = FORMATIONS[formation].split()
    assert len(set(roles)) == len(roles) == 11 and "GK" in roles


def test_the_same_seed_gives_the_same_season_and_another_one_another():
    first, again, other = (simulate_season(2, minutes=4, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)
    later = simulate_match(1, minutes=4, seed=1).events
    assert later["frame"].tolist() == first.loc[first["half"].str.startswith("game_1"), "frame"].tolist()


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), 1e9])
def test_a_match_of_no_length_is_an_error(minutes):
    with pytest.raises(DataError, match="minutes"):
        simulate_match(0, minutes)


def test_the_stand_in_for_the_release_says_that_it_is_simulated():
    stand_in = simulate_release(matches=1, seed=3)
    assert stand_in.simulated and "simulated" in stand_in.source
    assert set(stand_in.predictions) == {"TAAD", "DST"}
    assert not set(stand_in.train["half"].cat.categories) & set(stand_in.val["half"].cat.categories)
