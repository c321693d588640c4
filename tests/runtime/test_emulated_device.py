"""Compiled models on the emulated ARM device, against onnxruntime on this machine."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from edgeml.core.artifact import Artifact, sha256_file
from edgeml.core.device import Device
from edgeml.core.errors import CheckFailedError, UsageError
from edgeml.core.session import SessionOptions
from edgeml.core.target import Target
from edgeml.runtime.tvm.session import Tvm

pytestmark = [pytest.mark.tvm, pytest.mark.qemu]

DEVICE = Device("qemu", "aarch64")
Libraries = dict[str, Artifact]


def by_onnxruntime(path: Path, image: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(str(path.with_suffix(".onnx")), providers=["CPUExecutionProvider"])
    found: list[npt.NDArray[np.float32]] = session.run(None, {"image": image})
    return found


def test_a_dynamic_batch_model_agrees_with_onnxruntime(rpi4_libraries: Libraries) -> None:
    artifact = rpi4_libraries["net"]
    session = Tvm().open(artifact, DEVICE, SessionOptions(threads=2))
    try:
        for batch in (1, 3):
            image = np.random.default_rng(batch).standard_normal((batch, 3, 16, 16)).astype(np.float32)
            found = session.run({"image": image})
            assert list(found) == ["logits", "features"]
            for one, other in zip(found.values(), by_onnxruntime(artifact.path, image), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        with pytest.raises(UsageError, match="the model's inputs are image"):
            session.run({"x": image})
        assert session.inputs == artifact.inputs
    finally:
        session.close()


def test_a_library_for_another_machine_is_refused_before_anything_starts(tvm_libraries: Libraries) -> None:
    with pytest.raises(UsageError, match=r"is a library for x86-64.*; this Python runs on aarch64"):
        Tvm().open(tvm_libraries["vector"], DEVICE, SessionOptions())


def test_a_library_with_a_gpu_part_is_refused(rpi4_libraries: Libraries) -> None:
    artifact = replace(rpi4_libraries["vector"], target=Target.parse("jetson-orin"))
    with pytest.raises(UsageError, match="is compiled for jetson-orin; qemu://aarch64 has no GPU"):
        Tvm().open(artifact, DEVICE, SessionOptions())


def test_a_library_that_is_not_the_manifests_is_not_loaded_there(rpi4_libraries: Libraries, tmp_path: Path) -> None:
    path = tmp_path / "vector.so"
    shutil.copy(rpi4_libraries["vector"].path, path)
    artifact = replace(rpi4_libraries["vector"].at(path), sha256="0" * 64)
    assert sha256_file(path) != artifact.sha256
    with pytest.raises(CheckFailedError, match="it was not loaded"):
        Tvm().open(artifact, DEVICE, SessionOptions())
