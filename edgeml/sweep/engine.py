"""Where a sweep's tasks run: processes of this machine, or what else has these few verbs."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from edgeml.core.errors import EdgeMLError
from edgeml.runtime.threads import available_threads
from edgeml.sweep.cache import LOG_FILE, TaskCache
from edgeml.sweep.child import EDGEML, Finished, run_child
from edgeml.sweep.task import Given, Made, Output, Task, render


class Engine(Protocol):
    """Runs the tasks that make model files, several at once."""

    @property
    def slots(self) -> int:
        """How many tasks to have running at most."""
        ...

    def submit(self, task: Task, key: str, keys: Mapping[str, str]) -> Future[Finished]:
        """Run a task whose needs are finished; its files are in the cache when it ends without a reason.

        Args:
            task: the task.
            key: its key.
            keys: the keys of all tasks, by label.
        """
        ...

    def close(self) -> None:
        """End what still runs, and wait for that; once closed, this does nothing."""
        ...


class LocalEngine:
    """Child processes of this machine.

    Args:
        cache: where finished tasks lie.
        directory: of the sweep file; the working directory of every task.
        jobs: tasks at once.
        module: the Python module that is the command line.
        shares_cores: whether each task is told to keep to its share of the cores.
    """

    def __init__(
        self, cache: TaskCache, directory: Path, *, jobs: int, module: str = EDGEML, shares_cores: bool = True
    ) -> None:
        self._cache, self._directory, self._module = cache, directory, module
        self._jobs, self._stop = jobs, threading.Event()
        self._pool = ThreadPoolExecutor(jobs, thread_name_prefix="sweep")
        threads = str(max(1, available_threads() // jobs))
        self._environment = {"OMP_NUM_THREADS": threads} if shares_cores else {}

    @property
    def slots(self) -> int:
        """How many tasks run at once."""
        return self._jobs

    def submit(self, task: Task, key: str, keys: Mapping[str, str]) -> Future[Finished]:
        """Run a task as a child process."""
        return self._pool.submit(self._run, task, key, dict(keys))

    def close(self) -> None:
        """End what still runs, and wait for that."""
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, task: Task, key: str, keys: Mapping[str, str]) -> Finished:
        try:
            with self._cache.making(key, self._stop) as part:
                if self._cache.has(key):
                    return Finished(seconds=0.0, cached=True)
                if task.kind != "train":  # which goes on from its checkpoint
                    shutil.rmtree(part)
                    part.mkdir()
                finished = run_child(
                    local_words(task, key, keys, self._cache),
                    module=self._module,
                    directory=self._directory,
                    log=part / LOG_FILE,
                    environment=self._environment,
                    stop=self._stop,
                )
                return settle(self._cache, task, key, finished)
        except InterruptedError:
            return Finished(seconds=0.0, reason="interrupted")
        except (OSError, EdgeMLError) as error:
            return Finished(seconds=0.0, reason=str(error))


def local_words(task: Task, key: str, keys: Mapping[str, str], cache: TaskCache) -> tuple[str, ...]:
    """A task's command line on this machine, to be run in the directory of the sweep file."""

    def place(word: Given | Made | Output) -> str:
        if isinstance(word, Given):
            return word.path
        return str(cache.entry(keys[word.task]) / word.file if isinstance(word, Made) else cache.part(key) / word.file)

    return render(task.words, place)


def settle(cache: TaskCache, task: Task, key: str, finished: Finished) -> Finished:
    """Put a task that ended well into the cache; one that did not make its files has failed."""
    if finished.reason is not None:
        return finished
    if missing := [name for name in task.outputs if not (cache.part(key) / name).exists()]:
        return Finished(seconds=finished.seconds, reason=f"it ended well and did not write {', '.join(missing)}")
    cache.finish(key, task, finished.seconds)
    return finished
