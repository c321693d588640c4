import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, UntrustedFileError, UsageError
from edgeml.core.host import HostInfo
from edgeml.core.session import Feeds, SessionOptions
from edgeml.edge_bench import worker
from edgeml.edge_bench.client import start_worker
from edgeml.edge_bench.conditions.device_state import DeviceState
from edgeml.edge_bench.worker import open_worker
from edgeml.edge_bench.worker_loop import serve
from edgeml.runtime.onnx_file import open_artifact

TIMEOUT_S = 60.0


def open_arguments(path: Path, **changes: Any) -> dict[str, Any]:
    return {
        "artifact": open_artifact(path).to_json(),
        "path": str(path),
        "runtime": "onnxruntime",
        "threads": 1,
        "batch": 1,
        "seed": 0,
        "samples": None,
    } | changes


@pytest.mark.parametrize("batch", ["batch", 4])
def test_a_worker_opens_warms_up_samples_predicts_and_stops(
    write_conv_net: Callable[..., Path], tmp_path: Path, batch: int | str
) -> None:
    path = write_conv_net(batch=batch)
    images = np.random.default_rng(0).standard_normal((38, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    with start_worker("net.onnx") as worker:
        opened = worker.ask("open", timeout_s=TIMEOUT_S, **open_arguments(path, samples=str(tmp_path / "images.npy")))
        assert opened["load_ms"] > 0
        assert opened["threads"] == 1
        assert opened["batch"] == (1 if batch == "batch" else 4)
        warm = worker.ask("warm_up", timeout_s=TIMEOUT_S, limit_s=0.05)
        assert warm["runs"] >= 2
        taken = worker.ask("sample", timeout_s=TIMEOUT_S, runs=7, settle=2)["latency_ns"]
        assert len(taken) == 7
        assert all(isinstance(value, int) and value > 0 for value in taken)
        memory = worker.ask("memory", timeout_s=TIMEOUT_S)["peak_memory_bytes"]
        assert 10 << 20 < memory < 1 << 30
        output = tmp_path / "logits.npy"
        answer = worker.ask("predict", timeout_s=TIMEOUT_S, samples=str(tmp_path / "images.npy"), output=str(output))
        assert answer == {"count": 38}
    reference = onnxruntime.InferenceSession(str(write_conv_net("dynamic.onnx")), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(np.load(output), reference.run(None, {"image": images})[0], rtol=1e-4, atol=1e-5)


def test_what_libraries_print_does_not_reach_the_answers() -> None:
    program = (
        "import os, sys\n"
        "from edgeml.edge_bench import worker, worker_loop\n"
        "def loud():\n"
        "    print('from python'); os.write(1, b'from C\\n'); return 7\n"
        "worker_loop.peak_memory_bytes = loud\n"
        "worker.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input='{"command": "memory"}\n', capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"ok": {"peak_memory_bytes": 7}}
    assert "from C" in done.stderr


def test_a_refusal_keeps_its_kind_and_the_worker_goes_on(write_conv_net: Callable[..., Path], tmp_path: Path) -> None:
    path = write_conv_net()
    known = open_arguments(path)
    with start_worker("net.onnx") as worker:
        with pytest.raises(UsageError, match="unknown runtime 'abacus'"):
            worker.ask("open", timeout_s=TIMEOUT_S, **open_arguments(path, runtime="abacus"))
        outside = tmp_path / "outside.onnx"
        model = onnx.load(path)
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../etc/passwd")
        onnx.save(model, outside)
        with pytest.raises(UntrustedFileError):
            worker.ask("open", timeout_s=TIMEOUT_S, **(known | {"path": str(outside)}))
        assert worker.ask("open", timeout_s=TIMEOUT_S, **known)["batch"] == 1


def test_a_device_over_rpc_is_timed_by_its_own_clock(
    write_conv_net: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_conv_net()
    opened_on: list[Device] = []
    timed: list[int] = []

    class Remote:
        """A session at the far end of a slow link, whose own clock tells 1, 2, 3, ... ms."""

        inputs = open_artifact(path).inputs

        def run(self, feeds: Feeds) -> dict[str, Any]:
            return {}

        def device_latencies_ms(self, feeds: Feeds, runs: int) -> list[float]:
            timed.append(runs)
            first = sum(timed[:-1])
            return [first + index + 1.0 for index in range(runs)]

    class Backend:
        """Opens it."""

        def open(self, artifact: Artifact, device: Device, options: SessionOptions) -> Remote:
            opened_on.append(device)
            return Remote()

    monkeypatch.setattr(worker, "get_runtime", lambda _name: Backend())
    monkeypatch.setattr(worker, "import_package", lambda _name: None)
    monkeypatch.setattr(worker, "bound_memory", lambda: None)
    commands, opened = open_worker(**open_arguments(path, device="rpc://127.0.0.1:9090", threads=3))
    assert opened_on == [Device.parse("rpc://127.0.0.1:9090")]
    assert opened["threads"] == 3
    assert commands["sample"](runs=20, settle=0) == {"latency_ns": [1_000_000 * (index + 1) for index in range(20)]}
    assert timed == [3, 3, 3, 3, 2, 2, 2, 2]  # each feed crosses the link once
    assert commands["memory"]() == {"peak_memory_bytes": 0}
    assert not {"scenario", "profile", "energy"} & commands.keys()


def test_a_worker_tells_of_its_machine_before_it_opens_anything() -> None:
    with start_worker("net.onnx") as process:
        host = HostInfo.from_json(process.ask("host", timeout_s=TIMEOUT_S))
        assert dict(host.versions)["onnxruntime"] == onnxruntime.__version__
        before = DeviceState.from_json(process.ask("conditions", timeout_s=TIMEOUT_S)).conditions
        after = DeviceState.from_json(process.ask("conditions", timeout_s=TIMEOUT_S)).conditions
        assert before.time_s < after.time_s
        assert before.own_s <= after.own_s


def test_a_worker_that_dies_is_told_of_with_its_last_line() -> None:
    program = "import sys; sys.stdin.readline(); print('cannot open shared object', file=sys.stderr); sys.exit(3)"
    with (
        pytest.raises(EdgeMLError, match=r"m\.onnx: the worker ended with code 3; its last line: cannot open shared"),
        start_worker("m.onnx", (sys.executable, "-c", program)) as worker,
    ):
        worker.ask("open", timeout_s=TIMEOUT_S)


@pytest.mark.parametrize(
    ("number", "message"), [(9, "SIGKILL .*want of memory"), (4, "SIGILL .*a processor with instructions")]
)
def test_a_worker_that_is_killed_names_the_signal(number: int, message: str) -> None:
    program = f"import os, sys; sys.stdin.readline(); os.kill(os.getpid(), {number})"
    with (
        pytest.raises(EdgeMLError, match=rf"ended by {message}.*it printed nothing"),
        start_worker("m.onnx", (sys.executable, "-c", program)) as worker,
    ):
        worker.ask("open", timeout_s=TIMEOUT_S)


def test_a_worker_that_hangs_is_stopped() -> None:
    program = "import sys, time; sys.stdin.readline(); time.sleep(600)"
    with (
        pytest.raises(EdgeMLError, match="did not finish 'sample' within 0 s"),
        start_worker("m.onnx", (sys.executable, "-c", program)) as worker,
    ):
        worker.ask("sample", timeout_s=0.2)


def test_a_model_that_asks_for_too_much_memory_gets_one_line(tmp_path: Path) -> None:
    # Squares a long vector by broadcasting: 2**23 x 2**23 floats.
    length = 1 << 23
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", "m"])
    shape = numpy_helper.from_array(np.array([length, 1], np.int64), "tall")
    wide = numpy_helper.from_array(np.array([1, length], np.int64), "wide")
    nodes = [
        helper.make_node("Expand", ["x", "tall"], ["column"]),
        helper.make_node("Expand", ["x", "wide"], ["row"]),
        helper.make_node("Add", ["column", "row"], ["y"]),
    ]
    path = tmp_path / "huge.onnx"
    graph = helper.make_graph(nodes, "huge", [x], [y], [shape, wide])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with (
        pytest.raises(EdgeMLError, match=r"more memory|too large|more than the allowed") as caught,
        start_worker(str(path)) as worker,
    ):
        worker.ask("open", timeout_s=TIMEOUT_S, **open_arguments(path))
    assert "\n" not in str(caught.value)


def test_the_coordinator_leaving_ends_the_worker() -> None:
    answers = io.StringIO()
    serve(io.StringIO('{"command": "memory"}\n{"command": "stop"}\n{"command": "memory"}\n'), answers, open_worker)
    assert len(answers.getvalue().splitlines()) == 1
    done = subprocess.run(
        [sys.executable, "-m", "edgeml.edge_bench.worker"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, b"")
