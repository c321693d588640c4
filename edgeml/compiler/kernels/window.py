"""Geometry of a sliding window: which taps of it lie inside the image, for which output pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tvm import tirx

from edgeml.compiler.kernels.vector import Expr


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A window along one axis, as ONNX Conv and the pooling operators define it.

    Attributes:
        size_in: input length.
        taps: window length.
        stride: step between outputs.
        pad_begin: zeros before the input.
        pad_end: zeros after it.
        dilation: distance between taps.
    """

    size_in: int
    taps: int
    stride: int = 1
    pad_begin: int = 0
    pad_end: int = 0
    dilation: int = 1

    @property
    def size_out(self) -> int:
        """Output length."""
        reach = (self.taps - 1) * self.dilation + 1
        return (self.size_in + self.pad_begin + self.pad_end - reach) // self.stride + 1

    def inside(self, output: int, tap: int) -> bool:
        """Whether a tap of an output's window lies on the input."""
        return 0 <= self.source(output, tap) < self.size_in

    def source(self, output: int, tap: int) -> int:
        """Input position under a tap of an output's window."""
        return output * self.stride - self.pad_begin + tap * self.dilation


@dataclass(frozen=True)
class Span:
    """Neighbouring tiles of outputs that have the same code.

    Attributes:
        first: first output of the first tile.
        width: outputs in a tile.
        tiles: how many tiles follow each other.
    """

    first: int
    width: int
    tiles: int


def spans(axis: Axis, width: int) -> Iterator[Span]:
    """The outputs of an axis cut into tiles of at most `width`, those at the borders apart.

    Tiles whose windows lie inside the input come in one span with a loop around them; the others, and a rest that is
    no whole tile, come one by one, so that what is outside is known when the code is made.
    """
    first = 0
    while first < axis.size_out:
        count = 0
        while _is_inner(axis, first + count * width, width):
            count += 1
        if count:
            yield Span(first, width, count)
            first += count * width
            continue
        size = min(width, axis.size_out - first)
        yield Span(first, size, 1)
        first += size


def _is_inner(axis: Axis, first: int, width: int) -> bool:
    last = first + width - 1
    return last < axis.size_out and axis.inside(first, 0) and axis.inside(last, axis.taps - 1)


def touched(axis: Axis, span: Span) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Each input position that the windows of a tile touch, relative to where the tile begins (in whole strides).

    With it come the (output of the tile, tap) pairs that read it, so that it need be loaded only once.
    """
    readers: dict[int, list[tuple[int, int]]] = {}
    for output in range(span.width):
        for tap in range(axis.taps):
            if span.tiles > 1 or axis.inside(span.first + output, tap):
                readers.setdefault(axis.source(output, tap), []).append((output, tap))
    yield from sorted(readers.items())


def rows_inside(rows: Axis, row: Expr) -> tuple[Expr, Expr]:
    """First tap of the window that lies on the input, and the one after the last, for an output known at run time."""
    begin = row * rows.stride - rows.pad_begin
    low: Expr = 0
    high: Expr = rows.taps
    if rows.pad_begin:
        low = tirx.Max(tirx.truncdiv(rows.dilation - 1 - begin, rows.dilation), 0)
    if rows.source(rows.size_out - 1, rows.taps - 1) >= rows.size_in:
        high = tirx.Min(tirx.truncdiv(rows.size_in - begin + rows.dilation - 1, rows.dilation), rows.taps)
    return low, high
