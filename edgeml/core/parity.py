"""What a comparison of two forms of one network found: figures, verdict, and the first layer that differs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["outputs", "data"]


@dataclass(frozen=True, kw_only=True)
class TensorStatistics:
    """What one tensor looks like; values that are not finite are counted and left out of the rest.

    Attributes:
        mean: mean.
        std: standard deviation.
        min: smallest value.
        max: largest value.
        not_finite: how many values are NaN or infinite.
        shape: the tensor's shape.
    """

    mean: float
    std: float
    min: float
    max: float
    not_finite: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> TensorStatistics:
        """Statistics of an array of any shape."""
        flat = np.asarray(values, dtype=np.float64).ravel()
        finite = flat[np.isfinite(flat)]
        figures = (finite.mean(), finite.std(), finite.min(), finite.max()) if finite.size else (0.0, 0.0, 0.0, 0.0)
        mean, std, low, high = (float(figure) for figure in figures)
        return cls(
            mean=mean, std=std, min=low, max=high, not_finite=int(flat.size - finite.size), shape=tuple(values.shape)
        )

    def __str__(self) -> str:
        bad = f" not finite {self.not_finite}" if self.not_finite else ""
        return f"mean {self.mean:.4g} std {self.std:.4g} min {self.min:.4g} max {self.max:.4g}{bad}"


@dataclass(frozen=True, kw_only=True)
class LayerDifference:
    """The first layer whose output differs although what goes into it agrees.

    Attributes:
        layer: where it is in the reference: the torch module's path, or the reference's ONNX node.
        layer_type: the torch module's class or the reference's operator type.
        node: the ONNX node's name in the file that was checked.
        op_type: that node's operator type.
        value: the ONNX value's name.
        reference: statistics of the reference's value.
        actual: statistics of the file's value.
        max_abs_difference: largest absolute difference of the two; None where a value is not finite.
        where: index of it, one entry an axis.
        sqnr_db: ratio of the reference's power to the difference's in decibels; None where it is infinite.
    """

    layer: str
    layer_type: str
    node: str
    op_type: str
    value: str
    reference: TensorStatistics
    actual: TensorStatistics
    max_abs_difference: float | None
    where: tuple[int, ...]
    sqnr_db: float | None

    def __str__(self) -> str:
        difference = "not finite" if self.max_abs_difference is None else f"{self.max_abs_difference:.4g}"
        return (
            f"{self.layer} ({self.layer_type}), ONNX node {self.node} ({self.op_type}), value {self.value}: "
            f"reference {self.reference}; file {self.actual}; largest difference {difference} at {list(self.where)}"
        )


@dataclass(frozen=True, kw_only=True)
class OutputComparison:
    """Outputs of file and reference on one batch of generated inputs.

    Attributes:
        batch: number of samples.
        max_abs_difference: largest absolute difference; None where a value is not finite.
        max_abs_reference: largest absolute value of the reference.
        tolerance: the largest difference that passes.
        passed: whether it does.
    """

    batch: int
    max_abs_difference: float | None
    max_abs_reference: float
    tolerance: float
    passed: bool


@dataclass(frozen=True, kw_only=True)
class BinaryComparison:
    """What a file computes before each binarization, on one batch of generated inputs, with all signs held.

    The reference's signs are given to every binary layer of the file, since sign() turns a difference in the last
    digit into another network. The figures of the network with nothing held stand beside it; they are not judged.

    Attributes:
        batch: number of samples.
        layers: how many binarizations were held.
        worst_layer: the binary layer whose input differs most, for its tolerance.
        max_abs_difference: largest absolute difference there; None where a value is not finite.
        tolerance: the largest difference that passes there.
        flipped_signs: share of the binary layers' input signs that differ from the reference's with nothing held.
        agreement: share of samples with the same top-1 class with nothing held; None where the outputs are no logits.
        passed: whether every layer's input is within its tolerance.
    """

    batch: int
    layers: int
    worst_layer: str
    max_abs_difference: float | None
    tolerance: float
    flipped_signs: float
    agreement: float | None
    passed: bool


@dataclass(frozen=True, kw_only=True)
class DataComparison:
    """Logits of file and reference on real samples.

    Attributes:
        data: data set and split.
        samples: how many samples.
        agreement: share of samples with the same top-1 class.
        sqnr_db: power of the reference's logits over that of the difference, in decibels; None where infinite.
        accuracy: top-1 accuracy of the file, a fraction; None where the labels are not judged.
        reference_accuracy: that of the reference.
        bound: the rule that was applied, in words.
        passed: whether it holds.
        held_sqnr_db: the lowest such ratio of the logits and of the binary layers' inputs, with all signs held; None
            where infinite, or where the network has no binary layers.
    """

    data: str
    samples: int
    agreement: float
    sqnr_db: float | None
    accuracy: float | None
    reference_accuracy: float | None
    bound: str
    passed: bool
    held_sqnr_db: float | None = None

    @property
    def accuracy_drop(self) -> float | None:
        """Points of accuracy lost against the reference (positive is worse)."""
        if self.accuracy is None or self.reference_accuracy is None:
            return None
        return 100 * (self.reference_accuracy - self.accuracy)


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """Everything one comparison found.

    Attributes:
        reference: what the file was compared with.
        outputs: one entry a batch size of generated inputs; of a binary network with its signs held.
        data: one entry a data set.
        first_difference: the layer to blame, where the comparison failed and it could be found.
        binary: of a binary network, one entry a batch size: what its layers binarize.
    """

    reference: str
    outputs: tuple[OutputComparison, ...] = ()
    data: tuple[DataComparison, ...] = ()
    first_difference: LayerDifference | None = None
    binary: tuple[BinaryComparison, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every comparison passed."""
        return all(all(entry.passed for entry in entries) for entries in (self.outputs, self.binary, self.data))

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"passed": self.passed, **asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ParityReport:
        """Inverse of `to_json`."""
        layer = value["first_difference"]
        return cls(
            reference=value["reference"],
            outputs=tuple(OutputComparison(**entry) for entry in value["outputs"]),
            data=tuple(DataComparison(**entry) for entry in value["data"]),
            first_difference=None if layer is None else _layer(layer),
            binary=tuple(BinaryComparison(**entry) for entry in value.get("binary", ())),
        )


def _layer(value: dict[str, Any]) -> LayerDifference:
    statistics = {key: _statistics(value[key]) for key in ("reference", "actual")}
    return LayerDifference(**(value | statistics | {"where": tuple(value["where"])}))


def _statistics(value: dict[str, Any]) -> TensorStatistics:
    return TensorStatistics(**(value | {"shape": tuple(value["shape"])}))


def sqnr_db(reference: npt.NDArray[Any], actual: npt.NDArray[Any]) -> float:
    """Power of `reference` over that of the difference, in decibels; inf where equal, -inf where not finite."""
    expected, found = np.asarray(reference, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if not np.isfinite(found).all():
        return float("-inf")
    noise, signal = float(np.square(found - expected).sum()), float(np.square(expected).sum())
    if noise == 0.0:
        return float("inf")
    return 10 * float(np.log10(signal / noise)) if signal > 0.0 else float("-inf")
