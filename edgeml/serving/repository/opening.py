"""From what a user names to a repository."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeml.core.errors import UsageError
from edgeml.serving.engine.configuration import ModelConfiguration
from edgeml.serving.repository.directory import DirectoryRepository
from edgeml.serving.repository.files import FileRepository, named_files
from edgeml.serving.repository_protocol import Repository


def open_repository(arguments: Sequence[str], configuration: ModelConfiguration) -> Repository:
    """The models that arguments of `edgeml serve` name: one directory of models, or files.

    Args:
        arguments: DIRECTORY, or FILE and NAME=FILE any number of times.
        configuration: how models are served that do not say themselves.

    Raises:
        UsageError: there is no such file or directory, or they cannot be served together.
    """
    directories = [argument for argument in arguments if _is_directory(Path(argument))]
    if not directories:
        return FileRepository(named_files(arguments), configuration)
    if len(arguments) > 1:
        raise UsageError(f"{directories[0]} is a directory of models; it is served alone, without other arguments")
    return DirectoryRepository(Path(directories[0]), configuration)


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # too long to be a path, or not to be seen
        return False
