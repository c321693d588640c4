"""Records what a torch network computes inside, node by node of its exported program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TorchValue:
    """One value inside a torch network.

    Attributes:
        name: name of the node in the exported program ("silu_3").
        module: path of the torch module it belongs to ("blocks.2.act1"); "" is the network itself.
        module_type: that module's class.
        operator: the torch operator ("aten.silu.default").
        value: what was computed.
    """

    name: str
    module: str
    module_type: str
    operator: str
    value: npt.NDArray[Any]


def torch_values(program: torch.export.ExportedProgram, inputs: npt.NDArray[np.float32]) -> list[TorchValue]:
    """Values inside the network for one batch, in the order they are computed.

    Args:
        program: of a network with one input.
        inputs: float32 (batch, channels, height, width).
    """
    import torch

    recorded: list[TorchValue] = []

    class _Recorder(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            result = super().run_node(n)
            # Batch norm gives its output with two statistics that nobody reads in evaluation mode.
            value = result[0] if isinstance(result, (tuple, list)) and result else result
            if n.op == "call_function" and isinstance(value, torch.Tensor) and "getitem" not in str(n.target):
                module, kind = _innermost_module(n)
                recorded.append(TorchValue(n.name, module, kind, str(n.target), value.detach().cpu().numpy()))
            return result

    with torch.no_grad():
        # The graph module unlifts the weights; its call nodes keep the names of the program's.
        _Recorder(program.module()).run(torch.from_numpy(inputs))
    return recorded


def _innermost_module(node: torch.fx.Node) -> tuple[str, str]:
    stack = node.meta.get("nn_module_stack") or {}
    if not stack:
        return "", ""
    path, kind = list(stack.values())[-1]
    name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return str(path).removeprefix("L['self'].").removeprefix("L['self']"), name.rpartition(".")[2]
