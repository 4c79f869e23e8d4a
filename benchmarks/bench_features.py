"""Features of the candidates of a match: arrays against a loop over rows."""

import numpy as np

from benchmarks.harness import compare, main
from footpass.ensemble.candidates import merge, scores_of
from footpass.ensemble.features import features, transitions
from footpass.events import halves_of, match_of, select_halves
from footpass.experiments.release import load_release
from footpass.schema import N_CLASSES
from tests.oracles import features as plain


def run() -> dict:
    """Time both on the first val match."""
    release = load_release()
    halves = halves_of(release.val)
    match = [half for half in halves if match_of(half) == match_of(halves[0])]
    tables = [select_halves(release.predictions[model], match) for model in ("DST", "TAAD")]
    candidates, ratios = merge(tables), transitions(release.train)
    p = np.zeros((len(candidates), N_CLASSES))
    p[np.arange(len(p)), candidates["cls"]] = scores_of(candidates).max(axis=1)
    p[:, 0] = 1 - p.sum(axis=1)
    return compare(
        "features",
        f"{len(candidates)} candidates of a match ({release.source})",
        fast=lambda: features(candidates, p, ratios),
        plain=lambda: plain.features(candidates, p, ratios),
        target=20,
        repeats=3,
        same=lambda a, b: list(a) == list(b) and np.allclose(a, b, rtol=1e-4, atol=1e-5),
    )


if __name__ == "__main__":
    main(run)
