"""The engine with models made of Python functions, so that each test decides how long a run takes and what fails."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.core.errors import UsageError
from edgeml.core.tensor_spec import TensorSpec
from edgeml.serving.engine import model as engine_model
from edgeml.serving.engine.batching import largest_batch
from edgeml.serving.engine.configuration import ModelConfiguration, ModelSource
from edgeml.serving.engine.engine import RunningEngine, open_engine
from edgeml.serving.engine.executable import Tensors
from edgeml.serving.errors import (
    DeadlineError,
    FailedError,
    InvalidRequestError,
    NotFoundError,
    RequestError,
    UnavailableError,
)
from edgeml.serving.inference import InferenceRequest, RequestedOutput, Sequence
from edgeml.serving.protocol.limits import Limits


class Doubler:
    """Doubles x; `gate`, where it is cleared, holds every run back."""

    platform = "test"
    stateful = False

    def __init__(self, axis: str | int = "batch", *, fails: Callable[[Tensors], bool] = lambda _: False) -> None:
        self.inputs: tuple[TensorSpec, ...] = (TensorSpec("x", (axis, 2), "float32"),)
        self.outputs: tuple[TensorSpec, ...] = (TensorSpec("y", (axis, 2), "float32"),)
        self.gate = threading.Event()
        self.gate.set()
        self.sizes: list[int] = []
        self.firsts: list[float] = []
        self.closed = False
        self.ended: list[Sequence] = []
        self._fails = fails

    def run(self, inputs: Tensors, sequence: Sequence | None, instance: int) -> Tensors:
        self.gate.wait(10)
        assert not self.closed
        if self._fails(inputs):
            raise FailedError("it failed")
        self.sizes.append(len(inputs["x"]))
        self.firsts.append(float(inputs["x"][0, 0]))
        return {"y": inputs["x"] * 2}

    def end(self, sequence: Sequence) -> None:
        self.ended.append(sequence)

    def close(self) -> None:
        self.closed = True


class Counter(Doubler):
    """Keeps a count for each sequence."""

    stateful = True

    def __init__(self) -> None:
        super().__init__(1)
        self.counts: dict[object, int] = {}

    def run(self, inputs: Tensors, sequence: Sequence | None, instance: int) -> Tensors:
        assert sequence is not None
        super().run(inputs, sequence, instance)
        self.counts[sequence.id] = 0 if sequence.start else self.counts[sequence.id] + 1
        return {"y": np.full((1, 2), self.counts[sequence.id], np.float32)}


QUIET = {"warm_up": False}
Start = Callable[..., Coroutine[Any, Any, RunningEngine]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts an engine in which the model m is this executable."""

    async def run(*executables: Doubler, limits: Limits | None = None, **configuration: Any) -> RunningEngine:
        waiting = list(executables)
        monkeypatch.setattr(engine_model, "open_executable", lambda path, instances, threads: waiting.pop(0))
        source = ModelSource(
            name="m", versions={"1": Path("m.onnx")}, configuration=ModelConfiguration(**QUIET | configuration)
        )
        return await open_engine([source], limits=limits)

    return run


def request(first: float = 1, rows: int = 1, **changes: Any) -> InferenceRequest:
    return InferenceRequest(model="m", inputs={"x": np.full((rows, 2), first, np.float32)}, **changes)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_request_is_answered(start: Start) -> None:
    async def run() -> None:
        engine = await start(Doubler())
        response = await engine.infer(request(3, id="7"))
        assert (response.model, response.version, response.id) == ("m", "1", "7")
        assert response.outputs["y"].tolist() == [[6, 6]]
        (stats,) = engine.statistics()["model_stats"]
        assert (stats["inference_count"], stats["execution_count"]) == (1, 1)
        assert stats["inference_stats"]["success"]["count"] == 1

    asyncio.run(run())


def test_requests_that_wait_are_joined_and_each_gets_its_own_rows(start: Start) -> None:
    async def run() -> None:
        doubler = Doubler()
        engine = await start(doubler, max_batch_size=8)
        doubler.gate.clear()
        tasks = [asyncio.create_task(engine.infer(request(value, rows=value))) for value in (1, 2, 3, 4)]
        await settle()
        doubler.gate.set()
        for value, response in zip((1, 2, 3, 4), await asyncio.gather(*tasks), strict=True):
            assert response.outputs["y"].tolist() == [[2 * value] * 2] * value
        assert doubler.sizes == [1, 5, 4]  # 2 + 3 + 4 would be more than 8

    asyncio.run(run())


def test_a_model_whose_first_axis_is_fixed_runs_requests_one_by_one(start: Start) -> None:
    async def run() -> None:
        doubler = Doubler(axis=1)
        engine = await start(doubler)
        await asyncio.gather(*(engine.infer(request(value)) for value in range(5)))
        assert doubler.sizes == [1] * 5

    asyncio.run(run())
    with pytest.raises(UsageError, match="cannot be joined"):
        largest_batch("m", Doubler(axis=1), ModelConfiguration(max_batch_size=4))


def test_a_delay_lets_requests_gather_until_a_preferred_size(start: Start) -> None:
    async def run() -> None:
        doubler = Doubler()
        engine = await start(doubler, max_batch_size=8, preferred_batch_sizes=(4,), max_queue_delay_us=5_000_000)
        began = time.monotonic()
        await asyncio.gather(*(engine.infer(request()) for _ in range(4)))
        assert doubler.sizes == [4]
        assert time.monotonic() - began < 4

    asyncio.run(run())


def test_a_delay_that_is_over_runs_what_is_there(start: Start) -> None:
    async def run() -> None:
        doubler = Doubler()
        engine = await start(doubler, max_batch_size=8, max_queue_delay_us=50_000)
        began = time.monotonic()
        await asyncio.gather(*(engine.infer(request()) for _ in range(3)))
        assert doubler.sizes == [3]
        assert time.monotonic() - began >= 0.05

    asyncio.run(run())


def test_higher_priorities_run_first(start: Start) -> None:
    async def run() -> None:
        doubler = Doubler(axis=1)
        engine = await start(doubler, priority_levels=3)
        doubler.gate.clear()
        tasks = [asyncio.create_task(engine.infer(request(0)))]
        await settle()
        for priority in (3, 0, 1):
            tasks.append(asyncio.create_task(engine.infer(request(priority, priority=priority))))
            await settle()
        doubler.gate.set()
        await asyncio.gather(*tasks)
        assert doubler.firsts == [0, 1, 0, 3]  # 0 asks for none, which is the middle

    asyncio.run(run())


def test_a_full_queue_is_told_with_when_to_come_again(start: Start) -> None:
    async def run() -> None:
        doubler = Doubler(axis=1)
        engine = await start(doubler, queue=2)
        doubler.gate.clear()
        tasks = [asyncio.create_task(engine.infer(request())) for _ in range(3)]
        await settle()
        with pytest.raises(UnavailableError, match="2 requests wait for model m") as caught:
            await engine.infer(request())
        assert caught.value.retry_after_s == 1
        doubler.gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())


def test_a_deadline_that_passes_is_told_at_once_and_the_request_is_not_run(start: Start) -> None:
    async def run() -> None:
        doubler = Doubler(axis=1)
        engine = await start(doubler)
        doubler.gate.clear()
        first = asyncio.create_task(engine.infer(request(1)))
        await settle()
        with pytest.raises(DeadlineError, match="before its deadline"):
            await engine.infer(request(2, deadline=time.monotonic() + 0.02))
        doubler.gate.set()
        await first
        assert await engine.drain(5)
        assert doubler.firsts == [1]
        assert engine.statistics()["model_stats"][0]["inference_stats"]["fail"]["count"] == 1

    asyncio.run(run())


def test_the_servers_own_deadline_holds_where_a_request_gives_none(start: Start) -> None:
    async def run() -> None:
        doubler = Doubler(axis=1)
        engine = await start(doubler, limits=Limits(request_s=0.02))
        doubler.gate.clear()
        with pytest.raises(DeadlineError):
            await engine.infer(request())
        doubler.gate.set()
        assert await engine.drain(5)

    asyncio.run(run())


def test_a_client_that_leaves_takes_its_request_along(start: Start) -> None:
    async def run() -> None:
        doubler = Doubler(axis=1)
        engine = await start(doubler)
        doubler.gate.clear()
        tasks = [asyncio.create_task(engine.infer(request(value))) for value in (1, 2)]
        await settle()
        for task in tasks:
            task.cancel()
        await settle()
        doubler.gate.set()
        assert await engine.drain(5)
        assert doubler.firsts == [1]

    asyncio.run(run())


def test_one_bad_request_of_a_batch_fails_alone(start: Start) -> None:
    async def run() -> None:
        doubler = Doubler(fails=lambda inputs: bool((inputs["x"] == 3).any()))
        engine = await start(doubler)
        doubler.gate.clear()
        tasks = [asyncio.create_task(engine.infer(request(value))) for value in (1, 2, 3, 4)]
        await settle()
        doubler.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[2], FailedError)
        assert [each.outputs["y"][0, 0] for each in results if not isinstance(each, BaseException)] == [2, 4, 8]

    asyncio.run(run())


def test_whatever_a_runtime_raises_the_instance_goes_on(start: Start) -> None:
    def explode(inputs: Tensors) -> bool:
        if inputs["x"][0, 0] == 9:
            raise ZeroDivisionError("no way")
        return False

    async def run() -> None:
        engine = await start(Doubler(axis=1, fails=explode))
        with pytest.raises(FailedError, match="ZeroDivisionError: no way"):
            await engine.infer(request(9))
        assert (await engine.infer(request(1))).outputs["y"][0, 0] == 2

    asyncio.run(run())


def test_instances_run_at_once(start: Start) -> None:
    together = threading.Barrier(2, timeout=10)

    def meet(inputs: Tensors) -> bool:
        together.wait()
        return False

    async def run() -> None:
        engine = await start(Doubler(axis=1, fails=meet), instances=2)
        await asyncio.gather(engine.infer(request()), engine.infer(request()))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("bad", "kind", "told"),
    [
        (InferenceRequest(model="none", inputs={}), NotFoundError, "there is no model 'none'; there are m"),
        (InferenceRequest(model="m", version="9", inputs={}), NotFoundError, "no version '9'; it has 1"),
        (InferenceRequest(model="m", inputs={}), InvalidRequestError, "the model's inputs are x; .* none"),
        (
            InferenceRequest(model="m", inputs={"x": np.zeros((1, 3), np.float32)}),
            InvalidRequestError,
            r"takes shape \(batch, 2\)",
        ),
        (InferenceRequest(model="m", inputs={"x": np.zeros((1, 2))}), InvalidRequestError, "takes float32"),
        (request(outputs=(RequestedOutput(name="z"),)), NotFoundError, "no output 'z'; it has y"),
        (request(rows=5), InvalidRequestError, "has 5 samples; model m takes at most 4"),
    ],
)
def test_what_does_not_fit_is_refused(start: Start, bad: InferenceRequest, kind: type[RequestError], told: str) -> None:
    async def run() -> None:
        engine = await start(Doubler(), max_batch_size=4)
        with pytest.raises(kind, match=told):
            await engine.infer(bad)

    asyncio.run(run())


def test_classification_takes_the_labels(start: Start) -> None:
    async def run() -> None:
        engine = await start(Doubler(), labels={"y": ("cat", "dog")})
        response = await engine.infer(request(1, outputs=(RequestedOutput(name="y", classification=1),)))
        assert response.outputs["y"].tolist() == [[b"2.000000:0:cat"]]

    asyncio.run(run())


def test_sequences_keep_their_order_and_state(start: Start) -> None:
    async def run() -> None:
        counter = Counter()
        engine = await start(counter, instances=2)
        requests = [
            request(sequence=Sequence(id=name, start=index == 0, end=index == 3))
            for index in range(4)
            for name in ("a", 7)
        ]
        found = await asyncio.gather(*map(engine.infer, requests))
        assert [int(each.outputs["y"][0, 0]) for each in found] == [0, 0, 1, 1, 2, 2, 3, 3]
        assert {each.id for each in counter.ended} == {"a", 7}
        with pytest.raises(InvalidRequestError, match="sequence 'a' is not open"):
            await engine.infer(request(sequence=Sequence(id="a")))
        with pytest.raises(InvalidRequestError, match="give a sequence_id"):
            await engine.infer(request())

    asyncio.run(run())


def test_idle_sequences_are_closed_and_their_number_is_bounded(start: Start) -> None:
    async def run() -> None:
        counter = Counter()
        engine = await start(counter, sequences=1, sequence_idle_s=0.05)
        await engine.infer(request(sequence=Sequence(id=1, start=True)))
        with pytest.raises(UnavailableError, match="1 sequences are open"):
            await engine.infer(request(sequence=Sequence(id=2, start=True)))
        await asyncio.sleep(0.2)
        await engine.infer(request(sequence=Sequence(id=2, start=True)))
        assert [each.id for each in counter.ended] == [1]

    asyncio.run(run())


def test_a_frame_that_misses_its_deadline_does_not_hold_up_its_sequence(start: Start) -> None:
    async def run() -> None:
        counter = Counter()
        engine = await start(counter)
        counter.gate.clear()
        first = asyncio.create_task(engine.infer(request(sequence=Sequence(id=1, start=True))))
        late = asyncio.create_task(engine.infer(request(sequence=Sequence(id=1), deadline=time.monotonic() + 0.02)))
        last = asyncio.create_task(engine.infer(request(sequence=Sequence(id=1, end=True))))
        with pytest.raises(DeadlineError):
            await late
        counter.gate.set()
        await first
        assert (await last).outputs["y"][0, 0] == 1
        assert await engine.drain(5)

    asyncio.run(run())


def test_a_replacement_answers_what_the_old_one_accepted(start: Start) -> None:
    async def run() -> None:
        old, new = Doubler(axis=1), Doubler(axis=1)
        engine = await start(old, new)
        old.gate.clear()
        tasks = [asyncio.create_task(engine.infer(request(value))) for value in (1, 2)]
        await settle()
        await engine.load("m")
        assert (await engine.infer(request(5))).outputs["y"][0, 0] == 10
        assert (new.firsts, old.closed) == ([5], False)
        old.gate.set()
        await asyncio.gather(*tasks)
        assert await engine.drain(5)
        assert old.firsts == [1, 2]
        assert old.closed

    asyncio.run(run())


def test_unloading_frees_the_model_and_loading_brings_it_back(start: Start) -> None:
    async def run() -> None:
        old, new = Doubler(), Doubler()
        engine = await start(old, new)
        assert engine.is_ready("m")
        await engine.unload("m")
        assert old.closed
        assert not engine.is_ready("m")
        assert [(each.state, each.reason) for each in engine.index()] == [("UNAVAILABLE", "unloaded")]
        with pytest.raises(UnavailableError, match="not ready: unloaded"):
            await engine.infer(request())
        await engine.load("m")
        assert [each.state for each in engine.index(ready_only=True)] == ["READY"]
        await engine.infer(request())

    asyncio.run(run())


def test_a_replacement_that_cannot_be_loaded_leaves_the_old_one(start: Start) -> None:
    async def run() -> None:
        engine = await start(Doubler(), Doubler(axis=1), max_batch_size=4)  # the second does not batch
        with pytest.raises(InvalidRequestError, match="cannot be loaded"):
            await engine.load("m")
        assert (await engine.infer(request())).outputs["y"][0, 0] == 2
        (entry,) = engine.index()
        assert entry.state == "READY"
        assert "cannot be joined" in entry.reason

    asyncio.run(run())


def test_a_server_that_is_being_stopped_takes_nothing_more(start: Start) -> None:
    async def run() -> None:
        doubler = Doubler(axis=1)
        engine = await start(doubler)
        doubler.gate.clear()
        accepted = asyncio.create_task(engine.infer(request(4)))
        await settle()
        assert not await engine.drain(0.02)
        with pytest.raises(UnavailableError, match="being stopped"):
            await engine.infer(request())
        doubler.gate.set()
        assert await engine.drain(5)
        assert (await accepted).outputs["y"][0, 0] == 8
        await engine.close()

    asyncio.run(run())


def test_a_model_that_is_being_loaded_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    held = threading.Event()

    def slow(path: Path, instances: int, threads: int) -> Doubler:
        held.wait(30)
        return Doubler()

    async def run() -> None:
        engine = await start(Doubler())
        monkeypatch.setattr(engine_model, "open_executable", slow)
        loading = asyncio.create_task(engine.load("m"))
        await asyncio.sleep(0.05)
        assert (await engine.infer(request())).outputs["y"][0, 0] == 2
        loading.cancel()

    began = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - began < 20
    held.set()
