"""The metric of the challenge: who did what, when, within a tolerance.

Per half, team, jersey and class, predictions in order of falling score each take the nearest ground
truth that is still free, within +-12 frames; predictions scored under 0.15 are dropped first. The
figure that papers and the server report is **macro F1**, the mean of the eight per-class F1.

Source: ``utils/metric_utils.py`` of the public FOOTPASS repository, whose counts these equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from footpass.events import class_counts, halves_of, match_of, select_halves
from footpass.files import DataError
from footpass.schema import ACTION_LABELS, ACTIONS, FPS, SCORE_THRESHOLD, TOLERANCE
from footpass.timeline import Timeline, pairs_within

N_ACTIONS = len(ACTIONS)
SUBSETS = ("box", "no_box", "replay", "live", "after_replay")
_AFTER = 5 * FPS  # frames


def match_events(
    predictions: pd.DataFrame, truth: pd.DataFrame, tolerance: int = TOLERANCE
) -> np.ndarray:
    """Row of the ground truth that each prediction takes, ``(len(predictions),)``, -1 for none.

    Predictions are served in order of falling score, ties in table order. Each takes the nearest free
    ground truth of the same half, team, jersey and class within the tolerance (frames, inclusive); of
    two that are equally near, the one that stands first in the table. No score is too low.
    """
    taken = np.full(len(predictions), -1)
    if not len(predictions) or not len(truth):
        return taken
    # One integer per event: frames of different players, classes or halves are far apart.
    player, truth_player = _group_codes(predictions, truth)
    frame, truth_frame = predictions["frame"].to_numpy(), truth["frame"].to_numpy()
    span = max(frame.max(), truth_frame.max()) + 2 * tolerance + 2
    place = player * span + frame
    by_place = np.argsort(truth_player * span + truth_frame, kind="stable")
    truth_place = (truth_player * span + truth_frame)[by_place]

    # All pairs within the tolerance, each prediction's best choice first.
    pair_prediction, near = pairs_within(place, truth_place, tolerance)
    pair_truth = by_place[near]
    distance = np.abs(frame[pair_prediction] - truth_frame[pair_truth])
    order = np.unique(pair_prediction)
    order = order[np.argsort(-predictions["score"].to_numpy()[order], kind="stable")]
    rank = np.empty(len(predictions), dtype=np.int64)  # 0 is served first; who is near nothing has none
    rank[order] = np.arange(len(order))
    best_first = np.lexsort((pair_truth, distance, rank[pair_prediction]))
    wanting, wanted = rank[pair_prediction][best_first], pair_truth[best_first]

    # In rounds: whoever's best choice is wanted by nobody served earlier takes it for good.
    owner = np.empty(len(truth), dtype=np.int64)
    while len(wanting):
        owner[wanted[::-1]] = wanting[::-1]  # the last write, so the earliest served, stays
        is_best = np.r_[True, wanting[1:] != wanting[:-1]]
        settled = is_best & (owner[wanted] == wanting)
        taken[order[wanting[settled]]] = wanted[settled]
        gone = np.isin(wanting, wanting[settled]) | np.isin(wanted, wanted[settled])
        wanting, wanted = wanting[~gone], wanted[~gone]
    return taken


def _group_codes(predictions: pd.DataFrame, truth: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """One integer per (half, team, jersey, class), the same in both tables."""
    halves = list(dict.fromkeys([*halves_of(truth), *halves_of(predictions)]))
    lines = [Timeline.of(table, halves) for table in (predictions, truth)]
    groups = np.concatenate([line.player * 10 + line.cls for line in lines])  # classes are below 10
    dense, _ = pd.factorize(groups)
    return dense[: len(predictions)], dense[len(predictions) :]


@dataclass(frozen=True)
class Counts:
    """Matches per class; every array is ``(8,)``, in the order of `schema.ACTIONS`."""

    tp: np.ndarray
    fp: np.ndarray
    gt: np.ndarray

    @property
    def fn(self) -> np.ndarray:
        return self.gt - self.tp

    @property
    def precision(self) -> np.ndarray:
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> np.ndarray:
        return _ratio(self.tp, self.gt)

    @property
    def f1(self) -> np.ndarray:
        return f1_score(self.tp, self.fp, self.gt)

    @property
    def macro_f1(self) -> float:
        """Mean over all eight classes; a class that never occurs counts as 0."""
        return float(self.f1.mean())

    @property
    def micro(self) -> dict[str, float]:
        pooled = Counts(self.tp.sum(), self.fp.sum(), self.gt.sum())
        return {name: float(getattr(pooled, name)) for name in ("precision", "recall", "f1")}


def f1_score(tp: np.ndarray, fp: np.ndarray, gt: np.ndarray) -> np.ndarray:
    """``2 tp / (tp + fp + gt)``, 0 where nothing is predicted and nothing is true."""
    return _ratio(2 * tp, tp + fp + gt)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)


@dataclass(frozen=True)
class Evaluation:
    """Predictions against ground truth; what is reported is derived from it."""

    # Rows above the threshold in the halves that were scored, with column ``truth``: the row of
    # ``truth`` that was taken, -1 for a false positive.
    predictions: pd.DataFrame
    truth: pd.DataFrame  # of these halves, with column ``found`` (bool)
    missing_halves: tuple[str, ...]  # that the predictions do not have
    tolerance: int
    threshold: float

    @property
    def counts(self) -> Counts:
        return _counts(self.predictions, self.truth)

    @property
    def macro_f1(self) -> float:
        return self.counts.macro_f1

    @property
    def average_precision(self) -> np.ndarray:
        """``(8,)``: 11-point interpolated AP per class, of the predictions above the threshold."""
        return np.array([self._average_precision(action) for action in ACTIONS])

    def _average_precision(self, action: int) -> float:
        rows = self.predictions[self.predictions["cls"] == action]
        total = int((self.truth["cls"] == action).sum())
        if not len(rows) or not total:
            return 0.0
        order = np.argsort(-rows["score"].to_numpy(), kind="stable")
        tp = np.cumsum(rows["truth"].to_numpy()[order] >= 0)
        precision = tp / np.arange(1, len(tp) + 1)
        best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
        # Recall levels 0, 0.1, ... 1 as whole numbers: 10 tp >= level * total, free of rounding.
        first = np.searchsorted(10 * tp, np.arange(11) * total)
        return float(np.append(best_from_here, 0.0)[first].mean())

    def splits(self) -> dict[str, Counts]:
        """Counts by visibility of the *ground truth*: with a box, without, in a replay, live, after one.

        A false positive has no ground truth, so ``fp`` is 0 in every split; use the recall.
        """
        box, replay = self.truth["box_visible"], self.truth["replay"]
        none, parts = np.zeros(N_ACTIONS, dtype=np.int64), {}
        subsets = box, ~box, replay, ~replay, after_replay(self.truth)
        for name, rows in zip(SUBSETS, subsets, strict=True):
            part = self.truth[rows]
            parts[name] = Counts(class_counts(part[part["found"]]), none, class_counts(part))
        return parts

    def per_match(self) -> dict[str, Counts]:
        """Counts of every match."""
        mine, true = (table["half"].map(match_of) for table in (self.predictions, self.truth))
        return {
            match: _counts(self.predictions[mine == match], self.truth[true == match])
            for match in dict.fromkeys(map(match_of, halves_of(self.truth)))
        }

    def as_dict(self) -> dict:
        """Everything as plain JSON values: macro_f1, micro, per_class, splits, halves, ..."""
        counts, hits = self.counts, ("tp", "fn", "gt", "recall")

        def by_class(part: Counts, *names: str, **more: np.ndarray) -> dict[str, dict]:
            columns = {name: getattr(part, name) for name in names} | more
            return pd.DataFrame(columns, ACTION_LABELS, dtype=object).to_dict("index")

        rates = ("precision", "recall", "f1")
        return {
            "macro_f1": counts.macro_f1,
            "micro": counts.micro,
            "per_class": by_class(counts, "tp", "fp", "fn", "gt", *rates, ap=self.average_precision),
            "splits": {split: by_class(part, *hits) for split, part in self.splits().items()},
            "halves": halves_of(self.truth),
            "missing_halves": list(self.missing_halves),
            "tolerance": self.tolerance,
            "threshold": self.threshold,
        }


def _counts(predictions: pd.DataFrame, truth: pd.DataFrame) -> Counts:
    hit = predictions["truth"] >= 0
    return Counts(class_counts(predictions[hit]), class_counts(predictions[~hit]), class_counts(truth))


def evaluate(
    predictions: pd.DataFrame,
    truth: pd.DataFrame,
    tolerance: int = TOLERANCE,
    threshold: float = SCORE_THRESHOLD,
    strict: bool = True,
) -> Evaluation:
    """Score predictions as the official evaluator does.

    Parameters
    ----------
    tolerance
        In frames, inclusive.
    threshold
        Predictions with a lower score are dropped.
    strict
        A half without predictions counts as all missed, and predictions for a half without ground
        truth are an error. ``False`` is the official behaviour: only halves in both are scored.
    """
    if not 0 <= tolerance < 2**31:
        raise DataError(f"tolerance {tolerance} is outside 0..2**31 - 1")
    if not 0 <= threshold <= 1:
        raise DataError(f"threshold {threshold} is outside 0..1")
    predicted, true = halves_of(predictions), halves_of(truth)
    unknown = [half for half in predicted if half not in true]
    missing = [half for half in true if half not in predicted]
    if len(missing) == len(true):
        halves = f"{', '.join(predicted) or 'none'} against {', '.join(true) or 'none'}"
        raise DataError(f"predictions and ground truth have no half in common: {halves}")
    if strict and unknown:
        reason = "predictions without ground truth (--no-strict ignores them)"
        raise DataError(f"half {', '.join(unknown)}: {reason}")
    scored = true if strict else [half for half in true if half in predicted]
    truth = select_halves(truth, scored)
    predictions = select_halves(predictions[predictions["score"] >= threshold], scored)
    taken = match_events(predictions, truth, tolerance)
    found = np.zeros(len(truth), dtype=bool)
    found[taken[taken >= 0]] = True
    predictions, truth = predictions.assign(truth=taken), truth.assign(found=found)
    return Evaluation(predictions, truth, tuple(missing), tolerance, threshold)


def after_replay(truth: pd.DataFrame) -> pd.Series:
    """Live events at most 5 seconds after one in a replay, when all players have just been lost.

    Play-by-play says neither when a replay ends nor where a cut between cameras is.
    """
    order = truth.sort_values(["half", "frame"], kind="stable")
    shown = order["frame"].where(order["replay"]).groupby(order["half"], observed=True).ffill()
    return ~truth["replay"] & (order["frame"] - shown <= _AFTER).reindex(truth.index)


def confusion(evaluation: Evaluation) -> pd.DataFrame:
    """Events by true class (last row: nothing there) and predicted class (last column: not found).

    Predictions are matched as in `match_events`, whatever the classes.
    """
    found, true = evaluation.predictions, evaluation.truth
    taken = match_events(found.assign(cls=1), true.assign(cls=1), evaluation.tolerance)
    table = np.zeros((N_ACTIONS + 1, N_ACTIONS + 1), dtype=np.int64)
    guess = found["cls"].to_numpy() - 1
    actual = np.append(true["cls"].to_numpy() - 1, N_ACTIONS)[taken]  # -1, for none, is the last
    np.add.at(table, (actual, guess), 1)
    missed = np.delete(true["cls"].to_numpy() - 1, taken[taken >= 0])
    np.add.at(table[:, N_ACTIONS], missed, 1)
    rows = pd.Index([*ACTION_LABELS, "nothing there"], name="true class")
    return pd.DataFrame(table, rows, pd.Index([*ACTION_LABELS, "not found"], name="predicted class"))


def misses(evaluation: Evaluation) -> pd.DataFrame:
    """True events that were not found, each with the false positive that comes nearest to it.

    Column ``instead`` is the row of ``evaluation.predictions``, -1 for none, and ``fault`` what is wrong
    with it: "class" (the player does something else then), "player" (a team-mate does it), "time" (it
    comes up to two seconds later or earlier), "nothing" where there is none.
    """
    faults = ("class", "player", "time")
    missed = evaluation.truth[~evaluation.truth["found"]].rename_axis("event").reset_index()
    false = evaluation.predictions[evaluation.predictions["truth"] < 0]
    said = false.rename_axis("instead").reset_index()
    pairs = missed.merge(said, on=["half", "team"], suffixes=("", "_said"))
    off = (pairs["frame_said"] - pairs["frame"]).abs()
    now, player = off <= evaluation.tolerance, pairs["jersey_said"] == pairs["jersey"]
    cls = pairs["cls_said"] == pairs["cls"]
    which = [now & player & ~cls, now & cls & ~player, player & cls & ~now & (off <= 2 * FPS)]
    pairs = pairs.assign(rank=np.select(which, range(3), 3), off=off)
    pairs = pairs[pairs["rank"] < 3].sort_values(["rank", "off"], kind="stable")
    best = pairs.drop_duplicates("event").set_index("event").reindex(missed["event"])
    fault = best["rank"].map(dict(enumerate(faults))).fillna("nothing")
    instead = best["instead"].fillna(-1).astype(int)
    return missed.set_index("event").assign(instead=instead, fault=fault).rename_axis(None)


@dataclass(frozen=True)
class Interval:
    """A figure with its bootstrap interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """What it says if it is a gain."""
        if self.low <= 0 <= self.high:
            return "no difference found"
        return "better" if self.low > 0 else "worse"


@dataclass(frozen=True)
class Comparison:
    """Macro F1 of several systems on the same matches, and what each gains over one of them."""

    against: str
    scores: dict[str, Interval]  # by name
    gains: dict[str, Interval]  # of all but ``against``
    classes: dict[str, list[Interval]] = field(default_factory=dict)  # F1 of each class, by name

    def verdict(self, name: str) -> str:
        """A system's gain in words."""
        gain = self.gains[name]
        change = f"{gain.value:+z.3f} ({gain.low:+z.3f} to {gain.high:+z.3f})"
        return f"{name} against {self.against}: macro F1 {change}, {gain.verdict}"


def compare(
    results: Mapping[str, Evaluation | Sequence[Evaluation]],
    against: str | None = None,
    level: float = 0.9,
    samples: int = 2000,
    block_minutes: float = 5.0,
    seed: int = 0,
) -> Comparison:
    """Macro F1 of systems, and of each its gain over one of them, with percentile bootstrap intervals.

    Blocks of 5 minutes are drawn with replacement from all halves, since neighbouring events depend on
    each other. The same blocks are drawn for all systems, so the gains are paired.

    Parameters
    ----------
    results
        By name, on the same ground truth. Several evaluations of a system are of several seeds: the
        figure is their mean, and seeds are drawn with replacement like blocks: the same ones for systems
        that have equally many, since what differs in a step after training has its seeds in common.
    against
        The system that the others are compared with; the first by default.
    level
        Share of the bootstrap distribution inside an interval.
    """
    systems = {name: [e] if isinstance(e, Evaluation) else list(e) for name, e in results.items()}
    against = next(iter(systems)) if against is None else against
    if against not in systems:
        raise DataError(f"nothing is called {against!r}: there are {', '.join(systems)}")
    each = [evaluation for system in systems.values() for evaluation in system]
    if any(halves_of(e.truth) != halves_of(each[0].truth) for e in each):
        raise DataError("the evaluations are not of the same halves")
    rng = np.random.default_rng(seed)
    by_class = _resampled(each, samples, block_minutes, rng)  # (E, samples, 8)
    single, first, drawn, drawn_classes = by_class.mean(axis=-1), 0, {}, {}
    counts = dict.fromkeys(map(len, systems.values()))
    seeds = {count: rng.integers(count, size=(count, samples)) for count in counts}
    for name, system in systems.items():
        runs = first + seeds[len(system)]
        drawn[name] = np.take_along_axis(single, runs, axis=0).mean(axis=0)
        drawn_classes[name] = np.take_along_axis(by_class, runs[..., None], axis=0).mean(axis=0)
        first += len(system)
    value = {name: float(np.mean([e.macro_f1 for e in system])) for name, system in systems.items()}

    def interval(figure: float, draws: np.ndarray) -> Interval:
        tail = 50 * (1 - level)
        return Interval(float(figure), *map(float, np.percentile(draws, [tail, 100 - tail])))

    scores = {name: interval(value[name], drawn[name]) for name in systems}
    base, others = drawn[against], [name for name in systems if name != against]
    gains = {name: interval(value[name] - value[against], drawn[name] - base) for name in others}
    classes = {
        name: list(map(interval, np.mean([e.counts.f1 for e in system], axis=0), drawn_classes[name].T))
        for name, system in systems.items()
    }
    return Comparison(against, scores, gains, classes)


def _resampled(
    each: Sequence[Evaluation], samples: int, block_minutes: float, rng: np.random.Generator
) -> np.ndarray:
    """``(E, samples, 8)``: F1 of every evaluation and class on the same random blocks."""
    length = int(block_minutes * 60 * FPS)
    frames = [table["frame"] for e in each for table in (e.truth, e.predictions)]
    per_half = 1 + max((int(frame.max()) // length for frame in frames if len(frame)), default=0)
    tallies = np.stack([_tally(e, length, per_half) for e in each])  # (E, 3, blocks, 8)
    tallies = tallies[:, :, tallies.any(axis=(0, 1, 3))]
    n_blocks = tallies.shape[2]
    weights = rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=samples)
    # As floats, which hold such counts exactly: NumPy multiplies matrices of integers one by one.
    tp, fp, gt = np.moveaxis(weights.astype(float) @ tallies, 1, 0)  # each (E, samples, 8)
    return f1_score(tp, fp, gt)


def _tally(evaluation: Evaluation, length: int, per_half: int) -> np.ndarray:
    """``(3, blocks, 8)``: tp, fp and gt per block of ``length`` frames and class.

    A hit counts in the block of its ground truth.
    """
    truth, predictions = evaluation.truth, evaluation.predictions
    shape = (len(halves_of(truth)), per_half, N_ACTIONS)

    def count(table: pd.DataFrame) -> np.ndarray:
        cell = (table["half"].cat.codes, table["frame"] // length, table["cls"] - 1)
        index = np.ravel_multi_index([np.asarray(part, dtype=np.int64) for part in cell], shape)
        return np.bincount(index, minlength=np.prod(shape)).reshape(-1, N_ACTIONS)

    wrong = predictions[predictions["truth"] < 0]
    return np.stack([count(part) for part in (truth[truth["found"]], wrong, truth)])
