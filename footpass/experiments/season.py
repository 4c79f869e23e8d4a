"""The data that notebooks run on: the real ones where they are, else one synthetic season for all."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from footpass.data.cache import Footage, open_footage
from footpass.data.halves import HalfMatch
from footpass.data.paths import data_dir, tactical_path
from footpass.events import load_json
from footpass.files import PROJECT, DataError, atomic_write, locked, make_folder
from footpass.schema import FPS
from footpass.simulate.season import write_season

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeasonSize:
    """Matches to train and to validate on, and the minutes of each, half of them in each half.

    Attributes
    ----------
    held_out
        The last so many train matches are kept from the detectors: what these say of matches that they
        have learned from is too good to be learned from once more. 0: all matches serve both.
    highlights
        First halves that only the rare events of are shown (`simulate.season.write_season`), for the
        detectors to learn from; of synthetic seasons.
    """

    train: int
    val: int
    minutes: float
    seed: int = 0
    held_out: int = 0
    highlights: int = 0


SEASON_SIZES = {
    "smoke": SeasonSize(train=1, val=2, minutes=0.4),
    "demo": SeasonSize(train=2, val=2, minutes=2.0),
    "study": SeasonSize(train=6, val=2, minutes=15.0, held_out=3, highlights=20),
}


@dataclass(frozen=True)
class Season:
    """A folder of data with the splits train and val, videos included.

    Attributes
    ----------
    size
        How much of it is used, from the start of each split and half; None: all.
    """

    folder: Path
    simulated: bool
    size: SeasonSize | None

    @property
    def source(self) -> str:
        """What it is, in words, for captions."""
        return "synthetic season" if self.simulated else "FOOTPASS data"

    @property
    def files(self) -> list[Path]:
        """Files whose content tells one season from another."""
        if not self.simulated:
            return []  # the real ones are gigabytes
        files = [self.folder / tactical_path(split) for split in ("train", "val")]
        if self._has_highlights:
            files.append(_highlights_of(self.folder) / tactical_path("train"))
        return files

    @property
    def _has_highlights(self) -> bool:
        return self.simulated and self.size is not None and self.size.highlights > 0

    def footage(self, split: str) -> dict[str, Footage]:
        """Halves of a split by name, each with its video."""
        if self.size is None:
            return open_footage(self.folder, split)
        footage = open_footage(self.folder, split, matches=getattr(self.size, split))
        frames = round(self.size.minutes / 2 * 60 * FPS)
        return {name: Footage(_beginning(f.half, frames), f.video) for name, f in footage.items()}

    def highlights(self) -> dict[str, Footage]:
        """Highlights of further matches, none in real data."""
        return open_footage(_highlights_of(self.folder), "train") if self._has_highlights else {}


def _beginning(half: HalfMatch, frames: int) -> HalfMatch:
    return half.window(half.first_frame, min(half.first_frame + frames, half.end_frame))


def find_season(profile: str, data: str | Path | None = None) -> Season:
    """The data in ``data``, else where `footpass.files.data_dir` finds them, else a synthetic season.

    Whatever the data are, a profile uses no more of them than its `SEASON_SIZES`; ``paper`` uses all.
    With ``smoke``, as in tests, only named data are used: finding some must not make it slow.
    """
    size = SEASON_SIZES.get(profile)
    found = Path(data) if data else None if profile == "smoke" else data_dir()
    if found:
        return Season(found, simulated=False, size=size)
    return Season(default_season(profile), simulated=True, size=size)


def _highlights_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-highlights")


def default_season(profile: str, runs: str | Path = PROJECT / "runs") -> Path:
    """Folder of a profile's synthetic season, ``runs/season-<profile>``; it is simulated once."""
    if profile not in SEASON_SIZES:
        raise DataError(f"profile {profile} needs real data: set FOOTPASS_DATA to their folder")
    size = SEASON_SIZES[profile]
    folder = Path(runs, f"season-{profile}")
    made = folder / "season.json"  # written last

    def finished() -> bool:
        return made.is_file() and load_json(made) == asdict(size)

    if finished():
        return folder
    make_folder(folder)
    with locked(folder):  # of several processes that come at once, the first simulates
        if finished():
            return folder
        log.info("%s: simulating %s", folder, size)
        made.unlink(missing_ok=True)
        for split in ("train", "val"):
            write_season(folder, getattr(size, split), size.minutes, size.seed, split)
        if size.highlights:
            write_season(_highlights_of(folder), size.highlights, seed=size.seed, highlights=True)
        with atomic_write(made) as stream:
            json.dump(asdict(size), stream)
    return folder
