"""Builds the small TVM libraries that tests of the runtime load: `python build_tvm_libraries.py DIRECTORY [PRESET]`.

TVM's own pipeline makes them, not edgeml's compiler.

    net     a convolutional network: dynamic batch, two outputs, its loops in parallel
    echo    outputs that are no computed values: the input, a constant, and one value twice
    vector  loads whole vectors from its input, as fast kernels do
"""

# ruff: noqa: E402, N805 (torch is made to look absent before the imports; functions of TVMScript are no methods)
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.modules["torch"] = None  # type: ignore[assignment]  # tvm imports it where it is there, for nothing we need

import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from edgeml.core.artifact import Artifact, sha256_file
from edgeml.core.target import Target
from edgeml.core.tensor_spec import TensorSpec

VECTOR = 256
PRESET = sys.argv[2] if len(sys.argv) > 2 else "host"


@I.ir_module
class Vector:
    """y = 2 x, sixteen values at a time."""

    @T.prim_func(private=True)
    def double(x: T.Buffer((VECTOR,), "float32"), y: T.Buffer((VECTOR,), "float32")):  # type: ignore[no-untyped-def,valid-type]
        T.func_attr({"tirx.noalias": True})
        for i in T.serial(VECTOR // 16):
            for lane in T.vectorized(16):
                y[i * 16 + lane] = x[i * 16 + lane] * T.float32(2)

    @R.function
    def main(x: R.Tensor((VECTOR,), "float32")):  # type: ignore[no-untyped-def,valid-type]
        with R.dataflow():
            y = R.call_tir(Vector.double, (x,), R.Tensor((VECTOR,), "float32"))
            R.output(y)
        return y


def net() -> onnx.ModelProto:
    generator = np.random.default_rng(0)
    kernel = generator.standard_normal((8, 3, 3, 3)).astype(np.float32)
    head = generator.standard_normal((8, 10)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["convolved"], pads=[1] * 4),
        helper.make_node("Relu", ["convolved"], ["rectified"]),
        helper.make_node("GlobalAveragePool", ["rectified"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("MatMul", ["features", "head"], ["logits"]),
    ]
    weights = [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(head, "head")]
    return model(nodes, {"image": ["batch", 3, 16, 16]}, {"logits": ["batch", 10], "features": ["batch", 8]}, weights)


def echo() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Identity", ["weight"], ["constant"]),
        helper.make_node("Add", ["x", "weight"], ["sum"]),
        helper.make_node("Identity", ["sum"], ["twin"]),
    ]
    weights = [numpy_helper.from_array(np.arange(4, dtype=np.float32), "weight")]
    return model(nodes, {"x": [4]}, {name: [4] for name in ("same", "constant", "sum", "twin")}, weights)


def model(
    nodes: list[onnx.NodeProto], inputs: dict[str, Any], outputs: dict[str, Any], weights: list[onnx.TensorProto]
) -> onnx.ModelProto:
    fed, found = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in each.items()]
        for each in (inputs, outputs)
    )
    graph = helper.make_graph(nodes, "net", fed, found, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def parallel(module: tvm.IRModule) -> tvm.IRModule:
    """The module with the outer loop of every block in parallel."""
    schedule = tvm.s_tir.Schedule(module)
    for name, function in module.functions_items():
        if isinstance(function, tvm.tirx.PrimFunc):
            schedule.work_on(name.name_hint)
            for block in schedule.get_child_blocks(schedule.get_sblock("root")):
                if loops := schedule.get_loops(block):
                    schedule.parallel(loops[0])
    return schedule.mod


def save(module: tvm.IRModule, path: Path, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    target = Target.parse(PRESET)
    values = {"kind": "llvm", "mcpu": target.cpu or tvm.target.codegen.llvm_get_system_cpu()}
    linker = None
    if target.triple:
        values |= {"mtriple": target.triple, "mattr": list(target.features)}
        linker = tvm.support.cc.cross_compiler(f"{target.triple}-g++")
    tvm.compile(module, target=tvm.target.Target(values)).export_library(str(path), fcompile=linker)
    Artifact(
        path=path,
        format="tvm",
        model=path.stem,
        precision="fp32",
        inputs=tuple(TensorSpec(name, tuple(shape), "float32") for name, shape in inputs.items()),
        outputs=tuple(TensorSpec(name, tuple(shape), "float32") for name, shape in outputs.items()),
        sha256=sha256_file(path),
        target=target,
    ).save_manifest()


def save_onnx(graph: onnx.ModelProto, directory: Path, name: str) -> None:
    onnx.save(graph, directory / f"{name}.onnx")
    interface = [
        {
            value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
            for value in values
        }
        for values in (graph.graph.input, graph.graph.output)
    ]
    module = parallel(relax.get_pipeline("zero")(from_onnx(graph)))
    save(module, directory / f"{name}.so", *interface)


def main(directory: Path) -> None:
    save_onnx(net(), directory, "net")
    save_onnx(echo(), directory, "echo")
    save(Vector, directory / "vector.so", {"x": [VECTOR]}, {"y": [VECTOR]})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
