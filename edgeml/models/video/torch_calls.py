"""What each torch module, function and method means as steps of a video graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError
from edgeml.models.video.steps import NO_PADS, Steps, Value
from edgeml.models.video.torch_arguments import (
    array_of,
    ceil_pads,
    constant_of,
    conv_pads,
    pair,
    pointwise_function,
    same_pads,
    sum_pads,
    torch_pads,
)
from edgeml.models.video.torch_words import ALLOWED, REASONS, SAME_PADDING, UNCHANGED

if TYPE_CHECKING:
    from torch import Tensor

_LINEAR_FACTORS = (2, 4)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call in a traced network, to be written as steps.

    Attributes:
        steps: where steps go.
        path: of the module whose code the call stands in.
        word: what is called, in torch's word ("add", "Conv2d").
        name: for the value the call makes.
        shape: of what the call returns.
        alone: nothing else reads what the call reads.
    """

    steps: Steps
    path: str
    word: str
    name: str
    shape: tuple[int, ...]
    alone: bool

    def translate(self, called: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
        """The call's value; arguments that depend on the frame are `Value`s.

        Args:
            called: the module, or the function.
            args: positional arguments; a module's input, a method's owner come first.
            kwargs: the others.

        Raises:
            UsageError: no step stands for the call.
        """
        from torch import nn

        if "input" in kwargs:
            args, kwargs = (kwargs["input"], *args), {key: each for key, each in kwargs.items() if key != "input"}
        if isinstance(called, nn.Module):
            return self._module(called, args[0])
        if "dropout" in self.word and kwargs.get("training", args[2] if len(args) > 2 else True):
            self._refuse("random in evaluation too; give it training=self.training")
        function = pointwise_function(self.word, args[1:], kwargs)
        if function is not None and args:
            return self._pointwise(args[0], function)
        if self.word in UNCHANGED and args:
            return self._view(args[0])
        handler: Callable[..., Value] | None = getattr(self, f"_{self.word}", None) if self.word in _HANDLED else None
        if handler is None:
            self._refuse(REASONS.get(self.word, "no step of a video network"))
        try:
            return handler(*args, **{_TORCH_WORDS.get(key, key): value for key, value in kwargs.items()})
        except TypeError as error:
            if "argument" not in str(error):
                raise
            self._refuse(f"called with arguments that a video network has no step for ({error})")

    def _module(self, module: Any, x: Value) -> Value:
        from torch import nn

        word = type(module).__name__
        if isinstance(module, nn.Conv2d):
            if module.padding_mode != "zeros":
                self._refuse(f"padded by {module.padding_mode!r} values; use padding_mode='zeros'")
            padding: Any = same_pads(x.shape, module) if word in SAME_PADDING else module.padding
            return self._conv2d(
                x, module.weight, module.bias, module.stride, padding, module.dilation, module.groups
            )  # fmt: skip
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            return self._batch_norm(
                x, module.running_mean, module.running_var, module.weight, module.bias, eps=module.eps
            )
        if isinstance(module, nn.Linear):
            return self._linear(x, module.weight, module.bias)
        if isinstance(module, nn.MaxPool2d):
            if word in SAME_PADDING:
                x = self._pad(x, torch_pads(same_pads(x.shape, module)), value=-math.inf)
            padding = 0 if word in SAME_PADDING else module.padding
            return self._max_pool2d(
                x, module.kernel_size, module.stride, padding, module.dilation, module.ceil_mode, module.return_indices
            )
        if isinstance(module, nn.AvgPool2d):
            return self._avg_pool2d(
                x, module.kernel_size, module.stride, module.padding, module.ceil_mode, module.count_include_pad,
                module.divisor_override,
            )  # fmt: skip
        if isinstance(module, nn.AdaptiveAvgPool2d):
            return self._adaptive_avg_pool2d(x, module.output_size)
        if isinstance(module, nn.Upsample):  # UpsamplingBilinear2d too, which aligns corners
            return self._interpolate(x, module.size, module.scale_factor, module.mode, module.align_corners)
        if isinstance(module, nn.ZeroPad2d | nn.ConstantPad2d):
            return self._pad(x, module.padding, value=float(module.value))
        if isinstance(module, nn.Flatten) or word in UNCHANGED:
            return self._view(x)
        if isinstance(module, nn.PReLU) and module.num_parameters > 1:
            self._refuse(f"a function with {module.num_parameters} slopes; use one slope for all channels")
        if pointwise_function(word, (), {}) is None:
            self._refuse(REASONS.get(word, "no step of a video network"))
        return self._pointwise(x, module)

    # Each takes its arguments as torch's function of that name does; those with a leading underscore show in the
    # result's shape.

    def _conv2d(
        self,
        x: Value,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Value:
        if isinstance(weight, Value) or isinstance(bias, Value):
            self._refuse("a convolution whose weights depend on the frame")
        if any(x.pads) and x.pad_value != 0:
            self._refuse(f"a convolution padded with {x.pad_value:g}; pad with 0")
        filters = array_of(weight)
        if x.name in self.steps.pooled and filters.shape[2:] == (1, 1) and groups == 1 and not any(x.pads):
            value = self._dense(x, filters[:, :, 0, 0], bias)  # a classifier or its head, written as a convolution
            return Value(name=value.name, shape=self.shape)
        dilations = pair(dilation)
        pads = conv_pads(padding, filters.shape[2:], dilations)
        return self.steps.conv(
            self.name,
            self._map(x, padded=True),
            filters,
            np.zeros(len(filters), np.float32) if bias is None else array_of(bias),
            strides=pair(stride),
            pads=sum_pads(pads, x.pads),
            dilations=dilations,
            group=groups,
        )

    def _linear(self, x: Value, weight: Tensor, bias: Tensor | None = None) -> Value:
        if len(x.shape) != 2 or any(x.pads):
            self._refuse(f"a linear layer on a value of shape {x.shape}; flatten it first, or use a 1x1 convolution")
        return self._dense(x, array_of(weight), bias)

    def _dense(self, x: Value, matrix: npt.NDArray[np.float32], bias: Tensor | None) -> Value:
        offsets = np.zeros(len(matrix), np.float32) if bias is None else array_of(bias)
        return self.steps.dense(self.name, x.name, matrix, offsets)

    def _batch_norm(
        self,
        x: Value,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        _momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Value:
        if running_mean is None or running_var is None or training:
            self._refuse("a normalization by the frame's own statistics; use track_running_stats=True and eval()")
        deviation = np.sqrt(array_of(running_var).astype(np.float64) + eps)
        scale = (1.0 if weight is None else array_of(weight).astype(np.float64)) / deviation
        shift = (0.0 if bias is None else array_of(bias).astype(np.float64)) - array_of(running_mean) * scale
        return self._affine(x, scale, shift, listed=True)

    def _add(self, a: Any, b: Any, alpha: float = 1) -> Value:
        if not isinstance(a, Value):
            a, b = b, a
            if alpha != 1:
                self._refuse(f"a sum with alpha={alpha}; multiply apart from it")
        if not isinstance(b, Value):
            return self._affine(a, 1.0, constant_of(b) * alpha)
        if alpha != 1:
            self._refuse(f"a sum with alpha={alpha}; multiply apart from it")
        left, right = self._map(a), self._map(b)
        if self.steps.shapes[left] != self.steps.shapes[right]:
            self._refuse(f"a sum of values of the shapes {a.shape} and {b.shape}; both must have one shape")
        return self.steps.add(self.name, left, right)

    def _sub(self, a: Any, b: Any, alpha: float = 1) -> Value:
        if isinstance(a, Value) and isinstance(b, Value):
            self._refuse("a difference of two computed values; only sums have a step")
        if isinstance(a, Value):
            return self._affine(a, 1.0, -constant_of(b) * alpha)
        return self._affine(b, -float(alpha), constant_of(a))

    def _mul(self, a: Any, b: Any) -> Value:
        if isinstance(a, Value) and isinstance(b, Value):
            self._refuse(REASONS["mul"])
        a, b = (a, b) if isinstance(a, Value) else (b, a)
        return self._affine(a, constant_of(b), 0.0)

    def _truediv(self, a: Any, b: Any) -> Value:
        if isinstance(b, Value):
            self._refuse("a quotient by a computed value")
        return self._affine(a, 1.0 / constant_of(b), 0.0)

    def _cat(self, tensors: Any, dim: int = 0) -> Value:
        parts = list(tensors)
        if any(not isinstance(part, Value) for part in parts):
            self._refuse("a concatenation with a constant; only maps that depend on the frame can be parts")
        if dim not in {1, 1 - len(self.shape)}:
            self._refuse(f"a concatenation along axis {dim}; only channels, axis 1, can be put side by side")
        names = tuple(self._map(part) for part in parts)
        return parts[0] if len(parts) == 1 else self.steps.concat(self.name, names)

    def _max_pool2d(
        self,
        x: Value,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        _ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Value:
        if pair(dilation) != (1, 1):
            self._refuse(f"max pooling with dilation {dilation}; only 1 is allowed")
        if return_indices:
            self._refuse("max pooling that returns indices; only the maxima can be had")
        if any(x.pads) and x.pad_value != -math.inf:
            self._refuse(f"max pooling padded with {x.pad_value:g}; use the pooling's own padding")
        pads = sum_pads(conv_pads(padding, pair(kernel_size), (1, 1)), x.pads)
        return self._pool(x, "max", kernel_size, stride, pads)

    def _avg_pool2d(
        self,
        x: Value,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Value:
        if divisor_override is not None:
            self._refuse(f"average pooling with divisor_override={divisor_override}; leave it out")
        pads = conv_pads(padding, pair(kernel_size), (1, 1))
        if any(x.pads) or (any(pads) and count_include_pad):
            # Padding that counts as zeros makes every divisor the same: a convolution with equal taps.
            if ceil_mode or x.pad_value != 0:
                self._refuse("average pooling over padding with ceil_mode; use count_include_pad=False")
            height, width = pair(kernel_size)
            name = self._map(x, padded=True)
            taps = np.full((x.shape[1], 1, height, width), 1.0 / (height * width), np.float32)
            return self.steps.conv(
                self.name, name, taps, np.zeros(len(taps), np.float32), group=len(taps), pads=sum_pads(pads, x.pads),
                strides=pair(kernel_size if stride in (None, []) else stride),
            )  # fmt: skip
        return self._pool(x, "average", kernel_size, stride, pads)

    def _pool(
        self, x: Value, mode: Literal["max", "average"], kernel: Any, stride: Any, pads: tuple[int, int, int, int]
    ) -> Value:
        strides = pair(kernel if stride in (None, []) else stride)
        pads = ceil_pads(self.steps.shapes[x.name], self.shape, pair(kernel), strides, pads)
        return self.steps.pool(self.name, self._map(x, padded=True), mode, pair(kernel), strides, pads)

    def _adaptive_avg_pool2d(self, x: Value, _output_size: Any) -> Value:
        height, width = self.shape[2:]
        if (height, width) == (1, 1):
            return self.steps.global_pool(self.name, self._map(x))
        if x.shape[2] % height or x.shape[3] % width:
            self._refuse(f"pooling of {x.shape[2]}x{x.shape[3]} pixels to {height}x{width}, which does not divide them")
        window = (x.shape[2] // height, x.shape[3] // width)
        return self.steps.pool(self.name, self._map(x), "average", window, window, NO_PADS)

    def _mean(self, x: Value, dim: Any = None, _keepdim: bool = False) -> Value:
        axes = () if dim is None else tuple(each % len(x.shape) for each in ([dim] if isinstance(dim, int) else dim))
        if len(x.shape) != 4 or sorted(axes) != [2, 3]:
            self._refuse(f"a mean over the axes {dim}; only that of each channel's map, (2, 3), has a step")
        value = self.steps.global_pool(self.name, self._map(x))
        return Value(name=value.name, shape=self.shape)

    def _interpolate(
        self,
        x: Value,
        _size: Any = None,
        _scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        _recompute_scale_factor: bool | None = None,
        antialias: bool = False,
    ) -> Value:
        name = self._map(x)
        (height, width), (out_height, out_width) = x.shape[2:], self.shape[2:]
        factor = out_height // height
        if (out_height, out_width) == (height, width):
            return x
        if (out_height, out_width) != (height * factor, width * factor):
            self._refuse(
                f"resizing from {height}x{width} to {out_height}x{out_width}; allowed: a whole factor, one for both"
            )
        if mode not in {"nearest", "nearest-exact", "bilinear"} or align_corners or antialias:
            self._refuse(
                f"resizing with mode={mode!r}, align_corners={align_corners}, antialias={antialias}; allowed: nearest, "
                "and bilinear with neither"
            )
        if mode == "bilinear" and factor not in _LINEAR_FACTORS:
            self._refuse(f"bilinear upsampling by {factor}; allowed: 2 and 4, one after the other for more")
        return self.steps.resize(self.name, name, "linear" if mode == "bilinear" else "nearest", factor)

    def _pad(self, x: Value, pad: Any, mode: str = "constant", value: float | None = None) -> Value:
        sides = tuple(int(side) for side in ([pad] * 4 if isinstance(pad, int) else pad))
        if mode != "constant" or len(x.shape) != 4 or len(sides) not in {2, 4} or min(sides) < 0:
            self._refuse(f"padding by {sides}, mode {mode!r}; allowed: constant values around rows and columns")
        value = 0.0 if value is None else float(value)
        if any(x.pads) and x.pad_value != value:
            self._refuse(f"padding with {value:g} around padding with {x.pad_value:g}")
        left, right, top, bottom = (*sides, 0, 0)[:4]
        height, width = x.shape[2] + top + bottom, x.shape[3] + left + right
        pads = sum_pads((top, left, bottom, right), x.pads)
        return Value(name=x.name, shape=(*x.shape[:2], height, width), pads=pads, pad_value=value)

    def _view(self, x: Value, *_form: Any) -> Value:
        """The same numbers in the same order; whoever reads a view checks that its shape will do."""
        if any(x.pads) and x.shape != self.shape:
            self._refuse("a view of a padded map")
        return Value(name=x.name, shape=self.shape, pads=x.pads, pad_value=x.pad_value)

    def _pointwise(self, x: Value, function: Callable[[Tensor], Tensor]) -> Value:
        value = self.steps.pointwise(self.name, self._whole(x), self.word, function)
        return Value(name=value.name, shape=x.shape)

    def _affine(self, x: Value, scale: Any, shift: Any, *, listed: bool = False) -> Value:
        """`x` times and plus a constant, or one for each channel; `listed` says that those are plain lists."""
        name = self._whole(x)
        channels = self.steps.shapes[name][1]
        if x.shape[1] != channels:
            self._refuse(f"reads a map of shape {self.steps.shapes[name]} rearranged to {x.shape}")
        numbers = [np.asarray(each, np.float64) for each in (scale, shift)]
        for each in numbers:
            form = (*(1,) * (len(x.shape) - each.ndim), *each.shape)
            if each.size > 1 and not listed and (each.size != channels or form[1] != channels):
                self._refuse(f"a constant of shape {each.shape} on a value of shape {x.shape}; allowed: one a channel")
        full = [np.broadcast_to(each.reshape(-1), (channels,)) for each in numbers]
        value = self.steps.affine(self.name, name, full[0], full[1], alone=self.alone)
        return Value(name=value.name, shape=x.shape)

    def _map(self, x: Value, *, padded: bool = False) -> str:
        """Name of a value that is as its step makes it, apart from padding where the reader takes that up."""
        if not isinstance(x, Value):
            self._refuse("a call on a constant")
        natural = self.steps.shapes[x.name]
        grown = tuple(
            size + (x.pads[axis - 2] + x.pads[axis] if padded and axis > 1 else 0) for axis, size in enumerate(natural)
        )
        if x.shape != grown:
            kind = "padded" if any(x.pads) else "rearranged"
            self._refuse(
                f"reads a map of shape {natural} {kind} to {x.shape}; only convolutions and pooling take padding"
            )
        return x.name

    def _whole(self, x: Value) -> str:
        if not isinstance(x, Value):
            self._refuse("a call on a constant")
        if any(x.pads):
            self._refuse("a function of a padded map; pad after it")
        return x.name

    def _refuse(self, reason: str) -> NoReturn:
        raise UsageError(f"{self.path or 'the network'}: {self.word} is {reason}; allowed in video networks: {ALLOWED}")


_HANDLED = frozenset({
    "conv2d", "linear", "batch_norm", "add", "sub", "mul", "truediv", "cat", "max_pool2d", "avg_pool2d",
    "adaptive_avg_pool2d", "mean", "interpolate", "pad",
})  # fmt: skip
_TORCH_WORDS = {
    "other": "b", "axis": "dim", "momentum": "_momentum", "ceil_mode": "_ceil_mode",
    "output_size": "_output_size", "keepdim": "_keepdim", "size": "_size", "scale_factor": "_scale_factor",
    "recompute_scale_factor": "_recompute_scale_factor",
}  # fmt: skip
