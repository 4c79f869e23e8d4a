"""One match: halves from any reader -> the official files, with a report of how they came about."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from footpass.data.halves import SLACK
from footpass.data.paths import play_by_play_path, tactical_path
from footpass.data.provenance import MARK, Provenance, mark_season, read_provenance, together
from footpass.data.tactical import half_names, read_rows, write_tactical
from footpass.data.video import VideoInfo, probe
from footpass.events import concat, read_ground_truth, write_events
from footpass.files import DataError, locked, make_folder
from footpass.importers.actions import LAST_PERIOD
from footpass.importers.decisions import write_decisions
from footpass.importers.events import with_events
from footpass.importers.footage import add_video, needs_video
from footpass.importers.gsr import read_gsr
from footpass.importers.identity import identified
from footpass.importers.mot import read_mot
from footpass.importers.sides import sided
from footpass.importers.table import PARQUET, read_table
from footpass.importers.tactical import Imported, tactical
from footpass.importers.tracks import (
    TrackedHalf,
    at_25_fps,
    check_span,
    cleaned,
    doubted,
    of_one_match,
    oriented,
    with_picture,
)
from footpass.schema import FPS, SPLITS, Tactical

_REPORT = "import"  # folder of the decisions, below the data folder


@dataclass(frozen=True)
class ImportConfig:
    """What the files do not say themselves."""

    split: str = "val"  # whose official files are written
    game: int = 1  # number of the match
    halves: tuple[int, ...] = ()  # half of each part, in order; one number is for all of them
    starts: tuple[int, ...] = ()  # frame of the video at which each part's frame 0 is
    left: str | None = None  # the team that attacks from the left in the first half
    picture: tuple[int, int] | None = None  # height and width of the picture that boxes refer to
    fps: float | None = None  # frames a second of the tracks

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise DataError(f"split {self.split!r} is none of {', '.join(SPLITS)}")
        if self.game < 0:
            raise DataError(f"game {self.game} is negative")
        if min(self.starts, default=0) < 0:
            raise DataError(f"start {min(self.starts)} is negative")


def read_tracks(path: str | Path, columns: Mapping[str, str] | None = None) -> TrackedHalf:
    """Tracks of a game state (.json), a table (.csv, .parquet) or a MOT folder, as its name tells.

    In a MOT folder, ``homography.csv`` is used where it is; ``columns`` are as of `table.read_table`.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == ".txt":
        homography = (path if path.is_dir() else path.parent) / "homography.csv"
        return read_mot(path, homography if homography.is_file() else None)
    is_table = path.suffix.lower() in (".csv", *PARQUET)
    return read_table(path, columns) if is_table else read_gsr(path)


def track_files(given: Iterable[str | Path]) -> list[Path]:
    """Files that `read_tracks` reads of these: of a MOT folder its texts, for pictures may be in it."""
    files: list[Path] = []
    for path in map(Path, given):
        files += sorted((*path.glob("*.*"), *path.glob("*/*.txt"))) if path.is_dir() else [path]
    return [path for path in files if path.is_file()]


@dataclass(frozen=True, eq=False)
class ImportedMatch:
    """Halves in the official form, which are not written yet."""

    config: ImportConfig
    # By name: rows, events where there are some, and what was decided, in words.
    halves: dict[str, tuple[Imported, pd.DataFrame | None, tuple[str, ...]]]
    origin: Provenance
    video: str | Path | None = None

    @property
    def placed(self) -> bool:
        """Whether it is known where anybody was on the pitch."""
        return self._knows(Tactical.X)

    @property
    def seen(self) -> bool:
        """Whether anybody has a box."""
        return self._knows(Tactical.BOX_X)

    def _knows(self, column: int) -> bool:
        return any(np.isfinite(half.rows[:, column]).any() for half, _, _ in self.halves.values())

    def write(self, out: str | Path) -> dict[str, tuple[str, ...]]:
        """Write the official files below ``out``, beside other halves; what was decided, by half."""
        out, config = Path(out), self.config
        with locked(out):  # two at once would each write what is there and its own
            there = _others(out, config, self.halves)
            if self.origin.simulated:
                mark_season(out, config.split, self.origin)
            moved = add_video(out, f"game_{config.game}", self.video) if self.video else None
            _write(out, config, there, self.halves)
        more = [moved] if moved else []
        return {name: (*notes, *more) for name, (_, _, notes) in self.halves.items()}


def import_match(
    out: str | Path,
    parts: Sequence[TrackedHalf],
    config: ImportConfig,
    events: Mapping[int, pd.DataFrame] | None = None,
    video: str | Path | None = None,
) -> dict[str, tuple[str, ...]]:
    """Write parts of a match (halves, or clips of them) as the official files below ``out``.

    Arguments are those of `prepared`; where something cannot be used, or such a half is there already,
    nothing is written. Returned is, by the name of each half, what was decided, in words.
    """
    return prepared(parts, config, events, video, out).write(out)


def prepared(
    parts: Sequence[TrackedHalf],
    config: ImportConfig,
    events: Mapping[int, pd.DataFrame] | None = None,
    video: str | Path | None = None,
    out: str | Path | None = None,
) -> ImportedMatch:
    """Parts of a match (halves, or clips of them) in the official form; nothing is written.

    Events are by half, columns as in `footpass.importers.events.COLUMNS`, with the file's teams.
    """
    match = f"game_{config.game}"
    if not parts:
        raise DataError("no tracks in the files")
    if video and out is not None:
        needs_video(out, match, video)
    info = probe(video) if video else None
    parts = [_as_filmed(part, config, info) for part in of_one_match(parts)]
    left_in_first = _team(config.left, parts[0].teams)
    halves = _halves(parts, config)
    trackless = sorted(set(events or ()) - set(halves))
    if trackless and len(trackless) == len(events or ()):
        raise DataError(f"the events are of {_said(trackless)}, the tracks of {_said(halves)}")
    names = {number: f"{match}_H{number}" for number in halves}
    if out is not None:
        _others(Path(out), config, names.values())  # what cannot be is found before minutes of work
    done: dict[str, tuple[Imported, pd.DataFrame | None, tuple[str, ...]]] = {}
    for number, (half, start) in halves.items():
        name, left = names[number], left_in_first
        if left is not None and number % 2 == 0:
            left = 1 - left  # they change sides
        if trackless:
            half = half.noting(f"events of {_said(trackless)} left out: there are no tracks")
        given = sided(half, left)
        turned = bool((given.table["team"].to_numpy() != half.table["team"].to_numpy()).any())
        imported = tactical(given, identified(given.table, given.trusted), number, start)
        if info:
            _within(imported.rows, info.n_frames, str(video), name)
        notes, table = (*given.notes, *imported.notes), None
        if events and number in events:
            own = events[number]
            if turned:
                own = own.assign(team=1 - own["team"])
            if turned and not half.sides_known:  # they are as if team 0 attacked from the left
                own = own.assign(x=1 - own["x"], y=1 - own["y"])
            rows, table, more = with_events(imported, own, name, start)
            imported = replace(imported, rows=rows)
            notes = (*notes, *more)
        done[name] = imported, table, notes
    return ImportedMatch(config, done, _origin(parts), video)


def _within(rows: np.ndarray, length: int, video: str, name: str) -> None:
    """Refuse a video that ends before the tracks do."""
    first, last = rows[:, Tactical.FRAME].min(), rows[:, Tactical.FRAME].max()
    if first >= length or last >= length + SLACK:
        reason = f"its last frame is {last:.0f} and the video has {length} frames"
        fault = "it is cut off or another match's, or the tracks begin elsewhere in it (import --start)"
        raise DataError(f"{reason}: {fault}", video, name)


def _said(halves: Iterable[int]) -> str:
    return " and ".join(f"half {number}" for number in halves)


def _team(name: str | None, teams: tuple[str, str]) -> int | None:
    """Number of the team of this name."""
    if name is not None and name not in teams:
        raise DataError(f"--left {name}: the teams are {' and '.join(filter(None, teams))}")
    return None if name is None else teams.index(name)


def _as_filmed(part: TrackedHalf, config: ImportConfig, video: VideoInfo | None) -> TrackedHalf:
    """A part with its rate and the size of its picture: as told, as its file says, as its video is."""
    fps, picture, notes = part.fps if config.fps is None else config.fps, part.picture, []
    if fps is None and video and not video.at_fps:
        fps = video.fps
        notes.append(f"rate not said: taken as the video's {fps:.4g} frames a second")
    if fps is None and not video:
        notes.append(f"rate not said: taken as {FPS} frames a second (tell it with --fps)")
    if picture is None and config.picture is None and video and part.table["box_x"].notna().any():
        picture = video.height, video.width
        notes.append(f"picture size not said: taken as the video's {video.width}x{video.height}")
    return part.noting(*notes, fps=fps, picture=picture)


def _others(out: Path, config: ImportConfig, names: Iterable[str]) -> list[str]:
    """The halves that are there already, of which none may be one of these."""
    path = out / tactical_path(config.split)
    there = half_names(path) if path.exists() else []
    for name in names:
        if name in there:
            raise DataError(f"{out}: half {name} is there already; choose another --game or --out")
    return there


def _origin(parts: Sequence[TrackedHalf]) -> Provenance:
    """Simulated if tracks are from a simulated season's folder."""
    folders = {folder for part in parts for folder in Path(part.source).resolve().parents[:4]}
    marked = [folder for folder in folders if (folder / MARK).is_file()]
    return together(read_provenance(folder / tactical_path(s)) for folder in marked for s in SPLITS)


def _halves(parts: Sequence[TrackedHalf], config: ImportConfig) -> dict[int, tuple[TrackedHalf, int]]:
    """Half -> its parts put together and cleaned, and the frame its frame 0 is in the video."""
    for told, what in ((config.halves, "--half"), (config.starts, "--start")):
        if len(told) not in (0, 1, len(parts)) or (what == "--start" and len(told) == 1 < len(parts)):
            raise DataError(f"{what} is given {len(told)} times for {len(parts)} parts")
    if len(config.halves) == 1 and len({part.half for part in parts} - {None}) > 1:
        raise DataError(f"--half is given once, but {parts[0].source} has {len(parts)} halves")
    grouped: dict[int, list[tuple[TrackedHalf, int]]] = {}
    end = 0
    for index, part in enumerate(parts):
        number = part.half or 1
        if config.halves:
            number = config.halves[index if len(config.halves) > 1 else 0]
        if not 1 <= number <= LAST_PERIOD:
            raise DataError(f"{part.source}: half {number} is not within 1..{LAST_PERIOD}")
        half = doubted(at_25_fps(oriented(with_picture(cleaned(part), config.picture))))
        first, last = int(half.table["frame"].min()), int(half.table["frame"].max())
        if config.starts:
            start = config.starts[index]
        else:  # one video: its frames go on, or count anew in every part
            shared = FPS if number in grouped and end > 2 * FPS else 0  # the frames of a cut
            start = 0 if first >= end - shared else end
            if start:
                half = half.noting(f"{part.source} starts at frame {start} of the video (tell: --start)")
        end = max(end, start + last + 1)
        grouped.setdefault(number, []).append((half, start))
    halves = {number: _joined(group) for number, group in grouped.items()}
    for half, start in halves.values():
        check_span(half.source, *(start + half.table["frame"].agg(["min", "max"])))
    return halves


def _joined(group: list[tuple[TrackedHalf, int]]) -> tuple[TrackedHalf, int]:
    """One half of its clips; tracks of different clips are different tracks."""
    if len(group) == 1:
        return group[0]
    tables: list[pd.DataFrame] = []
    notes: list[str] = []
    positions: dict[int, str] = {}
    (first, base), offset = group[0], 0
    taken = np.zeros(0)  # frames so far
    for half, start in group:
        table = half.table.assign(frame=half.table["frame"] + start - base)
        table["track"] += offset
        again = table["frame"].isin(taken)
        if again.all():
            raise DataError(f"{half.source}: all its frames are in files before it: say --start")
        notes += [f"{half.source}: {note}" for note in half.notes]
        if again.any():
            notes.append(f"{half.source}: {again.sum():,} rows at frames of files before it left out")
        tables.append(table[~again])
        taken = np.union1d(taken, table["frame"])
        positions |= {track + offset: name for track, name in half.positions.items()}
        offset = int(table["track"].max()) + 1
    joined = pd.concat(tables, ignore_index=True)
    return replace(first, table=joined, trusted=False, positions=positions, notes=tuple(notes)), base


def _write(out: Path, config: ImportConfig, there: list[str], done: Mapping) -> None:
    path = out / tactical_path(config.split)
    labelled = config.split != "challenge"
    width = len(Tactical) if labelled else Tactical.LABEL
    names = sorted([*there, *done])

    def rows() -> Iterator[tuple[str, np.ndarray]]:
        for name in names:
            yield name, done[name][0].rows[:, :width] if name in done else read_rows(path, name)

    known = out / play_by_play_path(config.split)
    if labelled and (known.exists() or any(table is not None for _, table, _ in done.values())):
        tables = [read_ground_truth(known)] if known.exists() else []
        # A half whose events nobody has said is not one without events: it is not listed.
        tables += [table for _, table, _ in done.values() if table is not None]
        make_folder(known.parent)
        write_tactical(path, rows())
        write_events(concat(tables), known)
    else:
        write_tactical(path, rows())
    for name, (imported, _, notes) in done.items():
        write_decisions(out / _REPORT, name, imported, notes)
