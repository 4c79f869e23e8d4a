"""Settings of a DST: model, windows, training, pre-training."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from footpass.configs import Count, Positive, Share, build, config_dataclass
from footpass.files import DataError
from footpass.models.dst import DST, DSTConfig
from footpass.models.losses import Weighting
from footpass.models.player_dst import PlayerDST, PlayerDSTConfig
from footpass.sequence.windows import WindowConfig
from footpass.training.config import TrainConfig

AnyDST = DST | PlayerDST
_MODELS = {DSTConfig: DST, PlayerDSTConfig: PlayerDST}


@config_dataclass
class Pretraining:
    """Matches that are simulated to learn from before the real ones, and how.

    Their detectors are made up too (`simulate.logits`); nothing in them comes from the data but
    the real play-by-play's statistics.
    """

    matches: Positive
    minutes: Annotated[float, Field(gt=0, le=200)]
    train: TrainConfig
    windows: WindowConfig | None = None  # other ones than those of the training; None: the same
    # First epochs in which the detectors are never wrong: where to look is learned from them, and how
    # far to trust from the others.
    clear_epochs: Count = 0


def _of_kind(value: Any) -> Any:
    """The table of a profile, which names the model in ``kind``; a config as it is."""
    if not isinstance(value, dict):
        return value
    kinds = {model.__name__: config for config, model in _MODELS.items()}
    if value.get("kind") not in kinds:
        raise ValueError(f"kind = {value.get('kind')!r:.80}: one of {', '.join(kinds)}")
    return build(kinds[value["kind"]], {name: v for name, v in value.items() if name != "kind"})


@config_dataclass
class DSTRecipe:
    """A DST, the windows it learns from, and how."""

    # Says by its kind which it is: the published DST, or the one for little data.
    model: Annotated[DSTConfig | PlayerDSTConfig, BeforeValidator(_of_kind)]
    windows: WindowConfig
    train: TrainConfig
    weighting: Weighting = "none"  # of the classes in the action loss
    smoothing: Share = 0.05  # of labels (`losses.token_losses`)
    pretraining: Pretraining | None = None  # what is learned before; None: nothing

    def __post_init__(self) -> None:
        if self.model.window_length != self.windows.window_length:
            raise DataError(
                f"the model is for windows of {self.model.window_length} frames, "
                f"not of {self.windows.window_length}"
            )
        every = self.windows, self.pretraining and self.pretraining.windows
        odd = any(one and (one.sparse or one.short_epochs) for one in every)
        if odd and isinstance(self.model, PlayerDSTConfig):
            raise DataError("a PlayerDST reads whole windows: neither sparse nor short_epochs")
