"""tests/floor.txt has the lowest versions that pyproject.toml allows, of all that tests run with."""

import re
import tomllib
from itertools import chain

from packaging.requirements import Requirement
from packaging.version import Version

from footpass.files import PROJECT

# Whose versions do not matter to what is tested; and the project, which names extras of its own.
TOOLS = {"ruff", "mypy", "playwright", "footpass"}


def test_the_floor_is_the_lowest_of_every_range():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = chain(project["dependencies"], *project["optional-dependencies"].values())
    ranges = {one.name: one.specifier for one in map(Requirement, lines) if one.name not in TOOLS}
    floor = dict(re.findall(r"^([\w-]+)==([\d.]+)$", (PROJECT / "tests/floor.txt").read_text(), re.M))
    assert set(floor) == set(ranges)
    for name, specifier in ranges.items():
        (lowest,) = (Version(bound.version) for bound in specifier if bound.operator == ">=")
        # The first version of that release: 1.11 may begin with 1.11.1.
        assert Version(floor[name]).release[: len(lowest.release)] == lowest.release, name
