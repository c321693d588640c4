"""Tells torch's exporter to write the packed binary layers as edgeml's own ONNX operators, one node each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeml.ops.domain import DOMAIN, VERSION
from edgeml.ops.registry import operators


def binary_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """The operators of torch with what the exporter calls for them: its `custom_translation_table`."""
    from onnxscript import values

    from edgeml.models.binary import torch_ops

    known, domain = operators(), values.Opset(DOMAIN, VERSION)
    conv = values.Op(domain, "BinaryConv", known["BinaryConv"].schema())
    dense = values.Op(domain, "BinaryDense", known["BinaryDense"].schema())

    # The exporter passes arguments by position, in the order of the torch operator's.
    def binary_conv(
        x: Any,
        weight: Any,
        threshold: Any,
        scale: Any,
        bias: Any,
        kernel_shape: Any,
        channels: Any,
        strides: Any,
        pads: Any,
        dilations: Any,
        group: Any,
    ) -> Any:
        return conv(
            x, weight, threshold, scale, bias, kernel_shape=kernel_shape, channels=channels, strides=strides,
            pads=pads, dilations=dilations, group=group,
        )  # fmt: skip

    def binary_dense(x: Any, weight: Any, threshold: Any, scale: Any, bias: Any, features: Any) -> Any:
        return dense(x, weight, threshold, scale, bias, features=features)

    return {
        _overload(torch_ops.binary_conv): binary_conv,
        _overload(torch_ops.binary_dense): binary_dense,
    }


def _overload(operator: Any) -> Callable[..., Any]:
    found: Callable[..., Any] = operator._opoverload  # the callable that stands in the traced graph
    return found
