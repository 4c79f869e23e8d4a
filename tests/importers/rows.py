"""Small tables of tracks, made by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from footpass.importers.tracks import COLUMNS, PLAYER, UNKNOWN, TrackedHalf
from footpass.schema import PITCH

NAN = float("nan")


def track(number, frames, metres, team=0, jersey=UNKNOWN, keeper=PLAYER, box=(NAN,) * 4) -> pd.DataFrame:
    """Rows of one track; ``metres`` from the corner, a point or one a frame."""
    frames = np.asarray(frames, float)
    xy = np.broadcast_to(np.asarray(metres, float) / PITCH, (len(frames), 2))
    values = {"frame": frames, "track": number, "team": team, "jersey": jersey, "keeper": keeper}
    values |= {"x": xy[:, 0], "y": xy[:, 1]}
    values |= dict(
        zip(("box_x", "box_y", "box_w", "box_h"), np.broadcast_to(box, (len(frames), 4)).T, strict=True)
    )
    return pd.DataFrame(values).astype(COLUMNS)


def tracked(*tracks: pd.DataFrame, **fields) -> TrackedHalf:
    """A half of such tracks."""
    return TrackedHalf("hand.json", pd.concat(tracks, ignore_index=True), **fields)


# Eleven places of a 4-3-3 that attacks from the left, in metres.
ELEVEN = {
    "GK": (5, 34), "LB": (30, 6), "LCB": (24, 25), "RCB": (24, 43), "RB": (30, 62), "DM": (42, 34),
    "LM": (50, 20), "RM": (50, 48), "LW": (70, 8), "CF": (75, 34), "RW": (70, 60),
}  # fmt: skip


def game_state(path: Path, annotations: list[dict], **top) -> Path:
    """A game-state file of these annotations."""
    path.write_text(json.dumps({"annotations": annotations, **top}))
    return path


def annotation(image, track=1, x=0.0, y=0.0, jersey="10", team="left", role="player", **more) -> dict:
    """One player of it, positions in metres from the centre spot."""
    return {
        "image_id": image,
        "track_id": track,
        "category_id": 1,
        "attributes": {"role": role, "jersey": jersey, "team": team},
        "bbox_image": {"x": 900, "y": 500, "w": 40, "h": 90},
        "bbox_pitch": {"x_bottom_middle": x, "y_bottom_middle": y},
        **more,
    }
