"""The data that notebooks run on: the real ones where they are, else one synthetic season for all.

Its size is the profile's, ``[season]`` in `profiles/`; what is in it, `footpass.simulate` decides.
"""

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from footpass.data.cache import Footage, open_footage
from footpass.data.paths import data_dir, tactical_path
from footpass.data.provenance import Provenance, season_provenance
from footpass.experiments.profile import Profile, SeasonSize
from footpass.files import PROJECT, DataError, fingerprint, locked, make_folder, write_json
from footpass.schema import FPS
from footpass.simulate.season import EDITION, write_season

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Season:
    """A folder of data with the splits train and val, videos included."""

    folder: Path
    provenance: Provenance
    size: SeasonSize | None  # how much of it is used, from the start of each split and half; None: all

    @property
    def simulated(self) -> bool:
        return self.provenance.simulated

    @property
    def source(self) -> str:
        """What it is, in words, for captions."""
        return "synthetic season" if self.simulated else "FOOTPASS data"

    @property
    def block_minutes(self) -> float:
        """Length of the blocks of play that intervals are drawn from: synthetic seasons may be short."""
        return 0.5 if self.simulated else 5.0

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
        if not self.simulated or self.size is None or self.size.highlights == 0:
            return False
        return (_highlights_of(self.folder) / tactical_path("train")).is_file()

    def footage(self, split: str) -> dict[str, Footage]:
        """Halves of a split by name, each with its video."""
        if self.size is None:
            return open_footage(self.folder, split)
        footage = open_footage(self.folder, split, matches=getattr(self.size, split))
        frames, used = round(self.size.minutes / 2 * 60 * FPS), {}
        for name, entry in footage.items():
            first, end = entry.half.first_frame, entry.half.end_frame
            used[name] = replace(entry, half=entry.half.window(first, min(first + frames, end)))
        return used

    def highlights(self) -> dict[str, Footage]:
        """Highlights of further matches, none in real data."""
        if self.size is None or not self._has_highlights:
            return {}
        return open_footage(_highlights_of(self.folder), "train", matches=self.size.highlights)


def find_season(profile: Profile, data: str | Path | None = None) -> Season:
    """The data in ``data``, else where `data.paths.data_dir` finds them, else a synthetic season.

    Whatever the data are, no more of them is used than the profile's ``season`` says.
    """
    found = Path(data) if data else data_dir() if profile.find_data else None
    if found:
        # Absolute, for workers in other folders
        return Season(found.absolute(), season_provenance(found), profile.season)
    folder = default_season(profile)
    return Season(folder, season_provenance(folder), profile.season)


def _highlights_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-highlights")


def default_season(profile: Profile, runs: str | Path = PROJECT / "runs") -> Path:
    """Folder of a profile's synthetic season, in ``runs``; of other settings it has another name.

    A part of it (train, val, highlights) is simulated once. When more matches are wanted than there are,
    these are added; when fewer, the others stay unused.
    """
    size = profile.season
    if size is None:
        raise DataError(f"profile {profile.name} needs real data: set FOOTPASS_DATA to their folder")
    of = fingerprint(size.minutes, size.seed, EDITION)[:8]
    folder = Path(runs, f"season-{profile.name}-{of}")
    made = folder / "season.json"
    parts = {"train": size.train, "val": size.val, "highlights": size.highlights}

    def there() -> dict[str, int]:
        """Matches of the parts that are whole; of none if that is unreadable."""
        try:
            found = json.loads(made.read_bytes())
        except (FileNotFoundError, ValueError):
            found = None
        return found if isinstance(found, dict) else {}

    def missing() -> list[str]:
        found = there()
        return [part for part, matches in parts.items() if found.get(part, 0) < matches]

    if not missing():
        return folder
    make_folder(folder)
    with locked(folder):  # of several processes that come at once, the first simulates
        for part in missing():
            kept, matches = there().get(part, 0), parts[part]
            log.info("%s: simulating %s of %s matches, %s of them there", folder, part, matches, kept)
            if part == "highlights":
                write_season(_highlights_of(folder), matches, seed=size.seed, highlights=True, kept=kept)
            else:
                write_season(folder, matches, size.minutes, size.seed, part, kept=kept)
            write_json(there() | {part: matches}, made)
    return folder
