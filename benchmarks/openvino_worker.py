"""The worker of edge_bench with one more runtime, OpenVINO, so that both runtimes meet the same clock.

Started by other benchmarks here; needs: pip install openvino
"""

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.session import Feeds, Session, SessionOptions
from edgeml.core.tensor_spec import TensorSpec
from edgeml.edge_bench import worker
from edgeml.runtime import registry


class OpenVino:
    """OpenVINO on the processor, float32 arithmetic where the file has float32, one stream."""

    name = "openvino"
    formats = frozenset({"onnx"})

    def is_available(self) -> bool:
        """Whether it is installed."""
        return find_spec("openvino") is not None

    def open(self, artifact: Artifact, device: Device, options: SessionOptions) -> Session:  # noqa: ARG002
        """Compile the model for a batch of one: OpenVINO is faster where it knows all sizes."""
        import openvino

        settings = {"NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        if options.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = options.threads
        core = openvino.Core()
        model = core.read_model(artifact.path)
        model.reshape({entry.any_name: [1, *list(entry.partial_shape)[1:]] for entry in model.inputs})
        return OpenVinoSession(openvino, core.compile_model(model, "CPU", settings), artifact)


class OpenVinoSession:
    """One compiled model; a Session."""

    def __init__(self, openvino: Any, compiled: Any, artifact: Artifact) -> None:
        self._tensor = openvino.Tensor
        self._request = compiled.create_infer_request()
        self._indices = {entry.any_name: index for index, entry in enumerate(compiled.inputs)}
        self.inputs: tuple[TensorSpec, ...] = tuple(
            replace(spec, shape=(1, *spec.shape[1:])) for spec in artifact.inputs
        )
        self.outputs: tuple[TensorSpec, ...] = artifact.outputs

    def run(self, feeds: Feeds) -> dict[str, Any]:
        """Outputs by name, copied since their memory is used again; inputs are read where they lie if they may be."""
        for name, array in feeds.items():
            self._request.set_input_tensor(
                self._indices[name], self._tensor(array, shared_memory=array.flags.writeable)
            )
        self._request.infer()
        return {
            spec.name: np.array(self._request.get_output_tensor(index).data) for index, spec in enumerate(self.outputs)
        }

    def close(self) -> None:
        """Free the model."""
        self._request = None


if __name__ == "__main__":
    entry = registry._Entry(runtime=OpenVino(), requirement="openvino", import_package=lambda: __import__("openvino"))
    registry._ENTRIES[OpenVino.name] = entry
    worker.main()
