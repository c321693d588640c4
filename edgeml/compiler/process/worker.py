"""The program in which TVM runs: it may crash, hang or take all memory without the caller being harmed.

Run as `python -m edgeml.compiler.process.worker`. The first line of stdin is the job, one JSON object; answers are JSON
objects, one a line, on stdout:

    {"step": "..."}                          what is being done now, for people
    {"trying": index}                        lint: the node about to be tried, so that a crash can be blamed on it
    {"ok": {...}}                            the result
    {"error": message, "kind": name}         what went wrong, as an EdgeMLError
    {"failed": message}                      the compiler cannot take the model; lint can say why

Jobs: compile (model, target, library, tune, work_dir) and lint (model, target, skip).
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from edgeml.compiler.process.limits import limit_memory
from edgeml.compiler.process.tvm_alone import import_tvm
from edgeml.core.artifact import Schedule
from edgeml.core.errors import EdgeMLError
from edgeml.core.target import Target

Report = Callable[[dict[str, Any]], None]

_SPARE_BYTES = 64 << 20


def compile_job(job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Compile `job["model"]` into `job["library"]`; returns what the caller must know of it."""
    from edgeml.compiler.toolchains import linker

    target = Target.parse(job["target"])
    toolchain = linker(target)
    report({"step": "reading the model"})
    model = _load(Path(job["model"]))
    report({"step": "loading TVM"})
    import_tvm()
    report({"step": "compiling"})
    from edgeml.compiler.lint.operator_limits import known_limits

    if found := known_limits(model):
        raise CannotCompileError(found[0].reason)
    outcome = _Outcome("dlight" if target.kind == "cuda" else "kernels")
    try:
        executable, operators, gpu_kernels = _build(
            model, target, _tuning_options(job, target, report, outcome), outcome
        )
    except (EdgeMLError, MemoryError, OSError):
        raise
    except Exception as error:
        raise CannotCompileError(last_line(error)) from error
    report({"step": "linking"})
    executable.export_library(job["library"], fcompile=toolchain.fcompile())
    if target.kind == "cuda":
        from edgeml.compiler.cuda.fatbin import check_library

        check_library(Path(job["library"]), target)
    return {
        "operators": operators,
        "gpu_kernels": gpu_kernels,
        "notes": outcome.notes,
        "schedule": outcome.schedule,
        "tool_versions": _tool_versions(toolchain.version),
    }


@dataclass
class _Outcome:
    """What there is to tell of a compilation beside the library."""

    schedule: Schedule
    notes: list[str] = field(default_factory=list)


def _build(model: Any, target: Target, options: dict[str, Any], outcome: _Outcome) -> tuple[Any, list[Any], list[Any]]:
    """TVM's executable, what became of each operator, and what each GPU kernel takes."""
    if target.kind == "cuda":
        from edgeml.compiler.cuda.build import build_cuda, precision_note
        from edgeml.compiler.onnx_import import import_onnx

        executable, usage = build_cuda(import_onnx(model), target)
        if (note := precision_note(model)) is not None:
            outcome.notes.append(note)
        return executable, [], [asdict(kernel) for kernel in usage]
    from edgeml.compiler.pipeline import build

    built = build(model, target, **options)
    return built.executable, [operator.to_json() for operator in built.operators], []


def lint_job(job: dict[str, Any], report: Report) -> dict[str, Any]:
    """The nodes of `job["model"]` that cannot be compiled."""
    from edgeml.compiler.lint.node_trials import refused_nodes

    report({"step": "reading the model"})
    model = _load(Path(job["model"]))
    report({"step": "loading TVM"})
    import_tvm()
    report({"step": "trying the operators"})
    found = refused_nodes(model, Target.parse(job["target"]), skip=set(job["skip"]), report=report)
    return {"findings": [finding.to_json() for finding in found]}


JOBS: dict[str, Callable[[dict[str, Any], Report], dict[str, Any]]] = {"compile": compile_job, "lint": lint_job}


class CannotCompileError(Exception):
    """TVM cannot take the model; the message is its own last line."""


def last_line(error: BaseException) -> str:
    """What TVM's error says, without the traces of its insides above it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"


def obey(job: dict[str, Any], report: Report) -> None:
    """Do the job and report how it ended."""
    try:
        limit_memory(job.get("memory_limit_bytes"))
        answer: dict[str, Any] = {"ok": JOBS[job["job"]](job, report)}
    except CannotCompileError as error:
        answer = {"out_of_memory": True} if _memory_is_short() else {"failed": str(error)}
    except EdgeMLError as error:
        answer = {"error": str(error), "kind": type(error).__name__}
    except MemoryError:
        answer = {"out_of_memory": True}
    except OSError as error:
        answer = {"error": error.strerror or str(error), "kind": EdgeMLError.__name__}
    except Exception as error:  # where memory is short, Python and its libraries fail with errors of every type
        if not _memory_is_short():
            raise
        sys.stderr.write(f"{last_line(error)}\n")
        answer = {"out_of_memory": True}
    report(answer)


def _memory_is_short() -> bool:
    try:
        return not bytearray(_SPARE_BYTES)
    except MemoryError:
        return True


def _load(path: Path) -> Any:
    """The model, checked by ONNX's own checker."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (DecodeError, ValueError, onnx.checker.ValidationError) as error:
        raise EdgeMLError(f"{path} is no valid ONNX model: {last_line(error)}") from error
    return model


def _tuning_options(job: dict[str, Any], target: Target, report: Report, outcome: _Outcome) -> dict[str, Any]:
    """What `build` is given beside the model: the tuner, which works on the functions that no kernel computes."""
    if not job["tune"]:
        return {}
    from edgeml.compiler.tuning.tune import check_tunable, tune_functions

    check_tunable(target)

    def refine(module: Any) -> Any:
        def progress(done: int, total: int, function: str) -> None:
            report({"step": f"tuning: {done} of {total} trials, {function}"})

        directory = Path(job["work_dir"])
        tuned = tune_functions(module, target, trials=job["tune"], work_dir=directory, progress=progress)
        kept = sum(each.kept == "tuned" for each in tuned.functions)
        if kept:
            outcome.schedule = "tuned"
        text = f"tuned {len(tuned.functions)} functions that have no kernel; {kept} became faster and were kept"
        outcome.notes.append(text if tuned.functions else "nothing to tune: every function has a kernel")
        if tuned.symbolic:
            outcome.notes.append(f"not tuned, because their shapes are not fixed: {', '.join(tuned.symbolic)}")
        return tuned.module

    return {"refine": refine}


def _tool_versions(compiler: str) -> dict[str, str]:
    from importlib.metadata import version

    from tvm.target import codegen

    packages = {name: version(name) for name in ("apache-tvm", "apache-tvm-ffi", "onnx")}
    return packages | {"llvm": str(codegen.llvm_version_major()), "c++": compiler}


def _leave_with_the_caller() -> None:
    """End this process when the caller's end of stdin closes: nobody waits for the result any more."""
    while os.read(sys.stdin.fileno(), 1 << 16):
        pass
    os._exit(1)


def main() -> None:
    """Obey the job on stdin."""
    # Whatever a library prints goes to stderr: the answers have a channel of their own.
    channel = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_leave_with_the_caller, daemon=True).start()
    with os.fdopen(channel, "w", encoding="utf-8") as answers:
        obey(job, lambda answer: _write(answers, answer))
    sys.stdout.flush()
    os._exit(0)  # TVM's and LLVM's own clean-up is of no use, and may crash


def _write(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
