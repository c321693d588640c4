import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, MissingError, UsageError
from edgeml.core.session import Session, SessionOptions
from edgeml.core.target import Target
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.onnx_file import open_artifact
from edgeml.runtime.onnxruntime_session import OnnxRuntime
from edgeml.runtime.registry import get_runtime

LOCAL = Device("local")


def opened(path: Path, **options: object) -> Session:
    return OnnxRuntime().open(open_artifact(path), LOCAL, SessionOptions(**options))  # type: ignore[arg-type]


@pytest.fixture
def net(write_conv_net: Callable[..., Path]) -> Path:
    return write_conv_net()


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_outputs_are_those_of_the_onnx_reference(net: Path, optimize: bool, batch: int) -> None:
    image = np.random.default_rng(1).standard_normal((batch, 1, 8, 8)).astype(np.float32)
    session = opened(net, threads=1, optimize=optimize)
    (expected,) = ReferenceEvaluator(str(net)).run(None, {"image": image})
    assert isinstance(expected, np.ndarray)
    found = session.run({"image": image})
    assert list(found) == ["logits"]
    np.testing.assert_allclose(found["logits"], expected, rtol=1e-4, atol=1e-5)


def test_the_session_tells_its_interface(net: Path) -> None:
    session = opened(net)
    assert session.inputs == (TensorSpec("image", ("batch", 1, 8, 8), "float32"),)
    assert session.outputs == (TensorSpec("logits", ("batch", 10), "float32"),)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "inputs are image; the feeds given are none"),
        ({"picture": np.zeros((1, 1, 8, 8), np.float32)}, "inputs are image; the feeds given are picture"),
        ({"image": np.zeros((1, 1, 8, 8))}, "input image takes float32; float64 was fed"),
        ({"image": np.zeros((1, 8, 8), np.float32)}, "takes shape (batch, 1, 8, 8); (1, 8, 8) was fed"),
        ({"image": np.zeros((1, 1, 8, 9), np.float32)}, "takes shape (batch, 1, 8, 8); (1, 1, 8, 9) was fed"),
    ],
)
def test_feeds_that_do_not_fit_are_refused_in_the_models_terms(
    net: Path, feeds: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        opened(net).run(feeds)
    assert message in str(caught.value)


def test_inputs_that_share_an_axis_must_agree_on_its_size(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n"]) for name in ("a", "b", "sum")]
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["sum"])], "add", values[:2], values[2:])
    path = tmp_path / "add.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with pytest.raises(UsageError, match="input b"):
        opened(path).run({"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float32)})


def test_a_closed_session_says_so(net: Path) -> None:
    session = opened(net)
    session.close()
    with pytest.raises(EdgeMLError, match="closed"):
        session.run({"image": np.zeros((1, 1, 8, 8), np.float32)})


def test_a_model_that_onnxruntime_cannot_load_gives_one_line(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("NoSuchOperator", ["x"], ["y"])], "g", [value], [result])
    path = tmp_path / "odd.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with pytest.raises(EdgeMLError, match="onnxruntime cannot load") as caught:
        opened(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_failing_run_gives_one_line(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n"])
    shape = helper.make_tensor_value_info("shape", onnx.TensorProto.INT64, [1])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["m"])
    graph = helper.make_graph([helper.make_node("Reshape", ["x", "shape"], ["y"])], "g", [x, shape], [y])
    path = tmp_path / "reshape.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with pytest.raises(EdgeMLError, match="onnxruntime failed to run"):
        opened(path).run({"x": np.zeros(3, np.float32), "shape": np.array([2], np.int64)})


def test_only_this_machine_can_be_opened(net: Path) -> None:
    with pytest.raises(MissingError, match="ssh://pi@host cannot be reached"):
        OnnxRuntime().open(open_artifact(net), Device.parse("ssh://pi@host"), SessionOptions())


def test_only_onnx_files_and_positive_thread_counts_are_taken(net: Path) -> None:
    artifact = open_artifact(net)
    compiled = Artifact(
        path=net,
        format="tvm",
        model="m",
        precision="fp32",
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        sha256=artifact.sha256,
        target=Target.parse("host"),
    )
    with pytest.raises(UsageError, match="opens onnx files"):
        OnnxRuntime().open(compiled, LOCAL, SessionOptions())
    with pytest.raises(UsageError, match="threads is 0"):
        OnnxRuntime().open(artifact, LOCAL, SessionOptions(threads=0))


def test_the_guard_looks_at_the_file_first(net: Path) -> None:
    artifact = open_artifact(net)
    net.write_bytes(b"\x0f" * 100)
    with pytest.raises(EdgeMLError) as caught:
        OnnxRuntime().open(artifact, LOCAL, SessionOptions())
    assert "onnxruntime" not in str(caught.value)


def test_an_open_but_idle_session_takes_no_processor_time(net: Path) -> None:
    program = (
        "import sys, time, numpy as np\n"
        "from pathlib import Path\n"
        "from edgeml.core.device import Device\n"
        "from edgeml.core.session import SessionOptions\n"
        "from edgeml.runtime.onnx_file import open_artifact\n"
        "from edgeml.runtime.onnxruntime_session import OnnxRuntime\n"
        "session = OnnxRuntime().open(open_artifact(Path(sys.argv[1])), Device('local'), SessionOptions(threads=4))\n"
        "feeds = {'image': np.zeros((64, 1, 8, 8), np.float32)}\n"
        "for _ in range(20):\n"
        "    session.run(feeds)\n"
        "start = time.process_time()\n"
        "time.sleep(0.1)\n"
        "print(time.process_time() - start)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(net)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.02  # processor time; left to spin, the threads take 0.08 s


def test_telemetry_is_off_before_onnxruntime_is_loaded() -> None:
    program = (
        "import os, edgeml.runtime.onnxruntime_loading as s; s.import_onnxruntime();"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "1\n"
    assert done.stderr == ""


def test_the_registry_knows_its_runtimes_without_loading_them() -> None:
    assert get_runtime("onnxruntime").name == "onnxruntime"
    with pytest.raises(UsageError, match="unknown runtime 'abacus'; allowed: onnxruntime"):
        get_runtime("abacus")
    program = "import sys, edgeml.runtime.registry; print('onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
