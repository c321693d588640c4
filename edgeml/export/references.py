"""Runs the network that a file should equal, and records what it computes and what it binarizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.export.binarizations import Binarization, Margins, binarizations
from edgeml.export.run_onnx import input_spec, run_onnx, run_values

if TYPE_CHECKING:
    import onnx
    import torch


@dataclass(frozen=True)
class Signs:
    """What a reference binarizes at one place of the file.

    Attributes:
        layer: the reference's layer.
        margins: how far its input lies above the threshold; negative is -1.
    """

    layer: str
    margins: Margins


@dataclass(frozen=True)
class Recorded:
    """What a reference computes for one batch.

    Attributes:
        outputs: the network's, in order.
        signs: one entry a place where the file takes signs; None where the reference does not show such a place.
    """

    outputs: tuple[npt.NDArray[Any], ...]
    signs: tuple[Signs | None, ...]


# Takes inputs, float32 (batch, ...), and the places where the file takes signs, in the file's order.
Reference = Callable[[npt.NDArray[np.float32], Sequence[Binarization]], Recorded]


def torch_reference(module: torch.nn.Module) -> Reference:
    """Runs a torch network in evaluation mode as it was trained, with latent weights; hooks see what is binarized.

    Its binary layers, in the order they run, stand for the file's places, where there are as many of them.
    """
    from torch import Tensor, from_numpy, no_grad

    from edgeml.models.binary.layers import BinaryConv2d, binary_layers

    names = {layer: name or "(network)" for name, layer in binary_layers(module)}

    def run(inputs: npt.NDArray[np.float32], places: Sequence[Binarization]) -> Recorded:
        found: list[Signs] = []

        def record(layer: Any, arguments: tuple[Tensor, ...]) -> None:
            threshold = layer.threshold.detach().double()
            shaped = threshold[:, None, None] if isinstance(layer, BinaryConv2d) else threshold
            found.append(Signs(names[layer], (arguments[0].detach().double() - shaped).numpy()))

        hooks = [layer.register_forward_pre_hook(record) for layer in names]
        try:
            with no_grad():
                result = module(from_numpy(inputs))
        finally:
            for hook in hooks:
                hook.remove()
        outputs = [result] if isinstance(result, Tensor) else list(result)
        signs = found if len(found) == len(places) else [None] * len(places)
        return Recorded(tuple(value.numpy() for value in outputs), tuple(signs))

    return run


def onnx_reference(model: onnx.ModelProto) -> Reference:
    """Runs an ONNX graph.

    A place of the file is one of the graph's where it binarizes a value of the same name. The others, where there are
    as many on both sides, are taken in their order (a folded constant gives what is binarized another name).
    """
    own = binarizations(model)

    def run(inputs: npt.NDArray[np.float32], places: Sequence[Binarization]) -> Recorded:
        name = input_spec(model)[0]
        outputs = run_onnx(model, {name: inputs})
        values = run_values(model, {name: inputs}, [place.value for place in own]) if own and places else {}
        values[name] = inputs
        matched = (None if place is None else own[place] for place in _matched(own, places))
        signs = (None if place is None else Signs(place.layer, place.margins(values[place.value])) for place in matched)
        return Recorded(tuple(outputs.values()), tuple(signs))

    return run


def _matched(own: Sequence[Binarization], places: Sequence[Binarization]) -> list[int | None]:
    by_name = {place.value: index for index, place in enumerate(own)}
    matched = [by_name.get(place.value) for place in places]
    left_own = [index for index in range(len(own)) if index not in matched]
    left = [index for index, found in enumerate(matched) if found is None]
    if len(left_own) == len(left):
        for index, other in zip(left, left_own, strict=True):
            matched[index] = other
    return matched
