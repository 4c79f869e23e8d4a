"""Data check: what a data folder holds, what is missing, and everything in it that does not agree."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from footpass.data.hdf5 import names_in, opened, plain_table
from footpass.data.mending import BOX, mend, suspicions
from footpass.data.paths import find, play_by_play_path, tactical_path, video_path
from footpass.data.provenance import read_provenance
from footpass.data.tactical import half_names, read_rows
from footpass.data.video import VideoInfo, probe
from footpass.events import halves_of, match_of, read_with_notes, restarts
from footpass.files import DataError
from footpass.schema import FULL_HD, GROUND_TRUTH_COLUMNS, MODEL_SIZE, SPLITS, Tactical, counted


@dataclass(frozen=True)
class Item:
    """Something a data folder can have: what it holds, or where to get it."""

    name: str
    found: bool
    note: str


@dataclass(frozen=True)
class Problem:
    """Something wrong: in which file, half and rows (none: all of it), and what in the first of them.

    Of many rows the first are listed, and ``count`` says how many there are.
    """

    file: str
    half: str | None
    rows: tuple[int, ...]
    count: int
    reason: str


@dataclass(frozen=True)
class DataCheck:
    """What a data check found."""

    items: tuple[Item, ...]
    problems: tuple[Problem, ...]

    @property
    def fine(self) -> bool:
        """Whether there is something, and nothing wrong with it."""
        return any(item.found for item in self.items) and not self.problems

    def as_dict(self) -> dict:
        """For a JSON file."""
        return {"fine": self.fine, **asdict(self)}


def check(data_dir: str | Path) -> DataCheck:
    """Check a data folder: tactical files, play-by-play files, videos, and each against the others.

    A split, or all videos of a split, may be absent; what is there must be whole and agree.
    """
    folder = Path(data_dir)
    if not folder.is_dir():
        own = f"to make a season up: python -m footpass simulate --out {folder}"
        raise DataError(f"no such folder: the real data are {_ACCESS}; {own}", folder)
    parts = [_Split(folder, split) for split in SPLITS]
    items = (item for part in parts for item in part.items)
    problems = (problem for part in parts for problem in part.problems)
    return DataCheck(tuple(items), tuple(problems))


_ACCESS = "from SoccerNet/SN-PCBAS-2026 on Hugging Face, after the SoccerNet NDA"
_LISTED = 1000  # rows of a problem: all may have it, millions of a split


class _Split:
    """The check of one split; what it finds is in ``items`` and ``problems``."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split
        self.items: list[Item] = []
        self.problems: list[Problem] = []
        self.spans: dict[str, tuple[int, int]] = {}  # first and last frame of the halves with rows
        self.tactical = find(folder, tactical_path(split))
        self.play_by_play = find(folder, play_by_play_path(split))
        truth = self._truth()
        names = self._names(truth)
        listed = names if truth is None else [*names, *halves_of(truth)]
        videos = self._videos({match_of(name) for name in listed})
        n_rows = 0
        for name in tqdm(names, desc=f"checking {self.split}", unit="half", disable=not names):
            n_rows += self._half(name, truth, videos.get(match_of(name)))
        for name, reason in restarts(self.spans):
            assert self.tactical is not None  # the spans are from there
            self._add(self.tactical, name, reason)
        if self.tactical:
            note = f"{counted(len(names), 'half')}, {counted(n_rows, 'row')}"
            note = f"{note}, {read_provenance(self.tactical)}"
            self.items.insert(0, Item(self._relative(self.tactical), True, note))

    def _truth(self) -> pd.DataFrame | None:
        path = self.play_by_play
        if path is None:
            if self.split != "challenge":  # those are hidden
                clone = "from a clone of the public FOOTPASS repository"
                self.items.append(Item(str(play_by_play_path(self.split)), False, clone))
            return None
        try:
            truth, notes = read_with_notes(path, GROUND_TRUTH_COLUMNS)
        except DataError as error:
            self._error(path, error)
            truth, note = None, "cannot be used"
        else:
            note = f"{counted(len(halves_of(truth)), 'half')}, {counted(len(truth), 'event')}"
            for half, reason in notes:
                self._add(path, half, reason)
        self.items.append(Item(self._relative(path), True, note))
        return truth

    def _names(self, truth: pd.DataFrame | None) -> list[str]:
        """Halves of the tactical file, compared with those of the play-by-play file."""
        path = self.tactical
        if path is None:
            archive = f"tactical_data_{self.split.upper()}.zip {_ACCESS}"
            self.items.insert(0, Item(str(tactical_path(self.split)), False, archive))
            return []
        try:
            names = half_names(path)
            others = [name for name in names_in(path) if name not in names]
        except DataError as error:
            self._error(path, error)
            return []
        for name in others:
            self._add(path, None, f"{name!r} is no half: left out")
        if truth is not None:
            assert self.play_by_play is not None  # the truth is from there
            for name in sorted(set(names).symmetric_difference(halves_of(truth))):
                files = (self.play_by_play, path) if name in names else (path, self.play_by_play)
                self._add(files[0], name, f"missing, but in {files[1].name}")
        return names

    def _videos(self, matches: set[str]) -> dict[str, tuple[Path, VideoInfo]]:
        """Videos of the matches that can be read."""
        paths = {match: find(self.folder, video_path(match)) for match in sorted(matches)}
        n_found = sum(path is not None for path in paths.values())
        archive = f"videos_352x640_{self.split.upper()}.zip {_ACCESS}"
        note = f"{n_found} of {len(paths)} matches" if n_found else archive
        self.items.append(Item(f"videos of {self.split}", n_found > 0, note))
        videos = {}
        for match, path in paths.items() if n_found else ():
            if path is None:
                self._add(video_path(match), None, "missing, while other matches have theirs")
                continue
            try:
                info = probe(path)
            except DataError as error:
                self._error(path, error)
                continue
            for reason in info.oddities():
                self._add(path, None, reason)
            if (info.height, info.width) not in (MODEL_SIZE, FULL_HD):
                sizes = " or ".join(f"{width}x{height}" for height, width in (MODEL_SIZE, FULL_HD))
                reason = f"{info.width}x{info.height} instead of {sizes}: it is resized at every reading"
                self._add(path, None, reason)
            videos[match] = path, info
        return videos

    def _half(self, name: str, truth: pd.DataFrame | None, video: tuple[Path, VideoInfo] | None) -> int:
        """Check the rows of a half; returns how many there are."""
        path = self.tactical
        assert path is not None  # the name is from there
        try:
            rows = read_rows(path, name)
            with opened(path, name) as file:
                dtype = plain_table(file, name).dtype
        except DataError as error:
            self._error(path, error)
            return 0
        if dtype != np.float32:
            self._add(path, name, f"type {dtype} instead of float32")
        if self.split != "challenge" and rows.shape[1] < len(Tactical):
            self._add(path, name, f"{rows.shape[1]} columns instead of {len(Tactical)}: no labels")
        count, mended = len(rows), mend(rows)
        rows, numbers = mended.rows, mended.numbers
        for fault in mended.faults:
            self._add(path, name, f"{fault.reason}: {fault.remedy}", fault.rows)
        for fault in suspicions(rows):
            self._add(path, name, fault.reason, numbers[fault.rows])
        frames = rows[:, Tactical.FRAME]
        if len(rows):
            self.spans[name] = int(frames.min()), int(frames.max())
        if video is not None:
            file, info = video
            beyond = np.flatnonzero(frames >= info.n_frames)
            if len(beyond):
                end = f"the end of {file.name}, which has {info.n_frames} frames"
                self._add(path, name, f"frame {frames[beyond[0]]:.0f} is beyond {end}", numbers[beyond])
        if truth is not None and name in halves_of(truth):
            assert self.play_by_play is not None
            events = truth[truth["half"] == name]
            for event_row, row, reason in _disagreements(events, rows):
                if event_row is not None:
                    self._add(self.play_by_play, name, f"{reason} {path.name}", [event_row])
                elif row is not None:
                    self._add(path, name, f"{reason} {self.play_by_play.name}", [numbers[row]])
        return count

    def _add(
        self, path: str | Path, half: str | None, reason: str, rows: Sequence[int] | np.ndarray = ()
    ) -> None:
        numbers = tuple(int(row) for row in rows[:_LISTED])
        self.problems.append(Problem(self._relative(path), half, numbers, len(rows), reason))

    def _error(self, path: Path, error: DataError) -> None:
        self._add(error.file or path, error.half, error.reason, [] if error.row is None else [error.row])

    def _relative(self, path: str | Path) -> str:
        path = Path(path)
        return str(path.relative_to(self.folder) if path.is_relative_to(self.folder) else path)


def _disagreements(events: pd.DataFrame, rows: np.ndarray) -> Iterator[tuple]:
    """Where a half's events and rows do not agree: index of the event or of the row, and the reason.

    The reason ends where the name of the other file comes.
    """
    labelled = rows.shape[1] > Tactical.LABEL
    frame = rows[:, Tactical.FRAME].astype(np.int64)
    label = rows[:, Tactical.LABEL].astype(np.int64) if labelled else np.zeros(len(rows), np.int64)
    near = np.flatnonzero(np.isin(frame, events["frame"], kind="table") | (label > 0))
    part = rows[near]
    table = pd.DataFrame(
        {
            "frame": frame[near],
            "team": part[:, Tactical.TEAM].astype(np.int64),
            "jersey": np.nan_to_num(part[:, Tactical.JERSEY], nan=-1).astype(np.int64),
            "label": label[near],
            "box": np.isfinite(part[:, BOX]).all(axis=1),
            "row": near,
        }
    )
    table["anyone"] = table.groupby("frame")["box"].transform("any")
    # Of players of a team without a number, whose event could be any's, the last labelled one stands.
    table = table.sort_values("label", key=lambda label: label > 0, kind="stable")
    players = {(p.frame, p.team, p.jersey): p for p in table.itertuples(index=False)}
    for index, event in enumerate(events.itertuples(index=False)):
        player = players.pop((event.frame, event.team, event.jersey), None)
        if player is None:
            yield index, None, f"{_who(event)} has no row in"
            continue
        if labelled and player.label != event.cls:
            yield None, player.row, f"class {player.label} for {_who(player)}, but {event.cls} in"
        if event.box_visible != player.box:
            yield index, None, f"box_visible {event.box_visible:d} for {_who(event)} does not agree with"
        if event.replay == player.anyone:
            yield index, None, f"replay {event.replay:d} at frame {event.frame} does not agree with"
    for player in players.values():
        if player.label:
            yield None, player.row, f"class {player.label} for {_who(player)} is not in"


def _who(event: Any) -> str:
    return f"team {event.team} jersey {event.jersey} at frame {event.frame}"
