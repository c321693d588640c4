"""Builds a library so small that its result is known beforehand: the proof that TVM and the tool chain work together.

Run as `python -m edgeml.compiler.trial_library TARGET OUTPUT`, in a process of its own as everything that runs TVM.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeml.compiler.process.tvm_alone import import_tvm
from edgeml.compiler.toolchains import linker
from edgeml.core.artifact import Artifact, sha256_file
from edgeml.core.errors import EdgeMLError, needs_extra
from edgeml.core.target import Target
from edgeml.core.tensor_spec import TensorSpec

_SHAPE = (3, 16)


def build(target: Target, output: Path) -> None:
    """Write a library that computes max(x * weight + 0.5, 0), for a float32 x of shape (3, 16).

    Raises:
        MissingError: the target's compiler is not installed.
        EdgeMLError: it failed.
    """
    with needs_extra("tvm"):
        import tvm
        from tvm import relax

    from edgeml.compiler.tvm_target import tvm_target

    toolchain = linker(target)
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(_SHAPE, "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            scaled = builder.emit(relax.op.multiply(x, relax.const(_weight(), "float32")))
            shifted = builder.emit(relax.op.add(scaled, relax.const(0.5, "float32")))
            result = builder.emit_output(relax.op.nn.relu(shifted))
        builder.emit_func_output(result)
    module = relax.get_pipeline("zero")(builder.get())
    tvm.compile(module, target=tvm_target(target)).export_library(str(output), fcompile=toolchain.fcompile())


def expected(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What the library must give for `x`: computed by numpy."""
    result: npt.NDArray[np.float32] = np.maximum(x * _weight() + np.float32(0.5), np.float32(0))
    return result


def sample() -> npt.NDArray[np.float32]:
    """An input to which the result is sensitive: about half of it is cut off at 0."""
    return np.random.default_rng(0).standard_normal(_SHAPE).astype(np.float32)


def as_artifact(path: Path, target: Target) -> Artifact:
    """The built library as an Artifact, which Sessions open."""
    return Artifact(
        path=path,
        format="tvm",
        model="trial",
        precision="fp32",
        inputs=(TensorSpec("x", _SHAPE, "float32"),),
        outputs=(TensorSpec("y", _SHAPE, "float32"),),
        sha256=sha256_file(path),
        target=target,
    )


def _weight() -> npt.NDArray[np.float32]:
    return np.linspace(-2, 2, _SHAPE[1], dtype=np.float32)


def main() -> None:
    """Build the library named on the command line; what goes wrong is one line on stderr."""
    try:
        import_tvm()
        build(Target.parse(sys.argv[1]), Path(sys.argv[2]))
    except EdgeMLError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
