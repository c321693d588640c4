"""Every kind of convolution, with everything that may follow it, computes what onnxruntime does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.compiler.lowering.net import TOLERANCE, Array, Compiled, Net, Value, by_onnxruntime, difference, feeds_of

pytestmark = pytest.mark.tvm


@dataclass(frozen=True)
class Kind:
    """A convolution: what it reads, its weights and attributes, and the kernel that should compute it."""

    image: tuple[int, int, int]
    weights: tuple[int, int, int, int]
    kernel: str
    attributes: tuple[tuple[str, Any], ...] = ()


def kind(image: tuple[int, int, int], weights: tuple[int, int, int, int], kernel: str, **attributes: Any) -> Kind:
    return Kind(image, weights, kernel, tuple(attributes.items()))


KINDS = {
    "1x1": kind((5, 9, 9), (7, 5, 1, 1), "pointwise"),
    "1x1 of whole vectors": kind((32, 5, 5), (64, 32, 1, 1), "pointwise"),
    "1x1 with stride": kind((20, 9, 9), (24, 20, 1, 1), "convolution", strides=[2, 2]),
    "1x1 with padding": kind((20, 4, 5), (9, 20, 1, 1), "convolution", pads=[1, 0, 1, 2]),
    "1x1 in groups": kind((24, 5, 5), (36, 8, 1, 1), "convolution", group=3),
    "1x1 of one pixel": kind((21, 1, 1), (13, 21, 1, 1), "dense"),
    "depthwise": kind((19, 9, 9), (19, 1, 3, 3), "depthwise", group=19, pads=[1] * 4),
    "depthwise with stride": kind((33, 11, 12), (33, 1, 5, 5), "depthwise", group=33, pads=[2] * 4, strides=[2, 2]),
    "depthwise with uneven padding": kind(
        (16, 8, 9), (16, 1, 3, 3), "depthwise", group=16, pads=[0, 2, 1, 0], strides=[2, 1]
    ),
    "depthwise with dilation": kind(
        (18, 12, 13), (18, 1, 3, 3), "depthwise", group=18, pads=[2, 3, 1, 0], dilations=[2, 3]
    ),
    "depthwise of a wide image": kind((17, 3, 31), (17, 1, 3, 3), "depthwise", group=17, pads=[1] * 4),
    "depthwise larger than its image": kind((16, 3, 2), (16, 1, 7, 7), "depthwise", group=16, pads=[3] * 4),
    "depth multiplier": kind((6, 8, 8), (18, 1, 3, 3), "convolution", group=6, pads=[1] * 4),
    "depth multiplier of whole vectors": kind((4, 6, 6), (64, 1, 3, 3), "convolution", group=4, pads=[1] * 4),
    "groups that fill no vector": kind((12, 7, 7), (20, 3, 3, 3), "convolution", group=4, pads=[1] * 4),
    "groups that fill vectors": kind((32, 6, 6), (32, 16, 3, 3), "convolution", group=2, pads=[1] * 4),
    "3x3": kind((17, 8, 8), (19, 17, 3, 3), "convolution", pads=[1] * 4),
    "3x3 without padding": kind((16, 8, 7), (16, 16, 3, 3), "convolution"),
    "3x3 with stride and uneven padding": kind(
        (10, 9, 10), (11, 10, 3, 3), "convolution", pads=[0, 1, 2, 1], strides=[2, 2]
    ),
    "3x3 with dilation": kind((9, 13, 11), (8, 9, 3, 3), "convolution", pads=[2, 0, 1, 3], dilations=[2, 3]),
    "1x7": kind((14, 6, 17), (15, 14, 1, 7), "convolution", pads=[0, 3, 0, 3]),
    "2x2": kind((5, 7, 7), (6, 5, 2, 2), "convolution", strides=[2, 2]),
    "5x5 larger than its image": kind((8, 2, 3), (9, 8, 5, 5), "convolution", pads=[2] * 4),
    "first layer": kind((3, 15, 17), (8, 3, 3, 3), "convolution", pads=[1] * 4, strides=[2, 2]),
    "first layer 7x7": kind((3, 21, 20), (20, 3, 7, 7), "convolution", pads=[3] * 4, strides=[2, 2]),
    "first layer of a grey image": kind((1, 9, 9), (5, 1, 5, 5), "convolution", pads=[2] * 4),
    "first layer 4x4 patches": kind((3, 16, 16), (24, 3, 4, 4), "convolution", strides=[4, 4]),
    "SAME_UPPER": kind((9, 8, 9), (9, 9, 4, 3), "convolution", auto_pad="SAME_UPPER", strides=[2, 2]),
    "SAME_LOWER": kind((9, 8, 9), (9, 9, 4, 3), "convolution", auto_pad="SAME_LOWER", strides=[2, 2]),
    "SAME_UPPER depthwise": kind(
        (16, 10, 9), (16, 1, 4, 4), "depthwise", auto_pad="SAME_UPPER", group=16, strides=[3, 1]
    ),
    "VALID": kind((9, 8, 9), (9, 9, 3, 3), "convolution", auto_pad="VALID"),
}

Follow = Callable[[Net, Value, Value, Callable[[], Value], int], Value]
"""Continues a convolution: the net, its value, a tensor like it, another convolution like it, its channels."""


def _op(operator: str, **attributes: Any) -> Follow:
    return lambda net, value, *_: net.op(operator, value, **attributes)


def _clip(low: float | None, high: float | None) -> Follow:
    def follow(net: Net, value: Value, *_: Any) -> Value:
        bounds = [None if bound is None else net.constant(bound, "float32") for bound in (low, high)]
        return net.op("Clip", value, *bounds)

    return follow


def _channels(operator: str, *, after: str = "", left: bool = False) -> Follow:
    def follow(net: Net, value: Value, like: Value, again: Any, channels: int) -> Value:
        value = net.op(after, value) if after else value
        numbers = net.constant(net.generator.uniform(0.5, 2, (channels, 1, 1)), "float32")
        return net.op(operator, numbers, value) if left else net.op(operator, value, numbers)

    return follow


def _hard_swish_written_out(net: Net, value: Value, *_: Any) -> Value:
    low, high, three = (net.constant(number, "float32") for number in (0, 6, 3))
    gate = net.op("Clip", net.op("Add", value, three), low, high)
    return net.op("Div", net.op("Mul", value, gate), high)


FOLLOWS: dict[str, Follow] = {
    "nothing": lambda net, value, *_: value,
    "Relu": _op("Relu"),
    "Clip between": _clip(-0.5, 0.75),
    "Clip from below": _clip(0.25, None),
    "Clip from above": _clip(None, 0.25),
    "Clip without bounds": _clip(None, None),
    "Sigmoid": _op("Sigmoid"),
    "SiLU": lambda net, value, *_: net.op("Mul", value, net.op("Sigmoid", value)),
    "SiLU from the left": lambda net, value, *_: net.op("Mul", net.op("Sigmoid", value), value),
    "HardSwish": _op("HardSwish"),
    "HardSwish written out": _hard_swish_written_out,
    "x * HardSigmoid(x)": lambda net, value, *_: net.op("Mul", value, net.op("HardSigmoid", value, alpha=1 / 6)),
    "HardSigmoid": _op("HardSigmoid"),
    "Gelu": _op("Gelu"),
    "Gelu by tanh": _op("Gelu", approximate="tanh"),
    "LeakyRelu": _op("LeakyRelu", alpha=0.1),
    "Elu": _op("Elu"),
    "PRelu": lambda net, value, like, again, channels: net.op("PRelu", value, net.normal(channels, 1, 1)),
    "Tanh": _op("Tanh"),
    "Mish": _op("Mish"),
    "Softplus": _op("Softplus"),
    "Relu, then a residual": lambda net, value, like, *_: net.op("Add", net.op("Relu", value), like),
    "a residual, then Relu": lambda net, value, like, *_: net.op("Relu", net.op("Add", like, value)),
    "a residual on both sides": lambda net, value, like, *_: net.op(
        "Add", like, net.op("Relu", net.op("Add", value, like))
    ),
    "another convolution as residual": lambda net, value, like, again, *_: net.op(
        "Relu", net.op("Add", value, again())
    ),
    "minus a tensor": lambda net, value, like, *_: net.op("Sub", value, like),
    "a tensor minus it": lambda net, value, like, *_: net.op("Sub", like, value),
    "divided by a tensor": lambda net, value, like, *_: net.op("Div", value, net.op("Exp", like)),
    "a tensor divided by it": lambda net, value, like, *_: net.op("Div", like, net.op("Exp", value)),
    "times itself": lambda net, value, *_: net.op("Mul", value, value),
    "Max with a tensor": lambda net, value, like, *_: net.op("Max", value, like),
    "Sum of three": lambda net, value, like, again, *_: net.op("Sum", value, like, again()),
    **{f"{name} by channel": _channels(name) for name in ("Add", "Sub", "Mul", "Div")},
    **{f"{name} by channel from the left": _channels(name, left=True) for name in ("Add", "Sub", "Mul")},
    "Div by channel from the left": _channels("Div", after="Exp", left=True),
    **{f"{name} by channel after Relu": _channels(name, after="Relu") for name in ("Add", "Sub", "Mul", "Div")},
}
NORMALIZED = {"BatchNormalization": "nothing", "BatchNormalization and Relu": "Relu"}

FAMILIES = ("1x1", "depthwise", "3x3")
FEW = ("nothing", "a residual, then Relu", "BatchNormalization and Relu")


@cache
def answers(name: str, follows: tuple[str, ...]) -> tuple[list[str], dict[str, tuple[Array, Array]]]:
    """The kernels of a model with one branch for each way to go on, and what each branch gives and should."""
    chosen = KINDS[name]
    net = Net(opset=20)
    image = net.input("n", *chosen.image)
    attributes = dict(chosen.attributes)
    channels = chosen.weights[0]

    def convolution() -> Value:
        return net.conv(image, chosen.weights, **attributes)

    like = net.op("Tanh", convolution())
    for follow in follows:
        value = net.conv(image, chosen.weights, bias=follow not in NORMALIZED, **attributes)
        value = net.batch_norm(value, channels) if follow in NORMALIZED else value
        followed = FOLLOWS[NORMALIZED.get(follow, follow)](net, value, like, convolution, channels)
        net.output(net.op("Identity", followed))
    model = net.model()
    compiled, feeds = Compiled.of(model), feeds_of(model)
    both = zip(compiled.run(feeds), by_onnxruntime(model, feeds), strict=True)
    return compiled.kernels, dict(zip(follows, both, strict=True))


@pytest.mark.parametrize("follow", [*FOLLOWS, *NORMALIZED])
@pytest.mark.parametrize("name", FAMILIES)
def test_what_follows_a_convolution_is_computed_as_onnxruntime_does(name: str, follow: str) -> None:
    found, expected = answers(name, (*FOLLOWS, *NORMALIZED))[1][follow]
    assert difference(found, expected) <= TOLERANCE


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_convolution_is_computed_as_onnxruntime_does(name: str) -> None:
    kernels, found = answers(name, FEW)
    assert {follow: difference(*both) for follow, both in found.items() if difference(*both) > TOLERANCE} == {}
    assert set(kernels) == {KINDS[name].kernel}


def test_a_convolution_whose_weights_are_an_input_takes_the_general_schedule() -> None:
    net = Net()
    image, weights = net.input("n", 3, 8, 8), net.input(4, 3, 3, 3)
    net.output(net.op("Conv", image, weights))
    model = net.model()
    compiled, feeds = Compiled.of(model), feeds_of(model)
    assert compiled.kernels == ["general"]
    assert difference(compiled.run(feeds)[0], by_onnxruntime(model, feeds)[0]) <= TOLERANCE


@pytest.mark.parametrize("rank", [1, 3])
def test_convolutions_of_lines_and_volumes_take_the_general_schedule(rank: int) -> None:
    net = Net()
    net.output(net.op("Relu", net.conv(net.input("n", 3, *[6] * rank), (4, 3, *[3] * rank))))
    model = net.model()
    compiled, feeds = Compiled.of(model), feeds_of(model)
    assert difference(compiled.run(feeds)[0], by_onnxruntime(model, feeds)[0]) <= TOLERANCE


def test_the_reference_is_not_degenerate() -> None:
    for found in answers("3x3", FEW)[1].values():
        assert np.std(found[1]) > 0.05
