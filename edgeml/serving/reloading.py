"""Keeps what is served equal to what lies in the repository."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgeml.core.errors import EdgeMLError
from edgeml.serving.engine.configuration import ModelSource
from edgeml.serving.engine.engine import RunningEngine
from edgeml.serving.logs import LOGGER
from edgeml.serving.repository_protocol import Repository

_log = logging.getLogger(LOGGER)

Signature = tuple[tuple[str, int, int, int], ...]
"""Name, size, time of change and inode of each file that a version is made of."""


@dataclass(frozen=True)
class _Look:
    """A model as it lay there.

    Attributes:
        source: it.
        files: the signature of each version.
    """

    source: ModelSource
    files: Mapping[str, Signature]

    def unchanged_since(self, before: _Look | None) -> set[str]:
        """Versions that are as they were, and served in the same way."""
        if before is None or before.source.configuration != self.source.configuration:
            return set()
        return {version for version, files in self.files.items() if files and before.files.get(version) == files}


async def keep_current(engine: RunningEngine, repository: Repository, every_s: float) -> None:
    """Load everything, then look for changes until cancelled.

    A file that is being copied into place is let alone: what changed is loaded once two looks in a row saw it alike,
    and what is gone is removed once two looks in a row missed it. A look that fails (a disk that is gone, say) is told
    of and tried again.

    Args:
        engine: serves the models.
        repository: where they come from.
        every_s: seconds between looks; 0 looks once.

    Raises:
        EdgeMLError: at the start the repository cannot be read, or none of the models that were named can be loaded.
    """
    served = await asyncio.to_thread(_look, repository)
    seen = served
    faults: list[EdgeMLError] = []
    for look in served.values():
        faults += await engine.replace(look.source)
        _tell_loaded(engine, look.source.name)
    if repository.named and faults and not engine.index(ready_only=True):
        raise faults[0]
    engine.opened()
    _log.info("ready", extra={"fields": {"models": len({each.name for each in engine.index(ready_only=True)})}})
    trouble = ""
    while every_s:
        await asyncio.sleep(every_s)
        try:
            now = await asyncio.to_thread(_look, repository)
        except EdgeMLError as error:
            if trouble != str(error):  # once, not at every look
                trouble = str(error)
                _log.error("not looked for changes", extra={"fields": {"reason": trouble}})
            continue
        trouble = ""
        for name in served.keys() - now.keys() - seen.keys():
            del served[name]
            await engine.remove(name)
            _log.info("removed", extra={"fields": {"model": name}})
        for name, look in now.items():
            before = served.get(name)
            if look != before and seen.get(name) == look:
                served[name] = look
                await engine.replace(look.source, unchanged=look.unchanged_since(before))
                _tell_loaded(engine, name)
        seen = now


def _look(repository: Repository) -> dict[str, _Look]:
    """All models as they lie there now, by name."""
    return {
        source.name: _Look(source, {version: signature(path) for version, path in source.versions.items()})
        for source in repository.scan()
    }


def signature(path: Path) -> Signature:
    """What changes when a model file does, or what lies beside it under its name; empty where that cannot be read."""
    stem = path.name.removesuffix(".residual.onnx").removesuffix(".key.onnx")
    found = []
    with suppress(OSError):
        for file in sorted(path.parent.iterdir()):
            if file.name.startswith(stem):
                with suppress(OSError):  # it went away between the two calls
                    told = file.stat()
                    found.append((file.name, told.st_size, told.st_mtime_ns, told.st_ino))
    return tuple(found)


def _tell_loaded(engine: RunningEngine, name: str) -> None:
    """Leave a line about the versions that are served as they lie there; faults have left theirs."""
    versions = [each.version for each in engine.index(ready_only=True) if each.name == name and not each.reason]
    if versions:
        _log.info("loaded", extra={"fields": {"model": name, "versions": ", ".join(versions)}})
