"""Tables of an ablation study: scores of its rows, and by how much they differ from others."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from footpass.experiments.grid import Outcome
from footpass.experiments.rows import Grid
from footpass.metrics import SUBSETS, Comparison, Evaluation, Interval, compare, evaluate
from footpass.schema import ACTION_LABELS

Evaluations = Mapping[str, Sequence[Evaluation]]  # by row, one a seed


def evaluations(outcomes: Mapping[str, Sequence[Outcome]], truth: pd.DataFrame) -> Evaluations:
    """Every row's events against the truth."""
    return {name: [evaluate(o.events, truth) for o in runs] for name, runs in outcomes.items()}


def scores(results: Evaluations, compared: Comparison) -> pd.DataFrame:
    """Macro F1 by row, the mean over its seeds with its interval, and recall by visibility."""
    rows = []
    for name, runs in results.items():
        interval = compared.scores[name]
        single = [run.macro_f1 for run in runs]
        row = {"row": name, "seeds": len(runs), "macro F1": interval.value, "low": interval.low}
        row |= {"high": interval.high, "worst seed": min(single), "best seed": max(single)}
        row["micro F1"] = np.mean([run.counts.micro["f1"] for run in runs])
        parts = [run.splits() for run in runs]
        for split in SUBSETS:
            recalls = [part[split].micro["recall"] for part in parts]
            row[f"recall, {split.replace('_', ' ')}"] = np.mean(recalls)
        rows.append(row)
    return pd.DataFrame(rows).set_index("row")


def effects(grid: Grid, results: Evaluations, **options: Any) -> pd.DataFrame:
    """By how much rows differ from those they are set against, paired, with the 90 % interval.

    What a row is set against and is not among the results is left out. Of a detector that a DST is set
    against, only seed 0 counts: the one that the DST reads.
    """
    rows, known = [], {row.name: row for row in grid.rows}
    for row in grid.rows:
        for base in row.against:
            if base in results:
                pair = {name: results[name] for name in (base, row.name)}
                seeds = grid.seeds_of(known[base])
                if row.model == "dst" != known[base].model and 0 in seeds:
                    pair[base] = [results[base][seeds.index(0)]]
                change = compare(pair, base, **options).gains[row.name]
                rows.append((row.name, row.group, base, change.value, change.low, change.high))
    columns = ["row", "group", "against", "change", "low", "high"]
    return pd.DataFrame(rows, columns=columns).set_index("row")


def gains(table: pd.DataFrame) -> dict[tuple[str, str], Interval]:
    """The changes of `effects`, by the names of a row and of what it is set against."""
    return {
        (row.Index, row.against): Interval(row.change, row.low, row.high) for row in table.itertuples()
    }


def verdict(name: str, base: str, gain: Interval) -> str:
    """A gain over another row in words."""
    return Comparison(base, {}, {name: gain}).verdict(name)


def findings(table: pd.DataFrame, *names: str) -> str:
    """What `effects` says of some rows, a sentence each, as a list."""
    found = [(pair, gain) for name in names for pair, gain in gains(table).items() if pair[0] == name]
    told = [f"- {verdict(*pair, gain)}." for pair, gain in found]
    told = [line.replace("- +", "- \\+") for line in told]  # a plus there would begin another list
    return "\n".join(told) or "Not among the rows of this profile."


def by_class(results: Evaluations) -> pd.DataFrame:
    """F1 by row and class, the mean over seeds."""
    f1 = {name: np.mean([run.counts.f1 for run in runs], axis=0) for name, runs in results.items()}
    table = pd.DataFrame(f1, pd.Index(ACTION_LABELS, name="class")).T
    return table.rename_axis("row")
