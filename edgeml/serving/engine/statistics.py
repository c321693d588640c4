"""What a version of a model was asked and how long each part took, as the statistics extension tells it."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Duration:
    """A count and the nanoseconds of all together."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        """One more, or `count` more that took `ns` each."""
        self.count += count
        self.ns += ns * count

    def to_json(self) -> dict[str, int]:
        """The extension's form."""
        return {"count": self.count, "ns": self.ns}


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One run of a batch.

    Attributes:
        rows: samples in it; 1 for a model that does not batch.
        input_ns: time to join the inputs.
        infer_ns: time of the run.
        output_ns: time to split the outputs.
    """

    rows: int
    input_ns: int
    infer_ns: int
    output_ns: int


@dataclass(slots=True)
class _Batches:
    input: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)


class Statistics:
    """Counts of one version; used on the event loop only."""

    def __init__(self) -> None:
        self.inferences = 0
        self.executions = 0
        self.last_inference_ms = 0
        self.success = Duration()
        self.fail = Duration()
        self.queue = Duration()
        self.input = Duration()
        self.infer = Duration()
        self.output = Duration()
        self.batches: defaultdict[int, _Batches] = defaultdict(_Batches)

    def executed(self, execution: Execution) -> None:
        """A batch was run."""
        self.executions += 1
        batch = self.batches[execution.rows]
        batch.input.add(execution.input_ns)
        batch.infer.add(execution.infer_ns)
        batch.output.add(execution.output_ns)

    def succeeded(self, execution: Execution, *, rows: int, queue_ns: int, total_ns: int) -> None:
        """A request with that many samples was answered by that batch."""
        self.inferences += rows
        self.last_inference_ms = time.time_ns() // 1_000_000
        self.success.add(total_ns)
        self.queue.add(queue_ns)
        self.input.add(execution.input_ns)
        self.infer.add(execution.infer_ns)
        self.output.add(execution.output_ns)

    def failed(self, total_ns: int) -> None:
        """A request was not answered."""
        self.fail.add(total_ns)

    def to_json(self, name: str, version: str) -> dict[str, Any]:
        """An entry of the extension's "model_stats"."""
        nothing = Duration().to_json()
        return {
            "name": name,
            "version": version,
            "last_inference": self.last_inference_ms,
            "inference_count": self.inferences,
            "execution_count": self.executions,
            "inference_stats": {
                "success": self.success.to_json(),
                "fail": self.fail.to_json(),
                "queue": self.queue.to_json(),
                "compute_input": self.input.to_json(),
                "compute_infer": self.infer.to_json(),
                "compute_output": self.output.to_json(),
                "cache_hit": nothing,
                "cache_miss": nothing,
            },
            "batch_stats": [
                {
                    "batch_size": size,
                    "compute_input": batch.input.to_json(),
                    "compute_infer": batch.infer.to_json(),
                    "compute_output": batch.output.to_json(),
                }
                for size, batch in sorted(self.batches.items())
            ],
        }
