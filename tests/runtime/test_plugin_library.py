from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, MissingError, UsageError
from edgeml.core.session import SessionOptions
from edgeml.ops.attach import attach_functions
from edgeml.runtime.onnx_file import open_artifact
from edgeml.runtime.onnxruntime_session import OnnxRuntime, OnnxRuntimeSession
from edgeml.runtime.plugin.library import Plugin, load_plugin
from edgeml.runtime.plugin.registration import uses_own_operators

CONV: dict[str, Any] = {"kernel_shape": (3, 3), "channels": 6, "pads": (1, 1, 1, 1)}
IMAGE = np.random.default_rng(0).standard_normal((2, 6, 9, 7)).astype(np.float32)


@pytest.fixture
def plugin() -> Plugin:
    try:
        return load_plugin()
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture
def net(
    tmp_path: Path, one_node_model: Callable[..., onnx.ModelProto], binary_weights: Callable[..., dict[str, Any]]
) -> Path:
    """A BinaryConv with its function body."""
    model = one_node_model("BinaryConv", binary_weights(8, 54, 6), **CONV)
    for value in (*model.graph.input, *model.graph.output):
        axes = ("batch", 6, "height", "width") if value.name == "X" else ("batch", 8, "height", "width")
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, axes))
    attach_functions(model)
    path = tmp_path / "binary.onnx"
    onnx.save(model, path)
    return path


def opened(path: Path) -> OnnxRuntimeSession:
    return OnnxRuntime().open(open_artifact(path), Device("local"), SessionOptions(threads=1))


def test_sessions_run_own_operators_natively_and_say_by_which_kernel(
    net: Path, plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A body that is wrong shows which of the two ran.
    model = onnx.load(net)
    model.functions[0].node[-1].op_type = "Sub"
    onnx.save(model, net)
    natively = opened(net)
    monkeypatch.setenv("EDGEML_PLUGIN", "off")
    by_body = opened(net)
    assert natively.native_kernel == plugin.kernel
    assert by_body.native_kernel is None
    bias = onnx.numpy_helper.to_array(model.graph.initializer[3])[:, None, None]
    np.testing.assert_allclose(
        natively.run({"X": IMAGE})["Y"] - bias, by_body.run({"X": IMAGE})["Y"] + bias, rtol=1e-5, atol=1e-5
    )


def test_a_stock_onnxruntime_gives_the_same_outputs(net: Path, plugin: Plugin, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGE)
    program = (
        "import sys, numpy as np, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])\n"
        "np.save(sys.argv[3], session.run(None, {'X': np.load(sys.argv[2])})[0])\n"
        "assert not any(name.startswith('edgeml.') for name in sys.modules)\n"
    )
    files = [str(net), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    subprocess.run([sys.executable, "-c", program, *files], check=True)
    np.testing.assert_allclose(opened(net).run({"X": IMAGE})["Y"], np.load(tmp_path / "y.npy"), rtol=1e-5, atol=1e-5)


def test_every_kernel_can_be_asked_for(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plugin.kernels[0] == "scalar"
    for kernel in plugin.kernels:
        monkeypatch.setenv("EDGEML_KERNEL", kernel)
        assert load_plugin().kernel == kernel


def test_an_unknown_kernel_is_refused_by_name(net: Path, plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEML_KERNEL", "altivec")
    with pytest.raises(UsageError, match="EDGEML_KERNEL is 'altivec'; here it may be scalar"):
        opened(net)


def test_without_the_kernels_a_model_runs_by_its_bodies(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeml.runtime.plugin.library._places", list)
    monkeypatch.delenv("EDGEML_PLUGIN", raising=False)
    session = opened(net)
    assert session.native_kernel is None
    assert session.run({"X": IMAGE})["Y"].shape == (2, 8, 9, 7)
    with pytest.raises(MissingError, match=r"installed without its native kernels; install a C\+\+17 compiler"):
        load_plugin()


def test_a_model_without_bodies_tells_that_it_needs_the_kernels(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx.load(net)
    del model.functions[:]
    onnx.save(model, net)
    monkeypatch.setenv("EDGEML_PLUGIN", "off")
    with pytest.raises(EdgeMLError, match=r"onnxruntime cannot load .*\(the native kernels are turned off"):
        opened(net)


def test_a_file_that_is_no_library_is_told_with_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"\x7fELF" + b"\0" * 100)
    monkeypatch.setenv("EDGEML_PLUGIN", str(broken))
    with pytest.raises(EdgeMLError, match=r"the native kernels cannot be loaded: .*pip install"):
        load_plugin()
    monkeypatch.setenv("EDGEML_PLUGIN", str(tmp_path / "absent.so"))
    with pytest.raises(MissingError, match=r"absent\.so', which is no file"):
        load_plugin()


def test_a_library_that_is_another_one_is_told(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEML_PLUGIN", str(next(Path(sys.prefix).rglob("*.so"))))
    with pytest.raises(EdgeMLError, match="the native kernels cannot be loaded: "):
        load_plugin()


def test_a_library_at_another_place_is_used_where_it_is_named(
    net: Path, plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copy(plugin.path, tmp_path / "copy.so"))
    monkeypatch.setenv("EDGEML_PLUGIN", str(copy))
    assert load_plugin().path == copy
    assert opened(net).native_kernel == plugin.kernel


def test_only_files_with_own_operators_get_the_kernels(
    net: Path, write_conv_net: Callable[..., Path], tmp_path: Path
) -> None:
    assert uses_own_operators(net)
    assert not uses_own_operators(write_conv_net())
    assert opened(write_conv_net()).native_kernel is None
    (tmp_path / "empty.onnx").touch()
    assert not uses_own_operators(tmp_path / "empty.onnx")


@pytest.mark.parametrize("threads", ["0", "-1", "many", "", "1025", "4 "])
def test_a_wrong_number_of_threads_is_an_onnxruntime_error(plugin: Plugin, threads: str) -> None:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.add_session_config_entry("ai.edgeml.threads", threads)
    with pytest.raises(Exception, match=r"\[ONNXRuntimeError\].*takes a number from 1 to 1024"):
        settings.register_custom_ops_library(str(plugin.path))


def test_the_plugin_works_in_a_process_that_never_imports_edgeml(net: Path, plugin: Plugin) -> None:
    program = (
        "import sys, numpy as np, onnxruntime\n"
        "settings = onnxruntime.SessionOptions()\n"
        "settings.register_custom_ops_library(sys.argv[2])\n"
        "session = onnxruntime.InferenceSession(sys.argv[1], settings)\n"
        "print(session.run(None, {'X': np.zeros((1, 6, 3, 3), np.float32)})[0].shape)\n"
        "del session, settings\n"
    )
    command = [sys.executable, "-c", program, str(net), str(plugin.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert (done.returncode, done.stdout) == (0, "(1, 8, 3, 3)\n"), done.stderr
