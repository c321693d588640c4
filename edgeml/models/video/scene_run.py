"""Trains a segmentation network by name on drawn scenes, and leaves its weights as other training runs do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgeml.core.artifact import sha256_file
from edgeml.core.errors import UsageError, needs_extra
from edgeml.models.checkpoint import save_weights
from edgeml.models.source import load_source
from edgeml.models.training.run_files import RunFiles
from edgeml.models.training.weights_metadata import WeightsMetadata
from edgeml.models.video.clips.moving_objects import CLASSES
from edgeml.models.video.clips.segmentation_training import SegmentationRecipe, train_segmentation
from edgeml.models.video.clips.spec import ClipSpec
from edgeml.models.video.family import DEFAULT_SIZE, segmentation_preprocessing

RECIPE_NAME = "scenes"
_DATA = "video:generated, video:generated/SEED or video:generated:HEIGHTxWIDTH"


@dataclass(frozen=True, kw_only=True)
class SceneRun:
    """What a run left.

    Attributes:
        weights: path of model.safetensors.
        sha256: its digest.
        mean_iou: on scenes that were not trained on.
        class_iou: the same for each class.
        epochs: passes over the scenes.
        seconds: that training took.
    """

    weights: Path
    sha256: str
    mean_iou: float
    class_iou: dict[str, float]
    epochs: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"weights": str(self.weights)}


def train_on_scenes(
    source: str,
    data: str,
    output: Path,
    *,
    recipe: SegmentationRecipe,
    init_weights: Path | None = None,
    threads: int | None = None,
) -> SceneRun:
    """Train `source` on single frames of many drawn scenes; writes model.safetensors and train.json.

    Args:
        source: a segmentation network by name, timm:NAME, file.py:factory or module:factory.
        data: "video:generated", with the size of the frames behind it (128x256 where none is given).
        output: directory of the run.
        recipe: how.
        init_weights: weights to start from instead of fresh ones.
        threads: of torch; None leaves torch's own choice.

    Raises:
        UsageError: the data cannot be trained on, or the network is none for segmentation.
        MissingError: torch is not installed.
    """
    with needs_extra("train"):
        import torch
    spec = ClipSpec.parse(data)
    if spec.source != "generated" or spec.frames is not None:
        raise UsageError(f"{data} has no masks to train on for many scenes; allowed: {_DATA}")
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    network = load_source(source, classes=len(CLASSES), in_channels=3, resolution=None, weights=init_weights)
    preprocessing = segmentation_preprocessing(*(spec.size or DEFAULT_SIZE))
    files = RunFiles.open(output, resume=False)
    if files.weights.exists():
        raise UsageError(f"{output} holds a training run; name another output directory")
    done = train_segmentation(network.module, preprocessing=preprocessing, recipe=recipe)
    metadata = WeightsMetadata(
        network=network.name,
        classes=tuple(CLASSES),
        preprocessing=preprocessing,
        data=str(replace(spec, seed=0)),
        recipe=RECIPE_NAME,
        epochs=recipe.epochs,
    )
    save_weights(network.module, files.weights, metadata.to_header())
    result = SceneRun(
        weights=files.weights,
        sha256=sha256_file(files.weights),
        mean_iou=done.mean_iou,
        class_iou=done.class_iou,
        epochs=recipe.epochs,
        seconds=done.seconds,
    )
    files.write_summary(
        {"recipe": asdict(recipe), "losses": list(done.losses), **metadata.to_json(), **result.to_json()}
    )
    return result
