"""Notebook 09: a match to practise on, and what each fault of a tracker costs there."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from footpass import zoo
from footpass.data.cache import open_footage, open_halves
from footpass.data.halves import HalfMatch
from footpass.data.paths import play_by_play_path, video_path
from footpass.data.provenance import Provenance, read_provenance, together
from footpass.detectors.predict import load_detector, predict
from footpass.detectors.spotting import LogitAdjustment, events_from_logits
from footpass.detectors.windows import logits_of_versions
from footpass.events import concat, read_ground_truth
from footpass.files import fingerprint, make_folder
from footpass.importers import export
from footpass.importers.actions import actions, placed
from footpass.importers.gsr import read_gsr
from footpass.importers.match import ImportConfig, import_match
from footpass.metrics import compare, evaluate
from footpass.sequence.decode import (
    check_logits,
    load_dst,
    open_recorded,
    predict_events,
    write_predictions,
)
from footpass.sequence.sources import Recorded
from footpass.simulate.season import EDITION, FIRST_GAME, write_season
from footpass.simulate.tracker_files import write_trackers
from footpass.simulate.trackers import TrackerErrors
from footpass.training.distributed import join_processes

SPLIT = "challenge"  # of what is imported: nobody knows the truth
GAME = FIRST_GAME["val"]
OFFICIAL = "official data"
_SEED = 900  # added to the notebook's: the models in the zoo have learned from matches of other seeds

# What a good tracker of today gets wrong.
USUAL = TrackerErrors(6.0, unknown_jerseys=0.15, wrong_jerseys=0.03, noise=1.0, missed=0.05)
FAULTS: Mapping[str, TrackerErrors] = {
    "exact": TrackerErrors(),
    "broken every 30 s": TrackerErrors(30.0),
    "broken every 6 s": TrackerErrors(6.0),
    "broken every 2 s": TrackerErrors(2.0),
    "every 6 s, 5 % of jerseys wrong": TrackerErrors(6.0, wrong_jerseys=0.05),
    "every 6 s, 20 % of jerseys wrong": TrackerErrors(6.0, wrong_jerseys=0.2),
    "every 6 s, 20 % of boxes missed": TrackerErrors(6.0, missed=0.2),
    "the usual, all at once": USUAL,
}

Versions = Mapping[str, Mapping[str, HalfMatch]]  # of a match: by name, halves by name


@dataclass(frozen=True)
class PracticeMatch:
    """A simulated match in official files, with what a tracker would make of it."""

    folder: Path
    minutes: float
    seed: int
    workers: int | None = None

    @property
    def video(self) -> Path:
        return self.folder / video_path(f"game_{GAME}")

    @property
    def provenance(self) -> Provenance:
        return read_provenance(self.folder / play_by_play_path("val"))

    @property
    def truth(self) -> pd.DataFrame:
        return read_ground_truth(self.folder / play_by_play_path("val"))

    def tracks(self, errors: TrackerErrors, folder: Path | None = None) -> list[Path]:
        """Write its game state as a tracker with such errors sees it, a file a half."""
        out = write_trackers(
            folder or self.folder, "gsr", errors, 1, self.minutes, self.seed, "val", self.workers
        )
        return sorted(out.glob("*.json"))

    def versions(self) -> Versions:
        """Its official data, and what is imported of its tracks with each of `FAULTS`."""
        found: dict[str, Mapping[str, HalfMatch]] = {OFFICIAL: open_halves(self.folder, "val")}
        for number, (name, errors) in enumerate(FAULTS.items()):
            folder = empty(self.folder / "versions" / str(number))
            files = self.tracks(errors, folder)
            import_match(folder, [read_gsr(file) for file in files], ImportConfig(SPLIT, GAME))
            for file in files:
                file.unlink()  # hundreds of megabytes
            found[name] = open_halves(folder, SPLIT)
        return found


def practice_match(folder: Path, minutes: float, seed: int, workers: int | None) -> PracticeMatch:
    """Simulate a match, video included, below ``folder`` and its settings, unless it is there."""
    seed += _SEED
    folder = folder.with_name(f"{folder.name}-{fingerprint(minutes, seed, EDITION)[:8]}")
    if not (folder / play_by_play_path("val")).is_file():  # which is written last
        write_season(folder, 1, minutes, seed, "val", workers=workers)
    return PracticeMatch(folder, minutes, seed, workers)


def empty(folder: Path) -> Path:
    """A folder without what an earlier run has left there: an import replaces nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    return folder


class Models(NamedTuple):
    """A detector's checkpoint and what its logits need, and a DST's that reads them (None: no DST)."""

    detector: Path
    adjustment: LogitAdjustment
    dst: Path | None


def models(detector: str, dst: str | None) -> Models:
    """The checkpoints that are named, as ``zoo:NAME`` or by their files."""
    writer = zoo.resolve(dst) if dst else None
    return Models(zoo.resolve(detector), zoo.adjustment(detector), writer)


def spotted(folder: Path, run_dir: Path, models: Models) -> dict[str, pd.DataFrame]:
    """Events that a TAAD, and a DST that reads its logits, find in an imported match.

    They are written to ``TAAD`` and ``DST`` in ``run_dir``, and the logits to the former.
    """
    runs, device = {name: run_dir / name for name in ("TAAD", "DST")}, join_processes()
    footage = open_footage(folder, SPLIT)
    taad = predict(models.detector, footage, runs["TAAD"], SPLIT, device, adjustment=models.adjustment)
    events = {"TAAD": taad}
    if models.dst:
        halves = open_recorded(folder, SPLIT, [runs["TAAD"]])
        check_logits(models.dst, together(half.provenance for half in halves.values()).models)
        events["DST"] = write_predictions(models.dst, halves, runs["DST"], SPLIT, device)
    return events


def exported(events: pd.DataFrame, halves: Mapping[str, HalfMatch], folder: Path) -> pd.DataFrame:
    """Write events for other tools, and list the files."""
    make_folder(folder)
    table = actions(events, halves)
    rows = []
    for what, name, write in (
        ("spreadsheets", "events.csv", export.write_csv),
        ("OpenSportsLib", "osl.json", export.write_osl),
        ("socceraction: xT, VAEP", "spadl.csv", export.write_spadl),
        ("clips in Sportscode", "sportscode.xml", export.write_sportscode),
        ("subtitles", "events.srt", export.write_srt),
    ):
        mine = placed(table) if write is export.write_spadl else table
        write(mine, folder / name)
        rows.append({"file": name, "for": what, "events": len(mine)})
    return pd.DataFrame(rows)


def events_of_versions(
    versions: Versions, video: Path, models: Models
) -> dict[str, dict[str, pd.DataFrame]]:
    """Events that a TAAD, and a DST that reads its logits, find in each version of a match.

    Returns
    -------
    dict
        Model -> version -> events.
    """
    device = join_processes()
    model, clips = load_detector(models.detector)
    seen: dict[str, dict[str, Recorded]] = {name: {} for name in versions}
    for half in next(iter(versions.values())):
        every = [halves[half] for halves in versions.values()]
        start, stop = max(one.first_frame for one in every), min(one.end_frame for one in every)
        every = [one.window(start, stop) for one in every]
        volumes = logits_of_versions(model.to(device), every, video, clips)
        for name, one, logits in zip(versions, every, volumes, strict=True):
            seen[name][half] = Recorded(one, logits)
    events: dict[str, dict[str, pd.DataFrame]] = {"TAAD": {}}
    for name, halves in seen.items():
        tables = (
            events_from_logits(one.logits[0], one.half, adjustment=models.adjustment)
            for one in halves.values()
        )
        events["TAAD"][name] = concat(tables)
    if models.dst:
        writer, windows = load_dst(models.dst)
        writer = writer.to(device)
        events["DST"] = {n: predict_events(writer, halves, windows) for n, halves in seen.items()}
    return events


def costs(
    events: Mapping[str, Mapping[str, pd.DataFrame]], truth: pd.DataFrame, seed: int = 0
) -> pd.DataFrame:
    """Macro F1 of each model on each version, and its change against the official data.

    Returns
    -------
    pd.DataFrame
        By ``tracks``: ``model, macro F1, against, change, low, high``, the last two of a paired 90 %
        interval.
    """
    rows = []
    for model, tables in events.items():
        results = {name: evaluate(table, truth) for name, table in tables.items()}
        comparison = compare(results, OFFICIAL, block_minutes=0.5, seed=seed)
        for name, gain in comparison.gains.items():
            score, against = comparison.scores[name].value, f"{model}, {OFFICIAL}"
            rows.append((name, model, score, against, gain.value, gain.low, gain.high))
    columns = ["tracks", "model", "macro F1", "against", "change", "low", "high"]
    return pd.DataFrame(rows, columns=columns).set_index("tracks")
