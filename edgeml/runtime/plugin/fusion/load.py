"""The model that a session runs: the file's, with its binary layers fused."""

from __future__ import annotations

import os
from pathlib import Path

FUSION_VARIABLE = "EDGEML_FUSION"
_OFF = "off"


def fused_model(path: Path) -> bytes | None:
    """The file's model with binary layers that feed each other fused; None where there are none.

    Only for sessions that have the native kernels: the operators that it puts in exist nowhere else. Setting
    EDGEML_FUSION to `off` keeps all layers apart. A model with weights in other files stays as it is.
    """
    import onnx
    from onnx.external_data_helper import uses_external_data

    from edgeml.runtime.plugin.fusion.fuse import fuse

    if os.environ.get(FUSION_VARIABLE) == _OFF:
        return None
    model = onnx.load(path, load_external_data=False)
    if any(uses_external_data(tensor) for tensor in model.graph.initializer):
        return None
    fused = fuse(model)
    return None if fused is None else fused.SerializeToString()
