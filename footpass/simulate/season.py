"""A synthetic season in the official files: tactical data, play-by-play and videos."""

import itertools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from footpass.configs import check_seed
from footpass.data.halves import dense
from footpass.data.movement import movement
from footpass.data.paths import play_by_play_path, tactical_path, video_path
from footpass.data.provenance import mark_season, simulation
from footpass.data.tactical import write_tactical
from footpass.data.unseen import filled, slow_velocity
from footpass.data.video import write_video
from footpass.events import concat, halves_of, select_halves, write_events
from footpass.files import DataError, atomic_write, fingerprint, locked, make_folder
from footpass.processes import in_parallel
from footpass.schema import FPS, MODEL_SIZE, N_TEAMS, PITCH, SPLITS, Action, Role, Tactical
from footpass.simulate.camera import Shots, film
from footpass.simulate.events import simulate_match
from footpass.simulate.motion import N_PLACES, Motion, move
from footpass.simulate.render import choose_kits, render

# Ids of the first games: no two splits of a folder share one, and none is that of a real match.
FIRST_GAME = {"train": 1001, "val": 2001, "challenge": 3001}
FIRST_HIGHLIGHTS = 4001
HIDDEN_TRUTH = Path("hidden_truth_challenge.json")  # to try a submission on; not an official file
PRESET = "ultrafast"  # of the encoder: a third of the time of `veryfast`, three times the room on disk
EDITION = 3  # raised when the same arguments give another season than before
_AROUND = FPS  # frames before and after a highlight that are shown too


@dataclass(frozen=True)
class _Job:
    """One half to simulate: what it depends on, and where its parts go until all are done."""

    game: int
    half: int  # 0 or 1
    minutes: float
    seed: int
    video: bool
    parts: Path
    highlights: bool

    @property
    def name(self) -> str:
        return f"game_{self.game}_H{self.half + 1}"

    def part(self, suffix: str) -> Path:
        return self.parts / f"{self.name}{suffix}"


def write_season(
    out: str | Path,
    matches: int,
    minutes: float = 90.0,
    seed: int = 0,
    split: str = "train",
    video: bool = True,
    workers: int | None = None,
    highlights: bool = False,
    kept: int = 0,
) -> list[str]:
    """Write simulated matches as the official files of a split below ``out``; names of the halves.

    Halves are simulated in parallel. A run that was broken off goes on where it stopped: finished halves
    wait in a hidden folder until all are there. The same arguments give the same rows on every machine.

    Parameters
    ----------
    minutes
        Of a match, in two halves.
    split
        ``challenge`` has no labels and no play-by-play; its truth goes to `HIDDEN_TRUTH`.
    workers
        Processes; None: one a core.
    highlights
        Of each match, only its first half, and of that only the second before and after each event of a
        rare class (all but drive and pass) whose player has a box, one after the other: many examples
        of what is rare, for little drawing. How often things happen is not to be learned from them.
    kept
        Matches, the first ones, that lie in ``out`` already and were made by the same other arguments:
        their videos, which take nearly all the time, stay as they are.
    """
    _check(matches, seed, split, workers)
    out = Path(out)
    first = FIRST_HIGHLIGHTS if highlights else FIRST_GAME[split]
    simulate_match(first, minutes, seed)  # bad minutes are found before anything is written
    work = out / f".simulate_{split}"
    parts = work / fingerprint(EDITION, minutes, seed, split, video, highlights)
    jobs = [
        _Job(game, half, minutes, seed, video and game >= first + kept, parts, highlights)
        for game in range(first, first + matches)
        for half in range(1 if highlights else 2)
    ]
    make_folder(out)
    with locked(work, waits=False):
        for folder in (parts, (out / play_by_play_path(split)).parent, (out / video_path("")).parent):
            make_folder(folder)
        tables = list(tqdm(in_parallel(_simulate_half, jobs, workers), total=len(jobs), unit="half"))
        truth = concat(tables)
        _put_together(out, split, jobs, truth)
        shutil.rmtree(work, ignore_errors=True)  # while it is locked: the next may begin there
    return halves_of(truth)


def _check(matches: int, seed: int, split: str, workers: int | None) -> None:
    if split not in SPLITS:
        raise DataError(f"split {split!r} is none of {', '.join(SPLITS)}")
    if workers is not None and workers < 1:
        raise DataError(f"{workers} workers: at least 1 is needed")
    check_seed(seed)
    if not 1 <= matches <= 999:
        raise DataError(f"{matches} matches: not within 1..999")


def _put_together(out: Path, split: str, jobs: Sequence[_Job], truth: pd.DataFrame) -> None:
    """The official files of a split from the parts of its halves."""
    matches, job = len({job.game for job in jobs}), jobs[-1]
    settings = {"minutes": job.minutes, "video": job.video, "highlights": job.highlights}
    provenance = simulation(job.seed, matches=matches, **settings)
    mark_season(out, split, provenance)
    drawn = [job for job in jobs if job.video]
    for game, played in itertools.groupby(drawn, lambda job: job.game):
        _join(out / video_path(f"game_{game}"), [job.part(".mp4") for job in played])
    labelled = split != "challenge"
    columns = len(Tactical) if labelled else Tactical.LABEL
    rows = ((job.name, np.load(job.part(".npy"))[:, :columns]) for job in jobs)
    write_tactical(out / tactical_path(split), rows, provenance)
    write_events(truth, out / (play_by_play_path(split) if labelled else HIDDEN_TRUTH))


def simulate_half(game: int, half: int, minutes: float, seed: int) -> tuple[Motion, Shots]:
    """Motion and broadcast of half 0 or 1 of a match, reproducible by all four arguments."""
    match = simulate_match(game, minutes, seed)
    name = halves_of(match.events)[half]
    rng = np.random.default_rng([seed, game, half])
    lineup = match.lineup[match.lineup["half"] == name]
    motion = move(select_halves(match.events, [name]), lineup, rng)
    return motion, film(motion, rng)


def tactical_rows(motion: Motion, shots: Shots, squads: tuple[int, int]) -> np.ndarray:
    """Rows ``(T * 22, 14)`` of a half, frame by frame; columns as in `Tactical`.

    ``squads`` are 1 or 2 for team 0 and 1: hundreds of the player ids, which stay when the teams change
    sides. Velocities are in m/s, as those of the real files: measured on their provider's own tracking.
    So is that positions are rounded to a thousandth of the pitch. Of who has no box, nobody can know
    more than the places of the others tell (`data.unseen`).
    """
    figures, length = motion.role.shape
    rows = np.zeros((length, figures, len(Tactical)), np.float32)
    team = np.repeat(np.arange(N_TEAMS), N_PLACES)
    seen = np.isfinite(shots.boxes[..., :1])  # (22, T, 1)
    keepers = (motion.role[:, 0] == Role.GK).astype(int)
    xy = filled(np.where(seen, motion.xy, np.nan), team, keepers)
    velocity = np.where(seen, motion.velocity, slow_velocity(xy))
    rows[..., Tactical.FRAME] = motion.first_frame + np.arange(length)[:, None]
    rows[..., Tactical.PLAYER_ID] = 100 * np.array(squads)[team] + motion.jersey.T
    rows[..., Tactical.TEAM] = team
    rows[..., Tactical.JERSEY] = np.where(unread_jerseys(motion), np.nan, motion.jersey).T
    rows[..., Tactical.ROLE] = motion.role.T
    rows[..., Tactical.X : Tactical.Y + 1] = (xy / PITCH).round(3).transpose(1, 0, 2)
    rows[..., Tactical.VX : Tactical.VY + 1] = velocity.transpose(1, 0, 2)
    rows[..., Tactical.BOX_X : Tactical.BOX_HEIGHT + 1] = shots.boxes.transpose(1, 0, 2)
    rows[motion.script["step"], motion.script["figure"], Tactical.LABEL] = motion.script["cls"]
    return rows.reshape(-1, len(Tactical))


def unread_jerseys(motion: Motion) -> np.ndarray:
    """(22, T) whether a shirt number is not known: of a substitute, until the first act, at most 5 s."""
    unread = np.zeros(motion.jersey.shape, bool)
    for figure, step in np.argwhere(np.diff(motion.jersey, axis=1) != 0):
        acts = motion.script.query("figure == @figure and step > @step")["step"]
        unread[figure, step + 1 : min(step + 1 + 5 * FPS, acts.min() if len(acts) else np.inf)] = True
    return unread


def _simulate_half(job: _Job) -> pd.DataFrame:
    """Write the parts of a half, unless they are there; its events with the flags that came true."""
    cv2.setNumThreads(1)  # as many processes as cores run already
    motion, shots = simulate_half(job.game, job.half, job.minutes, job.seed)
    shown = _highlights(motion, shots) if job.highlights else np.ones(len(motion.ball), bool)
    if not shown.any():
        raise DataError(f"no rare event to show: {job.minutes} minutes are too short", half=job.name)
    frames = motion.first_frame + np.cumsum(shown) - 1  # those that are shown follow each other
    if not job.part(".npy").exists():
        rows = tactical_rows(motion, shots, (1, 2) if job.half == 0 else (2, 1))
        rows = rows[np.repeat(shown, motion.role.shape[0])]
        rows[:, Tactical.FRAME] = np.repeat(frames[shown], motion.role.shape[0])
        with atomic_write(job.part(".npy"), "wb") as stream:
            np.save(stream, rows)
    if job.video and not job.part(".mp4").exists():
        rng = np.random.default_rng([job.seed, job.game, job.half, 1])
        kits = choose_kits(np.random.default_rng([job.seed, job.game]))
        kits = kits[:: -1 if job.half else 1]  # they change sides
        pictures = render(motion, shots, kits, rng, np.flatnonzero(shown))
        # The first half's part starts with the video, the second's where the first ends.
        before = motion.first_frame
        if job.half == 1:
            previous = simulate_match(job.game, job.minutes, job.seed).lineup
            before -= int(previous["stop"][previous["half"] == f"game_{job.game}_H1"].max())
        card = np.full((*MODEL_SIZE, 3), (18, 22, 34), np.uint8)  # on before the kick-off
        style = cv2.FONT_HERSHEY_SIMPLEX, 1.1, (235, 235, 235), 2, cv2.LINE_AA
        cv2.putText(card, "footpass", (240, 185), *style)
        shown_too = itertools.chain(itertools.repeat(card, before), pictures)
        write_video(job.part(".mp4"), shown_too, preset=PRESET)
    step = motion.script["step"].to_numpy()
    return _realised(motion, shots).assign(frame=frames[step])[shown[step]]


def _highlights(motion: Motion, shots: Shots) -> np.ndarray:
    """(T,) whether a frame is near an event of a rare class whose player has a box."""
    step, figure, cls = (motion.script[name].to_numpy() for name in ("step", "figure", "cls"))
    rare = ~np.isin(cls, (Action.DRIVE, Action.PASS)) & np.isfinite(shots.boxes[figure, step, 0])
    shown = np.zeros(len(motion.ball), bool)
    for at in step[rare]:
        shown[max(at - _AROUND, 0) : at + _AROUND + 1] = True
    return shown


def _realised(motion: Motion, shots: Shots) -> pd.DataFrame:
    """The script, with the flags of what the rows show."""
    has_box = np.isfinite(shots.boxes[..., 0])  # (22, T)
    step, figure = motion.script["step"], motion.script["figure"]
    return motion.script.drop(columns=["step", "figure"]).assign(
        box_visible=has_box[figure, step], replay=~has_box[:, step].any(axis=0)
    )


def survey(
    matches: int, minutes: float = 90.0, seed: int = 0, workers: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ground truth of a season of these arguments, which is not written, and what its halves are like.

    A row per half: mean number of boxes outside replays, shares of all rows with a box and of frames in
    replays, how far the farthest actor was from the ball at the anchor, in metres, and `movement`.
    """
    games = range(FIRST_GAME["train"], FIRST_GAME["train"] + matches)
    jobs = [_Job(game, half, minutes, seed, False, Path(), False) for game in games for half in (0, 1)]
    parts = list(tqdm(in_parallel(_survey_half, jobs, workers), total=len(jobs), unit="half"))
    events, rows = zip(*parts, strict=True)
    return concat(events), pd.DataFrame(rows)


def _survey_half(job: _Job) -> tuple[pd.DataFrame, dict]:
    motion, shots = simulate_half(job.game, job.half, job.minutes, job.seed)
    has_box = np.isfinite(shots.boxes[..., 0])
    half = dense(tactical_rows(motion, shots, (1, 2)), job.name)
    return _realised(motion, shots), {
        "half": job.name,
        "players with a box": has_box.sum(axis=0)[has_box.any(axis=0)].mean(),
        "rows with a box": has_box.mean(),
        "frames in replays": shots.replay.mean(),
        "actor to ball": motion.to_ball.max(initial=0),
        **movement([half]),
    }


def _join(path: Path, parts: list[Path]) -> None:
    """One video of several, without decoding them; all come from the same encoder settings."""
    with atomic_write(path, "w+b") as file, av.open(file, "w", format="mp4") as joined:
        stream, offset = None, 0
        for part in parts:
            with av.open(str(part)) as container:
                source = container.streams.video[0]
                stream = stream or joined.add_stream_from_template(source)
                # Of the time base, per frame; a stream that is read has one.
                step = int(1 / (FPS * source.time_base))  # type: ignore[operator]
                for packet in container.demux(source):
                    if packet.dts is None or packet.pts is None:  # the last one, which is empty
                        continue
                    packet.pts, packet.dts = packet.pts + offset * step, packet.dts + offset * step
                    packet.stream = stream
                    joined.mux(packet)
                    file.raise_error()
                offset += source.frames
