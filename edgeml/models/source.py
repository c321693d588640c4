"""From what a user types to a network: a registered or scaled name, timm:NAME, file.py:factory or module:factory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeml.core.errors import UsageError
from edgeml.models.checkpoint import SUFFIXES, apply_state, load_weights, read_state
from edgeml.models.fresh import settle_statistics
from edgeml.models.network import Network
from edgeml.models.registry import find
from edgeml.models.training.weights_metadata import WeightsMetadata, read_weights_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def is_onnx_source(source: str) -> bool:
    """Whether `source` is an ONNX file, which is no torch module and is handled by export and check themselves."""
    return source.lower().endswith(".onnx")


def load_source(
    source: str,
    *,
    classes: int | None = None,
    in_channels: int | None = None,
    resolution: int | None = None,
    weights: Path | None = None,
    input_shape: tuple[int, int, int] | None = None,
) -> Network:
    """The network that `source` names, in evaluation mode, with `weights` or fresh ones. The network is never asked.

    What is not given is taken from the weights file (classes and channels from its tensors, size and transform from
    what `edgeml train` wrote into it), then from the source's own default.

    Args:
        source: "tinynet-e", "tinynet-r128-w0.5-d0.8", "timm:resnet18", "nets.py:make", "package.nets:make".
        classes: number of logits.
        in_channels: channels of the input.
        resolution: side of the square input in pixels.
        weights: .safetensors, .pth or .pt; must fit exactly.
        input_shape: (channels, height, width) of a factory's network that does not say so itself.

    Raises:
        UsageError: the source cannot be understood, or an argument or the weights do not fit it.
        UntrustedFileError: the weights file is not safe to open.
        MissingError: torch, or timm for a timm:NAME, is not installed.
        EdgeMLError: the factory failed.
    """
    _refuse_files(source)
    told = None if weights is None else read_weights_metadata(weights)
    kind, separator, rest = source.partition(":")
    if not separator:
        network = _from_registry(source, classes, in_channels, resolution, weights, told)
    else:
        if told is not None:
            classes = len(told.classes) if classes is None else classes
            in_channels = told.in_channels if in_channels is None else in_channels
            resolution = told.resolution if resolution is None else resolution
        if kind == "timm":
            from edgeml.models.timm_source import from_timm

            network = from_timm(rest, classes=classes, in_channels=in_channels, resolution=resolution)
        else:
            from edgeml.models.factory_source import from_factory

            network = from_factory(
                source, classes=classes, in_channels=in_channels, resolution=resolution, input_shape=input_shape
            )
        if weights is not None:
            load_weights(network.module, weights)
    if weights is None and network.family != "factory":  # a factory may have filled its network itself
        settle_statistics(network)
    if input_shape is not None and network.input_shape != input_shape:
        raise UsageError(
            f"the input of {source} has the shape {network.input_shape}, not {input_shape} (channels, height, width); "
            "leave the input shape out, or ask for another resolution or number of channels"
        )
    return _as_trained(network, told, resolution)


def _from_registry(
    source: str,
    classes: int | None,
    in_channels: int | None,
    resolution: int | None,
    weights: Path | None,
    told: WeightsMetadata | None,
) -> Network:
    entry = find(source)
    if weights is None:
        return entry.build(classes=classes, in_channels=in_channels, resolution=resolution)
    state = read_state(weights)
    network = entry.build(
        classes=_first_axis(state, "classifier.weight", 0) if classes is None else classes,
        in_channels=_first_axis(state, "conv_stem.weight", 1) if in_channels is None else in_channels,
        resolution=told.resolution if told is not None and resolution is None else resolution,
    )
    apply_state(network.module, state, weights)
    return network


def _first_axis(state: Mapping[str, Tensor], name: str, axis: int) -> int | None:
    tensor = state.get(name)
    return None if tensor is None or tensor.ndim <= axis else int(tensor.shape[axis])


def _as_trained(network: Network, told: WeightsMetadata | None, resolution: int | None) -> Network:
    """`network` with the class names and the transform it was trained with, where the weights file tells them."""
    if told is None or told.in_channels != network.input_shape[0]:
        return network
    preprocessing = told.preprocessing
    if resolution is not None:
        preprocessing = replace(preprocessing, height=resolution, width=resolution)
    return replace(network, classes=told.classes, preprocessing=preprocessing)


def _refuse_files(source: str) -> None:
    if is_onnx_source(source):
        raise UsageError(f"{source} is an ONNX file, not a torch network; this needs one that can be built in torch")
    if source.lower().endswith(SUFFIXES):
        raise UsageError(
            f"{source} holds weights only; name the network and give the file as its weights: "
            f"tinynet-e --weights {source}"
        )
    if source.endswith(".py"):
        raise UsageError(f"{source} is a Python file; name the function in it that makes the network: {source}:make")
