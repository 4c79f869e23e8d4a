"""What all benchmarks share: two ways of computing one thing, timed in turn, the ratio of medians."""

import statistics
import time
from collections.abc import Callable


def compare(
    name: str,
    what: str,
    fast: Callable[[], object],
    plain: Callable[[], object],
    target: float,
    repeats: int = 5,
    same: Callable[[object, object], bool] = lambda a, b: bool(a == b),
) -> dict:
    """Time ``fast`` and ``plain`` in turn, after checking on a first call that they agree.

    Returns
    -------
    dict
        ``name, what, fast_s, plain_s`` (medians), ``ratio`` (plain / fast) and the ``target`` for it.
    """
    if not same(fast(), plain()):
        raise AssertionError(f"{name}: the two implementations disagree")
    times = {"fast": [], "plain": []}
    for _ in range(repeats):
        for label, function in (("fast", fast), ("plain", plain)):
            start = time.perf_counter()
            function()
            times[label].append(time.perf_counter() - start)
    fast_s, plain_s = (statistics.median(times[label]) for label in ("fast", "plain"))
    ratio = plain_s / fast_s
    return dict(name=name, what=what, fast_s=fast_s, plain_s=plain_s, ratio=ratio, target=target)


def main(run: Callable[[], dict]) -> None:
    """Run one benchmark and print its line."""
    r = run()
    print(
        f"{r['name']}: {r['ratio']:.1f} times faster (target {r['target']}): "
        f"{1e3 * r['fast_s']:.2f} ms against {1e3 * r['plain_s']:.1f} ms, {r['what']}"
    )
