"""Builds one kernel at a time and runs it, for every vector unit that this machine's processor has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from edgeml.compiler.isa import AVX2, AVX512, NEON, NEON_DOT, SCALAR, SSE, VectorISA, isa_of
from edgeml.core.target import Target

if TYPE_CHECKING:
    from edgeml.compiler.kernels.prim_func import Kernel

Array = npt.NDArray[Any]

HOST = isa_of(Target("llvm"))
_X86 = {AVX512: "skylake-avx512", AVX2: "haswell", SSE: "x86-64"}
_NEEDS = {AVX512: {"avx512f", "avx512bw", "avx512vl", "avx512dq"}, AVX2: {"avx2", "fma"}, SSE: {"sse2"}}


def _flags() -> set[str]:
    path = Path("/proc/cpuinfo")
    return set(path.read_text(encoding="utf-8").split()) if path.exists() else set()


def _runnable() -> list[VectorISA]:
    older = [isa for isa, needs in _NEEDS.items() if isa is not HOST and needs <= _flags()]
    if HOST is NEON_DOT:
        older.append(NEON)
    return [HOST, *older, *([SCALAR] if HOST is not SCALAR else [])]


def target_of(isa: VectorISA) -> Target:
    """A target of this machine's kind that has the vector unit and no better one."""
    if isa in _X86 and isa is not HOST:
        return Target("llvm", triple="x86_64-linux-gnu", cpu=_X86[isa])
    return Target("llvm")


def _different_floats() -> list[VectorISA]:
    """One of those whose float32 arithmetic is the same."""
    return list({replace(isa, name="", dot_product="none"): isa for isa in reversed(_runnable())}.values())[::-1]


every_isa = pytest.mark.parametrize("isa", _runnable(), ids=lambda isa: isa.name)
every_float_isa = pytest.mark.parametrize("isa", _different_floats(), ids=lambda isa: isa.name)


def build(kernel: Kernel, target: Target) -> Any:
    """The kernel as a compiled module with the function "kernel"."""
    import tvm

    from edgeml.compiler.tvm_target import tvm_target

    function = kernel.function.with_attr("global_symbol", "kernel")
    # As the compiler builds it: with storage rewritten, registers would share memory and be registers no longer.
    with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_storage_rewrite": True}):
        return tvm.compile(tvm.IRModule({"kernel": function}), target=tvm_target(target))


def assembly(kernel: Kernel, target: Target) -> str:
    """What the kernel is translated to."""
    module = build(kernel, target)
    return str((module if hasattr(module, "inspect_source") else module.mod).inspect_source("asm"))


def run(kernel: Kernel, isa: VectorISA, *inputs: Array) -> list[Array]:
    """What the kernel writes, for inputs in its order; the batch is the first input's."""
    import tvm

    assert [(each.dtype, len(each.shape)) for each in kernel.inputs] == [(str(x.dtype), x.ndim) for x in inputs]
    batch = inputs[0].shape[0]
    outputs = [
        np.full([batch if axis is None else axis for axis in each.shape], 99, each.dtype) for each in kernel.outputs
    ]
    tensors = [tvm.runtime.tensor(np.ascontiguousarray(each)) for each in (*inputs, *outputs)]
    build(kernel, target_of(isa))["kernel"](*tensors)
    return [tensor.numpy() for tensor in tensors[len(inputs) :]]


def packed(values: Array, isa: VectorISA, seed: int = 0) -> Array:
    """Values (..., channels) with channels rounded up to whole vectors; arbitrary values in the added ones."""
    channels = values.shape[-1]
    shape = (*values.shape[:-1], -(-channels // isa.lanes) * isa.lanes)
    noise = np.random.default_rng(seed)
    if values.dtype.kind == "f":
        full = noise.standard_normal(shape).astype(values.dtype)
    else:
        bounds = np.iinfo(values.dtype)
        full = noise.integers(bounds.min, bounds.max + 1, shape).astype(values.dtype)
    full[..., :channels] = values
    return full


def channels_last(values: Array) -> Array:
    """(batch, channels, height, width) as (batch, height, width, channels)."""
    return np.ascontiguousarray(np.moveaxis(values, 1, -1))


@dataclass(frozen=True)
class Library:
    """Many kernels compiled together, which takes less time than one by one.

    Attributes:
        kernels: in order.
        module: TVM's module; its functions are "kernel0", "kernel1", ...
    """

    kernels: Sequence[Kernel]
    module: Any

    def run(self, index: int, *inputs: Array) -> Array:
        """The only output of a kernel."""
        import tvm

        (output,) = self.kernels[index].outputs
        shape = [len(inputs[0]) if axis is None else axis for axis in output.shape]
        tensors = [
            tvm.runtime.tensor(np.ascontiguousarray(each)) for each in (*inputs, np.full(shape, 99, output.dtype))
        ]
        self.module[f"kernel{index}"](*tensors)
        found: Array = tensors[-1].numpy()
        return found


def build_many(kernels: Sequence[Kernel], target: Target) -> Library:
    """The kernels as one module."""
    import tvm

    from edgeml.compiler.tvm_target import tvm_target

    functions = {
        f"kernel{index}": kernel.function.with_attr("global_symbol", f"kernel{index}")
        for index, kernel in enumerate(kernels)
    }
    with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_storage_rewrite": True}):
        return Library(kernels, tvm.compile(tvm.IRModule(functions), target=tvm_target(target)))
