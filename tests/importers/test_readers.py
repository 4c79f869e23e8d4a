"""MOT folders, tables, kloppy's providers, the data provider's form: the values that must come out."""

import json

import numpy as np
import pandas as pd
import pytest

from footpass.data.cache import open_halves
from footpass.data.check import check
from footpass.data.movement import REAL, movement
from footpass.data.tactical import read_rows
from footpass.files import DataError
from footpass.importers.footovision import read_match
from footpass.importers.match import ImportConfig, import_match
from footpass.importers.mot import read_mot
from footpass.importers.providers import action_of, read_events, read_tracking
from footpass.importers.roles import ROLES_OF
from footpass.importers.sides import sided
from footpass.importers.table import read_table
from footpass.importers.tracks import GOALKEEPER, UNKNOWN
from footpass.schema import N_ROLES, Action, Role, Tactical
from footpass.simulate.tracker_files import picture_to_pitch, write_mot, write_skillcorner

# ---------------------------------------------------------------------------------------------------
# MOT


def test_a_mot_folder_with_homographies_gives_the_positions_of_the_game_state(half, gsr, tmp_path):
    motion, shots, _ = half
    tracks = gsr()[1].head(20_000)
    matrices = picture_to_pitch(shots, 0.0, np.random.default_rng(0))[:2500]
    write_mot(tracks, "x", motion.first_frame, matrices, tmp_path)
    table = read_mot(tmp_path, tmp_path / "homography.csv").table
    true = tracks[tracks["role"] != "ball"].reset_index(drop=True)
    found = table[table["keeper"] <= GOALKEEPER].reset_index(drop=True)
    for name in ("frame", "track", "team"):
        np.testing.assert_array_equal(found[name], true[name])
    np.testing.assert_allclose(found["box_x"], true["box_x"], atol=0.01)
    # The feet are not quite at the lower edge of a box, and boxes are cut at the edge of the picture.
    assert np.nanmedian(np.abs(found["x"] - true["x"])) * 105 < 1
    assert read_mot(tmp_path).table["x"].isna().all()


def test_mot_without_gameinfo_knows_no_teams(tmp_path):
    (tmp_path / "gt.txt").write_text("1,3,10,20,30,40,1,-1,-1,-1\n2,3,11,20,30,40,1,-1,-1,-1\n")
    half = read_mot(tmp_path)
    assert half.table[["frame", "track", "team"]].to_numpy().tolist() == [
        [0, 3, UNKNOWN],
        [1, 3, UNKNOWN],
    ]
    assert "teams and jerseys are not known" in half.notes[0]


def test_what_describes_a_mot_file_is_found_from_the_file_itself(tmp_path):
    """Given gt/gt.txt, its rate, picture and players were passed over."""
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "gt.txt").write_text("1,3,10,20,30,40,1,-1,-1,-1\n")
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nname=50%cut\nframeRate=50\nimWidth=1280\n")
    (tmp_path / "gameinfo.ini").write_text("trackletID_2=\ntrackletID_3= player team right;0\n")
    half = read_mot(tmp_path / "gt" / "gt.txt")
    assert half.fps == 50 and half.picture is None  # a width alone is no size
    assert half.table[["team", "jersey"]].to_numpy().tolist() == [[1, 0]]


# ---------------------------------------------------------------------------------------------------
# Tables


def test_a_table_of_supervision_needs_only_the_frame_to_be_named(tmp_path):
    csv = "x_min,y_min,x_max,y_max,class_id,confidence,tracker_id,index\n10,20,40,80,0,0.9,5,3\n"
    path = tmp_path / "s.csv"
    path.write_text(csv)
    row = read_table(path, {"frame": "index"}).table.iloc[0]
    assert row[["frame", "track", "box_x", "box_y", "box_w", "box_h"]].tolist() == [3, 5, 10, 20, 30, 60]


@pytest.mark.parametrize("row", ["3;5;10,5;20;30;60", "3\t5\t10.5\t20\t30\t60", "3,5,10.5,20,30,60"])
def test_what_parts_the_columns_of_a_table_is_found(tmp_path, row):
    """As a spreadsheet writes it where a comma is in numbers, too."""
    path = tmp_path / "t.csv"
    parts = next(part for part in ";\t," if part in row)
    path.write_text(f"\ufeff{parts.join(('frame', 'track', 'x', 'y', 'w', 'h'))}\n{row}\n")
    read = read_table(path).table.iloc[0][["frame", "track", "box_x", "box_y", "box_w", "box_h"]]
    assert read.tolist() == [3, 5, 10.5, 20, 30, 60]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_teams_roles_and_metres_of_a_table(tmp_path, suffix):
    given = pd.DataFrame(
        {
            "frame": [0, 0, 0, 1], "id": [1, 2, 3, 1], "px": [-50.0, 30, 0, 40], "py": [0.0, 30, 0, -20],
            "team": ["Reds", "Blues", None, "Reds"], "role": ["GK", "player", "referee", "GK"],
            "jersey": [1, 9, None, 1],
        }
    )  # fmt: skip
    path = tmp_path / f"t.{suffix}"
    given.to_csv(path, index=False) if suffix == "csv" else given.to_parquet(path)
    half = read_table(path)
    assert half.teams == ("Blues", "Reds") and half.table["team"].tolist() == [1, 0, UNKNOWN, 1]
    assert half.table["keeper"].tolist() == [1, 0, 2, 1] and half.table["jersey"].tolist() == [
        1,
        9,
        -1,
        1,
    ]
    assert half.table["x"].iloc[0] == pytest.approx(2.5 / 105)


def csv(path, content):
    path.write_text(content)
    return path


def test_teams_that_are_numbers_are_the_same_beside_empty_cells(tmp_path):
    """-1 beside a referee's empty cell was -1.0, and a third team."""
    rows = "0,1,1,1,0,player\n0,2,1,1,1,player\n0,3,1,1,-1,player\n0,4,1,1,,referee\n"
    half = read_table(csv(tmp_path / "t.csv", "frame,track,px,py,team,role\n" + rows))
    assert half.teams == ("0", "1") and half.table["team"].tolist() == [0, 1, UNKNOWN, UNKNOWN]


@pytest.mark.parametrize(("word", "number"), [("right", 1), ("Left", 0)])
def test_a_table_that_shows_one_side_alone_says_which(tmp_path, word, number):
    half = read_table(csv(tmp_path / "t.csv", f"frame,track,px,py,team\n0,1,1,1,{word}\n"))
    assert half.table["team"].tolist() == [number] and half.sides_known


def test_a_column_that_is_named_takes_the_place_of_one_of_ours(tmp_path):
    path = csv(tmp_path / "t.csv", "frame, n, track, x, y, left, w, h\n0, 7, 1, 1, 2, 30, 4, 5\n")
    row = read_table(path, {"frame": "n", "x": "left"}).table.iloc[0]
    assert row[["frame", "box_x", "box_y", "box_w", "box_h"]].tolist() == [7, 30, 2, 4, 5]


def test_parquets_own_types_and_index_are_read(tmp_path):
    given = pd.DataFrame(
        {
            "frame": [3, 4], "track": pd.array([1, None], "Int64"),
            "px": pd.array([1.5, None], "Float64"),
            "py": ["2.5", "3"], "jersey": ["7", "None"], "team": pd.Categorical(["A", None]),
        }
    ).set_index("frame")  # fmt: skip
    given.to_parquet(tmp_path / "t.parquet")
    (row,) = read_table(tmp_path / "t.parquet").table.itertuples()
    assert (row.frame, row.track, row.jersey, row.team) == (3, 1, 7, 0)
    assert (row.x, row.y) == pytest.approx((1.5 / 105, 2.5 / 68))


# ---------------------------------------------------------------------------------------------------
# kloppy


PROVIDERS = {
    "skillcorner": ("skillcorner_meta_data.json", "skillcorner_v3_raw_data.jsonl"),
    "sportec": ("sportec_meta.xml", "sportec_positional.xml"),
    "metrica_csv": ("", "metrica_home.csv metrica_away.csv"),
    "metrica": ("epts_metrica_metadata.xml", "epts_metrica_tracking.txt"),
    "statsperform": ("statsperform_tracking_ma1.xml", "statsperform_tracking_ma25.txt"),
    "signality": (
        "signality_meta_data.json signality_venue_information.json",
        "signality_p1_raw_data_subset.json signality_p2_raw_data_subset.json",
    ),
}


def paths(folder, names: str) -> list[str]:
    return [str(folder / name) for name in names.split()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_providers_file_becomes_a_match_that_passes_the_check(kloppy_files, tmp_path, provider):
    meta, raw = (paths(kloppy_files, names) for names in PROVIDERS[provider])
    parts = read_tracking(provider, meta, raw)
    assert [part.half for part in parts] == [1, 2]
    import_match(tmp_path, parts, ImportConfig())
    assert check(tmp_path).fine


@pytest.mark.filterwarnings("ignore")
def test_tracab_gives_the_position_that_kloppys_own_test_expects(kloppy_files):
    files = paths(kloppy_files, "tracab_meta.xml"), paths(kloppy_files, "tracab_raw.dat")
    table = read_tracking("tracab", *files)[0].table
    keeper = table[(table["frame"] == 0) & (table["team"] == 0) & (table["jersey"] == 1)]
    assert keeper[["x", "y"]].to_numpy().ravel() == pytest.approx([1.0019047619, 0.4960294118])


@pytest.mark.filterwarnings("ignore")
def test_hawkeyes_files_of_a_minute_each_make_one_half(kloppy_files, tmp_path):
    raw = []
    for kind, list_of in (("ball", "ball"), ("centroids", "people")):
        content = json.loads((kloppy_files / f"hawkeye_2_46.football.samples.{kind}").read_text())
        samples = content["samples"][list_of][: 50 * (25 if kind == "centroids" else 1)]
        for minute in (46, 47):
            content["sequences"]["match-minute"] = minute
            content["samples"][list_of] = samples
            raw.append(tmp_path / f"{minute}.samples.{kind}")
            raw[-1].write_text(json.dumps(content))
    (part,) = read_tracking("hawkeye", [], [str(file) for file in raw])
    first = part.table[part.table["frame"] < 0.1]
    assert part.half == 2 and len(first) == 22
    assert sorted(first.loc[first["keeper"] == 1, "jersey"]) == [1, 21]
    assert 3000 <= part.table["frame"].max() < 3050  # the second minute after the first
    person = next(p for p in samples if p["personId"]["fifaId"] == "487487")
    x, y = person["centroid"][0]["pos"]
    row = first[(first["team"] == 0) & (first["jersey"] == 4)]
    assert row[["x", "y"]].to_numpy().ravel() == pytest.approx([0.5 + x / 105, 0.5 - y / 68])


@pytest.mark.filterwarnings("ignore")
def test_pffs_extra_time_is_on_the_pitch_and_played_from_the_same_ends(kloppy_files, tmp_path):
    """kloppy turns it by the sign of positions that run from 0 to 1: it was refused as without any."""
    meta, raw = "pff_metadata_10517.json pff_rosters_10517.json", "pff_10517.jsonl"
    parts = read_tracking("pff", paths(kloppy_files, meta), paths(kloppy_files, raw))
    assert [part.half for part in parts] == [1, 2, 3, 4]
    for part in parts:
        keepers = part.table[(part.table["keeper"] == 1)].groupby("team")[["x", "y"]].mean()
        home, away = keepers["x"] if part.half % 2 else 1 - keepers["x"]
        assert 0 <= home < 0.4 and 0.6 < away <= 1 and keepers["y"].between(0.3, 0.7).all()
    import_match(tmp_path, parts, ImportConfig())
    assert check(tmp_path).fine


@pytest.mark.filterwarnings("ignore")
def test_a_provider_that_does_not_say_who_attacks_where_must_be_told(kloppy_files):
    meta, raw = "second_spectrum_fake_metadata.xml", "second_spectrum_fake_data.jsonl"
    part = read_tracking("secondspectrum", paths(kloppy_files, meta), paths(kloppy_files, raw))[0]
    with pytest.raises(DataError, match="--left"):
        sided(part)
    assert sided(part, left=1).table["team"].tolist() == (1 - part.table["team"]).tolist()


def test_players_whom_a_provider_does_not_know_are_kept(half, gsr, tmp_path):
    motion = half[0]
    tracks = gsr()[1].query("frame < 14500")
    tracks = tracks.assign(jersey=tracks["jersey"].where(tracks["track"] % 4 > 0, -1))
    write_skillcorner([(motion, tracks)], 1, tmp_path)
    files = [[str(tmp_path / f"game_1_{name}.json")] for name in ("match", "tracking")]
    (part,) = read_tracking("skillcorner", *files)
    shown = tracks[tracks["role"] != "ball"]
    assert part.table["track"].nunique() == shown["track"].nunique() and not part.trusted
    assert (part.table["jersey"] < 0).mean() == pytest.approx((shown["jersey"] < 0).mean(), abs=0.02)


@pytest.mark.filterwarnings("ignore")
def test_kloppys_events_are_sorted_into_our_classes(kloppy_files):
    from kloppy import statsbomb

    files = paths(kloppy_files, "statsbomb_event.json statsbomb_lineup.json")
    events = read_events("statsbomb", files)
    table = pd.concat(events.values())
    counts = table["cls"].value_counts()
    raw = statsbomb.load(*files).events
    throw_ins = sum(any("THROW_IN" in str(q.value) for q in e.qualifiers or ()) for e in raw)
    assert counts[Action.THROW_IN] == throw_ins > 10
    shots = [e for e in raw if e.event_type.name == "SHOT"]
    assert counts[Action.SHOT] == sum(e.player is not None for e in shots) > 20
    assert 15 < counts[Action.CROSS] < 80 and counts[Action.PASS] > 600 and counts[Action.DRIVE] > 400
    assert sum(action_of(e) is None for e in raw) > 0


@pytest.mark.filterwarnings("ignore")
def test_events_of_no_team_are_not_ours(kloppy_files):
    """Whistles of Impect's: which way they should be turned was kloppy's traceback."""
    events = read_events("impect", paths(kloppy_files, "impect_events.json impect_lineups.json"))
    assert sum(len(table) for table in events.values()) > 1500


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("provider", "files"),
    [
        ("wyscout", "wyscout_events_v2.json"),
        ("metrica", "metrica_events.json epts_metrica_metadata.xml"),
    ],
)
def test_events_of_nobody_are_refused(kloppy_files, provider, files):
    """They were brought as a match without any events."""
    with pytest.raises(DataError, match="none of its .* names a player with a shirt number"):
        read_events(provider, paths(kloppy_files, files))


# ---------------------------------------------------------------------------------------------------
# The data provider's form


@pytest.fixture(scope="module")
def real(real_match, tmp_path_factory):
    out = tmp_path_factory.mktemp("real")
    parts, events = read_match(
        real_match / "game.json.gz",
        [real_match / "tracking_H1.json.gz"],
        [real_match / "events_H1.json.gz"],
    )
    plain = [part.noting(positions={}) for part in parts]  # no help from the line-up
    notes = import_match(out, plain, ImportConfig(game=5), events)
    return out, parts[0], events[1], notes["game_5_H1"]


def test_roles_of_a_real_match_are_its_line_ups(real):
    out, part, *_ = real
    tracks = pd.read_csv(out / "import" / "game_5_H1.csv").set_index("track")
    slots = {track: tracks["slot"][track] for track in part.positions if track in tracks.index}
    right = [Role(s % N_ROLES + 1) in ROLES_OF[part.positions[track]] for track, s in slots.items()]
    assert len(right) == 22 and sum(right) >= 18


def test_velocities_of_a_real_match_are_the_providers(real, real_match):
    import gzip

    out, part, *_ = real
    rows = read_rows(out / "val_tactical_data.h5", "game_5_H1")
    with gzip.open(real_match / "tracking_H1.json.gz") as stream:
        given = pd.DataFrame(json.load(stream)["players"])
    who = part.table.groupby("track")[["team", "jersey"]].first()
    given = given.join(who, on="playerId").assign(frame=(given["time"] / 40).round().astype(int))
    speed = np.hypot(rows[:, Tactical.VX], rows[:, Tactical.VY])
    keys = [rows[:, column].astype(int) for column in (Tactical.FRAME, Tactical.TEAM, Tactical.JERSEY)]
    found = pd.Series(
        speed, pd.MultiIndex.from_arrays(keys, names=["frame", "team", "jersey"]), name="found"
    )
    both = given[given["frame"] > 0].join(found, on=["frame", "team", "jersey"]).dropna(subset="found")
    assert len(both) > 50_000 and np.corrcoef(both["speed"], both["found"])[0, 1] >= 0.99


def test_events_of_a_real_match_are_where_its_players_are(real):
    out, _, events, notes = real
    assert check(out).fine
    shift = next(note for note in notes if note.startswith("events come"))
    assert float(shift.split()[2]) == pytest.approx(0, abs=0.3)  # they are of one clock
    counts = events["cls"].value_counts()
    expected = {
        Action.PASS: 389,
        Action.DRIVE: 296,
        Action.CROSS: 18,
        Action.THROW_IN: 27,
        Action.SHOT: 13,
    }
    expected |= {Action.HEADER: 42, Action.TACKLE: 3, Action.BLOCK: 27}
    assert {Action(k): v for k, v in counts.items()} == expected


def test_the_recorded_movement_is_that_of_the_real_match(real):
    (half,) = open_halves(real[0], "val").values()
    found = movement([half])
    for name, value in REAL.items():
        assert found[name] == pytest.approx(value, rel=0.02), name
