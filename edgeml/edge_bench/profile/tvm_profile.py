"""Per-function times of a compiled library: TVM's virtual machine tells before and after every function it calls.

What telling costs (wrapping up the arguments for Python and calling it) lies between the two clocks. It is measured for
each function's own arguments, outside the timed runs, and taken off.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgeml.core.artifact import Artifact
from edgeml.core.bench_profile import OperatorTime, Profile
from edgeml.core.device import LOCAL
from edgeml.core.errors import UsageError
from edgeml.core.session import Feeds, SessionOptions
from edgeml.edge_bench.profile.kernel_costs import kernel_macs
from edgeml.edge_bench.profile.trace import Tensor
from edgeml.runtime.tvm.library import load_runtime
from edgeml.runtime.tvm.session import Tvm, TvmSession

SOURCE = "TVM's virtual machine"
WARM_UP_RUNS = 5

# The machine's own steps: memory, shapes, checks. They compute nothing, and telling of them takes longer than they do.
_BOOKKEEPING = ("vm.builtin.", "shape_func")
_TOLD_TIMES = 20
_NUMBER = re.compile(r"_?\d+$")


@dataclass(frozen=True)
class _Function:
    """What is known of one function of the library before the timed runs."""

    arguments: tuple[Tensor, ...]
    telling_ns: int


def profile_tvm(artifact: Artifact, threads: int, feeds: Sequence[Feeds], runs: int) -> Profile:
    """Per-function times over `runs` runs; the virtual machine's own steps are not among them.

    Raises:
        UsageError: the library is for a GPU, whose work goes on after a function has returned.
        EdgeMLError: TVM cannot open or run the library.
    """
    if artifact.target is not None and artifact.target.kind != "llvm":
        raise UsageError(
            f"{artifact.path} is for {artifact.target.kind}; only libraries for processors can be profiled"
        )
    session = Tvm().open(artifact, LOCAL, SessionOptions(threads=threads))
    assert isinstance(session, TvmSession)
    try:
        for index in range(WARM_UP_RUNS):
            session.run(feeds[index % len(feeds)])
        functions = _look_at(session, feeds[0])
        times_ns, run_ns, calls = _timed(session, feeds, runs)
    finally:
        session.close()
    return Profile(
        source=SOURCE,
        runs=runs,
        run_ms=statistics.median(run_ns) / 1e6,
        operators=_operators(functions, times_ns, calls, artifact),
        peaks=None,
    )


def _look_at(session: TvmSession, feeds: Feeds) -> dict[str, _Function]:
    """Every function that a run calls, in order: its arguments, and how long it takes to tell of a call of it."""
    tell = load_runtime().convert(lambda *_: time.perf_counter_ns())
    found: dict[str, _Function] = {}

    def watch(function: Any, name: str, before: bool, result: Any, *arguments: Any) -> None:
        if before or name in found or name.startswith(_BOOKKEEPING):
            return
        tensors = tuple(
            Tensor(str(argument.dtype), tuple(int(axis) for axis in argument.shape))
            for argument in arguments
            if hasattr(argument, "shape")
        )
        found[name] = _Function(tensors, _shortest_ns(lambda: tell(function, name, before, result, *arguments)))

    session.instrument(watch)
    session.run(feeds)
    return found


def _shortest_ns(tell: Callable[[], int]) -> int:
    def once() -> int:
        start = time.perf_counter_ns()
        return tell() - start

    return min(once() for _ in range(_TOLD_TIMES))


def _timed(
    session: TvmSession, feeds: Sequence[Feeds], runs: int
) -> tuple[dict[str, list[int]], list[int], dict[str, int]]:
    """Time of each function in each run and of each run, in nanoseconds, and how often a run calls each function."""
    clock = time.perf_counter_ns
    begun = 0
    told: list[tuple[str, int]] = []

    def watch(_function: Any, name: str, before: bool, *_: Any) -> None:
        nonlocal begun
        if before:
            begun = clock()
        else:
            told.append((name, clock() - begun))

    session.instrument(watch)
    times_ns: dict[str, list[int]] = {}
    calls: dict[str, int] = {}
    run_ns = []
    for index in range(runs):
        told.clear()
        start = clock()
        session.run(feeds[index % len(feeds)])
        run_ns.append(clock() - start)
        total: dict[str, int] = {}
        calls = {}
        for name, nanoseconds in told:
            total[name] = total.get(name, 0) + nanoseconds
            calls[name] = calls.get(name, 0) + 1
        for name, nanoseconds in total.items():
            times_ns.setdefault(name, []).append(nanoseconds)
    return times_ns, run_ns, calls


def _operators(
    functions: dict[str, _Function], times_ns: dict[str, list[int]], calls: dict[str, int], artifact: Artifact
) -> tuple[OperatorTime, ...]:
    own_ns = {
        name: max(0.0, statistics.median(times_ns[name]) - calls.get(name, 0) * function.telling_ns)
        for name, function in functions.items()
        if name in times_ns
    }
    total_ns = sum(own_ns.values())
    return tuple(
        _operator(name, functions[name], nanoseconds, total_ns, calls.get(name, 0), artifact)
        for name, nanoseconds in own_ns.items()
    )


def _operator(
    name: str, function: _Function, nanoseconds: float, total_ns: float, calls: int, artifact: Artifact
) -> OperatorTime:
    kernel = _NUMBER.sub("", name)
    count = kernel_macs(kernel, function.arguments)
    macs = None if count is None else count * calls
    precision = _precision(kernel, function.arguments)
    wide = artifact.precision == "int8" and macs is not None and precision == "float32"
    return OperatorTime(
        name=name,
        operator=kernel,
        kernel="tvm",
        precision=precision,
        milliseconds=nanoseconds / 1e6,
        share=nanoseconds / total_ns if total_ns else 0.0,
        calls=calls,
        macs=macs,
        bytes_moved=calls * sum(argument.bytes for argument in function.arguments),
        gflops=2 * macs / nanoseconds if macs is not None and nanoseconds else None,
        fallback="float32 in an int8 model" if wide else None,
    )


def _precision(kernel: str, arguments: Sequence[Tensor]) -> str:
    if kernel == "binary_convolution":
        return "binary"
    return arguments[0].dtype if arguments else ""
