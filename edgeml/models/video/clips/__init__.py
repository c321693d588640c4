"""Clips to measure and calibrate on: real videos, drawn ones with exact masks, and what they show of their sensor."""

from edgeml.models.video.clips.clip import Clip, Frame
from edgeml.models.video.clips.gate_threshold import sigma_in_codes, suggest_threshold
from edgeml.models.video.clips.generated import SceneSettings, generated_clip
from edgeml.models.video.clips.model_input import resize_mask, to_input
from edgeml.models.video.clips.moving_objects import CLASSES
from edgeml.models.video.clips.noise import NoiseEstimate, estimate_noise
from edgeml.models.video.clips.opening import open_clip
from edgeml.models.video.clips.spec import ClipSpec

__all__ = [
    "CLASSES",
    "Clip",
    "ClipSpec",
    "Frame",
    "NoiseEstimate",
    "SceneSettings",
    "estimate_noise",
    "generated_clip",
    "open_clip",
    "resize_mask",
    "sigma_in_codes",
    "suggest_threshold",
    "to_input",
]
