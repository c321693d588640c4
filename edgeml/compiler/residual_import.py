"""How the importer reads the operators of residual video: computed everywhere, kept where their tiles are active.

A compiled library skips nothing: its outputs are those of the operators bit for bit, in the time of a whole frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.compiler import residual_loops as loops
from edgeml.compiler.residual_convolution import convolved
from edgeml.ops.residual import (
    residual_add,
    residual_concat,
    residual_conv,
    residual_pool,
    residual_resize,
    residual_table,
    tile_gate,
)
from edgeml.ops.residual.signature import Signature
from edgeml.ops.residual.tiles import tile_maxima
from edgeml.ops.residual.windows import Windows

Expr = Any

# Sixteen times no difference of two codes is as much; a larger threshold lets nothing pass either.
_MOST_SIXTEENTHS = 16 * 256


@dataclass(frozen=True)
class _Call:
    """One node of the model.

    Attributes:
        builder: relax's BlockBuilder of the function in the making.
        operator: name of the operator.
        tensors: the inputs by name.
        attributes: all of them, those that the node leaves out too.
    """

    builder: Any
    operator: str
    tensors: dict[str, Expr]
    attributes: dict[str, Any]

    def loops(self, function: Callable[..., Any], *tensors: Expr | npt.NDArray[Any]) -> Expr:
        """The result of loops over tensors, of which some may be constants."""
        from tvm import relax

        given = [relax.const(each) if isinstance(each, np.ndarray) else each for each in tensors]
        return self.builder.emit_te(function, *given, primfunc_name_hint="residual")

    def emit(self, expr: Expr) -> Expr:
        """A variable for the value of an expression."""
        return self.builder.emit(expr)

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        """The values of an input that is a constant."""
        value: Any = getattr(self.tensors[name], "value", None)
        return np.asarray(value.numpy()) if hasattr(value, "numpy") else None

    def needed(self, name: str) -> npt.NDArray[Any]:
        """The values of an input that must be a constant.

        Raises:
            ValueError: it is none.
        """
        value = self.constant(name)
        if value is None:
            raise ValueError(f"{self.operator} needs a constant {name}; it is computed by the graph")
        return value

    def sizes(self, name: str) -> tuple[int, ...]:
        """The axes of an input.

        Raises:
            ValueError: one of them is not fixed.
        """
        from tvm import tirx

        shape = getattr(self.tensors[name].ty, "shape", None)
        if shape is None or not all(isinstance(axis, tirx.IntImm) for axis in shape):
            raise ValueError(f"{self.operator} needs fixed sizes; those of {name} are not known")
        return tuple(int(axis) for axis in shape)

    def windows(self) -> Windows:
        """Those of the attributes."""
        names = ("kernel_shape", "strides", "pads", "dilations")
        return Windows(*(tuple(map(int, self.attributes[name])) for name in names if name in self.attributes))

    def integer(self, name: str) -> int:
        """An attribute that is one."""
        return int(self.attributes[name])

    def tile(self) -> int:
        """Height and width of a tile.

        Raises:
            ValueError: it is no size.
        """
        if (tile := self.integer("tile")) < 1:
            raise ValueError(f"{self.operator} has tiles of {tile} pixels; they have 1 or more")
        return tile

    def looked_up(self, table: str, codes: Expr) -> Expr:
        """What an input of 256 codes makes of others; themselves where that is what it says."""
        from tvm import relax

        known = self.constant(table)
        if known is not None and np.array_equal(known, np.arange(256)):
            return codes
        places = self.emit(relax.op.astype(codes, "int32"))
        return self.emit(relax.op.take(self.tensors[table], places, axis=0, mode="clip"))

    def updated(self, fresh: Expr, active: Expr | None, tile: int = 1) -> tuple[Expr, Expr]:
        """The operator's outputs, where `active` holds a number that is not 0 for each tile to renew, or is None."""
        if self.sizes("previous") != tuple(int(axis) for axis in fresh.ty.shape):
            expected = [int(axis) for axis in fresh.ty.shape]
            raise ValueError(f"{self.operator} needs a previous of {expected}; it is {list(self.sizes('previous'))}")
        previous = self.tensors["previous"]
        codes = fresh
        if active is not None:
            codes = self.loops(lambda x, where, y: loops.renewed(x, where, y, tile), fresh, active, previous)
        return codes, self.loops(loops.changed_pixels, codes, previous)


def converters(frontend: Any) -> dict[str, Any]:
    """For TVM's importer, by operator."""
    known: tuple[tuple[Signature, Callable[[_Call], tuple[Expr, Expr]]], ...] = (
        (tile_gate.SIGNATURE, _tile_gate),
        (residual_conv.SIGNATURE, _residual_conv),
        (residual_add.SIGNATURE, _residual_add),
        (residual_concat.SIGNATURE, _residual_concat),
        (residual_table.SIGNATURE, _residual_table),
        (residual_pool.SIGNATURE, _residual_pool),
        (residual_resize.SIGNATURE, _residual_resize),
    )
    return {signature.name: _converter(frontend, signature, outputs) for signature, outputs in known}


def _converter(frontend: Any, signature: Signature, outputs: Callable[[_Call], tuple[Expr, Expr]]) -> Any:
    from tvm import relax

    class Residual(frontend.OnnxOpConverter):  # type: ignore[misc]
        @classmethod
        def _impl_v1(cls, bb: Any, inputs: Any, attr: Any, params: Any) -> Any:  # noqa: ARG003
            attributes = {name: value for name, (value, _) in signature.defaults.items()}
            attributes |= {name: attr[name] for name in (*signature.required, *signature.defaults) if name in attr}
            tensors = dict(zip(signature.inputs, inputs, strict=True))
            return relax.Tuple(outputs(_Call(bb, signature.name, tensors, attributes)))

    return Residual


def _tile_gate(call: _Call) -> tuple[Expr, Expr]:
    from tvm import relax

    x, previous = call.tensors["X"], call.tensors["previous"]
    tile, threshold = call.tile(), min(call.integer("threshold"), _MOST_SIXTEENTHS)
    if not call.integer("rms"):
        greatest = call.loops(loops.greatest_difference, x, previous)
        return call.updated(x, _beyond(call, greatest, tile, threshold), tile)
    squares = call.loops(loops.squared_difference, x, previous)
    totals = call.loops(lambda values: loops.of_tiles(values, tile, total=True), squares)
    samples, height, width, channels = call.sizes("X")
    counts = [
        np.add.reduceat(np.ones(size, np.int64), np.arange(0, size, tile)) for size in (height, width)
    ]  # pixels of each row of tiles and of each column
    limits = np.tile(threshold * threshold * channels * np.multiply.outer(*counts) // 256, (samples, 1, 1))
    return call.updated(x, call.emit(relax.op.greater(totals, relax.const(limits))), tile)


def _beyond(call: _Call, differences: Expr, tile: int, threshold: int) -> Expr:
    """Where sixteen times a tile's greatest difference is more than the threshold, bool (N, tiles, tiles)."""
    from tvm import relax

    greatest = call.loops(lambda values: loops.of_tiles(values, tile), differences)
    return call.emit(relax.op.greater(greatest, relax.const(threshold // 16, "int32")))


def _residual_conv(call: _Call) -> tuple[Expr, Expr]:
    from tvm import relax

    windows, tile = call.windows(), call.tile()
    codes = convolved(
        call.builder, call.tensors["X"], call.needed("W"), call.needed("multiplier"), call.needed("bias"), windows,
        group=call.integer("group"), zero_points=(call.integer("x_zero_point"), call.integer("y_zero_point")),
    )  # fmt: skip
    fresh = call.emit(relax.op.permute_dims(call.looked_up("table", codes), [0, 2, 3, 1]))
    active = _touched(call, windows, tile)
    if (threshold := call.integer("threshold")) > 0:
        differences = call.loops(loops.greatest_difference, fresh, call.tensors["previous"])
        other = _beyond(call, differences, tile, min(threshold, _MOST_SIXTEENTHS))
        if active is None:
            return call.updated(fresh, other, tile)
        touched = call.emit(relax.op.not_equal(active, relax.const(0, "int32")))
        active = call.emit(relax.op.logical_and(touched, other))
    return call.updated(fresh, active, tile)


def _touched(call: _Call, windows: Windows, tile: int) -> Expr | None:
    """Not 0 for each tile with a window that sees a changed pixel, int32; None where all are known to."""
    from tvm import relax

    known = call.constant("changed")
    if known is not None:
        seen = tile_maxima(windows.changed(known).astype(np.int64), tile)
        return None if seen.all() else relax.const(seen[:, ::tile, ::tile].astype(np.int32))
    call.sizes("changed")
    seen = call.loops(lambda changed: loops.changed_windows(changed, windows), call.tensors["changed"])
    return seen if tile == 1 else call.loops(lambda values: loops.of_tiles(values, tile), seen)


def _residual_add(call: _Call) -> tuple[Expr, Expr]:
    codes = np.arange(256, dtype=np.float32)
    reals = [
        (codes - np.float32(call.integer(f"{name}_zero_point"))) * np.float32(call.attributes[f"{name}_multiplier"])
        for name in ("a", "b")
    ]
    zero_point = call.integer("y_zero_point")
    fresh = call.loops(
        lambda a, b, real_a, real_b, table: loops.added(a, b, (real_a, real_b), table, zero_point),
        call.tensors["A"], call.tensors["B"], *reals, call.tensors["table"],
    )  # fmt: skip
    return call.updated(fresh, _either(call))


def _residual_concat(call: _Call) -> tuple[Expr, Expr]:
    from tvm import relax

    parts = [call.looked_up(f"table_{name.lower()}", call.tensors[name]) for name in ("A", "B")]
    return call.updated(call.emit(relax.op.concat(parts, axis=3)), _either(call))


def _either(call: _Call) -> Expr | None:
    """Not 0 where one of two maps is not 0; None where that is everywhere."""
    from tvm import relax

    known = [call.constant(name) for name in ("changed_a", "changed_b")]
    if any(values is not None and values.all() for values in known):
        return None
    return call.emit(relax.op.maximum(call.tensors["changed_a"], call.tensors["changed_b"]))


def _residual_table(call: _Call) -> tuple[Expr, Expr]:
    known = call.constant("changed")
    active = None if known is not None and known.all() else call.tensors["changed"]
    return call.updated(call.looked_up("table", call.tensors["X"]), active)


def _residual_pool(call: _Call) -> tuple[Expr, Expr]:
    from tvm import relax

    windows, x, zero_point = call.windows(), call.tensors["X"], call.integer("zero_point")
    _, height, width, _ = call.sizes("X")
    if call.integer("average"):
        counts = windows.taps(np.ones((1, height, width), np.uint8)).sum(axis=0)[0]
        sums = call.loops(lambda image: loops.pooled(image, windows, zero_point), x)
        fresh = call.loops(
            lambda totals, reciprocals: loops.mean_codes(totals, reciprocals, zero_point),
            sums,
            np.float32(1) / counts.astype(np.float32),
        )
    else:
        greatest = call.loops(lambda image: loops.pooled(image, windows, None), x)
        fresh = call.emit(relax.op.astype(greatest, "uint8"))
    return call.updated(fresh, _touched(call, windows, 1))


def _residual_resize(call: _Call) -> tuple[Expr, Expr]:
    factor, linear = call.integer("factor"), bool(call.integer("linear"))
    if factor < 1 or (linear and factor not in {2, 4}):
        raise ValueError(f"ResidualResize has factor {factor} with linear={int(linear)}; linear takes 2 or 4")
    fresh = call.loops(lambda image: loops.enlarged(image, factor, linear=linear), call.tensors["X"])
    around = Windows((3, 3), (1, 1), (1, 1, 1, 1)) if linear else Windows((1, 1), (1, 1), (0, 0, 0, 0))
    return call.updated(fresh, _touched(call, around, 1), tile=factor)  # a tile is what one pixel becomes
