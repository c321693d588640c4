"""What a network costs: its parameters, and the multiply-accumulates of one image, counted while it runs on nothing.

Counted: convolutions, linear layers, matrix products and attention. Not counted: normalization, activations, pooling,
sums, as in the papers' figures. Weights and work of binary layers are counted apart, as bits and bit-operations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from edgeml.core.errors import UsageError, needs_extra

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Complexity:
    """Cost of a network.

    Attributes:
        params: learned numbers (running statistics are not learned), the weights of binary layers left out.
        macs: multiply-accumulates of numbers for one image.
        bits: weights of binary layers, one bit each.
        bit_operations: products of two signs for one image, each a bit of an exclusive or and of a population count.
    """

    params: int
    macs: int
    bits: int = 0
    bit_operations: int = 0


def count(module: nn.Module, input_shape: tuple[int, ...]) -> Complexity:
    """Cost of `module` on one input of shape `input_shape`, batch axis left out.

    The network runs on torch's meta device, which computes shapes only; one that cannot is run for real once.

    Raises:
        UsageError: the network does not take that input.
        MissingError: torch is not installed.
    """
    with needs_extra("train"):
        from edgeml.models.binary.layers import binary_layers

    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        macs, bit_operations = _count_work(module, (1, *input_shape))
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"the network does not take an input of shape {(1, *input_shape)}: {line}") from error
    finally:
        for each, training in modes:
            each.training = training
    bits = sum(layer.weight.numel() for _, layer in binary_layers(module))
    params = sum(parameter.numel() for parameter in module.parameters()) - bits
    return Complexity(params, macs, bits, bit_operations)


def _count_work(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """Multiply-accumulates of numbers, and products of signs."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    first = next(module.parameters(), torch.empty(0))
    with _products_of_signs(module) as products:
        try:
            with FlopCounterMode(display=False) as counter:
                image = torch.empty(shape, device="meta", dtype=first.dtype)
                torch.func.functional_call(module, _on_meta(module), (image,))
        except (NotImplementedError, RuntimeError, ValueError):
            # Tensors that are no parameter or buffer stay on their device and do not mix with meta ones.
            if first.device.type == "meta":
                raise
            products.clear()
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                module(torch.zeros(shape, device=first.device, dtype=first.dtype))
    # Binary layers compute with floats here, so torch's counter has their work in it as well.
    return int(counter.get_total_flops()) // 2 - sum(products), sum(products)


@contextlib.contextmanager
def _products_of_signs(module: nn.Module) -> Iterator[list[int]]:
    """A list that grows by the products of one binary layer with each of its calls."""
    from edgeml.models.binary.layers import binary_layers

    products: list[int] = []

    def note(length: int, _layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        products.append(output.numel() * length)

    hooks = [layer.register_forward_hook(partial(note, layer.weight[0].numel())) for _, layer in binary_layers(module)]
    try:
        yield products
    finally:
        for hook in hooks:
            hook.remove()


def _on_meta(module: nn.Module) -> dict[str, Tensor]:
    # Parameters that require gradients keep torch off its fused transformer kernels, which the counter cannot see.
    parameters = {
        name: value.detach().to("meta").requires_grad_(value.is_floating_point())
        for name, value in module.named_parameters()
    }
    return parameters | {name: value.to("meta") for name, value in module.named_buffers()}
