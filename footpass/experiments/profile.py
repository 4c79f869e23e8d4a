"""Profiles: every setting of every notebook, a TOML file each; the project's lie in ``profiles/``."""

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any, Literal

from footpass import zoo
from footpass.configs import Positive, build, config_dataclass, plain
from footpass.detectors.recipes import GNNRecipe, TAADRecipe
from footpass.ensemble.config import RescoreConfig
from footpass.experiments.settings import NotebookSettings, merged, profile_content
from footpass.files import DataError
from footpass.sequence.recipes import DSTRecipe

_Known = Literal["taad", "gnn", "dst", "dst-gnn"]
# What a variant may change: the models, and how they are used. All else is of the study as a whole.
_VARIED = ("taad", "gnn", "dst", "start", "features", "stride")
# Recipes of the zoo's models
_ZOO: dict[_Known, str] = {"taad": "taad", "gnn": "gnn", "dst": "dst", "dst-gnn": "dst"}


@config_dataclass
class SeasonSize:
    """Matches to train and to validate on, and the minutes of each, half of them in each half."""

    train: int
    val: int
    minutes: float
    seed: int = 0
    # The last so many train matches are kept from the detectors: what these say of matches that they
    # have learned from is too good to be learned from once more. 0: all matches serve both.
    held_out: int = 0
    # First halves that only the rare events of are shown (`simulate.season.write_season`), for the
    # detectors to learn from; of synthetic seasons.
    highlights: int = 0


@config_dataclass
class Ablations:
    """Notebook 08: settings of its re-scoring, and how much of the grid is computed (None: all)."""

    rescore: RescoreConfig
    seeds: Positive | None = None  # the first so many
    groups: tuple[str, ...] | None = None  # of rows


@config_dataclass
class Profile:
    """Settings of all that is computed."""

    name: str
    taad: TAADRecipe
    gnn: GNNRecipe
    dst: DSTRecipe
    rescore: RescoreConfig
    ablations: Ablations
    notebooks: NotebookSettings
    # How much of the data is used, or simulated where there are none; None: all of the real data.
    season: SeasonSize | None = None
    # The DST of train play-by-play; None: there is none in this profile.
    play_by_play: DSTRecipe | None = None
    find_data: bool = True  # whether real data are looked for where none are named
    # What training goes on from: the models of the zoo, those named; or random weights (of the backbone,
    # Kinetics' if they are given), and the DST's pre-training.
    start: Literal["zoo", "random"] | tuple[_Known, ...] = "random"
    # A detector, such as "zoo:taad", whose features of players the profile's keep as they are, so that
    # only what comes after these learns, from random weights.
    features: str | None = None
    # Frames from clip to clip when detectors watch whole halves; None: half a clip, so that each frame
    # is seen twice.
    stride: Positive | None = None
    # By a name of one's own, what is different: tables laid out like the profile's (`varied`).
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def from_zoo(self, name: str) -> str | None:
        """The zoo's model to go on from, if training goes on from these and there is one."""
        there = name in self.start if isinstance(self.start, tuple) else self.start == "zoo"
        if self.features and name in ("taad", "gnn"):
            return None
        return f"{zoo.PREFIX}{name}" if there and name in zoo.cards() else None


def load_profile(profile: str | None = None) -> Profile:
    """The profile of a name or a TOML file, as `configs.resolve_profile` finds it.

    A file may say ``base = "demo"`` and only what differs from that profile.
    """
    path, values = profile_content(profile)
    try:
        loaded = build(Profile, {"name": path.stem, **values})
        for name in loaded.variants:
            varied(loaded, name)
    except DataError as error:
        raise DataError(f"no profile: {error}", path) from error
    return loaded


def varied(profile: Profile, name: str | None) -> Profile:
    """The profile with one of its `variants` laid over it; with None, as it is.

    A profile's file has a variant's tables below its name, such as ``[variants.B.dst.model]`` with
    ``width = 768``. They are checked as the profile's own are. A DST of another ``kind`` has nothing of
    the profile's: neither windows nor training. What has another model does not go on from the zoo's. A
    variant may say ``base = "A"`` and only what differs from that other one, which has no base itself.
    """
    if name is None:
        return profile
    if name not in profile.variants:
        known = ", ".join(profile.variants) or "none"
        raise DataError(f"profile {profile.name} has no variant {name!r}; it has {known}")
    changes = dict(profile.variants[name])
    if "base" in changes:
        base = changes.pop("base")
        bases = [other for other, of in profile.variants.items() if "base" not in of]
        if base not in bases:
            raise DataError(f"variant {name}: base = {base!r}: none of {', '.join(bases)}")
        profile = varied(profile, base)
    others = [part for part in changes if part not in _VARIED]
    if others:
        known = ", ".join(_VARIED)
        raise DataError(f"variant {name}: {others[0]} is of the profile, a variant has {known}")
    values = plain(replace(profile, play_by_play=None))
    # A table says its model's kind, a config is of it.
    values["dst"]["model"]["kind"] = type(profile.dst.model).__name__.removesuffix("Config")
    try:
        made = replace(build(Profile, merged(values, changes)), play_by_play=profile.play_by_play)
    except DataError as error:
        raise DataError(f"variant {name}: {error}") from error
    same = {of for of in _ZOO.values() if getattr(made, of).model == getattr(profile, of).model}
    if made.start == "random" or same == set(_ZOO.values()):
        return made
    left = [model for model, of in _ZOO.items() if of in same and profile.from_zoo(model)]
    return replace(made, start=tuple(left))
