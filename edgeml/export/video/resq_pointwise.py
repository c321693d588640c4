"""Writes functions of each value alone in standard ONNX operators, and holds each against the function itself.

A step knows its function by torch's word and as a callable, whose settings (a slope, a bound) do not show. They are
read off the function's values, and what was written is compared with the function on a grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from edgeml.core.errors import UsageError
from edgeml.export.video.onnx_writer import OnnxWriter
from edgeml.models.video.graph import Pointwise

_FAR = 1e6
_GRID = np.concatenate([np.linspace(-12, 12, 4801), [-1e3, 1e3]]).astype(np.float32)
_TOLERANCE = 1e-6

# Operator type; inputs: _X, what the part before made (_LAST), or constants; attributes.
Part = tuple[str, Sequence[str | float], dict[str, Any]]
_X, _LAST = "_x", "_last"


def write_pointwise(writer: OnnxWriter, step: Pointwise, x: str, y: str) -> None:
    """Append nodes that make the value `y` of the value `x`.

    Raises:
        UsageError: no standard operators compute the function.
    """
    for parts in _candidates(step):
        if _computes(parts, step):
            _write(writer, parts, x, y)
            return
    raise UsageError(
        f"{step.name}: {step.operator} has no form in standard ONNX operators here; use ReLU, ReLU6, Hardswish, SiLU, "
        "GELU, sigmoid, tanh, leaky ReLU, ELU, softplus or Mish"
    )


def _candidates(step: Pointwise) -> Iterator[Sequence[Part]]:
    word = step.operator.lower().replace("_", "")
    forms = _forms(lambda at: _value(step, at))
    if word in forms:
        yield from forms[word]()


def _forms(f: Callable[[float], float]) -> dict[str, Callable[[], list[Sequence[Part]]]]:
    """Ways to write each function, by its word in lower case; `f` gives its value at a place."""

    def plain(operator: str, **attributes: Any) -> Callable[[], list[Sequence[Part]]]:
        return lambda: [[(operator, [_X], attributes)]]

    def clip() -> list[Sequence[Part]]:
        return [[("Clip", [_X, f(-_FAR), f(_FAR)], {})]]

    def leaky() -> list[Sequence[Part]]:
        return [[("LeakyRelu", [_X], {"alpha": -f(-1.0)})]]

    def gelu() -> list[Sequence[Part]]:
        exact: Sequence[Part] = [
            ("Div", [_X, 2**0.5], {}), ("Erf", [_LAST], {}), ("Add", [_LAST, 1.0], {}), ("Mul", [_LAST, _X], {}),
            ("Mul", [_LAST, 0.5], {}),
        ]  # fmt: skip
        cube: Sequence[Part] = [
            ("Mul", [_X, _X], {}), ("Mul", [_LAST, 0.044715], {}), ("Add", [_LAST, 1.0], {}), ("Mul", [_LAST, _X], {}),
            ("Mul", [_LAST, (2 / np.pi) ** 0.5], {}), ("Tanh", [_LAST], {}), ("Add", [_LAST, 1.0], {}),
            ("Mul", [_LAST, _X], {}), ("Mul", [_LAST, 0.5], {}),
        ]  # fmt: skip
        return [exact, cube]

    return {
        "relu": plain("Relu"),
        **dict.fromkeys(("relu6", "hardtanh", "clamp", "clip", "clampmin", "clampmax"), clip),
        **dict.fromkeys(("leakyrelu", "prelu"), leaky),
        "sigmoid": plain("Sigmoid"),
        "tanh": plain("Tanh"),
        "hardsigmoid": plain("HardSigmoid", alpha=1 / 6, beta=0.5),
        "hardswish": plain("HardSwish"),
        "silu": lambda: [[("Sigmoid", [_X], {}), ("Mul", [_LAST, _X], {})]],
        "elu": lambda: [[("Elu", [_X], {"alpha": -f(-_FAR)})]],
        "celu": lambda: [[("Celu", [_X], {"alpha": -f(-_FAR)})]],
        "selu": plain("Selu"),
        "gelu": gelu,
        "softplus": plain("Softplus"),
        "softsign": plain("Softsign"),
        "mish": plain("Mish"),
        "logsigmoid": lambda: [[("Neg", [_X], {}), ("Softplus", [_LAST], {}), ("Neg", [_LAST], {})]],
        "abs": plain("Abs"),
        "neg": plain("Neg"),
    }


def _value(step: Pointwise, at: float) -> float:
    import torch

    with torch.no_grad():
        return float(step.function(torch.full((1, 1, 1, 1), at)))


def _write(writer: OnnxWriter, parts: Sequence[Part], x: str, y: str) -> None:
    last = x
    for place, (operator, inputs, attributes) in enumerate(parts):
        output = y if place == len(parts) - 1 else f"{y}/{place}"
        names = [
            {_X: x, _LAST: last}[entry]
            if isinstance(entry, str)
            else writer.constant(np.array(entry, np.float32), f"{output}/constant_{index}")
            for index, entry in enumerate(inputs)
        ]
        last = writer.add(operator, names, output, **attributes)


def _computes(parts: Sequence[Part], step: Pointwise) -> bool:
    """Whether the parts give the function's values on the grid, by onnxruntime."""
    import torch
    from onnx import TensorProto, helper

    from edgeml.export.run_onnx import run_onnx

    writer, grid = OnnxWriter(), _GRID.reshape(1, 1, 1, -1)
    _write(writer, parts, "x", "y")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, grid.shape) for name in ("x", "y")]
    found = run_onnx(writer.model("function", ends[:1], ends[1:]), {"x": grid})["y"]
    with torch.no_grad():
        expected = step.function(torch.from_numpy(grid.copy())).numpy()
    # onnxruntime's sigmoid does not fall below 1e-8, which a large argument multiplies.
    return bool((np.abs(found - expected) <= _TOLERANCE * np.maximum(1, np.abs(grid))).all())
