"""Settings of the DSTs by profile: model, windows, training, pre-training."""

from dataclasses import dataclass, replace

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

# The prior is a handful of numbers that are wrong at first and may learn fast.
_PRETRAIN = TrainConfig(batch=16, lr={"": 2e-3, "prior.": 3e-2}, warmup=30, max_grad_norm=1.0)
_TUNED = TrainConfig(batch=16, lr={"": 5e-4, "prior.": 1e-2}, warmup=30, max_grad_norm=1.0)

# In `study` the detectors have not learned from the matches that are tuned on: there is nothing to hide.
_TUNED_SIZES = PlayerDSTConfig(forget=0.0)

DST_RECIPES: dict[str, DSTRecipe] = {
    "smoke": DSTRecipe(
        PlayerDSTConfig(window_length=100, player=8, width=16, heads=2, feedforward=32),
        WindowConfig(window_length=100, per_half=8),
        replace(_TUNED, epochs=1),
        pretraining=Pretraining(1, 0.4, replace(_PRETRAIN, epochs=1)),
    ),
    "demo": DSTRecipe(
        _TUNED_SIZES,
        WindowConfig(window_length=375, per_half=100),
        replace(_TUNED, epochs=2),
        pretraining=Pretraining(12, 15.0, replace(_PRETRAIN, epochs=2, milestones=(1,))),
    ),
    "study": DSTRecipe(
        replace(_TUNED_SIZES, player=32, width=128, feedforward=256),
        WindowConfig(window_length=375, per_half=100),
        replace(_TUNED, epochs=6, milestones=(4,)),
        pretraining=Pretraining(40, 15.0, replace(_PRETRAIN, epochs=10, milestones=(6, 9), decay=0.25)),
    ),
    "paper": DSTRecipe(
        DSTConfig(),
        WindowConfig(),
        TrainConfig(
            epochs=12,
            batch=96,
            lr={"": 2.5e-4},
            warmup=1000,
            milestones=(3, 6, 8),
            precision="bf16",
            workers=8,
            save_every=500,
        ),
    ),
}
