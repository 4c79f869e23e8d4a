"""Matching of the TAAD predictions on val: vectorised against a loop over events."""

from benchmarks.harness import compare, main
from footpass.experiments.release import load_release
from footpass.metrics import match_events
from footpass.schema import TOLERANCE
from tests.oracles.matching import match_events as plain


def run() -> dict:
    """Time both on the released predictions, or on simulated ones of the same size."""
    release = load_release()
    tables = (release.predictions["TAAD"], release.val, TOLERANCE)
    return compare(
        "matching",
        f"{len(tables[0])} predictions against {len(tables[1])} events ({release.source})",
        fast=lambda: match_events(*tables).tolist(),
        plain=lambda: plain(*tables),
        target=5,
    )


if __name__ == "__main__":
    main(run)
