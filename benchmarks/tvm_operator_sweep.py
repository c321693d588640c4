"""Compiles and runs the node tests of ONNX's own suite, to find operators that compile but compute something else.

    python benchmarks/tvm_operator_sweep.py --output sweep.json [--match SUBSTRING]

Each case is a model of one operator with inputs and the outputs that ONNX's specification asks for. It is tried as it
is, and once more with all inputs but the first made constants, as exported models have them (axes, shapes, weights).
Cases run in child processes, many in each; a child that crashes or hangs costs the one case it was at. An outcome is

    agrees     compiled, ran, and gave the expected outputs
    refused    the compiler said in an error that it cannot
    wrong      compiled and ran, with other outputs: what `edgeml lint` must know of
    fails      compiled, and failed when it was run
    crashes    took the process down, or did not end within the time limit
    left out   cannot be asked for by a file of ours: no tensor inputs (sequences, text, optional values)

Models that `edgeml lint` refuses for what this sweep found (edgeml/compiler/lint/operator_limits.py) are not compiled,
so that "wrong", "fails" and "crashes" are the false promises that are left; `--no-lint` compiles them all the same.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import threading
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

_CASE_LIMIT_S = 40.0


def cases(match: str = "") -> list[Any]:
    """ONNX's node test cases whose name holds `match`, in a fixed order."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [case for case in collect_testcases(None) if match in case.name and case.model is not None]
    return sorted(found, key=lambda case: case.name)


def outcome(case: Any, model: Any, inputs: list[Any], *, lint: bool) -> tuple[str, str]:
    """What became of one case, and why in one line."""
    import onnx

    values = [*model.graph.input, *model.graph.output]
    if any(not value.type.HasField("tensor_type") or value.type.tensor_type.elem_type == 8 for value in values):
        return "left out", "not all inputs and outputs are tensors of numbers"
    expected = case.data_sets[0][1]
    if any(not isinstance(each, np.ndarray) for each in [*inputs, *expected]):
        return "left out", "not all inputs and outputs are tensors"
    from edgeml.compiler.pipeline import build
    from edgeml.core.target import PRESETS

    if lint:
        from edgeml.compiler.lint.operator_limits import known_limits

        if found := known_limits(model):
            return "refused", f"lint: {found[0].reason}"
    try:
        onnx.checker.check_model(model)
        executable = build(model, PRESETS["host"]).executable
    except Exception as error:  # noqa: BLE001  every way to refuse counts alike
        return "refused", _line(error)
    try:
        found_outputs = _run(executable, inputs)
    except Exception as error:  # noqa: BLE001
        return "fails", _line(error)
    return _compare(case, found_outputs, expected)


def forms(case: Any) -> list[tuple[str, Any, list[Any]]]:
    """The case as it is, and with all inputs but the first made constants: a name, a model and its inputs each."""
    import onnx

    inputs = list(case.data_sets[0][0])
    found = [(case.name, case.model, inputs)]
    if len(inputs) > 1 and all(isinstance(each, np.ndarray) and each.dtype.kind in "biuf" for each in inputs):
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        constants = list(zip(model.graph.input, inputs, strict=True))[1:]
        model.graph.initializer.extend(onnx.numpy_helper.from_array(each, value.name) for value, each in constants)
        del model.graph.input[1:]
        found.append((f"{case.name} (constants)", model, inputs[:1]))
    return found


def _run(executable: Any, inputs: list[Any]) -> list[Any]:
    import tvm
    from tvm import relax

    machine = relax.VirtualMachine(executable, tvm.cpu())
    result = machine["main"](*[tvm.runtime.tensor(np.array(each, order="C")) for each in inputs])
    results = [result] if hasattr(result, "numpy") else list(result)
    return [each.numpy() for each in results]


def _compare(case: Any, found: list[Any], expected: list[Any]) -> tuple[str, str]:
    if len(found) != len(expected):
        return "wrong", f"{len(found)} outputs, {len(expected)} expected"
    for index, (actual, wanted) in enumerate(zip(found, expected, strict=True)):
        if actual.dtype != wanted.dtype or actual.shape != wanted.shape:
            return "wrong", f"output {index}: {actual.dtype}{actual.shape}, {wanted.dtype}{wanted.shape} expected"
        close = np.allclose(
            np.asarray(actual, dtype=np.float64),
            np.asarray(wanted, dtype=np.float64),
            rtol=max(case.rtol, 1e-3),
            atol=max(case.atol, 1e-5),
            equal_nan=True,
        )
        if not close:
            return "wrong", f"output {index} differs"
    return "agrees", ""


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:300]


def _serve(match: str, start: int, *, lint: bool) -> None:
    """Child: cases from `start` on, one JSON line before and one after each."""
    sys.modules["torch"] = None  # type: ignore[assignment]  # importing it takes seconds and is not needed
    for index, case in enumerate(cases(match)):
        if index < start:
            continue
        operators = sorted({node.op_type for node in case.model.graph.node})
        for name, model, inputs in forms(case):
            print(json.dumps({"begin": index, "name": name}), flush=True)
            kind, why = outcome(case, model, inputs, lint=lint)
            print(json.dumps({"name": name, "outcome": kind, "why": why, "operators": operators}), flush=True)
    print(json.dumps({"done": True}), flush=True)


def sweep(match: str, *, lint: bool) -> list[dict[str, Any]]:
    """The outcome of every case."""
    found: list[dict[str, Any]] = []
    start = 0
    while True:
        command = [sys.executable, __file__, "--child", str(start), "--match", match, *([] if lint else ["--no-lint"])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
        reader.start()
        current: dict[str, Any] | None = None
        while True:
            try:
                line = lines.get(timeout=_CASE_LIMIT_S)
            except queue.Empty:
                line = ""
            if not line:
                process.kill()
                process.wait()
                if current is None:
                    raise SystemExit(f"the child could not start: exit code {process.returncode}")
                found.append({"name": current["name"], "outcome": "crashes", "why": f"exit code {process.returncode}"})
                start = current["begin"] + 1
                break
            value = json.loads(line)
            if "done" in value:
                process.wait()
                return found
            if "begin" in value:
                current = value
            else:
                found.append({key: value[key] for key in ("name", "outcome", "why", "operators")})
                if len(found) % 100 == 0:
                    print(f"{len(found)} cases: {dict(Counter(each['outcome'] for each in found))}", file=sys.stderr)


def _read(process: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            lines.put(line)
    lines.put("")


def main() -> None:
    """Parse the command line and write the outcome of the sweep."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--match", default="")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--no-lint", action="store_true")
    parser.add_argument("--child", type=int)
    options = parser.parse_args()
    if options.child is not None:
        _serve(options.match, options.child, lint=not options.no_lint)
        return
    found = sweep(options.match, lint=not options.no_lint)
    counts = dict(Counter(each["outcome"] for each in found))
    print(counts)
    if options.output is not None:
        options.output.write_text(json.dumps({"counts": counts, "cases": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
