"""A directory of models, laid out as Triton has it: NAME/VERSION/model.onnx, and a config.pbtxt where one is wanted."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeml.core.errors import UsageError
from edgeml.runtime.inference_protocol.config_file import FILE, NAME, read_config
from edgeml.serving.engine.configuration import ModelConfiguration, ModelSource
from edgeml.serving.repository.manifest import manifest_labels
from edgeml.serving.repository.model_config import configuration_of

MODEL_FILES = ("model.onnx", "model.residual.onnx", "model.so")
_VERSION = re.compile("[1-9][0-9]{0,17}")  # as with Triton, other directories are passed over
_DEFAULT_VERSIONS = 1


class DirectoryRepository:
    """Every model in a directory, as it lies there whenever one looks; see `Repository`."""

    named = False

    def __init__(self, path: Path, defaults: ModelConfiguration) -> None:
        """Nothing is read yet.

        Args:
            path: the directory.
            defaults: how models are served where their config.pbtxt does not say.
        """
        self._path = path
        self._defaults = defaults

    def scan(self) -> tuple[ModelSource, ...]:
        """Every sub-directory, each of which is to be a model; hidden ones are passed over.

        Raises:
            UsageError: the directory cannot be read.
        """
        try:
            directories = sorted(path for path in self._path.iterdir() if _may_be_model(path))
        except OSError as error:
            raise UsageError(f"cannot read the directory of models {self._path}: {error.strerror or error}") from error
        return tuple(self._source(path) for path in directories)

    def find(self, model: str) -> ModelSource | None:
        """The model of that name."""
        if not NAME.fullmatch(model):
            return None
        path = self._path / model
        return self._source(path) if _may_be_model(path) else None

    def _source(self, path: Path) -> ModelSource:
        try:
            if not NAME.fullmatch(path.name):
                raise UsageError(f"{path} is no model: a name is made of letters, digits, '_', '.' and '-'")
            config = read_config(path)
            if config is not None and config.name and config.name != path.name:
                raise UsageError(f"{path / FILE} is for the model {config.name!r:.80}; its directory is {path.name}")
            configuration = self._defaults if config is None else configuration_of(config, path, self._defaults)
            versions, faults = _versions(path, config)
            if versions and not configuration.labels:
                newest = list(versions.values())[-1]
                configuration = replace(configuration, labels=manifest_labels(newest))
        except UsageError as error:
            return _faulty(path, str(error))
        except OSError as error:
            return _faulty(path, f"cannot read {path}: {error.strerror or error}")
        return ModelSource(name=path.name, versions=versions, configuration=configuration, faults=faults)


def _faulty(path: Path, reason: str) -> ModelSource:
    # A name on disk may be of bytes that are no text, which no answer could carry.
    name = path.name.encode("utf-8", "backslashreplace").decode()
    return ModelSource(name=name, versions={}, faults={"": reason})


def _may_be_model(path: Path) -> bool:
    try:
        return not path.name.startswith(".") and path.is_dir()
    except OSError:  # reading it will say why
        return True


def _versions(path: Path, config: Any) -> tuple[dict[str, Path], dict[str, str]]:
    """The file of each version that is to be served, by the version policy, and what those lack that have none.

    A directory without a file may be one that is just being filled, so it does not count among the newest.
    """
    there = sorted((each.name for each in path.iterdir() if _VERSION.fullmatch(each.name) and each.is_dir()), key=int)
    choice = None if config is None else config.version_policy.WhichOneof("policy_choice")
    if choice == "specific":
        there = [str(version) for version in config.version_policy.specific.versions]
    if not there:
        raise UsageError(f"{path} has no version; lay the model at {path / '1' / MODEL_FILES[0]}")
    named = "" if config is None else config.default_model_filename
    found = {version: _model_file(path / version, named) for version in there}
    versions = {version: file for version, file in found.items() if file is not None}
    faults = {
        version: f"{path / version} holds no model file {named or ' or '.join(MODEL_FILES)}"
        for version, file in found.items()
        if file is None
    }
    if choice in {"all", "specific"}:
        return versions, faults
    count = (config.version_policy.latest.num_versions if choice == "latest" else 0) or _DEFAULT_VERSIONS
    newest = dict(list(versions.items())[-count:])
    oldest = int(min(newest, key=int, default="0"))
    return newest, {version: fault for version, fault in faults.items() if int(version) > oldest}


def _model_file(directory: Path, named: str) -> Path | None:
    if named:
        path = directory / named
        return path if path.parent == directory and path.is_file() else None
    return next((directory / name for name in MODEL_FILES if (directory / name).is_file()), None)
