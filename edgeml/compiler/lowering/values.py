"""Where each value of the model lives while it is lowered: in the model's layout, packed for our kernels, or both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tvm import relax, tirx

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.kernels.elementwise import Elementwise
from edgeml.compiler.kernels.epilogue import Epilogue, padded
from edgeml.compiler.kernels.layout import Layout
from edgeml.compiler.kernels.prim_func import Argument, Kernel
from edgeml.compiler.kernels.vector import Vector
from edgeml.compiler.lowering.graph import Array, Expr, Graph, dtype_of, shape_of
from edgeml.compiler.lowering.quantization import dequantize_of


@dataclass(frozen=True)
class ImageShape:
    """The axes of a value that kernels can hold: (batch, channels) or (batch, channels, height, width).

    Attributes:
        batch: an expression; None where the batch is the number `samples`.
        samples: the batch where it is known, else None.
        channels: channels.
        pixels: (height, width), or ().
    """

    batch: Expr
    samples: int | None
    channels: int
    pixels: tuple[int, ...]

    @property
    def count(self) -> int:
        """Pixels of a sample."""
        return int(np.prod(self.pixels, dtype=np.int64))


def image_shape(expr: Expr) -> ImageShape | None:
    """The value's axes where all but the batch are known and there are two or four of them."""
    shape = shape_of(expr)
    if shape is None or len(shape) not in {2, 4}:
        return None
    batch, *rest = shape
    sizes = tuple(axis for axis in rest if isinstance(axis, int))
    if len(sizes) != len(rest) or 0 in sizes or (batch == 0 and isinstance(batch, int)):
        return None
    samples = batch if isinstance(batch, int) else None
    return ImageShape(None if samples is not None else batch, samples, sizes[0], sizes[1:])


@dataclass
class Values:
    """Emits kernel calls and keeps track of the layouts.

    Attributes:
        builder: the BlockBuilder of the new function.
        graph: the imported model.
        isa: the vector unit.
    """

    builder: Any
    graph: Graph
    isa: VectorISA
    _model: dict[Expr, Expr] = field(default_factory=dict)
    _packed: dict[Expr, Expr] = field(default_factory=dict)
    _functions: dict[str, Expr] = field(default_factory=dict)

    def set_model(self, var: Expr, expr: Expr) -> None:
        """Record the value in the model's layout."""
        self._model[var] = expr

    def set_packed(self, var: Expr, expr: Expr) -> None:
        """Record the value in the packed layout."""
        self._packed[var] = expr

    def is_packed(self, var: Expr) -> bool:
        """Whether the value, or the codes behind it, lie packed already."""
        coded = dequantize_of(self.graph, var)
        return var in self._packed or (coded is not None and coded.codes in self._packed)

    def model(self, expr: Expr) -> Expr:
        """The value in the model's layout, unpacked where it has only been packed so far."""
        if not isinstance(expr, relax.Var):
            return expr
        if expr not in self._model:
            shape = image_shape(expr)
            assert shape is not None, "what was packed has channels"
            kernel = self._layout(shape, dtype_of(expr)).unpack()
            self._model[expr] = self.call(kernel, [self.packed(expr)], shape)
        return self._model[expr]

    def packed(self, expr: Expr) -> Expr:
        """The value in the packed layout, packed or read from its codes now where that has not been done yet."""
        if expr in self._packed:
            return self._packed[expr]
        shape = image_shape(expr)
        assert shape is not None, "callers ask for images only"
        coded = dequantize_of(self.graph, expr)
        if coded is not None and expr not in self._model:
            kernel = Elementwise(
                isa=self.isa,
                batch=shape.samples,
                pixels=shape.pixels,
                channels=shape.channels,
                epilogue=Epilogue(),
                quantization=coded.quantization,
            ).kernel()
            self._packed[expr] = self.call(kernel, [self.packed(coded.codes)], shape)
        elif not shape.pixels and shape.samples is None and padded(shape.channels, Vector(self.isa)) == shape.channels:
            self._packed[expr] = self.model(expr)  # the layouts are the same
        else:
            kernel = self._layout(shape, dtype_of(expr)).pack()
            self._packed[expr] = self.call(kernel, [self.model(expr)], shape)
        return self._packed[expr]

    def operand(self, operand: Expr | Array) -> Expr:
        """What an epilogue's step reads, as the kernel takes it."""
        if not isinstance(operand, np.ndarray):
            return self.packed(operand)
        values = np.zeros(padded(operand.size, Vector(self.isa)), operand.dtype)
        values[: operand.size] = operand
        return constant(values)

    def call(self, kernel: Kernel, arguments: list[Expr], shape: ImageShape) -> Expr:
        """Emit the kernel's call; a tuple of variables where it has several outputs.

        Args:
            kernel: the kernel.
            arguments: what it reads.
            shape: tells the batch.
        """
        types = [self._type(output, shape) for output in kernel.outputs]
        function = self.builder.add_func(kernel.flat_function, kernel.name)
        result = self.builder.emit(
            relax.call_tir(function, relax.Tuple(arguments), types if len(types) > 1 else types[0])
        )
        if len(types) == 1:
            return result
        return tuple(self.builder.emit(relax.TupleGetItem(result, index)) for index in range(len(types)))

    def _type(self, argument: Argument, shape: ImageShape) -> Expr:
        axes = [shape.batch if axis is None else tirx.const(axis, "int64") for axis in argument.flat_shape]
        return relax.TensorType(axes, argument.dtype)

    def _layout(self, shape: ImageShape, dtype: str) -> Layout:
        return Layout(isa=self.isa, batch=shape.samples, channels=shape.channels, pixels=shape.pixels, dtype=dtype)


def constant(values: Array) -> Expr:
    """Values as the kernels take them: flat."""
    return relax.const(np.ascontiguousarray(values).reshape(-1))
