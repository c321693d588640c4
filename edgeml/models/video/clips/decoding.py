"""Decodes video files from outside with FFmpeg (PyAV), frame by frame and within limits.

A damaged or cut-off video is an error, not fewer or greyer frames: FFmpeg would hide most damage if it were not told
otherwise. Decoding takes one thread, so that it does not disturb what is measured beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from edgeml.core.errors import UsageError, needs_extra
from edgeml.models.video.clips.clip import Frame, Pixels

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

PIXEL_LIMIT = 64_000_000

# No protocol at all: a playlist that names other files or addresses must not have them opened.
_CONTAINER_OPTIONS = {"protocol_whitelist": "none"}
_DECODER_OPTIONS = {"err_detect": "explode", "max_pixels": str(PIXEL_LIMIT)}
# How much earlier than its container announces a video may end; containers round, and edit lists cut.
_END_TOLERANCE_S = 0.5


@dataclass(frozen=True)
class VideoFacts:
    """What a container says of its video before a frame is decoded.

    Attributes:
        fps: frames a second; None where it does not say.
        frame_count: number of frames; None where it does not say.
    """

    fps: Fraction | None
    frame_count: int | None


def read_facts(path: Path) -> VideoFacts:
    """What the container at `path` says of its first video stream.

    Raises:
        MissingError: PyAV is not installed.
        UsageError: there is no such file, it is no video, or it has no video stream.
    """
    with _opened(path) as (_, stream):
        return VideoFacts(stream.average_rate or None, stream.frames or None)


def decode(path: Path) -> Iterator[Frame]:
    """All frames of the first video stream, in the order they are shown, turned upright as the container asks.

    A frame whose size differs from the one before has `size_changed`.

    Raises:
        MissingError: PyAV is not installed.
        UsageError: there is no such file, it is no video, or it is damaged or cut off (after which frame is told).
    """
    with _opened(path) as (container, stream):
        import av

        frames, packets = 0, 0
        size: tuple[int, ...] | None = None
        last: Fraction | None = None
        try:
            for packet in container.demux(stream):
                packets += packet.size > 0
                if packet.is_corrupt:
                    raise _damaged(path, frames, "a piece of the file is incomplete")
                for decoded in packet.decode():
                    if decoded.is_corrupt:
                        raise _damaged(path, frames, "the next frame cannot be decoded whole")
                    pixels = _upright(decoded)
                    last = _time(decoded)
                    yield Frame(pixels, frames, last, size_changed=size is not None and size != pixels.shape)
                    size = pixels.shape
                    frames += 1
        except (av.FFmpegError, OSError) as error:
            raise _damaged(path, frames, _reason(error)) from error
        _check_end(path, container, stream, frames=frames, packets=packets, last=last)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    with needs_extra("video"):
        import av
    if not path.is_file():
        raise UsageError(f"there is no video file {str(path)!r}")
    try:
        file: BinaryIO = path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read the video {str(path)!r}: {error.strerror}") from error
    with file:
        if path.stat().st_size == 0:
            raise UsageError(f"the video {str(path)!r} is empty")
        try:
            container = av.open(file, mode="r", options=_CONTAINER_OPTIONS)
        except (av.FFmpegError, OSError) as error:
            raise UsageError(f"{str(path)!r} is no video, or is damaged at its start: {_reason(error)}") from error
        with container:
            if not container.streams.video:
                kinds = ", ".join(stream.type for stream in container.streams) or "none at all"
                raise UsageError(f"{str(path)!r} has no video stream; its streams: {kinds}")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise UsageError(f"this FFmpeg has no decoder for the video in {str(path)!r}; convert it to H.264")
            stream.codec_context.options = dict(_DECODER_OPTIONS)
            stream.codec_context.thread_count = 1
            yield container, stream


def _upright(decoded: VideoFrame) -> Pixels:
    pixels = decoded.to_ndarray(format="rgb24")
    quarters = round(decoded.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, quarters) if quarters else pixels).astype(np.uint8, copy=False)


def _time(decoded: VideoFrame) -> Fraction | None:
    if decoded.pts is None or decoded.time_base is None:
        return None
    return decoded.pts * decoded.time_base


def _check_end(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    *,
    frames: int,
    packets: int,
    last: Fraction | None,
) -> None:
    if stream.frames and packets < stream.frames:
        raise _damaged(path, frames, f"the container announces {stream.frames}")
    alone = len(container.streams) == 1 and not stream.frames
    if alone and container.duration and last is not None and stream.start_time is not None and stream.time_base:
        shown = last - stream.start_time * stream.time_base
        announced = Fraction(container.duration, 1_000_000)
        if shown + Fraction(_END_TOLERANCE_S) < announced * Fraction(9, 10):
            raise _damaged(path, frames, f"the container announces {float(announced):.1f} s")
    if frames == 0:
        raise UsageError(f"the video {str(path)!r} holds no frame")


def _damaged(path: Path, frames: int, reason: str) -> UsageError:
    where = f"after frame {frames - 1} ({frames} frames)" if frames else "before its first frame"
    return UsageError(f"the video {str(path)!r} is damaged or cut off {where}: {reason}")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
