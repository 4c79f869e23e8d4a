"""Leave one match out: time by match of eight matches, against two; were it linear, a ratio of 1.

A fit is linear in what it learns from: the further matches, always the same, and all known ones but that
held out. So one more match is not only one more fit: each of the others learns from it too.
"""

import time
from dataclasses import replace

from benchmarks.harness import main
from footpass.ensemble.rescore import fit
from footpass.events import halves_of, match_of, select_halves
from footpass.experiments.profile import load_profile
from footpass.simulate.detections import released_detectors, simulate_detections
from footpass.simulate.events import simulate_season

TRAIN, MINUTES = 24, 30.0


def run() -> dict:
    """A fit on seven matches, as with eight, and on one, as with two: CPU time, the faster of two."""
    season = simulate_season(7 + TRAIN, MINUTES, seed=3)
    matches = list(dict.fromkeys(map(match_of, halves_of(season))))
    config = replace(load_profile("demo").rescore, train_matches=TRAIN)
    further = select_halves(season, [h for h in halves_of(season) if match_of(h) in matches[7:]])

    def seconds(known: int) -> float:
        halves = [half for half in halves_of(season) if match_of(half) in matches[:known]]
        truth = select_halves(season, halves)
        found = simulate_detections(truth, released_detectors(), seed=0)
        start = time.process_time()
        fit([found["DST"], found["TAAD"]], truth, further, config)
        return time.process_time() - start

    times = {known: min(seconds(known) for _ in range(2)) for known in (1, 7)}
    what = f"a fit on 7 matches of {MINUTES:.0f} minutes against one on 1, and {TRAIN} further ones"
    ratio = times[1] / times[7]
    return dict(name="rescore", what=what, fast_s=times[7], plain_s=times[1], ratio=ratio, target=0.7)


if __name__ == "__main__":
    main(run)
