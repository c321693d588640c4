"""The seam between the server and where its models come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgeml.serving.engine.configuration import ModelSource


class Repository(Protocol):
    """Models that are to be served. Both methods read files, so they are called on another thread.

    Attributes:
        named: whether the models were named one by one, so that a server with none of them is of no use.
    """

    @property
    def named(self) -> bool:
        """See the class."""
        ...

    def scan(self) -> Sequence[ModelSource]:
        """What is to be served now; a fault of one model is in its source and does not hide the others.

        Raises:
            UsageError: nothing can be read.
        """
        ...

    def find(self, model: str) -> ModelSource | None:
        """A model by name, as it lies there now."""
        ...
