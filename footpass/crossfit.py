"""Leave matches out: the only way anything is fitted and scored on the same set of matches.

`fit` and `apply` are handed cut copies, never the whole: what is fitted cannot see the matches it will
be applied to, and what is applied cannot see any ground truth.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self

import pandas as pd
from tqdm.auto import tqdm

from footpass.events import concat, halves_of, match_of, select_halves
from footpass.files import DataError

LABELS = {"box_visible", "replay", "truth", "found"}  # columns that come from ground truth


class Cuttable(Protocol):
    """Anything that can be cut to some halves, such as the evidence of a logit volume."""

    halves: tuple[str, ...]

    def select(self, halves: list[str]) -> Self: ...


Inputs = Mapping[str, pd.DataFrame | Cuttable]
Fit = Callable[[Inputs, pd.DataFrame], Any]
Apply = Callable[[Any, Inputs], pd.DataFrame]


class CrossFit(NamedTuple):
    """The events of every match, and the models behind them by match."""

    table: pd.DataFrame
    models: dict[str, Any]


def cross_fit(
    fit: Fit,
    apply: Apply,
    inputs: Inputs,
    truth: pd.DataFrame,
    folds: int | None = None,
) -> CrossFit:
    """Apply to every match what was fitted on the other matches.

    Parameters
    ----------
    fit
        ``fit(inputs, truth) -> model``, called with the rows of all other matches.
    apply
        ``apply(model, inputs) -> table``, called with the inputs of the matches left out.
    inputs
        Predictions by a name of one's own; a model may lack halves, but some input has each.
    truth
        Ground truth, by which the halves are ordered in the result.
    folds
        Where there are more matches, they are left out together in so many groups; None: one by one.
    """
    halves = _checked_halves(inputs, truth)
    matches = list(dict.fromkeys(map(match_of, halves)))
    if len(matches) < 2:
        raise DataError(f"cannot hold out {', '.join(matches) or 'a match'}: needs at least two matches")
    models: dict[str, Any] = {}
    tables = []
    groups = min(folds or len(matches), len(matches))
    if groups < 2:
        raise DataError(f"{groups} fold: at least 2 are needed")
    for number in tqdm(range(groups), desc="cross-fit", leave=False):
        left_out = matches[number::groups]
        others = [half for half in halves if match_of(half) not in left_out]
        model = fit(_cut_all(inputs, others), cut(truth, others))
        models |= dict.fromkeys(left_out, model)
        scored = [half for half in halves if match_of(half) in left_out]
        tables.append(_applied(apply, model, inputs, scored))
    return CrossFit(_ordered(concat(tables), halves), models)


def in_sample(fit: Fit, apply: Apply, inputs: Inputs, truth: pd.DataFrame) -> CrossFit:
    """Fit on *all* matches and apply to the same: too good, only to report by how much.

    Arguments and result (its one model is called ``"all"``) as in `cross_fit`.
    """
    halves = _checked_halves(inputs, truth)
    model = fit(_cut_all(inputs, halves), cut(truth, halves))
    return CrossFit(_ordered(_applied(apply, model, inputs, halves), halves), {"all": model})


def _checked_halves(inputs: Inputs, truth: pd.DataFrame) -> list[str]:
    known = set()
    for name, source in inputs.items():
        told = LABELS.intersection(source.columns) if isinstance(source, pd.DataFrame) else None
        if told:
            raise DataError(f"input {name!r} has {', '.join(sorted(told))}: ground truth is no input")
        known.update(_halves(source))
    missing = [half for half in halves_of(truth) if half not in known]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        named = f"half {', '.join(missing[:3])}{more}"
        raise DataError(f"{named} is in no input: leave it out of the truth too")
    return halves_of(truth)


def _halves(source: pd.DataFrame | Cuttable) -> list[str]:
    return halves_of(source) if isinstance(source, pd.DataFrame) else list(source.halves)


def cut(source: Any, halves: Sequence[str]) -> Any:
    """A copy of the halves that the source has: one it lacks is not one without events."""
    own = [half for half in halves if half in _halves(source)]
    return select_halves(source, own) if isinstance(source, pd.DataFrame) else source.select(own)


def _cut_all(inputs: Inputs, halves: list[str]) -> Inputs:
    return {name: cut(source, halves) for name, source in inputs.items()}


def _applied(apply: Apply, model: Any, inputs: Inputs, halves: list[str]) -> pd.DataFrame:
    table = apply(model, _cut_all(inputs, halves))
    strange = [half for half in halves_of(table) if half not in halves]
    if strange:
        raise DataError(f"apply returned half {', '.join(strange)}, which it was not given")
    return table


def _ordered(table: pd.DataFrame, halves: list[str]) -> pd.DataFrame:
    return cut(table, halves).sort_values("half", kind="stable", ignore_index=True)
