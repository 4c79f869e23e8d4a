"""Checkpoints of the public FOOTPASS repository, loaded into our models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from footpass.files import DataError

_WRAPPINGS = ("model_state_dict", "state_dict", "model")  # what training scripts put their weights into
_PREFIXES = ("module.", "_orig_mod.", "model.")  # of several GPUs, torch.compile, Lightning


def read_public(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint of the public repository, by their public names."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises anything from OSError to UnpicklingError
        raise DataError(f"no readable checkpoint ({type(error).__name__})", path) from error
    tensors = _unwrapped(content)
    if not tensors:
        raise DataError(f"no tensors by name, neither at the top nor in {' or '.join(_WRAPPINGS)}", path)
    return tensors


def is_public(path: str | Path) -> bool:
    """Whether a file is a checkpoint of a public TAAD or TAAD + GNN."""
    try:
        return any(name.startswith("x3d.") for name in read_public(path))
    except DataError:
        return False


def _unwrapped(content: Any) -> dict[str, Tensor]:
    while isinstance(content, Mapping):
        inner = [content[name] for name in _WRAPPINGS if isinstance(content.get(name), Mapping)]
        if not inner:
            break
        content = inner[0]
    parts = content.items() if isinstance(content, Mapping) else ()
    tensors = {name: t for name, t in parts if isinstance(name, str) and isinstance(t, Tensor)}
    while prefix := next(
        (p for p in _PREFIXES if tensors and all(n.startswith(p) for n in tensors)), None
    ):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def load_reference(model: nn.Module, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Fill a model from the tensors of a public checkpoint, which were read from ``path``.

    The model has a method ``from_reference``, which gives the public tensors our names: a TAAD, TAAD +
    GNN or DST.
    """
    kind = type(model).__name__
    try:
        ours = model.from_reference(tensors)  # type: ignore[operator]  # a method
    except KeyError as error:
        raise DataError(f"public checkpoint: no tensor {error} of a {kind}", path) from error
    except DataError as error:
        raise error.at(path) from error
    except (RuntimeError, ValueError, IndexError) as error:  # of tensors of other shapes
        raise DataError(f"public checkpoint: not of a {kind}: {error!s:.200}", path) from error
    wanted = model.state_dict()
    for name in [*wanted, *ours]:
        if name not in ours:
            raise DataError(f"public checkpoint: nothing for {name} of {kind}", path)
        if name not in wanted:
            raise DataError(f"public checkpoint: {name} is not part of {kind}", path)
        if wanted[name].shape != ours[name].shape:
            have, want = (tuple(part[name].shape) for part in (ours, wanted))
            raise DataError(f"public checkpoint: {name} is {have}, this model's is {want}", path)
    model.load_state_dict(ours)


def take_alias(state: dict[str, Tensor], alias: str, name: str) -> None:
    """Drop the tensors named ``alias...``, which must repeat those named ``name...``."""
    for key in [key for key in state if key.startswith(alias)]:
        original = name + key.removeprefix(alias)
        copy = state.pop(key)
        if original not in state or not state[original].equal(copy):
            raise DataError(f"public checkpoint: {key} should repeat {original}")


def rename(state: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    """Replace the prefix of every name; a name with none of the prefixes is kept."""
    ours = {}
    for name, tensor in state.items():
        old = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        ours[prefixes.get(old, "") + name.removeprefix(old)] = tensor
    return ours
