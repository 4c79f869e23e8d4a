"""Hand-made event tables for tests."""

import pandas as pd
from hypothesis import strategies as st

# Rows of predictions with many rivals: few players, frames and scores.
CROWDED = st.lists(
    st.tuples(
        st.sampled_from(["a_H1", "a_H2"]),
        st.integers(0, 40),
        st.integers(0, 1),
        st.integers(1, 3),
        st.integers(1, 2),
        st.sampled_from([0.2, 0.5, 0.8]),
    ),
    max_size=25,
)


def predictions(*rows: tuple, halves: tuple[str, ...] = ("game_1_H1",)) -> pd.DataFrame:
    """Table of rows ``(frame, team, jersey, cls, score)``, with the half in front where it matters."""
    return _table(rows, halves, ["score"])


def truth(*rows: tuple, halves: tuple[str, ...] = ("game_1_H1",)) -> pd.DataFrame:
    """Table of rows ``(frame, team, jersey, cls)``, flags and half optional."""
    full = [row if len(row) >= 6 else (*row, True, False) for row in rows]
    return _table(full, halves, ["box_visible", "replay"])


def _table(rows: tuple, halves: tuple[str, ...], last: list[str]) -> pd.DataFrame:
    columns = ["half", "frame", "team", "jersey", "cls", *last]
    full = [row if len(row) == len(columns) else (halves[0], *row) for row in rows]
    table = pd.DataFrame(full, columns=columns)
    table["half"] = pd.Categorical(table["half"], categories=halves)
    whole = dict.fromkeys(["frame", "team", "jersey", "cls"], "int64")
    kinds = {"score": "float64", "box_visible": "bool", "replay": "bool"}
    return table.astype(whole | {name: kinds[name] for name in last})
