"""From a video and tracks to events, pictures and a page, with weights that know nothing yet."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch

from footpass.__main__ import main
from footpass.cli.spot import named
from footpass.data.video import probe, write_video
from footpass.detectors.clips import ClipConfig
from footpass.events import read_predictions
from footpass.files import locked
from footpass.models.gnn import TAADGNN, GNNConfig
from footpass.models.taad import TAAD, TAADConfig
from footpass.models.x3d import X3DConfig
from footpass.schema import Action
from footpass.training.checkpoints import save_checkpoint
from tests.importers.rows import ELEVEN, annotation, game_state
from tests.test_side_by_side import elsewhere

LENGTH = 30
SMALL = X3DConfig(stem=4, widths=(4, 8, 8, 8), depths=(1, 1, 1, 1))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Untrained checkpoints of both detectors."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    clips = asdict(ClipConfig(frames=16, size=(64, 96), earliest=1, latest=14))
    graph = GNNConfig(width=8, visual=8, graph=8, head=16, x3d=SMALL)
    for model in (TAAD(TAADConfig(width=8, head=16, x3d=SMALL)), TAADGNN(graph)):
        kind = type(model).__name__
        config = {
            "kind": kind,
            "model": asdict(model.config),
            "about": {"clips": clips, "provenance": {"simulated": True}},
        }
        save_checkpoint(folder / f"{kind}.pt", config, {"model": model.state_dict(), "row": {}})
    return folder


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    rng = np.random.default_rng(0)
    write_video(path, rng.integers(0, 255, (LENGTH, 352, 640, 3), np.uint8))
    return path


def tracks(folder, placed=True):
    entries = []
    for frame in range(LENGTH):
        for side in (0, 1):
            for place, (x, y) in enumerate(ELEVEN.values()):
                at = (x - 52.5, y - 34) if side == 0 else (52.5 - x, 34 - y)
                entry = annotation(
                    frame, 20 * side + place, *at, str(place + 2), ("left", "right")[side]
                )
                entry["bbox_image"] = {"x": 960 + 8 * at[0], "y": 500 + 8 * at[1], "w": 40, "h": 90}
                entry["attributes"]["role"] = "goalkeeper" if place == 0 else "player"
                if not placed:
                    entry["bbox_pitch"] = None
                entries.append(entry)
    return game_state(folder / "tracks.json", entries, images=[{"height": 1080, "width": 1920}])


def test_a_clip_becomes_events_a_table_a_video_and_a_page(weights, video, tmp_path, capsys):
    out = tmp_path / "out"
    given = (str(video), "--tracks", str(tracks(tmp_path)), "--out", str(out))
    assert main(["spot", *given, "--checkpoint", str(weights / "TAADGNN.pt")]) == 0
    said = capsys.readouterr().out
    assert "weights: TAADGNN of" in said and "never seen a real player" in said
    events = read_predictions(out / "predictions_challenge.json")
    table = pd.read_csv(out / "game_1_H1.csv")
    assert len(table) == (events["score"] >= 0.15).sum() > 0
    assert probe(out / "game_1_H1.mp4").n_frames == LENGTH
    assert (out / "game_1_H1.html").stat().st_size > 10_000
    track = 20 * (table["team"] == "right") + table["jersey"] - 2  # as the tracks were made
    assert table["track"].tolist() == track.tolist()
    # Once more, as after a break: nothing is watched again. Of other tracks, the folder is refused.
    logits = (out / "logits").glob("*.h5")
    made = {path: path.stat().st_mtime_ns for path in logits}
    assert main(["spot", *given, "--checkpoint", str(weights / "TAADGNN.pt")]) == 0
    assert made and all(path.stat().st_mtime_ns == when for path, when in made.items())
    other = (*given, "--checkpoint", str(weights / "TAADGNN.pt"), "--left", "left")
    assert main(["spot", *other]) == 2
    assert "holds another match" in capsys.readouterr().err


def test_tracks_without_a_box_are_refused_and_columns_are_named(weights, video, tmp_path, capsys):
    rows = "".join(f"{n},{n % 4},{5 + n % 40},{n % 30},left\n" for n in range(100))
    (tmp_path / "t.csv").write_text("FRAME,track,px,py,team\n" + rows)
    given = [str(video), "--tracks", str(tmp_path / "t.csv"), "--out", str(tmp_path / "out")]
    assert main(["spot", *given, "--checkpoint", str(weights / "TAAD.pt")]) == 2
    assert "say which is which with --columns" in capsys.readouterr().err
    given += ["--columns", "frame=FRAME"]
    assert main(["spot", *given, "--checkpoint", str(weights / "TAAD.pt")]) == 2
    assert "no boxes in the tracks" in capsys.readouterr().err


@pytest.mark.parametrize("dst", ["zoo:dst", "zoo:dst-gnn"])
def test_a_dst_of_another_detectors_logits_is_refused_at_once(dst, video, tmp_path, capsys):
    given = (str(video), "--tracks", str(tracks(tmp_path)), "--out", str(tmp_path / "out"))
    assert main(["spot", *given, "--checkpoint", "zoo:gnn", "--dst", dst]) == 2
    assert "it learned from logits of TAAD" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_of_two_at_once_the_second_says_who_is_there(weights, video, tmp_path, capsys):
    given = (str(video), "--tracks", str(tracks(tmp_path)), "--out", str(tmp_path / "out"))
    with locked(tmp_path / "out"):
        assert elsewhere(main, ["spot", *given, "--checkpoint", str(weights / "TAAD.pt")]) == 2
    assert "is at work there: wait for it, or choose another folder" in capsys.readouterr().err
    assert not (tmp_path / "out" / "data").exists()


def test_without_positions_taad_works_alone_and_the_graph_says_what_it_needs(
    weights, video, tmp_path, capsys
):
    given = [str(video), "--tracks", str(tracks(tmp_path, placed=False))]
    alone = ["--out", str(tmp_path / "a"), "--checkpoint", str(weights / "TAAD.pt")]
    assert main(["spot", *given, *alone]) == 0
    assert len(read_predictions(tmp_path / "a" / "predictions_challenge.json"))
    capsys.readouterr()
    other = ["--out", str(tmp_path / "b"), "--checkpoint", str(weights / "TAADGNN.pt")]
    assert main(["spot", *given, *other]) == 2
    assert "GNN and DST need them" in capsys.readouterr().err


def test_an_event_of_a_player_without_a_jersey_names_his_track(tmp_path):
    path = tmp_path / "tracks.csv"
    header = "track,team,jersey,start,stop,readings,how,player,slot"
    path.write_text(f"{header}\n7,0,-1,0,99,0,alone,0,3\n8,0,-1,0,99,0,alone,1,4\n")
    event = {"frame": 60, "team": 0, "jersey": -1, "cls": int(Action.PASS), "score": 0.5, "slot": 4}
    row = named(pd.DataFrame([event]), path).iloc[0]
    assert (row["time"], row["action"], row["track"]) == ("00:02.40", "pass", 8)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (("--seconds", "nan"), "--seconds nan: not a length"),
        (("--checkpoint", "TAADGNN.pt"), "no pitch positions in the tracks: TAAD alone can do without"),
        (("--tracks", "nowhere.json"), "nowhere.json: cannot be read"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_nothing_is_written(
    weights, video, tmp_path, capsys, given, reason
):
    words = [str(video), "--tracks", str(tracks(tmp_path, placed=False)), "--out", str(tmp_path / "out")]
    words += ["--checkpoint", str(weights / "TAAD.pt")]
    given = [str(weights / word) if word.endswith(".pt") else word for word in given]
    assert main(["spot", *words, *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and reason in line
    assert not (tmp_path / "out").exists()
