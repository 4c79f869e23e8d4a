"""The metric's definition, event by event: oracle of the tests, yardstick of the benchmark."""

import pandas as pd


def match_events(predictions: pd.DataFrame, truth: pd.DataFrame, tolerance: int) -> list[int]:
    """As `footpass.metrics.match_events`, by two nested loops."""
    by_player: dict[tuple, list[tuple[int, int]]] = {}
    for row, event in enumerate(truth.itertuples(index=False)):
        player = (event.half, event.team, event.jersey, event.cls)
        by_player.setdefault(player, []).append((row, event.frame))
    rows = list(enumerate(predictions.itertuples(index=False)))
    rows.sort(key=lambda item: item[1].score, reverse=True)  # stable: ties keep the file's order
    taken, used = [-1] * len(rows), set()
    for number, event in rows:
        nearest, distance = -1, tolerance + 1
        for row, frame in by_player.get((event.half, event.team, event.jersey, event.cls), ()):
            if row not in used and abs(frame - event.frame) < distance:
                nearest, distance = row, abs(frame - event.frame)
        if nearest >= 0:
            taken[number] = nearest
            used.add(nearest)
    return taken
