"""The match page: one half as an interactive timeline, linked with the pitch from above.

What happened, what was predicted and what supports it, player by player; one HTML file that opens
offline.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import maximum_filter1d

from footpass.data.cache import load_half, prepared_dir
from footpass.data.halves import HalfMatch, events_of
from footpass.data.logits import read_logits, softmax
from footpass.data.paths import find, play_by_play_path, tactical_path
from footpass.data.provenance import REAL, Provenance, read_provenance, together
from footpass.data.tactical import half_names
from footpass.events import halves_of, read_ground_truth, read_predictions, select_halves
from footpass.files import DataError
from footpass.metrics import Evaluation, evaluate, match_events
from footpass.pitch import markings
from footpass.report.html import write_page
from footpass.schema import (
    ACTION_LABELS,
    ACTIONS,
    FPS,
    N_ROLES,
    N_SLOTS,
    PITCH,
    SCORE_THRESHOLD,
    TOLERANCE,
    Action,
    Role,
    State,
)

STEP = FPS // 2  # frames between the positions that the page holds
NOBODY = -(2**15)  # where a slot has no position, or nobody in it
_LEAST, _PEAKS = 0.05, 20_000  # evidence: the weakest peak, and the most of them


class Kind(IntEnum):
    """What came of an event: of a true one, of a predicted one, or of both as a pair."""

    FOUND = 0
    WRONG_CLASS = 1
    WRONG_PLAYER = 2
    MADE_UP = 3
    MISSED = 4
    UNJUDGED = 5

    @property
    def label(self) -> str:
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class MatchData:
    """All that there is of one half; None and nothing where there is none."""

    half: str
    truth: pd.DataFrame | None
    predictions: Mapping[str, pd.DataFrame]  # by name
    positions: HalfMatch | None = None
    logits: np.ndarray | None = None  # (9, 26, T), of the frames of ``positions``
    provenance: Provenance = REAL


def read_match(
    data_dir: str | Path,
    split: str,
    half: str,
    predictions: Sequence[str | Path] = (),
    logits: str | Path | None = None,
) -> MatchData:
    """What a data folder, and files of predictions and logits, have of a half.

    Tactical data and play-by-play are each used where they are; either will do.
    """
    tactical = find(data_dir, tactical_path(split))
    positions = truth = None
    if tactical and half in half_names(tactical):
        positions = load_half(tactical, half, prepared_dir(data_dir))
    play_by_play = find(data_dir, play_by_play_path(split))
    if positions is not None and positions.labels is not None:
        truth = events_of(positions)
    elif play_by_play:
        table = read_ground_truth(play_by_play)
        truth = select_halves(table, [half]) if half in halves_of(table) else None
    if positions is None and truth is None:
        files = " and ".join(str(file) for file in (tactical, play_by_play) if file)
        if not files:
            raise DataError(f"no {tactical_path(split)} and no {play_by_play_path(split)}", data_dir)
        there = half_names(tactical) if tactical else halves_of(table)
        raise DataError(f"no half {half}; {split} has {', '.join(there)}", files)
    if logits and positions is None:
        raise DataError(f"logits need {tactical_path(split)} in {data_dir}", logits)
    tables = {}
    for path in map(Path, predictions):
        table = read_predictions(path)
        if half not in halves_of(table):
            raise DataError(f"no half {half}; it has {', '.join(halves_of(table)) or 'none'}", path)
        twins = sum(Path(other).stem == path.stem for other in predictions) > 1
        name = f"{path.resolve().parent.name}/{path.stem}" if twins else path.stem
        if name in tables:
            raise DataError("given twice, or cannot be told from another: rename one", path)
        tables[name] = select_halves(table, [half])
    volume = read_logits(logits, positions) if logits and positions is not None else None
    marked = [file for file in (tactical, play_by_play, *predictions) if file]
    data = together(map(read_provenance, marked))
    return MatchData(half, truth, tables, positions, volume, data)


def verdicts(result: Evaluation) -> pd.DataFrame:
    """Predictions as the metric matched them, and what the others were meant to be.

    What the metric leaves over is matched again by its own rules, first whatever the class, then whoever
    acts: a prediction of a player who did something else, or of something that another player did.
    ``truth`` is filled in for these too, ``kind`` is a `Kind`.
    """
    events, true = result.predictions, result.truth
    taken = events["truth"].to_numpy(copy=True)
    kind = np.where(taken >= 0, Kind.FOUND, Kind.MADE_UP)
    for fault, same in ((Kind.WRONG_CLASS, {"cls": 1}), (Kind.WRONG_PLAYER, {"team": 0, "jersey": 0})):
        over, left = np.flatnonzero(taken < 0), np.setdiff1d(np.arange(len(true)), taken)
        guesses, meant = events.iloc[over].assign(**same), true.iloc[left].assign(**same)
        again = match_events(guesses, meant, result.tolerance)
        over, again = over[again >= 0], again[again >= 0]
        taken[over], kind[over] = left[again], fault
    return events.assign(truth=taken, kind=kind)


def peaks(logits: np.ndarray, visible: np.ndarray) -> pd.DataFrame:
    """The strongest moments of each slot and class: what the evidence of a whole half comes down to.

    That is where a class's probability, at least 0.05, is the highest within 12 frames, and of these
    the 20,000 highest: ``slot, index, cls, score``. ``logits`` are ``(9, 26, T)``, ``visible`` is bool
    ``(26, T)``; a player who is not visible gives no evidence.
    """
    if not np.isfinite(logits).all():
        raise DataError("logits that are not finite: the model has diverged")
    score = softmax(logits)[min(ACTIONS) :] * visible  # (8, 26, T)
    highest = maximum_filter1d(score, 2 * TOLERANCE + 1, axis=-1)
    cls, slot, index = np.nonzero((score == highest) & (score >= _LEAST))
    score = score[cls, slot, index]
    table = pd.DataFrame({"slot": slot, "index": index, "cls": cls + min(ACTIONS), "score": score})
    return table.nlargest(_PEAKS, "score", keep="first")


def page_data(match: MatchData) -> tuple[dict, dict[str, pd.DataFrame]]:
    """What the page holds as JSON, and each prediction file's figures by class.

    Events are columns of numbers; ``row`` is the line of a player on the page.
    """
    results, shown = {}, {}
    for name, table in match.predictions.items():
        if match.truth is None:
            counted = table[table["score"] >= SCORE_THRESHOLD]
            shown[name] = counted.assign(truth=-1, kind=Kind.UNJUDGED.value)
        else:
            results[name] = evaluate(table, match.truth)
            shown[name] = verdicts(results[name])
    half, truth, evidence, sampled = match.positions, match.truth, _evidence(match), None
    tables = [table for table in (truth, *shown.values(), evidence) if table is not None]
    frames = [f for table in tables if len(table) for f in table["frame"].agg(["min", "max"]).tolist()]
    if half is not None:
        sampled = _sample(half)
        frames += [half.first_frame, half.end_frame - 1]
    rows = _rows(tables if sampled is None else [*tables, sampled])
    content = {
        "half": match.half,
        "simulated": str(match.provenance) if match.provenance.simulated else None,
        "fps": FPS,
        "tolerance": TOLERANCE,
        "first": min(frames, default=0),
        "last": max(frames, default=0),
        "classes": [action.label for action in Action],
        "kinds": [kind.label for kind in Kind],
        "rows": [[*map(int, row[:2]), row[2]] for row in rows.itertuples(index=False)],
        "truth": None if truth is None else _columns(truth, rows, "box_visible", "replay"),
        "sources": [
            {"name": name, **_columns(table, rows, "score", "truth", "kind")}
            for name, table in shown.items()
        ],
        "evidence": None if evidence is None else _columns(evidence, rows, "score"),
        "positions": None if half is None else _pack(sampled, rows, half.first_frame),
        "pitch": {"size": PITCH, "lines": [line[:, :2].round(2).tolist() for line in markings()]},
    }
    figures = {name: _by_class(result, shown[name]) for name, result in results.items()}
    return content, figures


def write_match_page(match: MatchData, path: str | Path) -> dict:
    """Write the page of a half, and return what it holds as `page_data` gives it."""
    content, figures = page_data(match)
    write_page("match.html", path, content=content, figures=figures)
    return content


def _evidence(match: MatchData) -> pd.DataFrame | None:
    """The peaks of the logits, with frame, team and jersey."""
    if match.logits is None:
        return None
    half = match.positions
    assert half is not None  # no logits without them
    found = peaks(match.logits, half.state[State.VISIBLE] > 0)
    slots, frames = found["slot"].to_numpy(), half.first_frame + found["index"].to_numpy()
    jerseys = half.jersey_at(slots, frames)
    return found.assign(frame=frames, team=slots // N_ROLES, jersey=jerseys)


def _by_class(result: Evaluation, judged: pd.DataFrame) -> pd.DataFrame:
    """Events of each class by what came of them, and the metric's figures; last row: all."""
    counts, true = result.counts, result.truth["cls"].to_numpy()
    pairs = judged[judged["truth"] >= 0]
    kind = np.full(len(true), Kind.MISSED)
    kind[pairs["truth"]] = pairs["kind"]
    made_up = judged.loc[judged["kind"] == Kind.MADE_UP, "cls"]
    table = pd.DataFrame({"class": ACTION_LABELS, "events": counts.gt})
    for one in (Kind.FOUND, Kind.WRONG_CLASS, Kind.WRONG_PLAYER, Kind.MISSED):
        table[one.label] = [int(((kind == one) & (true == action)).sum()) for action in ACTIONS]
    table[Kind.MADE_UP.label] = [int((made_up == action).sum()) for action in ACTIONS]
    last = {"class": "all", **table.sum(numeric_only=True)}
    for name, title in (("precision", "precision"), ("recall", "recall"), ("f1", "F1")):
        table[title] = getattr(counts, name)
        last[title] = counts.micro[name]
    return pd.concat([table, pd.DataFrame([last])], ignore_index=True)


def _sample(half: HalfMatch) -> pd.DataFrame:
    """Who is where, every `STEP` frames: ``slot, sample, frame, team, jersey, role, x, y, visible``.

    Of tracks without positions it is known who is in the picture; their slots are no roles.
    """
    state = half.state[:, :, ::STEP]  # (5, 26, S)
    placed = np.isfinite(state[[State.X, State.Y]]).all(axis=0)
    slot, sample = np.nonzero(placed | (state[State.VISIBLE] > 0))
    frame = half.first_frame + STEP * sample
    x, y, visible = state[[State.X, State.Y, State.VISIBLE]][:, slot, sample]
    role = np.where(placed[slot, sample], slot % N_ROLES + 1, np.nan)
    player = {"team": slot // N_ROLES, "role": role, "jersey": half.jersey_at(slot, frame)}
    place = {"x": x * PITCH[0], "y": y * PITCH[1], "visible": visible > 0}
    return pd.DataFrame({"slot": slot, "sample": sample, "frame": frame, **player, **place})


def _rows(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Players ``team, jersey, role``, the role being the most frequent one's name, goalkeepers first."""
    keys = ["team", "jersey"]
    players = pd.concat([pd.DataFrame(columns=keys, dtype=np.int64), *(table[keys] for table in tables)])
    players = players.astype(np.int64).drop_duplicates()
    roles = next((table for table in tables if "role" in table), players.assign(role=np.nan))
    usual = roles.groupby(keys)["role"].agg(lambda role: role.mode().min()).reset_index()
    players = players.merge(usual, on=keys, how="left")
    players = players.sort_values(["team", "role", "jersey"], ignore_index=True)
    return players.assign(role=[Role(int(r)).name if r > 0 else "" for r in players["role"]])


def _row_of(table: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    players, mine = (pd.MultiIndex.from_frame(one[["team", "jersey"]]) for one in (rows, table))
    return players.get_indexer(mine)


def _columns(table: pd.DataFrame, rows: pd.DataFrame, *more: str) -> dict[str, list]:
    plain = table[["frame", "cls", *more]].assign(row=_row_of(table, rows))
    flags = dict.fromkeys((name for name in more if plain[name].dtype == bool), int)
    return {name: values.round(3).tolist() for name, values in plain.astype(flags).items()}


def _pack(sampled: pd.DataFrame, rows: pd.DataFrame, first: int) -> dict:
    """Positions as base64 of little-endian int16 ``(3, 26, S)``.

    The components are x and y in centimetres, and ``2 * row + visible``; `NOBODY` where there is none.
    """
    n = int(sampled["sample"].max()) + 1 if len(sampled) else 0
    packed = np.full((3, N_SLOTS, n), NOBODY, "<i2")
    limit = 2**15 - 1
    for place, values in enumerate((100 * sampled["x"], 100 * sampled["y"])):
        packed[place, sampled["slot"], sampled["sample"]] = (
            values.round().clip(-limit, limit).fillna(NOBODY)
        )
    packed[2, sampled["slot"], sampled["sample"]] = 2 * _row_of(sampled, rows) + sampled["visible"]
    data = base64.b64encode(packed.tobytes()).decode()
    return {"first": first, "step": STEP, "slots": N_SLOTS, "data": data}
