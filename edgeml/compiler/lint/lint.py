"""Tells, before a model is compiled, which of its operators the target's path cannot take and the way round each.

Nothing is called supported on the word of a list: the whole model is compiled, and where that fails each node is tried
by itself. What compiles and then computes something else is listed (`operator_limits`), found by running ONNX's own
test suite.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgeml.compiler.cuda.build import environment
from edgeml.compiler.lint.operator_limits import Finding, way_round
from edgeml.compiler.process.compiler_process import (
    CompilerCrashedError,
    CompilerRefusedError,
    ProcessLimits,
    Progress,
    run_job,
)
from edgeml.compiler.toolchains import linker
from edgeml.core.artifact import Artifact
from edgeml.core.errors import CheckFailedError, UsageError
from edgeml.core.target import Target
from edgeml.runtime.onnx_file import open_artifact


@dataclass(frozen=True, kw_only=True)
class LintReport:
    """What stands between a model and a target.

    Attributes:
        model: the file.
        target: what it would be compiled for.
        findings: one entry a node that cannot be compiled; empty where the model can.
    """

    model: Path
    target: Target
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": str(self.model),
            "target": str(self.target),
            "supported": not self.findings,
            "findings": [asdict(finding) for finding in self.findings],
        }


def lint(
    source: Path,
    target: Target,
    *,
    limits: ProcessLimits | None = None,
    progress: Progress = lambda _step: None,
) -> LintReport:
    """The nodes of the ONNX file `source` that cannot be compiled for `target`.

    Args:
        source: the model.
        target: what it would be compiled for.
        limits: what the compiling process may take.
        progress: told each step.

    Raises:
        UntrustedFileError: the file breaks a safety limit.
        UsageError: it is no ONNX file.
        MissingError: the target's compiler is not installed.
        EdgeMLError: the compiler took too long or too much memory.
    """
    artifact = onnx_artifact(source)
    linker(target)
    limits = ProcessLimits() if limits is None else limits
    if target.kind == "cuda":
        limits = replace(limits, environment={**limits.environment, **environment(target)})
    with tempfile.TemporaryDirectory(prefix="edgeml-lint-") as directory:
        findings = find_refused(artifact, target, Path(directory), limits, progress)
    return LintReport(model=source, target=target, findings=findings)


def onnx_artifact(source: Path) -> Artifact:
    """The ONNX file as an Artifact, after the safety check.

    Raises:
        UsageError: it is no ONNX file.
        UntrustedFileError: it breaks a safety limit.
    """
    artifact = open_artifact(source)
    if artifact.format != "onnx":
        raise UsageError(f"{source} is a {artifact.format} file; the compiler takes ONNX files")
    return artifact


def find_refused(
    artifact: Artifact, target: Target, directory: Path, limits: ProcessLimits, progress: Progress
) -> tuple[Finding, ...]:
    """The nodes that cannot be compiled; a node that takes the compiler down is one of them."""
    crashes: dict[int, str] = {}
    while True:
        job = {"job": "lint", "model": str(artifact.path), "target": str(target), "skip": sorted(crashes)}
        try:
            answer = run_job(job, directory=directory, limits=limits, progress=progress)
            break
        except CompilerRefusedError:
            raise
        except CompilerCrashedError as error:
            if error.trying is None or error.trying in crashes:
                raise
            crashes[error.trying] = str(error)
    found = [Finding(**finding) for finding in answer["findings"]]
    if crashes:
        found += _crashed(artifact.path, crashes)
    return tuple(found)


def _crashed(path: Path, crashes: dict[int, str]) -> list[Finding]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return [
        Finding(
            operator=graph.node[index].op_type,
            domain=graph.node[index].domain,
            name=graph.node[index].name,
            reason=reason,
            way_round=way_round(graph.node[index]),
        )
        for index, reason in crashes.items()
    ]


def refuse(findings: Sequence[Finding], source: Path, target: Target) -> CheckFailedError:
    """The one line for a model that cannot be compiled."""
    first = findings[0]
    more = f"; {len(findings) - 1} more: " if len(findings) > 1 else "; "
    name = f" {first.name!r}" if first.name else ""
    return CheckFailedError(
        f"{source} cannot be compiled for {target}: {first.operator}{name}: {first.reason}; {first.way_round}"
        f"{more}edgeml lint {source} --target '{target}' lists every node"
    )
