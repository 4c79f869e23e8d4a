"""Decoding that knows the game: which event may follow which, by whom and after how long.

A pass follows its player's drive, a throw-in an opponent's touch. `log_ratios` counts in ground truth
how much more often than by chance; `decode` finds, among all subsets of the candidates, the chain of
events that has the most for it. `legal_events` needs nothing but a list of events: it takes out as
little as it can, so that no event follows another that it hardly ever follows in real matches.
"""

import numpy as np
import pandas as pd

from footpass.data.statistics import load_statistics
from footpass.schema import ACTIONS, SCORE_THRESHOLD
from footpass.timeline import RELATIONS, Timeline, pairs_within

GAPS = (4, 8, 14, 22, 35, 60, 100, 200, 400)  # frames: edges between the bins of gaps
REACH = 3000  # frames: two events further apart say nothing of each other
SHAPE = (len(ACTIONS), len(RELATIONS), len(ACTIONS))  # class before, relation of the actors, class
FORBIDDEN = 0.05  # of what chance would give: transitions rarer than that are against the grammar


def log_ratios(truth: pd.DataFrame) -> np.ndarray:
    """``(8, 3, 8, 10)``: log of how much more often than by chance a class follows another, centred.

    By class before, relation (`RELATIONS`), class and bin of `GAPS`. By chance, the two classes, who
    acts and the gap are independent. Where chance would give few, the ratio is close to that of all
    gaps, and this one to that of all classes before. The mean over all events of a class is taken off:
    decoding keeps no more events for a chain that is no likelier than that of any true event.
    """
    ordered = truth.sort_values(["half", "frame"], kind="stable")
    counts = Timeline.of(ordered).neighbours(-1, GAPS)[1:, 1:].transpose(1, 2, 0, 3)
    coarse = _ratios(counts.sum(axis=3))
    gaps = counts.sum(axis=(0, 1, 2)) / max(counts.sum(), 1)
    chance = _chance(counts.sum(axis=3))[..., None] * gaps
    ratios = np.log(_shrunk(counts, chance, coarse[..., None]))
    mean = (counts * ratios).sum(axis=(0, 1, 3)) / counts.sum(axis=(0, 1, 3)).clip(min=1)
    return ratios - mean[:, None]


def legal(transitions: np.ndarray) -> np.ndarray:
    """Which of the ``(8, 3, 8)`` transitions occur at least `FORBIDDEN` times as often as by chance.

    ``transitions`` are the counts of `data.statistics.Statistics`.
    """
    return _ratios(transitions) >= FORBIDDEN


def _ratios(transitions: np.ndarray) -> np.ndarray:
    chance = _chance(transitions)
    everyone = _shrunk(transitions.sum(axis=0), chance.sum(axis=0), np.ones(SHAPE[1:]))
    return _shrunk(transitions, chance, everyone)


def _chance(transitions: np.ndarray) -> np.ndarray:
    """Expected counts if classes and relation were independent."""
    n = max(transitions.sum(), 1)
    shares = [transitions.sum(axis=axes) / n for axes in ((1, 2), (0, 2), (0, 1))]
    return n * np.einsum("a,r,b->arb", *shares)


def _shrunk(counts: np.ndarray, chance: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Ratio of counts to chance; where chance would give few, it is close to the prior ratio."""
    return (counts + 5 * prior) / (chance + 5)


def decode(events: pd.DataFrame, log_odds: np.ndarray, transitions: np.ndarray) -> np.ndarray:
    """Which candidates make up the best chain, bool ``(N,)``, by dynamic programming (Viterbi).

    The best of all subsets has the largest sum of its events' log-odds and, for each event and the one
    before it in the subset, of their transition. Without transitions it is that of all candidates
    whose log-odds are not negative.

    Parameters
    ----------
    events
        Candidates in any order; of one frame, they are taken by team, jersey and class.
    log_odds
        ``(N,)``: how much speaks for each by itself, 0 where an event is as well left out.
    transitions
        ``(8, 3, 8, 10)`` as `log_ratios`, or ``(8, 3, 8, 1)`` for all gaps; minus infinity forbids a
        transition. Events more than `REACH` frames apart, or of different halves, have none.
    """
    keys = [events[name] for name in ("cls", "jersey", "team")]
    order = np.lexsort((log_odds, *keys, Timeline.of(events).place))
    line, own = Timeline.of(events.iloc[order]), log_odds[order]
    i, j = pairs_within(line.place, line.place, REACH)
    i, j = i[j < i], j[j < i]
    gap = np.digitize(line.place[i] - line.place[j], GAPS)
    transitions = np.broadcast_to(transitions, (*SHAPE, len(GAPS) + 1))
    step = transitions[line.cls[j] - 1, line.relation(j, i), line.cls[i] - 1, gap]

    n, chosen = len(own), []
    first = np.searchsorted(i, np.arange(n + 1))  # of every event's pairs with those before it
    best, back = np.zeros(n), np.full(n, -1)  # of the chains that end with an event
    far, far_end, passed = 0.0, -1, 0  # the best that ends out of reach, or that has no event yet
    for k in range(n):
        near = k - (first[k + 1] - first[k])
        while passed < near:
            if best[passed] >= far:
                far, far_end = best[passed], passed
            passed += 1
        best[k], back[k] = far, far_end
        if near < k:
            totals = best[near:k] + step[first[k] : first[k + 1]]
            last = k - 1 - int(np.argmax(totals[::-1]))  # of equals the longest
            if totals[last - near] >= far:
                best[k], back[k] = totals[last - near], last
        best[k] += own[k]
    end = n - 1 - int(np.argmax(best[::-1])) if n and best.max() >= 0 else -1
    while end >= 0:
        chosen.append(end)
        end = back[end]
    kept = np.zeros(n, dtype=bool)
    kept[order[chosen]] = True
    return kept


def legal_events(events: pd.DataFrame) -> pd.DataFrame:
    """The events above the official threshold without what is against the grammar of real matches.

    What goes has the least log-odds, counted from the threshold. Real are the train matches.
    """
    events = events[events["score"] >= SCORE_THRESHOLD]
    allowed = legal(load_statistics().transitions)
    score = events["score"].to_numpy().clip(SCORE_THRESHOLD, 1 - 1e-6)
    odds = score / (1 - score) * (1 - SCORE_THRESHOLD) / SCORE_THRESHOLD
    transitions = np.where(allowed, 0.0, -np.inf)[..., None]
    return events[decode(events, np.log(odds), transitions)].reset_index(drop=True)
