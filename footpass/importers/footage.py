"""An own video as the match's: linked where the models can read it as it is, else transcoded."""

import os
from pathlib import Path

from footpass.data.paths import video_path
from footpass.data.video import probe, resampled, write_video
from footpass.files import DataError, make_folder
from footpass.schema import FPS, FULL_HD, MODEL_SIZE


def needs_video(out: str | Path, match: str, video: str | Path) -> bool:
    """Whether a match below ``out`` has this video still to get; one that has another is refused."""
    video, target = Path(video), Path(out, video_path(match))
    if not target.exists():
        return True
    if target.resolve() == video.resolve():
        return False
    mend = "leave out --video, which keeps it; delete it; or choose another --game"
    raise DataError(f"{target}: the match has a video already: {mend}")


def add_video(out: str | Path, match: str, video: str | Path) -> str:
    """Give a match its video below ``out``; returns what was done in words."""
    video, target = Path(video), Path(out, video_path(match))
    if not needs_video(out, match, video):
        return f"{target}: linked to {video} already"
    info = probe(video)
    make_folder(target.parent)
    target.unlink(missing_ok=True)  # a link to a video that is gone
    if info.at_fps and (info.height, info.width) in (MODEL_SIZE, FULL_HD):
        os.symlink(video.resolve(), target)
        return f"{target}: linked to {video}"
    write_video(target, resampled(video))
    height, width = MODEL_SIZE
    was = f"{info.width}x{info.height} at {info.fps:.4g} frames a second"
    return f"{target}: transcoded from {was} to {width}x{height} at {FPS}"
