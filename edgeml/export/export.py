"""The export stage: from a network or a foreign ONNX file to a checked ONNX artifact with its manifest."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgeml.core.artifact import Artifact, load_manifest, sha256_file
from edgeml.core.atomic import atomic_write
from edgeml.core.errors import UsageError
from edgeml.core.parity import DataComparison, LayerDifference, ParityReport
from edgeml.core.samples import Samples
from edgeml.core.tensor_spec import TensorSpec
from edgeml.export.binary_storage import binary_storage
from edgeml.export.clean import checked, clean, to_bytes
from edgeml.export.first_difference import first_difference_between, first_difference_from_torch
from edgeml.export.fp16 import to_fp16
from edgeml.export.held_parity import loss_with_signs_held, run_held
from edgeml.export.int8_peer import int8_peer as find_int8_peer
from edgeml.export.onnx_source import read_onnx
from edgeml.export.parity import (
    FP32_ABSOLUTE,
    FP32_RELATIVE,
    MAX_ACCURACY_DROP,
    compare_on_data,
    generated_inputs,
    parity_with,
    require,
)
from edgeml.export.quantize import FloatNode, quantize
from edgeml.export.references import onnx_reference, torch_reference
from edgeml.export.run_onnx import run_samples
from edgeml.export.to_onnx import DEFAULT_OPSET, evaluation, to_onnx
from edgeml.ops import attach

if TYPE_CHECKING:
    import onnx

    from edgeml.export.compress_binary import CompressionReport
    from edgeml.models.network import Network

ExportPrecision = Literal["fp32", "fp16", "int8"]
CompressBinary = Literal["none", "mst"]
_TOOLS = ("edgeml", "torch", "onnx", "onnxruntime", "onnxscript")
_LOCATE_BATCH = 2


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What an export made.

    Attributes:
        artifact: the file, its manifest written beside it.
        parity: what the gate measured.
        float_nodes: int8 only: convolutions and matrix products that stayed in float32.
        warnings: what the user should know.
        compression: of a binary network, where `compress_binary` was asked for: what its trees save.
    """

    artifact: Artifact
    parity: ParityReport
    float_nodes: tuple[FloatNode, ...] = ()
    warnings: tuple[str, ...] = ()
    compression: CompressionReport | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "artifact": self.artifact.to_json(),
            "parity": self.parity.to_json(),
            "float_nodes": [node.to_json() for node in self.float_nodes],
            "warnings": list(self.warnings),
            "compression": None if self.compression is None else self.compression.to_json(),
        }


@dataclass(frozen=True)
class _Judging:
    calibration: Samples | None
    evaluation_data: Samples | None
    max_accuracy_drop: float


@dataclass(frozen=True)
class _Converted:
    model: onnx.ModelProto
    data: tuple[DataComparison, ...] = ()
    first_difference: LayerDifference | None = None
    float_nodes: tuple[FloatNode, ...] = ()
    warnings: tuple[str, ...] = ()


def export(
    network: Network,
    output: Path,
    *,
    precision: ExportPrecision = "fp32",
    calibration: Samples | None = None,
    evaluation_data: Samples | None = None,
    weights: Path | None = None,
    opset: int = DEFAULT_OPSET,
    static_batch: bool = False,
    inline_functions: bool = False,
    max_accuracy_drop: float = MAX_ACCURACY_DROP,
    compress_binary: CompressBinary = "none",
    int8_peer: Path | None = None,
) -> ExportResult:
    """Write `network` as a checked ONNX file with its manifest; nothing is written where a check fails.

    Args:
        network: what is exported.
        output: the .onnx file.
        precision: arithmetic of the file.
        calibration: int8 only: samples that ranges are taken from; never a test split.
        evaluation_data: labelled samples that the loss of accuracy is judged on.
        weights: the file the network's weights came from; its digest becomes the manifest's parent.
        opset: version of the default ONNX operator set.
        static_batch: fix the batch to 1.
        inline_functions: replace model-local functions by their bodies.
        max_accuracy_drop: points of top-1 accuracy that fp16 and int8 may lose.
        compress_binary: "mst" stores the weights of binary layers as trees of differences, where that is smaller.
        int8_peer: the int8 network in the same directory that a binary one is to be judged against.

    Raises:
        UsageError: the options do not fit together.
        CheckFailedError: the file does not compute what the network computes; names the first differing layer.
        EdgeMLError: torch, onnxruntime or the file system failed.
    """
    _check_options(output, precision, calibration)
    exported = to_onnx(network.module, network.input_shape, opset=opset, static_batch=static_batch)
    model, compression = _cleaned(exported.model, inline_functions, compress_binary)
    reference = torch_reference(network.module)
    with evaluation(network.module):
        report = parity_with(network.name, reference, model)
        if not report.passed:
            inputs = generated_inputs(model)[0 if static_batch else 1]
            run = run_held(model, reference, inputs)
            layer = first_difference_from_torch(
                exported.program, run.model, inputs, relative=FP32_RELATIVE, absolute=FP32_ABSOLUTE, feeds=run.feeds
            )
            layer = layer or run.first_beyond(FP32_RELATIVE, FP32_ABSOLUTE)
            require(replace(report, first_difference=layer), "the exported graph")
    if precision == "fp32":
        parent = None if weights is None else sha256_file(weights)
    else:
        parent = sha256(to_bytes(model)).hexdigest()  # the file that the same export in fp32 writes
    template = Artifact(
        path=output,
        format="onnx",
        model=network.name,
        precision=precision,
        inputs=(),
        outputs=(),
        sha256="",
        parent_sha256=parent,
        preprocessing=network.preprocessing,
        classes=network.classes,
    )
    judging = _Judging(calibration, evaluation_data, max_accuracy_drop)
    result = _finish(model, template, report, judging, inline_functions, int8_peer)
    return replace(result, warnings=(*network.notes, *result.warnings), compression=compression)


def export_onnx(
    source: Path,
    output: Path,
    *,
    precision: ExportPrecision = "fp32",
    calibration: Samples | None = None,
    evaluation_data: Samples | None = None,
    inline_functions: bool = False,
    max_accuracy_drop: float = MAX_ACCURACY_DROP,
    compress_binary: CompressBinary = "none",
    int8_peer: Path | None = None,
) -> ExportResult:
    """Clean, convert and check an ONNX file from elsewhere; like `export` otherwise.

    Raises:
        UntrustedFileError: the file breaks a safety limit.
        UsageError: the options do not fit together, or `output` is the source itself.
        CheckFailedError: the result does not compute what the source computes.
    """
    _check_options(output, precision, calibration)
    if output.exists() and output.resolve() == source.resolve():
        raise UsageError(f"the output {output} is the source itself; give another name")
    original = read_onnx(source)
    model, compression = _cleaned(original, inline_functions, compress_binary)
    reference = onnx_reference(original)
    report = parity_with(str(source), reference, model)
    if not report.passed:
        inputs = generated_inputs(model)[0]
        run = run_held(model, reference, inputs)
        layer = first_difference_between(
            original, run.model, inputs, relative=FP32_RELATIVE, absolute=FP32_ABSOLUTE, feeds=run.feeds
        )
        layer = layer or run.first_beyond(FP32_RELATIVE, FP32_ABSOLUTE)
        require(replace(report, first_difference=layer), "the cleaned graph")
    known = load_manifest(source)
    template = Artifact(
        path=output,
        format="onnx",
        model=source.stem if known is None else known.model,
        precision=precision,
        inputs=(),
        outputs=(),
        sha256="",
        parent_sha256=sha256_file(source),
        preprocessing=None if known is None else known.preprocessing,
        classes=() if known is None else known.classes,
    )
    judging = _Judging(calibration, evaluation_data, max_accuracy_drop)
    result = _finish(model, template, report, judging, inline_functions, int8_peer)
    return replace(result, compression=compression)


def _cleaned(
    model: onnx.ModelProto, inline_functions: bool, compress_binary: CompressBinary
) -> tuple[onnx.ModelProto, CompressionReport | None]:
    """The graph that is checked: cleaned, binary weights compressed, edgeml's own functions still calls.

    Those are inlined last, since a comparison with the signs held needs to see where signs are taken.
    """
    result = clean(_inlined_but_binary(model) if inline_functions else model)
    if compress_binary == "none":
        return result, None
    from edgeml.export.compress_binary import compress

    if binary_storage(result) is None:
        raise UsageError(f"--compress-binary {compress_binary} needs a network with binary layers; this one has none")
    report = compress(result)
    return checked(result), report


def _inlined_but_binary(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx.inliner

    result = onnx.ModelProto()
    result.CopyFrom(model)
    attach.detach_functions(result)  # `clean` attaches them again
    return onnx.inliner.inline_local_functions(result)


def _finish(
    model: onnx.ModelProto,
    template: Artifact,
    report: ParityReport,
    judging: _Judging,
    inline_functions: bool,
    int8_peer: Path | None,
) -> ExportResult:
    converted = _convert(model, template, judging)
    storage = binary_storage(converted.model)
    report = replace(report, data=converted.data, first_difference=converted.first_difference)
    require(report, f"the {template.precision} graph")
    if inline_functions and storage is not None:
        result = checked(attach.inline_functions(converted.model))
        grown = result.ByteSize() - converted.model.ByteSize()
        storage, converted = replace(storage, body_bytes=storage.body_bytes + grown), replace(converted, model=result)
    content = to_bytes(converted.model)
    artifact = replace(
        template,
        inputs=tuple(_spec(value) for value in converted.model.graph.input),
        outputs=tuple(_spec(value) for value in converted.model.graph.output),
        sha256=sha256(content).hexdigest(),
        tool_versions=_versions(),
        binary=storage,
    )
    if int8_peer is not None:
        artifact = replace(artifact, int8_peer=find_int8_peer(int8_peer, artifact))
    with atomic_write(artifact.path) as temporary:
        temporary.write_bytes(content)
    artifact.save_manifest()
    return ExportResult(
        artifact=artifact,
        parity=report,
        float_nodes=converted.float_nodes,
        warnings=converted.warnings,
    )


def _convert(model: onnx.ModelProto, template: Artifact, judging: _Judging) -> _Converted:
    calibration = judging.calibration
    warnings: list[str] = []
    float_nodes: tuple[FloatNode, ...] = ()
    result = model
    if template.precision == "fp16":
        seen = generated_inputs(model)[-1] if calibration is None else calibration.inputs[:8]
        result, blocked = to_fp16(model, seen)
        if blocked:
            warnings.append(
                f"{len(blocked)} nodes stay in float32, whose values float16 cannot hold: {', '.join(blocked)}"
            )
    elif template.precision == "int8":
        assert calibration is not None
        quantized = quantize(model, calibration)
        result, float_nodes = quantized.model, quantized.float_nodes
        if not quantized.pays:
            warnings.append(
                "int8 is not estimated to be faster than fp32 for this network: its layers are too small for the "
                "changes of type around them; measure both with edgeml bench"
            )
        whole = "" if binary_storage(model) is None else " outside the binary layers"
        warnings.append(
            f"{quantized.share_of_macs:.0%} of the multiply-accumulates{whole} run in 8 bits (ranges by "
            f"{quantized.method}); on held-out calibration samples the logits have {quantized.sqnr_db:.1f} dB"
        )
    judged = _judged(model, judging, template.precision)
    if judged is None:
        return _Converted(result, float_nodes=float_nodes, warnings=tuple(warnings))
    samples, labelled = judged
    reference = onnx_reference(model)
    comparison = compare_on_data(
        run_samples(model, samples.inputs),
        result,
        samples,
        judge_labels=labelled,
        max_accuracy_drop=judging.max_accuracy_drop,
        recorder=reference,
    )
    layer = None if comparison.passed else loss_with_signs_held(model, result, _fit(model, samples))
    return _Converted(result, (comparison,), layer, float_nodes, tuple(warnings))


def _judged(model: onnx.ModelProto, judging: _Judging, precision: str) -> tuple[Samples, bool] | None:
    """What the result is judged on, and whether its labels count."""
    if judging.evaluation_data is not None:
        return judging.evaluation_data, True
    if precision == "fp32":
        return None
    if judging.calibration is not None:
        return judging.calibration.head(256), False
    inputs = np.concatenate(generated_inputs(model))
    return Samples("generated inputs", inputs, np.zeros(len(inputs), np.int64), ()), False


def _fit(model: onnx.ModelProto, samples: Samples) -> Any:
    fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return samples.inputs[: fixed or _LOCATE_BATCH]


def _check_options(output: Path, precision: str, calibration: Samples | None) -> None:
    if output.suffix != ".onnx":
        raise UsageError(f"the output {output} must end in .onnx")
    if precision == "int8" and calibration is None:
        raise UsageError(
            "precision int8 needs calibration data: give --calibration DATA (for example fashion-mnist:train)"
        )


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    import onnx

    tensor = value.type.tensor_type
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"{value.name}_axis{index}"
        for index, dim in enumerate(tensor.shape.dim)
    )
    return TensorSpec(value.name, shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name)


def _versions() -> tuple[tuple[str, str], ...]:
    found = ((tool, _version(tool)) for tool in _TOOLS)
    return tuple((tool, installed) for tool, installed in found if installed is not None)


def _version(tool: str) -> str | None:
    try:
        return importlib.metadata.version(tool)
    except importlib.metadata.PackageNotFoundError:
        return None
