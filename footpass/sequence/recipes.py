"""Settings of a DST: model, windows, training, pre-training."""

from dataclasses import dataclass

from footpass.files import DataError
from footpass.models.dst import DST, DSTConfig
from footpass.models.player_dst import PlayerDST, PlayerDSTConfig
from footpass.sequence.windows import WindowConfig
from footpass.training.config import TrainConfig

AnyDST = DST | PlayerDST


@dataclass(frozen=True)
class Pretraining:
    """Matches that are simulated to learn from before the real ones, and how.

    Their detectors are made up too (`simulate.logits`); nothing in them comes from the data but
    the real play-by-play's statistics.
    """

    matches: int
    minutes: float
    train: TrainConfig


@dataclass(frozen=True)
class DSTRecipe:
    """A DST, the windows it learns from, and how.

    Attributes
    ----------
    model
        Says by its kind which it is: the published DST, or the one for little data.
    weighting
        Of the classes in the action loss (`losses.WEIGHTINGS`).
    smoothing
        Of labels (`losses.token_losses`).
    pretraining
        What is learned before; None: nothing.
    """

    model: DSTConfig | PlayerDSTConfig
    windows: WindowConfig
    train: TrainConfig
    weighting: str = "none"
    smoothing: float = 0.05
    pretraining: Pretraining | None = None

    def __post_init__(self) -> None:
        if self.model.window_length != self.windows.window_length:
            raise DataError(
                f"the model is for windows of {self.model.window_length} frames, "
                f"not of {self.windows.window_length}"
            )


_MODELS = {DSTConfig: DST, PlayerDSTConfig: PlayerDST}
