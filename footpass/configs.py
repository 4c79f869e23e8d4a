"""Configs: frozen dataclasses that check what they are given, and go into files and back.

A notebook's parameters may arrive as strings (papermill's ``-p ema true``), and a value of the wrong
type must not get as far as the hundredth training step.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from math import isfinite
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from footpass.files import DataError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


Config = TypeVar("Config", bound="DataclassInstance")


def check_types(config: object) -> None:
    """Compare the fields of a dataclass with their annotations; made for its ``__post_init__``.

    Whole numbers are fine as floats; True is no number, and neither are NaN and infinity.
    """
    hints = get_type_hints(type(config))
    for name in _names(config):
        hint = hints[name]
        value = getattr(config, name)
        if not _fits(value, hint):
            wanted = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
            wanted = wanted.replace("typing.", "").replace("collections.abc.", "")
            raise DataError(f"{type(config).__name__}.{name} = {value!r}: expected {wanted}")


def _fits(value: Any, hint: Any) -> bool:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, arg) for arg in args)
    if origin is Literal:
        return value in args
    if origin is tuple:
        wanted = args[:1] * len(value) if isinstance(value, tuple) and args[-1] is ... else args
        return isinstance(value, tuple) and len(value) == len(wanted) and all(map(_fits, value, wanted))
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(
            _fits(key, args[0]) and _fits(item, args[1]) for key, item in value.items()
        )
    if hint is float:
        return type(value) in (int, float) and isfinite(value)
    return type(value) is int if hint is int else isinstance(value, hint)


def _names(config: Any) -> list[str]:
    return [field.name for field in fields(config)]


def build(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """A config from plain values, as `plain` makes them: the way back from a checkpoint or JSON.

    A class attribute ``former`` maps names that fields had in older files to those of today.
    """
    hints = get_type_hints(cls)
    former = getattr(cls, "former", {})
    values = {former.get(name, name): value for name, value in values.items()}
    names = _names(cls)
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise DataError(f"{cls.__name__} has no {', '.join(unknown)}; it has {', '.join(names)}")
    required = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}
    if missing := sorted(required - set(values)):
        raise DataError(f"{cls.__name__} needs {', '.join(missing)}")
    config = cls(**{name: _parsed(value, hints[name]) for name, value in values.items()})
    check_types(config)
    return config


def _parsed(value: Any, hint: Any) -> Any:
    """A plain value as its field has it: tables as dataclasses, lists as tuples."""
    if get_origin(hint) in (Union, UnionType) and value is not None:
        hints = [arg for arg in get_args(hint) if arg is not type(None)]
        if len(hints) > 1 and isinstance(value, Mapping):  # one of several configs, which it names
            kinds = {arg.__name__.removesuffix("Config"): arg for arg in hints}
            kind = value.get("kind")
            if kind not in kinds:
                raise DataError(f"kind = {kind!r}: one of {', '.join(kinds)}")
            return build(kinds[kind], {name: v for name, v in value.items() if name != "kind"})
        hint = hints[0]
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, Mapping):
        return build(hint, value)
    if get_origin(hint) is tuple and isinstance(value, list):  # JSON and TOML have no tuples
        return tuple(_parsed(item, get_args(hint)[0]) for item in value)
    return value


def plain(config: Any) -> dict[str, Any]:
    """A config as JSON has it: dicts, lists, numbers, strings, None."""
    return json.loads(json.dumps(asdict(config)))


PROFILES = ("smoke", "demo", "study", "paper")


def resolve_profile(profile: str | None = None) -> str:
    """The profile asked for, a name or a TOML file, else ``$FOOTPASS_PROFILE``, else ``demo``."""
    name = str(profile or os.environ.get("FOOTPASS_PROFILE") or "demo")
    if name not in PROFILES and not (name.endswith(".toml") and Path(name).is_file()):
        raise DataError(f"profile {name!r} is none of {', '.join(PROFILES)}, and no TOML file")
    return name


def profile_name(profile: str | None = None) -> str:
    """What a profile is called; that of a file like the file, without its ending."""
    return Path(resolve_profile(profile)).stem
