"""What a worker needs of edgeml, packed to be sent to a device that has none or another one."""

from __future__ import annotations

import gzip
import io
import tarfile
from functools import lru_cache
from pathlib import Path

import edgeml
from edgeml.edge_bench.devices.steward import digest, sources

# The bundle is a directory that Python runs. An editable installation of another edgeml on the device would be asked
# before the directories of sys.path; the finder of those is put ahead of it.
_MAIN = """\
import importlib.machinery
import sys

sys.meta_path.insert(0, importlib.machinery.PathFinder)

from edgeml.edge_bench.worker import main

main()
"""
_PACKAGE = Path(edgeml.__file__).parent


@lru_cache(maxsize=1)
def worker_digest() -> str:
    """SHA-256 over the sources that a worker runs; a device's own edgeml with the same one is as good as ours."""
    return digest(_PACKAGE)


@lru_cache(maxsize=1)
def worker_bundle() -> bytes:
    """The sources as .tar.gz, the same bytes for the same sources, with what tells the version.

    Unpacked, `python DIRECTORY` runs the worker. Native kernels are not in it: they are built for one processor.
    """
    files = {f"edgeml/{name}": (_PACKAGE / name).read_bytes() for name in sources(_PACKAGE)}
    files["__main__.py"] = _MAIN.encode()
    metadata = f"Metadata-Version: 2.1\nName: edgeml\nVersion: {edgeml.__version__}\n"
    files[f"edgeml-{edgeml.__version__}.dist-info/METADATA"] = metadata.encode()
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=9, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
