"""Checkpoints of the public FOOTPASS repository, loaded into our models."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from footpass.files import DataError


def read_public(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint of the public repository, by their public names."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return dict(state.get("model_state_dict", state))
    except Exception as error:  # torch.load raises anything from OSError to UnpicklingError
        raise DataError(f"no readable checkpoint ({type(error).__name__})", path) from error


def load_reference(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Fill a TAAD, TAAD + GNN or DST model from a checkpoint of the public repository.

    Parameters
    ----------
    model
        A model with a method ``from_reference``, which gives the public tensors our names.
    state_dict
        The state dict itself, or the public training script's ``{"model_state_dict": ...}``.
    """
    public = dict(state_dict.get("model_state_dict", state_dict))
    try:
        ours = model.from_reference(public)  # type: ignore[operator]  # a method, says the docstring
    except KeyError as error:
        raise DataError(f"public checkpoint: no tensor {error}") from error
    wanted = model.state_dict()
    for name in [*wanted, *ours]:
        if name not in ours:
            raise DataError(f"public checkpoint: nothing for {name} of {type(model).__name__}")
        if name not in wanted:
            raise DataError(f"public checkpoint: {name} is not part of {type(model).__name__}")
        if wanted[name].shape != ours[name].shape:
            have, want = (tuple(part[name].shape) for part in (ours, wanted))
            raise DataError(f"public checkpoint: {name} is {have}, this model's is {want}")
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

    def ours(name: str) -> str:
        for old, new in prefixes.items():
            if name.startswith(old):
                return new + name.removeprefix(old)
        return name

    return {ours(name): tensor for name, tensor in state.items()}
