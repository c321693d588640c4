"""`edgeml export`: turn a network into a checked ONNX file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import click

from edgeml.cli.export_triton import TritonPlace, placed_json, placed_row
from edgeml.cli.output import json_option, note, print_json, print_rows
from edgeml.cli.source_options import source_options
from edgeml.cli.trees import compression_rows, measure_trees

if TYPE_CHECKING:
    from edgeml.cli.export_video import VideoMode
    from edgeml.cli.speed import Speed
    from edgeml.core.artifact import Artifact
    from edgeml.core.parity import ParityReport
    from edgeml.export.export import CompressBinary, ExportPrecision, ExportResult


@click.command("export")
@click.argument("source")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The .onnx file to write.")
@click.option(
    "--triton",
    type=click.Path(path_type=Path, file_okay=False),
    help="Add the model to this model repository, for Triton, KServe and edgeml serve (docs/serve-from-triton.md).",
)
@click.option("--triton-name", help="What the model is called there.  [default: after --output, else after SOURCE]")
@source_options
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), default="fp32", show_default=True)
@click.option("--calibration", help="Data to take int8 ranges from; its training split is used.")
@click.option("--data", help="Data to judge the loss of accuracy on; its test split by default.")
@click.option("--max-accuracy-drop", type=click.FloatRange(min=0), default=0.5, show_default=True, help="In points.")
@click.option("--opset", type=int, help="ONNX operator set, 18 to 23.  [default: 20]")
@click.option("--static-batch", is_flag=True, help="Fix the batch to 1.")
@click.option("--inline-functions", is_flag=True, help="Replace model-local functions by their bodies.")
@click.option(
    "--compress-binary",
    type=click.Choice(["none", "mst"]),
    default="none",
    show_default=True,
    help="Store the weights of binary layers as trees of differences, where that takes less room.",
)
@click.option("--no-measure", is_flag=True, help="With --compress-binary: do not measure time before and after.")
@click.option(
    "--int8-peer",
    type=click.Path(path_type=Path),
    help="The int8 network beside the output that a binary one is to be judged against.",
)
@click.option(
    "--video",
    type=click.Choice(["gated", "resq"]),
    help="Convert to a network for video, calibrated on --calibration video:CLIP (docs/stream-a-video.md).",
)
@click.option("--key-interval", type=click.IntRange(min=1), help="With --video: a whole frame every so many.")
@click.option(
    "--gate",
    type=click.Choice(["auto", "exact"]),
    help="With --video gated: what passes into the network.  [default: auto, from the clip's noise]",
)
@click.option(
    "--residual-bits",
    type=click.IntRange(2, 8),
    help="With --video resq: of a residual's weights and activations.  [default: 4]",
)
@json_option
def command(
    source: str,
    output: Path | None,
    triton: Path | None,
    triton_name: str | None,
    weights: Path | None,
    classes: int | None,
    in_channels: int | None,
    resolution: int | None,
    input_shape: tuple[int, int, int] | None,
    precision: str,
    calibration: str | None,
    data: str | None,
    max_accuracy_drop: float,
    opset: int | None,
    static_batch: bool,
    inline_functions: bool,
    compress_binary: str,
    no_measure: bool,
    int8_peer: Path | None,
    video: str | None,
    key_interval: int | None,
    gate: str | None,
    residual_bits: int | None,
    as_json: bool,
) -> None:
    """Export a network to ONNX, quantize it, and prove it equal to its source.

    SOURCE is a network (see `edgeml models list`), timm:NAME, file.py:factory, module:factory or file.onnx. Nothing is
    written where the result does not agree with the source (exit code 4).
    """
    from edgeml.cli.export_video import VideoOptions
    from edgeml.cli.export_video import run as export_video
    from edgeml.core.errors import UsageError
    from edgeml.export.data import calibration_samples, evaluation_samples
    from edgeml.export.export import export, export_onnx
    from edgeml.export.reference_network import reference_network
    from edgeml.export.to_onnx import DEFAULT_OPSET
    from edgeml.models.source import is_onnx_source

    if output is None and triton is None:
        raise UsageError(
            "name the file to write with --output FILE.onnx, or a model repository with --triton DIRECTORY"
        )
    if triton is None and triton_name is not None:
        raise UsageError("--triton-name is for a model in a repository; add --triton DIRECTORY")
    for_video = {"--key-interval": key_interval, "--gate": gate, "--residual-bits": residual_bits}
    if video is not None:
        others = {
            "--triton": triton is not None,
            "--precision": precision != "fp32",
            "--data": data is not None,
            "--opset": opset is not None,
            "--inline-functions": inline_functions,
            "--compress-binary": compress_binary != "none",
            "--int8-peer": int8_peer is not None,
            "--gate": gate is not None and video != "gated",
            "--residual-bits": residual_bits is not None and video != "resq",
        }
        if refused := [name for name, given in others.items() if given]:
            raise UsageError(f"{', '.join(refused)} cannot be given with --video {video}; leave it out")
        if calibration is None:
            raise UsageError("--video needs a clip to take ranges and noise from: add --calibration video:FILE")
        asked = VideoOptions(
            mode=cast("VideoMode", video),
            calibration=calibration,
            key_interval=key_interval,
            gate=gate or "auto",
            residual_bits=residual_bits or 4,
        )
        network = reference_network(
            source,
            classes=classes,
            in_channels=in_channels,
            resolution=resolution,
            weights=weights,
            input_shape=input_shape,
        )
        assert output is not None
        export_video(network, output, asked, weights=weights, as_json=as_json)
        return
    if refused := [name for name, value in for_video.items() if value is not None]:
        raise UsageError(f"{', '.join(refused)} is for networks for video; add --video gated or --video resq")
    if precision == "int8" and calibration is None:
        raise UsageError(
            "--precision int8 needs data to take ranges from: add --calibration DATA, such as digits:train"
        )
    place = None if triton is None else TritonPlace.choose(triton, triton_name, source, output, int8_peer)
    file = output
    if file is None:
        file = Path(click.get_current_context().with_resource(TemporaryDirectory(prefix="edgeml-"))) / "model.onnx"
    common: dict[str, Any] = {
        "precision": cast("ExportPrecision", precision),
        "inline_functions": inline_functions,
        "max_accuracy_drop": max_accuracy_drop,
        "compress_binary": cast("CompressBinary", compress_binary),
        "int8_peer": int8_peer,
    }
    if is_onnx_source(source):
        given = {
            "--weights": weights,
            "--classes": classes,
            "--in-channels": in_channels,
            "--resolution": resolution,
            "--input-shape": input_shape,
            "--opset": opset,
            "--static-batch": static_batch or None,
        }
        if refused := [name for name, value in given.items() if value is not None]:
            raise UsageError(f"{', '.join(refused)} cannot be given with an ONNX file, whose graph is taken as it is")
        path = Path(source)
        result = export_onnx(
            path,
            file,
            calibration=None if calibration is None else calibration_samples(calibration, path),
            evaluation_data=None if data is None else evaluation_samples(data, path),
            **common,
        )
    else:
        network = reference_network(
            source,
            classes=classes,
            in_channels=in_channels,
            resolution=resolution,
            weights=weights,
            input_shape=input_shape,
        )
        result = export(
            network,
            file,
            calibration=None if calibration is None else calibration_samples(calibration, network.preprocessing),
            evaluation_data=None if data is None else evaluation_samples(data, network.preprocessing),
            weights=weights,
            opset=DEFAULT_OPSET if opset is None else opset,
            static_batch=static_batch,
            **common,
        )
    placed = None if place is None else place.add(result.artifact)
    if output is None and placed is not None:
        result = replace(result, artifact=placed)
    for warning in result.warnings:
        note(f"note: {warning}")
    speed = None
    if result.compression is not None and not no_measure:
        speed = measure_trees(result.artifact)
    if as_json:
        print_json(
            result.to_json()
            | {
                "compression_speed": None if speed is None else speed.to_json(),
                "repository": placed_json(placed),
            }
        )
    else:
        _print(result, placed, speed)


def _print(result: ExportResult, placed: Artifact | None, speed: Speed | None) -> None:
    artifact = result.artifact
    rows = [
        ("file", f"{artifact.path} ({artifact.size_bytes / 1e6:.2f} MB)"),
        *([] if placed is None else [placed_row(placed)]),
        ("model", artifact.model),
        ("precision", artifact.precision),
        *(("input", f"{spec.name} {list(spec.shape)} {spec.dtype}") for spec in artifact.inputs),
        *(("output", f"{spec.name} {list(spec.shape)} {spec.dtype}") for spec in artifact.outputs),
        ("sha256", artifact.sha256),
        *parity_rows(result.parity),
    ]
    if artifact.binary is not None:
        rows.append(("binary layers", str(artifact.binary)))
        rows.append(("int8 peer", "none named: edgeml bench cannot tell whether it pays (--int8-peer FILE)"))
    if artifact.int8_peer is not None:
        rows[-1] = ("int8 peer", f"{artifact.int8_peer.file}, which edgeml bench measures beside it")
    if result.float_nodes:
        share = sum(node.share_of_macs for node in result.float_nodes)
        rows.append(
            (
                "float nodes",
                f"{len(result.float_nodes)} with {share:.0%} of the multiply-accumulates (--json lists them)",
            )
        )
    if result.compression is not None:
        rows += compression_rows(result.compression, speed)
    print_rows(rows)


def parity_rows(report: ParityReport) -> list[tuple[str, str]]:
    """The comparisons as rows of a table."""
    rows = [
        (
            f"batch {entry.batch}",
            f"{'agrees' if entry.passed else 'DIFFERS'}: largest difference "
            f"{'not finite' if entry.max_abs_difference is None else f'{entry.max_abs_difference:.2e}'}, "
            f"allowed {entry.tolerance:.2e}",
        )
        for entry in report.outputs
    ]
    for signs in report.binary:
        text = (
            f"{'agrees' if signs.passed else 'DIFFERS'} at {signs.layers} binary layers with their signs held: largest "
            f"difference {'not finite' if signs.max_abs_difference is None else f'{signs.max_abs_difference:.2e}'} at "
            f"{signs.worst_layer}, allowed {signs.tolerance:.2e}; with nothing held {signs.flipped_signs:.4%} of the "
            "signs differ"
        )
        if signs.agreement is not None:
            text += f", same top-1 class {signs.agreement:.0%}"
        rows.append((f"batch {signs.batch}", text))
    for data in report.data:
        text = f"{'agrees' if data.passed else 'DIFFERS'}: same top-1 class {data.agreement:.2%}"
        if data.sqnr_db is not None:
            text += f", logits {data.sqnr_db:.1f} dB"
        if data.held_sqnr_db is not None:
            text += f", with all signs held {data.held_sqnr_db:.1f} dB or better"
        if data.accuracy is not None and data.reference_accuracy is not None:
            text += f", accuracy {data.accuracy:.2%} of {data.reference_accuracy:.2%}"
        rows.append((data.data, text))
    return rows
