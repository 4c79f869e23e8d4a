"""What every test run shares: the smoke profile, and where real data and golden values are."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from footpass.data.paths import release_dir

# Notebooks, wherever they are run from in a test run, use the seconds-long profile.
os.environ["FOOTPASS_PROFILE"] = "smoke"

# Tests never assert a time: by default hypothesis fails an example that takes over 0.2 s, as any may
# on a busy machine.
settings.register_profile("footpass", deadline=None)
settings.load_profile("footpass")


@pytest.fixture(autouse=True)
def _same_numbers_whatever_ran_before() -> None:
    """A test that draws numbers without a seed of its own draws the same ones in every run."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def release() -> Path:
    """Folder of the public FOOTPASS release; tests that need it are skipped where it is absent."""
    folder = release_dir()
    if folder is None:
        pytest.skip("needs the public FOOTPASS release: set FOOTPASS_RELEASE to a clone of it")
    return folder


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of golden values computed with the public models and the official evaluator."""
    default = Path(__file__).parent.parent / "shared" / "reference"
    folder = Path(os.environ.get("FOOTPASS_REFERENCE", default))
    if not folder.is_dir():
        pytest.skip("needs golden values of the public models: set FOOTPASS_REFERENCE to them")
    return folder
