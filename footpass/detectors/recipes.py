"""Recipes of the detectors: what is trained, on what and how."""

from dataclasses import field
from typing import Annotated

from pydantic import Field

from footpass.configs import Count, Positive, Share, config_dataclass
from footpass.detectors.augment import Augmentation
from footpass.detectors.clips import ClipConfig, in_epoch
from footpass.models.gnn import GNNConfig
from footpass.models.taad import TAADConfig
from footpass.training.config import TrainConfig


@config_dataclass
class TAADRecipe:
    """A TAAD, the clips it learns from, and how."""

    model: TAADConfig
    clips: ClipConfig
    train: TrainConfig
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    background: Share = 0.05  # weight of the background class in the loss; each action has 1 minus it
    validation: Positive = 100  # validation clips per class, the same in all epochs

    def gamma(self, epoch: float) -> float:
        """Of the focal loss in an epoch, from 0; 0 is a plain cross-entropy."""
        return 0.0


@config_dataclass
class GNNRecipe(TAADRecipe):
    """A TAAD + GNN, which is taught the same way, but about all players and with a focal loss."""

    model: GNNConfig  # type: ignore[assignment]  # instead of a TAAD's, not a kind of it
    # Pairs of an epoch, from 0, and the focal loss's gamma from it on.
    gammas: tuple[tuple[Count, Annotated[float, Field(ge=0)]], ...] = ((0, 1.0), (2, 1.25))

    def gamma(self, epoch: float) -> float:
        """Of the focal loss in an epoch, from 0."""
        return in_epoch(epoch, self.gammas, 0.0)
