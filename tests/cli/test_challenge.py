"""A challenge entry, tried out on synthetic matches, with the commands that README gives."""

import json
import zipfile

import pytest

from footpass.__main__ import main
from footpass.data.cache import open_halves
from footpass.data.provenance import read_provenance
from footpass.events import halves_of, predictions_path, read_predictions, write_events
from footpass.schema import SPLITS, Action
from footpass.simulate.season import HIDDEN_TRUTH
from footpass.training.checkpoints import LAST
from tests.tables import truth


def footpass(capsys, *arguments) -> str:
    """Run a command that must succeed; what it prints."""
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """Folders of a synthetic season without labels of its challenge, and of a detector trained on it."""
    folder = tmp_path_factory.mktemp("rehearsal")
    data, run = folder / "data", folder / "run"
    size = ("--matches", "1", "--minutes", "0.2", "--workers", "1")
    commands = [("simulate", "--out", data, "--split", split, *size) for split in SPLITS]
    what = ("--data", data, "--out", run, "--profile", "smoke", "--variant", "transformer")
    for command in (*commands, ("train", "taad", *what)):
        assert main([str(word) for word in command]) == 0
    return data, run


def test_from_an_unlabelled_split_to_a_submission(rehearsal, tmp_path, capsys):
    (data, run), entry = rehearsal, tmp_path / "entry"
    assert "all fine" in footpass(capsys, "check", data)
    assert "challenge: 2 halves" in footpass(capsys, "prepare", data)

    best = ("--checkpoint", run / "best.pt", "--data", data, "--out", run)
    learned = run / "adjustment.json"
    said = footpass(capsys, "predict", *best, "--split", "val", "--fit-adjustment", learned)
    assert f"{learned}: for --adjustment" in said
    footpass(capsys, "predict", *best, "--split", "challenge", "--adjustment", learned)
    unlabelled = ("predict", *best, "--split", "challenge", "--fit-adjustment", learned)
    assert main([str(part) for part in unlabelled]) == 2
    assert "a challenge half has no labels" in capsys.readouterr().err

    known = ("--predictions", run / "predictions_val.json", "--evidence", run / "logits_val.h5")
    labels = ("--ground-truth", data / "playbyplay_GT" / "playbyplay_val.json")
    entry.mkdir()
    steps = entry / "steps.json"
    footpass(capsys, "postprocess", "fit", *known, *labels, "--data", data, "--out", steps)
    unknown = (
        *("--predictions", run / "predictions_challenge.json", "--data", data, "--split", "challenge"),
        *("--evidence", run / "logits_challenge.h5", "--model", steps),
    )
    final = entry / "final.json"
    footpass(capsys, "postprocess", "apply", *unknown, "--out", final)
    known_places = ("--data", data, "--out", entry / "entry.zip")
    footpass(capsys, "submit", "--predictions", final, *known_places)
    for wrong, reason in (
        ("predictions_val", "they are of val"),
        ("late", "is not within"),
    ):
        events = read_predictions(final)
        write_events(events.assign(frame=events["frame"] + 10**6), run / "late.json")
        arguments = ("submit", "--predictions", run / f"{wrong}.json", *known_places)
        assert main([str(part) for part in arguments]) == 2
        assert reason in capsys.readouterr().err

    halves = list(open_halves(data, "challenge"))
    with zipfile.ZipFile(entry / "entry.zip") as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".json")]
        submitted = json.loads(archive.read(name))
    assert list(submitted["keys"]) == halves and list(submitted["events"]) == halves
    # Only the simulator knows the truth, and only now is it asked.
    score = ("evaluate", "--predictions", final, "--ground-truth", data / HIDDEN_TRUTH)
    assert "macro F1" in footpass(capsys, *score)


def test_four_members_to_one_entry(rehearsal, tmp_path, capsys):
    """Logits with test-time augmentation, four DSTs, their events fused by rule and re-scored."""
    (data, run), out = rehearsal, tmp_path
    augmented = ("--mirrored", "--stride", 4)
    for split in SPLITS:
        given = ("--data", data, "--split", split, "--out", out / "taad")
        footpass(capsys, "predict", "--checkpoint", run / "best.pt", *given, *augmented)
    logits = ("--data", data, "--logits", out / "taad")
    what = (*logits, "--out", out / "members", "--profile", "smoke")
    footpass(capsys, "train", "dst", *what, "--variant", *"ABCD")
    files = {}
    for split in ("val", "challenge"):
        for member in (out / "members" / name for name in "ABCD"):
            given = ("--checkpoint", member / LAST, *logits, "--split", split, "--out", member)
            footpass(capsys, "predict", *given)
        files[split] = [predictions_path(out / "members" / name, split) for name in "ABCD"]

    published = ("--exponent", 0.5, "--agreement", 2, "--except", "tackle", "--out", out / "fused.json")
    footpass(capsys, "fuse", "--predictions", *files["challenge"], *published)
    labels = ("--ground-truth", data / "playbyplay_GT" / "playbyplay_val.json", "--profile", "smoke")
    model = ("rescore", "fit", "--predictions", *files["val"], *labels, "--out", out / "model.json")
    assert "fitted on 4 prediction files" in footpass(capsys, *model)
    apply = ("--predictions", *files["challenge"], "--model", out / "model.json")
    footpass(capsys, "rescore", "apply", *apply, "--out", out / "rescored.json")
    for name in ("fused", "rescored"):
        given = ("--predictions", out / f"{name}.json", "--data", data, "--out", out / f"{name}.zip")
        said = footpass(capsys, "submit", *given)
        assert f"in 2 halves: {', '.join(open_halves(data, 'challenge'))}" in said
        made = read_provenance(out / f"{name}.json").models
        assert made[0].startswith(("fuse", "rescore")) and sum(m.startswith("DST ") for m in made) == 4
        score = ("--predictions", out / f"{name}.json", "--ground-truth", data / HIDDEN_TRUTH)
        assert "macro F1" in footpass(capsys, "evaluate", *score)


@pytest.fixture
def events(tmp_path):
    """Events of two matches, with themselves as evidence."""
    halves = ("game_1_H1", "game_2_H1")
    rows = [(half, 10 * k, 0, k, Action.PASS, True, False) for half in halves for k in range(1, 6)]
    table = truth(*rows, halves=halves)
    write_events(table, tmp_path / "truth.json")
    write_events(table.assign(score=0.9), tmp_path / "events.json")
    return tmp_path


def steps(events, capsys, action, *arguments) -> tuple[int, str]:
    files = ("--predictions", events / "events.json", "--evidence", events / "events.json")
    code = main(["postprocess", action, *map(str, (*files, *arguments))])
    return code, capsys.readouterr().err


def test_fitted_steps_are_saved_and_applied(events, capsys):
    out = ("--ground-truth", events / "truth.json", "--out")
    assert steps(events, capsys, "fit", *out, events / "steps.json")[0] == 0
    saved = ("--model", events / "steps.json", "--out", events / "applied.json")
    assert steps(events, capsys, "apply", *saved)[0] == 0
    assert steps(events, capsys, "lomo", *out, events / "lomo.json")[0] == 0
    for name in ("applied", "lomo"):
        done = read_predictions(events / f"{name}.json")
        assert halves_of(done) == ["game_1_H1", "game_2_H1"] and len(done) == 10


@pytest.mark.parametrize(
    "content, reason",
    [
        ("[]", "not fitted steps"),
        ('{"format": "footpass postprocess 1"}', "steps"),
        (
            '{"format": "footpass postprocess 1", "steps": {"gate": {"window": "x"}}}',
            "gate.window = 'x'",
        ),
        ('{"format": "footpass postprocess 1", "steps": {"nms": {"window": -1}}}', "nms.window = -1"),
        ('{"format": "footpass postprocess 1", "steps": {"blur": null}}', "blur: no such field"),
    ],
)
def test_what_is_no_file_of_steps_is_refused(events, capsys, content, reason):
    (events / "steps.json").write_text(content)
    saved = ("--model", events / "steps.json", "--out", events / "applied.json")
    code, error = steps(events, capsys, "apply", *saved)
    assert code == 2 and "steps.json" in error and reason in error
    assert not (events / "applied.json").exists()


def test_evidence_of_another_split_is_refused(events, tmp_path, capsys):
    other = read_predictions(events / "events.json")
    other["half"] = other["half"].cat.rename_categories(lambda half: half.replace("game_", "game_9"))
    write_events(other, tmp_path / "other.json")
    files = ("--predictions", events / "events.json", "--evidence", tmp_path / "other.json")
    truth = ("--ground-truth", events / "truth.json", "--out", tmp_path / "lomo.json")
    assert main(["postprocess", "lomo", *map(str, (*files, *truth))]) == 2
    assert "other.json: no half of" in capsys.readouterr().err


def test_logits_need_tactical_data(events, capsys):
    files = ("--predictions", events / "events.json", "--evidence", events / "logits.h5")
    needed = ("--ground-truth", events / "truth.json", "--out", events / "steps.json")
    assert main(["postprocess", "fit", *map(str, (*files, *needed))]) == 2
    assert "--data" in capsys.readouterr().err
