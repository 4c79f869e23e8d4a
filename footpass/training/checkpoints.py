"""Checkpoints: weights with the config they are of, whole or not at all."""

import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import is_dataclass
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from footpass.configs import Config, build, plain
from footpass.files import DataError, atomic_write


def checkpoint_path(run_dir: str | Path) -> Path:
    """The best checkpoint of a run."""
    return Path(run_dir, BEST)


Model = TypeVar("Model", bound=nn.Module)
LAST, BEST, LOG = "last.pt", "best.pt", "log.jsonl"  # in the run directory


def load_checkpoint(
    path: str | Path, expected: Mapping[str, Any] | None = None, ignored: Collection[str] = ()
) -> dict[str, Any]:
    """What `training.loop.train` saved, on the CPU.

    Its config must agree with ``expected``, plain values or configs, as far as that goes and but for the
    names ``ignored``.

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
        reason = f"damaged, or no checkpoint of this project ({type(error).__name__})"
        if isinstance(error, (KeyError, TypeError, AttributeError)):  # it was read, and is not of ours
            reason += ": predict and spot take the public repository's with --public"
        raise DataError(reason, path) from error
    _check_config(config, expected or {}, "", ignored, path)
    return content


def _check_config(
    found: Any, wanted: Any, place: str, ignored: Collection[str], path: str | Path
) -> None:
    """Refuse a checkpoint whose config is another than what is wanted."""
    if is_dataclass(wanted):  # a file may be older than a field, or have another name for it
        try:
            found, wanted = plain(build(type(wanted), found)), plain(wanted)
        except DataError as error:
            raise DataError(f"of another config: {place}: {error.reason}", path) from error
    if isinstance(wanted, Mapping):
        parts = found if isinstance(found, Mapping) else {}
        older = wanted.keys() - parts.keys() if place == "about" else ()  # than that this is recorded
        for name in (name for name in wanted if name not in ignored and name not in older):
            inner = f"{place}.{name}" if place else name
            _check_config(parts.get(name), wanted[name], inner, ignored, path)
    elif found != json.loads(json.dumps(wanted)):  # lists for tuples
        raise DataError(f"of another config: {place} is {found!r:.80} there, not {wanted!r:.80}", path)


def load_model(
    path: str | Path, kinds: Mapping[type[nn.Module], type], about: str, samples: type[Config]
) -> tuple[Any, Config]:
    """The model of a checkpoint, on the CPU, and the config of the samples that it reads.

    ``kinds`` are the models that it may be of, with the classes of their configs; the samples' config,
    of class ``samples``, lies in the checkpoint's ``about`` under the name ``about``.
    """
    content = load_checkpoint(path)
    config = content["config"]
    named, known = str(config.get("kind")), {kind.__name__: kind for kind in kinds}
    if named not in known:
        wanted = "one of " + ", ".join(known)
        raise DataError(f"of another config: kind is {config.get('kind')!r:.80}, not {wanted}", path)
    kind = known[named]
    try:
        model = new_model(kind, build(kinds[kind], config.get("model")))
        reads = build(samples, dict(config["about"])[about])
    except (DataError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"damaged, its config is none of a {kind.__name__}: {error}", path) from error
    load_weights(model, content, path)
    return model, reads


def new_model(kind: Callable[[Any], Model], config: Any) -> Model:
    """A model with random weights, unless they need more memory than the machine has."""
    with torch.device("meta"):  # sizes alone
        size = sum(tensor.nbytes for tensor in kind(config).state_dict().values())
    if size > _memory():
        sizes = f"{size / 2**30:,.0f} GB of weights, and this machine has {_memory() / 2**30:,.0f} GB"
        raise DataError(f"{type(config).__name__}: {sizes} of memory")
    return kind(config)


def _memory() -> float:
    """Bytes of memory of this machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return inf


def trained_weights(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Weights of a checkpoint that `load_checkpoint` has read: their average, where one is kept."""
    average = dict(content.get("ema") or {"n_averaged": 0})
    if not average.pop("n_averaged"):
        return content["model"]
    return {name.removeprefix("module."): weights for name, weights in average.items()}


def load_weights(model: nn.Module, content: Mapping[str, Any], path: str | Path) -> None:
    """Take the weights of a checkpoint that `load_checkpoint` has read."""
    try:
        model.load_state_dict(trained_weights(content))
    except Exception as error:  # a line for every tensor that differs; or whatever odd names do
        _, first, *others = map(str.strip, f"{error}\n\n".splitlines())
        more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
        reason = f"its weights are not of this {type(model).__name__}: {first:.300}{more}"
        raise DataError(reason, path) from error


def save_checkpoint(path: Path, config: Mapping, content: Mapping) -> None:
    """Write a checkpoint, or leave the one that is there."""
    with atomic_write(path, "wb") as stream:
        try:
            torch.save({"config": config, **content}, stream)
        except RuntimeError as error:  # torch's own, raised over the one that says why
            raise (error.__context__ or error) from None
