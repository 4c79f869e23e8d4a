"""Video: frames by their absolute index, exactly; and writing.

The index of a frame is the number of 25ths of a second since the video's first picture, so it is
what column ``frame`` of the tactical data counts, whatever the container's time base or start.
"""

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from footpass.files import DataError, atomic_write
from footpass.schema import FPS, MODEL_SIZE

# Fractions of a frame by which a picture may be late: time stamps may be in whole milliseconds.
_ON_TIME = 0.1
# Reading on to a frame is cheaper than seeking if no keyframe lies further ahead than this.
_WORTH_A_SEEK = 16
_NOWHERE = 2**62  # a position past every frame: whichever is asked for next, it seeks
_LARGEST = 7680 * 4320  # pixels of a picture: a damaged header can ask for any amount of memory
# What the library raises where a file is damaged.
_DAMAGE = (av.FFmpegError, IndexError, StopIteration)


@dataclass(frozen=True)
class VideoInfo:
    """What a video is like."""

    height: int  # in pixels, as it is to be shown
    width: int
    fps: float  # pictures a second on average, by their time stamps
    n_frames: int  # of 1/25 s
    regular: bool  # whether each picture is at a multiple of 1/25 s; some may be dropped
    rotation: int  # degrees by which pictures are to be turned to the left: done when they are read

    @property
    def at_fps(self) -> bool:
        """Whether its time is the data's: 25 frames a second, but for some that were dropped."""
        return abs(self.fps - FPS) < (0.5 if self.regular else 0.05)

    def oddities(self) -> Iterator[str]:
        """What is not as in the official videos, and what to do."""
        mend, steady = "ffmpeg -i OLD.mp4 {} NEW.mp4 mends it", f"-vf fps={FPS}"
        if not self.at_fps:
            yield f"{self.fps:.4g} frames a second instead of {FPS}: {mend.format(steady)}"
        elif not self.regular:
            yield f"a variable rate, {FPS} frames a second only on average: {mend.format(steady)}"
        if self.rotation:
            reason = f"is to be shown turned by {self.rotation} degrees, which not all programs do"
            yield f"{reason}: {mend.format('-c:a copy')}"


def probe(path: str | Path) -> VideoInfo:
    """Size, rate and length of a video, of which only the first picture is decoded."""
    with _open(path) as container:
        stream = _film(container)
        last = max([entry.pos + entry.size for entry in stream.index_entries] + [_matroska_end(path)])
        size = os.path.getsize(path)
        if last > size:
            raise DataError(f"cut off: {size} of at least {last} bytes; unpack it again", path)
        if not 0 < stream.height * stream.width <= _LARGEST:
            raise DataError(f"pictures of {stream.width}x{stream.height}", path)
        if stream.duration is None:  # Matroska: only the whole file has one, from time 0
            seconds = ((container.duration or 0) - (container.start_time or 0)) / av.time_base
        else:
            seconds = float(stream.duration * stream.time_base)  # type: ignore[operator]
        rotation = 0
        with suppress(*_DAMAGE):  # as of a broadcast that was tuned into: later ones may do
            rotation = 90 * round(next(container.decode(stream)).rotation / 90)
        try:
            times = _times(container, stream) * FPS
        except _DAMAGE as error:
            raise DataError(f"not a readable video, or cut off: {error}", path) from error
    off = np.abs(times - np.round(times))
    height, width = (stream.height, stream.width)[:: -1 if rotation % 180 else 1]
    return VideoInfo(
        height,
        width,
        fps=round(FPS * (len(times) - 1) / float(times[-1]), 6) if times[-1:].any() else FPS,
        # Not the number of pictures in the file: one that was dropped still has its time.
        n_frames=round(seconds * FPS),
        regular=not len(off) or bool((off > _ON_TIME).mean() < 0.01),
        rotation=rotation,
    )


def _times(container: av.container.InputContainer, stream: av.VideoStream) -> np.ndarray:
    """Seconds from the first picture to each; without an index of all, to each of the first 1000."""
    ticks = [entry.timestamp for entry in stream.index_entries]
    if len(ticks) < stream.frames or not stream.frames:
        container.seek(0)
        packets = itertools.islice(container.demux(stream), 1000)
        ticks = [packet.pts for packet in packets if packet.pts is not None]
    return (np.sort(ticks) - min(ticks, default=0)) * float(stream.time_base or 0)


def _film(container: av.container.InputContainer) -> av.VideoStream:
    """The stream with the film: a cover picture may come before it."""
    return container.streams.best("video")  # type: ignore[return-value]


def _matroska_end(path: str | Path) -> int:
    """Where a Matroska file ends by its own account: it has no other index that would tell of a cut.

    It is two elements, a header and a segment: an identity of four bytes, a size, the content. Of a
    size, the first byte's leading zeros tell how many more bytes it has.
    """
    with open(path, "rb") as file:
        content = file.read(4096)
    at, end = 0, 0
    for identity in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        if content[at : at + 4] != identity or len(content) < at + 12:
            return 0
        length = 9 - content[at + 4].bit_length()
        number = int.from_bytes(content[at + 4 : at + 4 + length]) & ((1 << 7 * length) - 1)
        if number == (1 << 7 * length) - 1:  # not known when it was written
            return 0
        at = end = at + 4 + length + number
    return end


class VideoReader(AbstractContextManager):
    """Frames of a 25 fps video by absolute index, as RGB pictures resized to ``size``."""

    _frame: av.VideoFrame
    _next: av.VideoFrame | None

    def __init__(self, path: str | Path, size: tuple[int, int] = MODEL_SIZE) -> None:
        self.path, self.size = Path(path), size
        self._resize = VideoReformatter()
        self._info = probe(path)
        if not self._info.at_fps:
            raise DataError(next(self._info.oddities()), path)
        self._rewind()
        # Keyframes by decoding time, which is a few frames early: good enough to choose when to seek.
        self._keyframes = np.array(
            [self._index(entry.timestamp) for entry in self._stream.index_entries if entry.is_keyframe]
        )

    def frames(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Pictures of some frames, uint8 ``(len(indices), height, width, 3)``, in the order given.

        Where the video drops a frame, this is the picture before it, as on a screen.
        """
        wanted, places = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        pictures = np.empty((len(wanted), *self.size, 3), np.uint8)  # (T, H, W, 3)
        for picture, index in zip(pictures, wanted.tolist(), strict=True):
            picture[:] = self._picture(index)
        return pictures if np.array_equal(places, np.arange(len(wanted))) else pictures[places]

    def clip(self, start: int, length: int) -> np.ndarray:
        """Pictures of the frames from ``start`` on, uint8 ``(length, height, width, 3)``."""
        return self.frames(np.arange(start, start + length))

    def windows(
        self, start: int, stop: int, length: int, stride: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Overlapping clips over the frames ``start`` to ``stop - 1``, decoding each frame once.

        Yields the first frame and pictures ``(length, height, width, 3)``; the last clip ends with
        frame ``stop - 1`` and may be shorter.
        """
        held = np.empty((0, *self.size, 3), np.uint8)
        for first in range(start, stop, stride):
            last = min(first + length, stop)
            fresh = self.frames(np.arange(first + len(held), last))
            clip = np.concatenate([held, fresh])  # (T, H, W, 3)
            held = clip[stride:].copy()  # the caller may change what it is given
            yield first, clip
            if last == stop:
                return

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def _picture(self, index: int) -> np.ndarray:
        try:
            frame = self._decode_to(index)
        except _DAMAGE as error:
            self._position = _NOWHERE
            raise DataError(f"frame {index} cannot be decoded: {error}", self.path) from error
        return _shown(frame, self.size, self._info.rotation, self._resize)

    def _decode_to(self, index: int) -> av.VideoFrame:
        """The frame on screen at ``index``; decoding goes on from where it is if it can."""
        keyframe = self._keyframes[self._keyframes <= index].max(initial=0)
        if not self._position <= index or keyframe > self._position + _WORTH_A_SEEK:
            self._seek(index)
        while True:
            if self._next is None:
                self._next = next(self._decoded, None)
            if self._next is None:
                # The last picture stays until the end; a second of it, or the file is damaged.
                end = max(self._position + 1, min(self._position + FPS, self._info.n_frames))
                if index >= end:
                    raise DataError(f"no frame {index}: the video has {end} frames", self.path)
                break
            if self._index(self._next.pts) > index:
                break
            self._frame, self._next = self._next, None
            self._position = self._index(self._frame.pts)
        return self._frame

    def _seek(self, index: int) -> None:
        """Decode the last keyframe that is not after ``index``, or an earlier one.

        A seek goes by decoding time, so it can land on one that is shown after ``index``; and for the
        container a gradual refresh is one, from which the first pictures are not complete.
        """
        if index < 0:
            raise DataError(f"no frame {index}: the first is 0", self.path)
        back = 0
        while True:
            target = index - back
            if target > 0:
                pts = self._start + round(target / (FPS * self._stream.time_base))  # type: ignore[operator]
                self._container.seek(pts, stream=self._stream)
                self._decoded = self._container.decode(self._stream)
            else:
                self._rewind()
            keyframe = next((frame for frame in self._decoded if frame.key_frame), None)
            if keyframe is not None and self._index(keyframe.pts) <= index:
                break
            if target <= 0:
                raise DataError(f"no frame {index}: no keyframe before it", self.path)
            back = 2 * back + FPS
        self._frame, self._next = keyframe, None
        self._position = self._index(keyframe.pts)

    def _rewind(self) -> None:
        """Open the file; nothing is decoded yet."""
        self._container = _open(self.path)
        self._stream = _film(self._container)
        self._stream.codec_context.thread_count = 1  # data loaders already run several workers
        self._start = self._stream.start_time or 0
        self._decoded = self._container.decode(self._stream)
        self._position = _NOWHERE

    def _index(self, pts: int | None) -> int:
        if pts is None:
            raise DataError("a picture in it has no time", self.path)
        time = (pts - self._start) * self._stream.time_base * FPS  # type: ignore[operator]
        return math.ceil(time - _ON_TIME)  # the first index at which it is on screen


def video_reader(path: str | Path, size: tuple[int, int] = MODEL_SIZE) -> VideoReader:
    """A reader of this video that stays open; every process, so every loading worker, has its own."""
    try:
        changed = os.stat(path).st_mtime_ns
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path) from error
    return _reader(os.fspath(path), size, changed, os.getpid())


@lru_cache(maxsize=64)  # the matches of the train split: to open one takes as long as a clip
def _reader(path: str, size: tuple[int, int], changed: int, process: int) -> VideoReader:
    return VideoReader(path, size)


def resampled(path: str | Path, size: tuple[int, int] = MODEL_SIZE) -> Iterator[np.ndarray]:
    """Pictures of a video of any rate as a screen shows them 25 times a second, RGB of a size."""
    rotation, resize = probe(path).rotation, VideoReformatter()
    with _open(path) as container:
        stream = _film(container)
        stream.thread_type = "AUTO"
        start, held, until, count = stream.start_time or 0, None, 0.0, 0
        for frame in container.decode(stream):
            if frame.pts is None:
                continue
            until = float((frame.pts - start) * frame.time_base) * FPS  # type: ignore[operator]
            while held is not None and count < until - 1e-3:
                yield held
                count += 1
            held = _shown(frame, size, rotation, resize)
        if held is not None and count <= until + 1e-3:
            yield held


def _shown(
    frame: av.VideoFrame, size: tuple[int, int], rotation: int, resize: VideoReformatter
) -> np.ndarray:
    """A picture as it is to be shown, uint8 RGB ``(height, width, 3)``."""
    height, width = size[:: -1 if rotation % 180 else 1]
    picture = resize.reformat(frame, width, height, "rgb24", interpolation="BILINEAR", threads=1)
    return np.rot90(picture.to_ndarray(), rotation // 90)


def _open(path: str | Path) -> av.container.InputContainer:
    try:
        # With a protocol: a folder named 2026-06-08T15:59 would be taken for one.
        container = av.open(f"file:{os.fspath(path)}", metadata_errors="ignore")
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"not a readable video, or cut off: {error.strerror or error}", path) from error
    film = _film(container)
    if film is None or film.codec_context is None:
        container.close()
        raise DataError("has no pictures that can be decoded", path)
    return container


def write_video(
    path: str | Path, frames: Iterable[np.ndarray], fps: int = FPS, preset: str = "veryfast"
) -> None:
    """Write pictures, uint8 ``(height, width, 3)`` RGB with even sides, as H.264 in mp4, atomically.

    Encodes in one thread, so that the same pictures give the same file on every machine. ``preset`` is
    x264's: "ultrafast" encodes three times and decodes twice as fast, for three times the room on disk.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise DataError("no pictures to write", path)
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise DataError(f"pictures of {height} x {width}: H.264 needs even sides", path)
    with atomic_write(path, "w+b") as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": preset, "crf": "23"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.thread_count = 1
        # A keyframe every two seconds: a random clip of 50 frames decodes at most 100.
        stream.codec_context.gop_size = 2 * fps
        for picture in itertools.chain([first], frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            file.raise_error()
        container.mux(stream.encode())
