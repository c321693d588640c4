"""What becomes of served models while files come, change and go; each answer tells which file it came from."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.serving.engine.configuration import ModelConfiguration
from edgeml.serving.engine.engine import RunningEngine
from edgeml.serving.engine.executable import open_executable
from edgeml.serving.errors import NotFoundError
from edgeml.serving.inference import InferenceRequest, RequestedOutput
from edgeml.serving.logs import LOGGER
from edgeml.serving.protocol.limits import Limits
from edgeml.serving.reloading import keep_current, signature
from edgeml.serving.repository.directory import DirectoryRepository
from edgeml.serving.repository.files import FileRepository
from edgeml.serving.repository_protocol import Repository

EVERY_S = 0.02
PATIENCE_S = 10.0
DEFAULTS = ModelConfiguration(threads=1)


def times(factor: float) -> bytes:
    """An ONNX file that multiplies x by a factor."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "k"], ["y"])],
        "times",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor("k", TensorProto.FLOAT, [1], [factor])],
    )
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    ).SerializeToString()
    return content


def put(path: Path, content: bytes) -> Path:
    """Write a file as one that is replaced should be: whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(content)
    temporary.replace(path)
    return path


class Log(logging.Handler):
    """Events with their fields."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, dict[str, Any]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.events.append((record.getMessage(), getattr(record, "fields", {})))

    def of(self, event: str) -> list[dict[str, Any]]:
        """The fields of every event of that name."""
        return [fields for each, fields in self.events if each == event]


@pytest.fixture
def log() -> Iterator[Log]:
    """What is told while the test runs."""
    handler, logger = Log(), logging.getLogger(LOGGER)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


class Served:
    """An engine that follows a repository."""

    def __init__(self, engine: RunningEngine, faults: list[tuple[str, str, str]]) -> None:
        self.engine = engine
        self.faults = faults

    async def answer(self, model: str = "m", version: str = "") -> tuple[str, float]:
        """The version that answers, and its factor."""
        request = InferenceRequest(model=model, version=version, inputs={"x": np.ones((1, 2), np.float32)})
        response = await self.engine.infer(request)
        return response.version, float(response.outputs["y"][0, 0])

    async def until(self, wanted: Callable[[], object] | None = None, **answers: tuple[str, float]) -> None:
        """Wait until a condition holds and models answer so; requests go on meanwhile, and none may fail."""
        end = asyncio.get_running_loop().time() + PATIENCE_S
        while asyncio.get_running_loop().time() < end:
            got = {model: await self.answer(model) for model in answers}
            if got == answers and (wanted is None or wanted()):
                return
            await asyncio.sleep(EVERY_S / 4)
        raise AssertionError(f"not within {PATIENCE_S} s; faults: {self.faults}")

    async def looks(self, count: int = 4) -> None:
        """Let some looks go by."""
        await asyncio.sleep(count * EVERY_S)

    def states(self) -> list[tuple[str, str, str]]:
        """The index without reasons."""
        return [(each.name, each.version, each.state) for each in self.engine.index()]


@asynccontextmanager
async def following(repository: Repository, every_s: float = EVERY_S) -> AsyncIterator[Served]:
    """Keep an engine current while the block runs."""
    faults: list[tuple[str, str, str]] = []
    engine = RunningEngine(Limits(), find=repository.find, fault=lambda *told: faults.append(told))
    task = asyncio.create_task(keep_current(engine, repository, every_s))
    served = Served(engine, faults)
    await served.until(engine.is_ready if repository.named else lambda: engine._opened)
    try:
        yield served
    finally:
        assert not task.done(), task
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await engine.close()


def test_models_are_told_of_once_they_are_ready(tmp_path: Path, log: Log) -> None:
    for name in ("a", "b"):
        put(tmp_path / name / "1" / "model.onnx", times(2))

    async def run() -> None:
        async with following(DirectoryRepository(tmp_path, DEFAULTS)) as served:
            await served.until(a=("1", 2.0), b=("1", 2.0))

    asyncio.run(run())
    assert log.of("loaded") == [{"model": "a", "versions": "1"}, {"model": "b", "versions": "1"}]
    assert log.of("ready") == [{"models": 2}]


def test_a_file_that_is_replaced_is_served_without_losing_a_request(tmp_path: Path, log: Log) -> None:
    path = put(tmp_path / "m.onnx", times(1))

    async def run() -> None:
        async with following(FileRepository({"m": path}, DEFAULTS)) as served:
            for factor in (2.0, 3.0, 4.0):
                put(path, times(factor))
                await served.until(m=("1", factor))
            path.unlink()
            await served.until(lambda: any("there is no model file" in reason for *_, reason in served.faults))
            assert await served.answer() == ("1", 4.0)
            put(path, times(5))
            await served.until(lambda: served.engine.index()[0].reason == "", m=("1", 5.0))

    asyncio.run(run())
    assert len(log.of("loaded")) == 5


def test_a_half_copied_file_is_let_alone_and_then_served(tmp_path: Path) -> None:
    path = put(tmp_path / "m" / "1" / "model.onnx", times(1))
    content = times(2)

    async def run() -> None:
        async with following(DirectoryRepository(tmp_path, DEFAULTS), 0.3) as served:
            with path.open("wb") as file:  # a copy in place, in pieces that come faster than looks
                for start in range(0, len(content), 4):
                    file.write(content[start : start + 4])
                    file.flush()
                    assert await served.answer() == ("1", 1.0)
                    await asyncio.sleep(0.01)
            await served.until(m=("1", 2.0))
            assert served.faults == []

    asyncio.run(run())


def test_a_copy_that_stalls_leaves_the_old_file_served_until_it_is_whole(tmp_path: Path) -> None:
    path = put(tmp_path / "m" / "1" / "model.onnx", times(1))

    async def run() -> None:
        async with following(DirectoryRepository(tmp_path, DEFAULTS)) as served:
            with path.open("wb") as file:
                file.write(times(3)[:60])
                file.flush()
                await served.until(lambda: served.faults, m=("1", 1.0))
                assert served.engine.index()[0].reason
                file.write(times(3)[60:])
            await served.until(lambda: not served.engine.index()[0].reason, m=("1", 3.0))

    asyncio.run(run())


def test_a_corrupt_model_that_is_dropped_in_is_one_fault_and_the_others_go_on(tmp_path: Path, log: Log) -> None:
    put(tmp_path / "m" / "1" / "model.onnx", times(1))

    async def run() -> None:
        async with following(DirectoryRepository(tmp_path, DEFAULTS)) as served:
            put(tmp_path / "bad" / "1" / "model.onnx", os.urandom(5000))
            put(tmp_path / "odd" / "config.pbtxt", b"max_batch_size: {")
            put(tmp_path / "odd" / "1" / "model.onnx", times(1))
            await served.until(lambda: len(served.faults) == 2, m=("1", 1.0))
            await served.looks()
            assert [fault[:2] for fault in served.faults] == [("bad", "1"), ("odd", "")]
            assert "\n" not in "".join(reason for *_, reason in served.faults)
            assert served.states() == [
                ("bad", "1", "UNAVAILABLE"),
                ("m", "1", "READY"),
                ("odd", "", "UNAVAILABLE"),
            ]
            put(tmp_path / "bad" / "1" / "model.onnx", times(7))
            put(tmp_path / "odd" / "config.pbtxt", b"max_batch_size: 4")
            await served.until(lambda: all(state == "READY" for *_, state in served.states()))
            assert (await served.answer("bad"), await served.answer("odd")) == (("1", 7.0), ("1", 1.0))

    asyncio.run(run())
    assert {"model": "m", "versions": "1"} in log.of("loaded")


def test_a_version_is_added_and_the_one_before_serves_until_it_is_ready(tmp_path: Path) -> None:
    put(tmp_path / "m" / "1" / "model.onnx", times(1))

    async def run() -> None:
        async with following(DirectoryRepository(tmp_path, DEFAULTS)) as served:
            (tmp_path / "m" / "2").mkdir()
            await served.until(lambda: served.faults, m=("1", 1.0))
            put(tmp_path / "m" / "2" / "model.onnx", b"no model")
            await served.until(lambda: len(served.faults) == 2, m=("1", 1.0))
            assert served.states() == [("m", "1", "READY"), ("m", "2", "UNAVAILABLE")]
            put(tmp_path / "m" / "2" / "model.onnx", times(2))
            await served.until(m=("2", 2.0))
            assert served.states() == [("m", "2", "READY")]
            with pytest.raises(NotFoundError):
                await served.answer("m", "1")

    asyncio.run(run())


def test_versions_that_stay_as_they_are_are_not_loaded_again(tmp_path: Path) -> None:
    put(tmp_path / "m" / "config.pbtxt", b"version_policy { all { } }")
    put(tmp_path / "m" / "1" / "model.onnx", times(1))

    async def run() -> None:
        async with following(DirectoryRepository(tmp_path, DEFAULTS)) as served:
            (first,) = served.engine._ready()
            put(tmp_path / "m" / "2" / "model.onnx", times(2))
            await served.until(m=("2", 2.0))
            assert first in served.engine._ready()
            assert await served.answer("m", "1") == ("1", 1.0)
            put(tmp_path / "m" / "1" / "model.onnx", times(9))
            await served.until(lambda: first not in served.engine._ready(), m=("2", 2.0))
            assert await served.answer("m", "1") == ("1", 9.0)
            put(tmp_path / "m" / "config.pbtxt", b"version_policy { all { } } max_batch_size: 2")
            await served.until(lambda: served.engine.config("m", "1")["max_batch_size"] == 0)
            put(tmp_path / "m" / "config.pbtxt", b"version_policy { specific { versions: [ 1 ] } }")
            await served.until(m=("1", 9.0))
            assert served.states() == [("m", "1", "READY")]

    asyncio.run(run())


def test_a_model_that_is_gone_is_removed_and_one_that_is_swapped_is_not(tmp_path: Path, log: Log) -> None:
    for name in ("m", "other"):
        put(tmp_path / name / "1" / "model.onnx", times(1))

    async def run() -> None:
        async with following(DirectoryRepository(tmp_path, DEFAULTS)) as served:
            put(tmp_path / ".new" / "1" / "model.onnx", times(2))
            (tmp_path / "m").rename(tmp_path / ".old")
            (tmp_path / ".new").rename(tmp_path / "m")
            await served.until(m=("1", 2.0))
            shutil.rmtree(tmp_path / "m")
            await served.until(lambda: served.states() == [("other", "1", "READY")], other=("1", 1.0))
            with pytest.raises(NotFoundError, match="there is no model 'm'"):
                await served.answer()

    asyncio.run(run())
    assert log.of("removed") == [{"model": "m"}]


def test_a_repository_that_cannot_be_read_is_told_of_once_and_serving_goes_on(tmp_path: Path, log: Log) -> None:
    put(tmp_path / "models" / "m" / "1" / "model.onnx", times(1))

    async def run() -> None:
        async with following(DirectoryRepository(tmp_path / "models", DEFAULTS)) as served:
            (tmp_path / "models").rename(tmp_path / "away")
            await served.until(lambda: log.of("not looked for changes"), m=("1", 1.0))
            await served.looks()
            assert await served.answer() == ("1", 1.0)
            (tmp_path / "away").rename(tmp_path / "models")
            put(tmp_path / "models" / "m" / "1" / "model.onnx", times(2))
            await served.until(m=("1", 2.0))

    asyncio.run(run())
    assert len(log.of("not looked for changes")) == 1


def test_labels_and_how_a_model_is_served_change_with_their_files(tmp_path: Path) -> None:
    directory = tmp_path / "m"
    put(directory / "1" / "model.onnx", times(1))
    put(directory / "labels.txt", b"cat\ndog\n")
    put(directory / "config.pbtxt", b'max_batch_size: 4 output { name: "y" label_filename: "labels.txt" }')

    async def run() -> None:
        async with following(DirectoryRepository(tmp_path, DEFAULTS)) as served:

            async def label() -> bytes:
                request = InferenceRequest(
                    model="m",
                    inputs={"x": np.array([[1, 2]], np.float32)},
                    outputs=(RequestedOutput(name="y", classification=1),),
                )
                found: bytes = (await served.engine.infer(request)).outputs["y"].reshape(-1)[0]
                return found

            assert (await label()).endswith(b":1:dog")
            put(directory / "labels.txt", b"cat\nwolf\n")
            await served.until(
                lambda: served.engine._served["m"].versions["1"].configuration.labels == {"y": ("cat", "wolf")}
            )
            assert (await label()).endswith(b":1:wolf")
            put(directory / "config.pbtxt", b"this is none")
            await served.until(lambda: served.faults, m=("1", 1.0))
            assert "cannot be read" in served.engine.index()[0].reason
            assert (await label()).endswith(b":1:wolf")

    asyncio.run(run())


def test_what_a_client_unloads_stays_unloaded_until_its_files_change(tmp_path: Path) -> None:
    put(tmp_path / "m" / "1" / "model.onnx", times(1))

    async def run() -> None:
        async with following(DirectoryRepository(tmp_path, DEFAULTS)) as served:
            await served.engine.unload("m")
            await served.looks()
            assert served.states() == [("m", "1", "UNAVAILABLE")]
            put(tmp_path / "m" / "1" / "model.onnx", times(2))
            await served.until(lambda: served.states() == [("m", "1", "READY")])
            assert await served.answer() == ("1", 2.0)

    asyncio.run(run())


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("the library failed"), ValueError("two\nlines")])
def test_whatever_a_library_raises_is_a_fault_of_that_model_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(path: Path, **options: Any) -> Any:
        if "bad" in path.parts:
            raise error
        return open_executable(path, **options)

    monkeypatch.setattr("edgeml.serving.engine.model.open_executable", fail)
    for name in ("bad", "m"):
        put(tmp_path / name / "1" / "model.onnx", times(1))

    async def run() -> None:
        async with following(DirectoryRepository(tmp_path, DEFAULTS)) as served:
            await served.until(m=("1", 1.0))
            ((name, version, reason),) = served.faults
            assert (name, version) == ("bad", "1")
            assert type(error).__name__ in reason
            assert "\n" not in reason

    asyncio.run(run())


def test_a_server_that_was_named_only_files_that_cannot_be_loaded_ends(tmp_path: Path) -> None:
    good, bad = put(tmp_path / "good.onnx", times(1)), put(tmp_path / "bad.onnx", b"no model")

    async def run(files: dict[str, Path]) -> None:
        engine = RunningEngine(Limits())
        try:
            await keep_current(engine, FileRepository(files, DEFAULTS), 0)
        finally:
            await engine.close()

    with pytest.raises(EdgeMLError, match=r"bad\.onnx"):
        asyncio.run(run({"bad": bad, "worse": tmp_path / "gone.onnx"}))
    asyncio.run(run({"bad": bad, "good": good}))


def test_a_directory_that_cannot_be_read_at_the_start_ends_the_server(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the directory of models"):
        asyncio.run(keep_current(RunningEngine(Limits()), DirectoryRepository(tmp_path / "gone", DEFAULTS), 0))


def test_without_looks_nothing_changes(tmp_path: Path) -> None:
    async def run() -> None:
        engine = RunningEngine(Limits())
        await keep_current(engine, DirectoryRepository(tmp_path, DEFAULTS), 0)
        assert engine.is_ready()

    asyncio.run(run())


def test_a_signature_tells_of_all_files_of_a_model_and_of_no_other(tmp_path: Path) -> None:
    for name in ("m.residual.onnx", "m.key.onnx", "m.residual.onnx.edgeml.json", "other.onnx"):
        (tmp_path / name).write_bytes(b"")
    found = signature(tmp_path / "m.residual.onnx")
    assert [each[0] for each in found] == ["m.key.onnx", "m.residual.onnx", "m.residual.onnx.edgeml.json"]
    assert signature(tmp_path / "gone" / "m.onnx") == ()
