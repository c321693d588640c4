"""Gives the calling thread a TVM thread pool of the size that a Session asks for."""

from __future__ import annotations

import threading
from types import ModuleType

from edgeml.core.errors import EdgeMLError
from edgeml.runtime.threads import available_threads

_FASTEST_CORES = 1  # TVM's affinity mode; it decides nothing here, since binding is off


class _Pool(threading.local):
    """The state of this thread's pool: TVM keeps one for each thread that runs models."""

    size = 1  # as tvm_library sets it for threads that were never configured
    capacity = 1


_pool = _Pool()


def use_threads(tvm_ffi: ModuleType, threads: int) -> None:
    """Make TVM run the calling thread's next models with so many threads, itself included.

    A pool cannot grow once it is made. It is made for the first model that wants more than one thread, for as many as
    it asks or this process has cores, whichever is more; models that ask for fewer leave the rest asleep.

    Raises:
        EdgeMLError: the pool of this thread was made for fewer threads.
    """
    if _pool.size == threads:
        return
    configure, count = (tvm_ffi.get_global_func(f"runtime.{name}") for name in ("config_threadpool", "NumThreads"))
    if threads > 1 and _pool.capacity == 1:
        _pool.capacity = max(threads, available_threads())
        _configure(configure, _pool.capacity)
    _configure(configure, threads)
    _pool.size = threads
    if threads > 1 and count() != threads:
        _pool.size = 0  # unknown: the next model configures it anew
        raise EdgeMLError(
            f"threads is {threads}, but TVM's thread pool in this thread was made for {_pool_limit(count())}; open the "
            "model in a process of its own, or with the largest number of threads first"
        )


def _configure(configure: object, threads: int) -> None:
    assert callable(configure)
    # The list says how many at most by its length; its core numbers would only be used for binding.
    configure(_FASTEST_CORES, threads, [str(core) for core in range(threads)])


def _pool_limit(found: int) -> str:
    return "1 thread" if found == 1 else f"{found} threads"
