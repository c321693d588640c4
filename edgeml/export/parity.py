"""The gate after every export: the file must compute what its source computes, or the layer to blame is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import CheckFailedError
from edgeml.core.parity import DataComparison, LayerDifference, OutputComparison, ParityReport, sqnr_db
from edgeml.core.samples import Samples
from edgeml.export.binarizations import binarizations
from edgeml.export.held_parity import compare_signs, run_held
from edgeml.export.references import Reference
from edgeml.export.run_onnx import input_spec, run_samples

if TYPE_CHECKING:
    import onnx

BATCHES = (1, 2, 8)
# Largest difference allowed: relative x the reference's largest absolute output + absolute. The absolute part only
# spares outputs that are all but zero: logits of an untrained TinyNet-E are as small as 1e-5.
FP32_RELATIVE, FP32_ABSOLUTE = 1e-4, 1e-8
MAX_ACCURACY_DROP = 0.5
MIN_SQNR_DB = 10.0
MIN_AGREEMENT = 0.95
_HELD_SAMPLES = 8  # every value that is binarized is kept for each of them


def parity_with(name: str, reference: Reference, model: onnx.ModelProto) -> ParityReport:
    """A float32 file against its reference on generated inputs, at batch 1, 2 and 8 or the fixed batch.

    A binary network is compared with its signs held (`edgeml.export.binarizations`): its outputs, and what each binary
    layer reads. Where only one of the two shows where it takes signs, nothing can be held and outputs are compared.

    Args:
        name: what to call the reference.
        reference: see `edgeml.export.references`.
        model: the file.

    Raises:
        CheckFailedError: the outputs have other shapes than the reference's.
    """
    outputs, binary = [], []
    for inputs in generated_inputs(model):
        run = run_held(model, reference, inputs)
        outputs.append(_compare(len(inputs), run.outputs, run.reference.outputs))
        if run.places:
            binary.append(compare_signs(model, inputs, run, relative=FP32_RELATIVE, absolute=FP32_ABSOLUTE))
    return ParityReport(reference=name, outputs=tuple(outputs), binary=tuple(binary))


def compare_on_data(
    reference: npt.NDArray[np.float32],
    model: onnx.ModelProto,
    samples: Samples,
    *,
    judge_labels: bool,
    max_accuracy_drop: float = MAX_ACCURACY_DROP,
    recorder: Reference | None = None,
) -> DataComparison:
    """Logits of a file against the reference's on real samples.

    Args:
        reference: the reference's logits, float32 (sample, class).
        model: the file.
        samples: the inputs and labels.
        judge_labels: True holds the loss of accuracy to `max_accuracy_drop` points; False (calibration samples) asks
            for 10 dB, or the same top-1 class on 95% of the samples. Of a binary network the 10 dB are asked of the
            logits and of every binary layer's input with all signs held.
        max_accuracy_drop: points of accuracy that may be lost.
        recorder: runs the reference, to hold a binary network's signs; without it none are held.
    """
    actual = run_samples(model, samples.inputs)
    ratio = sqnr_db(reference, actual)
    held = None if recorder is None else _held_ratio(recorder, model, samples.inputs)
    agreement = float((reference.argmax(1) == actual.argmax(1)).mean())
    finite = bool(np.isfinite(actual).all())
    if judge_labels:
        accuracy = float((actual.argmax(1) == samples.labels).mean())
        before = float((reference.argmax(1) == samples.labels).mean())
        passed = finite and 100 * (before - accuracy) <= max_accuracy_drop + 1e-9
        bound = f"accuracy drop of at most {max_accuracy_drop:g} points"
    else:
        accuracy = before = None  # type: ignore[assignment]
        near = ratio if held is None else held
        passed = finite and (near >= MIN_SQNR_DB or agreement >= MIN_AGREEMENT)
        where = "" if held is None else " at every binary layer with its signs held"
        bound = f"at least {MIN_SQNR_DB:g} dB{where}, or the same top-1 class on at least {MIN_AGREEMENT:.0%}"
    return DataComparison(
        data=samples.name,
        samples=len(samples),
        agreement=agreement,
        sqnr_db=ratio if np.isfinite(ratio) else None,
        accuracy=accuracy,
        reference_accuracy=before,
        bound=bound,
        passed=passed,
        held_sqnr_db=held if held is not None and np.isfinite(held) else None,
    )


def _held_ratio(recorder: Reference, model: onnx.ModelProto, inputs: npt.NDArray[np.float32]) -> float | None:
    """The lowest ratio in decibels with all signs held, on a few samples; None where there are none to hold."""
    fixed = input_spec(model)[1][0]
    few = inputs[: fixed or _HELD_SAMPLES]
    if len(few) < (fixed or 1) or not binarizations(model):
        return None
    run = run_held(model, recorder, few)
    return run.worst_ratio() if run.places else None


def generated_inputs(model: onnx.ModelProto) -> list[npt.NDArray[np.float32]]:
    """Normally distributed inputs, the same on every call: one batch each of 1, 2 and 8, or of the fixed size."""
    _, shape = input_spec(model)
    generator = np.random.default_rng(0)
    sizes = BATCHES if shape[0] is None else (shape[0],)
    rest = tuple(axis or 1 for axis in shape[1:])
    return [generator.standard_normal((size, *rest)).astype(np.float32) for size in sizes]


def require(report: ParityReport, what: str) -> None:
    """Pass, or raise with the layer to blame.

    Raises:
        CheckFailedError: a comparison of the report failed.
    """
    if report.passed:
        return
    raise CheckFailedError(
        f"{what} does not agree with {report.reference}: {_why(report)}; {_who(report.first_difference)}"
    )


def _compare(batch: int, found: Sequence[npt.NDArray[Any]], expected: Sequence[npt.NDArray[Any]]) -> OutputComparison:
    if [value.shape for value in found] != [value.shape for value in expected]:
        raise CheckFailedError(
            f"the file's outputs have the shapes {[value.shape for value in found]}, "
            f"the reference's {[value.shape for value in expected]}"
        )
    largest = max(float(np.abs(value).max(initial=0.0)) for value in expected)
    difference = max(
        float(np.abs(actual.astype(np.float64) - value).max(initial=0.0))
        for actual, value in zip(found, expected, strict=True)
    )
    tolerance = FP32_RELATIVE * largest + FP32_ABSOLUTE
    return OutputComparison(
        batch=batch,
        max_abs_difference=difference if np.isfinite(difference) else None,
        max_abs_reference=largest,
        tolerance=tolerance,
        passed=bool(difference <= tolerance),
    )


def _why(report: ParityReport) -> str:
    for comparison in report.outputs:
        if not comparison.passed:
            return (
                f"at batch {comparison.batch} the outputs differ by {comparison.max_abs_difference}, "
                f"allowed {comparison.tolerance:.3g}"
            )
    for layer in report.binary:
        if not layer.passed:
            return (
                f"at batch {layer.batch} the input of the binary layer {layer.worst_layer} differs by "
                f"{layer.max_abs_difference} with all signs before it held, allowed {layer.tolerance:.3g}"
            )
    failed = next(comparison for comparison in report.data if not comparison.passed)
    drop = "" if failed.accuracy_drop is None else f", accuracy drop {failed.accuracy_drop:.2f} points"
    ratio = "infinite" if failed.sqnr_db is None else f"{failed.sqnr_db:.1f} dB"
    return (
        f"on {failed.data} ({failed.samples} samples) top-1 agreement {failed.agreement:.1%}, logits SQNR {ratio}"
        f"{drop}; the rule is: {failed.bound}"
    )


def _who(layer: LayerDifference | None) -> str:
    return "no single layer is to blame" if layer is None else f"the first layer that differs: {layer}"
