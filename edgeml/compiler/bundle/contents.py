"""Gathers the files of a bundle: the model, TVM's runtime and headers, the runners, licences and descriptions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path
from string import Template

from edgeml.compiler.bundle.elf_needs import SystemNeeds, system_needs
from edgeml.compiler.bundle.interface_header import interface_header
from edgeml.core.artifact import Artifact, sha256_file
from edgeml.core.errors import MissingError, UsageError
from edgeml.core.tensor_spec import TensorSpec

MANIFEST = "bundle.json"
SCHEMA_VERSION = 1

Content = Path | bytes
"""Where a file of the bundle is copied from, or what it holds."""

_HEADERS = ("tvm", "dlpack")
_FFI = "apache-tvm-ffi"


def gather(
    artifact: Artifact, *, libtvm_runtime: Path, libtvm_ffi: Path, name: str
) -> tuple[dict[str, Content], SystemNeeds]:
    """The bundle's files by their names in it, all but the manifest, and what they need of the system.

    Raises:
        UsageError: a file is no library of its kind.
        CheckFailedError: the libraries are for different machines.
        MissingError: TVM's packages are not installed.
    """
    files: dict[str, Content] = {
        artifact.path.name: artifact.path,
        artifact.manifest_path.name: (json.dumps(artifact.to_json(), indent=2) + "\n").encode(),
        "lib/libtvm_runtime.so": libtvm_runtime,
        "lib/libtvm_ffi.so": libtvm_ffi,
        "cpp/model.h": interface_header(artifact).encode(),
    }
    if taken := {"README.md", "run_model.py", MANIFEST} & files.keys():
        raise UsageError(f"{artifact.path}: a bundle has a file {taken.pop()} of its own; name the library otherwise")
    needs = system_needs([artifact.path, libtvm_runtime, libtvm_ffi])
    files |= dict(_headers()) | dict(_licences())
    templates = resources.files("edgeml.compiler.bundle") / "files"
    for target, source in (
        ("run_model.py", "run_model.py"),
        ("cpp/main.cpp", "main.cpp"),
        ("cpp/Makefile", "Makefile"),
    ):
        files[target] = (templates / source).read_bytes()
    text = Template((templates / "README.md.in").read_text(encoding="utf-8"))
    files["README.md"] = text.substitute(_words(artifact, needs, name)).encode()
    return files, needs


def manifest(artifact: Artifact, files: dict[str, Content], needs: SystemNeeds, digests: dict[str, str]) -> bytes:
    """The text of bundle.json."""
    values = {
        "schema_version": SCHEMA_VERSION,
        "model": artifact.path.name,
        "manifest": artifact.manifest_path.name,
        "machine": needs.machine,
        "needs": {"glibc": needs.glibc, "glibcxx": needs.glibcxx, "cxxabi": needs.cxxabi},
        "sha256": {name: digests[name] for name in sorted(files)},
    }
    return (json.dumps(values, indent=2) + "\n").encode()


def digest(content: Content) -> str:
    """Hex SHA-256 of a file's content."""
    return sha256_file(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()


def _words(artifact: Artifact, needs: SystemNeeds, name: str) -> dict[str, str]:
    return {
        "name": name,
        "model": artifact.model,
        "precision": artifact.precision,
        "library": artifact.path.name,
        "manifest": artifact.manifest_path.name,
        "target": "host" if artifact.target is None else str(artifact.target),
        "machine": needs.machine,
        "inputs": _shown(artifact.inputs),
        "outputs": _shown(artifact.outputs),
        "floors": str(needs),
        "versions": ", ".join(f"{tool} {version}" for tool, version in artifact.tool_versions) or "not told",
        "tvm_ffi_version": metadata.version(_FFI),
    }


def _shown(specs: tuple[TensorSpec, ...]) -> str:
    return "; ".join(f"{spec.name}: {spec.dtype} ({', '.join(map(str, spec.shape))})" for spec in specs)


def _headers() -> Iterator[tuple[str, Content]]:
    include = _package("tvm_ffi") / "include"
    for part in _HEADERS:
        for path in sorted((include / part).rglob("*.h")):
            yield f"include/{path.relative_to(include).as_posix()}", path


def _licences() -> Iterator[tuple[str, Content]]:
    tvm = _package("tvm")
    found = [*(tvm / name for name in ("LICENSE", "NOTICE")), *(tvm / "licenses").glob("*.txt")]
    yield from ((f"licenses/apache-tvm/{path.relative_to(tvm).as_posix()}", path) for path in sorted(found))
    for file in metadata.files(_FFI) or []:
        if "licenses" in file.parts:
            yield f"licenses/{_FFI}/{file.name}", Path(str(file.locate()))
    below = _package("tvm_ffi") / "3rdparty" / "libbacktrace" / "LICENSE"
    yield f"licenses/{_FFI}/LICENSE.libbacktrace", below


def _package(name: str) -> Path:
    """Where an installed package lies; it is not imported."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise MissingError(f"{name} is not installed; install it with: pip install 'edgeml[tvm]'")
    return Path(spec.submodule_search_locations[0])
