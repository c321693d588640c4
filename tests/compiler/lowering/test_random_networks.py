"""Random small networks, all layers mixed, compute what onnxruntime does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from tests.compiler.lowering.net import Array, Compiled, Net, Value, agrees, by_onnxruntime, feeds_of

pytestmark = pytest.mark.tvm

CASES = 10
MORE_CASES = 25
QUANTIZED_CASES = 4
ACTIVATIONS = ("Relu", "Sigmoid", "Tanh", "HardSwish", "LeakyRelu", "Clip", "SiLU", "Identity")


@dataclass(frozen=True)
class Image:
    """A value and its axes after the batch."""

    value: Value
    channels: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width


class RandomNet(Net):
    """Draws layers; values it has drawn may be read again by any later layer."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self.images: list[Image] = []

    def draw(self, *choices: int) -> int:
        return int(self.generator.choice(choices))

    def activated(self, value: Value) -> Value:
        operator = ACTIVATIONS[self.draw(*range(len(ACTIVATIONS)))]
        if operator == "Clip":
            return self.op("Clip", value, self.constant(0, "float32"), self.constant(6, "float32"))
        return self.op("Mul", value, self.op("Sigmoid", value)) if operator == "SiLU" else self.op(operator, value)

    def any_image(self) -> Image:
        """The newest value more often than an old one."""
        index = len(self.images) - 1 - min(int(self.generator.geometric(0.6)) - 1, len(self.images) - 1)
        return self.images[index]

    def layer(self) -> Image:
        layers = [self.convolution] * 2 + [self.join] * 2
        layers += [self.depthwise, self.pointwise, self.pool, self.residual, self.gate, self.normalize]
        return layers[self.draw(*range(len(layers)))](self.any_image())

    def convolution(self, image: Image) -> Image:
        taps = [(self.draw(1, 2, 3, 5), self.draw(1, 1, 2), self.draw(1, 1, 2)) for _ in range(2)]
        pads = [self.draw(0, 1, 2) for _ in range(4)]
        sizes = []
        for axis, (size, (window, step, spread)) in enumerate(zip((image.height, image.width), taps, strict=True)):
            reach = (window - 1) * spread + 1
            missing = max(0, reach - size - pads[axis] - pads[axis + 2])
            pads[axis] += missing
            sizes.append((size + pads[axis] + pads[axis + 2] - reach) // step + 1)
        groups = math.gcd(image.channels, self.draw(1, 1, 1, 2, 3))
        channels = groups * self.draw(1, 3, 8, 11, 16)
        shape = (channels, image.channels // groups, taps[0][0], taps[1][0])
        strides, dilations = [tap[1] for tap in taps], [tap[2] for tap in taps]
        value = self.conv(
            image.value,
            shape,
            bias=bool(self.draw(0, 1)),
            group=groups,
            pads=pads,
            strides=strides,
            dilations=dilations,
        )
        return Image(self.activated(value), channels, *sizes)

    def depthwise(self, image: Image) -> Image:
        taps, channels = self.draw(3, 5), image.channels
        value = self.conv(image.value, (channels, 1, taps, taps), group=channels, pads=[taps // 2] * 4)
        return Image(self.activated(value), *image.shape)

    def pointwise(self, image: Image) -> Image:
        channels = self.draw(4, 16, 19, 33)
        value = self.conv(image.value, (channels, image.channels, 1, 1), bias=False)
        return Image(self.activated(self.batch_norm(value, channels)), channels, image.height, image.width)

    def pool(self, image: Image) -> Image:
        operator = ("MaxPool", "AveragePool")[self.draw(0, 1)]
        if min(image.height, image.width) < 3:
            return Image(self.op("Tanh", image.value), *image.shape)
        value = self.op(operator, image.value, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        return Image(value, image.channels, (image.height + 1) // 2, (image.width + 1) // 2)

    def like(self, image: Image) -> Image:
        """An older value of the same size, or a new convolution of one."""
        same = [each for each in self.images if each.shape == image.shape]
        if self.draw(0, 1):
            return same[self.draw(*range(len(same)))]
        return Image(self.conv(image.value, (image.channels, image.channels, 1, 1)), *image.shape)

    def residual(self, image: Image) -> Image:
        operator = ("Add", "Sub", "Mul", "Max")[self.draw(0, 0, 1, 2, 3)]
        both = [image.value, self.like(image).value][:: self.draw(1, -1)]
        value = self.op(operator, *both)
        return Image(self.op("Tanh", value) if operator == "Mul" else self.activated(value), *image.shape)

    def join(self, image: Image) -> Image:
        parts = [image, *(each for each in self.images[-3:] if each.shape[1:] == image.shape[1:])]
        value = self.op("Concat", *(each.value for each in parts), axis=1)
        return Image(value, sum(each.channels for each in parts), image.height, image.width)

    def gate(self, image: Image) -> Image:
        reduced = self.draw(1, 4, 6)
        inner = self.conv(self.op("GlobalAveragePool", image.value), (reduced, image.channels, 1, 1))
        outer = self.op("Sigmoid", self.conv(self.activated(inner), (image.channels, reduced, 1, 1)))
        return Image(self.op("Mul", *[image.value, outer][:: self.draw(1, -1)]), *image.shape)

    def normalize(self, image: Image) -> Image:
        return Image(self.activated(self.batch_norm(image.value, image.channels)), *image.shape)


def draw_net(seed: int) -> RandomNet:
    net = RandomNet(seed)
    channels, height, width = net.draw(1, 3, 5, 16), net.draw(5, 8, 11), net.draw(6, 9)
    net.images.append(Image(net.input("n" if seed % 2 else 2, channels, height, width), channels, height, width))
    for _ in range(net.draw(4, 6, 8)):
        drawn = net.layer()
        if drawn.channels <= 80:
            net.images.append(drawn)
    for image in (net.any_image(), net.images[-1]):
        net.output(net.op("Identity", image.value))
    last = net.images[-1]
    row = net.op("Flatten", net.op("GlobalAveragePool", last.value))
    net.output(net.op("Softmax", net.op("Gemm", row, net.weights(7, last.channels), net.normal(7), transB=1)))
    return net


@pytest.mark.parametrize("seed", range(CASES))
def test_a_random_network_agrees(seed: int) -> None:
    agrees(draw_net(seed), tolerance=3e-5)


@pytest.mark.slow
def test_more_random_networks_agree() -> None:
    for seed in range(CASES, CASES + MORE_CASES):
        agrees(draw_net(seed), tolerance=3e-5)


class Feeds(CalibrationDataReader):  # type: ignore[misc]
    """Hands random inputs to onnxruntime's quantizer."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._feeds = iter([feeds_of(model, seed=seed) for seed in range(4)])

    def get_next(self) -> dict[str, Array] | None:
        return next(self._feeds, None)


@pytest.mark.parametrize("seed", range(QUANTIZED_CASES))
def test_a_random_network_quantized_by_onnxruntime_agrees(seed: int, tmp_path: Path) -> None:
    model = draw_net(seed).model()
    onnx.save(model, tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "int8.onnx",
        Feeds(model),
        quant_format=QuantFormat.QDQ,
        per_channel=seed % 2 == 0,
        activation_type=QuantType.QUInt8 if seed % 4 < 2 else QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )
    quantized = onnx.load(tmp_path / "int8.onnx")
    compiled, feeds = Compiled.of(quantized), feeds_of(quantized, seed=9)
    assert "int8" in {operator.precision for operator in compiled.operators}
    for found, expected in zip(compiled.run(feeds), by_onnxruntime(quantized, feeds), strict=True):
        # A value between two codes may fall to the other one, seldom.
        assert np.sqrt(np.mean((found - expected) ** 2)) <= 0.01 * np.sqrt(np.mean(expected**2))


def test_random_networks_are_the_same_for_the_same_seed() -> None:
    first, second = (draw_net(3).model() for _ in range(2))
    assert first == second
    assert np.unique([len(draw_net(seed).model().graph.node) for seed in range(10)]).size > 3
