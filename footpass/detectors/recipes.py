"""What is trained, on what and how: one recipe per profile, and where its results lie."""

from dataclasses import dataclass, field, replace

from footpass.detectors.augment import Augmentation
from footpass.detectors.clips import ClipConfig
from footpass.models.gnn import GNNConfig
from footpass.models.taad import TAADConfig
from footpass.models.x3d import X3DConfig
from footpass.schema import N_SLOTS
from footpass.training.config import TrainConfig


@dataclass(frozen=True)
class TAADRecipe:
    """A TAAD, the clips it learns from, and how.

    Attributes
    ----------
    background
        Weight of the background class in the loss; each action has 1 minus it.
    validation
        Validation clips per class, the same in all epochs.
    """

    model: TAADConfig
    clips: ClipConfig
    train: TrainConfig
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    background: float = 0.05
    validation: int = 100


# Two CPU cores have no time for the published sizes: a batch of 6 clips would take them a minute.
_SMALL = X3DConfig(stem=8, widths=(8, 24, 32, 48), depths=(1, 2, 2, 1))
_MEDIUM = X3DConfig(stem=8, widths=(8, 32, 48, 64), depths=(1, 3, 3, 1))

# Where all events lie in the middle of short clips, a model learns the place in the clip (the padding of
# its convolutions tells it) before it looks at the players: here they may lie almost anywhere.
_SHORT = ClipConfig(frames=16, size=(128, 224), earliest=1, latest=14, others=8)

TAAD_RECIPES: dict[str, TAADRecipe] = {
    "smoke": TAADRecipe(
        model=TAADConfig(X3DConfig(4, (4, 8, 8, 8), (1, 1, 1, 1)), width=8, head=16),
        clips=replace(_SHORT, size=(64, 96), per_class=4),
        train=TrainConfig(epochs=2, batch=4),
        validation=4,
    ),
    "demo": TAADRecipe(
        model=TAADConfig(_SMALL, width=48, head=64),
        clips=replace(_SHORT, per_class=40),
        train=TrainConfig(epochs=8, batch=2, lr={"": 2e-3}, warmup=20, max_grad_norm=1.0),
        validation=10,
    ),
    "study": TAADRecipe(
        model=TAADConfig(_MEDIUM, width=48, head=64),
        clips=replace(_SHORT, size=(176, 320), per_class=150),
        train=TrainConfig(
            epochs=22,
            batch=2,
            accumulate=2,  # so that two processes can share a step
            lr={"": 2e-3},
            warmup=100,
            milestones=(16, 20),
            max_grad_norm=1.0,
            ema=0.98,
            precision="bf16",
        ),
        background=0.25,
        validation=25,
    ),
    "paper": TAADRecipe(
        model=TAADConfig(),
        clips=ClipConfig(),
        train=TrainConfig(
            epochs=25,
            batch=6,
            accumulate=8,
            lr={"": 1e-3, "features.x3d.": 5e-5},
            warmup=50,
            milestones=(10, 20),
            frozen_epochs=2,
            precision="fp16",
            workers=8,
            save_every=20,
        ),
    ),
}


@dataclass(frozen=True)
class GNNRecipe(TAADRecipe):
    """A TAAD + GNN, which is taught the same way, but about all players and with a focal loss.

    Attributes
    ----------
    gammas
        Pairs of an epoch, from 0, and the focal loss's gamma from it on.
    """

    model: GNNConfig  # type: ignore[assignment]  # instead of a TAAD's, not a kind of it
    gammas: tuple[tuple[int, float], ...] = ((0, 1.0), (2, 1.25))


def _all_slots(profile: str) -> ClipConfig:
    """The clips of a TAAD recipe, of the same pictures, with all slots."""
    return replace(TAAD_RECIPES[profile].clips, others=N_SLOTS - 1)


# With the backbones of the TAAD recipes, to start from what these have learned. Until the graph has
# found a use for it, it stays as it is: that is also cheaper.
_SMALL_GRAPH = GNNConfig(_SMALL, width=48, visual=32, graph=64, head=64)

GNN_RECIPES: dict[str, GNNRecipe] = {
    "smoke": GNNRecipe(
        model=GNNConfig(TAAD_RECIPES["smoke"].model.x3d, width=8, visual=8, graph=8, head=16),
        clips=_all_slots("smoke"),
        train=TrainConfig(epochs=2, batch=4, frozen_epochs=1),
        validation=4,
    ),
    "demo": GNNRecipe(
        model=_SMALL_GRAPH,
        clips=_all_slots("demo"),
        train=TrainConfig(
            epochs=8,
            batch=2,
            lr={"": 2e-3, "features.": 2e-4},
            warmup=20,
            max_grad_norm=1.0,
            frozen_epochs=4,
            precision="bf16",
        ),
        validation=10,
    ),
    "study": GNNRecipe(
        model=replace(_SMALL_GRAPH, x3d=_MEDIUM),
        clips=_all_slots("study"),
        train=TrainConfig(
            epochs=9,
            batch=2,
            accumulate=2,
            lr={"": 2e-3, "features.": 4e-4},
            warmup=100,
            milestones=(6, 8),
            max_grad_norm=1.0,
            ema=0.98,
            frozen_epochs=3,
            precision="bf16",
        ),
        background=0.12,  # for 22 players the same odds of an event as TAAD's 0.25 for 9
        validation=25,
    ),
    "paper": GNNRecipe(
        model=GNNConfig(),
        clips=replace(_all_slots("paper"), per_class=600),
        train=TAAD_RECIPES["paper"].train,
    ),
}
