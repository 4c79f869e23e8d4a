"""A hand-made season with video, small enough for tests."""

from pathlib import Path

import numpy as np

from footpass.data.paths import tactical_path, video_path
from footpass.data.tactical import write_tactical
from footpass.data.video import write_video
from footpass.events import match_of
from footpass.schema import FULL_HD, MODEL_SIZE, N_ROLES, Tactical

SIZE = (64, 96)  # of the pictures
FIRST = {"game_1_H1": 3, "game_1_H2": 300}  # frames before and between the halves, as in real videos
LENGTH = {"game_1_H1": 180, "game_1_H2": 120}
N_FRAMES = 420
PLAYERS = (0, 2, 5, 14, 15, 20, 25)  # slots; the last one never has a box


def level(frame: int) -> int:
    """Grey of a frame's picture: 28 in a row differ, by more than coding changes them."""
    return 16 + 8 * (frame % 28)


def box(slot: int, frame: int) -> tuple[float, float, float, float]:
    """Corner and size of a player's box, in pixels of `FULL_HD`."""
    return 60.0 * slot + frame % 50, 400.0 + 3 * slot, 48.0, 108.0


def hidden(slot: int, frame: int) -> bool:
    """Who has no box: slot 5 in every third stretch of 20 frames, slot 25 ever."""
    return slot == 25 or (slot == 5 and frame // 20 % 3 == 0)


def rows(half: str, events: dict[tuple[int, int], int]) -> np.ndarray:
    """Tactical rows of a half; events are (absolute frame, slot) -> class."""
    table = []
    like = half.replace(match_of(half), "game_1")  # all matches have the same frames
    for frame in range(FIRST[like], FIRST[like] + LENGTH[like]):
        for slot in PLAYERS:
            team, role = divmod(slot, N_ROLES)
            corner_and_size = (np.nan,) * 4 if hidden(slot, frame) else box(slot, frame)
            label = events.get((frame, slot), 0)
            player = [100 * (team + 1) + slot, team, 30 + slot, role + 1]
            table.append([frame, *player, slot / 26, frame / 1000, 1.0, -1.0, *corner_and_size, label])
    return np.array(table, np.float32)


def write(folder: Path, events: dict[str, dict[tuple[int, int], int]], split: str = "train") -> Path:
    """Tactical data and videos of the halves' matches, with these events per half."""
    folder.mkdir(exist_ok=True)
    write_tactical(folder / tactical_path(split), ((half, rows(half, events[half])) for half in events))
    for match in dict.fromkeys(map(match_of, events)):
        path = folder / video_path(match)
        path.parent.mkdir(exist_ok=True)
        write_video(path, (np.full((*SIZE, 3), level(frame), np.uint8) for frame in range(N_FRAMES)))
    return folder


def write_splits(folder: Path, events: dict[str, dict[str, dict[tuple[int, int], int]]]) -> Path:
    """`write` of every split."""
    for split, halves in events.items():
        write(folder, halves, split)
    return folder


def model_box(slot: int, frame: int, size: tuple[int, int] = MODEL_SIZE) -> np.ndarray:
    """x1, y1, x2, y2 in pixels of a picture of this size."""
    x, y, width, height = box(slot, frame)
    scale_y, scale_x = np.divide(size, FULL_HD)
    return np.array([x * scale_x, y * scale_y, (x + width) * scale_x, (y + height) * scale_y])


assert len(Tactical) == 14  # the order of the columns above
