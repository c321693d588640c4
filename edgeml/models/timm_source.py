"""Networks of the timm package, with the input transform that timm states for them."""

from __future__ import annotations

import difflib
import importlib
import sys
from functools import lru_cache
from typing import Any, cast, get_args

from edgeml.core.errors import MissingError, UsageError, needs_extra
from edgeml.core.preprocessing import Interpolation, Preprocessing
from edgeml.models.network import Network


def from_timm(name: str, *, classes: int | None, in_channels: int | None, resolution: int | None) -> Network:
    """The network `name` of timm ("tinynet_e", "resnet18.a1_in1k") with fresh weights; nothing is downloaded.

    Raises:
        UsageError: timm has no such network, or it does not take the arguments.
        MissingError: timm is not installed.
    """
    timm = import_timm()
    if not timm.is_model(name):  # also keeps out "hf-hub:" names, which timm would ask the network for
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(f"timm {timm.__version__} has no network {name!r}{hint}; timm.list_models() lists them")
    try:
        stated = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise UsageError(f"timm {timm.__version__} has no network {name!r}: {error}") from error
    arguments: dict[str, Any] = {}
    if classes is not None:
        arguments["num_classes"] = classes
    if in_channels is not None:
        arguments["in_chans"] = in_channels
    if resolution is not None and stated is not None and stated.fixed_input_size:
        arguments["img_size"] = resolution
    try:
        module = timm.create_model(name, pretrained=False, **arguments).eval()
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise UsageError(f"timm cannot build {name} with {arguments or 'its defaults'}: {reason}") from error
    preprocessing, notes = _preprocessing(dict(module.pretrained_cfg), in_channels, resolution)
    return Network(name=f"timm:{name}", module=module, preprocessing=preprocessing, family="timm", notes=notes)


def import_timm() -> Any:
    """The timm package.

    torchvision's usual wheel is built for CUDA; beside a torch without CUDA its own operators (box suppression and the
    like) do not load, and then neither do torchvision and timm. Networks for classification use none of them, so they
    are declared by name and the import is tried again.

    Raises:
        MissingError: timm is not installed, or cannot be imported.
    """
    with needs_extra("timm"):
        try:
            return importlib.import_module("timm")
        except RuntimeError as error:
            if "torchvision::" not in str(error):
                raise MissingError(f"timm is installed but cannot be imported: {error}") from error
    _declare_torchvision_operators()
    for name in [each for each in sys.modules if each.partition(".")[0] in {"timm", "torchvision"}]:
        del sys.modules[name]
    try:
        return importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:
        raise MissingError(
            f"timm is installed but cannot be imported: {error}; install the torchvision made for your torch"
        ) from error


@lru_cache
def _declare_torchvision_operators() -> Any:
    from torch.library import Library

    # Kept by the cache: the operators live as long as the library does.
    library = Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    return library


def _preprocessing(
    stated: dict[str, Any], in_channels: int | None, resolution: int | None
) -> tuple[Preprocessing, tuple[str, ...]]:
    channels, height, width = stated["input_size"]
    mean, std = tuple(stated["mean"]), tuple(stated["std"])
    if in_channels is not None and in_channels != channels:
        mean, std = ((sum(values) / len(values),) * in_channels for values in (mean, std))
    notes = []
    interpolation = stated["interpolation"]
    if interpolation not in get_args(Interpolation):
        notes.append(f"timm resizes with {interpolation!r}, which edgeml does not have; bicubic is used")
        interpolation = "bicubic"
    if stated.get("crop_mode", "center") != "center":
        notes.append(f"timm crops by {stated['crop_mode']!r}, which edgeml does not have; the centre is cropped")
    preprocessing = Preprocessing(
        height=resolution or height,
        width=resolution or width,
        mean=mean,
        std=std,
        interpolation=cast("Interpolation", interpolation),
        crop_fraction=stated["crop_pct"],
    )
    return preprocessing, tuple(notes)
