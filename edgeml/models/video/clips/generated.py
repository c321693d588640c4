"""Draws clips whose truth is known exactly: textured objects before a textured background, noise on top.

The same settings give the same frames wherever numpy does. Each frame is a function of its index alone, so that any can
be drawn without those before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial

import numpy as np

from edgeml.core.errors import UsageError
from edgeml.models.video.clips.clip import Clip, Frame, Mask
from edgeml.models.video.clips.moving_objects import CLASSES, MovingObject, random_object
from edgeml.models.video.clips.textures import Texture, sample, smooth_noise

FPS = Fraction(25)

_SMALLEST_SIDE = 16
_PAN_PERIODS = (170.0, 290.0)  # frames, vertical and horizontal
_ILLUMINATION_PERIOD = 200.0  # frames


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """What a drawn sequence shows.

    Attributes:
        seed: of everything random in it.
        height: in pixels.
        width: in pixels.
        length: number of frames.
        fewest_objects: at least so many move.
        most_objects: at most so many move.
        noise_sigma: standard deviation of the sensor's Gaussian noise, in codes of 0 to 255; new in each frame.
        panning: whether the camera moves, over a background that reaches half a height further on each side; the same
            seed gives the same background and objects either way.
        illumination: share by which the brightness swings slowly around 1; 0 for none.
    """

    seed: int = 0
    height: int = 128
    width: int = 256
    length: int = 200
    fewest_objects: int = 2
    most_objects: int = 5
    noise_sigma: float = 2.0
    panning: bool = False
    illumination: float = 0.0

    def __post_init__(self) -> None:
        if self.seed < 0 or self.length < 1:
            raise UsageError(f"seed {self.seed} and length {self.length} are not allowed; at least 0 and 1")
        if min(self.height, self.width) < _SMALLEST_SIDE:
            raise UsageError(
                f"a drawn clip of {self.height}x{self.width} pixels is not allowed; each side has {_SMALLEST_SIDE} or "
                "more"
            )
        if not 0 <= self.fewest_objects <= self.most_objects:
            raise UsageError(f"{self.fewest_objects} to {self.most_objects} objects are not allowed; give 0 <= a <= b")
        if not (math.isfinite(self.noise_sigma) and self.noise_sigma >= 0 and 0 <= self.illumination < 1):
            raise UsageError(
                f"noise {self.noise_sigma} and illumination {self.illumination} are not allowed; noise is 0 or more "
                "codes, illumination at least 0 and below 1"
            )


@dataclass(frozen=True, eq=False)
class Scene:
    """One background and the objects that move before it; frames are drawn from it by index."""

    settings: SceneSettings
    _ground: Texture = field(init=False, repr=False)
    _objects: tuple[MovingObject, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        settings = self.settings
        generator = np.random.default_rng([settings.seed, 0])
        margin = _margin(settings)
        size = (settings.height + 2 * margin, settings.width + 2 * margin)
        unit = settings.height / 128
        cells = [max(cell * unit, 1.0) for cell in (64.0, 24.0, 8.0, 3.0)]
        tone = generator.uniform(95, 150) + generator.uniform(-12, 12, 3)
        ground = np.float32(generator.uniform(18, 26)) * smooth_noise(generator, *size, cells)
        object.__setattr__(self, "_ground", np.clip(ground + tone.astype(np.float32), 0, 255))
        count = int(generator.integers(settings.fewest_objects, settings.most_objects + 1))
        objects = tuple(random_object(generator, settings.height, settings.width) for _ in range(count))
        object.__setattr__(self, "_objects", objects)

    def draw(self, index: int) -> tuple[Texture, Mask]:
        """Frame `index` without noise, float32 (height, width, 3) in codes, and its mask, uint8 (height, width)."""
        settings = self.settings
        margin = _margin(settings)
        drift = tuple(
            margin * math.sin(2 * math.pi * index / period) if settings.panning else 0.0 for period in _PAN_PERIODS
        )
        rows = np.arange(settings.height)[:, None] + (margin + drift[0])
        columns = np.arange(settings.width)[None, :] + (margin + drift[1])
        picture = sample(self._ground, rows, columns)
        mask = np.zeros((settings.height, settings.width), np.uint8)
        for each in self._objects:
            each.draw(index, (drift[0], drift[1]), picture, mask)
        if settings.illumination:
            swing = math.sin(2 * math.pi * index / _ILLUMINATION_PERIOD)
            picture *= np.float32(1 + settings.illumination * swing)
        return np.clip(picture, 0, 255), mask

    def noisy(self, picture: Texture, index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """A drawn frame as the sensor gives it: uint8 (height, width, 3)."""
        generator = np.random.default_rng([self.settings.seed, 1, index])
        noise = generator.standard_normal(picture.shape, np.float32) * np.float32(self.settings.noise_sigma)
        return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def generated_clip(settings: SceneSettings, *, first: int = 0, name: str = "generated") -> Clip:
    """The sequence that `settings` describe, from frame `first` on, with masks and moving pixels.

    Raises:
        UsageError: there is no frame `first`.
    """
    if not 0 <= first < settings.length:
        raise UsageError(f"the drawn clip has frames 0 to {settings.length - 1}, not {first}; start earlier")
    return Clip(
        name=name,
        height=settings.height,
        width=settings.width,
        fps=FPS,
        frame_count=settings.length - first,
        read=partial(_read, Scene(settings), first),
        classes=CLASSES,
    )


def _read(scene: Scene, first: int) -> Iterator[Frame]:
    before: np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None = None
    for index in range(first, scene.settings.length):
        picture, mask = scene.draw(index)
        codes = np.rint(picture)
        moving = np.zeros(mask.shape, bool) if before is None else (codes != before).any(axis=-1)
        before = codes
        yield Frame(scene.noisy(picture, index), index, index / FPS, mask=mask, moving=moving)


def _margin(settings: SceneSettings) -> int:
    return settings.height // 2
