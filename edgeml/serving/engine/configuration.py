"""What is decided about a served model beside its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeml.core.errors import UsageError

DEFAULT_MAX_BATCH = 32

# Bounded above as well: a configuration may come from elsewhere, and must not take the memory of the whole server.
_RANGES: dict[str, tuple[int, int]] = {
    "max_batch_size": (0, 1 << 16),
    "max_queue_delay_us": (0, 60_000_000),
    "instances": (1, 256),
    "threads": (1, 1024),
    "priority_levels": (0, 256),
    "default_priority": (0, 256),
    "default_timeout_us": (0, 1 << 40),
    "queue": (1, 1 << 32),
    "sequences": (1, 1 << 31),
    "sequence_idle_s": (0, 10_000_000),
}


@dataclass(frozen=True, kw_only=True)
class ModelConfiguration:
    """How one model is served.

    Attributes:
        max_batch_size: most samples of requests that are run together; None for 32 where the first axis of every input
            and output is dynamic, and for no joining elsewhere; 0 for no joining.
        dynamic_batching: whether requests are joined at all.
        preferred_batch_sizes: sizes at which a batch is run without waiting for more.
        max_queue_delay_us: how long a request may wait for others to join it, in microseconds; those that wait while
            every instance is busy are joined in any case.
        instances: batches that may run at once.
        threads: threads inside one operator; None shares the cores among the instances.
        priority_levels: priorities that requests may ask for, 1 being the first to run; 0 for none.
        default_priority: of requests that ask for none.
        default_timeout_us: deadline of requests that give none, in microseconds; 0 for the server's own.
        queue: requests that may wait; None for the server's limit.
        warm_up: whether the model is run before it is ready, once for each batch size that may come first.
        sequences: sequences of a stateful model that may be open at once; each holds its states in memory.
        sequence_idle_s: seconds after which a sequence that nothing was heard of is closed.
        labels: names of classes by output.
    """

    max_batch_size: int | None = None
    dynamic_batching: bool = True
    preferred_batch_sizes: tuple[int, ...] = ()
    max_queue_delay_us: int = 0
    instances: int = 1
    threads: int | None = None
    priority_levels: int = 0
    default_priority: int = 0
    default_timeout_us: int = 0
    queue: int | None = None
    warm_up: bool = True
    sequences: int = 64
    sequence_idle_s: float = 60.0
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (lowest, highest) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not lowest <= value <= highest:
                raise UsageError(f"{name} is {value}; it must be from {lowest} to {highest}")
        largest = DEFAULT_MAX_BATCH if self.max_batch_size is None else self.max_batch_size
        if any(not 0 < size <= largest for size in self.preferred_batch_sizes):
            raise UsageError(
                f"preferred_batch_sizes are {', '.join(map(str, self.preferred_batch_sizes))}; each must be from 1 to "
                f"the max_batch_size of {largest}"
            )
        if self.default_priority > self.priority_levels:
            raise UsageError(
                f"default_priority is {self.default_priority}; it must be from 1 to the {self.priority_levels} "
                "priority_levels"
            )


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A model that is to be served.

    Attributes:
        name: what clients call it.
        versions: the file of each version that is to be served; versions are whole numbers written out.
        configuration: how.
        faults: versions (or "" for the model) that cannot be served, with the reason in one line.
    """

    name: str
    versions: Mapping[str, Path]
    configuration: ModelConfiguration = field(default_factory=ModelConfiguration)
    faults: Mapping[str, str] = field(default_factory=dict)
