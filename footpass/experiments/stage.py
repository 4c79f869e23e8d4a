"""A trained model of a study (`experiments.stages`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from footpass import zoo
from footpass.training.checkpoints import LAST, checkpoint_path

# What a DST reads: the logits of its detectors, the same calibrated, or the truth in place of the second
# detector's, to see what it makes of a perfect second opinion.
Reading = Literal["detectors", "calibrated", "oracle"]
_DETECTORS = ("taad", "gnn")


@dataclass(frozen=True)
class Stage:
    """A trained model: its folder, with checkpoints and logits, and the rows of its training log."""

    name: str
    dir: Path
    rows: list[dict]
    recipe: Any = None  # that it is trained by, a variant's its own
    # The stage that it has gone on from, if there was one: a TAAD + GNN's TAAD, a DST's pre-training.
    start: "Stage | None" = None
    zoo: str | None = None  # the model of the zoo that it has gone on from, if it was one
    reads: Reading = "detectors"  # of a DST
    keeps: Path | None = None  # the detector whose features it has, as they were

    @property
    def checkpoint(self) -> Path:
        """Its best checkpoint; of a DST, which nothing is chosen for, the last."""
        return checkpoint_path(self.dir) if self.name in _DETECTORS else self.dir / LAST

    @property
    def without_box(self) -> bool:
        """Whether it speaks of players without a box too."""
        return self.name == "gnn"

    @property
    def train_seconds(self) -> float:
        """What its training took, validation included."""
        return sum(row["seconds"] for row in self.rows)

    @property
    def revisions(self) -> tuple[str | None, ...]:
        """Of the code that its epochs were trained with, in order; those from earlier do not say.

        Without an epoch, what the card of the zoo's model says.
        """
        if self.zoo and not self.rows:
            return (zoo.card(self.zoo.removeprefix(zoo.PREFIX)).revision,)
        return tuple(dict.fromkeys(row.get("revision") for row in self.rows))
