"""What an import decided and doubts: a table of tracks, a text, and a picture."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from footpass.files import atomic_write, make_folder
from footpass.importers.tactical import Imported
from footpass.plots.style import SIDES, TEAMS, draw_pitch, legend, subplots
from footpass.schema import FPS, Role

_SEEN = ("white", "#DDDDDD", "#E69F00", "#009E73")  # not on, estimated, seen, and with a number
_SAMPLE = FPS  # frames between two columns of the timeline


def write_decisions(folder: str | Path, name: str, half: Imported, notes: tuple[str, ...]) -> None:
    """Write ``<half>.csv`` (a row a track), ``<half>.txt`` and ``<half>.png`` into a folder."""
    make_folder(folder)
    with atomic_write(Path(folder, f"{name}.csv")) as stream:
        half.tracks.round({"readings": 2}).to_csv(stream, index=False)
    with atomic_write(Path(folder, f"{name}.txt")) as stream:
        stream.write("".join(f"{note}\n" for note in notes))
    figure = picture(half, name)
    with atomic_write(Path(folder, f"{name}.png"), "wb") as stream:
        figure.savefig(stream, format="png", dpi=110)
    plt.close(figure)


def picture(half: Imported, name: str) -> Figure:
    """Roles on the pitch, and who is seen and known when."""
    figure, (pitch, times) = subplots((13, 5.5), 1, 2, width_ratios=(1.3, 1))
    draw_pitch(pitch)
    for side, colour in zip(SIDES, TEAMS, strict=True):
        pitch.plot([], [], "o", color=colour, label=f"{side} team")
    legend(pitch)
    figure.suptitle(f"{name}: where each role was, on average, and who was seen when", fontsize=10)
    rows, names = [], []
    for place, team in enumerate(half.team):
        on = half.role[place] > 0
        for role in np.unique(half.role[place][on]):
            here = half.role[place] == role
            x, y = half.xy[place][here].mean(axis=0)
            if np.isfinite(x) and here.sum() > 0.1 * on.sum():
                pitch.plot(x, y, "o", color=TEAMS[team], ms=16, alpha=0.8)
                label = Role(role).name
                pitch.text(x, y, label, ha="center", va="center", color="white", fontsize=7)
        value = np.where(half.seen[place], np.where(half.known[place], 3, 2), np.where(on, 1, 0))
        rows.append(value[::_SAMPLE])
        common = Role(int(np.bincount(half.role[place][on]).argmax())).name if on.any() else "-"
        names.append(f"{SIDES[team]} {common}")
    shown = plt.matplotlib.colors.ListedColormap(_SEEN)
    seconds = half.seen.shape[1] / FPS
    length, unit = (seconds / 60, "minute") if seconds > 120 else (seconds, "second")
    times.imshow(
        np.array(rows), aspect="auto", cmap=shown, vmin=0, vmax=3, interpolation="nearest",
        extent=(0, length, len(rows) - 0.5, -0.5),
    )  # fmt: skip
    times.set_yticks(range(len(names)), names, fontsize=7)
    times.set_xlabel(unit)
    labels = ("seen, number known", "seen, no number", "not seen: estimated")
    for label, colour in zip(labels, _SEEN[:0:-1], strict=True):
        times.plot([], [], "s", color=colour, label=label)
    legend(times, columns=3)
    return figure
