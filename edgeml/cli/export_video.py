"""`edgeml export --video`: turns a network into files that compute of a video what changed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgeml.cli.output import note, print_json, print_rows
from edgeml.core.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeml.export.video.gate_choice import GateChoice
    from edgeml.models.network import Network
    from edgeml.models.video.graph import VideoGraph
    from edgeml.models.video.quantized import CodeGraph, Gate

VideoMode = Literal["gated", "resq"]
EXACT = "exact"
"""The gate that passes all that changes."""

_CALIBRATION_FRAMES = 64
_RANGE_FRAMES = 16
_GATE_FRAMES = 24


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """What a user asks for.

    Attributes:
        mode: "gated" computes tiles that changed, in int8; "resq" all of a frame's residual in few bits.
        calibration: the clip that ranges, noise and gate are taken from.
        key_interval: every so many frames one is computed whole; None for no limit.
        gate: "auto" for the clip's best, or "exact".
        residual_bits: "resq" only: of weights and activations of a residual.
    """

    mode: VideoMode
    calibration: str
    key_interval: int | None
    gate: str
    residual_bits: int


@dataclass(frozen=True)
class _Clip:
    """The start of the calibration clip: frames as the network takes them, and its noise in pixel values."""

    name: str
    frames: npt.NDArray[Any]
    sigma: float
    noise_is_reliable: bool


def run(network: Network, output: Path, options: VideoOptions, *, weights: Path | None, as_json: bool) -> None:
    """Write NAME.onnx (float32), NAME.key.onnx, NAME.residual.onnx and, in gated mode, NAME.dense.onnx (int8).

    Raises:
        UsageError: the network cannot be converted, or the clip is none.
        CheckFailedError: the float32 file does not compute what the network computes.
    """
    from edgeml.export.export import export
    from edgeml.models.video.trace import trace

    if output.suffix != ".onnx":
        raise UsageError(f"the output {output} must end in .onnx")
    if options.mode == "resq" and options.key_interval is None:
        raise UsageError("--video resq needs key frames, which residuals refer to: add --key-interval, such as 4")
    clip = _read(options.calibration, network)
    graph = trace(network.module, network.input_shape)
    write_fp32 = partial(export, network, output, weights=weights, static_batch=True)
    base = output.with_name(output.name.removesuffix(".onnx"))
    if options.mode == "resq":
        _resq(graph, clip, base, options, write_fp32, as_json=as_json)
    else:
        _gated(graph, clip, network, base, options, write_fp32, as_json=as_json)


def _read(spec: str, network: Network) -> _Clip:
    import numpy as np

    from edgeml.models.video.clips.model_input import to_input
    from edgeml.models.video.clips.noise import estimate_noise
    from edgeml.models.video.clips.opening import open_clip

    clip = open_clip(spec)
    pixels = [frame.pixels for frame in itertools.islice(clip, _CALIBRATION_FRAMES)]
    if len(pixels) < 2:
        raise UsageError(f"{spec} has {len(pixels)} frame; ranges and noise are taken from two or more")
    noise = estimate_noise(pixels)
    frames = np.concatenate([to_input(each, network.preprocessing) for each in pixels])
    return _Clip(clip.name, frames, noise.sigma, noise.reliable)


def _gates(clip: _Clip, graph: CodeGraph, network: Network, option: str) -> list[Gate]:
    from edgeml.export.video.gate_choice import candidate_gates

    known = clip.noise_is_reliable and option != EXACT
    if not clip.noise_is_reliable and option != EXACT:
        note(
            f"note: hardly anything stands still in {clip.name}, so its noise is not known and every changed code "
            "passes; calibrate on a clip of the fixed camera that the network is for"
        )
    return candidate_gates(clip.sigma if known else None, network.preprocessing, graph)


def _gated(
    graph: VideoGraph,
    clip: _Clip,
    network: Network,
    base: Path,
    options: VideoOptions,
    write_fp32: Callable[[], object],
    *,
    as_json: bool,
) -> None:
    from edgeml.export.video.gate_choice import choose_gate
    from edgeml.export.video.gated import write_gated
    from edgeml.models.video.quantize import quantize

    step = max(1, len(clip.frames) // _RANGE_FRAMES)
    codes = quantize(graph, clip.frames[::step])
    choice = choose_gate(codes, clip.frames[:_GATE_FRAMES], _gates(clip, codes, network, options.gate))
    write_fp32()
    files = write_gated(choice.graph, base, key_interval=options.key_interval)
    paths = {"fp32": base.with_name(f"{base.name}.onnx"), "int8": files.dense, "key": files.key}
    paths["residual"] = files.residual
    if as_json:
        print_json(
            {
                "mode": options.mode,
                "files": {role: str(path) for role, path in paths.items()},
                "calibration": clip.name,
                "noise_sigma": clip.sigma,
                "key_interval": options.key_interval,
                "gate": choice.chosen.to_json(),
                "trials": [trial.to_json() for trial in choice.trials],
            }
        )
        return
    rows = [(role, f"{path} ({path.stat().st_size / 1e6:.2f} MB)") for role, path in paths.items()]
    print_rows([*rows, *_gate_rows(clip, choice), _next(files.residual, options)])


def _gate_rows(clip: _Clip, choice: GateChoice) -> list[tuple[str, str]]:
    chosen = choice.chosen
    what = "root mean square" if chosen.gate.rms else "largest difference"
    gate = f"tiles whose {what} is above {chosen.gate.threshold / 16:g} codes pass"
    if chosen.gate.threshold == 0:
        gate = "every changed code passes: results are those of the whole int8 network, bit for bit"
    if chosen.layer_threshold:
        gate += f"; a layer's tile is renewed where it differs by more than {chosen.layer_threshold / 16:g} codes"
    return [
        ("noise", f"sigma {clip.sigma:.2f} of 255 in {clip.name}"),
        ("gate", gate),
        (
            "on that clip",
            f"{chosen.work:.1%} of the multiplications lie at changed pixels; agreement with the whole int8 "
            f"network {chosen.agreement:.4f} ({len(choice.trials)} gates tried)",
        ),
    ]


def _resq(
    graph: VideoGraph,
    clip: _Clip,
    base: Path,
    options: VideoOptions,
    write_fp32: Callable[[], object],
    *,
    as_json: bool,
) -> None:
    import torch

    from edgeml.export.video.resq import export_resq
    from edgeml.models.video.resq.bit_operations import bit_operations
    from edgeml.models.video.resq.bits import EIGHT, Bits
    from edgeml.models.video.resq.calibration import calibrate
    from edgeml.models.video.resq.network import ResQNetwork

    interval = options.key_interval
    assert interval is not None
    residual = Bits(options.residual_bits, options.residual_bits)
    network = ResQNetwork(graph, key=EIGHT, residual=residual)
    length = min(len(clip.frames), max(2 * interval, _RANGE_FRAMES))
    calibrate(network, torch.from_numpy(clip.frames[:length])[None], interval)
    write_fp32()
    files = export_resq(network, base, key_interval=interval)
    work = bit_operations(graph, EIGHT, residual, interval)
    paths = {"fp32": base.with_name(f"{base.name}.onnx"), "key": files.key, "residual": files.residual}
    if as_json:
        print_json(
            {
                "mode": options.mode,
                "files": {role: str(path) for role, path in paths.items()},
                "calibration": clip.name,
                "key_interval": interval,
                "bit_operations": work.to_json(),
            }
        )
        return
    rows = [(role, f"{path} ({path.stat().st_size / 1e6:.2f} MB)") for role, path in paths.items()]
    rows.append(
        (
            "bit-operations",
            f"{work.amortized / 1e9:.2f}G a frame in the mean, {work.peak / 1e9:.2f}G at most "
            f"({work.amortized / work.peak:.3f} of all frames in 8 bits)",
        )
    )
    print_rows(
        [
            *rows,
            ("time", "not what this mode saves: its files run in float32 arithmetic"),
            _next(files.residual, options),
        ]
    )


def _next(residual: Path, options: VideoOptions) -> tuple[str, str]:
    return "measure", f"edgeml bench {residual} --data {options.calibration}"
