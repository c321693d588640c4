"""Writes a bundle: one archive that a board unpacks and runs."""

from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

from edgeml.compiler.bundle.contents import MANIFEST, Content, digest, gather, manifest
from edgeml.compiler.bundle.elf_needs import SystemNeeds
from edgeml.core.artifact import Artifact, sha256_file
from edgeml.core.atomic import atomic_write
from edgeml.core.errors import CheckFailedError, EdgeMLError, UsageError

_SUFFIXES = (".tar.gz", ".tgz")
# Midnight of 1 January 1980, the first time every archive format can tell; the same files give the same archive.
_TIME = 315532800
_EXECUTABLE = (".so",)


@dataclass(frozen=True, kw_only=True)
class BundleResult:
    """A bundle that was written.

    Attributes:
        path: the archive.
        sha256: its digest.
        size_bytes: its size.
        needs: what it needs of the system it runs on.
        files: digests of the files in it, by name, in the order of the archive.
    """

    path: Path
    sha256: str
    size_bytes: int
    needs: SystemNeeds
    files: tuple[tuple[str, str], ...]


def write_bundle(artifact: Artifact, output: Path, *, libtvm_runtime: Path, libtvm_ffi: Path) -> BundleResult:
    """Pack a compiled library with TVM's runtime for its target, runners in Python and C++, and their licences.

    The archive holds one directory of its own name. It is written whole or not at all, and the same input gives the
    same bytes.

    Args:
        artifact: the compiled library.
        output: the archive, NAME.tar.gz or NAME.tgz.
        libtvm_runtime: TVM's runtime for the same machine.
        libtvm_ffi: the library below it.

    Raises:
        UsageError: the artifact is no library for a processor, or a name or file is not of its form.
        CheckFailedError: the library is not the one its manifest was written for, or the libraries do not fit together.
        MissingError: TVM's packages are not installed.
        EdgeMLError: the archive cannot be written.
    """
    name = _name(output)
    if artifact.format != "tvm":
        raise UsageError(f"{artifact.path} has the format {artifact.format}; a bundle holds a compiled library")
    if artifact.target is not None and artifact.target.kind != "llvm":
        raise UsageError(
            f"{artifact.path} is compiled for {artifact.target}; the runners of a bundle run models on processors only"
        )
    if sha256_file(artifact.path) != artifact.sha256:
        raise CheckFailedError(f"{artifact.path} is not the file its manifest was written for; compile the model again")
    files, needs = gather(artifact, libtvm_runtime=libtvm_runtime, libtvm_ffi=libtvm_ffi, name=name)
    digests = {each: digest(content) for each, content in files.items()}
    files[MANIFEST] = manifest(artifact, dict(files), needs, digests)
    digests[MANIFEST] = digest(files[MANIFEST])
    with atomic_write(output) as temporary:
        _pack(files, name, temporary)
    return BundleResult(
        path=output,
        sha256=sha256_file(output),
        size_bytes=output.stat().st_size,
        needs=needs,
        files=tuple((each, digests[each]) for each in sorted(files)),
    )


def _name(output: Path) -> str:
    for suffix in _SUFFIXES:
        if output.name.endswith(suffix) and output.name != suffix:
            return output.name.removesuffix(suffix)
    raise UsageError(f"a bundle is a compressed tar archive; name it {output.stem}.tar.gz instead of {output.name}")


def _pack(files: dict[str, Content], name: str, path: Path) -> None:
    try:
        with (
            path.open("wb") as raw,
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=_TIME) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for each in sorted(files):
                content = files[each]
                data = content.read_bytes() if isinstance(content, Path) else content
                entry = tarfile.TarInfo(f"{name}/{each}")
                entry.size, entry.mtime = len(data), _TIME
                entry.mode = 0o755 if each.endswith(_EXECUTABLE) else 0o644
                archive.addfile(entry, io.BytesIO(data))
    except tarfile.TarError as error:
        raise EdgeMLError(f"cannot write {path}: {error}") from error
