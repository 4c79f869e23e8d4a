"""Folds: for each train match a detector that has not learned from it.

What a detector says of matches that it has learned from is better than what it says of new ones. A
DST that learns from the former trusts it too much.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from footpass.configs import plain
from footpass.data.cache import Footage
from footpass.data.logits import half_fingerprint
from footpass.data.provenance import together
from footpass.events import match_of
from footpass.files import DataError
from footpass.models.public import is_public
from footpass.schema import counted
from footpass.training.checkpoints import checkpoint_path, load_checkpoint

log = logging.getLogger(__name__)


class Fold(NamedTuple):
    """A detector that learns from all matches but its own."""

    dir: Path
    footage: dict[str, Footage]  # what it learns from
    about: dict[str, Any]  # the same, for its checkpoints: fingerprints by half
    start: Path | None  # checkpoint to go on from


def fold_dir(run_dir: str | Path, number: int) -> Path:
    """The folder of one fold of a run."""
    return Path(run_dir, f"fold{number}")


def make_folds(
    run_dir: str | Path, count: int, footage: Mapping[str, Footage], start: Path | None = None
) -> list[Fold]:
    """Folds of the matches in their order: fold k holds out every ``count``-th from the k-th on.

    ``start`` is a checkpoint, or the folder of a run with the same folds: each goes on from its like.
    """
    matches = list(dict.fromkeys(map(match_of, footage)))
    if not 2 <= count <= len(matches):
        given = f"{counted(count, 'fold')} of {counted(len(matches), 'match')}"
        raise DataError(f"{given}: take at least 2, each with a match of its own")
    known = {name: half_fingerprint(entry.half) for name, entry in footage.items()}
    if start and start.is_dir():
        starts: dict[str, Path | None] = {**held_out_by(start, footage)}
    else:
        starts = dict.fromkeys(footage, start)
        _warn_of(start, footage)
    folds = []
    for number in range(count):
        held_out = {name for name in footage if match_of(name) in matches[number::count]}
        begin, *others = {starts[name] for name in held_out}
        if others:
            raise DataError(f"its folds are not the {count} to be trained: take as many", start)
        part = {name: entry for name, entry in footage.items() if name not in held_out}
        about = {"learned": {name: known[name] for name in part}}
        folds.append(Fold(fold_dir(run_dir, number), part, about, begin))
    return folds


def _warn_of(start: Path | None, footage: Mapping[str, Footage]) -> None:
    """Say where all folds may start from a detector that has learned from what they hold out."""
    if start is None:
        return
    data = plain(together(entry.half.provenance for entry in footage.values()))
    if is_public(start) or load_checkpoint(start)["config"]["about"].get("provenance") == data:
        log.warning("%s: if it has learned from these matches, no fold holds them out", start)


def held_out_by(run_dir: str | Path, footage: Mapping[str, Footage]) -> dict[str, Path]:
    """Of each half the checkpoint of the one fold that holds its match out.

    The checkpoints say what they have learned from; they must be these very halves.
    """
    known = {name: half_fingerprint(entry.half) for name, entry in footage.items()}
    folds = sorted(checkpoint_path(folder) for folder in Path(run_dir).glob("fold*"))
    if not folds:
        raise DataError("no folds there: train with --folds first", run_dir)
    without: dict[str, list[Path]] = {name: [] for name in footage}
    for path in folds:
        learned = load_checkpoint(path)["config"]["about"].get("learned", {})
        for name, seen in learned.items():
            if known.get(name) != seen:
                raise DataError("the fold learned from another, of another season?", path, name)
        matches = set(map(match_of, learned))
        for name in footage:
            if match_of(name) not in matches:
                without[name].append(path)
    for name, paths in without.items():
        if len(paths) != 1:
            reason = f"{counted(len(paths), 'fold')} of {len(folds)} hold its match out, not one"
            raise DataError(f"{reason}: train them all on these data", run_dir, name)
    return {name: path for name, (path,) in without.items()}
