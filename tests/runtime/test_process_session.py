"""The near end of a Session in another process, against programs that misbehave in every way."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgeml.core.artifact import Artifact, sha256_file
from edgeml.core.device import LOCAL, Device
from edgeml.core.errors import EdgeMLError, MissingError, UsageError
from edgeml.core.session import SessionOptions
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.process_session import ProcessSession

DEVICE = Device("qemu", "aarch64")
HEAD = """
import sys, os
from edgeml.runtime.array_messages import read_message, write_message
requests, answers = sys.stdin.buffer, sys.stdout.buffer
def serve(answer):
    while (message := read_message(requests)) is not None:
        answer(*message)
"""
DOUBLES = HEAD + "serve(lambda request, arrays: write_message(answers, {'ok': {}}, [2 * a for a in arrays]))"


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    path = tmp_path / "model.so"
    path.write_bytes(b"library")
    spec = TensorSpec("x", ("batch", 2), "float32")
    return Artifact(
        path=path,
        format="tvm",
        model="model",
        precision="fp32",
        inputs=(spec,),
        outputs=(TensorSpec("y", ("batch", 2), "float32"),),
        sha256=sha256_file(path),
    )


def start(artifact: Artifact, program: str, *, open_timeout_s: float = 60, run_timeout_s: float = 60) -> ProcessSession:
    return ProcessSession(
        artifact,
        (sys.executable, "-c", program),
        device=DEVICE,
        opened_on=LOCAL,
        options=SessionOptions(),
        environment={},
        open_timeout_s=open_timeout_s,
        run_timeout_s=run_timeout_s,
    )


def x(batch: int = 1) -> dict[str, npt.NDArray[np.float32]]:
    return {"x": np.ones((batch, 2), np.float32)}


def test_inputs_go_there_and_outputs_come_back_by_name(artifact: Artifact) -> None:
    session = start(artifact, DOUBLES)
    for batch in (1, 4):
        found = session.run(x(batch))
        assert list(found) == ["y"]
        np.testing.assert_array_equal(found["y"], np.full((batch, 2), 2, np.float32))
    with pytest.raises(UsageError, match=r"takes shape \(batch, 2\)"):
        session.run({"x": np.ones((1, 3), np.float32)})
    session.run(x())  # a refused feed reaches nobody
    session.close()
    session.close()
    with pytest.raises(EdgeMLError, match="is closed"):
        session.run(x())


def test_an_error_over_there_is_the_same_error_here(artifact: Artifact) -> None:
    says = "{'error': 'no such thing', 'kind': 'MissingError'}"
    with pytest.raises(MissingError, match=r"^no such thing$"):
        start(artifact, HEAD + f"serve(lambda *_: write_message(answers, {says}))")


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("sys.exit('it fell over')", "ended with code 1; its last line: it fell over"),
        ("os.kill(os.getpid(), 11)", "ended by SIGSEGV; its last line: it printed nothing"),
        ("answers.write(b'Welcome to my library 1.0'); answers.flush(); sys.exit(3)", "ended with code 3"),
    ],
)
def test_a_process_that_ends_is_told_in_one_line(ending: str, told: str, artifact: Artifact) -> None:
    with pytest.raises(EdgeMLError, match=told) as failed:
        start(artifact, HEAD + ending)
    assert str(failed.value).startswith(f"{artifact.path} on qemu://aarch64: ")


def test_a_process_that_hangs_is_stopped(artifact: Artifact) -> None:
    late = HEAD + (
        "import time\n"
        "def answer(request, arrays):\n"
        "    if request['command'] == 'run': time.sleep(1000)\n"
        "    write_message(answers, {'ok': {}})\n"
        "serve(answer)"
    )
    with pytest.raises(EdgeMLError, match="'open' was not finished within 0 s; it was stopped"):
        start(artifact, HEAD + "import time; time.sleep(1000)", open_timeout_s=0.2)
    session = start(artifact, late, run_timeout_s=0.2)
    with pytest.raises(EdgeMLError, match="'run' was not finished within 0 s; it was stopped"):
        session.run(x())
    with pytest.raises(EdgeMLError, match="is closed"):
        session.run(x())
    session.close()


def test_a_program_that_cannot_be_started_is_told(artifact: Artifact) -> None:
    with pytest.raises(EdgeMLError, match="/no/such/qemu cannot be started: No such file"):
        ProcessSession(
            artifact,
            ("/no/such/qemu",),
            device=DEVICE,
            opened_on=LOCAL,
            options=SessionOptions(),
            environment={},
            open_timeout_s=1,
            run_timeout_s=1,
        )
