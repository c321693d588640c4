"""Convolution and dense layers that compute with the signs of their inputs and weights, in a form that can be trained.

Training keeps real-valued latent weights and binarizes them in every forward pass; `edgeml.models.binary.deploy` packs
their signs into bits. There is no bias: normalization follows, and its shift is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeml.core.errors import UsageError
from edgeml.models.binary.estimators import EstimatorName, clipped_identity, find_estimator, sign

ScaleName = Literal["mean", "learned", "one"]
LATENT_LIMIT = 1.0


class _BinaryLayer(nn.Module):
    """What both layers share: latent weights, thresholds, scales, and the switch for the first stage of training.

    Attributes:
        weight: the latent weights, float32 (output, ...).
        threshold: float32 (input,), a parameter where it is learned (RSign, Liu et al., ReActNet, ECCV 2020), else
            zeros that are no part of the state dict.
        scale: float32 (output,) where it is learned, else None.
        binarize_weights: False in the first stage of two-stage training (Martinez et al., ICLR 2020): inputs are
            binarized already, weights are still real.
    """

    threshold: Tensor
    scale: nn.Parameter | None
    binarize_weights: bool

    def __init__(
        self,
        weight: Tensor,
        inputs: int,
        *,
        estimator: EstimatorName,
        weight_scale: ScaleName,
        learned_threshold: bool,
    ) -> None:
        super().__init__()
        if weight_scale not in get_args(ScaleName):
            raise UsageError(f"unknown weight scale {weight_scale!r}; allowed: {', '.join(get_args(ScaleName))}")
        self.estimator = estimator
        self.weight_scale = weight_scale
        self.learned_threshold = learned_threshold
        self.binarize_weights = True
        self._binarize = find_estimator(estimator)
        self.weight = nn.Parameter(weight)
        if learned_threshold:
            self.threshold = nn.Parameter(torch.zeros(inputs))
        else:
            self.register_buffer("threshold", torch.zeros(inputs), persistent=False)
        self.scale = nn.Parameter(torch.ones(len(weight))) if weight_scale == "learned" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new latent weights (He et al., 2015); thresholds become 0 and learned scales the weights' mean size."""
        nn.init.kaiming_normal_(self.weight)
        nn.init.zeros_(self.threshold)
        self.settle_scale()

    @torch.no_grad()
    def settle_scale(self) -> None:
        """Set learned scales to the mean size of the latent weights, where the signs are closest to the weights."""
        if self.scale is not None:
            self.scale.copy_(self._mean_size())

    @property
    def effective_scale(self) -> Tensor:
        """float32 (output,): what the counts of signs are multiplied by.

        The mean is no path for gradients: the weights' magnitude has no other effect that training should see.
        """
        if self.scale is not None:
            return self.scale
        return self.weight.new_ones(len(self.weight)) if self.weight_scale == "one" else self._mean_size()

    def _mean_size(self) -> Tensor:
        return self.weight.detach().abs().flatten(1).mean(1)

    def _input_signs(self, x: Tensor, threshold: Tensor) -> Tensor:
        return self._binarize(x - threshold if self.learned_threshold else x)

    def _weights(self) -> tuple[Tensor, Tensor | None]:
        """What to multiply input signs with, and the scale to multiply the result with, if any.

        In evaluation the scale comes last, as in the deployed operator: counts are exact integers, so that both round
        alike. In training it is cheaper on the weights.
        """
        if not self.binarize_weights:
            return self.weight, None
        if not self.training:
            return sign(self.weight), self.effective_scale
        scale = self.effective_scale.reshape(-1, *[1] * (self.weight.ndim - 1))
        return clipped_identity(self.weight) * scale, None


class BinaryConv2d(_BinaryLayer):
    """Y[:, m] = scale[m] * conv(sign(X - threshold), sign(weight[m])), with zeros around the signs.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: height and width of the kernel, or both at once.
        stride: step of the kernel.
        padding: rows and columns of exact zeros around the signs.
        dilation: distance between the kernel's elements.
        groups: parts that inputs and outputs are split into.
        estimator: the gradient of the inputs' sign; the weights' is always the clipped identity.
        weight_scale: "mean" is the latent weights' mean size per output (Rastegari et al., XNOR-Net, ECCV 2016),
            "learned" a parameter, "one" none.
        learned_threshold: learn where each input channel changes sign.

    Raises:
        UsageError: a name is unknown, or the groups do not divide the channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        estimator: EstimatorName = "approx_sign",
        weight_scale: ScaleName = "mean",
        learned_threshold: bool = False,
    ) -> None:
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise UsageError(f"{groups} groups do not divide {in_channels} input and {out_channels} output channels")
        kernel_shape = _pair(kernel_size)
        super().__init__(
            torch.empty(out_channels, in_channels // groups, *kernel_shape),
            in_channels,
            estimator=estimator,
            weight_scale=weight_scale,
            learned_threshold=learned_threshold,
        )
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_shape
        self.stride, self.padding, self.dilation, self.groups = _pair(stride), _pair(padding), _pair(dilation), groups

    def forward(self, x: Tensor) -> Tensor:
        """float32 (batch, out_channels, height, width) of float32 (batch, in_channels, height, width)."""
        weight, scale = self._weights()
        signs = self._input_signs(x, self.threshold[:, None, None])
        y = F.conv2d(signs, weight, None, self.stride, self.padding, self.dilation, self.groups)
        return y if scale is None else y * scale[:, None, None]

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return (
            f"{self.in_channels}, {self.out_channels}, {self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, estimator={self.estimator!r}, "
            f"weight_scale={self.weight_scale!r}, learned_threshold={self.learned_threshold}"
        )


class BinaryLinear(_BinaryLayer):
    """Y[..., m] = scale[m] * sum_k sign(X - threshold)[..., k] * sign(weight[m, k]).

    Args:
        in_features: length of the input's last axis.
        out_features: length of the output's last axis.
        estimator: as in `BinaryConv2d`, like the other options.
        weight_scale: "mean", "learned" or "one".
        learned_threshold: learn where each input feature changes sign.

    Raises:
        UsageError: a name is unknown.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        estimator: EstimatorName = "approx_sign",
        weight_scale: ScaleName = "mean",
        learned_threshold: bool = False,
    ) -> None:
        super().__init__(
            torch.empty(out_features, in_features),
            in_features,
            estimator=estimator,
            weight_scale=weight_scale,
            learned_threshold=learned_threshold,
        )
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Tensor) -> Tensor:
        """float32 (..., out_features) of float32 (..., in_features)."""
        weight, scale = self._weights()
        y = F.linear(self._input_signs(x, self.threshold), weight)
        return y if scale is None else y * scale

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return (
            f"{self.in_features}, {self.out_features}, estimator={self.estimator!r}, "
            f"weight_scale={self.weight_scale!r}, learned_threshold={self.learned_threshold}"
        )


def binary_layers(module: nn.Module) -> Iterator[tuple[str, BinaryConv2d | BinaryLinear]]:
    """The binary layers of `module` with their names, in the module's order."""
    for name, layer in module.named_modules():
        if isinstance(layer, (BinaryConv2d, BinaryLinear)):
            yield name, layer


def set_binarize_weights(module: nn.Module, binarize: bool) -> None:
    """Switch all binary layers of `module` to the signs of their weights, or to the real weights."""
    for _, layer in binary_layers(module):
        layer.binarize_weights = binarize


@torch.no_grad()
def clip_latent_weights(module: nn.Module) -> None:
    """Bring latent weights back to [-1, 1]: beyond it the estimator's slope is 0, so that they could never return."""
    for _, layer in binary_layers(module):
        layer.weight.clamp_(-LATENT_LIMIT, LATENT_LIMIT)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
