"""The check stage: does an ONNX file compute what its reference computes, and if not, which layer is the first?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.core.artifact import Artifact
from edgeml.core.errors import CheckFailedError
from edgeml.core.parity import LayerDifference, ParityReport
from edgeml.core.samples import Samples
from edgeml.export.clean import clean
from edgeml.export.first_difference import first_difference_between, first_difference_from_torch
from edgeml.export.held_parity import loss_with_signs_held, run_held
from edgeml.export.onnx_source import read_onnx
from edgeml.export.parity import (
    FP32_ABSOLUTE,
    FP32_RELATIVE,
    MAX_ACCURACY_DROP,
    compare_on_data,
    generated_inputs,
    parity_with,
)
from edgeml.export.references import Reference, onnx_reference, torch_reference
from edgeml.export.run_onnx import input_spec, run_samples
from edgeml.export.to_onnx import evaluation, to_onnx

if TYPE_CHECKING:
    import onnx

    from edgeml.models.network import Network

_GENERATED = 64


def check(
    artifact: Artifact,
    reference: Network | Path,
    *,
    data: Samples | None = None,
    max_accuracy_drop: float = MAX_ACCURACY_DROP,
) -> ParityReport:
    """Compare an ONNX file with the network or the ONNX file it should equal.

    A float32 file is compared on generated inputs; one of another precision on `data`, or, without it, by its logits
    on generated inputs. With `data` the loss of accuracy is judged for every precision.

    Args:
        artifact: the file.
        reference: a network, or the path of an ONNX file.
        data: labelled samples.
        max_accuracy_drop: points of top-1 accuracy that may be lost.

    Returns:
        The report; where it did not pass, with the layer to blame if one can be found.

    Raises:
        UntrustedFileError: a file breaks a safety limit.
        CheckFailedError: the inputs or the outputs do not even have the same shapes.
    """
    model = read_onnx(artifact.path)
    exact = artifact.precision == "fp32"
    if isinstance(reference, Path):
        _check_inputs(artifact.path, model, str(reference), input_spec(read_onnx(reference))[1])
        return _check_onnx(model, reference, exact, data, max_accuracy_drop)
    _check_inputs(artifact.path, model, reference.name, (None, *reference.input_shape))
    return _check_torch(model, reference, exact, data, max_accuracy_drop)


def _check_inputs(path: Path, model: onnx.ModelProto, reference: str, expected: tuple[int | None, ...]) -> None:
    """Refuse files that cannot be fed what the reference is fed; a dynamic axis takes any size."""
    _, found = input_spec(model)
    if len(found) != len(expected) or any(None not in (a, b) and a != b for a, b in zip(found, expected, strict=True)):
        raise CheckFailedError(
            f"{path} takes inputs of shape {_shape(found)}, {reference} of {_shape(expected)}: they are not the same "
            "model; for a network, --resolution and --in-channels choose another input"
        )


def _shape(axes: tuple[int | None, ...]) -> str:
    return "x".join("any" if axis is None else str(axis) for axis in axes)


def _check_onnx(
    model: onnx.ModelProto, path: Path, exact: bool, data: Samples | None, max_accuracy_drop: float
) -> ParityReport:
    original = read_onnx(path)
    reference = onnx_reference(original)
    report = parity_with(str(path), reference, model) if exact else ParityReport(reference=str(path))
    samples = _samples(model, exact, data)
    if samples is not None:
        logits = run_samples(original, samples.inputs)
        report = _on_data(report, logits, model, samples, data, max_accuracy_drop, reference)
    if report.passed:
        return report
    if exact:
        run = run_held(model, reference, _some(model))
        layer = first_difference_between(
            original, run.model, _some(model), relative=FP32_RELATIVE, absolute=FP32_ABSOLUTE, feeds=run.feeds
        )
        return replace(report, first_difference=layer or run.first_beyond(FP32_RELATIVE, FP32_ABSOLUTE))
    return replace(report, first_difference=_loss(original, model, samples))


def _check_torch(
    model: onnx.ModelProto, network: Network, exact: bool, data: Samples | None, max_accuracy_drop: float
) -> ParityReport:
    reference = torch_reference(network.module)
    with evaluation(network.module):
        report = parity_with(network.name, reference, model) if exact else ParityReport(reference=network.name)
        samples = _samples(model, exact, data)
        if samples is not None:
            logits = _torch_logits(network, samples.inputs)
            report = _on_data(report, logits, model, samples, data, max_accuracy_drop, reference)
        if report.passed:
            return report
        fixed = bool(model.graph.input[0].type.tensor_type.shape.dim[0].dim_value)
        exported = to_onnx(network.module, network.input_shape, static_batch=fixed)
        if not exact:
            return replace(report, first_difference=_loss(clean(exported.model), model, samples))
        run = run_held(model, reference, _some(model))
        layer = first_difference_from_torch(
            exported.program, run.model, _some(model), relative=FP32_RELATIVE, absolute=FP32_ABSOLUTE, feeds=run.feeds
        )
        return replace(report, first_difference=layer or run.first_beyond(FP32_RELATIVE, FP32_ABSOLUTE))


def _on_data(
    report: ParityReport,
    logits: npt.NDArray[np.float32],
    model: onnx.ModelProto,
    samples: Samples,
    data: Samples | None,
    max_accuracy_drop: float,
    reference: Reference,
) -> ParityReport:
    comparison = compare_on_data(
        logits,
        model,
        samples,
        judge_labels=data is not None,
        max_accuracy_drop=max_accuracy_drop,
        recorder=reference,
    )
    return replace(report, data=(comparison,))


def _torch_logits(network: Network, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    import torch

    with torch.no_grad():
        parts = [network.module(part) for part in torch.split(torch.from_numpy(inputs), 32)]
    logits: npt.NDArray[np.float32] = torch.cat(parts).numpy()
    return logits


def _samples(model: onnx.ModelProto, exact: bool, data: Samples | None) -> Samples | None:
    if data is not None or exact:
        return data
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:]
    inputs = np.random.default_rng(0).standard_normal((_GENERATED, *shape)).astype(np.float32)
    return Samples("generated inputs", inputs, np.zeros(_GENERATED, np.int64), ())


def _some(model: onnx.ModelProto) -> Any:
    inputs = generated_inputs(model)
    return inputs[min(1, len(inputs) - 1)]


def _loss(reference: onnx.ModelProto, model: onnx.ModelProto, samples: Samples | None) -> LayerDifference | None:
    assert samples is not None
    fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return loss_with_signs_held(reference, model, samples.inputs[: fixed or 2])
