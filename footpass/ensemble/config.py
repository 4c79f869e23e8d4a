"""How re-scoring is fitted: settings, without LightGBM, so that a profile is read quickly."""

from dataclasses import field
from typing import Annotated

from pydantic import AliasChoices, Field

from footpass.configs import Positive, config_dataclass
from footpass.simulate.copy_paste import CopyPasteConfig


@config_dataclass
class Boosting:
    """Settings of the boosted trees."""

    rows: Positive = 25_000  # most simulated ones a class; more are sampled
    trees: Annotated[int, Field(ge=1, le=10_000)] = 80  # a class
    leaves: Annotated[int, Field(ge=2, le=1000)] = 12  # a tree
    lr: Annotated[float, Field(gt=0, le=1, validation_alias=AliasChoices("lr", "rate"))] = 0.06
    least_rows: Positive = 30  # a leaf
    share: Annotated[float, Field(gt=0, le=1)] = 0.3  # of the features, which a tree is given


@config_dataclass
class RescoreConfig:
    """Settings of the re-scoring."""

    # Matches of the further ground truth that are used, drawn at random; None for all.
    train_matches: Positive | None = None
    repeats: Annotated[int, Field(ge=1, le=1000)] = 6  # independent simulations and fits, averaged
    stages: Annotated[int, Field(ge=1, le=100)] = 2  # rounds of boosted trees
    averaged: Positive = 2  # of the stages, the last ones
    real_weight: Annotated[float, Field(ge=0)] = 8.0  # of a row that is not simulated
    without: Annotated[tuple[str, ...], Field(max_length=1000)] = ()  # features, by how names begin
    boosting: Boosting = field(default_factory=Boosting)
    snippets: Annotated[CopyPasteConfig, Field(validation_alias=AliasChoices("snippets", "patches"))] = (
        field(default_factory=CopyPasteConfig)
    )
