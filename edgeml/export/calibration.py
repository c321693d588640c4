"""Measures the range of every value inside a graph on calibration samples, by several methods."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError
from edgeml.core.samples import Samples

if TYPE_CHECKING:
    import onnx

METHODS = ("minmax", "percentile", "entropy")
_PERCENTILE = 99.99
_LIMIT = 256
_MIN_SAMPLES = 4
_BATCH = 8


def split_calibration(samples: Samples) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Inputs to take ranges from, and inputs held out to judge them: every fourth of at most 256 samples.

    Raises:
        UsageError: the samples are a test split, or fewer than four.
    """
    if samples.name.rpartition(":")[2] == "test":
        raise UsageError(
            f"calibration data is {samples.name}: the test split is for judging the result; give a training split"
        )
    if len(samples) < _MIN_SAMPLES:
        raise UsageError(
            f"calibration data {samples.name} has {len(samples)} samples; at least {_MIN_SAMPLES} are needed"
        )
    inputs = samples.inputs[:_LIMIT]
    held_out = np.arange(len(inputs)) % 4 == 3
    return inputs[~held_out], inputs[held_out]


def value_ranges(model: onnx.ModelProto, inputs: npt.NDArray[np.float32], method: str, op_types: Sequence[str]) -> Any:
    """Ranges of the values around the operators `op_types`: onnxruntime's TensorsData.

    Args:
        model: the float32 graph.
        inputs: float32 (sample, channels, height, width).
        method: one of `METHODS`: the extremes, the range that holds 99.99% of the values, or the range whose
            quantized histogram is nearest in Kullback-Leibler divergence.
        op_types: operators whose inputs and outputs are measured.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    kinds = {
        "minmax": (CalibrationMethod.MinMax, {"max_intermediate_outputs": _BATCH}),
        "percentile": (CalibrationMethod.Percentile, {"percentile": _PERCENTILE, "symmetric": False}),
        "entropy": (CalibrationMethod.Entropy, {}),
    }
    kind, options = kinds[method]
    name = model.graph.input[0].name
    fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    size = fixed or _BATCH
    with tempfile.TemporaryDirectory(prefix="edgeml-") as directory:
        path = Path(directory) / "model.onnx"
        onnx.save(model, path)
        calibrator = create_calibrator(
            path,
            list(op_types),
            augmented_model_path=str(Path(directory) / "augmented.onnx"),
            calibrate_method=kind,
            extra_options=options,
        )
        # A histogram calibrator keeps every value of one collection in memory, so batches are handed over singly.
        for start in range(0, len(inputs) - size + 1, size):
            calibrator.collect_data(_Reader(iter([{name: inputs[start : start + size]}])))
        return calibrator.compute_data()


class _Reader:
    """The reader that onnxruntime's calibrators ask for."""

    def __init__(self, feeds: Iterator[dict[str, npt.NDArray[np.float32]]]) -> None:
        self._feeds = feeds

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        """The next batch, None at the end."""
        return next(self._feeds, None)

    def __iter__(self) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
        return self._feeds
