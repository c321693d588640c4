"""Puts packed operators in the place of binary convolutions that feed each other.

Between such layers activations are bits, and sums for shortcuts lie channels last; both come out of one kernel. Layouts
are changed only where a packed layer meets another operator. A layer that neither reads from nor feeds a packed one
stays as it is: alone it is faster in the model's own layout.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.ops.attach import attach_functions
from edgeml.ops.domain import DOMAIN
from edgeml.ops.tree_expansion import expand_trees
from edgeml.runtime.plugin.fusion.graph import Graph, attributes, is_sound
from edgeml.runtime.plugin.fusion.layers import Layer, find_layers
from edgeml.runtime.plugin.fusion.shortcuts import Shortcut, find_shortcut

if TYPE_CHECKING:
    import onnx

_CHANNELS_LAST = (0, 2, 3, 1)
_CHANNELS_FIRST = (0, 3, 1, 2)


def fuse(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The model with packed layers; None where no two layers feed each other. The argument is left alone.

    Layers stored as trees are packed too, their filters as they are: of kernels that keep activations as bits there is
    only the dense one. Trees that stand alone stay trees. A model that breaks ONNX's rules is left to onnxruntime,
    which says what is wrong with it.
    """
    if not is_sound(model):
        return None
    graph = Graph(_expanded(model))
    packed = {layer.conv.output[0] for layer in _connected(graph, find_layers(graph))}
    if not packed:
        return None
    result = _expanded(model, packed)
    graph = Graph(result)
    _Rewrite(graph, [layer for layer in find_layers(graph) if layer.conv.output[0] in packed]).run()
    graph.write()
    return result


def _expanded(model: onnx.ModelProto, outputs: Container[str] | None = None) -> onnx.ModelProto:
    """A copy without the trees, with the bodies that shapes are inferred by."""
    copy = type(model)()
    copy.CopyFrom(expand_trees(model, outputs))
    attach_functions(copy)
    return copy


def _connected(graph: Graph, layers: list[Layer]) -> list[Layer]:
    """The layers that read from or feed another one."""
    makers = {layer.output for layer in layers}
    readers = {_source(graph, layer.conv.input[0]) for layer in layers}
    return [layer for layer in layers if _source(graph, layer.conv.input[0]) in makers or layer.output in readers]


def _source(graph: Graph, tensor: str) -> str:
    """The tensor that a layer's input comes from: itself, or what a maximum pooling takes, which bits can do too."""
    pool = _packable_pool(graph, tensor)
    return tensor if pool is None else pool.input[0]


def _packable_pool(graph: Graph, tensor: str) -> onnx.NodeProto | None:
    node = graph.maker(tensor)
    if node is None or node.op_type != "MaxPool" or len(node.output) != 1:
        return None
    given = attributes(node)
    plain = not any(given.get("pads", ())) and not given.get("ceil_mode") and set(given.get("dilations", (1,))) == {1}
    explicit = given.get("auto_pad", b"NOTSET") == b"NOTSET" and len(given.get("kernel_shape", ())) == 2
    return node if plain and explicit else None


class _Rewrite:
    """The forms in which tensors are at hand, made as they are asked for."""

    def __init__(self, graph: Graph, layers: list[Layer]) -> None:
        self._graph = graph
        self._layers = layers
        self._by_output = {layer.output: layer for layer in layers}
        self._shortcuts: dict[str, Shortcut] = {}
        for layer in layers:
            found = None if layer.residual is None else find_shortcut(graph, layer.residual, self._by_output)
            if found is not None:
                self._shortcuts[found.output] = found
        self._replaced = {id(node) for layer in layers for node in layer.nodes}
        self._replaced |= {id(node) for shortcut in self._shortcuts.values() for node in shortcut.nodes}
        self._channels_last: dict[str, str] = {}
        self._bits: dict[tuple[str, str], str] = {}  # by tensor and threshold
        self._nothing = graph.add_constant("nothing", np.zeros(0, np.float32))

    def run(self) -> None:
        self._replace_pools()
        for layer in self._layers:
            self._emit(layer)
        for tensor in self._by_output:
            if self._is_read_outside(tensor):
                self._leave(tensor)

    def _replace_pools(self) -> None:
        """Poolings whose result only packed layers read are done on bits."""
        for layer in self._layers:
            pool = _packable_pool(self._graph, layer.conv.input[0])
            if pool is not None and pool.input[0] in self._by_output and self._only_feeds_layers(pool.output[0]):
                self._replaced.add(id(pool))
                self._graph.remove(pool)

    def _only_feeds_layers(self, tensor: str) -> bool:
        convs = {id(layer.conv) for layer in self._layers}
        residuals = {layer.residual for layer in self._layers}
        readers = self._graph.readers(tensor)
        return (
            all(id(node) in convs for node in readers) and not self._graph.is_output(tensor) and tensor not in residuals
        )

    def _is_read_outside(self, tensor: str) -> bool:
        readers = self._graph.readers(tensor)
        return self._graph.is_output(tensor) or any(id(node) not in self._replaced for node in readers)

    def _emit(self, layer: Layer) -> None:
        """The packed operator of a layer, before the last of the nodes that it stands for."""
        graph, place = self._graph, layer.nodes[-1]
        inputs = [self._bits_of(layer.conv.input[0], layer.conv.input[2], layer), *layer.conv.input[1:]]
        threshold = self._threshold_wanted(layer.output)
        form = {name: value for name, value in attributes(layer.conv).items() if name != "group"}
        bits = graph.fresh(f"{layer.output}_bits")
        if threshold is not None:
            self._bits[layer.output, threshold] = bits
        if layer.plain and threshold is not None and not self._sums_wanted(layer.output, threshold):
            self._insert(place, "PackedBinaryConv", [*inputs, threshold], [bits], **form)
        else:
            sums = graph.fresh(f"{layer.output}_channels_last")
            self._channels_last[layer.output] = sums
            shortcut = None if layer.residual is None else self._shortcuts.get(layer.residual)
            if shortcut is not None and shortcut.bias is not None:
                bias = graph.constant(inputs[4])
                assert bias is not None  # find_layers took only convolutions whose parameters are constants
                inputs[4] = graph.add_constant(f"{inputs[4]}_with_shortcut", bias + shortcut.bias)
            per_channel = [
                self._optional(layer.output, value) for value in (layer.slope, layer.post_scale, layer.post_bias)
            ]
            residual = self._nothing if layer.residual is None else self._residual(layer.residual, place)
            after = [
                self._optional(layer.output, value) for value in (layer.shift_in, layer.residual_slope, layer.shift_out)
            ]
            inputs += [*per_channel, residual, *after, threshold or self._nothing]
            self._insert(place, "PackedBinaryConvSum", inputs, [sums, bits], **form)
        for node in layer.nodes:
            graph.remove(node)

    def _optional(self, tensor: str, value: Any) -> str:
        return self._nothing if value is None else self._graph.add_constant(f"{tensor}_parameter", value)

    def _threshold_wanted(self, tensor: str) -> str | None:
        """The threshold of the first packed layer that reads the tensor or its pooling."""
        for layer in self._layers:
            if _source(self._graph, layer.conv.input[0]) == tensor:
                return str(layer.conv.input[2])
        return None

    def _sums_wanted(self, tensor: str, threshold: str) -> bool:
        """Whether anything but the bits against `threshold` is read of a packed layer's output."""
        if self._is_read_outside(tensor) or any(shortcut.source == tensor for shortcut in self._shortcuts.values()):
            return True
        return any(
            layer.residual == tensor
            or (_source(self._graph, layer.conv.input[0]) == tensor and layer.conv.input[2] != threshold)
            for layer in self._layers
        )

    def _bits_of(self, tensor: str, threshold: str, layer: Layer) -> str:
        """The tensor as bits against a constant threshold; what is missing is made before the layer."""
        known = self._bits.get((tensor, threshold))
        if known is not None:
            return known
        place = layer.nodes[-1]
        bits = self._graph.fresh(f"{tensor}_bits")
        pool = _packable_pool(self._graph, tensor)
        if pool is not None and id(pool) in self._replaced:
            window = {name: value for name, value in attributes(pool).items() if name in ("kernel_shape", "strides")}
            self._insert(place, "PackedMaxPool", [self._bits_of(pool.input[0], threshold, layer)], [bits], **window)
        elif tensor in self._channels_last:
            self._insert(place, "PackSigns", [self._channels_last[tensor], threshold], [bits], channels_last=1)
        else:
            self._insert(place, "PackSigns", [tensor, threshold], [bits], channels_last=0)
        self._bits[tensor, threshold] = bits
        return bits

    def _residual(self, tensor: str, place: onnx.NodeProto) -> str:
        """The tensor channels last; what is missing is made before `place`."""
        known = self._channels_last.get(tensor)
        if known is not None:
            return known
        result = self._graph.fresh(f"{tensor}_channels_last")
        shortcut = self._shortcuts.get(tensor)
        if shortcut is None:
            self._graph.insert(place, "Transpose", [tensor], [result], perm=_CHANNELS_LAST)
        else:
            pooled = self._channels_last[shortcut.source]
            if shortcut.pool is not None:
                whole, pooled = pooled, self._graph.fresh(f"{tensor}_pooled")
                self._insert(place, "AveragePoolChannelsLast", [whole], [pooled], **shortcut.window)
            weights = self._graph.add_constant(f"{tensor}_weights", shortcut.weights)
            self._graph.insert(place, "MatMul", [pooled, weights], [result])
            for node in shortcut.nodes:
                self._graph.remove(node)
        self._channels_last[tensor] = result
        return result

    def _leave(self, tensor: str) -> None:
        """Give a packed layer's output the model's own layout again, for the other operators that read it."""
        layer = self._by_output[tensor]
        self._graph.insert(layer.nodes[-1], "Transpose", [self._channels_last[tensor]], [tensor], perm=_CHANNELS_FIRST)

    def _insert(
        self, place: onnx.NodeProto, operator: str, inputs: list[str], outputs: list[str], **given: Any
    ) -> None:
        self._graph.insert(place, operator, inputs, outputs, domain=DOMAIN, **given)
