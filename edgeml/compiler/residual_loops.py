"""What the operators of residual video need beside relax's own operators, as tensor expressions: windows, tiles, codes.

Each function takes and gives tensors of TVM's `te`; pixel maps are uint8 or int32, 0 where nothing changed.
"""

from __future__ import annotations

from typing import Any

from edgeml.ops.residual.windows import Windows

Tensor = Any


def changed_windows(changed: Tensor, windows: Windows) -> Tensor:
    """1 where a window sees a pixel that is not 0, else 0, int32 (N, OH, OW)."""
    from tvm import te, tirx

    samples, height, width = changed.shape
    down, along = _taps(windows)

    def seen(sample: Any, row: Any, column: Any) -> Any:
        place, inside = _tap(windows, (height, width), (row, column), (down, along))
        one = tirx.Select(changed[(sample, *place)] != 0, 1, 0)
        return te.max(tirx.if_then_else(inside, one, 0), axis=[down, along])

    return te.compute((samples, *windows.output_size((int(height), int(width)))), seen, name="changed_windows")


def pooled(x: Tensor, windows: Windows, zero_point: int | None) -> Tensor:
    """Each window's greatest code, or its sum of codes less `zero_point` where that is given, int32 (N, OH, OW, C)."""
    from tvm import te, tirx

    samples, height, width, channels = x.shape
    down, along = _taps(windows)

    def over(sample: Any, row: Any, column: Any, channel: Any) -> Any:
        place, inside = _tap(windows, (height, width), (row, column), (down, along))
        code = x[(sample, *place, channel)].astype("int32")
        if zero_point is None:
            return te.max(tirx.if_then_else(inside, code, -1), axis=[down, along])
        return te.sum(tirx.if_then_else(inside, code - zero_point, 0), axis=[down, along])

    size = windows.output_size((int(height), int(width)))
    return te.compute((samples, *size, channels), over, name="pooled")


def mean_codes(sums: Tensor, reciprocals: Tensor, zero_point: int) -> Tensor:
    """Codes of sums (N, OH, OW, C) times the reciprocal of each window's pixels, float32 (OH, OW)."""
    from tvm import te

    def mean(sample: Any, row: Any, column: Any, channel: Any) -> Any:
        total = sums[sample, row, column, channel].astype("float32")
        return _code(total * reciprocals[row, column], zero_point)

    return te.compute(sums.shape, mean, name="mean_codes")


def added(a: Tensor, b: Tensor, reals: tuple[Tensor, Tensor], table: Tensor, zero_point: int) -> Tensor:
    """table[code of a's value and b's], uint8.

    Args:
        a: codes.
        b: codes of the same shape.
        reals: what each code of `a` and of `b` stands for, float32 (256): read and not computed, since a product and a
            sum would be rounded once where the processor can.
        table: uint8 (256).
        zero_point: of the result.
    """
    from tvm import te

    def total(*at: Any) -> Any:
        value = reals[0][a[at].astype("int32")] + reals[1][b[at].astype("int32")]
        return table[_code(value, zero_point).astype("int32")]

    return te.compute(a.shape, total, name="added")


def enlarged(x: Tensor, factor: int, *, linear: bool) -> Tensor:
    """Codes of an image `factor` times as high and wide, uint8; `linear` weighs the four nearest pixels, exactly."""
    from tvm import te, tirx

    samples, height, width, channels = x.shape
    steps = 2 * factor

    def parts(index: Any, length: Any) -> list[tuple[Any, Any]]:
        place = 2 * index + (1 - factor)  # of the centre, in input pixels times `steps`
        first, beyond = tirx.floordiv(place, steps), tirx.floormod(place, steps)
        pixels = tirx.max(first, 0), tirx.min(first + 1, length - 1)
        return list(zip(pixels, (steps - beyond, beyond), strict=True))

    def pixel(sample: Any, row: Any, column: Any, channel: Any) -> Any:
        if not linear:
            return x[sample, row // factor, column // factor, channel]
        total = tirx.const(0, "int32")
        for upper, vertical in parts(row, height):
            for left, horizontal in parts(column, width):
                weight = (vertical * horizontal).astype("int32")
                total = total + weight * x[sample, upper, left, channel].astype("int32")
        return _code(total.astype("float32") * tirx.const(1 / steps**2, "float32"), 0)

    return te.compute((samples, height * factor, width * factor, channels), pixel, name="enlarged")


def greatest_difference(x: Tensor, previous: Tensor) -> Tensor:
    """Over the channels of each pixel, int32 (N, H, W)."""
    from tvm import te

    channel = te.reduce_axis((0, x.shape[3]), "channel")

    def greatest(*at: Any) -> Any:
        return te.max(_absolute(_difference(x, previous, (*at, channel))), axis=channel)

    return te.compute(x.shape[:3], greatest, name="greatest_difference")


def squared_difference(x: Tensor, previous: Tensor) -> Tensor:
    """Summed over the channels of each pixel, int64 (N, H, W)."""
    from tvm import te

    channel = te.reduce_axis((0, x.shape[3]), "channel")

    def total(*at: Any) -> Any:
        apart = _difference(x, previous, (*at, channel))
        return te.sum((apart * apart).astype("int64"), axis=channel)

    return te.compute(x.shape[:3], total, name="squared_difference")


def of_tiles(values: Tensor, tile: int, *, total: bool = False) -> Tensor:
    """The greatest value of each tile, or the sum, of values (N, H, W) that are none below 0."""
    from tvm import te, tirx

    samples, height, width = values.shape
    down, along = te.reduce_axis((0, tile), "down"), te.reduce_axis((0, tile), "along")

    def over(sample: Any, row: Any, column: Any) -> Any:
        at = row * tile + down, column * tile + along
        inside = tirx.all(at[0] < height, at[1] < width)
        value = tirx.if_then_else(inside, values[(sample, *at)], tirx.const(0, values.dtype))
        return (te.sum if total else te.max)(value, axis=[down, along])

    shape = (samples, -(-int(height) // tile), -(-int(width) // tile))
    return te.compute(shape, over, name="of_tiles")


def renewed(fresh: Tensor, active: Tensor, previous: Tensor, tile: int = 1) -> Tensor:
    """`fresh` where the pixel's tile in the map `active` is not 0, `previous` elsewhere, uint8 (N, H, W, C)."""
    from tvm import te, tirx

    def pixel(sample: Any, row: Any, column: Any, channel: Any) -> Any:
        at = (sample, row, column, channel)
        return tirx.Select(active[sample, row // tile, column // tile] != 0, fresh[at], previous[at])

    return te.compute(fresh.shape, pixel, name="renewed")


def changed_pixels(y: Tensor, previous: Tensor) -> Tensor:
    """1 where a channel of the codes differs from before, else 0, uint8 (N, H, W)."""
    from tvm import te, tirx

    channel = te.reduce_axis((0, y.shape[3]), "channel")

    def differs(*at: Any) -> Any:
        one, none = (tirx.const(number, "uint8") for number in (1, 0))
        return te.max(tirx.Select(y[(*at, channel)] != previous[(*at, channel)], one, none), axis=channel)

    return te.compute(y.shape[:3], differs, name="changed_pixels")


def _taps(windows: Windows) -> tuple[Any, Any]:
    from tvm import te

    names = ("down", "along")
    axes = [te.reduce_axis((0, taps), name) for taps, name in zip(windows.kernel_shape, names, strict=True)]
    return axes[0], axes[1]


def _tap(windows: Windows, size: tuple[Any, Any], window: tuple[Any, Any], tap: tuple[Any, Any]) -> tuple[Any, Any]:
    """Where a tap of a window lies, (row, column), and whether that is inside the image."""
    from tvm import tirx

    at = [
        window[axis] * windows.strides[axis] + tap[axis] * windows.dilations[axis] - windows.pads[axis]
        for axis in (0, 1)
    ]
    return tuple(at), tirx.all(at[0] >= 0, at[0] < size[0], at[1] >= 0, at[1] < size[1])


def _code(value: Any, zero_point: int) -> Any:
    from tvm import tirx

    low, high = (tirx.const(number, "float32") for number in (0, 255))
    shifted = tirx.nearbyint(value) + tirx.const(zero_point, "float32")
    return tirx.min(tirx.max(shifted, low), high).astype("int32").astype("uint8")


def _difference(x: Tensor, previous: Tensor, at: tuple[Any, ...]) -> Any:
    return x[at].astype("int32") - previous[at].astype("int32")


def _absolute(value: Any) -> Any:
    from tvm import tirx

    return tirx.max(value, 0 - value)
