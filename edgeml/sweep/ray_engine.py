"""Runs the tasks that make model files on a Ray cluster (Moritz et al., "Ray", OSDI 2018).

Nodes need no file system in common: a task's files travel with it and what it made travels back. Each node needs
edgeml of the same version, the packages the task uses, and data sets given as directories at the same place.
Measurements are never sent: a device is reached from here.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from edgeml import __version__
from edgeml.core.errors import EdgeMLError, needs_extra
from edgeml.sweep.cache import LOG_FILE, TaskCache
from edgeml.sweep.child import EDGEML, Finished, run_child
from edgeml.sweep.engine import settle
from edgeml.sweep.task import Given, Made, Output, Task, companions, render

_RETRIES = 2
_OUTPUT = "output"
_MANY = 10_000


@dataclass(frozen=True, kw_only=True)
class Request:
    """A task as a node gets it.

    Attributes:
        words: the command line, whose paths are relative to a directory of the node's choice.
        files: what to put there before, by relative path.
        module: the Python module that is the command line.
        version: of edgeml, which the node's must equal.
    """

    words: tuple[str, ...]
    files: dict[str, bytes]
    module: str
    version: str = __version__


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a node made.

    Attributes:
        finished: how it ended.
        files: what it wrote, by path relative to the output directory; empty where it failed.
        log: all it printed.
    """

    finished: Finished
    files: dict[str, bytes] = field(default_factory=dict)
    log: bytes = b""


class RayEngine:
    """Tasks of a Ray cluster: that at RAY_ADDRESS, one that runs on this machine, else one started for the sweep.

    Args:
        cache: where finished tasks lie.
        directory: of the sweep file.
        jobs: tasks at once; None for as many as the cluster takes.
        module: the Python module that is the command line.

    Raises:
        MissingError: Ray is not installed.
        EdgeMLError: the cluster cannot be reached.
    """

    def __init__(self, cache: TaskCache, directory: Path, *, jobs: int | None, module: str = EDGEML) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when ray is imported
        with needs_extra("ray"):
            import ray
        self._ray = ray
        self._cache, self._directory, self._module, self._jobs = cache, directory, module, jobs
        self._references: dict[Any, Future[Finished]] = {}
        try:
            ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise EdgeMLError(f"the Ray cluster cannot be reached: {error}") from error
        # A node that dies costs its tasks nothing but time; a task that fails fails anywhere.
        self._remote = ray.remote(num_cpus=1, max_retries=_RETRIES, retry_exceptions=False)(perform)

    @property
    def slots(self) -> int:
        """How many tasks to submit at once; Ray queues those that it has no room for."""
        return self._jobs or _MANY

    def submit(self, task: Task, key: str, keys: Mapping[str, str]) -> Future[Finished]:
        """Send a task to the cluster."""
        result: Future[Finished] = Future()
        try:
            request = pack(task, keys, self._cache, self._directory, self._module)
        except OSError as error:
            result.set_result(Finished(seconds=0.0, reason=str(error)))
            return result
        reference = self._remote.remote(request)
        self._references[reference] = result

        def receive(done: Future[Reply]) -> None:
            self._references.pop(reference, None)
            result.set_result(self._received(task, key, done))

        reference.future().add_done_callback(receive)
        return result

    def close(self) -> None:
        """Cancel what still runs and leave the cluster; one that was started for the sweep ends."""
        for reference in list(self._references):
            self._ray.cancel(reference, force=True)
        self._references.clear()
        self._ray.shutdown()

    def _received(self, task: Task, key: str, done: Future[Reply]) -> Finished:
        """Put what a node made into the cache."""
        try:
            reply = done.result()
        except Exception as error:  # noqa: BLE001  # Ray tells of a lost node or a full store by many types
            return Finished(seconds=0.0, reason=f"Ray lost the task: {' '.join(str(error).split())[:300]}")
        try:
            with self._cache.making(key, threading.Event()) as part:
                if self._cache.has(key):
                    return Finished(seconds=0.0, cached=True)
                _write(part, reply.files)
                (part / LOG_FILE).write_bytes(reply.log)
                return settle(self._cache, task, key, reply.finished)
        except (OSError, EdgeMLError) as error:
            return Finished(seconds=reply.finished.seconds, reason=str(error))


def pack(task: Task, keys: Mapping[str, str], cache: TaskCache, directory: Path, module: str) -> Request:
    """The task with its files.

    Raises:
        OSError: a file cannot be read.
    """
    files: dict[str, bytes] = {}

    def place(word: Given | Made | Output) -> str:
        if isinstance(word, Output):
            return f"{_OUTPUT}/{word.file}"
        if isinstance(word, Made):
            return ship(cache.entry(keys[word.task]) / word.file, f"made/{keys[word.task][:16]}/{word.file}")
        path = directory / word.path
        if path.is_dir():
            return str(path.resolve())
        # A path that stays in the sweep's directory stays as it is, since a manifest quotes it.
        inside = not PurePath(word.path).is_absolute() and ".." not in PurePath(word.path).parts
        return ship(path, word.path if inside else f"given/{len(files)}/{path.name}")

    def ship(path: Path, where: str) -> str:
        for each in (path, *companions(path)):
            files[str(PurePath(where).with_name(each.name))] = each.read_bytes()
        return where

    words = render(task.words, place)
    for path in task.hidden:
        if path.is_relative_to(directory):
            files[str(path.relative_to(directory))] = path.read_bytes()
    return Request(words=words, files=files, module=module)


def perform(request: Request) -> Reply:
    """Run a task on the node this is called on."""
    if request.version != __version__:
        reason = f"this node has edgeml {__version__}, the sweep {request.version}; install the same version"
        return Reply(finished=Finished(seconds=0.0, reason=reason))
    with tempfile.TemporaryDirectory(prefix="edgeml-sweep-") as name:
        directory = Path(name)
        _write(directory, request.files)
        (directory / _OUTPUT).mkdir(exist_ok=True)
        log = directory / LOG_FILE
        # Ray kills the process that this runs in, and the child ends with it.
        finished = run_child(
            request.words,
            module=request.module,
            directory=directory,
            log=log,
            environment={},
            stop=threading.Event(),
        )
        made = [path for path in sorted((directory / _OUTPUT).rglob("*")) if path.is_file()]
        files = {str(path.relative_to(directory / _OUTPUT)): path.read_bytes() for path in made}
        return Reply(finished=finished, files=files if finished.reason is None else {}, log=log.read_bytes())


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
