"""Frames by index: pictures that carry their own number, in every kind of file that could lie."""

import gc
import os
from fractions import Fraction

import av
import numpy as np
import pytest

from footpass.data.video import VideoReader, probe, resampled, video_reader, write_video
from footpass.files import DataError
from footpass.schema import MODEL_SIZE

COUNT = 300
SMALL = (64, 96)  # height, width
BITS = 12


def numbered(number, size=SMALL):
    """A picture that shows a number as 3 x 4 black or white fields."""
    bits = (number >> np.arange(BITS)) & 1
    fields = (255 * bits.reshape(3, 4, 1)).astype(np.uint8)
    rows, columns = (np.arange(side) * count // side for side, count in zip(size, (3, 4), strict=True))
    return np.broadcast_to(fields[rows][:, columns], (*size, 3)).copy()


def numbers(pictures):
    """The number that each picture shows."""
    height, width = pictures.shape[1:3]
    rows = ((np.arange(3) + 0.5) * height / 3).astype(int)
    columns = ((np.arange(4) + 0.5) * width / 4).astype(int)
    bits = pictures[:, rows][:, :, columns].mean(axis=-1).reshape(-1, BITS) > 128
    return (bits @ (1 << np.arange(BITS))).tolist()


def encode(path, options, *, start=0, keep=lambda number: True, base=25, fps=25, size=SMALL, n=COUNT):
    """A video of numbered pictures; its stream starts ``start`` ticks of 1/base second late."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", **options})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, base)
        for number in range(n):
            if keep(number):
                frame = av.VideoFrame.from_ndarray(numbered(number, size), "rgb24")
                frame.pts, frame.time_base = start + number * base // fps, Fraction(1, base)
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


KINDS = {
    "key frames only": ("a.mp4", {"g": "1"}, {}),
    "B-frames": ("a.mp4", {"g": "50", "bf": "3"}, {}),
    "many B-frames, pyramid": ("a.mp4", {"g": "60", "bf": "16", "x264-params": "b-adapt=0"}, {}),
    "one long group": ("a.mp4", {"g": "1000", "x264-params": "scenecut=0"}, {}),
    "open groups": ("a.mp4", {"x264-params": "keyint=30:open-gop=1:bframes=5:b-adapt=0"}, {}),
    "intra refresh": ("a.mp4", {"x264-params": "keyint=30:intra-refresh=1:scenecut=0"}, {}),
    "no B-frames": ("a.mp4", {"g": "50", "bf": "0"}, {}),
    "late start": ("a.mp4", {"g": "50", "bf": "3"}, {"start": 77}),
    "fine time base": ("a.mp4", {"g": "50", "bf": "3"}, {"base": 12_800, "start": 1234}),
    "Matroska, milliseconds": ("a.mkv", {"g": "50", "bf": "3"}, {"base": 1000, "start": 130}),
    "transport stream": ("a.ts", {"g": "50", "bf": "3"}, {"base": 90_000}),
    "transport stream, open groups": (
        "a.ts",
        {"x264-params": "keyint=30:open-gop=1:bframes=5:b-adapt=0"},
        {"base": 90_000, "start": 900_000},
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def video(request, tmp_path_factory):
    name, options, others = KINDS[request.param]
    return encode(tmp_path_factory.mktemp("video") / name, options, **others)


def test_frames_in_any_order_are_the_ones_asked_for(video):
    asked = np.random.default_rng(0).integers(0, COUNT, 40)
    with VideoReader(video, SMALL) as reader:
        for index in [0, COUNT - 1, 1, *asked.tolist()]:  # each on its own: seeks and reads on
            assert numbers(reader.frames([index])) == [index]
        assert numbers(reader.frames(asked)) == asked.tolist()


def test_clips_are_the_frames_in_order(video):
    with VideoReader(video, SMALL) as reader:
        for start in (250, 0, 51, 49, 50, 120, 121):
            assert numbers(reader.clip(start, 50)) == list(range(start, start + 50))


def test_the_end_is_the_end(video):
    assert probe(video).n_frames == COUNT
    with VideoReader(video, SMALL) as reader:
        for index in (COUNT, COUNT + 1, 5000):
            with pytest.raises(DataError, match=f"no frame {index}: the video has {COUNT} frames"):
                reader.frames([index])
        with pytest.raises(DataError, match="no frame -1: the first is 0"):
            reader.frames([-1])
        assert numbers(reader.frames([COUNT - 1])) == [COUNT - 1]  # and goes on afterwards


def test_a_clip_over_the_end_names_file_frame_and_length(tmp_path):
    path = encode(tmp_path / "game_1.mp4", {})
    with VideoReader(path) as reader, pytest.raises(DataError) as error:
        reader.clip(280, 50)
    assert str(error.value) == f"{path}: no frame 300: the video has 300 frames"


def test_a_dropped_frame_does_not_shift_the_ones_after_it(tmp_path):
    """Counting pictures would be two frames late at the end; the picture before stays on screen."""
    path = encode(tmp_path / "a.mp4", {"g": "50", "bf": "3"}, keep=lambda n: n not in (100, 201))
    assert probe(path).n_frames == COUNT
    with VideoReader(path, SMALL) as reader:
        assert numbers(reader.frames([99, 100, 101])) == [99, 99, 101]
        assert numbers(reader.frames([299, 201, 202, 100])) == [299, 200, 202, 99]


def test_frames_come_in_the_order_asked_and_as_often(tmp_path):
    with VideoReader(encode(tmp_path / "a.mp4", {}), SMALL) as reader:
        assert numbers(reader.frames([7, 3, 7, 200, 3])) == [7, 3, 7, 200, 3]
        assert reader.frames([]).shape == (0, *SMALL, 3)


@pytest.mark.parametrize("size", [(1080, 1920), (352, 640), (180, 320)])
def test_any_size_becomes_the_models(tmp_path, size):
    path = encode(tmp_path / "a.mp4", {}, size=size, n=12)
    with VideoReader(path) as reader:
        pictures = reader.clip(4, 8)
    assert pictures.shape == (8, *MODEL_SIZE, 3) and pictures.dtype == np.uint8
    assert numbers(pictures) == list(range(4, 12))


def test_colours_are_rgb(tmp_path):
    red = np.zeros((*SMALL, 3), np.uint8)
    red[..., 0], red[..., 2] = 200, 40
    write_video(tmp_path / "a.mp4", [red] * 5)
    with VideoReader(tmp_path / "a.mp4", SMALL) as reader:
        np.testing.assert_allclose(reader.clip(0, 5), np.stack([red] * 5), atol=4)


# --- videos that are not plain 25 pictures a second


def shown_at(path, times, *, rate=25, cover=False, size=SMALL):
    """A video whose numbered pictures appear at these times, in milliseconds."""
    with av.open(str(path), "w") as container:
        art = container.add_stream("mjpeg", rate=1) if cover else None
        stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "g": "30"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if art:
            art.height, art.width, art.pix_fmt = 64, 64, "yuvj420p"
            container.mux(art.encode(av.VideoFrame.from_ndarray(numbered(0, (64, 64)), "rgb24")))
            container.mux(art.encode())
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered(number, size), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_at_a_variable_rate_a_frame_is_the_picture_on_screen_whatever_the_way_there(tmp_path):
    rng = np.random.default_rng(0)
    times = np.sort([0, *rng.choice(np.arange(1, 79_960), 1998, replace=False), 79_960])
    path = shown_at(tmp_path / "a.mp4", times.tolist())
    ticks = np.arange(1990) * 40
    on_screen = np.searchsorted(times, ticks, side="right") - 1
    near = np.abs(times[:, None] - ticks).min(axis=0) < 5  # within what rounding may do
    asked = np.flatnonzero(~near)
    with VideoReader(path, SMALL) as reader:
        assert numbers(reader.frames(asked)) == on_screen[asked].tolist()
        for index in rng.permutation(asked)[:40]:
            assert numbers(reader.frames([index])) == [on_screen[index]]
    info = probe(path)
    (reason,) = info.oddities()
    assert not info.regular and reason.startswith("a variable rate") and "-vf fps=25" in reason


@pytest.mark.parametrize(
    ("rate", "reason"),
    [
        (Fraction(126, 5), "25.2"),
        (Fraction(30000, 1001), "29.97"),
        (30, "30"),
        (Fraction(25, 2), "12.5"),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_rates_near_25_are_told_by_time_stamps(tmp_path, rate, reason, name):
    path = shown_at(tmp_path / name, [round(n * 1000 / rate) for n in range(300)], rate=rate)
    with pytest.raises(DataError, match=f"{reason} frames a second instead of 25: ffmpeg -i OLD.mp4"):
        VideoReader(path)


def test_dropped_frames_and_whole_milliseconds_are_no_other_rate(tmp_path):
    times = [round(n * 40.0) for n in range(300) if n % 100 != 7]
    assert list(probe(shown_at(tmp_path / "a.mkv", times)).oddities()) == []


def test_the_film_is_read_though_a_cover_picture_comes_first(tmp_path):
    path = shown_at(tmp_path / "a.mkv", range(0, 4000, 40), cover=True)
    info = probe(path)
    assert (info.height, info.width, info.n_frames) == (*SMALL, 100)
    with VideoReader(path, SMALL) as reader:
        assert numbers(reader.frames([99, 3])) == [99, 3]
    assert numbers(np.stack(list(resampled(path, SMALL)))) == list(range(100))


# Of ISO 14496-12: x' = a x + c y, y' = b x + d y, with y downwards; angles are to the left.
TURNS = {-90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 90: (0, -1, 1, 0)}


@pytest.mark.parametrize("angle", TURNS)
def test_a_video_is_turned_as_it_is_to_be_shown(tmp_path, angle):
    shown = numbered(0b10_0110_0001_1011, (120, 120))[:96, :64].copy()
    shown[:20, :20] = 255, 0, 0  # red at the top left
    path = tmp_path / "a.mp4"
    write_video(path, [np.rot90(shown, -angle // 90)] * 5)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    a, b, c, d = TURNS[angle]
    matrix = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    content[at : at + 36] = b"".join((value & 0xFFFFFFFF).to_bytes(4) for value in matrix)
    path.write_bytes(content)
    info = probe(path)
    assert (info.height, info.width) == (96, 64) and (info.rotation - angle) % 360 == 0
    assert f"turned by {info.rotation} degrees" in next(info.oddities())
    with VideoReader(path, (96, 64)) as reader:
        for picture in (*reader.clip(2, 1), *resampled(path, (96, 64))):
            np.testing.assert_allclose(picture[5:15, 5:15].mean(axis=(0, 1)), (255, 0, 0), atol=25)


def test_a_folder_with_a_colon_is_no_protocol(tmp_path, monkeypatch):
    (tmp_path / "2026-06-08T15:59").mkdir()
    monkeypatch.chdir(tmp_path)
    path = encode(tmp_path / "a.mp4", {}, n=10).rename("2026-06-08T15:59/a.mp4")
    assert probe(path).n_frames == 10


@pytest.mark.parametrize("share", [0.2, 0.6, 0.999])
def test_a_matroska_file_that_is_cut_off_is_found(tmp_path, share):
    path = encode(tmp_path / "a.mkv", {"g": "50"})
    assert probe(path).n_frames == COUNT
    os.truncate(path, int(os.path.getsize(path) * share))
    with pytest.raises(DataError, match="cut off: [0-9]+ of at least [0-9]+ bytes"):
        probe(path)


# --- reading everything once


@pytest.mark.parametrize(
    ("start", "stop", "length", "stride"),
    [
        (0, 300, 50, 25),
        (10, 205, 50, 25),
        (5, 40, 50, 25),
        (0, 100, 50, 50),
        (3, 120, 10, 30),
        (0, 1, 50, 25),
    ],
)
def test_windows_cover_the_frames_in_order(tmp_path, start, stop, length, stride):
    with VideoReader(encode(tmp_path / "a.mp4", {"g": "50"}), SMALL) as reader:
        for expected, (first, clip) in zip(
            range(start, stop, stride), reader.windows(start, stop, length, stride), strict=False
        ):
            assert first == expected
            assert numbers(clip) == list(range(first, min(first + length, stop)))
            clip[:] = 0  # the next window must not show this
        assert first + len(clip) == stop or stride > length
        assert first + stride >= stop or first + length >= stop


def test_windows_decode_each_frame_once(tmp_path, monkeypatch):
    decoded = []
    picture = VideoReader._picture

    def counted(self, index):
        decoded.append(index)
        return picture(self, index)

    monkeypatch.setattr(VideoReader, "_picture", counted)
    seeks = []
    monkeypatch.setattr(VideoReader, "_seek", _recorded(VideoReader._seek, seeks))
    with VideoReader(encode(tmp_path / "a.mp4", {"g": "25", "bf": "3"}), SMALL) as reader:
        clips = list(reader.windows(20, 290, 50, 25))
    assert decoded == list(range(20, 290))
    assert seeks == [20]
    assert [first for first, _ in clips] == list(range(20, 250, 25))


def _recorded(method, calls):
    def recorded(self, index):
        calls.append(index)
        return method(self, index)

    return recorded


def test_a_seek_only_when_a_keyframe_saves_decoding(tmp_path, monkeypatch):
    seeks = []
    monkeypatch.setattr(VideoReader, "_seek", _recorded(VideoReader._seek, seeks))
    path = encode(tmp_path / "a.mp4", {"g": "100", "x264-params": "scenecut=0"})
    with VideoReader(path, SMALL) as reader:
        reader.clip(10, 10)  # the first frame asked for
        reader.clip(20, 10)  # the next
        reader.clip(60, 10)  # ahead in the same group: reads on
        reader.clip(230, 10)  # a keyframe at 200 is nearer
        reader.clip(225, 10)  # backwards
    assert seeks == [10, 230, 225]


# --- readers


def test_a_reader_is_kept_until_its_file_changes(tmp_path):
    path = encode(tmp_path / "a.mp4", {}, n=20)
    reader = video_reader(path, SMALL)
    assert video_reader(path, SMALL) is reader
    assert video_reader(path) is not reader
    write_video(path, [numbered(number + 40) for number in range(20)])
    assert numbers(video_reader(path, SMALL).clip(0, 20)) == list(range(40, 60))


def test_a_worker_has_its_own_reader(tmp_path):
    """After a fork, two processes that read through one open file would move each other's position."""
    path = encode(tmp_path / "a.mp4", {"g": "50"})
    ours = video_reader(path, SMALL)
    assert numbers(ours.clip(0, 10)) == list(range(10))
    gc.collect()  # encoders that are garbage: freed in the child, they wait for threads that it has not
    child = os.fork()
    if child == 0:
        fine = video_reader(path, SMALL) is not ours
        fine &= numbers(video_reader(path, SMALL).clip(200, 50)) == list(range(200, 250))
        os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert numbers(ours.clip(10, 200)) == list(range(10, 210))


# --- what is wrong with a file


def test_a_video_at_another_rate_is_refused(tmp_path):
    path = encode(tmp_path / "a.mp4", {}, fps=50, base=50)
    with pytest.raises(DataError, match=r"a.mp4: 50 frames a second instead of 25"):
        VideoReader(path)


def test_files_that_are_no_videos(tmp_path):
    (tmp_path / "text.mp4").write_text("hello")
    for read in (VideoReader, probe):
        with pytest.raises(DataError, match=r"text.mp4: not a readable video, or cut off"):
            read(tmp_path / "text.mp4")
        with pytest.raises(DataError, match=r"none.mp4: not a readable video"):
            read(tmp_path / "none.mp4")
    with pytest.raises(DataError, match=r"none.mp4: cannot be read: No such file"):
        video_reader(tmp_path / "none.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        container.add_stream("aac", rate=44100)
    with pytest.raises(DataError, match=r"sound.mp4: "):
        VideoReader(tmp_path / "sound.mp4")


@pytest.mark.parametrize("flags", [{}, {"movflags": "faststart"}])
def test_a_video_that_is_cut_off_is_found(tmp_path, flags):
    """With the index in front it opens well, and only its last pictures are gone."""
    path = tmp_path / "a.mp4"
    source = encode(tmp_path / "whole.mp4", {"g": "50"})
    with av.open(str(source)) as whole, av.open(str(path), "w", options=flags) as copy:
        stream = copy.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    assert probe(path).n_frames == COUNT
    os.truncate(path, os.path.getsize(path) * 2 // 3)
    for read in (probe, VideoReader):
        with pytest.raises(DataError, match=f"{path}: .*cut off"):
            read(path)


# --- writing


def test_what_is_written_is_read(tmp_path):
    write_video(tmp_path / "a.mp4", (numbered(number, (352, 640)) for number in range(130)))
    info = probe(tmp_path / "a.mp4")
    assert (info.height, info.width, info.fps, info.n_frames) == (352, 640, 25, 130)
    with VideoReader(tmp_path / "a.mp4") as reader:
        assert numbers(reader.clip(0, 130)) == list(range(130))


def test_the_same_pictures_give_the_same_file(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, [numbered(number) for number in range(60)])
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_video_that_fails_half_way_is_not_left(tmp_path):
    def pictures():
        yield numbered(0)
        raise RuntimeError("the simulator failed")

    with pytest.raises(RuntimeError, match="the simulator failed"):
        write_video(tmp_path / "a.mp4", pictures())
    with pytest.raises(DataError, match=r"b.mp4: no pictures to write"):
        write_video(tmp_path / "b.mp4", [])
    with pytest.raises(DataError, match=r"c.mp4: pictures of 63 x 96"):
        write_video(tmp_path / "c.mp4", [np.zeros((63, 96, 3), np.uint8)])
    assert not list(tmp_path.iterdir())
