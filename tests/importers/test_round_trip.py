"""Simulated match -> what a tracker makes of it -> import: who, as what, and where the others are."""

from dataclasses import replace

import numpy as np
import pytest

from footpass.data.check import check
from footpass.data.provenance import Provenance, mark_season, season_provenance
from footpass.data.tactical import half_names, read_rows
from footpass.importers.gsr import read_gsr
from footpass.importers.match import ImportConfig, import_match
from footpass.schema import FPS, PITCH, Tactical, slot
from footpass.simulate.season import simulate_half, tactical_rows
from footpass.simulate.tracker_files import write_gsr
from footpass.simulate.trackers import TrackerErrors, track
from tests.importers.conftest import MINUTES

HARD = {
    "break_tracks": 6.0,
    "unknown_jerseys": 0.15,
    "wrong_jerseys": 0.03,
    "noise": 1.0,
    "missed": 0.05,
}
XY = [Tactical.X, Tactical.Y]


def imported(folder) -> np.ndarray:
    path = folder / "val_tactical_data.h5"
    return read_rows(path, half_names(path)[0])


def by_box(rows: np.ndarray) -> dict[tuple[int, float], np.ndarray]:
    """Rows with a box, once a second, by frame and left side: inside the picture no two share it."""
    seen = rows[(rows[:, Tactical.BOX_X] > 0) & (rows[:, Tactical.FRAME] % FPS == 0)]
    return {(int(row[Tactical.FRAME]), round(float(row[Tactical.BOX_X]), 1)): row for row in seen}


def shares_right(truth: np.ndarray, tracks, got: np.ndarray) -> tuple[float, float]:
    """Of all player-seconds in a file, how many came out in their slot, how many with their jersey."""
    true, found = by_box(truth), by_box(got)
    players = tracks[(tracks["role"] != "ball") & (tracks["frame"] % FPS == 0)]
    slots = jerseys = n = 0
    for frame, left in zip(players["frame"], players["box_x"], strict=True):
        near = [(frame, round(left + away, 1)) for away in (0, 0.1, -0.1)]
        row = next((true[key] for key in near if key in true), None)
        other = next((found[key] for key in near if key in found), None)
        if row is None:
            continue
        n += 1
        if other is not None:
            slots += (row[[Tactical.TEAM, Tactical.ROLE]] == other[[Tactical.TEAM, Tactical.ROLE]]).all()
            jerseys += row[Tactical.JERSEY] == other[Tactical.JERSEY] or np.isnan(row[Tactical.JERSEY])
    assert n > 2000
    return slots / n, jerseys / n


def unseen_error(half: tuple, got: np.ndarray) -> float:
    """Median distance in metres of players without a box from where they were, which no file says."""
    motion, _, rows = half
    truth = rows.copy()
    truth[:, XY] = (motion.xy / PITCH).transpose(1, 0, 2).reshape(-1, 2)
    where = dict(zip(cells(got), got[:, XY], strict=True))
    hidden = truth[np.isnan(truth[:, Tactical.BOX_X])][::7]
    found = np.array([where[key] for key in cells(hidden)])
    return float(np.median(np.linalg.norm((found - hidden[:, XY]) * PITCH, axis=1)))


def cells(rows: np.ndarray) -> list[tuple[int, int]]:
    slots = slot(rows[:, Tactical.TEAM].astype(int), rows[:, Tactical.ROLE].astype(int))
    return list(zip(rows[:, Tactical.FRAME].astype(int).tolist(), slots.tolist(), strict=True))


def test_an_exact_game_state_comes_back_as_it_was(half, gsr, exact):
    slots, jerseys = shares_right(half[2], gsr()[1], imported(exact))
    assert slots >= 0.95 and jerseys >= 0.99
    assert unseen_error(half, imported(exact)) <= 6.0


@pytest.mark.parametrize(("game", "number", "seed"), [(2006, 0, 7), (2013, 1, 14)])
def test_players_who_change_roles_half_way_come_back_in_both(game, number, seed, tmp_path):
    """They were taken for others all the half, or their team for one in another formation."""
    motion, shots = simulate_half(game, number, MINUTES, seed)
    tracks = track(motion, shots, TrackerErrors(), [seed, game, number, 2])
    path = tmp_path / "half.json"
    write_gsr(tracks, f"game_{game}_H{number + 1}", len(motion.ball), path)
    import_match(tmp_path / "out", [read_gsr(path)], ImportConfig(game=game))
    truth = tactical_rows(motion, shots, (2, 1))
    assert shares_right(truth, tracks, imported(tmp_path / "out"))[0] >= 0.97


def test_the_result_passes_the_data_check(exact):
    assert check(exact).fine


def test_positions_and_velocities_of_the_seen_are_those_of_the_match(half, exact):
    true, found = by_box(half[2]), by_box(imported(exact))
    common = sorted(true.keys() & found.keys())
    a, b = (np.array([rows[key] for key in common]) for rows in (true, found))
    # The very rest: two boxes with one left side.
    assert np.quantile(np.abs((a - b)[:, XY] * PITCH), 0.998) < 0.06
    assert np.median(np.abs(a - b)[:, [Tactical.VX, Tactical.VY]]) < 0.1
    assert np.corrcoef(a[:, Tactical.VX], b[:, Tactical.VX])[0, 1] > 0.95


def test_who_comes_into_sight_does_not_jump_there(half, exact):
    """Where an estimated place was corrected, speeds were up to 36 m/s."""
    true, found = by_box(half[2]), by_box(imported(exact))
    common = sorted(true.keys() & found.keys())
    speed = [Tactical.VX, Tactical.VY]
    off = np.array([np.linalg.norm((true[key] - found[key])[speed]) for key in common])
    assert np.quantile(off, 0.99) < 1.0
    fastest = np.linalg.norm(np.array([found[key][speed] for key in common]), axis=1)
    assert np.quantile(fastest, 0.999) < 11.0


def test_a_tracker_with_all_its_faults_is_mostly_understood(half, gsr, tmp_path):
    path, tracks = gsr(**HARD)
    (notes,) = import_match(tmp_path, [read_gsr(path)], ImportConfig(game=7)).values()
    slots, jerseys = shares_right(half[2], tracks, imported(tmp_path))
    assert slots >= 0.85 and jerseys >= 0.93
    assert any("joined to" in note for note in notes) and any("outvoted" in note for note in notes)
    table = tmp_path / "import" / "game_7_H2.csv"
    players = tracks.loc[tracks["role"] != "ball", "track"]
    assert len(table.read_text().splitlines()) == players.nunique() + 1
    assert table.with_suffix(".png").stat().st_size > 10_000
    assert table.with_suffix(".txt").read_text().splitlines() == list(notes)


def test_what_comes_from_a_simulated_season_stays_marked_as_simulated(gsr, tmp_path):
    path, _ = gsr()
    folder = tmp_path / "season" / "as_gsr"
    folder.mkdir(parents=True)
    simulated = Provenance(simulated=True, seed=3)
    mark_season(folder.parent, "val", simulated)
    half = replace(read_gsr(path), source=str(folder / "half.json"))
    import_match(tmp_path / "mine", [half], ImportConfig())
    assert season_provenance(tmp_path / "mine") == simulated


def test_players_without_a_number_are_kept_without_one(half, gsr, tmp_path):
    path, tracks = gsr(unknown_jerseys=1.0)
    import_match(tmp_path, [read_gsr(path)], ImportConfig())
    rows = imported(tmp_path)
    assert np.isnan(rows[:, Tactical.JERSEY]).all()
    assert shares_right(half[2], tracks, rows)[0] >= 0.9
