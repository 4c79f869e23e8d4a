"""From logits to events: class offsets and smoothing, then the peaks of each player and class."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.ndimage import gaussian_filter1d
from tqdm.auto import tqdm

from footpass.configs import config_dataclass, read_config, write_config
from footpass.data.cache import Footage
from footpass.data.halves import HalfMatch, event_table, events_of
from footpass.data.logits import made_by, read_logits
from footpass.detectors.clips import asked_about
from footpass.events import class_counts, concat
from footpass.files import DataError
from footpass.metrics import evaluate
from footpass.schema import ACTIONS, N_CLASSES, Action, State
from footpass.timeline import suppress

NMS_WINDOW = 25  # frames


@config_dataclass
class LogitAdjustment:
    """What is done to a detector's logits before events are read from them; by default nothing."""

    # Standard deviation, in frames, of the Gaussian by which logits are averaged over time.
    smoothing: Annotated[float, Field(ge=0, le=100)] = 0.0
    # Added to the logits of the classes, background first.
    offsets: Annotated[
        tuple[Annotated[float, Field(ge=-1000, le=1000)], ...],
        Field(min_length=N_CLASSES, max_length=N_CLASSES),
    ] = (0.0,) * N_CLASSES
    model: str | None = None  # what it was fitted on (`Provenance.models`): it means nothing for another
    scale: Annotated[float, Field(gt=0, le=1000)] = 1.0  # of smoothed logits, before offsets are added

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """The logits ``(9, M, T)``, adjusted."""
        if self.smoothing:
            logits = gaussian_filter1d(logits.astype(np.float32), self.smoothing, mode="nearest")
        if self.scale != 1:
            logits = self.scale * logits.astype(np.float32)
        if any(self.offsets):
            logits = logits + np.array(self.offsets, np.float32)[:, None, None]
        return logits


UNADJUSTED = LogitAdjustment()


def spot(logits: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Where a tracklet's likeliest class is an action, and no better such frame is near.

    Nothing is found where a model is not asked, ``(M, T)`` (`asked_about`): it was never taught what to
    say there. Of two finds of one tracklet and class at most `NMS_WINDOW` frames apart, the better one
    stays, of equals the earlier.

    Returns
    -------
    tuple of np.ndarray
        Tracklet, frame, class and score (the class's probability), ``(N,)`` each, by frame.
    """
    if not np.isfinite(logits).all(axis=0)[asked].all():
        raise DataError("logits that are not finite: the model has diverged")
    # One by one: along its first axis, NumPy would copy the whole.
    best = np.stack([one.argmax(axis=0).astype(np.int8) for one in logits.swapaxes(0, 1)])  # (M, T)
    frame, tracklet = np.nonzero(((best != Action.BACKGROUND) & asked).T)
    x = logits[:, tracklet, frame].astype(np.float64)  # (9, N)
    cls = best[tracklet, frame].astype(np.int64)
    # In order, so that of two frames with the same logits neither is better by a rounding error.
    score = 1 / np.exp(np.sort(x, axis=0) - x.max(axis=0)).sum(axis=0)
    kept = suppress([tracklet, cls], frame, score, NMS_WINDOW)
    return tracklet[kept], frame[kept], cls[kept], score[kept]


def events_from_logits(
    logits: np.ndarray,
    half: HalfMatch,
    without_box: bool = False,
    adjustment: LogitAdjustment = UNADJUSTED,
) -> pd.DataFrame:
    """Events of a half, as of `spot`, from the logits ``(9, 26, T)`` of its frames.

    With ``without_box``, what a graph model says of players without a box counts too; the adjustment is
    that of `fit_adjustment`.

    Returns
    -------
    pd.DataFrame
        ``half, frame, team, jersey, cls, score``, by frame; the jersey is that of the slot at the frame,
        -1 where it is never known.
    """
    expected = (N_CLASSES, *half.jersey.shape)
    if logits.shape != expected:
        raise DataError(f"logits of shape {logits.shape} instead of {expected}", half=half.name)
    asked = asked_about(half, without_box)
    try:
        slots, at, cls, score = spot(adjustment(logits), asked)
    except DataError as error:
        raise error.at(half=half.name) from error
    jersey = half.jersey_at(slots, at + half.first_frame)
    return event_table(half, at, slots, jersey, cls, score=score.astype(np.float64))


def events_from_store(
    path: str | Path,
    halves: Mapping[str, HalfMatch],
    without_box: bool = False,
    adjustment: LogitAdjustment = UNADJUSTED,
) -> pd.DataFrame:
    """Events of some halves of a logit store, see `events_from_logits`."""
    check_model(adjustment, made_by(path))
    return concat(
        events_from_logits(read_logits(path, half), half, without_box=without_box, adjustment=adjustment)
        for half in halves.values()
    )


SMOOTHINGS = tuple(np.arange(0.0, 3.5, 0.5).tolist())
_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_BACKGROUNDS = tuple(np.arange(-2.0, 4.5, 0.5).tolist())


def fit_adjustment(
    logits: Mapping[str, np.ndarray],
    halves: Mapping[str, HalfMatch],
    truth: pd.DataFrame,
    without_box: bool = False,
    smoothings: Sequence[float] = SMOOTHINGS,
) -> LogitAdjustment:
    """The adjustment with which a detector's events have the best macro F1, none if none is better.

    Three numbers, the best of a grid. A detector learns from single frames of short clips, so the
    highest of thousands of frames is often noise: averaging over neighbours takes it off. And it learns
    from clips in which all classes are about as frequent, so it takes rare ones to be as likely as
    frequent ones: class c's offset is ``strength * log(share of c among all events)`` (logit adjustment,
    Menon et al. 2021, arXiv 2007.07314), the background has one of its own.

    Logits, ``(9, 26, T)`` each, and truth are of halves that the detector has not learned from;
    smoothings ``(0.0,)`` fit the offsets alone.
    """
    if not halves:
        raise DataError("no halves to fit the adjustment of logits on")
    share = (class_counts(truth) + 1) / (len(truth) + len(ACTIONS))

    def score(volumes: Mapping[str, np.ndarray], adjustment: LogitAdjustment) -> float:
        tables = (
            events_from_logits(volumes[name], half, without_box, adjustment)
            for name, half in halves.items()
        )
        return evaluate(concat(tables), truth).macro_f1

    best, chosen = score(logits, UNADJUSTED), UNADJUSTED
    for smoothing in tqdm(smoothings, desc="adjustment", leave=False):
        smooth = {name: LogitAdjustment(smoothing)(volume) for name, volume in logits.items()}
        for strength, background in product(_STRENGTHS, _BACKGROUNDS):
            offsets = (background, *(strength * np.log(share)).tolist())
            if (value := score(smooth, LogitAdjustment(0.0, offsets))) > best:
                best, chosen = value, LogitAdjustment(smoothing, offsets)
    return chosen


def check_model(adjustment: LogitAdjustment, model: str | None) -> None:
    """An adjustment is for the model that it was fitted on, where both are known."""
    fitted = adjustment.model
    if fitted and model and fitted != model:
        raise DataError(f"an adjustment fitted on {fitted} and logits of {model}: fit it on those")


def write_adjustment(adjustment: LogitAdjustment, path: str | Path, model: str | None = None) -> None:
    """Write an adjustment as JSON, atomically, with the model that it was fitted on."""
    write_config(replace(adjustment, model=model), path)


def read_adjustment(path: str | Path) -> LogitAdjustment:
    """Read an adjustment."""
    what = "an adjustment of logits (predict --fit-adjustment writes one)"
    return read_config(path, LogitAdjustment, what)


def guessed_events(
    train: Mapping[str, Footage], val: Mapping[str, Footage], seed: int = 0
) -> pd.DataFrame:
    """What the class prior alone gives: as many events a minute as in training, of whomever is visible.

    Each is of a random visible player at a random moment, with score 1.
    """
    rng = np.random.default_rng(seed)
    tables = [events_of(entry.half) for entry in train.values()]
    frames = sum(entry.half.n_frames for entry in train.values())
    rates = np.bincount(pd.concat(tables)["cls"], minlength=N_CLASSES) / frames
    guesses = []
    for entry in val.values():
        slots, at = np.nonzero(entry.half.state[State.VISIBLE] > 0)
        cls = np.repeat(np.arange(N_CLASSES), rng.poisson(rates * entry.half.n_frames))
        chosen = rng.choice(len(at), len(cls))
        at, slots = at[chosen], slots[chosen]
        jersey = entry.half.jersey_at(slots, at + entry.half.first_frame)
        guesses.append(event_table(entry.half, at, slots, jersey, cls, score=np.ones(len(cls))))
    return concat(guesses)
