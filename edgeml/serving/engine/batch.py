"""Requests that are run together: their inputs joined along the first axis, the outputs split again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeml.serving.engine.executable import Executable, Tensors
from edgeml.serving.engine.statistics import Execution
from edgeml.serving.errors import FailedError, RequestError
from edgeml.serving.inference import InferenceRequest

BatchKey = tuple[tuple[str, tuple[int, ...]], ...]
"""What requests must have in common to be joined: the shape of each input without the first axis."""


@dataclass(slots=True, eq=False)
class Pending:
    """A request that was accepted and is not answered yet.

    Attributes:
        request: it.
        rows: samples in it; 1 for a model that does not batch.
        key: what it can be joined by.
        answer: its outputs, once they are there.
        arrived_ns: when it came, by the monotonic clock.
        started_ns: when a batch took it; 0 while it waits.
        expiry: the timer of its deadline.
    """

    request: InferenceRequest
    rows: int
    key: BatchKey
    answer: asyncio.Future[Tensors]
    arrived_ns: int = field(default_factory=time.monotonic_ns)
    started_ns: int = 0
    expiry: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request of a batch.

    Attributes:
        result: its outputs, or why there are none.
        execution: the run that gave them.
    """

    result: Tensors | RequestError
    execution: Execution


def run_batch(executable: Executable, batch: Sequence[Pending], instance: int) -> list[Outcome]:
    """Run requests together, on an instance's thread; never raises.

    Where a run of several fails, each is run again by itself, so that one bad request fails alone.
    """
    try:
        return _run(executable, batch, instance)
    except RequestError as error:
        if len(batch) > 1:
            return [outcome for each in batch for outcome in run_batch(executable, [each], instance)]
        failure = error
    except MemoryError:
        failure = FailedError("the model needs more memory than this machine has available")
    except Exception as error:  # noqa: BLE001 (whatever a runtime raises must not end the thread)
        failure = FailedError(f"the model failed: {type(error).__name__}: {error!s:.300}")
    return [Outcome(failure, Execution(rows=1, input_ns=0, infer_ns=0, output_ns=0)) for _ in batch]


def _run(executable: Executable, batch: Sequence[Pending], instance: int) -> list[Outcome]:
    clock = time.perf_counter_ns
    first = batch[0].request
    began = clock()
    inputs = first.inputs if len(batch) == 1 else _joined(batch)
    joined = clock()
    outputs = executable.run(inputs, first.sequence, instance)
    ran = clock()
    rows = sum(each.rows for each in batch)
    parts = [outputs] if len(batch) == 1 else _split(outputs, batch, rows)
    execution = Execution(rows=rows, input_ns=joined - began, infer_ns=ran - joined, output_ns=clock() - ran)
    return [Outcome(part, execution) for part in parts]


def _joined(batch: Sequence[Pending]) -> Tensors:
    return {
        name: np.concatenate([each.request.inputs[name] for each in batch], axis=0) for name in batch[0].request.inputs
    }


def _split(outputs: Tensors, batch: Sequence[Pending], rows: int) -> list[Tensors]:
    for name, tensor in outputs.items():
        if not tensor.ndim or len(tensor) != rows:
            raise FailedError(
                f"output {name} has the shape {tensor.shape} for a batch of {rows}: the model does not batch; serve it "
                "with max_batch_size 0"
            )
    ends = np.cumsum([each.rows for each in batch]).tolist()
    return [
        {name: tensor[end - each.rows : end] for name, tensor in outputs.items()}
        for each, end in zip(batch, ends, strict=True)
    ]
