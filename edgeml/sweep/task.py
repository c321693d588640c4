"""One piece of a sweep's work: a command line of edgeml that names its files by what they are, not where they lie."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Literal

from edgeml import __version__
from edgeml.core.artifact import manifest_path, sha256_file
from edgeml.core.errors import UsageError

Kind = Literal["train", "export", "compile", "measure"]

# Packages whose version changes what a task makes or finds.
_PACKAGES = ("numpy", "onnx", "onnxruntime", "torch", "onnxscript", "timm", "scikit-learn", "apache-tvm")


@dataclass(frozen=True)
class Given:
    """A file or directory that the user named, as a word of a command line.

    Attributes:
        path: as written; relative to the directory of the sweep file.
        before: what stands before it in the word ("npz:").
        behind: what stands behind it (":make", ":test").
    """

    path: str
    before: str = ""
    behind: str = ""


@dataclass(frozen=True)
class Made:
    """A file that another task makes.

    Attributes:
        task: the other task's label.
        file: the file's name.
    """

    task: str
    file: str


@dataclass(frozen=True)
class Output:
    """A file that this task makes."""

    file: str


Word = str | Given | Made | Output


@dataclass(frozen=True, kw_only=True)
class Task:
    """A command line to run once.

    Attributes:
        label: what messages call it, unique in a sweep: "export tinynet-e int8".
        kind: the command.
        words: the command line behind `edgeml`.
        hidden: files that it reads and that its words do not name (a Python module's).
    """

    label: str
    kind: Kind
    words: tuple[Word, ...]
    hidden: tuple[Path, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """Labels of the tasks whose files it reads."""
        return tuple(dict.fromkeys(word.task for word in self.words if isinstance(word, Made)))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the files that it makes."""
        return tuple(word.file for word in self.words if isinstance(word, Output))

    @property
    def given(self) -> tuple[Given, ...]:
        """The files that the user named."""
        return tuple(word for word in self.words if isinstance(word, Given))


def render(words: Sequence[Word], place: Callable[[Given | Made | Output], str]) -> tuple[str, ...]:
    """The command line with every file at its place."""
    found = []
    for word in words:
        if isinstance(word, str):
            found.append(word)
        elif isinstance(word, Given):
            found.append(f"{word.before}{place(word)}{word.behind}")
        else:
            found.append(place(word))
    return tuple(found)


def task_key(task: Task, directory: Path, keys: Mapping[str, str]) -> str:
    """What a finished task is found again by: SHA-256 of its command, the content of its files, and the versions.

    Args:
        task: the task.
        directory: of the sweep file.
        keys: the keys of the tasks it needs, by label.

    Raises:
        UsageError: a file does not exist or cannot be read.
    """
    words: list[object] = []
    for word in task.words:
        if isinstance(word, str):
            words.append(word)
        elif isinstance(word, Given):
            path = directory / word.path
            contents = [content_digest(each) for each in (path, *companions(path))]
            words.append(["given", word.before, word.path, word.behind, contents])
        elif isinstance(word, Made):
            words.append(["made", keys[word.task], word.file])
        else:
            words.append(["output", word.file])
    hidden = [content_digest(path) for path in task.hidden]
    value = {"words": words, "hidden": hidden, "versions": versions()}
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def companions(path: Path) -> tuple[Path, ...]:
    """The files that are read wherever `path` is: a model file's manifest and weights, a Python file's neighbours."""
    if path.suffix == ".py":
        return tuple(sorted(each for each in path.parent.glob("*.py") if each != path))
    if path.suffix in {".onnx", ".so"}:
        beside = (manifest_path(path), path.with_name(path.name + ".data"), path.with_name(path.name + "_data"))
        return tuple(each for each in beside if each.is_file())
    return ()


def content_digest(path: Path) -> str:
    """SHA-256 of a file; of a directory, of its files' names, sizes and times, since data sets are large.

    Raises:
        UsageError: it does not exist or cannot be read.
    """
    try:
        if not path.is_dir():
            return sha256_file(path)
        lines = [f"{name} {size} {changed}" for name, size, changed in sorted(_listing(path))]
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


@lru_cache
def versions() -> tuple[tuple[str, str], ...]:
    """The versions of edgeml and of the packages that do its work, as far as they are installed."""
    found = [("edgeml", __version__)]
    for package in _PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:  # noqa: PERF203
            continue
    return tuple(found)


def _listing(directory: Path) -> Iterator[tuple[str, int, int]]:
    for path in directory.rglob("*"):
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            yield str(path.relative_to(directory)), status.st_size, status.st_mtime_ns
