"""Search of post-processing parameters, and their file."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from footpass.configs import Share, config_dataclass, read_config, write_config
from footpass.crossfit import Apply, Fit, Inputs
from footpass.files import DataError
from footpass.metrics import Evaluation, compare, evaluate
from footpass.postprocess.evidence import Evidence, Remembered, as_evidence
from footpass.postprocess.steps import NMS, STEPS, Gate, PostprocessConfig, Reassign, Refine, postprocess
from footpass.schema import ACTIONS

Step = Literal["reassign", "gate", "refine", "nms"]


@config_dataclass
class Search:
    """What `fit_postprocess` may choose, and how sure it must be of a gain."""

    steps: tuple[Step, ...] = get_args(Step)  # that are used
    per_class: bool = True  # thresholds and offsets for each class, or one for all
    own: Share = 0.0  # of `Gate`
    # A change must pay in this share of bootstrap draws of the fitting matches; 0 takes any gain.
    confidence: Share = 0.0

    def __post_init__(self) -> None:
        if self.confidence and not 0.5 <= self.confidence < 1:
            raise DataError(f"confidence {self.confidence} is neither 0 nor within 0.5..1")


GRIDS = {
    ("reassign", "margin"): (1.0, 0.8, 0.6, 0.4, 0.2, 0.0),
    ("reassign", "window"): (3, 6, 9, 12),
    ("gate", "thresholds"): tuple(i / 20 for i in range(20)),
    ("gate", "window"): (3, 6, 12, 18, 25),
    ("refine", "offsets"): tuple(range(-4, 5)),
    ("refine", "window"): (0, 2, 4, 6, 9, 12),
    ("refine", "min_strength"): (0.0, 0.3, 0.5, 0.7),
    ("nms", "window"): (0, 3, 6, 12, 25, 40),
}
MAX_ROUNDS = 5


def recipe(search: Search) -> tuple[Fit, Apply]:
    """``fit`` and ``apply`` for `footpass.crossfit`, of the inputs ``events`` and ``evidence``."""

    def fit(inputs: Inputs, truth: pd.DataFrame) -> PostprocessConfig:
        return fit_postprocess(inputs["events"], as_evidence(inputs["evidence"]), truth, search)

    def apply(config: PostprocessConfig, inputs: Inputs) -> pd.DataFrame:
        return postprocess(inputs["events"], as_evidence(inputs["evidence"]), config).table

    return fit, apply


def search(per_class: bool = False) -> Search:
    """All steps, as published with a number for each class, or with one for all.

    With one for all, and the event's own score beside the evidence, the gain holds on matches that the
    steps were not fitted on (notebook 06).
    """
    return Search() if per_class else Search(per_class=False, own=0.5)


@config_dataclass
class Saved:
    """Fitted steps as they lie in a file."""

    format: Literal["footpass postprocess 1"]
    steps: PostprocessConfig


def save(config: PostprocessConfig, path: str | Path) -> None:
    """Write fitted steps as JSON."""
    write_config(Saved("footpass postprocess 1", config), path, indent=1)


def load(path: str | Path) -> PostprocessConfig:
    """Read what `save` has written."""
    return read_config(path, Saved, "fitted steps (postprocess fit writes them)").steps


def fit_postprocess(
    table: pd.DataFrame, evidence: Evidence, truth: pd.DataFrame, search: Search
) -> PostprocessConfig:
    """Coordinate search for the parameters with the best macro F1, deterministic.

    From steps that change nothing, one parameter after the other takes the best value of its grid, until
    a whole round changes nothing. To be called through `footpass.crossfit` only.
    """
    if not isinstance(evidence, Remembered):
        evidence = Remembered(evidence)

    @cache  # a parameter of a late step leaves what the early ones did
    def after(config: PostprocessConfig) -> pd.DataFrame:
        used = [step for step in STEPS if getattr(config, step) is not None]
        if not used:
            return table
        before = after(replace(config, **{used[-1]: None}))
        return STEPS[used[-1]](before, evidence, getattr(config, used[-1])).table

    @cache
    def scored(config: PostprocessConfig) -> Evaluation:
        return evaluate(after(config), truth)

    start = {"reassign": Reassign(), "gate": Gate(own=search.own), "refine": Refine(), "nms": NMS()}
    first: dict[str, Any] = {step: start[step] for step in search.steps}
    config = PostprocessConfig(**first)
    for _ in range(MAX_ROUNDS):
        before = config
        for (step, name), grid in GRIDS.items():
            if step in search.steps:
                config = _best(config, step, name, grid, scored, search)
        if config == before:
            break
    return config


def _best(
    config: PostprocessConfig,
    step: str,
    name: str,
    grid: tuple[float, ...],
    scored: Callable[[PostprocessConfig], Evaluation],
    search: Search,
) -> PostprocessConfig:
    """The configuration with one parameter at its best value; of equals, the current, then the first."""
    part = getattr(config, step)
    old = getattr(part, name)
    by_class = isinstance(old, tuple)

    def at(value: float | tuple[float, ...]) -> PostprocessConfig:
        return replace(config, **{step: replace(part, **{name: value})})

    options = [at((value,) * len(ACTIONS) if by_class else value) for value in grid]
    results = [scored(option) for option in options]
    if not (by_class and search.per_class):
        first = int(np.argmax([result.macro_f1 for result in results]))
        return options[first] if _pays(scored(config), results[first], search.confidence) else config
    # No step looks across classes, so one result per value serves all classes.
    best, values = np.argmax([result.counts.f1 for result in results], axis=0), list(old)  # (8,)
    for k, (action, i) in enumerate(zip(ACTIONS, best, strict=True)):
        before, after = _only(scored(config), action), _only(results[i], action)
        values[k] = grid[i] if _pays(before, after, search.confidence) else old[k]
    return at(tuple(values))


def _only(evaluation: Evaluation, action: int) -> Evaluation:
    tables = {"predictions": evaluation.predictions, "truth": evaluation.truth}
    return replace(evaluation, **{name: t[t["cls"] == action] for name, t in tables.items()})


def _pays(old: Evaluation, new: Evaluation, confidence: float) -> bool:
    if new.macro_f1 <= old.macro_f1 or not confidence:
        return new.macro_f1 > old.macro_f1
    return compare({"old": old, "new": new}, level=2 * confidence - 1).gains["new"].low > 0
