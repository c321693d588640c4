"""What a network costs: its parameters, and the multiply-accumulates of one image, counted while it runs on nothing.

Counted: convolutions, linear layers, matrix products and attention. Not counted: normalization, activations, pooling,
sums, as in the papers' figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeml.core.errors import UsageError, needs_extra

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Complexity:
    """Cost of a network.

    Attributes:
        params: learned numbers (running statistics are not learned).
        macs: multiply-accumulates for one image.
    """

    params: int
    macs: int


def count(module: nn.Module, input_shape: tuple[int, ...]) -> Complexity:
    """Cost of `module` on one input of shape `input_shape`, batch axis left out.

    The network runs on torch's meta device, which computes shapes only; one that cannot is run for real once.

    Raises:
        UsageError: the network does not take that input.
        MissingError: torch is not installed.
    """
    with needs_extra("train"):
        import torch  # noqa: F401  # the check that it is there

    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        macs = _count_macs(module, (1, *input_shape))
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"the network does not take an input of shape {(1, *input_shape)}: {line}") from error
    finally:
        for each, training in modes:
            each.training = training
    return Complexity(sum(parameter.numel() for parameter in module.parameters()), macs)


def _count_macs(module: nn.Module, shape: tuple[int, ...]) -> int:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    first = next(module.parameters(), torch.empty(0))
    try:
        with FlopCounterMode(display=False) as counter:
            image = torch.empty(shape, device="meta", dtype=first.dtype)
            torch.func.functional_call(module, _on_meta(module), (image,))
    except (NotImplementedError, RuntimeError, ValueError):
        # Tensors that are no parameter or buffer stay on their device and do not mix with meta ones.
        if first.device.type == "meta":
            raise
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(torch.zeros(shape, device=first.device, dtype=first.dtype))
    return int(counter.get_total_flops()) // 2


def _on_meta(module: nn.Module) -> dict[str, Tensor]:
    # Parameters that require gradients keep torch off its fused transformer kernels, which the counter cannot see.
    parameters = {
        name: value.detach().to("meta").requires_grad_(value.is_floating_point())
        for name, value in module.named_parameters()
    }
    return parameters | {name: value.to("meta") for name, value in module.named_buffers()}
