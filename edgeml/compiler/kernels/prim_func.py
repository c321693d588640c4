"""Makes one kernel: named arguments in, a TVM PrimFunc out, with the marks that keep other passes away from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from edgeml.compiler.kernels.vector import Buffer, Expr

_OPAQUE = 8  # relax's OpPatternKind: not to be fused with anything
# Starting a parallel section costs about as much as this many multiply-adds on one core.
_WORTH_THREADS = 200_000


@dataclass(frozen=True)
class Argument:
    """A tensor that a kernel reads or writes; a None axis is the batch, known when it runs.

    Attributes:
        name: its name in the kernel.
        shape: its axes.
        dtype: its elements' type.
        model_layout: whether it lies as the model has it, rather than packed.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    model_layout: bool = False

    @property
    def size(self) -> int:
        """Elements, of one sample where the batch is unknown."""
        return prod(axis for axis in self.shape if axis is not None)

    @property
    def flat_shape(self) -> tuple[int | None, ...]:
        """One shape for all packed tensors, so that whoever writes one need not know how its reader counts pixels."""
        if self.model_layout:
            return self.shape
        return (None, self.size) if None in self.shape else (self.size,)


@dataclass(frozen=True)
class Kernel:
    """A kernel and what it is called with.

    Attributes:
        name: the kind of kernel, for reports ("pointwise").
        inputs: what it reads, in order.
        outputs: what it writes, after the inputs.
        body: emits its code; called with the batch size (an int32 expression, or 1) and one flat buffer an argument.
    """

    name: str
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    body: Callable[..., None]

    @property
    def function(self) -> Any:
        """The PrimFunc, its arguments row-major in the documented shapes."""
        return self._build([argument.shape for argument in (*self.inputs, *self.outputs)])

    @property
    def flat_function(self) -> Any:
        """The PrimFunc, each packed argument of the shape (batch, elements of a sample) or (elements)."""
        return self._build([argument.flat_shape for argument in (*self.inputs, *self.outputs)])

    def _build(self, shapes: list[tuple[int | None, ...]]) -> Any:
        arguments = (*self.inputs, *self.outputs)
        batch = tirx.Var("batch", "int64")
        with IRBuilder() as builder, T.prim_func():
            T.func_name(self.name)
            T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True, "op_pattern": _OPAQUE})
            shaped = [
                T.arg(each.name, T.Buffer(tuple(batch if axis is None else axis for axis in shape), each.dtype))
                for each, shape in zip(arguments, shapes, strict=True)
            ]
            flat = [_flat(each, buffer, batch) for each, buffer in zip(arguments, shaped, strict=True)]
            dynamic = any(None in shape for shape in shapes)
            self.body(batch.astype("int32") if dynamic else 1, *flat)
        return builder.get()


def _flat(argument: Argument, buffer: Buffer, batch: Expr) -> Buffer:
    extent = argument.size * batch if None in argument.shape else argument.size
    return T.decl_buffer((extent,), argument.dtype, data=buffer.data)


def loop(count: Expr, work: int) -> Any:
    """A loop over independent iterations: by all threads where its `work` in multiply-adds is worth starting them."""
    return T.parallel(0, count) if work >= _WORTH_THREADS else T.serial(0, count)
