"""The worker of edge_bench with onnxruntime in three more forms: without fusion, on one kernel, and without the plugin.

Started by other benchmarks here. The runtimes are "onnxruntime" as users have it, "unfused" (native kernels, layers
apart), "avx2" (the kernels of processors without AVX-512) and "stock" (the file's standard operators).
"""

import os

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.session import SessionOptions
from edgeml.edge_bench import worker
from edgeml.runtime import registry
from edgeml.runtime.onnxruntime_session import OnnxRuntime, OnnxRuntimeSession

FORMS = {
    "unfused": {"EDGEML_FUSION": "off"},
    "avx2": {"EDGEML_KERNEL": "avx2"},
    "stock": {"EDGEML_PLUGIN": "off"},
}


class Variant(OnnxRuntime):
    """onnxruntime with some of edgeml's variables set; a worker opens one model, so they may stay set."""

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self, artifact: Artifact, device: Device, options: SessionOptions) -> OnnxRuntimeSession:
        """Load the model with the variables set."""
        os.environ |= FORMS[self.name]
        return super().open(artifact, device, options)


if __name__ == "__main__":
    for name in FORMS:
        registry._ENTRIES[name] = registry._Entry(
            runtime=Variant(name), requirement="onnxruntime", import_package=lambda: __import__("onnxruntime")
        )
    worker.main()
