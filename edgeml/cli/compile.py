"""`edgeml compile`: turn an ONNX file into a library for a target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeml.cli.compiler_options import compiler_options, compiler_progress, process_limits
from edgeml.cli.export import parity_rows
from edgeml.cli.output import json_option, note, print_json, print_rows

if TYPE_CHECKING:
    from edgeml.cli.speed import Speed
    from edgeml.compiler.compile import CompileResult

_FILE = click.Path(path_type=Path, dir_okay=False)
_NAMES_SHOWN = 5


@click.command("compile")
@click.argument("source", type=_FILE)
@compiler_options
@click.option("--output", type=_FILE, help="The library to write.  [default: SOURCE with .so in place of .onnx]")
@click.option(
    "--tune", type=click.IntRange(min=1), metavar="N", help="Try N schedules where there is no kernel (slow)."
)
@click.option("--bundle", type=_FILE, help="Write all that a device needs to run the library into a .tar.gz.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads to measure with.  [default: the available cores]")
@click.option("--no-measure", is_flag=True, help="Do not compare the time with onnxruntime's.")
@click.option("--no-parity", is_flag=True, help="Do not compare the outputs with onnxruntime's.")
@json_option
def command(
    source: Path,
    target: str,
    timeout: float | None,
    memory_limit: float | None,
    output: Path | None,
    tune: int | None,
    bundle: Path | None,
    threads: int | None,
    no_measure: bool,
    no_parity: bool,
    as_json: bool,
) -> None:
    """Compile an ONNX model to a library for a target, with TVM.

    The library is compared with onnxruntime wherever its code can be run: on this machine, or on an emulated one. Where
    it differs nothing is left of it (exit code 4). A library for this machine is measured too, and a model that came
    out slower than onnxruntime is called so.
    """
    from edgeml.cli.speed import measure_speed
    from edgeml.compiler.compile import TIMEOUT_S, compile_onnx
    from edgeml.core.device import Device
    from edgeml.core.target import Target
    from edgeml.runtime.onnx_file import open_artifact

    path = source.with_suffix(".so") if output is None else output
    trials = tune or 0
    limits = process_limits(timeout, memory_limit, default_timeout_s=TIMEOUT_S + 10 * trials)
    with compiler_progress() as progress:
        result = compile_onnx(
            source,
            Target.parse(target),
            path,
            tune=trials,
            check_parity=not no_parity,
            limits=limits,
            progress=progress,
        )
        if bundle is not None:
            progress("writing the bundle")
            _write_bundle(result, bundle)
        speed = None
        if not no_measure and result.runs_on == Device("local"):
            speed = measure_speed(result.artifact, open_artifact(source), threads=threads, progress=progress)
    if as_json:
        value = result.to_json() | {"speed": None if speed is None else speed.to_json()}
        print_json(value | {"bundle": None if bundle is None else str(bundle)})
    else:
        _print(result, speed, bundle)
    if speed is not None and speed.verdict == "slower":
        note(f"edgeml: warning: {path} came out slower than onnxruntime runs {source}: {speed.than('onnxruntime')}")


def _write_bundle(result: CompileResult, bundle: Path) -> None:
    from edgeml.compiler.bundle.write import write_bundle
    from edgeml.runtime.tvm.target_libraries import fetch_runtime_libraries

    assert result.artifact.target is not None
    libraries = fetch_runtime_libraries(result.artifact.target)
    arguments: dict[str, Any] = {"libtvm_runtime": libraries.libtvm_runtime, "libtvm_ffi": libraries.libtvm_ffi}
    write_bundle(result.artifact, bundle, **arguments)


def _print(result: CompileResult, speed: Speed | None, bundle: Path | None) -> None:
    artifact = result.artifact
    rows = [
        ("file", f"{artifact.path} ({artifact.size_bytes / 1e6:.2f} MB)"),
        ("target", str(artifact.target)),
        ("precision", artifact.precision),
        ("schedule", str(artifact.schedule)),
    ]
    if result.operators:
        integer = sum(operator.precision == "int8" for operator in result.operators)
        text = f"{result.kernels} of {len(result.operators)} have a kernel of their own"
        rows.append(("operators", f"{text}, {integer} in int8" if integer else text))
    if result.gpu_kernels:
        spills = sum(kernel.spill_stores_bytes + kernel.spill_loads_bytes > 0 for kernel in result.gpu_kernels)
        most = max(kernel.registers for kernel in result.gpu_kernels)
        rows.append(("GPU kernels", f"{len(result.gpu_kernels)}; at most {most} registers; {spills} spill registers"))
    if floats := [operator.name for operator in result.float_operators]:
        more = f" and {len(floats) - _NAMES_SHOWN} more (--json lists them)" if len(floats) > _NAMES_SHOWN else ""
        rows.append(("in fp32", f"{len(floats)} that the file quantizes: {', '.join(floats[:_NAMES_SHOWN])}{more}"))
    rows += [("outputs", result.parity_note)] if result.parity is None else parity_rows(result.parity)
    rows += [("note", text) for text in result.notes]
    rows.append(("time", "not measured" if speed is None else speed.than("onnxruntime")))
    if bundle is not None:
        rows.append(("bundle", f"{bundle} ({bundle.stat().st_size / 1e6:.2f} MB)"))
    print_rows(rows)
