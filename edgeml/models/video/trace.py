"""Reads a torch network into a video graph, or says which of its modules has no place in one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.core.errors import CheckFailedError, UsageError, needs_extra
from edgeml.models.video.execute import run
from edgeml.models.video.graph import FRAME, VideoGraph
from edgeml.models.video.steps import Steps, Value
from edgeml.models.video.torch_calls import Call
from edgeml.models.video.torch_words import SAME_PADDING, is_in_place, word_of

if TYPE_CHECKING:
    from torch import fx, nn

_TOLERANCE = 1e-3
# What asks for a tensor's form and not for its values.
_FORM = frozenset({"size", "shape", "dim", "ndim", "ndimension", "numel", "nelement", "dtype", "device", "is_cuda"})


def trace(module: nn.Module, input_shape: tuple[int, int, int]) -> VideoGraph:
    """The network as a video graph: batch normalization folded, dropout left out, sizes fixed.

    Args:
        module: float32 (1, channels, height, width) to float32 (1, channels, height, width) or (1, classes); it is
            read as it is in evaluation mode and is not changed.
        input_shape: of one frame, (channels, height, width).

    Raises:
        UsageError: the network has a part that no step stands for; its path, what it is, and what is allowed are told.
        CheckFailedError: the graph computes something else than the network; a hook or a wrapped module may do that.
        MissingError: torch is not installed.
    """
    with needs_extra("train"):
        import torch
        from torch import fx

    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return type(m).__name__ in SAME_PADDING or super().is_leaf_module(m, module_qualified_name)

    module = copy.deepcopy(module).cpu().float().eval()
    try:
        traced = Tracer().trace(module)
    except Exception as error:  # fx runs the network's own code, which may raise anything
        raise UsageError(
            f"{type(module).__name__} cannot be traced: {error}; a video network must take one frame and take no "
            "decision by a tensor's values or size (if, for, int(...)); write sizes down as numbers"
        ) from error
    frame = torch.rand((1, *input_shape), generator=torch.Generator().manual_seed(0)) * 2 - 1
    reading = _Reading(module, Steps(input_shape))
    with torch.no_grad():
        output = reading.read(traced, frame.clone())
        graph = reading.steps.graph(output.name)
        expected, found = reading.result, run(graph, frame.numpy())[output.name]
    apart = float(np.abs(expected - found).max(initial=0))
    if not apart <= _TOLERANCE * max(1.0, float(np.abs(expected).max(initial=0))):
        raise CheckFailedError(
            f"{type(module).__name__} was read as a video graph that differs from it by {apart:.3g}; take hooks and "
            "wrappers off its modules"
        )
    return graph


class _Reading:
    """One walk over a traced network, each node computed on a frame so that every size is known."""

    def __init__(self, module: nn.Module, steps: Steps) -> None:
        self.module = module
        self.steps = steps
        self.result = np.zeros(0, np.float32)
        self._values: dict[fx.Node, Value] = {}  # nodes that depend on the frame
        self._computed: dict[fx.Node, Any] = {}  # what each node gives in torch

    def read(self, traced: fx.Graph, frame: Any) -> Value:
        """The network's result; all its steps are in `steps` then."""
        first = True
        for node in traced.nodes:
            if node.op == "placeholder":
                if not first and not node.args:
                    raise UsageError(
                        f"{type(self.module).__name__} takes a second input, {node.target!r}; a video network takes "
                        "one tensor, the frame"
                    )
                self._computed[node] = frame if first else node.args[0]
                if first:
                    self._values[node] = Value(name=FRAME, shape=tuple(frame.shape))
                first = False
            elif node.op == "output":
                return self._output(node)
            else:
                self._node(node)
        raise AssertionError("a traced graph ends with its output")

    def _output(self, node: fx.Node) -> Value:
        import torch
        from torch import fx

        (returned,) = node.args
        if isinstance(returned, tuple | list) and len(returned) == 1:
            (returned,) = returned
        if not isinstance(returned, fx.Node) or returned not in self._values:
            raise UsageError(
                f"{type(self.module).__name__} returns {_kind(returned)}; a video network returns one tensor that "
                "depends on the frame"
            )
        value = self._values[returned]
        natural = self.steps.shapes[value.name]
        if value.name == FRAME or value.shape != natural or any(value.pads):
            raise UsageError(
                f"{type(self.module).__name__} ends with a view or padding of {value.name} of shape {value.shape}; "
                "end it with a convolution, a linear layer or another step that computes"
            )
        computed = self._computed[returned]
        assert isinstance(computed, torch.Tensor)
        self.result = computed.numpy()
        return value

    def _node(self, node: fx.Node) -> None:
        from torch import Tensor, fx

        args = fx.map_arg(node.args, self._computed.__getitem__)
        kwargs = fx.map_arg(node.kwargs, self._computed.__getitem__)
        path = _path(node)
        called: Any
        if node.op == "get_attr":
            called, self._computed[node] = None, _attribute(self.module, str(node.target))
        else:
            called = self._called(node)
            try:
                self._computed[node] = called(*args, **kwargs)
            except Exception as error:  # the network's own mistake, such as sizes that do not fit
                raise UsageError(
                    f"{path or 'the network'} fails on a frame of shape {self.steps.input_shape} "
                    f"(channels, height, width): {error}"
                ) from error
        if not any(each in self._values for each in node.all_input_nodes):
            return
        result, word = self._computed[node], word_of(node, called)
        if not isinstance(result, Tensor) and (word in _FORM or node.args[1:2] in [(each,) for each in _FORM]):
            return
        call = Call(
            steps=self.steps,
            path=path,
            word=word,
            name=_step_name(node, path),
            shape=tuple(result.shape) if isinstance(result, Tensor) else (),
            alone=all(self._sole(each) for each in node.all_input_nodes),
        )
        value = call.translate(
            called,
            fx.map_arg(node.args, lambda each: self._values.get(each, self._computed[each])),
            fx.map_arg(node.kwargs, lambda each: self._values.get(each, self._computed[each])),
        )
        if is_in_place(node, called):
            self._overwrite(node.all_input_nodes[0], value)
        self._values[node] = value

    def _called(self, node: fx.Node) -> Callable[..., Any]:
        if node.op == "call_module":
            return self.module.get_submodule(str(node.target))
        if node.op == "call_method":
            name = str(node.target)
            return lambda owner, *args, **kwargs: getattr(owner, name)(*args, **kwargs)
        assert callable(node.target)
        return node.target

    def _sole(self, node: fx.Node) -> bool:
        """Whether no other node that is read again has the same value as `node` (as views do)."""
        value = self._values.get(node)
        if value is None:
            return True
        same = [each for each, other in self._values.items() if other.name == value.name]
        return sum(len(each.users) for each in same) - (len(same) - 1) == 1

    def _overwrite(self, node: fx.Node, value: Value) -> None:
        """An operator wrote its result into its input: whoever reads that memory later reads the result."""
        name = self._values[node].name if node in self._values else None
        for each, other in self._values.items():
            if other.name == name:
                self._values[each] = Value(name=value.name, shape=other.shape)


def _path(node: fx.Node) -> str:
    """Dotted path of the module whose code a node stands in, "" for the network's own."""
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def _step_name(node: fx.Node, path: str) -> str:
    return path if node.op == "call_module" else ".".join(part for part in (path, node.name) if part)


def _attribute(module: nn.Module, target: str) -> Any:
    owner: Any = module
    for part in target.split("."):
        owner = getattr(owner, part)
    return owner


def _kind(returned: Any) -> str:
    return f"a {type(returned).__name__}" if isinstance(returned, tuple | list | dict) else "no such tensor"
