"""Compares two forms of a binary network with their signs held, and says how they differ with nothing held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.core.parity import BinaryComparison, LayerDifference, TensorStatistics, sqnr_db
from edgeml.export.binarizations import Binarization, binarizations, held_feeds, hold, margins_of
from edgeml.export.first_difference import first_loss
from edgeml.export.references import Recorded, Reference, Signs, onnx_reference
from edgeml.export.run_onnx import Values, input_spec, run_onnx

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class HeldRun:
    """One batch through a file whose binary layers read the reference's signs.

    Attributes:
        model: the file with its signs held; the file itself where there are none to hold.
        feeds: what it was fed.
        places: where signs were held.
        signs: the reference's there.
        outputs: what the network computed, in order.
        values: what would have been binarized, by name; a place at the network's own input has none.
        reference: what the reference computed.
    """

    model: onnx.ModelProto
    feeds: Values
    places: tuple[Binarization, ...]
    signs: tuple[Signs, ...]
    outputs: tuple[npt.NDArray[Any], ...]
    values: Values
    reference: Recorded

    def differences(self, relative: float, absolute: float) -> list[tuple[int, float, float]]:
        """(place, largest absolute difference, tolerance) for each place whose value the network computes."""
        compared = []
        for number, (place, signs) in enumerate(zip(self.places, self.signs, strict=True)):
            if place.value in self.values:
                difference = float(np.abs(self._margins(place) - signs.margins).max(initial=0.0))
                allowed = relative * float(np.abs(signs.margins).max(initial=0.0)) + absolute
                compared.append((number, difference, allowed))
        return compared

    def first_beyond(self, relative: float, absolute: float) -> LayerDifference | None:
        """The first binary layer whose input differs: what lies between it and the binary layers before is to blame."""
        for number, difference, allowed in self.differences(relative, absolute):
            if not difference <= allowed:
                return self._described(number, difference)
        return None

    def worst_ratio(self) -> float:
        """The lowest signal-to-noise ratio in decibels of the outputs and of what would have been binarized."""
        pairs = list(zip(self.reference.outputs, self.outputs, strict=True))
        for place, signs in zip(self.places, self.signs, strict=True):
            if place.value in self.values:
                pairs.append((signs.margins, self._margins(place)))
        return min(sqnr_db(expected, actual) for expected, actual in pairs)

    def _margins(self, place: Binarization) -> npt.NDArray[np.float64]:
        return place.margins(self.values[place.value])

    def _described(self, number: int, difference: float) -> LayerDifference:
        place, signs = self.places[number], self.signs[number]
        found = self._margins(place)
        distance = np.nan_to_num(np.abs(found - signs.margins), nan=np.inf)
        ratio = sqnr_db(signs.margins, found)
        return LayerDifference(
            layer=f"what {signs.layer} reads",
            layer_type="binarized input",
            node=place.node,
            op_type=place.op_type,
            value=place.value,
            reference=TensorStatistics.of(signs.margins),
            actual=TensorStatistics.of(found),
            max_abs_difference=difference if np.isfinite(difference) else None,
            where=tuple(int(index) for index in np.unravel_index(int(distance.argmax()), distance.shape)),
            sqnr_db=ratio if np.isfinite(ratio) else None,
        )


def run_held(model: onnx.ModelProto, reference: Reference, inputs: npt.NDArray[np.float32]) -> HeldRun:
    """One batch through the reference, and through the file with those of its signs held that the reference shows."""
    found = binarizations(model)
    recorded = reference(inputs, found)
    pairs = [(place, signs) for place, signs in zip(found, recorded.signs, strict=True) if signs is not None]
    places, known = tuple(place for place, _ in pairs), tuple(signs for _, signs in pairs)
    held = hold(model, places) if places else model
    feeds = held_feeds(model, places, inputs, [signs.margins for signs in known])
    values = run_onnx(held, feeds)
    outputs = tuple(values[value.name] for value in model.graph.output)
    return HeldRun(held, feeds, places, known, outputs, values, recorded)


def loss_with_signs_held(
    reference: onnx.ModelProto, model: onnx.ModelProto, inputs: npt.NDArray[np.float32]
) -> LayerDifference | None:
    """`first_loss` of a low-precision graph whose binary layers read the signs of the float32 graph."""
    run = run_held(model, onnx_reference(reference), inputs)
    return first_loss(reference, run.model, inputs, feeds=run.feeds)


def compare_signs(
    model: onnx.ModelProto, inputs: npt.NDArray[np.float32], run: HeldRun, *, relative: float, absolute: float
) -> BinaryComparison:
    """What the binary layers read with all signs held, and how far the network goes astray with none held.

    Args:
        model: the file.
        inputs: what `run` was made with.
        run: holds signs at one place or more.
        relative: tolerance relative to the largest distance from the threshold.
        absolute: tolerance added to it.
    """
    compared = run.differences(relative, absolute)
    number, difference, tolerance = max(compared, key=_excess, default=(0, 0.0, absolute))
    free = run_onnx(model, {input_spec(model)[0]: inputs})
    flipped = [
        (signs.margins < 0) != (margins < 0)
        for signs, margins in zip(run.signs, margins_of(model, run.places, inputs), strict=True)
    ]
    return BinaryComparison(
        batch=len(inputs),
        layers=len(run.places),
        worst_layer=run.signs[number].layer,
        max_abs_difference=difference if np.isfinite(difference) else None,
        tolerance=tolerance,
        flipped_signs=sum(int(each.sum()) for each in flipped) / max(1, sum(each.size for each in flipped)),
        agreement=_agreement(run.reference.outputs[0], next(iter(free.values()))),
        passed=all(entry[1] <= entry[2] for entry in compared),
    )


def _excess(entry: tuple[int, float, float]) -> float:
    _, difference, tolerance = entry
    return difference / tolerance if np.isfinite(difference) else float("inf")


def _agreement(expected: npt.NDArray[Any], found: npt.NDArray[Any]) -> float | None:
    if expected.ndim != 2 or found.shape != expected.shape:
        return None
    return float((expected.argmax(1) == found.argmax(1)).mean())
