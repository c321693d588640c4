"""A video as the rest of edgeml sees it: a name, a size, a rate, and frames that are made while they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a clip.

    Attributes:
        pixels: uint8 (height, width, 3), RGB.
        index: place in the whole video, from 0; a clip that starts later keeps the video's own count.
        time_s: when it is shown, in seconds, exactly as the container counts; None where the container does not say.
        size_changed: the video's own size differs from that of the frame before; states of a session are void.
        mask: uint8 (height, width), the class of each pixel; None where the clip has no truth.
        moving: bool (height, width), the pixels whose noise-free appearance (as codes) differs from the frame
            before; all False in a clip's first frame, None where the clip has no truth.
    """

    pixels: Pixels
    index: int
    time_s: Fraction | None
    size_changed: bool = False
    mask: Mask | None = None
    moving: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Clip:
    """A video that can be read any number of times.

    Attributes:
        name: the spec it was opened by.
        height: of the first frame, in pixels.
        width: of the first frame, in pixels.
        fps: frames a second; None where the container does not say.
        frame_count: number of frames that the container announces, less what the spec leaves out; None where it does
            not say.
        classes: names of the classes in the masks; empty where there are none.
        read: gives the frames from the first on; what goes wrong on the way is raised where it is met.
    """

    name: str
    height: int
    width: int
    fps: Fraction | None
    frame_count: int | None
    read: Callable[[], Iterator[Frame]]
    classes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Frame]:
        """The frames, each decoded or drawn when it is asked for.

        Raises:
            UsageError: the video is damaged or cut short, changes its size where that was not allowed, or holds no
                frame.
        """
        return self.read()
