"""The compile stage: an ONNX file becomes a library for a target, proved equal to the file before it is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from edgeml.compiler.cuda.build import environment
from edgeml.compiler.cuda.usage import CudaKernelUsage
from edgeml.compiler.library_parity import compare_with_onnxruntime, require
from edgeml.compiler.lint.lint import find_refused, onnx_artifact, refuse
from edgeml.compiler.placed_operator import GENERAL, PlacedOperator
from edgeml.compiler.process.compiler_process import CompilerRefusedError, ProcessLimits, Progress, run_job
from edgeml.compiler.toolchains import is_native, linker
from edgeml.core.artifact import Artifact, Schedule, sha256_file
from edgeml.core.atomic import atomic_write
from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, MissingError, UsageError
from edgeml.core.parity import ParityReport
from edgeml.core.target import Target

TIMEOUT_S = 900.0
_TUNING_S = 10.0  # a trial, at the most


@dataclass(frozen=True, kw_only=True)
class CompileResult:
    """A compiled library and what is known of it.

    Attributes:
        artifact: the library; its manifest is written.
        operators: what became of each operator of the model.
        gpu_kernels: registers, spills and shared memory of each GPU kernel; empty for a processor.
        parity: the comparison with onnxruntime; None where it was not made.
        parity_note: why it was not made; "" where it was.
        notes: what else a user must know.
        runs_on: where the library can be run without a board; None where it cannot.
    """

    artifact: Artifact
    operators: tuple[PlacedOperator, ...]
    gpu_kernels: tuple[CudaKernelUsage, ...]
    parity: ParityReport | None
    parity_note: str
    notes: tuple[str, ...]
    runs_on: Device | None

    @property
    def kernels(self) -> int:
        """How many operators a kernel of this project computes."""
        return sum(operator.kernel != GENERAL for operator in self.operators)

    @property
    def float_operators(self) -> tuple[PlacedOperator, ...]:
        """Operators that the file quantizes and that run in float32 all the same."""
        return tuple(operator for operator in self.operators if operator.quantized and operator.precision == "fp32")

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "artifact": self.artifact.to_json() | {"path": str(self.artifact.path), "bytes": self.artifact.size_bytes},
            "operators": [operator.to_json() for operator in self.operators],
            "kernels": self.kernels,
            "float_operators": [operator.name for operator in self.float_operators],
            "gpu_kernels": [asdict(kernel) for kernel in self.gpu_kernels],
            "parity": None if self.parity is None else self.parity.to_json(),
            "parity_note": self.parity_note,
            "notes": list(self.notes),
        }


def compile_onnx(
    source: Path,
    target: Target,
    output: Path,
    *,
    tune: int = 0,
    check_parity: bool = True,
    limits: ProcessLimits | None = None,
    progress: Progress = lambda _step: None,
) -> CompileResult:
    """Compile the ONNX file `source` for `target` into the library `output`, with its manifest beside it.

    Args:
        source: the model.
        target: what to make code for.
        output: the library to write, named *.so.
        tune: trials of the tuner; 0 leaves it out.
        check_parity: compare the library with onnxruntime where the target's code can be run here.
        limits: what the compiling process may take.
        progress: told each step.

    Raises:
        UntrustedFileError: the file breaks a safety limit.
        UsageError: it is no ONNX file, or `output` cannot be written.
        MissingError: the target's compiler is not installed.
        CheckFailedError: an operator cannot be compiled, or the library does not agree with the file.
        EdgeMLError: the compiler crashed, or took too long or too much memory; nothing is left of it.
    """
    limits = ProcessLimits(timeout_s=TIMEOUT_S + tune * _TUNING_S) if limits is None else limits
    _check_output(source, output)
    linker(target)
    if target.kind == "cuda":
        limits = replace(limits, environment={**limits.environment, **environment(target)})
    progress("checking the file")
    artifact = onnx_artifact(source)
    with _beside(output) as directory:
        library = Path(directory) / output.name
        answer = _compile(artifact, target, library, tune, limits, progress)
        compiled = _artifact(artifact, target, library, answer)
        parity, note = None, "not asked for"
        if check_parity:
            progress("comparing with onnxruntime")
            parity, note = _parity(artifact, compiled)
        compiled = _keep(compiled, output)
    return CompileResult(
        artifact=compiled,
        operators=tuple(PlacedOperator.from_json(each) for each in answer["operators"]),
        gpu_kernels=tuple(CudaKernelUsage(**each) for each in answer["gpu_kernels"]),
        parity=parity,
        parity_note=note,
        notes=tuple(answer["notes"]),
        runs_on=device_for(target),
    )


def _check_output(source: Path, output: Path) -> None:
    """Refuse before the work what would fail after it."""
    if output.suffix != ".so":
        raise UsageError(f"cannot write {output}: a library is named *.so")
    if output.is_dir() or not output.parent.is_dir():
        raise UsageError(f"cannot write {output}: name a file in a directory that exists")
    with suppress(OSError):
        if output.samefile(source):
            raise UsageError(f"cannot write {output}: it is the model itself")


def _beside(output: Path) -> tempfile.TemporaryDirectory[str]:
    """A directory on the file system of `output`, so that the finished library only has to be renamed."""
    try:
        return tempfile.TemporaryDirectory(prefix=f".{output.stem}.", dir=output.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise EdgeMLError(f"cannot write {output}: {error.strerror or error}") from error


def _compile(
    artifact: Artifact, target: Target, library: Path, tune: int, limits: ProcessLimits, progress: Progress
) -> dict[str, Any]:
    job: Mapping[str, Any] = {
        "job": "compile",
        "model": str(artifact.path),
        "target": str(target),
        "library": str(library),
        "tune": tune,
        "work_dir": str(_tuning_directory(artifact, target)),
    }
    try:
        return run_job(job, directory=library.parent, limits=limits, progress=progress)
    except CompilerRefusedError:
        findings = find_refused(artifact, target, library.parent, limits, progress)
        if not findings:
            raise
        raise refuse(findings, artifact.path, target) from None


def _tuning_directory(artifact: Artifact, target: Target) -> Path:
    """Where the tuner's records of this model and target are kept, so that a run that was ended can go on."""
    from edgeml.core.user_directories import cache_directory

    name = "".join(letter if letter.isalnum() else "-" for letter in str(target))
    return cache_directory() / "tuning" / f"{artifact.sha256[:16]}-{name}"


def _artifact(source: Artifact, target: Target, library: Path, answer: dict[str, Any]) -> Artifact:
    return replace(
        source,
        path=library,
        format="tvm",
        target=target,
        # TVM's schedules for GPUs compute quantized layers in float32.
        precision="fp32" if target.kind == "cuda" and source.precision == "int8" else source.precision,
        sha256=sha256_file(library),
        parent_sha256=source.sha256,
        tool_versions=tuple(sorted(answer["tool_versions"].items())),
        schedule=cast("Schedule", answer["schedule"]),
    )


def _parity(source: Artifact, library: Artifact) -> tuple[ParityReport | None, str]:
    """The comparison on this machine or the emulated one, and why it was not made where it was not."""
    assert library.target is not None
    device = device_for(library.target)
    if device is None:
        return None, f"this machine cannot run code for {library.target}: not checked"
    try:
        report = compare_with_onnxruntime(source, library, device)
    except MissingError as error:
        return None, f"not checked: {error}"
    require(report, library)
    return report, ""


def device_for(target: Target) -> Device | None:
    """Where code for `target` can be run without a board: on this machine or an emulated one."""
    if target.kind == "cuda":
        return None
    if not target.triple and not target.cpu and not target.features:
        return Device("local")
    if target.triple.startswith(("aarch64", "arm64")) and not is_native(target):
        return Device.parse("qemu://aarch64")
    return None


def _keep(library: Artifact, output: Path) -> Artifact:
    """Move the finished library to its place and write its manifest; neither is left without the other."""
    kept = library.at(output)
    try:
        with atomic_write(output) as temporary:
            library.path.replace(temporary)
        kept.save_manifest()
    except EdgeMLError:
        if not kept.manifest_path.exists():
            output.unlink(missing_ok=True)
        raise
    return kept
