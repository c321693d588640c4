"""Single frames with their masks from many drawn scenes, to train a segmentation network on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError
from edgeml.models.video.clips.clip import Mask, Pixels
from edgeml.models.video.clips.generated import Scene, SceneSettings

# Scenes from here on are drawn for training; `open_clip` lets a user name smaller seeds only, so none is shared.
FIRST_TRAINING_SEED = 1_000_000_000

_NOISE_SIGMAS = (1.0, 3.0)
_ILLUMINATION = 0.15
# More objects than elsewhere, for there is more to learn from each frame.
_FEWEST, _MOST = 3, 7


@dataclass(frozen=True, kw_only=True)
class TrainingFrames:
    """Frames of as many scenes as asked for, the same on every pass.

    Noise has a deviation of 1 to 3 codes and the light swings by 15%, each scene its own; every other camera pans.

    Attributes:
        scenes: number of scenes.
        frames_a_scene: so many frames of each, spread over its length.
        height: in pixels.
        width: in pixels.
        first_seed: of the first scene; the next ones count on.
    """

    scenes: int
    frames_a_scene: int = 1
    height: int = 128
    width: int = 256
    first_seed: int = FIRST_TRAINING_SEED

    def __post_init__(self) -> None:
        if self.scenes < 1 or self.frames_a_scene < 1:
            raise UsageError(f"{self.scenes} scenes of {self.frames_a_scene} frames are not allowed; 1 or more of each")

    def __len__(self) -> int:
        return self.scenes * self.frames_a_scene

    def __iter__(self) -> Iterator[tuple[Pixels, Mask]]:
        """Each frame, uint8 (height, width, 3), with its mask, uint8 (height, width)."""
        common = SceneSettings(
            height=self.height, width=self.width, illumination=_ILLUMINATION, fewest_objects=_FEWEST, most_objects=_MOST
        )
        for seed in range(self.first_seed, self.first_seed + self.scenes):
            choice = np.random.default_rng([seed, 2])
            sigma = float(choice.uniform(*_NOISE_SIGMAS))
            scene = Scene(replace(common, seed=seed, noise_sigma=sigma, panning=seed % 2 == 1))
            stretch = common.length // self.frames_a_scene or 1
            for part in range(self.frames_a_scene):
                index = part * stretch + int(choice.integers(stretch))
                picture, mask = scene.draw(index)
                yield scene.noisy(picture, index), mask

    def arrays(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """All at once: frames uint8 (frame, height, width, 3) and masks uint8 (frame, height, width)."""
        frames = np.empty((len(self), self.height, self.width, 3), np.uint8)
        masks = np.empty((len(self), self.height, self.width), np.uint8)
        for place, (frame, mask) in enumerate(self):
            frames[place], masks[place] = frame, mask
        return frames, masks
