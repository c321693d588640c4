"""Whether requests for a model can be joined, by its inputs and outputs."""

from __future__ import annotations

from edgeml.core.errors import UsageError
from edgeml.core.tensor_spec import TensorSpec
from edgeml.serving.engine.configuration import DEFAULT_MAX_BATCH, ModelConfiguration
from edgeml.serving.engine.executable import Executable


def is_batched(specs: tuple[TensorSpec, ...]) -> bool:
    """Whether the first axis of all is one and the same dynamic axis."""
    first = {spec.shape[0] if spec.shape else 0 for spec in specs}
    return len(first) == 1 and isinstance(next(iter(first)), str)


def largest_batch(name: str, executable: Executable, configuration: ModelConfiguration) -> int:
    """Samples of the largest batch; 0 where requests are not joined.

    Raises:
        UsageError: the configuration asks for what the model cannot do.
    """
    batched = not executable.stateful and is_batched((*executable.inputs, *executable.outputs))
    asked = configuration.max_batch_size
    if asked is None:
        return DEFAULT_MAX_BATCH if batched and configuration.dynamic_batching else 0
    if asked > 1 and not batched:
        raise UsageError(
            f"max_batch_size of {name} is {asked}, and its requests cannot be joined: that takes one dynamic first "
            "axis for all inputs and outputs; export it with a dynamic batch, or set 0"
        )
    return asked if batched and configuration.dynamic_batching else 0
