"""Decides which requests of one model run together, when, and on which instance."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from functools import partial

from edgeml.serving.engine.batch import BatchKey, Outcome, Pending, run_batch
from edgeml.serving.engine.configuration import ModelConfiguration
from edgeml.serving.engine.executable import Executable, Tensors
from edgeml.serving.engine.instance import Instance
from edgeml.serving.engine.sequences import Sequences
from edgeml.serving.engine.statistics import Statistics
from edgeml.serving.engine.waiting import WaitingRequests
from edgeml.serving.errors import DeadlineError, RequestError, UnavailableError
from edgeml.serving.inference import InferenceRequest

_ALONE: BatchKey = ()


class Scheduler:
    """The requests and instances of one version of a model; used on the event loop only.

    An instance that is free takes what waits, at once or after the configured delay, up to the largest batch. So
    without a delay nothing ever waits for company, and batches form by themselves while every instance is busy.

    Attributes:
        statistics: of this version.
        largest: samples of the largest batch; 0 where requests are not joined.
    """

    def __init__(
        self,
        name: str,
        executable: Executable,
        configuration: ModelConfiguration,
        *,
        largest: int,
        queue: int,
        request_s: float,
        observe: Callable[[Pending, Outcome], None] | None = None,
    ) -> None:
        """Start the instances.

        Args:
            name: of the model, for messages and threads.
            executable: what is run.
            configuration: how.
            largest: samples of the largest batch; 0 where requests are not joined.
            queue: requests that may wait.
            request_s: deadline of requests that give none, in seconds.
            observe: told of each request that was run.
        """
        self._loop = asyncio.get_running_loop()
        self._name = name
        self._executable = executable
        self._configuration = configuration
        self.largest = largest
        self._queue = configuration.queue or queue
        timeout_us = configuration.default_timeout_us
        self._request_s = min(request_s, timeout_us / 1e6) if timeout_us else request_s
        self._observe = observe
        self._waiting = WaitingRequests(configuration.priority_levels)
        self._instances = [Instance(f"{name}-{index}", self._loop) for index in range(configuration.instances)]
        self._idle = list(range(configuration.instances))
        self._delay_s = configuration.max_queue_delay_us / 1e6
        self._preferred = sorted(configuration.preferred_batch_sizes)
        self._timer: asyncio.TimerHandle | None = None
        self._accepted = 0
        self._drained: asyncio.Event = asyncio.Event()
        self._drained.set()
        self.statistics = Statistics()
        self._sequences = (
            Sequences(
                self._loop,
                most=configuration.sequences,
                idle_s=configuration.sequence_idle_s,
                end=executable.end,
            )
            if executable.stateful
            else None
        )

    @property
    def waiting(self) -> int:
        """Requests that wait for an instance."""
        return len(self._waiting)

    async def run(self, request: InferenceRequest) -> Tensors:
        """The model's outputs for a request that fits it.

        Raises:
            RequestError: the queue is full, the deadline passed, or the model failed.
        """
        pending = self._accept(request)
        try:
            return await pending.answer
        finally:  # a client that leaves, or a deadline, takes the request along
            if not pending.started_ns:
                self._waiting.remove(pending)
                self._finish(pending)

    async def drain(self) -> None:
        """Wait until everything accepted is answered."""
        await self._drained.wait()

    def close(self) -> None:
        """End the instances."""
        for instance in self._instances:
            instance.close()
        if self._sequences is not None:
            self._sequences.close()

    def _accept(self, request: InferenceRequest) -> Pending:
        if len(self._waiting) >= self._queue:
            raise UnavailableError(
                f"{len(self._waiting)} requests wait for model {self._name}, which is the most it takes; try again "
                "later",
                retry_after_s=self._seconds_of_work(),
            )
        rows, key = _rows_and_key(request) if self.largest else (1, _ALONE)
        pending = Pending(request, rows, key, self._loop.create_future())
        now = time.monotonic()
        deadline = now + self._request_s if request.deadline is None else min(request.deadline, now + self._request_s)
        may_run = True if self._sequences is None else self._sequences.enter(pending)
        self._accepted += 1
        self._drained.clear()
        pending.expiry = self._loop.call_later(max(0.0, deadline - now), self._expire, pending)
        if may_run:
            self._enqueue(pending)
        return pending

    def _enqueue(self, pending: Pending) -> None:
        levels, asked = self._configuration.priority_levels, pending.request.priority
        default = self._configuration.default_priority or max(1, math.ceil(levels / 2))
        self._waiting.add(pending, asked if levels and asked else default)
        self._dispatch()

    def _dispatch(self) -> None:
        """Give idle instances what is to run now; else see to it that this is looked at again in time."""
        while self._idle and len(self._waiting):
            count, rows = self._waiting.joinable(self.largest) if self.largest else (1, 1)
            if self._delay_s and self.largest:
                wait_s = self._wait_s(count, rows)
                if wait_s > 0:
                    if self._timer is None:
                        self._timer = self._loop.call_later(wait_s, self._look_again)
                    return
                count = self._preferred_count(count, rows)
            self._start(self._waiting.take(count))

    def _wait_s(self, count: int, rows: int) -> float:
        """How long the batch that could run now may wait for more; 0 where it is not to."""
        complete = self._preferred[-1] if self._preferred else self.largest
        if rows >= complete or count < len(self._waiting):  # nothing more fits
            return 0.0
        oldest_ns = min(pending.arrived_ns for pending in self._waiting)
        return max(0.0, self._delay_s - (time.monotonic_ns() - oldest_ns) / 1e9)

    def _preferred_count(self, count: int, rows: int) -> int:
        """So many of the first requests as make the largest preferred size; all, where none is reached exactly."""
        if rows in self._preferred or not self._preferred:
            return count
        sizes = {0: 0}
        total = 0
        for index, pending in enumerate(self._waiting):
            if index == count:
                break
            total += pending.rows
            sizes[total] = index + 1
        return next((sizes[size] for size in reversed(self._preferred) if size in sizes), count)

    def _look_again(self) -> None:
        self._timer = None
        self._dispatch()

    def _start(self, batch: list[Pending]) -> None:
        index = self._idle.pop()
        now = time.monotonic_ns()
        for pending in batch:
            pending.started_ns = now
        self._instances[index].run(partial(run_batch, self._executable, batch, index), partial(self._ran, index, batch))

    def _ran(self, index: int, batch: list[Pending], outcomes: list[Outcome]) -> None:
        self._idle.append(index)
        told = None
        for pending, outcome in zip(batch, outcomes, strict=True):
            if not isinstance(outcome.result, RequestError) and outcome.execution is not told:
                told = outcome.execution
                self.statistics.executed(told)
            self._answer(pending, outcome)
            self._finish(pending)
        self._dispatch()

    def _answer(self, pending: Pending, outcome: Outcome) -> None:
        total_ns = time.monotonic_ns() - pending.arrived_ns
        if isinstance(outcome.result, RequestError):
            self.statistics.failed(total_ns)
            if not pending.answer.done():
                pending.answer.set_exception(outcome.result)
        elif not pending.answer.done():
            queue_ns = pending.started_ns - pending.arrived_ns
            self.statistics.succeeded(outcome.execution, rows=pending.rows, queue_ns=queue_ns, total_ns=total_ns)
            pending.answer.set_result(outcome.result)
        if self._observe is not None:
            self._observe(pending, outcome)

    def _expire(self, pending: Pending) -> None:
        """Its deadline passed: its client is told, and it is not run where it has not been yet."""
        if pending.answer.done():
            return
        self.statistics.failed(time.monotonic_ns() - pending.arrived_ns)
        pending.answer.set_exception(
            DeadlineError(
                f"the request was not answered before its deadline: {len(self._waiting)} requests wait for model "
                f"{self._name}",
                retry_after_s=self._seconds_of_work(),
            )
        )

    def _finish(self, pending: Pending) -> None:
        """A request was run or given up: what it held is free."""
        assert pending.expiry is not None
        pending.expiry.cancel()
        self._accepted -= 1
        if not self._accepted:
            self._drained.set()
        if self._sequences is not None and (following := self._sequences.leave(pending)) is not None:
            self._enqueue(following)

    def _seconds_of_work(self) -> int:
        """About how long what waits will take, in whole seconds."""
        infer = self.statistics.infer
        mean_s = infer.ns / infer.count / 1e9 if infer.count else 0.0
        return max(1, math.ceil(len(self._waiting) * mean_s / len(self._instances)))


def _rows_and_key(request: InferenceRequest) -> tuple[int, BatchKey]:
    shapes = [(name, tensor.shape) for name, tensor in request.inputs.items()]
    return shapes[0][1][0], tuple(sorted((name, shape[1:]) for name, shape in shapes))
