from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from edgeml.cli import speed
from edgeml.cli.compile import command
from edgeml.cli.speed import Speed
from edgeml.compiler import compile as stage
from edgeml.compiler.compile import CompileResult
from edgeml.compiler.placed_operator import PlacedOperator
from edgeml.compiler.process.compiler_process import ProcessLimits
from edgeml.core.device import Device
from edgeml.core.errors import UsageError
from edgeml.core.parity import OutputComparison, ParityReport
from edgeml.core.target import Target
from edgeml.runtime.onnx_file import open_artifact

WriteConvNet = Callable[..., Path]
SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/compile.schema.json").read_text(encoding="utf-8"))
SLOWER = Speed(
    milliseconds=3.0,
    other_milliseconds=2.0,
    time_ratio=1.5,
    ci95=(1.4, 1.6),
    verdict="slower",
    threads=1,
    batch=1,
    warnings=(),
)


@pytest.fixture
def asked(write_conv_net: WriteConvNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the stage was asked for; it answers with an int8 library of two operators, slower than onnxruntime."""
    source = open_artifact(write_conv_net())
    options: dict[str, Any] = {}

    def compiled(source_path: Path, target: Target, output: Path, **given: Any) -> CompileResult:
        options.update(given, source=source_path, target=target, output=output)
        output.write_bytes(b"library")
        entry = OutputComparison(batch=1, max_abs_difference=1e-6, max_abs_reference=1.0, tolerance=1e-5, passed=True)
        return CompileResult(
            artifact=replace(
                source,
                path=output,
                format="tvm",
                target=target,
                precision="int8",
                schedule="kernels",
                parent_sha256="0" * 64,
            ),
            operators=(
                PlacedOperator("conv", "Conv", "pointwise", "int8"),
                PlacedOperator("head", "Gemm", "general", "fp32", quantized=True),
            ),
            gpu_kernels=(),
            parity=ParityReport(reference="onnxruntime", outputs=(entry,)),
            parity_note="",
            notes=(),
            runs_on=Device("local") if str(target) == "host" else None,
        )

    monkeypatch.setattr(stage, "compile_onnx", compiled)
    monkeypatch.setattr(speed, "measure_speed", lambda *_, **__: SLOWER)
    monkeypatch.chdir(tmp_path)
    return options


def run(*arguments: str) -> tuple[str, str]:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
    return result.stdout, result.stderr


def test_json_is_one_object_of_the_schema(asked: dict[str, Any]) -> None:
    out, _ = run("net.onnx", "--target", "host", "--json")
    value = json.loads(out)
    jsonschema.validate(value, SCHEMA)
    assert value["speed"]["verdict"] == "slower"
    assert value["float_operators"] == ["head"]
    assert asked["output"] == Path("net.so")


def test_a_library_that_came_out_slower_is_called_so(asked: dict[str, Any]) -> None:
    out, err = run("net.onnx", "--target", "host")
    assert "SLOWER than onnxruntime: 1.50x its time [1.40, 1.60], 1 thread, batch 1" in out
    assert "came out slower than onnxruntime" in err
    assert "1 of 2 have a kernel of their own" in out
    assert "1 that the file quantizes: head" in out
    assert "agrees" in out
    assert asked["target"] == Target.parse("host")


@pytest.mark.parametrize("arguments", [("--target", "host", "--no-measure"), ("--target", "rpi4")])
def test_what_was_not_measured_is_said_not_to_be(asked: dict[str, Any], arguments: tuple[str, ...]) -> None:
    out, err = run("net.onnx", *arguments)
    assert "not measured" in out
    assert "slower" not in err
    assert asked["check_parity"] is True


def test_limits_and_trials_reach_the_stage(asked: dict[str, Any]) -> None:
    run("net.onnx", "--target", "host", "--timeout", "7", "--memory-limit", "2", "--tune", "5", "--output", "other.so")
    limits = asked["limits"]
    assert isinstance(limits, ProcessLimits)
    assert (limits.timeout_s, limits.memory_bytes) == (7, 2_000_000_000)
    assert asked["tune"] == 5
    assert asked["output"] == Path("other.so")


def test_by_default_the_compiler_may_take_most_of_what_is_free(asked: dict[str, Any]) -> None:
    run("net.onnx", "--target", "host")
    assert asked["limits"].timeout_s == stage.TIMEOUT_S
    assert asked["limits"].memory_bytes is None or asked["limits"].memory_bytes > 1 << 20


def test_an_unknown_target_is_refused_with_those_there_are(asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="rpi4"):
        run("net.onnx", "--target", "toaster")
    assert asked == {}


@pytest.mark.tvm
@pytest.mark.slow
def test_a_library_is_compiled_compared_and_measured(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    write_conv_net()
    out, _ = run(str(tmp_path / "net.onnx"), "--target", "host", "--threads", "1", "--json")
    value = json.loads(out)
    jsonschema.validate(value, SCHEMA)
    assert value["parity"]["passed"]
    assert value["speed"]["threads"] == 1
    assert value["speed"]["ci95"][0] <= value["speed"]["time_ratio"] <= value["speed"]["ci95"][1]
