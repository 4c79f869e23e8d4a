"""Is a start from synthetic video worth anything where the look is another one?

    python -m benchmarks.other_look runs/other-look

Matches with kits, light, grain and a camera that the zoo's TAAD has never seen, as many as `demo` has. A
TAAD learns from one of them, from the zoo's weights and from random ones, with the same settings; both
are scored on the matches kept apart, beside the zoo's weights as they are. What a start from Kinetics is
worth is seen only where its weights are: ``--kinetics X3D_S.pyth``. Writes ``reports/other_look.json``.
"""

import argparse
import logging
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from footpass import zoo
from footpass.data.provenance import season_provenance
from footpass.experiments.profile import load_profile
from footpass.experiments.season import Season
from footpass.experiments.stages import Study
from footpass.files import PROJECT, revision, write_json
from footpass.metrics import compare, evaluate
from footpass.schema import MODEL_SIZE, PITCH
from footpass.simulate import camera, render, season

SEED = 7000  # no match of another season of the project is among these
KITS = [
    ((20, 120, 110), (230, 230, 210)),
    ((150, 150, 160), (60, 60, 70)),
    ((250, 150, 190), (250, 250, 250)),
    ((90, 60, 30), (30, 20, 10)),
    ((70, 220, 220), (20, 20, 90)),
    ((140, 60, 200), (240, 230, 90)),
]
CAMERA = np.array([PITCH[0] / 2, PITCH[1] + 55.0, 15.0])  # 17 m farther away and 6 m lower
# Darker, with the colour of a low sun, and over twice as grainy.
SHADES = (255 * (np.arange(256) / 255) ** 1.5)[:, None, None] * np.array([1.0, 0.86, 0.7])
GRAIN = 9.0
_drawn = render.render


def other_pictures(*args: Any) -> Iterator[np.ndarray]:
    """The pictures of `render`, in another light and grain."""
    rng = np.random.default_rng(0)
    grain = rng.normal(0, GRAIN, (8, *MODEL_SIZE, 3))
    lighter, darker = (np.maximum(part, 0).round().astype(np.uint8) for part in (grain, -grain))
    for picture in _drawn(*args):
        which = rng.integers(len(grain))
        changed = cv2.LUT(picture, SHADES.round().astype(np.uint8))
        yield cv2.subtract(cv2.add(changed, lighter[which]), darker[which])


def simulate(folder: Path, size: Any) -> None:
    """A season that looks different; in this process, which is the one that has been told so."""
    render._KITS[:] = KITS
    camera._MAIN = CAMERA
    season.render = other_pictures  # type: ignore[assignment]
    for split in ("train", "val"):
        season.write_season(folder, getattr(size, split), size.minutes, SEED, split, workers=1)


def main() -> None:
    """Simulate, learn, score; what is there already is taken as it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--kinetics", metavar="X3D_S.pyth")
    parser.add_argument("--profile", default="demo")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    profile = load_profile(args.profile)
    assert profile.season
    folder = args.out / "season"
    if not (folder / "made").is_file():
        simulate(folder, profile.season)
        (folder / "made").touch()
    matches = Season(folder, season_provenance(folder), profile.season)
    found = {}
    starts: list[tuple[str, Literal["zoo", "random"], str | None]]
    starts = [("zoo, fine-tuned", "zoo", None), ("random", "random", None)]
    if args.kinetics:
        starts.append(("Kinetics-400", "random", args.kinetics))
    for name, start, kinetics in starts:
        study = Study(args.out / "stages", replace(profile, start=start), matches, kinetics=kinetics)
        stage = study.taad()
        found[name] = evaluate(study.predict(stage, "val"), study.truth["val"])
    found["zoo, as it is"] = evaluate(zoo.spot("taad", study.footage["val"]), study.truth["val"])
    result = compare(found, "random", block_minutes=matches.block_minutes)
    for name, score in result.scores.items():
        print(f"{name}: {score.value:.3f} ({score.low:.3f} to {score.high:.3f})")
    print(*map(result.verdict, result.gains), sep="\n")
    content = {"git": revision(), "scores": {n: asdict(one) for n, one in result.scores.items()}}
    content["gains"] = {n: asdict(one) for n, one in result.gains.items()}
    write_json(content, PROJECT / "reports" / "other_look.json", indent=1)


if __name__ == "__main__":
    main()
