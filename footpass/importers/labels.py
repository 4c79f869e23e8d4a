"""Events put into tactical data: what a person has corrected becomes what models learn from."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from footpass.data.halves import dense, events_of
from footpass.data.paths import find, play_by_play_path, tactical_path, video_path
from footpass.data.provenance import mark_season, read_provenance
from footpass.data.tactical import half_names, read_rows, write_tactical
from footpass.events import concat, halves_of, match_of, write_events
from footpass.files import DataError, locked, make_folder
from footpass.schema import Tactical


def labelled(rows: np.ndarray, events: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Tactical rows ``(N, 14)`` of a half with the classes of its events as their labels, and no others.

    Of rows ``(N, 13)``, or ``(N, 14)`` whose labels are replaced. An event with jersey -1 belongs to the
    only player of the team without a number at that frame. Second comes whether an event has a row: its
    player is in the data at its frame, and has no later one there.
    """
    keys = ["frame", "team", "jersey"]
    columns = [Tactical.FRAME, Tactical.TEAM, Tactical.JERSEY]
    players = pd.DataFrame(np.nan_to_num(rows[:, columns], nan=-1).astype(np.int64), columns=keys)
    wanted = players["frame"].isin(events["frame"])
    players = players[wanted].assign(row=np.flatnonzero(wanted)).drop_duplicates(keys, keep=False)
    found = events[keys].merge(players, on=keys, how="left")["row"].to_numpy()
    placed = np.isfinite(found) & ~pd.Series(found).duplicated(keep="last").to_numpy()
    labelled = np.zeros((len(rows), len(Tactical)), np.float32)
    labelled[:, : Tactical.LABEL] = rows[:, : Tactical.LABEL]
    labelled[found[placed].astype(np.int64), Tactical.LABEL] = events["cls"].to_numpy()[placed]
    return labelled, placed


def write_labelled(
    data_dir: str | Path, split: str, events: pd.DataFrame, out: str | Path, to: str = "train"
) -> pd.DataFrame:
    """Write the halves of an event table as official files whose labels are its events.

    Tactical data of ``split`` are read from ``data_dir`` and written to ``out``, as of the split ``to``,
    with the play-by-play; videos are linked. Returned are the events left out: their player is not in
    the data at their frame, or has another event there.
    """
    source = find(data_dir, tactical_path(split))
    if source is None:
        raise DataError(f"no {tactical_path(split)} in it", data_dir)
    there = half_names(source)
    missing = [half for half in halves_of(events) if half not in there]
    if missing:
        raise DataError("not there, and there are events of it", source, missing[0])
    with locked(out):  # of two at once, the second finds the first's
        return _write(data_dir, source, events, Path(out), to)


def _write(data_dir: str | Path, source: Path, events: pd.DataFrame, out: Path, to: str) -> pd.DataFrame:
    target, known = out / tactical_path(to), out / play_by_play_path(to)
    for path in (target, known):
        if path.exists():
            raise DataError("there already: choose another folder, or delete it", path)
    for path in (known, out / video_path("")):
        make_folder(path.parent)
    tables, left = [], []

    def halves():
        for half in halves_of(events):
            mine = events[events["half"] == half]
            rows, placed = labelled(read_rows(source, half), mine)
            left.append(mine[~placed])
            tables.append(events_of(dense(rows, half, source)))
            yield half, rows

    origin = read_provenance(source)
    if origin.simulated:
        mark_season(out, to, origin)
    write_tactical(target, halves(), origin)
    write_events(concat(tables), known)
    for match in dict.fromkeys(map(match_of, halves_of(events))):
        video, link = find(data_dir, video_path(match)), out / video_path(match)
        if video and not link.exists():
            link.unlink(missing_ok=True)  # to a video that is gone
            os.symlink(video.resolve(), link)
    return pd.concat(left, ignore_index=True)
