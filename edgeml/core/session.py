"""The seam between the stages and what executes a model: one Session a loaded model, one Runtime a backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.tensor_spec import TensorSpec

Feeds = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """What a user may choose about a Session, the same for every runtime.

    Attributes:
        threads: threads inside one operator; None takes the cores this process may use.
        optimize: False turns the runtime's graph optimizations off (exact comparisons).
    """

    threads: int | None = None
    optimize: bool = True


class Session(Protocol):
    """One loaded model."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs."""
        ...

    def run(self, feeds: Feeds) -> dict[str, npt.NDArray[Any]]:
        """Outputs by name for one batch of inputs by name."""
        ...

    def close(self) -> None:
        """Free the model; the Session is not used afterwards."""
        ...


class Runtime(Protocol):
    """A backend that opens artifacts."""

    @property
    def name(self) -> str:
        """The name users give, for example "onnxruntime"."""
        ...

    @property
    def formats(self) -> frozenset[str]:
        """Artifact formats it opens."""
        ...

    def is_available(self) -> bool:
        """Whether its package is installed; loads nothing heavy."""
        ...

    def open(self, artifact: Artifact, device: Device, options: SessionOptions) -> Session:
        """Load the artifact on the device.

        Raises:
            UntrustedFileError: the file breaks a safety limit.
            UsageError: the runtime cannot take this artifact or device.
            MissingError: the runtime or device is not there.
            EdgeMLError: the runtime failed to load it.
        """
        ...
