"""The public FOOTPASS release, or simulated tables in its place where there is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from footpass.configs import config_dataclass, read_config, write_config
from footpass.data.paths import data_dir, find, play_by_play_path, release_dir
from footpass.data.provenance import (
    REAL,
    Provenance,
    read_provenance,
    simulation,
    together,
    write_marked,
)
from footpass.events import read_ground_truth, read_predictions, select_halves
from footpass.files import DataError, make_folder
from footpass.simulate.detections import released_detectors, simulate_detections
from footpass.simulate.events import simulate_season

TRUTH_FILES = {split: play_by_play_path(split) for split in ("train", "val")}

PREDICTION_FILES = {
    model: Path("playbyplay_PRED", f"playbyplay_{model}_val.json") for model in ("TAAD", "DST")
}

_SOURCE = "source.json"  # in a folder of our own models' events; the public one has none


@config_dataclass
class _Note:
    what: str


@dataclass(frozen=True)
class Release:
    """Public event tables: ground truth of train and val, and two models' predictions on val."""

    train: pd.DataFrame
    val: pd.DataFrame
    predictions: dict[str, pd.DataFrame]  # model name (TAAD, DST) -> prediction table of the val halves
    files: tuple[Path, ...]  # what was read; empty where the tables are simulated
    provenance: Provenance = REAL  # of its matches
    made: str | None = None  # what it is, where it was written by `write_release`

    @property
    def simulated(self) -> bool:
        return self.provenance.simulated

    @property
    def source(self) -> str:
        """What it is, in words, for captions."""
        if self.made:
            return self.made
        return "simulated play-by-play" if self.simulated else "public FOOTPASS release"

    @property
    def systems(self) -> str:
        """Where its predictions come from, in words."""
        if self.made:
            return "trained here"
        return "made up by a generator" if self.simulated else "as released"


def read_release(folder: str | Path) -> Release:
    """Read a clone of the public repository, or what `write_release` wrote."""
    folder = Path(folder)
    truth = {split: read_ground_truth(folder / file) for split, file in TRUTH_FILES.items()}
    predictions = {m: read_predictions(folder / file) for m, file in PREDICTION_FILES.items()}
    files = tuple(folder / file for file in (*TRUTH_FILES.values(), *PREDICTION_FILES.values()))
    made = None
    if (folder / _SOURCE).is_file():
        made = read_config(folder / _SOURCE, _Note, "a note of write_release: delete it").what
    provenance = together(map(read_provenance, files))
    return Release(**truth, predictions=predictions, files=files, provenance=provenance, made=made)


def write_release(
    folder: str | Path,
    truth: Mapping[str, pd.DataFrame],
    predictions: Mapping[str, pd.DataFrame],
    what: str,
    provenance: Provenance,
) -> Path:
    """Write events in the layout of the public repository, for the notebooks that start from it.

    Truth is by split, predictions by model (``TAAD``, ``DST``); notebooks call it ``what``, and its
    matches come from where ``provenance`` says.
    """
    folder = Path(folder)
    tables = {file: truth[split] for split, file in TRUTH_FILES.items()}
    tables |= {file: predictions[model] for model, file in PREDICTION_FILES.items()}
    for file, table in tables.items():
        make_folder((folder / file).parent)
        write_marked(table, folder / file, provenance)
    write_config(_Note(what), folder / _SOURCE)
    return folder


def simulate_release(matches: int, seed: int = 0) -> Release:
    """Simulated stand-in: ``matches`` to train on, 3 to validate on, and two noisy detectors."""
    if matches < 1:
        raise DataError(f"{matches} matches to train on: at least 1")
    truth = simulate_season(matches + 3, seed=seed)
    halves = list(truth["half"].cat.categories)
    train, val = (select_halves(truth, part) for part in (halves[:-6], halves[-6:]))
    predictions = simulate_detections(val, released_detectors(), seed)
    return Release(train, val, predictions, (), simulation(seed, matches=matches))


def load_release(folder: str | Path | None = None, matches: int = 48, seed: int = 0) -> Release:
    """The release in ``folder``, else where `data.paths.release_dir` finds it, else a simulated one.

    ``matches`` and ``seed`` are those of the simulated one.
    """
    found = Path(folder) if folder else release_dir()
    return read_release(found) if found else simulate_release(matches, seed)


def find_train_truth(truth: str | Path) -> Path:
    """Play-by-play of train: beside that of another split, else in the data folder or the release."""
    file = TRUTH_FILES["train"]
    data, release = data_dir(), release_dir()
    places = [Path(truth).with_name(file.name)]
    places += [found] if data and (found := find(data, file)) else []
    places += [release / file] if release else []
    for place in places:
        if place.is_file():
            return place
    reason = f"no {file.name} beside it: name one with --train-truth, or set FOOTPASS_RELEASE"
    raise DataError(reason, truth)
