"""Configs: frozen dataclasses that check what they are given, and go into files and back.

A notebook's parameters may arrive as strings (papermill's ``-p ema true``), and a value of the wrong
type must not get as far as the hundredth training step. Types, ranges and lengths are the fields'
annotations (pydantic's `Field`); constructor and files are checked by the same.
"""

import codecs
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from functools import cache, wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, dataclass_transform, get_args, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from footpass.files import DataError, write_json

Config = TypeVar("Config")
MAX_BYTES = 64 * 2**20  # of a file of settings, or of a fitted re-scoring (30 MB)

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
Share = Annotated[float, Field(ge=0, le=1)]
Width = Annotated[int, Field(ge=1, le=2**16)]  # of a layer
Depth = Annotated[int, Field(ge=1, le=100)]  # layers one after the other


@dataclass_transform(frozen_default=True)
def config_dataclass(cls: type[Config]) -> type[Config]:
    """A frozen dataclass that raises `DataError` at the first field that does not fit its annotation.

    Whole numbers are fine as floats; True is no number, and neither are NaN and infinity.
    """
    strict = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    checked: Any = dataclass(frozen=True, config=strict)(cls)
    unwrapped = checked.__init__

    @wraps(unwrapped)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            unwrapped(self, *args, **kwargs)
        except ValidationError as error:
            raise DataError(_first(error, cls)) from None

    checked.__init__ = init
    return checked


def build(cls: type[Config], values: Any) -> Config:
    """A config from plain values, as `plain` makes them: the way back from a checkpoint or TOML."""
    try:
        return parse(cls, json.dumps(values))
    except (TypeError, ValueError, RecursionError) as error:  # DataError, and what JSON cannot hold
        raise error if isinstance(error, DataError) else DataError(f"{cls.__name__}: {error}") from error


def write_config(config: Any, path: str | Path, indent: int | None = None) -> None:
    """Write a config as JSON, atomically, for `read_config`."""
    write_json(plain(config), path, indent)


def read_config(path: str | Path, cls: type[Config], what: str) -> Config:
    """A config from a JSON file of at most `MAX_BYTES`; an error says ``what`` it ought to hold."""
    try:
        return parse(cls, _content(path))
    except DataError as error:
        raise error if error.file else DataError(f"not {what}: {error}", path) from error


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file of at most `MAX_BYTES`."""
    try:
        return tomllib.loads(_content(path).decode())
    except (ValueError, RecursionError) as error:  # DataError, TOMLDecodeError and UnicodeDecodeError
        raise error if isinstance(error, DataError) else DataError(f"not TOML: {error}", path) from error


def _content(path: str | Path) -> bytes:
    try:
        with open(path, "rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path) from error
    if len(text) > MAX_BYTES:
        raise DataError(f"over {MAX_BYTES // 2**20} MB", path)
    return text.removeprefix(codecs.BOM_UTF8)


_adapter: Any = cache(TypeAdapter)


def parse(cls: type[Config], text: str | bytes) -> Config:
    """A config from JSON."""
    try:
        return _adapter(cls).validate_json(text)
    except ValidationError as error:
        raise DataError(_first(error, cls)) from None


def _first(error: ValidationError, cls: type) -> str:
    """What is wrong first, in a line: the field, what it has and what it should be."""
    fault = error.errors(include_url=False)[0]
    reason = fault.get("ctx", {}).get("error", fault["msg"])
    first, *rest = fault["loc"] or [""]
    if isinstance(first, int):  # an argument without a name
        first = fields(cast(Any, cls))[first].name
    place = ".".join(str(part) for part in (cls.__name__, first, *rest) if part != "")
    if fault["type"] == "unexpected_keyword_argument":
        return f"{place}: no such field"
    if fault["type"] == "json_invalid":
        return f"not JSON: {reason}"
    if fault["type"] in ("missing", "value_error"):
        return f"{place}: {reason}"
    return f"{place} = {fault['input']!r:.80}: {reason}"


def override(config: Config, setting: str) -> Config:
    """A config with one value changed, such as ``train.batch=4``; values are written as in TOML.

    Text needs no quotes, ``none`` is None, and a number alone for a table (``train.lr=1e-3``) is that of
    its key ``""``; of other keys, it is ``train.lr.features.=1e-4``.
    """
    path, equals, text = setting.partition("=")
    if not equals:
        raise DataError(f"{setting}: not of the form FIELD=VALUE, such as train.batch=4")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    try:
        return _changed(config, path, value)
    except DataError as error:
        raise DataError(f"{setting}: {error}") from error


def _changed(config: Any, path: str, value: Any) -> Any:
    name, _, rest = path.partition(".")
    names, hints = [field.name for field in fields(config)], get_type_hints(type(config))
    if name not in names:
        raise DataError(f"{type(config).__name__} has no {name}; it has {', '.join(names)}")
    old = getattr(config, name)
    if rest and is_dataclass(old):
        value = _changed(old, rest, value)
    elif isinstance(old, Mapping) and not isinstance(value, Mapping):
        value = {**old, rest: value}
    elif rest:
        raise DataError(f"{type(config).__name__}.{name} = {old!r}: it has no {rest}")
    elif value == "none" and type(None) in get_args(hints[name]):
        value = None
    elif isinstance(value, list):
        value = tuple(tuple(item) if isinstance(item, list) else item for item in value)
    return replace(config, **{name: value})


def plain(config: Any) -> dict[str, Any]:
    """A config as JSON has it: dicts, lists, numbers, strings, None."""
    return json.loads(json.dumps(asdict(config)))


def check_seed(seed: object) -> None:
    """Refuse what the generators of NumPy, torch and LightGBM cannot all take as a seed."""
    if type(seed) is not int or not 0 <= seed < 2**31:
        raise DataError(f"seed {seed!r} is not a whole number from 0 to 2**31 - 1")


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
