"""Kernels take along what follows them only where nobody else reads it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compiler.lowering.net import Net, Value, agrees

pytestmark = pytest.mark.tvm

CONV = (20, 6, 3, 3)


def image(net: Net) -> Value:
    return net.input("n", 6, 7, 7)


def conv(net: Net, value: Value) -> Value:
    return net.conv(value, CONV, pads=[1] * 4)


def test_a_value_read_twice_is_kept() -> None:
    net = Net()
    value = conv(net, image(net))
    net.output(net.op("Add", net.op("Relu", value), net.op("Tanh", value)))
    agrees(net)


def test_a_sigmoid_that_others_read_too_is_kept() -> None:
    net = Net()
    value = conv(net, image(net))
    gate = net.op("Sigmoid", value)
    net.output(net.op("Mul", value, gate), gate)
    agrees(net)


def test_a_value_behind_silu_that_others_read_too_is_kept() -> None:
    net = Net()
    value = conv(net, image(net))
    net.output(net.op("Mul", value, net.op("Sigmoid", value)), net.op("Neg", value))
    agrees(net)


def test_a_value_that_is_an_output_and_goes_on_is_kept() -> None:
    net = Net()
    value = conv(net, image(net))
    relu = net.op("Relu", value)
    net.output(value, relu, net.conv(relu, (5, 20, 1, 1)))
    agrees(net)


def test_one_value_as_two_outputs_is_given_twice() -> None:
    net = Net()
    value = conv(net, image(net))
    net.output(net.op("Identity", value), net.op("Identity", value))
    agrees(net)


def test_an_input_as_an_output_is_given_back() -> None:
    net = Net()
    value = image(net)
    net.output(net.op("Identity", value), conv(net, value))
    agrees(net)


def test_a_constant_as_an_output_is_given() -> None:
    net = Net()
    net.output(net.op("Relu", net.normal(2, 3)), conv(net, image(net)))
    agrees(net)


def test_a_tensor_added_to_itself_is_doubled() -> None:
    net = Net()
    value = conv(net, image(net))
    net.output(net.op("Add", value, value))
    agrees(net)


def test_two_convolutions_that_read_each_others_input_agree() -> None:
    net = Net()
    first, second = image(net), image(net)
    left, right = conv(net, first), conv(net, second)
    net.output(net.op("Sub", net.op("Relu", left), net.op("Relu", right)), net.op("Mul", right, left))
    agrees(net)


def test_a_residual_that_is_computed_after_the_convolution_agrees() -> None:
    net = Net()
    value = image(net)
    early = conv(net, value)
    late = net.op("Sigmoid", net.conv(net.op("Relu", net.conv(value, (8, 6, 1, 1))), (20, 8, 1, 1)))
    net.output(net.op("Relu", net.op("Add", early, late)))
    agrees(net)


def test_residuals_across_several_layers_agree() -> None:
    net = Net()
    value = net.conv(image(net), (20, 6, 1, 1))
    for _ in range(3):
        inner = net.op("Relu", net.conv(value, (20, 20, 1, 1)))
        value = net.op("Add", value, net.conv(inner, (20, 1, 3, 3), group=20, pads=[1] * 4))
    net.output(value)
    agrees(net)


def test_arithmetic_between_normalization_and_bias_goes_into_the_weights() -> None:
    net = Net()
    value = net.conv(image(net), CONV, bias=False)
    for operator in ("Mul", "Add", "Div", "Sub"):
        numbers = net.generator.uniform(0.5, 2, (1, 20, 1, 1))
        value = net.op(operator, value, net.constant(numbers, "float32"))
    net.output(net.op("Relu", net.batch_norm(value, 20)))
    agrees(net)


def test_numbers_on_either_side_agree() -> None:
    net = Net()
    value = image(net)
    two = net.constant(2, "float32")
    for operator in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
        net.output(net.op(operator, two, net.op("Exp", conv(net, value))))
        net.output(net.op(operator, net.op("Relu", conv(net, value)), two))
        net.output(net.op(operator, conv(net, value), two))
    agrees(net)


def test_constants_of_every_shape_that_broadcasts_agree() -> None:
    net = Net()
    value = image(net)
    for shape in ((1, 20, 1, 1), (20, 1, 1), (1,), (), (1, 1, 1, 7), (7, 7), (20, 7, 7), (1, 1, 7, 1)):
        numbers = net.constant(net.generator.uniform(0.5, 2, shape), "float32")
        net.output(net.op("Add", conv(net, value), numbers), net.op("Mul", net.op("Relu", conv(net, value)), numbers))
        net.output(net.op("Sub", numbers, conv(net, value)))
    agrees(net)


def test_tensors_of_every_shape_that_broadcasts_agree() -> None:
    net = Net()
    value = image(net)
    shapes: list[tuple[int | str, ...]] = [(1, 20, 7, 7), (20, 7, 7), (1, 1, 1, 1)]
    shapes += [("n", 20, 1, 1), ("n", 1, 7, 7), ("n", 20, 7, 7)]
    for shape in shapes:
        other = net.input(*shape)
        net.output(net.op("Mul", conv(net, value), other))
        net.output(net.op("Relu", net.op("Sub", other, net.op("Relu", conv(net, value)))))
    agrees(net)


def test_a_constant_that_makes_the_image_larger_agrees() -> None:
    net = Net()
    value = net.conv(net.input("n", 6, 1, 1), (20, 6, 1, 1))
    net.output(
        net.op("Add", value, net.normal(1, 20, 3, 3)), net.op("Mul", net.op("Relu", value), net.normal(1, 20, 4, 1))
    )
    agrees(net)


def test_a_constant_that_makes_more_channels_agrees() -> None:
    net = Net()
    value = net.conv(image(net), (1, 6, 1, 1))
    net.output(net.op("Add", value, net.normal(1, 5, 1, 1)), net.op("Add", net.op("Relu", value), net.normal(5, 1, 1)))
    agrees(net)


def test_a_constant_that_makes_the_batch_larger_agrees() -> None:
    net = Net()
    net.output(net.op("Add", net.conv(net.input(1, 6, 7, 7), CONV), net.normal(3, 20, 1, 1)))
    agrees(net)


def test_clips_agree_and_the_upper_bound_wins() -> None:
    net = Net()
    value = image(net)
    for low, high in ((0, 6), (-1, 1), (0.5, 0.5), (2, -2), (-np.inf, 0), (0, np.inf)):
        bounds = [net.constant(low, "float32"), net.constant(high, "float32")]
        net.output(net.op("Clip", conv(net, value), *bounds), net.op("Clip", net.op("Exp", value), *bounds))
    agrees(net)


def test_a_clip_whose_bounds_are_inputs_agrees() -> None:
    net = Net()
    value = image(net)
    low, high = net.input(), net.input()
    net.output(net.op("Clip", conv(net, value), net.op("Neg", net.op("Abs", low)), net.op("Abs", high)))
    agrees(net)


def test_activations_of_extreme_values_agree() -> None:
    net = Net(opset=20)
    value = net.input("n", 8, 4, 4)
    large = net.op("Mul", net.conv(value, (8, 8, 1, 1)), net.constant(60, "float32"))
    for operator in ("Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Gelu", "Elu", "Softplus", "Mish"):
        net.output(net.op(operator, large))
    net.output(net.op("Mul", large, net.op("Sigmoid", large)))
    agrees(net)


def test_long_chains_of_activations_agree() -> None:
    net = Net()
    value = conv(net, image(net))
    for operator in ("Relu", "Tanh", "Sigmoid", "LeakyRelu", "HardSwish", "Exp", "Sqrt", "Abs", "Neg"):
        value = net.op(operator, value)
    net.output(value)
    agrees(net)
