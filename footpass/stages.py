"""The stages of a study: each model is trained once, whoever asks for it first.

A stage's folder is named after all that its result depends on: the recipe, the season, the stages before
it. So notebooks and the ablation grid share what they train, a changed recipe makes a folder of its own,
and what was broken off goes on where it stopped.
"""

import fcntl
import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader

from footpass.clips import ClipDataset, Footage, learnable_events
from footpass.configs import plain
from footpass.events import concat
from footpass.files import DataError
from footpass.halves import events_of
from footpass.processes import rank_and_world, wait_for_all
from footpass.recipes import (
    GNN_RECIPES,
    TAAD_RECIPES,
    ClipLoss,
    GNNRecipe,
    checkpoint_path,
    load_detector,
    predict,
    train_gnn,
    train_taad,
)
from footpass.seasons import Season
from footpass.training import Loss

log = logging.getLogger(__name__)


_RECIPES = {"taad": TAAD_RECIPES, "gnn": GNN_RECIPES}


class Busy(DataError):
    """Another process is at work on this stage."""


@dataclass(frozen=True)
class Stage:
    """A trained model: its folder, with checkpoints and logits, and the rows of its training log."""

    name: str
    dir: Path
    rows: list[dict]

    @property
    def checkpoint(self) -> Path:
        """Its best checkpoint."""
        return checkpoint_path(self.dir)

    @property
    def train_seconds(self) -> float:
        """What its training took, validation included."""
        return sum(row["seconds"] for row in self.rows)


@dataclass(frozen=True)
class Study:
    """All that is trained on one season in one profile.

    Attributes
    ----------
    folder
        Of the stages' folders.
    device
        Where to compute (`processes.join_processes`).
    kinetics
        File with weights for the video backbone; random ones without.
    waits
        Whether to wait for a stage that another process is at; else it raises `Busy`.
    """

    folder: Path
    profile: str
    season: Season
    device: torch.device | str = "cpu"
    kinetics: str | Path | None = None
    waits: bool = True

    @cached_property
    def footage(self) -> dict[str, dict[str, Footage]]:
        """Halves and their videos by split."""
        return {split: self.season.footage(split) for split in ("train", "val")}

    @cached_property
    def truth(self) -> dict[str, pd.DataFrame]:
        """Events by split."""
        return {
            split: concat(events_of(entry.half) for entry in part.values())
            for split, part in self.footage.items()
        }

    @cached_property
    def _season_mark(self) -> str:
        digest = hashlib.sha256()
        for part in self.footage.values():
            for name, entry in part.items():
                half = entry.half
                digest.update(f"{name} {half.first_frame} {half.end_frame}".encode())
                digest.update(
                    events_of(half)[["frame", "team", "jersey", "cls"]].to_numpy("<i8").tobytes()
                )
        return digest.hexdigest()

    def taad(self, seed: int = 0) -> Stage:
        """TAAD, trained on the season's pixels."""
        recipe = TAAD_RECIPES[self.profile]
        recipe = replace(recipe, train=replace(recipe.train, seed=seed))
        footage, kinetics = self.footage, self.kinetics
        with self.stage("taad", recipe, str(kinetics)) as run:
            rows = train_taad(recipe, footage["train"], footage["val"], run, self.device, kinetics)
        return Stage("taad", run, rows)

    def gnn(self, seed: int = 0) -> Stage:
        """TAAD + GNN, which starts from what the TAAD of the same seed has learned."""
        recipe = GNN_RECIPES[self.profile]
        recipe = replace(recipe, train=replace(recipe.train, seed=seed))
        footage, start = self.footage, self.taad(seed)
        with self.stage("gnn", recipe, start.dir.name) as run:
            rows = train_gnn(
                recipe, footage["train"], footage["val"], run, self.device, start.checkpoint
            )
        return Stage("gnn", run, rows)

    def predict(self, stage: Stage, split: str) -> pd.DataFrame:
        """Events that a stage's model finds, once its logits of the split are written."""
        with self.locked(stage.dir):
            return predict(
                stage.checkpoint,
                self.footage[split],
                stage.dir,
                split,
                self.device,
                _RECIPES[stage.name][self.profile].train.precision,
            )

    def a_step(self, stage: Stage) -> tuple[nn.Module, Loss, object]:
        """The model of a stage, its loss and a batch of its recipe: what a training step takes."""
        model, config = load_detector(stage.checkpoint)
        recipe = _RECIPES[stage.name][self.profile]
        halves = list(self.footage["val"].values())
        events = learnable_events([f.half for f in halves], config.frames, model.everyone)
        clips = ClipDataset(halves, config, recipe.augmentation, events=events)
        batch = next(iter(DataLoader(clips, recipe.train.batch)))
        gamma = recipe.gammas[-1][1] if isinstance(recipe, GNNRecipe) else 0.0
        return model.to(self.device), ClipLoss(recipe.background, gamma, model.everyone), batch

    @contextmanager
    def stage(self, name: str, recipe: object, *depends: str) -> Iterator[Path]:
        """The folder of a stage, for this process alone as long as it trains there.

        Parameters
        ----------
        recipe
            A dataclass.
        depends
            What else its result depends on, such as the names of other stages' folders.
        """
        content = json.dumps([plain(recipe), self._season_mark, *depends], sort_keys=True)
        folder = self.folder / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
        if not folder.exists():
            log.warning("%s: not there yet, so it is made now", folder)
        with self.locked(folder):
            yield folder

    @contextmanager
    def locked(self, folder: Path) -> Iterator[None]:
        """Keep other processes out of a folder; the operating system lets go when this one ends.

        Of processes that compute together, the first holds the lock for all.

        Raises
        ------
        Busy
            If another process is in it, and this study does not wait.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{folder}: cannot be made: {error.strerror or error}") from error
        with open(folder / ".lock", "w") as lock:
            if rank_and_world()[0] == 0:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | (0 if self.waits else fcntl.LOCK_NB))
                except BlockingIOError as error:
                    raise Busy(f"{folder}: another process is at work there") from error
            wait_for_all()
            yield
