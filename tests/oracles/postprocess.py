"""The four steps of post-processing as loops over rows: what `footpass.postprocess` must equal."""

from collections import defaultdict

import pandas as pd

from footpass.postprocess.steps import NMS, Gate, PostprocessConfig, Reassign, Refine

# An event is (half, frame, team, jersey, cls, score).
Event = tuple[str, int, int, int, int, float]


def rows_of(table: pd.DataFrame) -> list[Event]:
    columns = (table[name].tolist() for name in ("half", "frame", "team", "jersey", "cls", "score"))
    return list(zip(*columns, strict=True))


class PlainEvidence:
    """Another model's events, searched from the first to the last."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.halves = set(table["half"].cat.categories)
        self.groups = defaultdict(list)
        for half, frame, team, jersey, cls, score in rows_of(table):
            self.groups[half, team, cls].append((frame, jersey, score))

    def near(self, event: Event, window: int) -> list[tuple[int, int, float]]:
        half, frame, team, _, cls, _ = event
        return [hit for hit in self.groups[half, team, cls] if abs(hit[0] - frame) <= window]

    def peak(self, event: Event, window: int) -> tuple[float, int]:
        hits = [hit for hit in self.near(event, window) if hit[1] == event[3]]
        return _strongest(hits, event[1])[::2] if hits else (0.0, event[1])

    def best_mate(self, event: Event, window: int) -> tuple[float, int]:
        hits = [hit for hit in self.near(event, window) if hit[1] != event[3]]
        return _strongest(hits, event[1])[:2] if hits else (0.0, event[3])


def _strongest(hits: list[tuple[int, int, float]], around: int) -> tuple[float, int, int]:
    """Strength, jersey and frame."""
    frame, jersey, strength = min(hits, key=lambda hit: (-hit[2], abs(hit[0] - around), hit[0], hit[1]))
    return strength, jersey, frame


def gate(events: list[Event], evidence: PlainEvidence, config: Gate) -> list[Event]:
    kept = []
    for event in events:
        strength = (1 - config.own) * evidence.peak(event, config.window)[0] + config.own * event[5]
        if event[0] not in evidence.halves or strength >= config.thresholds[event[4] - 1]:
            kept.append(event)
    return kept


def refine(events: list[Event], evidence: PlainEvidence, config: Refine) -> list[Event]:
    moved = []
    for half, frame, *rest in events:
        shifted = (half, max(frame + config.offsets[rest[2] - 1], 0), *rest)
        strength, peak = evidence.peak(shifted, config.window)
        follow = strength > 0 and strength >= config.min_strength
        moved.append((half, peak, *rest) if follow else shifted)
    return moved


def reassign(events: list[Event], evidence: PlainEvidence, config: Reassign) -> list[Event]:
    changed = []
    for event in events:
        own = evidence.peak(event, config.window)[0]
        strength, mate = evidence.best_mate(event, config.window)
        changed.append((*event[:3], mate, *event[4:]) if strength - own > config.margin else event)
    return changed


def nms(events: list[Event], config: NMS) -> list[Event]:
    kept: list[int] = []
    by_player = defaultdict(list)
    for i in sorted(range(len(events)), key=lambda i: -events[i][5]):  # stable: ties by row order
        half, frame, team, jersey, cls, _ = events[i]
        mine = by_player[half, team, jersey, cls]
        if all(abs(frame - other) > config.window for other in mine):
            mine.append(frame)
            kept.append(i)
    return [events[i] for i in sorted(kept)]


def postprocess(events: list[Event], evidence: PlainEvidence, config: PostprocessConfig) -> list[Event]:
    events = reassign(events, evidence, config.reassign)
    events = gate(events, evidence, config.gate)
    events = refine(events, evidence, config.refine)
    return nms(events, config.nms)
