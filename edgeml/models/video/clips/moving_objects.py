"""The objects of drawn sequences: a shape, a texture, and a path over the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from edgeml.models.video.clips.textures import Texture, sample, smooth_noise

Shape = Literal["disk", "rectangle", "triangle"]

SHAPES: tuple[Shape, ...] = get_args(Shape)
CLASSES = ("background", *SHAPES)

_TEXTURE_SIDE = 48
# An object's texture covers this many of its radii to each side of its centre.
_TEXTURE_REACH = 1.05


@dataclass(frozen=True, eq=False)
class MovingObject:
    """One object and where it is at each frame; lengths are in pixels, angles in radians.

    Attributes:
        shape: what it looks like, and so its class.
        radius: of the circle around it, at scale 1.
        start: (row, column) of its centre at frame 0, on the ground.
        velocity: rows and columns a frame.
        angle: by which it is turned at frame 0.
        spin: by which it turns a frame.
        swell: share by which its size swings around 1.
        swell_period: frames of one swing.
        texture: float32 (side, side, 3), codes of 0 to 255.
    """

    shape: Shape
    radius: float
    start: tuple[float, float]
    velocity: tuple[float, float]
    angle: float
    spin: float
    swell: float
    swell_period: float
    texture: Texture

    @property
    def class_id(self) -> int:
        """Its number in masks."""
        return CLASSES.index(self.shape)

    @property
    def reach(self) -> float:
        """The largest radius it ever has."""
        return self.radius * (1 + self.swell)

    def place(
        self, index: int, height: int, width: int, camera: tuple[float, float]
    ) -> tuple[float, float, float, float]:
        """(row, column, radius, angle) at frame `index`, seen by a camera whose top left is at `camera`.

        What leaves the picture on one side enters on the other, both out of sight.
        """
        reach = self.reach
        row = (self.start[0] + self.velocity[0] * index - camera[0] + reach) % (height + 2 * reach) - reach
        column = (self.start[1] + self.velocity[1] * index - camera[1] + reach) % (width + 2 * reach) - reach
        radius = self.radius * (1 + self.swell * math.sin(2 * math.pi * index / self.swell_period))
        return row, column, radius, self.angle + self.spin * index

    def draw(self, index: int, camera: tuple[float, float], picture: Texture, mask: npt.NDArray[np.uint8]) -> None:
        """Paint the object at frame `index` over `picture` and its class over `mask`.

        Args:
            index: of the frame.
            camera: (row, column) on the ground of the picture's top left.
            picture: float32 (height, width, 3), changed in place.
            mask: uint8 (height, width), changed in place.
        """
        height, width = mask.shape
        row, column, radius, angle = self.place(index, height, width, camera)
        rows = slice(max(0, math.floor(row - radius)), min(height, math.ceil(row + radius) + 1))
        columns = slice(max(0, math.floor(column - radius)), min(width, math.ceil(column + radius) + 1))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        y = (np.arange(rows.start, rows.stop) - row)[:, None] / radius
        x = (np.arange(columns.start, columns.stop) - column)[None, :] / radius
        cosine, sine = math.cos(angle), math.sin(angle)
        u, v = cosine * x + sine * y, cosine * y - sine * x
        inside = _inside(self.shape, u, v)
        u, v = u[inside], v[inside]
        half = (_TEXTURE_SIDE - 1) / 2
        picture[rows, columns][inside] = sample(
            self.texture, half + half / _TEXTURE_REACH * v, half + half / _TEXTURE_REACH * u
        )
        mask[rows, columns][inside] = self.class_id


def random_object(generator: np.random.Generator, height: int, width: int) -> MovingObject:
    """An object somewhere in or near a picture of `height` x `width` pixels; the sizes follow the picture's height."""
    shape = SHAPES[int(generator.integers(len(SHAPES)))]
    heading = generator.uniform(-0.5, 0.5) + (math.pi if generator.random() < 0.5 else 0)
    speed = generator.uniform(0.004, 0.02) * height
    return MovingObject(
        shape=shape,
        radius=generator.uniform(0.15, 0.26) * height,
        start=(generator.uniform(0.1, 0.9) * height, generator.uniform(0, 1) * width),
        velocity=(speed * math.sin(heading), speed * math.cos(heading)),
        angle=generator.uniform(0, 2 * math.pi),
        spin=generator.uniform(-0.03, 0.03),
        swell=generator.uniform(0, 0.2),
        swell_period=generator.uniform(60, 160),
        texture=_texture(generator, shape),
    )


def _inside(shape: Shape, u: npt.NDArray[np.float64], v: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    if shape == "disk":
        return u * u + v * v <= 0.81
    if shape == "rectangle":
        return (np.abs(u) <= 0.88) & (np.abs(v) <= 0.47)
    # An equilateral triangle in the unit circle.
    return (v <= 0.5) & (math.sqrt(3) * np.abs(u) - v <= 1)


def _texture(generator: np.random.Generator, shape: Shape) -> Texture:
    """Coloured noise; each shape has its own grain and range of colours, as kinds of real things have."""
    colour = generator.uniform(40, 215, 3)
    # Pushed from the grey of the background, each shape along its own axis of RGB, either way.
    colour[SHAPES.index(shape)] = 235 if generator.random() < 0.5 else 20
    grain = {"disk": (24.0, 12.0), "rectangle": (24.0, 12.0), "triangle": (5.0, 2.5)}[shape]
    texture = smooth_noise(generator, _TEXTURE_SIDE, _TEXTURE_SIDE, grain)
    if shape == "rectangle":
        # Stripes along its length.
        texture += 1.5 * np.sin(np.arange(_TEXTURE_SIDE) * (2 * math.pi / 9)).astype(np.float32)[:, None, None]
    codes: Texture = np.clip(np.float32(28) * texture + colour.astype(np.float32), 0, 255)
    return codes
