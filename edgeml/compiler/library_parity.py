"""The gate after every compilation: the library must compute what onnxruntime computes from the ONNX file."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.core.artifact import Artifact
from edgeml.core.device import LOCAL, Device
from edgeml.core.errors import CheckFailedError
from edgeml.core.parity import OutputComparison, ParityReport
from edgeml.core.session import Session, SessionOptions
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.process_session import ProcessSession
from edgeml.runtime.registry import get_runtime
from edgeml.runtime.threads import available_threads

BATCHES = (1, 3)
# Largest difference allowed of float32 results, by the largest magnitude of the output. The absolute part only spares
# outputs that are all but zero.
FP32_RELATIVE, FP32_ABSOLUTE = 1e-5, 1e-9
# A value that lies between two quantization steps may be rounded to either, and one on a binary layer's threshold may
# take either sign; the layers after it spread that.
# How far they do differs from model to model, so it is measured on onnxruntime itself: how much its own result moves
# with the order of its arithmetic, or with the last bits of the input. A library may be off by twice that.
SPREAD_FACTOR = 2.0
_LAST_BITS = (1 + 2.0**-20, 1 - 2.0**-20)
_OTHER_AXIS = 8
_TIMEOUT_S = 300.0

Arrays = dict[str, npt.NDArray[Any]]


def compare_with_onnxruntime(source: Artifact, library: Artifact, device: Device) -> ParityReport:
    """Outputs of `library` on `device` against those of onnxruntime with its optimizations off, on seeded inputs.

    Batch 1 and 3 are compared where the batch is dynamic. Float32 outputs may differ by 1e-5 of their largest
    magnitude; an output that is quantized last may differ by one of its steps, and those of a quantized model or of a
    binary network by twice what onnxruntime's own result moves when the last bits of the input do, or its optimizations
    are on.

    Raises:
        CheckFailedError: an output has another shape or type.
        MissingError: the device is not there.
        EdgeMLError: a model cannot be loaded or run.
    """
    steps, jumps = output_steps(source), source.precision == "int8" or _has_binary_layers(source)
    sizes = BATCHES if any(_is_dynamic(spec) for spec in source.inputs) else (_fixed_batch(source),)
    found, runtime = [], get_runtime("onnxruntime")
    with (
        closing(runtime.open(source, LOCAL, SessionOptions(optimize=False))) as reference,
        closing(_open(library, device)) as session,
    ):
        for size in sizes:
            feeds = seeded_feeds(source.inputs, size)
            expected = reference.run(feeds)
            spread: dict[str, float] = {}
            if jumps:
                others = [reference.run(_scaled(feeds, factor)) for factor in _LAST_BITS]
                with closing(runtime.open(source, LOCAL, SessionOptions())) as optimized:
                    others.append(optimized.run(feeds))
                spread = {name: max(_difference(other[name], expected[name]) for other in others) for name in expected}
            found.append(_compare(expected, session.run(feeds), size, steps, spread))
    return ParityReport(reference=f"onnxruntime, optimizations off, {device}", outputs=tuple(found))


def _open(library: Artifact, device: Device) -> Session:
    """A Session of the library outside this process, which a fault in fresh code must not end."""
    if device != LOCAL:
        return get_runtime("tvm").open(library, device, SessionOptions())
    return ProcessSession(
        library,
        (sys.executable, "-m", "edgeml.runtime.session_server"),
        device=device,
        opened_on=LOCAL,
        options=SessionOptions(threads=available_threads()),
        environment={"PYTHONSAFEPATH": "1"},
        open_timeout_s=_TIMEOUT_S,
        run_timeout_s=_TIMEOUT_S,
    )


def seeded_feeds(inputs: tuple[TensorSpec, ...], batch: int) -> Arrays:
    """One batch of inputs, the same on every call: normal numbers, whole numbers of 0 and 1, truth values."""
    generator = np.random.default_rng(batch)
    feeds: Arrays = {}
    for spec in inputs:
        shape = tuple(
            axis if isinstance(axis, int) else batch if index == 0 else _OTHER_AXIS
            for index, axis in enumerate(spec.shape)
        )
        values = generator.standard_normal(shape) if spec.dtype.startswith("float") else generator.integers(0, 2, shape)
        feeds[spec.name] = values.astype(spec.dtype)
    return feeds


def output_steps(source: Artifact) -> dict[str, float]:
    """Size of one quantization step of each output that is quantized last, by its name."""
    import onnx

    graph = onnx.load(source.path).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    found: dict[str, float] = {}
    for value in graph.output:
        node = producers.get(value.name)
        if node is not None and node.op_type == "DequantizeLinear" and node.input[1] in constants:
            found[value.name] = float(np.max(onnx.numpy_helper.to_array(constants[node.input[1]])))
    return found


def require(report: ParityReport, library: Artifact) -> None:
    """Pass, or raise with the figures.

    Raises:
        CheckFailedError: a comparison failed.
    """
    failed = next((entry for entry in report.outputs if not entry.passed), None)
    if failed is None:
        return
    difference = "is not finite" if failed.max_abs_difference is None else f"is {failed.max_abs_difference:.3g}"
    raise CheckFailedError(
        f"the library for {library.target} does not compute what {library.model} computes: at batch {failed.batch} the "
        f"largest difference from {report.reference} {difference}, allowed {failed.tolerance:.3g}; nothing was written"
    )


def _scaled(feeds: Arrays, factor: float) -> Arrays:
    """The feeds, real numbers moved in their last bits."""
    return {
        name: (values * factor).astype(values.dtype) if values.dtype.kind == "f" else values
        for name, values in feeds.items()
    }


def _compare(
    expected: Arrays, found: Arrays, batch: int, steps: dict[str, float], spread: dict[str, float]
) -> OutputComparison:
    """The output that comes nearest to its tolerance, or exceeds it most."""
    worst: OutputComparison | None = None
    worst_share = -1.0
    for name, wanted in expected.items():
        actual = found[name]
        if actual.shape != wanted.shape or actual.dtype != wanted.dtype:
            raise CheckFailedError(
                f"the library's output {name} is {actual.dtype}{list(actual.shape)}; onnxruntime's is "
                f"{wanted.dtype}{list(wanted.shape)}; nothing was written"
            )
        largest = float(np.abs(wanted.astype(np.float64)).max(initial=0.0, where=np.isfinite(wanted)))
        difference = _difference(actual, wanted)
        if name in steps:
            tolerance = steps[name] * (1 + 1e-4)
        elif wanted.dtype.kind != "f":
            tolerance = 0.0
        else:
            tolerance = FP32_RELATIVE * largest + FP32_ABSOLUTE
        if wanted.dtype.kind == "f":
            tolerance = max(tolerance, SPREAD_FACTOR * spread.get(name, 0.0))
        passed = bool(difference <= tolerance)
        share = float("inf") if not passed else difference / tolerance if tolerance else 0.0
        if worst is None or share > worst_share:
            worst_share = share
            worst = OutputComparison(
                batch=batch,
                max_abs_difference=difference if np.isfinite(difference) else None,
                max_abs_reference=largest,
                tolerance=tolerance,
                passed=passed,
            )
    assert worst is not None
    return worst


def _difference(actual: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float:
    """The largest absolute difference; infinite where one is not finite and the other is not the same."""
    one, two = actual.astype(np.float64), wanted.astype(np.float64)
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    with np.errstate(invalid="ignore"):
        differences = np.where(same, 0.0, np.abs(one - two))
    return float(np.nan_to_num(differences, nan=np.inf, posinf=np.inf).max(initial=0.0))


def _has_binary_layers(source: Artifact) -> bool:
    import onnx

    from edgeml.ops.attach import called_operators

    return bool(called_operators(onnx.load(source.path, load_external_data=False)))


def _is_dynamic(spec: TensorSpec) -> bool:
    return bool(spec.shape) and isinstance(spec.shape[0], str)


def _fixed_batch(source: Artifact) -> int:
    first = source.inputs[0].shape[0] if source.inputs and source.inputs[0].shape else 1
    return first if isinstance(first, int) else 1
