"""Files appear whole or not at all: written beside their place, then renamed."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgeml.core.errors import EdgeMLError, UsageError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same directory; on a clean exit it replaces `path`, else it is removed.

    The temporary name keeps the suffix of `path`, since libraries choose a format by it.

    Raises:
        UsageError: the directory does not exist or `path` is a directory.
        EdgeMLError: the file system refused (no space, no permission).
    """
    try:
        if path.is_dir():
            raise UsageError(f"cannot write {path}: it is a directory; name a file")
        if not path.parent.is_dir():
            raise UsageError(f"cannot write {path}: the directory {path.parent} does not exist; create it first")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        if temporary.is_dir():
            temporary.rename(path)
            return
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise EdgeMLError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def atomic_write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path`, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
