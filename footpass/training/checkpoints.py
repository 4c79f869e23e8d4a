"""Checkpoints: weights with the config they are of, whole or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from footpass.configs import build
from footpass.files import DataError, atomic_write


def checkpoint_path(run_dir: str | Path) -> Path:
    """The best checkpoint of a run."""
    return Path(run_dir, BEST)


LAST, BEST, LOG = "last.pt", "best.pt", "log.jsonl"  # in the run directory


def load_checkpoint(path: str | Path, expected: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What `training.train` saved, on the CPU.

    Parameters
    ----------
    expected
        What its config must agree with, as far as it is given here.

    Returns
    -------
    dict
        ``model`` (weights), ``config``, and ``row`` (figures of the best epoch) or what going on takes.
        The config is ``{"kind": "TAAD", "model": {...}, "train": {...}, "samples": n, "about": {...}}``,
        with values for `configs.build`.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        config = content["config"]
        content["model"].keys(), config.keys()
    except FileNotFoundError as error:
        raise DataError("no such checkpoint", path) from error
    except Exception as error:  # torch.load raises anything from EOFError to UnpicklingError
        raise DataError(
            f"damaged, or no checkpoint of this project ({type(error).__name__})", path
        ) from error
    for section, wanted in (expected or {}).items():
        parts = wanted if isinstance(wanted, Mapping) else {None: wanted}
        for name, value in parts.items():
            found = config.get(section)
            found = found.get(name) if name is not None else found
            if found != value:
                place = section if name is None else f"{section}.{name}"
                raise DataError(f"of another config: {place} is {found!r} there, not {value!r}", path)
    return content


def load_model(path: str | Path, kinds: Mapping[type[nn.Module], type]) -> tuple[Any, dict[str, Any]]:
    """The model of a checkpoint, on the CPU, and the checkpoint's config.

    Parameters
    ----------
    kinds
        Models that it may be of, and the classes of their configs.
    """
    content = load_checkpoint(path)
    config = content["config"]
    known = {kind.__name__: (kind, sizes) for kind, sizes in kinds.items()}
    if config.get("kind") not in known:
        wanted = "one of " + ", ".join(known)
        raise DataError(f"of another config: kind is {config.get('kind')!r}, not {wanted}", path)
    kind, sizes = known[config["kind"]]
    model = kind(build(sizes, config["model"]))
    load_weights(model, content, path)
    return model, config


def load_weights(model: nn.Module, content: Mapping[str, Any], path: str | Path) -> None:
    """Take the weights of a checkpoint that `load_checkpoint` has read."""
    try:
        model.load_state_dict(content["model"])
    except RuntimeError as error:  # a line for every tensor that differs
        _, first, *others = map(str.strip, f"{error}\n".splitlines())
        more = f" (and {len(others)} more)" if others else ""
        reason = f"its weights are not of this {type(model).__name__}: {first:.300}{more}"
        raise DataError(reason, path) from error


def save_checkpoint(path: Path, config: Mapping, content: Mapping) -> None:
    """Write a checkpoint, or leave the one that is there."""
    with atomic_write(path, "wb") as stream:
        try:
            torch.save({"config": config, **content}, stream)
        except RuntimeError as error:  # torch's own, raised over the one that says why
            raise (error.__context__ or error) from None
