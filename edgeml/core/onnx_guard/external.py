"""Files beside a model that hold tensor data: plain names in its own directory, regular files, long enough."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from edgeml.core.errors import UntrustedFileError
from edgeml.core.onnx_guard.limits import ExternalFile
from edgeml.core.onnx_guard.tensors import ExternalRange, shown

# Separators and drive letters of every system: a file made to pass here must not escape elsewhere.
_FORBIDDEN = re.compile(r'[/\\:\x00-\x1f\x7f*?"<>|]')
_NAME_BYTES = 255


class ExternalFiles:
    """The files a model refers to, each looked at once and never read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sizes: dict[str, int] = {}

    def check(self, tensor: str, data: ExternalRange, size_bytes: int) -> None:
        """Hold one tensor's external data to its rules.

        Args:
            tensor: the tensor's name, ready to print.
            data: where the model says that the data lies.
            size_bytes: what the tensor's shape and type come to.

        Raises:
            UntrustedFileError: the location is not allowed, is no regular file, or does not hold that many bytes there.
        """
        available = self._size(tensor, data.location) - data.offset
        length = available if data.length is None else data.length
        if not 0 <= length <= available or length != size_bytes:
            raise UntrustedFileError(
                f"tensor {tensor} needs {size_bytes} bytes; its external data are {length} at offset {data.offset} of "
                f"{shown(data.location)}, which has {self._sizes[data.location]} bytes"
            )

    def found(self) -> tuple[ExternalFile, ...]:
        """All files seen, in the order of their names."""
        return tuple(ExternalFile(name=name, size_bytes=size) for name, size in sorted(self._sizes.items()))

    def _size(self, tensor: str, location: str) -> int:
        if location not in self._sizes:
            if _FORBIDDEN.search(location) or location in {"", ".", ".."} or len(location.encode()) > _NAME_BYTES:
                raise UntrustedFileError(
                    f"tensor {tensor} has its data at {shown(location)}; "
                    "only the plain name of a file in the model's own directory is allowed"
                )
            self._sizes[location] = self._regular_file_size(tensor, location)
        return self._sizes[location]

    def _regular_file_size(self, tensor: str, location: str) -> int:
        path = self._directory / location
        # lstat first, so that no device or pipe is opened; the flags close the gap between the two calls.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                descriptor = os.open(path, flags)
                try:
                    status = os.fstat(descriptor)
                finally:
                    os.close(descriptor)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", error)
            raise UntrustedFileError(
                f"tensor {tensor} has its data in {shown(location)}, which cannot be read ({reason}); "
                "put the file beside the model"
            ) from error
        if not stat.S_ISREG(status.st_mode):
            raise UntrustedFileError(
                f"tensor {tensor} has its data in {shown(location)}, which is no regular file (a link, perhaps); "
                "copy the data itself beside the model"
            )
        if status.st_nlink > 1:
            raise UntrustedFileError(
                f"tensor {tensor} has its data in {shown(location)}, a file with a second name (hard link) elsewhere; "
                "copy it, so that the model has its own"
            )
        return status.st_size
