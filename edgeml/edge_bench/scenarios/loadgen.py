"""Runs a model under a load scenario of MLCommons LoadGen, in this process, right beside the model."""

from __future__ import annotations

import gc
import math
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeml.core.bench_scenario import ScenarioResult
from edgeml.core.errors import EdgeMLError, UsageError, needs_extra
from edgeml.edge_bench.conditions.environment import available_memory_bytes
from edgeml.edge_bench.scenarios.log import read_log
from edgeml.edge_bench.scenarios.result import scenario_result
from edgeml.edge_bench.scenarios.settings import LONGEST_OVER_MIN_DURATION, OVERLOAD_LIMIT, ScenarioSettings
from edgeml.edge_bench.scenarios.system_under_test import InlineSystem, QueuedSystem, Runs, System
from edgeml.edge_bench.warmup import warm_up
from edgeml.edge_bench.worker_loop import timed

DISTINCT_SAMPLES = 1024
"""Samples that LoadGen chooses from, MLPerf's number for image classification; `run` maps them to its feeds."""

WARM_UP_S = 3.0
ATTEMPTS = 3
"""Runs until LoadGen has made enough queries beforehand; a model that is faster than it was while warming up needs
more than one."""

BYTES_PER_QUERY, BYTES_PER_SAMPLE = 320, 220
"""Memory that LoadGen 6.0 takes for each query and each of its samples, those that Python sees included; measured."""

_MEMORY_SHARE = 0.5
_SHORTEST_QUERY_NS = 1000.0  # LoadGen and Python alone take longer
_FASTER_THAN_EXPECTED = 1.5
_OFFLINE_SLACK = 1.1  # LoadGen's kSlack


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What LoadGen is told beside the settings.

    Attributes:
        run_ns: time in nanoseconds that one run is expected to take; LoadGen makes as many queries as fit.
        batch: samples in one run.
        qps: samples a second: asked for, or expected where it only sizes the queries.
        most_waiting: server's queries that may wait before the run is given up; 0 for no limit.
    """

    run_ns: float
    batch: int
    qps: float
    most_waiting: int


def run_scenario(run: Callable[[int], object], batch: int, settings: ScenarioSettings) -> ScenarioResult:
    """What LoadGen finds of a model under a load scenario.

    The model is warmed up first; that tells LoadGen how many queries to make beforehand. A LoadGen sample is one sample
    of the model, so single-stream and server take a model of batch 1.

    Args:
        run: runs the model on the feed of this index, which is in [0, `DISTINCT_SAMPLES`); called by this thread only.
        batch: samples in one run.
        settings: the scenario.

    Raises:
        UsageError: the scenario does not fit the batch, the model's speed or the memory.
        MissingError: LoadGen is not installed.
        EdgeMLError: LoadGen left no verdict. What `run` raises is raised once LoadGen has ended.
    """
    with needs_extra("scenarios"):
        import mlperf_loadgen  # noqa: F401 (before the model is run)
    settings.check_batch(batch)
    run_ns = _typical_ns(run)
    for _ in range(ATTEMPTS):
        result, too_few_queries = _attempt(run, _plan(run_ns, batch, settings), settings)
        if not too_few_queries or settings.target_qps is not None:
            break
        run_ns /= _FASTER_THAN_EXPECTED
    return result


def _typical_ns(run: Callable[[int], object]) -> float:
    """Median time in nanoseconds of the runs of a warm-up.

    Disturbances only lengthen runs, so the mean, which decides how many queries are needed, is hardly ever shorter.
    """
    latencies: list[int] = []

    def take(runs: int) -> Sequence[int]:
        found = timed(run, [index % DISTINCT_SAMPLES for index in range(len(latencies), len(latencies) + runs)])
        latencies.extend(found)
        return found

    warm_up(take, int(WARM_UP_S * 1e9))
    return max(_SHORTEST_QUERY_NS, statistics.median(latencies))


def _plan(run_ns: float, batch: int, settings: ScenarioSettings) -> Plan:
    """What to tell LoadGen, given the time of a run.

    Raises:
        UsageError: far more is asked for than the model does, or the queries need more memory than there is.
    """
    typical_qps = 1e9 * batch / run_ns
    qps = typical_qps if settings.target_qps is None else settings.target_qps
    if qps > OVERLOAD_LIMIT * typical_qps:
        raise UsageError(
            f"target_qps is {qps:g}; the model answers about {typical_qps:.3g} samples a second here, and at most "
            f"{OVERLOAD_LIMIT} times that can be asked for"
        )
    seconds = settings.duration_s
    samples = settings.samples_a_query
    if settings.scenario == "offline":
        queries, samples = 1, math.ceil(_OFFLINE_SLACK * seconds * qps)
    elif settings.scenario == "server":
        queries = math.ceil(seconds * qps)
    else:  # LoadGen makes twice what it expects to need
        queries = max(settings.min_queries, math.ceil(2 * seconds * qps / samples))
    needed = queries * (BYTES_PER_QUERY + samples * BYTES_PER_SAMPLE)
    available = available_memory_bytes()
    if available is not None and needed > _MEMORY_SHARE * available:
        allowed_s = seconds * _MEMORY_SHARE * available / needed
        raise UsageError(
            f"min_duration_s is {settings.min_duration_s:g}; LoadGen makes all queries beforehand, and so many take "
            f"{needed / 1e6:.0f} MB of the {available / 1e6:.0f} MB available: ask for at most {allowed_s:.3g}"
        )
    most_waiting = 0
    if settings.target_latency_ms is not None and settings.percentile is not None and settings.scenario == "server":
        # The longest waiting query has waited most_waiting / qps seconds by then, and all that came since and exceed
        # the bound are more than the share that may: the run cannot become valid any more. Twice, for chance.
        late_s = settings.target_latency_ms / 1e3 + (1 - settings.percentile) * seconds
        most_waiting = 100 + math.ceil(2 * qps * late_s)
    return Plan(run_ns=run_ns, batch=batch, qps=qps, most_waiting=most_waiting)


def _attempt(run: Callable[[int], object], plan: Plan, settings: ScenarioSettings) -> tuple[ScenarioResult, bool]:
    """One run of LoadGen, and whether it ended early for want of queries."""
    import mlperf_loadgen as loadgen

    def complete(identifiers: Sequence[int]) -> None:
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(each, 0, 0) for each in identifiers])

    def nothing(_samples: Sequence[int]) -> None:
        """The feeds lie ready."""

    runs = Runs(run)
    queued = settings.scenario == "server"
    system: System = QueuedSystem(runs, complete) if queued else InlineSystem(runs, plan.batch, complete)
    with _log_directory() as directory:
        test_settings, log_settings = _test_settings(loadgen, plan, settings), _log_settings(loadgen, directory)
        library = loadgen.ConstructQSL(DISTINCT_SAMPLES, DISTINCT_SAMPLES, nothing, nothing)
        tested = loadgen.ConstructSUT(system.issue, system.flush)
        try:
            with _no_collection():
                # The last argument is a file whose settings would replace these; by default one in this directory.
                system.drive(lambda: loadgen.StartTestWithLogSettings(tested, library, test_settings, log_settings, ""))
        finally:
            loadgen.DestroySUT(tested)
            loadgen.DestroyQSL(library)
        if runs.error is not None:
            raise runs.error
        log = read_log(directory)
    result = scenario_result(
        log,
        settings,
        batch=plan.batch,
        expected_run_ns=plan.run_ns,
        runs=runs.count,
        spent_ns=runs.spent_ns,
    )
    return result, not log.min_duration_met and not queued


def _test_settings(loadgen: Any, plan: Plan, settings: ScenarioSettings) -> Any:
    """The settings as LoadGen takes them."""
    name = {"single-stream": "SingleStream", "multi-stream": "MultiStream", "server": "Server", "offline": "Offline"}
    found = loadgen.TestSettings()
    found.scenario = getattr(loadgen.TestScenario, name[settings.scenario])
    found.mode = loadgen.TestMode.PerformanceOnly
    found.min_duration_ms = max(1, round(1e3 * settings.min_duration_s))
    if settings.scenario != "server":  # whose end is known beforehand
        found.max_duration_ms = LONGEST_OVER_MIN_DURATION * found.min_duration_ms
    found.min_query_count = settings.min_queries
    found.qsl_rng_seed = found.sample_index_rng_seed = found.schedule_rng_seed = settings.seed
    match settings.scenario:
        case "single-stream":
            found.single_stream_expected_latency_ns = plan.run_ns
            found.single_stream_target_latency_percentile = settings.percentile
        case "multi-stream":
            found.multi_stream_samples_per_query = settings.samples_a_query
            found.multi_stream_expected_latency_ns = plan.run_ns * settings.samples_a_query / plan.batch
            found.multi_stream_target_latency_percentile = settings.percentile
        case "server":
            assert settings.target_latency_ms is not None
            found.server_target_qps = plan.qps
            found.server_target_latency_ns = max(1, round(1e6 * settings.target_latency_ms))
            found.server_target_latency_percentile = settings.percentile
            found.server_max_async_queries = plan.most_waiting
        case "offline":
            found.offline_expected_qps = plan.qps
    return found


def _log_settings(loadgen: Any, directory: Path) -> Any:
    output = loadgen.LogOutputSettings()
    output.outdir = str(directory)
    output.copy_summary_to_stdout = False
    found = loadgen.LogSettings()
    found.log_output = output
    found.enable_trace = False
    return found


@contextmanager
def _log_directory() -> Iterator[Path]:
    """A directory for LoadGen's logs, removed at the end."""
    try:
        directory = tempfile.TemporaryDirectory(prefix="edgeml-loadgen-")
    except OSError as error:
        raise EdgeMLError(f"LoadGen's log cannot be written: {error}; free some space or set TMPDIR") from error
    with directory as path:
        yield Path(path)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Python's garbage collector is off: a collection would land in some query."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
