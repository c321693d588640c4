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
from edgeml.export.clean import clean, to_bytes
from edgeml.export.first_difference import first_difference_between, first_difference_from_torch, first_loss
from edgeml.export.fp16 import to_fp16
from edgeml.export.onnx_source import read_onnx
from edgeml.export.parity import (
    FP32_ABSOLUTE,
    FP32_RELATIVE,
    MAX_ACCURACY_DROP,
    compare_on_data,
    compare_with_onnx,
    compare_with_torch,
    generated_inputs,
    require,
)
from edgeml.export.quantize import FloatNode, quantize
from edgeml.export.run_onnx import run_samples
from edgeml.export.to_onnx import DEFAULT_OPSET, evaluation, to_onnx

if TYPE_CHECKING:
    import onnx

    from edgeml.models.network import Network

ExportPrecision = Literal["fp32", "fp16", "int8"]
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
    """

    artifact: Artifact
    parity: ParityReport
    float_nodes: tuple[FloatNode, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "artifact": self.artifact.to_json(),
            "parity": self.parity.to_json(),
            "float_nodes": [node.to_json() for node in self.float_nodes],
            "warnings": list(self.warnings),
        }


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

    Raises:
        UsageError: the options do not fit together.
        CheckFailedError: the file does not compute what the network computes; names the first differing layer.
        EdgeMLError: torch, onnxruntime or the file system failed.
    """
    _check_options(output, precision, calibration)
    exported = to_onnx(network.module, network.input_shape, opset=opset, static_batch=static_batch)
    model = clean(exported.model, inline_functions=inline_functions)
    with evaluation(network.module):
        report = ParityReport(reference=network.name, outputs=compare_with_torch(network.module, model))
    if not report.passed:
        inputs = generated_inputs(model)[0 if static_batch else 1]
        layer = first_difference_from_torch(
            exported.program, model, inputs, relative=FP32_RELATIVE, absolute=FP32_ABSOLUTE
        )
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
    return _finish(model, template, report, calibration, evaluation_data, max_accuracy_drop, network.notes)


def export_onnx(
    source: Path,
    output: Path,
    *,
    precision: ExportPrecision = "fp32",
    calibration: Samples | None = None,
    evaluation_data: Samples | None = None,
    inline_functions: bool = False,
    max_accuracy_drop: float = MAX_ACCURACY_DROP,
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
    model = clean(original, inline_functions=inline_functions)
    report = ParityReport(reference=str(source), outputs=compare_with_onnx(original, model))
    if not report.passed:
        inputs = generated_inputs(model)[0]
        layer = first_difference_between(original, model, inputs, relative=FP32_RELATIVE, absolute=FP32_ABSOLUTE)
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
    return _finish(model, template, report, calibration, evaluation_data, max_accuracy_drop, ())


def _finish(
    model: onnx.ModelProto,
    template: Artifact,
    report: ParityReport,
    calibration: Samples | None,
    evaluation_data: Samples | None,
    max_accuracy_drop: float,
    notes: tuple[str, ...],
) -> ExportResult:
    converted = _convert(model, template, calibration, evaluation_data, max_accuracy_drop)
    report = replace(report, data=converted.data, first_difference=converted.first_difference)
    require(report, f"the {template.precision} graph")
    content = to_bytes(converted.model)
    artifact = replace(
        template,
        inputs=tuple(_spec(value) for value in converted.model.graph.input),
        outputs=tuple(_spec(value) for value in converted.model.graph.output),
        sha256=sha256(content).hexdigest(),
        tool_versions=_versions(),
    )
    with atomic_write(artifact.path) as temporary:
        temporary.write_bytes(content)
    artifact.save_manifest()
    return ExportResult(
        artifact=artifact,
        parity=report,
        float_nodes=converted.float_nodes,
        warnings=(*notes, *converted.warnings),
    )


def _convert(
    model: onnx.ModelProto,
    template: Artifact,
    calibration: Samples | None,
    evaluation_data: Samples | None,
    max_accuracy_drop: float,
) -> _Converted:
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
        warnings.append(
            f"{quantized.share_of_macs:.0%} of the multiply-accumulates run in 8 bits (ranges by {quantized.method}); "
            f"on held-out calibration samples the logits have {quantized.sqnr_db:.1f} dB"
        )
    judged = _judged(model, calibration, evaluation_data, template.precision)
    if judged is None:
        return _Converted(result, float_nodes=float_nodes, warnings=tuple(warnings))
    samples, labelled = judged
    comparison = compare_on_data(
        run_samples(model, samples.inputs),
        result,
        samples,
        judge_labels=labelled,
        max_accuracy_drop=max_accuracy_drop,
    )
    layer = None if comparison.passed else first_loss(model, result, _fit(model, samples))
    return _Converted(result, (comparison,), layer, float_nodes, tuple(warnings))


def _judged(
    model: onnx.ModelProto, calibration: Samples | None, evaluation_data: Samples | None, precision: str
) -> tuple[Samples, bool] | None:
    """What the result is judged on, and whether its labels count."""
    if evaluation_data is not None:
        return evaluation_data, True
    if precision == "fp32":
        return None
    if calibration is not None:
        return calibration.head(256), False
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
