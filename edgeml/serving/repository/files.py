"""Models named one by one: files, each of which is version 1 of a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgeml.core.errors import UsageError
from edgeml.runtime.inference_protocol.config_file import NAME
from edgeml.serving.engine.configuration import ModelConfiguration, ModelSource
from edgeml.serving.repository.manifest import manifest_labels

_SUFFIXES = (".residual.onnx", ".key.onnx", ".onnx", ".so")
_VERSION = "1"


class FileRepository:
    """Files as models; see `Repository`."""

    named = True

    def __init__(self, files: dict[str, Path], configuration: ModelConfiguration) -> None:
        """Nothing is read yet.

        Args:
            files: by the model's name.
            configuration: how they are served.
        """
        self._files = files
        self._configuration = configuration

    def scan(self) -> tuple[ModelSource, ...]:
        """All of them, whether the files are there or not: one that is replaced may be away for a moment."""
        return tuple(self._source(name) for name in self._files)

    def find(self, model: str) -> ModelSource | None:
        """The model of that name."""
        return self._source(model) if model in self._files else None

    def _source(self, name: str) -> ModelSource:
        path = self._files[name]
        configuration = replace(self._configuration, labels=manifest_labels(path))
        return ModelSource(name=name, versions={_VERSION: path}, configuration=configuration)


def named_files(arguments: Sequence[str]) -> dict[str, Path]:
    """Files by the model's name, from arguments of the form FILE or NAME=FILE.

    Raises:
        UsageError: a file is not there or is no model, a name is not allowed, or two models bear one name.
    """
    found: dict[str, Path] = {}
    for argument in arguments:
        name, separator, file = argument.partition("=")
        if not separator or _is_file(Path(argument)):  # a path may hold "="
            name, file = "", argument
        path = Path(file)
        if not _is_file(path):
            raise UsageError(f"there is no model file {path}; give FILE.onnx, NAME=FILE.onnx or a directory of models")
        suffix = next((each for each in _SUFFIXES if path.name.endswith(each)), None)
        if suffix is None:
            raise UsageError(f"{path} is no model file that is served: it must end in {', '.join(_SUFFIXES)}")
        name = name or re.sub("[^A-Za-z0-9_.-]", "_", path.name.removesuffix(suffix)).lstrip(".-") or "model"
        if not NAME.fullmatch(name):
            raise UsageError(f"the model's name is {name!r:.80}; it is made of letters, digits, '_', '.' and '-'")
        if name in found:
            raise UsageError(f"both {found[name]} and {path} would be the model {name}; name one of them: NAME={path}")
        found[name] = path
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long to be a path, or not to be seen
        return False
