"""Seeded alterations of what readers read: one value replaced, left out, doubled; some bytes changed."""

import random
from collections.abc import Callable
from pathlib import Path

from footpass.files import DataError

ODD = (None, True, -1, 0, 1.5, 2.0, 1e308, 10**400, "", "a_H1", [], [[]], {}, {"keys": []}, float("nan"))


def changed(content, rng: random.Random):
    """A copy with one value, somewhere, replaced by an odd one, left out or doubled."""
    if isinstance(content, (dict, list, tuple)) and content and rng.random() < 0.8:
        copy = dict(content) if isinstance(content, dict) else dict(enumerate(content))
        key = rng.choice(list(copy))
        copy[key] = changed(copy[key], rng)
        return copy if isinstance(content, dict) else list(copy.values())
    if isinstance(content, (list, tuple)) and content and rng.random() < 0.4:
        return rng.choice((content[1:], content * 2))
    return rng.choice(ODD)


def taken(
    read: Callable[[Path], object], write: Callable[[random.Random], object], path: Path, cases: int
) -> int:
    """How many altered files are taken; whatever is raised but a `DataError` of the file fails."""
    count = 0
    for seed in range(cases):
        write(random.Random(seed))
        try:
            read(path)
            count += 1
        except DataError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error) and len(str(error)) < 600
    return count
