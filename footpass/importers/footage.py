"""An own video as the match's: linked where the models can read it as it is, else transcoded."""

import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from footpass.data.paths import video_path
from footpass.data.video import probe, write_video
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
    size = (info.height, info.width)
    if info.at_fps and size in (MODEL_SIZE, FULL_HD):
        os.symlink(video.resolve(), target)
        return f"{target}: linked to {video}"
    write_video(target, _pictures(video))
    height, width = MODEL_SIZE
    was = f"{info.width}x{info.height} at {info.fps:.4g} frames a second"
    return f"{target}: transcoded from {was} to {width}x{height} at {FPS}"


def _pictures(video: Path) -> Iterator[np.ndarray]:
    """Pictures of `MODEL_SIZE` at 25 frames a second: of each moment the one on screen."""
    height, width = MODEL_SIZE
    count = 0
    with av.open(os.fspath(video)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        start, held, until = stream.start_time or 0, None, 0.0
        for frame in container.decode(stream):
            if frame.pts is None:
                continue
            until = float((frame.pts - start) * frame.time_base) * FPS  # type: ignore[operator]
            while held is not None and count < until - 1e-3:
                yield held
                count += 1
            held = frame.reformat(width, height, "rgb24").to_ndarray()
        if held is not None and count <= until + 1e-3:
            yield held
