"""The model as benchmarks/serving.py has it run by its peers: by a Session of edgeml with one thread."""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.core.device import LOCAL
from edgeml.core.session import SessionOptions
from edgeml.runtime.onnx_file import open_artifact
from edgeml.runtime.registry import get_runtime

# How long a peer's batch waits for more. edgeml's waits for nothing, which the peers have no word for.
WAIT_S = 0.001
# Servers start their workers themselves, and hand them no arguments of ours.
MODEL = "EDGEML_BENCHMARK_MODEL"
BATCH = "EDGEML_BENCHMARK_BATCH"


def settings() -> tuple[int, int]:
    """Port and largest batch from the command line; workers find the rest by the environment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True, help="ONNX file of one input with a dynamic batch")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--batch", type=int, default=1, help="most samples that are run together")
    arguments = parser.parse_args()
    os.environ |= {MODEL: str(arguments.model.resolve()), BATCH: str(arguments.batch)}
    return arguments.port, arguments.batch


class Classifier:
    """The model, warmed up for one sample and for a whole batch."""

    def __init__(self) -> None:
        path = Path(os.environ[MODEL])
        self._session = get_runtime("onnxruntime").open(open_artifact(path), LOCAL, SessionOptions(threads=1))
        (spec,) = self._session.inputs
        self._name, self._shape = spec.name, (1, *spec.shape[1:])
        for count in {1, int(os.environ[BATCH])}:
            self.run([np.zeros(self._shape, np.float32)] * count)

    def read(self, data: bytes) -> npt.NDArray[np.float32]:
        """A sample from its bytes."""
        return np.frombuffer(data, np.float32).reshape(self._shape)

    def run(self, samples: list[npt.NDArray[np.float32]]) -> npt.NDArray[Any]:
        """The first output, a row a sample."""
        batch = samples[0] if len(samples) == 1 else np.concatenate(samples)
        return next(iter(self._session.run({self._name: batch}).values()))
