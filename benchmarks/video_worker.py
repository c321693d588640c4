"""The worker of edge_bench for one operator on two frames in turn, every array bound beforehand, states in place.

Started by benchmarks/video.py. Beside NAME.onnx lies NAME.npy with the two frames, in the layout of its first input.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.session import Feeds, SessionOptions
from edgeml.core.tensor_spec import TensorSpec
from edgeml.edge_bench import worker
from edgeml.ops.attach import detach_functions
from edgeml.ops.domain import DOMAIN
from edgeml.runtime import registry
from edgeml.runtime.onnxruntime_loading import create_session, import_onnxruntime, session_settings, tensor_spec
from edgeml.runtime.plugin.registration import register_plugin

RUNTIME = "two frames in turn"


class Alternating:
    """A loaded operator; the output of each name is an array of `arrays`."""

    def __init__(self, path: Path, threads: int | None) -> None:
        settings = session_settings(SessionOptions(threads=threads))
        model = onnx.load(path)
        if any(node.domain == DOMAIN for node in model.graph.node):
            register_plugin(settings, threads=settings.intra_op_num_threads)
            detach_functions(model)
        self._session = create_session(model.SerializeToString(), settings, path)
        frames = np.load(path.with_suffix(".npy"))
        self._specs = tuple(tensor_spec(node, path) for node in self._session.get_inputs())
        results = tuple(tensor_spec(node, path) for node in self._session.get_outputs())
        self.arrays = {spec.name: np.zeros(tuple(map(int, spec.shape)), spec.dtype) for spec in results}
        make = import_onnxruntime().OrtValue.ortvalue_from_numpy
        values = {name: make(array) for name, array in self.arrays.items()}
        self._kept: list[Any] = [values, frames]  # bindings keep no memory alive
        self._bindings = []
        for frame in frames:
            binding = self._session.io_binding()
            self._kept.append(make(np.ascontiguousarray(frame)))
            binding.bind_ortvalue_input(self._specs[0].name, self._kept[-1])
            for spec in self._specs[1:]:  # a state lies where its successor goes
                binding.bind_ortvalue_input(spec.name, values[spec.name.removeprefix("previous_")])
            for name, value in values.items():
                binding.bind_ortvalue_output(name, value)
            self._bindings.append(binding)
        self._turn = 0

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The frame; what is fed for it is not read."""
        return self._specs[:1]

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """None that are handed out."""
        return ()

    def run(self, feeds: Feeds) -> dict[str, npt.NDArray[Any]]:  # noqa: ARG002 (the frames lie bound)
        """The other frame's turn."""
        self._session.run_with_iobinding(self._bindings[self._turn])
        self._turn = 1 - self._turn
        return {}

    def close(self) -> None:
        """Nothing is left to free before the process ends."""


class TwoFrames:
    """Opens files as `Alternating`."""

    name = RUNTIME
    formats = frozenset({"onnx"})

    def is_available(self) -> bool:
        """It is part of this benchmark."""
        return True

    def open(self, artifact: Artifact, device: Device, options: SessionOptions) -> Alternating:  # noqa: ARG002
        """Load the file and its frames."""
        return Alternating(artifact.path, options.threads)


if __name__ == "__main__":
    registry._ENTRIES[RUNTIME] = registry._Entry(
        runtime=TwoFrames(), requirement="onnxruntime", import_package=lambda: __import__("onnxruntime")
    )
    worker.main()
