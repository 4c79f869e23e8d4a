"""Trained weights that come with the package, each with a card that says what it is.

A model is two files of this folder: ``NAME.pt``, a checkpoint with matrices in half precision, and
``NAME.json``, its card. Wherever a command takes a checkpoint, ``zoo:NAME`` names one.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from footpass.configs import Count, Share, config_dataclass, read_config, write_config
from footpass.files import DataError

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from footpass.data.cache import Footage
    from footpass.detectors.spotting import LogitAdjustment

ZOO = Path(__file__).parent
PREFIX = "zoo:"


@config_dataclass
class Score:
    """Macro F1 with its 90 % interval, on matches that neither the model nor its choice has seen."""

    matches: str
    minutes: Annotated[float, Field(gt=0)]
    macro_f1: Share
    low: Share
    high: Share


@config_dataclass
class Card:
    """What one should know of a model before using it.

    Attributes
    ----------
    what
        One sentence.
    kind
        Class of the model.
    data
        What it was trained on.
    seed
        Of the training.
    revision
        Of the code that trained it.
    parameters
        Their number.
    limits
        What it is bad at, or must not be used for.
    scores
        On matches that it has not seen.
    frames_per_second
        Of video, or of a half's logits for a sequence model, on two cores.
    check
        Micro F1 on the small match of `experiments.publishing.trial`, which a test repeats.
    reads
        Names of the models whose logits a sequence model reads, in their order.
    smoothing, offsets
        A detector's `LogitAdjustment`, fitted on matches that it has not learned from.
    sha256
        Of the weights' file.
    """

    what: str
    kind: str
    data: str
    seed: Count
    revision: str
    parameters: Count
    limits: str
    licence: str
    scores: Annotated[tuple[Score, ...], Field(max_length=20)]
    frames_per_second: Annotated[float, Field(ge=0)] = 0.0
    check: Share = 0.0
    reads: Annotated[tuple[str, ...], Field(max_length=4)] = ()
    smoothing: float = 0.0
    offsets: Annotated[tuple[float, ...], Field(max_length=9)] = ()
    sha256: str = ""


def cards(folder: Path = ZOO) -> dict[str, Card]:
    """All models by name."""
    paths = sorted(folder.glob("*.json"))
    return {path.stem: read_config(path, Card, "the card of a model") for path in paths}


def card(name: str, folder: Path = ZOO) -> Card:
    """The card of a model."""
    known = cards(folder)
    if name not in known:
        raise DataError(f"no model {name!r} in the zoo; it has {', '.join(known) or 'none'}")
    return known[name]


def weights(name: str, folder: Path = ZOO) -> Path:
    """File of a model's weights, refused where it is not the one that its card is of."""
    known, path = card(name, folder), folder / f"{name}.pt"
    if not path.is_file():
        raise DataError("has a card and is not there: install the package anew", path)
    if _sha256(path) != known.sha256:
        raise DataError("not the weights that its card is of: install the package anew", path)
    return path


def resolve(checkpoint: str | Path) -> Path:
    """Where a checkpoint lies: ``zoo:NAME`` is a model of the zoo, all else a path."""
    name = str(checkpoint)
    return weights(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else Path(checkpoint)


def adjustment(checkpoint: str | Path, folder: Path = ZOO) -> "LogitAdjustment":
    """What a detector's logits need: ``zoo:NAME`` has it on its card, all else needs nothing."""
    from footpass.detectors.spotting import UNADJUSTED, LogitAdjustment

    name = str(checkpoint)
    if not name.startswith(PREFIX):
        return UNADJUSTED
    known = card(name.removeprefix(PREFIX), folder)
    return LogitAdjustment(known.smoothing, known.offsets) if known.offsets else UNADJUSTED


def load(name: str, folder: Path = ZOO) -> "nn.Module":
    """A model of the zoo on the CPU, in single precision and in evaluation mode."""
    from footpass.detectors.predict import load_detector
    from footpass.sequence.decode import load_dst

    path = weights(name, folder)
    model = (load_dst if card(name, folder).reads else load_detector)(path)[0]
    return model.eval()


def spot(name: str, footage: "Mapping[str, Footage]", folder: Path = ZOO) -> "pd.DataFrame":
    """Events that a detector of the zoo finds in halves with their videos; nothing is written.

    Parameters
    ----------
    footage
        As of `data.cache.open_footage`.
    """
    import numpy as np

    from footpass.detectors.predict import load_detector
    from footpass.detectors.spotting import events_from_logits
    from footpass.detectors.windows import half_logits
    from footpass.events import concat

    model, clips = load_detector(weights(name, folder))
    adjusted = adjustment(PREFIX + name, folder)
    tables = []
    for entry in footage.values():
        parts = [part.astype(np.float16) for _, part in half_logits(model, entry, clips)]  # as stored
        logits = np.concatenate(parts, axis=-1)
        found = events_from_logits(
            logits, entry.half, without_box=model.without_box, adjustment=adjusted
        )
        tables.append(found)
    return concat(tables)


def add(
    name: str,
    checkpoint: str | Path,
    card: Card,
    folder: Path = ZOO,
    renamed: Mapping[str, str] | None = None,
) -> Card:
    """Put a trained model into the zoo; its card gets its ``sha256``.

    Matrices are kept in half precision. All else is little, and a batch norm's variance may be too small
    for it.

    Parameters
    ----------
    renamed
        What the models whose logits it learned from are called here (`Provenance.models`).
    """
    from footpass.training.checkpoints import load_checkpoint, save_checkpoint, trained_weights

    content = load_checkpoint(checkpoint)
    config = _renamed(content["config"], renamed or {})
    path = folder / f"{name}.pt"
    save_checkpoint(path, config, {"model": _half(trained_weights(content)), "row": {}})
    card = replace(card, sha256=_sha256(path))
    write_config(card, folder / f"{name}.json", indent=1)
    return card


def _half(state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: part.half() if part.is_floating_point() and part.dim() > 1 else part
        for name, part in state.items()
    }


def _renamed(config: Any, names: Mapping[str, str]) -> Any:
    if isinstance(config, dict):
        return {key: _renamed(value, names) for key, value in config.items()}
    if isinstance(config, list):
        return [_renamed(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
