"""The seam between the front ends (HTTP, gRPC) and what holds and runs the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from edgeml.core.tensor_spec import TensorSpec
from edgeml.serving.inference import InferenceRequest, InferenceResponse


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """A model as the protocol describes it.

    Attributes:
        name: its name.
        versions: versions that are served, ascending.
        platform: "onnx_onnxv1" for ONNX files, "tvm_library" for compiled libraries.
        inputs: names, shapes (a dynamic axis is -1 to clients) and dtypes.
        outputs: the same.
        stateful: whether requests need a sequence.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    stateful: bool = False


@dataclass(frozen=True, kw_only=True)
class IndexEntry:
    """A line of the repository's index.

    Attributes:
        name: the model.
        version: the version; "" for a model of which none could be read.
        state: "READY", "LOADING", "UNLOADING" or "UNAVAILABLE".
        reason: why it is unavailable, one line; "" otherwise.
    """

    name: str
    version: str
    state: str
    reason: str = ""


class Engine(Protocol):
    """Models by name; all methods are called on the server's event loop.

    Errors are those of `edgeml.serving.errors`.
    """

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Check the request against the model, queue it, run it."""
        ...

    def metadata(self, model: str, version: str = "") -> ModelMetadata:
        """What the model takes and gives."""
        ...

    def config(self, model: str, version: str = "") -> dict[str, Any]:
        """The model's configuration in the JSON form of Triton's ModelConfig."""
        ...

    def statistics(self, model: str = "", version: str = "") -> dict[str, Any]:
        """Counts and durations in the JSON form of the statistics extension: {"model_stats": [...]}."""
        ...

    def is_ready(self, model: str = "", version: str = "") -> bool:
        """Whether a model is ready; without a name, whether the server is: what could be loaded is."""
        ...

    def index(self, *, ready_only: bool = False) -> tuple[IndexEntry, ...]:
        """Every model and version that is known."""
        ...

    async def load(self, model: str) -> None:
        """Load a model, or load it again; the one that is served goes on until the new one is ready."""
        ...

    async def unload(self, model: str) -> None:
        """Stop serving a model once its accepted requests are answered, and free its memory."""
        ...

    async def drain(self, timeout_s: float) -> bool:
        """Accept nothing more, answer what was accepted; whether all was answered in time."""
        ...

    async def close(self) -> None:
        """Free everything."""
        ...
