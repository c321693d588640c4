"""The packed operators that fusion puts in: what they compute, and that a wrong node is an error, never a crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeml.ops.domain import DOMAIN, VERSION

Open = Callable[..., onnxruntime.InferenceSession]
Arrays = dict[str, npt.NDArray[Any]]

CONV: dict[str, Any] = {"kernel_shape": (3, 3), "channels": 40, "pads": (1, 1, 1, 1)}
NOTHING = np.zeros(0, np.float32)
BITS = np.random.default_rng(0).integers(0, 2**8, (2, 5, 4, 2), np.uint32)


def model_of(
    operator: str, fed: Arrays, constants: Arrays, *, types: tuple[int, ...], **attributes: Any
) -> onnx.ModelProto:
    made = [f"made_{index}" for index in range(len(types))]
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), None)
        for name, value in fed.items()
    ]
    graph = helper.make_graph(
        [helper.make_node(operator, [*fed, *constants], made, domain=DOMAIN, **attributes)],
        "packed",
        given,
        [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(made, types, strict=True)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, VERSION)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def layer(filters: int = 32, channels: int = 40, bits: int = 360) -> Arrays:
    """The inputs of PackedBinaryConvSum beside X, with every optional one left out but the output's threshold."""
    generator = np.random.default_rng(filters)
    weights = generator.integers(0, 256, (filters, -(-bits // 8)), np.uint8)
    ones = np.ones(filters, np.float32)
    names = ("slope", "post_scale", "post_bias", "residual", "shift_in", "residual_slope", "shift_out")
    return {
        "W": weights, "threshold": np.zeros(channels, np.float32), "scale": ones, "bias": 0 * ones,
        **dict.fromkeys(names, NOTHING), "out_threshold": 0 * ones,
    }  # fmt: skip


SUMS = {"types": (TensorProto.FLOAT, TensorProto.UINT32)}
WRONG: dict[str, tuple[str, Arrays, Arrays, dict[str, Any], str]] = {
    "rank": ("PackedBinaryConvSum", {"X": BITS[0]}, layer(), {**SUMS, **CONV}, "it takes"),
    "words": ("PackedBinaryConvSum", {"X": BITS[..., :1]}, layer(), {**SUMS, **CONV}, "it takes"),
    "no pixels": ("PackedBinaryConvSum", {"X": BITS[:, :0]}, layer(), {**SUMS, **CONV}, "it takes"),
    "small image": ("PackedBinaryConvSum", {"X": BITS}, layer(), {**SUMS, **CONV, "pads": (0, 0, 0, 0),
                    "dilations": (3, 3)}, "smaller than the kernel"),
    "filters": ("PackedBinaryConvSum", {"X": BITS}, layer(24), {**SUMS, **CONV}, "multiples of 16"),
    "groups": ("PackedBinaryConvSum", {"X": BITS}, layer(bits=180), {**SUMS, **CONV, "group": 2}, "multiples of 16"),
    "weights": ("PackedBinaryConvSum", {"X": BITS}, layer(bits=100), {**SUMS, **CONV}, "W has shape"),
    "slope": ("PackedBinaryConvSum", {"X": BITS}, layer() | {"slope": np.ones(5, np.float32)}, {**SUMS, **CONV},
              "slope has 5 values; it takes 32"),
    "half": ("PackedBinaryConvSum", {"X": BITS}, layer() | {"post_scale": np.ones(32, np.float32)}, {**SUMS, **CONV},
             "come together"),
    "residual": ("PackedBinaryConvSum", {"X": BITS}, layer() | {"residual": np.zeros((2, 5, 4, 31), np.float32)},
                 {**SUMS, **CONV}, "residual has shape"),
    "padding": ("PackedBinaryConvSum", {"X": BITS}, layer(), {**SUMS, **CONV, "pads": (2**40, 0, 0, 0)}, "pads is"),
    "wide": ("PackedBinaryConvSum", {"X": BITS}, layer(), {**SUMS, **CONV, "pads": (32768,) * 4}, "elements|too large"),
    "signs": ("PackedBinaryConv", {"X": BITS}, {**{name: layer()[name] for name in ("W", "threshold", "scale", "bias")},
              "out_threshold": NOTHING}, {"types": (TensorProto.UINT32,), **CONV}, "no elements"),
    "pack rank": ("PackSigns", {"X": np.zeros((3, 4), np.float32)}, {"t": np.zeros(4, np.float32)},
                  {"types": (TensorProto.UINT32,)}, "4 axes"),
    "pack threshold": ("PackSigns", {"X": np.zeros((1, 3, 4, 4), np.float32)}, {"t": np.zeros(4, np.float32)},
                       {"types": (TensorProto.UINT32,)}, "threshold has shape"),
    "pool": ("PackedMaxPool", {"X": BITS}, {}, {"types": (TensorProto.UINT32,), "kernel_shape": (6, 2)}, "window"),
    "pool rank": ("PackedMaxPool", {"X": BITS[0]}, {}, {"types": (TensorProto.UINT32,), "kernel_shape": (2, 2)},
                  "window"),
    "stride": ("PackedMaxPool", {"X": BITS}, {}, {"types": (TensorProto.UINT32,), "kernel_shape": (2, 2),
               "strides": (0, 1)}, "allowed are 1 to"),
    "mean": ("AveragePoolChannelsLast", {"X": np.zeros((1, 3, 3, 4), np.float32)}, {}, {"types": (TensorProto.FLOAT,),
             "kernel_shape": (4, 1)}, "window"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_node_is_an_error(name: str, open_natively: Open) -> None:
    operator, fed, constants, options, told = WRONG[name]
    model = model_of(operator, fed, constants, **options)
    with pytest.raises(Exception, match=told):
        open_natively(model).run(None, fed)


@pytest.mark.parametrize("channels_last", [0, 1])
@pytest.mark.parametrize("channels", [1, 31, 32, 33, 70])
def test_signs_are_packed_with_channel_c_in_bit_c(channels: int, channels_last: int, open_natively: Open) -> None:
    generator = np.random.default_rng(channels)
    x = generator.integers(-2, 3, (2, 5, 7, channels)).astype(np.float32)
    x[0, 0, 0, 0] = np.nan  # counts as positive
    threshold = generator.integers(-1, 2, channels).astype(np.float32)
    negative = np.zeros((2, 5, 7, -(-channels // 32) * 32), np.uint8)
    negative[..., :channels] = x < threshold
    expected = np.packbits(negative, axis=-1, bitorder="little").view("<u4")
    fed = {"X": x if channels_last else np.ascontiguousarray(x.transpose(0, 3, 1, 2))}
    model = model_of("PackSigns", fed, {"t": threshold}, types=(TensorProto.UINT32,), channels_last=channels_last)
    np.testing.assert_array_equal(open_natively(model, threads=2).run(None, fed)[0], expected)


@pytest.mark.parametrize(("kernel", "strides"), [((2, 2), (2, 2)), ((3, 1), (1, 2)), ((5, 4), (1, 1))])
def test_pooling_bits_keeps_a_negative_sign_where_all_are(
    kernel: tuple[int, int], strides: tuple[int, int], open_natively: Open
) -> None:
    model = model_of(
        "PackedMaxPool", {"X": BITS}, {}, types=(TensorProto.UINT32,), kernel_shape=kernel, strides=strides
    )
    windows = np.lib.stride_tricks.sliding_window_view(BITS, kernel, axis=(1, 2))[:, :: strides[0], :: strides[1]]
    expected = np.bitwise_and.reduce(windows.reshape(*windows.shape[:4], -1), axis=-1)
    np.testing.assert_array_equal(open_natively(model).run(None, {"X": BITS})[0], expected)
