"""Models of every kind that is served, from their files: a compiled library, and a network for video as sequences."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from edgeml.core.artifact import Artifact
from edgeml.serving.engine.configuration import ModelConfiguration, ModelSource
from edgeml.serving.engine.engine import RunningEngine, open_engine
from edgeml.serving.errors import InvalidRequestError
from edgeml.serving.inference import InferenceRequest, Sequence
from tests.runtime.streaming_pair import expected, write_pair


async def engine_of(path: Path, configuration: ModelConfiguration | None = None) -> RunningEngine:
    source = ModelSource(name="m", versions={"1": path}, configuration=configuration or ModelConfiguration())
    engine = await open_engine([source])
    assert [(each.state, each.reason) for each in engine.index()] == [("READY", "")]
    return engine


@pytest.mark.tvm
def test_a_compiled_library_answers_many_at_once_as_onnxruntime_does(tvm_libraries: dict[str, Artifact]) -> None:
    import onnxruntime

    artifact = tvm_libraries["net"]
    session = onnxruntime.InferenceSession(str(artifact.path.with_suffix(".onnx")), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    images = [generator.standard_normal((rows, 3, 16, 16)).astype(np.float32) for rows in (1, 2, 1, 3, 1, 1)]

    async def run() -> None:
        engine = await engine_of(artifact.path, ModelConfiguration(instances=2, threads=1))
        assert engine.metadata("m").platform == "tvm_library"
        answers = await asyncio.gather(
            *(engine.infer(InferenceRequest(model="m", inputs={"image": image})) for image in images)
        )
        for image, answer in zip(images, answers, strict=True):
            found = session.run(None, {"image": image})
            wanted = dict(zip([each.name for each in session.get_outputs()], found, strict=True))
            assert answer.outputs.keys() == wanted.keys()
            for name, tensor in wanted.items():
                np.testing.assert_allclose(answer.outputs[name], tensor, rtol=1e-5, atol=1e-5)
        assert await engine.drain(5)
        await engine.close()

    asyncio.run(run())


def test_each_sequence_is_a_stream_of_its_own(tmp_path: Path) -> None:
    path = write_pair(tmp_path)
    generator = np.random.default_rng(0)
    streams = {name: np.cumsum(generator.standard_normal((5, 2, 16, 24)), axis=0) for name in ("a", "b")}

    async def run() -> None:
        engine = await engine_of(path)
        (spec,) = engine.metadata("m").inputs
        assert engine.metadata("m").stateful
        for index in range(5):
            for name, frames in streams.items():
                frame = frames[index].astype(np.float32)
                sequence = Sequence(id=name, start=index == 0, end=index == 4)
                answer = await engine.infer(
                    InferenceRequest(model="m", inputs={spec.name: frame[None]}, sequence=sequence)
                )
                (output,) = answer.outputs.values()
                np.testing.assert_array_equal(output, expected(frame))
        ended = InferenceRequest(model="m", inputs={spec.name: frame[None]}, sequence=Sequence(id="a"))
        with pytest.raises(InvalidRequestError, match="is not open"):
            await engine.infer(ended)
        await engine.close()

    asyncio.run(run())
