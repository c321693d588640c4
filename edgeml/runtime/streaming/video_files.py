"""The files of a network for video: which lie side by side, and how they are named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeml.core.errors import UsageError

_KEY, _RESIDUAL, _DENSE, _FP32 = ".key.onnx", ".residual.onnx", ".dense.onnx", ".onnx"


@dataclass(frozen=True, kw_only=True)
class VideoFiles:
    """Where each form of one network lies; the files need not be there.

    Attributes:
        name: what the files' names begin with.
        key: computes a whole frame and makes the states anew.
        residual: computes what changed since the frame before.
        dense: the same network in int8, frame by frame, without states.
        fp32: the network it was made from.
    """

    name: str
    key: Path
    residual: Path
    dense: Path
    fp32: Path


def video_files(path: Path) -> VideoFiles:
    """The files that belong to NAME.residual.onnx or NAME.key.onnx.

    Raises:
        UsageError: the file is not named so.
    """
    for suffix in (_RESIDUAL, _KEY):
        if path.name.endswith(suffix) and path.name != suffix:
            name = path.name.removesuffix(suffix)
            key, residual, dense, fp32 = (path.with_name(name + each) for each in (_KEY, _RESIDUAL, _DENSE, _FP32))
            return VideoFiles(name=name, key=key, residual=residual, dense=dense, fp32=fp32)
    raise UsageError(f"{path} is no network for video; name its NAME{_RESIDUAL}, beside which its NAME{_KEY} lies")
