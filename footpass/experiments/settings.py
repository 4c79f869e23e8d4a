"""What notebooks ask a profile beside its recipes, and the content of its file; without any model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from footpass.configs import PROFILES, build, config_dataclass, read_toml, resolve_profile
from footpass.files import DataError

FOLDER = Path(__file__).with_name("profiles")


@config_dataclass
class NotebookSettings:
    """What else the notebooks ask a profile."""

    # 00: matches that are simulated, their length, and the length of the one with a video.
    survey_matches: int
    survey_minutes: int
    filmed_minutes: float
    release_matches: int  # 01: simulated train matches, where the public release is not at hand
    # 04 and 05: models of each kind.
    dst_seeds: int
    weighting_seeds: int
    # 06: the two main variants, those that show each part too, or all.
    postprocessing: Literal["main", "parts", "all"]
    own_minutes: float  # 09: length of the match to practise on
    workers: int | None = None  # processes that simulate; None: one a core


def notebook_settings(profile: str | None = None) -> NotebookSettings:
    """Those of a profile (`profile.load_profile`)."""
    path, values = profile_content(profile)
    try:
        return build(NotebookSettings, values.get("notebooks", {}))
    except DataError as error:
        raise DataError(f"no profile: {error}", path) from error


def finds_data(profile: str | None = None) -> bool:
    """Whether a profile has real data looked for where none are named (`Profile.find_data`)."""
    return profile_content(profile)[1].get("find_data", True)


def profile_content(profile: str | None = None) -> tuple[Path, dict[str, Any]]:
    """The file of a profile, and its tables: its own, laid over those of its ``base``."""
    name = resolve_profile(profile)
    path = FOLDER / f"{name}.toml" if name in PROFILES else Path(name)
    values = read_toml(path)
    if "base" in values:
        base = values.pop("base")
        if base not in PROFILES:
            raise DataError(f"base = {base!r}: none of {', '.join(PROFILES)}", path)
        values = merged(read_toml(FOLDER / f"{base}.toml"), values)
    return path, values


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are merged, all else is replaced, and so is a recipe whose model is of another kind."""
    tables = {
        name: merged(base[name], value)
        for name, value in changes.items()
        if isinstance(value, dict) and isinstance(base.get(name), dict)
        if _kind(value) in (None, _kind(base[name]))
    }
    return {**base, **changes, **tables}


def _kind(recipe: Mapping[str, Any]) -> str | None:
    model = recipe.get("model")
    return model.get("kind") if isinstance(model, dict) else None
