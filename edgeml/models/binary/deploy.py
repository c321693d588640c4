"""Turns a trained binary network into the form that is exported: signs packed into bits, latent weights gone."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from edgeml.core.errors import UsageError
from edgeml.models.binary import torch_ops
from edgeml.models.binary.layers import BinaryConv2d, BinaryLinear, binary_layers
from edgeml.ops.bits import pack_signs


class PackedBinaryConv2d(nn.Module):
    """A BinaryConv2d as one operator: weight uint8 (output, bytes), threshold (input,), scale and bias (output,)."""

    weight: Tensor
    threshold: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, layer: BinaryConv2d) -> None:
        super().__init__()
        _take_buffers(self, layer)
        self.channels = layer.in_channels
        self.kernel_shape = list(layer.kernel_size)
        self.strides = list(layer.stride)
        self.pads = [*layer.padding, *layer.padding]
        self.dilations = list(layer.dilation)
        self.group = layer.groups

    def forward(self, x: Tensor) -> Tensor:
        """float32 (batch, output, height, width)."""
        y: Tensor = torch_ops.binary_conv(
            x,
            self.weight,
            self.threshold,
            self.scale,
            self.bias,
            self.kernel_shape,
            self.channels,
            self.strides,
            self.pads,
            self.dilations,
            self.group,
        )
        return y


class PackedBinaryLinear(nn.Module):
    """A BinaryLinear as one operator: weight uint8 (output, bytes), threshold (input,), scale and bias (output,)."""

    weight: Tensor
    threshold: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, layer: BinaryLinear) -> None:
        super().__init__()
        _take_buffers(self, layer)
        self.features = layer.in_features

    def forward(self, x: Tensor) -> Tensor:
        """float32 (..., output)."""
        y: Tensor = torch_ops.binary_dense(x, self.weight, self.threshold, self.scale, self.bias, self.features)
        return y


def deployed(module: nn.Module) -> nn.Module:
    """A copy of `module`, in its own mode, whose binary layers are packed operators under the same names.

    In evaluation mode it computes the same bits as `module`. A module without binary layers is returned as it is.

    Raises:
        UsageError: a layer is still in the first stage of training, with real weights.
    """
    layers = list(binary_layers(module))
    if not layers:
        return module
    for name, layer in layers:
        if not layer.binarize_weights:
            raise UsageError(f"the weights of {name or 'the layer'} are not binarized yet; finish its training first")
    if isinstance(module, (BinaryConv2d, BinaryLinear)):
        return _packed(module)
    result = copy.deepcopy(module)
    packed = {id(layer): _packed(layer) for _, layer in binary_layers(result)}
    # With duplicates: a layer that is used under two names becomes one packed layer under both.
    for name, layer in list(result.named_modules(remove_duplicate=False)):
        if id(layer) in packed:
            parent, _, attribute = name.rpartition(".")
            setattr(result.get_submodule(parent), attribute, packed[id(layer)])
    return result


def _packed(layer: BinaryConv2d | BinaryLinear) -> nn.Module:
    packed = PackedBinaryConv2d(layer) if isinstance(layer, BinaryConv2d) else PackedBinaryLinear(layer)
    return packed.train(layer.training)


def _take_buffers(packed: nn.Module, layer: BinaryConv2d | BinaryLinear) -> None:
    weight = layer.weight.detach()
    bits = pack_signs(weight.flatten(1).cpu().numpy())
    scale = layer.effective_scale.detach().clone()
    packed.register_buffer("weight", torch.from_numpy(bits).to(weight.device))
    packed.register_buffer("threshold", layer.threshold.detach().clone())
    packed.register_buffer("scale", scale)
    packed.register_buffer("bias", torch.zeros_like(scale))
