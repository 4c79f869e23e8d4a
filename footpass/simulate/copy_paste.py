"""Detections for matches that no model has seen: snippets of real ones around real events, pasted.

A few matches with predictions say how models err; many more matches have only ground truth. Every
detection of the former is given to the true event it is most likely about, with its offset in time,
class, score, and its player *relative to the chain of possession* (the actor, who acted before, who acts
next, some other team-mate or opponent). Onto every event of the latter goes the snippet of an event like
it: same class, visibility, neighbours and gaps as far as there are such.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.ndimage import uniform_filter1d
from scipy.special import expit, logit, ndtr

from footpass.configs import Count, Share, config_dataclass
from footpass.events import concat, halves_of, select_halves
from footpass.schema import N_CLASSES, TOLERANCE
from footpass.timeline import RELATIONS, Timeline, pairs_within

_CONTEXT_GAPS = (8, 18, 40, 90)  # frames: bins of the gap to the neighbouring events
_CONTEXT_REACH = 250  # frames: a neighbour further away is none
_NOBODY = 99  # a player who is not in the chain


@config_dataclass
class CopyPasteConfig:
    """How snippets are cut and pasted."""

    # Frames within which a detection belongs to an event even if another player's; further away it is
    # background, and is pasted only where no event is that near.
    reach: Count = 40
    # Events before and after whose players are recognised.
    chain: Annotated[int, Field(ge=0, le=100)] = 4
    # Standard deviations, in frames and in logits: a score must not betray its donor.
    frame_jitter: Annotated[float, Field(ge=0, le=1000)] = 2.0
    score_jitter: Annotated[float, Field(ge=0, le=100)] = 0.6
    persistence: Share = 0.85  # correlation of luck from one event to the next; models fail in runs
    # Least donors for a context to be used, from class alone to class, visibility, neighbours, gaps.
    donors: tuple[Count, Count, Count, Count, Count] = (1, 4, 6, 8, 10)


@dataclass(frozen=True)
class Snippets:
    """Detections by the event they belong to."""

    contexts: np.ndarray  # (levels, events): code of each event's context, coarse to fine
    quality: np.ndarray  # (events,): how well the first model does around it
    # (events,): its detections are the rows first .. first + count.
    first: np.ndarray
    count: np.ndarray
    # offset, model, cls, score, relative, opponent; relative counts events along the chain.
    detections: pd.DataFrame
    # (models,): frames between a player's events of one class that a model never falls below.
    least_gap: np.ndarray


def cut_snippets(
    truth: pd.DataFrame, tables: Sequence[pd.DataFrame], config: CopyPasteConfig | None = None
) -> Snippets:
    """Give every detection of the models to one true event."""
    config = config or CopyPasteConfig()
    truth = _sorted(truth)
    found = concat(list(tables))
    found["model"] = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    found = select_halves(found, halves_of(truth))
    true, line = Timeline.of(truth), Timeline.of(found)

    i, j = pairs_within(line.place, true.place, config.reach)
    same_player = line.player[i] == true.player[j]
    cost = np.abs(true.place[j] - line.place[i]) + np.where(line.cls[i] == true.cls[j], 0, 8)
    cost += np.where(same_player, 0, np.where(line.team[i] == true.team[j], 18, 30))
    best = np.lexsort((cost, i))
    i, j = i[best], j[best]
    event = np.full(len(found), -1)
    event[i[::-1]] = j[::-1]  # the last write, so the cheapest, stays
    alone = np.flatnonzero(event < 0)
    event[alone] = _nearest(true.place, line.place[alone])
    offset = line.place - true.place[event] if len(truth) else line.place
    keep = (event >= 0) & (line.half == true.half[event]) if len(truth) else np.zeros(0, dtype=bool)

    right = (line.player == true.player[event]) & (line.cls == true.cls[event])
    right &= np.abs(offset) <= TOLERANCE
    hit = np.bincount(event[keep & right & (found["model"] == 0)], minlength=len(truth)) > 0
    detections = pd.DataFrame(
        {
            "offset": offset,
            "model": found["model"],
            "cls": line.cls,
            "score": found["score"],
            "relative": _relative(line.player, true, event, config.chain),
            "opponent": line.team != true.team[event],
        }
    )[keep]
    order = np.argsort(event[keep], kind="stable")
    count = np.bincount(event[keep], minlength=len(truth))
    return Snippets(
        contexts=_contexts(truth),
        quality=uniform_filter1d(hit.astype(float), 11, mode="constant"),
        first=np.cumsum(count) - count,
        count=count,
        detections=detections.iloc[order].reset_index(drop=True),
        least_gap=np.nan_to_num([_gaps(_sorted(table)).min() for table in tables]),
    )


def paste(
    snippets: Snippets,
    truth: pd.DataFrame,
    rng: np.random.Generator,
    config: CopyPasteConfig | None = None,
) -> list[pd.DataFrame]:
    """Detections for matches that have only ground truth: a table per model, by half and frame."""
    config = config or CopyPasteConfig()
    truth = _sorted(truth)
    true, n = Timeline.of(truth), len(truth)
    donor = _donors(snippets, _contexts(truth), _luck(n, rng, config.persistence), rng, config.donors)
    count = np.where(donor >= 0, snippets.count[donor], 0)
    event = np.repeat(np.arange(n), count)
    within = np.arange(len(event)) - np.repeat(np.cumsum(count) - count, count)
    taken = snippets.detections.iloc[snippets.first[donor][event] + within]
    offset, relative = taken["offset"].to_numpy(), taken["relative"].to_numpy()
    jitter = np.rint(rng.normal(0, config.frame_jitter, len(event))).astype(np.int64)
    place = true.place[event] + offset + jitter
    nearest = np.abs(true.place[_nearest(true.place, place)] - place)
    keep = (np.abs(offset) <= config.reach) | (nearest > config.reach)

    actor = (event + np.where(relative == _NOBODY, 0, relative)).clip(0, max(n - 1, 0))
    known = (relative != _NOBODY) & (true.half[actor] == true.half[event])
    team = np.where(taken["opponent"], 1 - true.team[event], true.team[event])
    actor = np.where(known, actor, _bystanders(true, event, team, rng))
    keep &= actor >= 0

    noise = rng.normal(0, config.score_jitter, len(event))
    frame = truth["frame"].to_numpy()[event] + place - true.place[event]
    table = pd.DataFrame(
        {
            "half": truth["half"].array[event],
            "frame": frame.clip(min=0),
            "team": true.team[actor],
            "jersey": truth["jersey"].to_numpy()[actor],
            "cls": taken["cls"].to_numpy(),
            "score": expit(logit(taken["score"].to_numpy().clip(1e-6, 1 - 1e-6)) + noise),
            "model": taken["model"].to_numpy(),
        }
    )
    table = _sorted(table[keep])
    pasted = []
    for model, gap in enumerate(snippets.least_gap):
        mine = table[table["model"] == model].drop(columns="model")
        pasted.append(mine[~(_gaps(mine) < max(gap, 1))].reset_index(drop=True))
    return pasted


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(["half", "frame"], kind="stable", ignore_index=True)


def _nearest(sorted_places: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Index of the nearest of the sorted places, -1 where there is none."""
    if not len(sorted_places):
        return np.full(len(places), -1)
    after = np.searchsorted(sorted_places, places).clip(max=len(sorted_places) - 1)
    before = (after - 1).clip(min=0)
    left, right = np.abs(sorted_places[before] - places), np.abs(sorted_places[after] - places)
    return np.where(left <= right, before, after)


def _relative(player: np.ndarray, true: Timeline, event: np.ndarray, chain: int) -> np.ndarray:
    """How many events along the chain the player acts, the nearest first: 0, 1, -1, 2, ..."""
    relative = np.full(len(player), _NOBODY)
    for step in [0, *(sign * s for s in range(1, chain + 1) for sign in (1, -1))]:
        acts = (event + step).clip(0, max(len(true.player) - 1, 0))
        near = np.abs(true.place[acts] - true.place[event]) < 500
        relative[(relative == _NOBODY) & near & (true.player[acts] == player)] = step
    return relative


def _contexts(truth: pd.DataFrame) -> np.ndarray:
    """``(5, N)``: codes of class; + visibility; + who neighbours are; + what they do; + gaps."""
    line, rows = Timeline.of(truth), np.arange(len(truth))
    sight = np.where(truth["replay"], 2, np.where(truth["box_visible"], 0, 1))
    who, what, when = [], [], []
    for step in (-1, 1):
        j, valid = line.step(step)
        gap = np.abs(line.place[j] - line.place)
        valid &= gap < _CONTEXT_REACH
        who.append(np.where(valid, line.relation(rows, j), len(RELATIONS)))
        what.append(np.where(valid, line.cls[j], 0))
        when.append(np.where(valid, np.digitize(gap, _CONTEXT_GAPS), len(_CONTEXT_GAPS) + 1))
    codes = [line.cls]
    sizes = 3, len(RELATIONS) + 1, N_CLASSES, len(_CONTEXT_GAPS) + 2
    for parts, size in zip(([sight], who, what, when), sizes, strict=True):
        code = codes[-1]
        for part in parts:
            code = code * size + part
        codes.append(code)
    return np.stack(codes)


def _luck(n: int, rng: np.random.Generator, persistence: float) -> np.ndarray:
    """``(n,)`` in 0..1, uniform, neighbours correlated (a Gaussian copula of an AR(1) series)."""
    from scipy.signal import lfilter  # slow to import

    burn = 200
    noise = rng.standard_normal(n + burn)
    return ndtr(lfilter([np.sqrt(1 - persistence**2)], [1, -persistence], noise)[burn:])


def _donors(
    snippets: Snippets,
    contexts: np.ndarray,
    luck: np.ndarray,
    rng: np.random.Generator,
    least: tuple[int, ...],
) -> np.ndarray:
    """Event whose snippet is pasted: of the finest context with enough donors."""
    donor = np.full(contexts.shape[1], -1)
    quality = snippets.quality + 0.05 * rng.random(len(snippets.quality))
    for known, wanted, enough in reversed(list(zip(snippets.contexts, contexts, least, strict=True))):
        order = np.lexsort((quality, known))
        first = np.searchsorted(known[order], wanted, side="left")
        count = np.searchsorted(known[order], wanted, side="right") - first
        use = (donor < 0) & (count >= enough)
        donor[use] = order[first[use] + (luck[use] * count[use]).astype(np.int64)]
    return donor


def _bystanders(
    true: Timeline, event: np.ndarray, team: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """An event nearby of some other player of the team, -1 where four rounds of tries find none."""
    chosen, left = np.full(len(event), -1), np.arange(len(event))
    for spread in np.repeat((15, 30, 60, 200), 4):
        guess = event[left] + rng.integers(-spread, spread + 1, len(left))
        guess = guess.clip(0, max(len(true.place) - 1, 0))
        fits = (true.team[guess] == team[left]) & (true.half[guess] == true.half[event[left]])
        fits &= true.player[guess] != true.player[event[left]]
        chosen[left[fits]] = guess[fits]
        left = left[~fits]
    return chosen


def _gaps(table: pd.DataFrame) -> pd.Series:
    """Frames since the same player's previous event of the class; a table sorted by frame."""
    return table.groupby(["half", "team", "jersey", "cls"], observed=True)["frame"].diff()
