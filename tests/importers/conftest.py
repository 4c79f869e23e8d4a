"""What the importers' tests share: a short simulated half, and real data where they are."""

import os
from pathlib import Path

import pytest

from footpass.importers.gsr import read_gsr
from footpass.importers.match import ImportConfig, import_match
from footpass.simulate.season import simulate_half, tactical_rows
from footpass.simulate.tracker_files import write_gsr
from footpass.simulate.trackers import TrackerErrors, track

GAME, SEED, MINUTES = 2002, 3, 16.0


@pytest.fixture(scope="session")
def real_match() -> Path:
    """Folder of the one real match in the data provider's own form."""
    default = Path(__file__).parents[3] / "shared" / "real_match"
    folder = Path(os.environ.get("FOOTPASS_REAL_MATCH", default))
    if not folder.is_dir():
        pytest.skip("needs a match in the provider's form: set FOOTPASS_REAL_MATCH to its folder")
    return folder


@pytest.fixture(scope="session")
def kloppy_files() -> Path:
    """Folder of the files that kloppy tests its own readers with."""
    kloppy = pytest.importorskip("kloppy", reason="needs kloppy: pip install kloppy")
    folder = Path(kloppy.__file__).parent / "tests" / "files"
    if not folder.is_dir():
        pytest.skip("this kloppy comes without its test files")
    return folder


@pytest.fixture(scope="session")
def half():
    """A simulated second half, with substitutions and a change of roles: motion, shots, true rows."""
    motion, shots = simulate_half(GAME, 1, MINUTES, SEED)
    return motion, shots, tactical_rows(motion, shots, (2, 1))


@pytest.fixture(scope="session")
def gsr(half, tmp_path_factory):
    """Makes the half's game-state file with a tracker's errors: its path, and the tracks in it."""
    motion, shots, _ = half
    folder = tmp_path_factory.mktemp("gsr")
    written: dict[str, tuple] = {}

    def write(**errors: float):
        key = repr(errors)
        if key not in written:
            tracks = track(motion, shots, TrackerErrors(**errors), [SEED, GAME, 1, 2])
            path = folder / f"{len(written)}.json"
            write_gsr(tracks, f"game_{GAME}_H2", len(motion.ball), path)
            written[key] = path, tracks
        return written[key]

    return write


@pytest.fixture(scope="session")
def exact(gsr, tmp_path_factory) -> Path:
    """Data folder of the half's exact game state, imported."""
    out = tmp_path_factory.mktemp("exact")
    import_match(out, [read_gsr(gsr()[0])], ImportConfig(game=GAME))
    return out
