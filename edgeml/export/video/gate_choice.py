"""Chooses a network's gate on a calibration clip: least work at the results of the whole network."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.core.preprocessing import Preprocessing
from edgeml.core.segmentation_metrics import confusion, mean_iou, top1_agreement
from edgeml.core.session import SessionOptions
from edgeml.export.video.gated import gated_model
from edgeml.export.video.onnx_writer import write_models
from edgeml.models.video.clips.gate_threshold import sigma_in_codes, suggest_threshold
from edgeml.models.video.gating import gated
from edgeml.models.video.graph import FRAME
from edgeml.models.video.quantized import CodeGraph, Gate
from edgeml.runtime.streaming.model import StreamingModel

AGREEMENT = 0.99
# Tiles of 4x4 pixels were faster than 8x8 by a tenth to a fifth on an encoder-decoder, 2x2 no faster.
_TILE = 4
# Of every convolution, in sixteenths of a code.
_LAYER_THRESHOLDS = (0, 64, 96, 128, 160, 192, 224, 256, 384)


@dataclass(frozen=True, kw_only=True)
class GateTrial:
    """A gate, or thresholds of the layers, on the clip.

    Attributes:
        gate: at the frame.
        layer_threshold: of every convolution, in sixteenths of a code.
        agreement: with the whole int8 network: mean IoU of the classes of pixels, over all frames; of classifiers, the
            share of frames with the same top-1 class; of results of one channel, the share of equal values.
        work: share of the multiplications that lie at changed pixels, key frame left out.
    """

    gate: Gate
    layer_threshold: int
    agreement: float
    work: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class GateChoice:
    """What was chosen, and among what.

    Attributes:
        graph: the network with its gate.
        chosen: the trial that it comes from.
        trials: all of them.
    """

    graph: CodeGraph
    chosen: GateTrial
    trials: tuple[GateTrial, ...]


def candidate_gates(noise: float | None, preprocessing: Preprocessing, graph: CodeGraph) -> list[Gate]:
    """Gates worth trying: one that passes every changed code, and those that a clip's noise suggests.

    Args:
        noise: standard deviation of the sensor's noise in pixel values of 0 to 255; None where it is not known.
        preprocessing: how pixels become inputs.
        graph: the network in codes.
    """
    gates = [Gate(tile=_TILE)]
    if noise is None:
        return gates
    sigma = sigma_in_codes(noise, preprocessing, graph.ranges[FRAME].scale)
    channels = graph.input_shape[0]
    for rms in (False, True):
        threshold = suggest_threshold(sigma, tile=_TILE, channels=channels, rms=rms)
        gates.append(Gate(tile=_TILE, threshold=threshold, rms=rms))
    return gates


def choose_gate(
    graph: CodeGraph, frames: npt.NDArray[np.float32], gates: Sequence[Gate], *, agreement: float = AGREEMENT
) -> GateChoice:
    """Try each gate on consecutive frames, with thresholds of 0 to 24 codes at every convolution.

    Of the trials that agree with the whole network by at least `agreement`, the one with the least work is taken; the
    first gate where none does.

    Args:
        graph: the network in codes.
        frames: float32 (frame, channels, height, width), consecutive; two or more.
        gates: candidates; the first should pass everything that changes.
        agreement: wanted, 0 to 1.
    """
    whole = _run(graph, frames, every_frame_whole=True)[0]
    trials: list[tuple[GateTrial, CodeGraph]] = []
    for gate in gates:
        for threshold in _LAYER_THRESHOLDS:
            if threshold and gate.threshold == 0:
                continue
            candidate = gated(graph, gate, layer_threshold=threshold)
            results, work = _run(candidate, frames)
            trial = GateTrial(gate=gate, layer_threshold=threshold, agreement=_agreement(results, whole), work=work)
            trials.append((trial, candidate))
    good = [each for each in trials if each[0].agreement >= agreement]
    chosen, network = min(good, key=lambda each: each[0].work) if good else trials[0]
    return GateChoice(graph=network, chosen=chosen, trials=tuple(trial for trial, _ in trials))


def _run(
    graph: CodeGraph, frames: npt.NDArray[np.float32], *, every_frame_whole: bool = False
) -> tuple[npt.NDArray[np.float32], float]:
    """Results (frame, ...) but the first, and the share of work."""
    with tempfile.TemporaryDirectory(prefix="edgeml-gate-") as directory:
        path = Path(directory) / "trial.residual.onnx"
        key = path.with_name("trial.key.onnx")
        write_models({path: gated_model(graph, "residual"), key: gated_model(graph, "key")})
        model = StreamingModel.open(path, SessionOptions())
        stream = model.stream(key_interval=1 if every_frame_whole else None)
        stepped = [stream.step(frame) for frame in frames]
        macs = model.residual.metadata.macs
        model.close()
    shares = [each.statistics.active_share for each in stepped[1:]]
    gated = {name: count for name, count in macs.items() if name in shares[0]}
    total = max(1, sum(gated.values()))
    work = float(np.mean([sum(share[name] * count for name, count in gated.items()) / total for share in shares]))
    return np.stack([next(iter(each.outputs.values()))[0] for each in stepped[1:]]), work


def _agreement(results: npt.NDArray[np.float32], whole: npt.NDArray[np.float32]) -> float:
    classes = whole.shape[1]
    if classes == 1:
        return float(np.mean(results == whole))
    if whole.ndim == 2:
        return top1_agreement(results, whole)
    return mean_iou(confusion(results.argmax(1), whole.argmax(1), classes))
