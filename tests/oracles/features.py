"""Features of candidates, one neighbour at a time: the oracle of `ensemble.features`."""

import math

import numpy as np
import pandas as pd

from footpass.ensemble.features import CHAIN, CHAIN_BREAK, FADE, GAPS, NEAR, SURE
from footpass.schema import ACTIONS
from footpass.timeline import RELATIONS


def features(candidates: pd.DataFrame, p: np.ndarray, ratios: np.ndarray) -> pd.DataFrame:
    """As `ensemble.features.features`."""
    rows = candidates.to_dict("records")
    halves = {}
    for number, row in enumerate(rows):
        halves.setdefault(row["half"], []).append(number)
    table = [_row(rows, i, halves[row["half"]], p, ratios) for i, row in enumerate(rows)]
    return pd.DataFrame(table).astype(np.float32)


def _relation(a: dict, b: dict) -> str:
    if a["team"] != b["team"]:
        return "opponent"
    return "same" if a["jersey"] == b["jersey"] else "mate"


def _row(rows: list[dict], i: int, half: list[int], p: np.ndarray, ratios: np.ndarray) -> dict:
    me = rows[i]
    models = [name for name in me if name.startswith("score_")]
    out = {"class": me["cls"], **{name: me[name] for name in models}}
    at = half.index(i)
    past, future = half[:at][::-1], half[at + 1 :]
    near = []
    for side in (past, future):
        for j in side:
            if abs(rows[j]["frame"] - me["frame"]) > NEAR:
                break
            near.append(j)
    fade = {j: math.exp(-abs(rows[j]["frame"] - me["frame"]) / FADE) for j in near}
    who = {j: _relation(me, rows[j]) for j in near}

    for m, name in enumerate(models):
        for r in RELATIONS:
            for a in ACTIONS:
                seen = [rows[j][name] * fade[j] for j in near if who[j] == r and rows[j]["cls"] == a]
                out[f"near_{m}_{r}_{a.label}"] = max(seen, default=0)
        rivals = [rows[j][name] for j in near if who[j] == "mate" and rows[j]["cls"] == me["cls"]]
        out[f"rival_{m}"] = max(rivals, default=0)
        out[f"crowd_{m}"] = sum(rows[j][name] for j in near)
    out["crowd"] = len(near)
    for a in ACTIONS:
        for r in RELATIONS:
            seen = [p[j, a] * fade[j] for j in near if who[j] == r]
            out[f"likely_{r}_{a.label}"] = max(seen, default=0)
    offset = {j: rows[j]["frame"] - me["frame"] for j in near}
    times = {
        "before": [j for j in near if offset[j] < 0],
        "after": [j for j in near if offset[j] > 0],
        "now": [j for j in near if abs(offset[j]) <= 8],
    }
    for name, members in times.items():
        for r in RELATIONS:
            out[f"mass_{name}_{r}"] = sum(1 - p[j, 0] for j in members if who[j] == r)

    for side, (name, chain) in enumerate((("before", past), ("after", future))):
        _chain(out, name, me, [rows[j] for j in chain[:CHAIN]], chain, p, ratios[side])
    for name, chain in (("before", past), ("after", future)):
        out[f"own_{name}_gap"], out[f"own_{name}_class"] = 5000, 0
        for j in chain:
            if _relation(me, rows[j]) == "same" and 1 - p[j, 0] > SURE:
                out[f"own_{name}_gap"] = abs(rows[j]["frame"] - me["frame"])
                out[f"own_{name}_class"] = rows[j]["cls"]
                break
    out["since_start"] = me["frame"] - rows[half[0]]["frame"]
    out["to_end"] = rows[half[-1]]["frame"] - me["frame"]
    return out


def _chain(
    out: dict,
    name: str,
    me: dict,
    others: list[dict],
    numbers: list[int],
    p: np.ndarray,
    ratios: np.ndarray,
) -> None:
    open_, gap, met = 1.0, 0.0, 0.0
    support = dict.fromkeys(ACTIONS, 0.0)
    kind = {(r, a): 0.0 for a in ACTIONS for r in RELATIONS}
    for other, j in zip(others, numbers, strict=False):
        apart, relation = abs(other["frame"] - me["frame"]), _relation(me, other)
        if apart >= CHAIN_BREAK or (relation == "same" and apart <= 3):
            continue
        weight = open_ * (1 - p[j, 0])
        open_ *= p[j, 0]
        kind[relation, other["cls"]] += weight
        gap += weight * min(apart, 300)
        met += weight
        bin_ = sum(apart >= edge for edge in GAPS)
        for a in ACTIONS:
            support[a] += weight * ratios[a, other["cls"], RELATIONS.index(relation), bin_]
    out[f"{name}_gap"], out[f"{name}_met"] = gap / (met + 1e-3), met
    for a in ACTIONS:
        out[f"{name}_pmi_{a.label}"] = math.log((support[a] + 0.02) / (met + 0.02))
        for r in RELATIONS:
            out[f"{name}_{r}_{a.label}"] = kind[r, a]
