"""The four steps of post-processing on a match of released predictions: vectorised against loops."""

from benchmarks.harness import compare, main
from footpass.events import halves_of, match_of, select_halves
from footpass.experiments.release import load_release
from footpass.postprocess.evidence import EventEvidence
from footpass.postprocess.steps import NMS, Gate, PostprocessConfig, Reassign, Refine, postprocess
from tests.oracles import postprocess as plain

CONFIG = PostprocessConfig(
    reassign=Reassign(0.2, window=12),
    gate=Gate((0.35,) * 8, window=12, own=0.5),
    refine=Refine((-1,) * 8, window=6, min_strength=0.5),
    nms=NMS(12),
)


def run() -> dict:
    """Time both on the first val match, audit included in ours."""
    release = load_release()
    halves = halves_of(release.val)
    match = [half for half in halves if match_of(half) == match_of(halves[0])]
    events, detections = (select_halves(release.predictions[model], match) for model in ("DST", "TAAD"))
    rows = plain.rows_of(events)
    return compare(
        "postprocess",
        f"{len(events)} events, {len(detections)} detections of a match ({release.source})",
        fast=lambda: postprocess(events, EventEvidence(detections), CONFIG).table,
        plain=lambda: plain.postprocess(rows, plain.PlainEvidence(detections), CONFIG),
        target=5,
        same=lambda table, rows: plain.rows_of(table) == rows,
    )


if __name__ == "__main__":
    main(run)
