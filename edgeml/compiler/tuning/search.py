"""Searches a fast schedule for one function by trying many, with MetaSchedule, TVM's tuner."""

from __future__ import annotations

import importlib
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgeml.compiler.pipeline import BUILD_CONFIG
from edgeml.core.errors import needs_extra

if TYPE_CHECKING:
    import tvm

_TRIALS_A_ROUND = 64
_POPULATION = 512
_INTRINSICS = "tvm.s_tir.tensor_intrin"


def check_packages() -> None:
    """Check that the packages are there which MetaSchedule needs besides TVM.

    Raises:
        MissingError: one is not.
    """
    with needs_extra("tune"):
        for package in ("tvm", "cloudpickle", "psutil", "xgboost"):
            importlib.import_module(package)


class Search:
    """Builds and runs schedules in processes of their own, each under a time limit.

    Args:
        target: what to build for; this very machine.
        workers: how many schedules are built at the same time.
        build_timeout_s: time limit for building one schedule.
        run_timeout_s: time limit for running one.
    """

    def __init__(
        self,
        target: tvm.target.Target,
        *,
        workers: int = 1,
        build_timeout_s: float = 60.0,
        run_timeout_s: float = 30.0,
    ) -> None:
        check_packages()
        self._target = target
        self._workers = workers
        self._directory = tempfile.TemporaryDirectory(prefix="edgeml-tune-", ignore_cleanup_errors=True)
        self._builder, self._pool = _builder(workers, build_timeout_s, self._directory.name)
        self._run_timeout_s = run_timeout_s
        _quiet()

    def best(self, function: Any, trials: int, *, seed: int = 0) -> Any | None:
        """The fastest schedule found for `function` within that many trials; None where none could be run."""
        import tvm
        from tvm.s_tir import meta_schedule as ms

        module = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
        database = ms.database.MemoryDatabase()
        with _without_intrinsics():
            context = ms.TuneContext(
                module,
                target=self._target,
                space_generator=_space(),
                search_strategy=_strategy(trials),
                rand_state=seed + 1,
                num_threads=self._workers,
                logger=logging.getLogger(__name__),
            )
            ms.tune.tune_tasks(
                tasks=[context.clone()],
                task_weights=[1.0],
                work_dir=self._directory.name,
                max_trials_global=trials,
                num_trials_per_iter=min(trials, _TRIALS_A_ROUND),
                builder=self._builder,
                runner=self._runner,
                database=database,
            )
            schedule = database.query_schedule(module, self._target, "main")
        return None if schedule is None else schedule.mod["main"]

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown()
        if "_runner" in self.__dict__:
            self._runner.pool.shutdown()
        self._directory.cleanup()

    @cached_property
    def _runner(self) -> Any:
        """Starts a process, so only once there is something to run."""
        from tvm.s_tir import meta_schedule as ms

        config = ms.runner.EvaluatorConfig(number=1, repeat=1, min_repeat_ms=20)
        return ms.runner.LocalRunner(timeout_sec=self._run_timeout_s, evaluator_config=config)


def _space() -> Any:
    """TVM's rules for any processor, but for two things.

    None changes the layout of an argument: it is packed already. And loops are unrolled to 64 steps, not 512, which for
    vectors of sixteen keeps LLVM busy for a minute and more a schedule.
    """
    from tvm.s_tir import meta_schedule as ms

    unroll = ms.schedule_rule.ParallelizeVectorizeUnroll(
        max_jobs_per_core=16, max_vectorize_extent=64, unroll_max_steps=[0, 16, 64], unroll_explicit=True
    )
    rules = [
        unroll if isinstance(rule, ms.schedule_rule.ParallelizeVectorizeUnroll) else rule
        for rule in ms.schedule_rule.ScheduleRule.create("llvm")
    ]
    kept = [each for each in ms.postproc.Postproc.create("llvm") if not isinstance(each, ms.postproc.RewriteLayout)]
    return ms.space_generator.PostOrderApply(
        sch_rules=rules,
        postprocs=kept,
        mutator_probs=ms.mutator.Mutator.create("llvm"),
    )


def _strategy(trials: int) -> Any:
    """An evolutionary search whose population fits the number of trials: breeding it is most of the time of few."""
    from tvm.s_tir import meta_schedule as ms

    population = min(_POPULATION, 8 * trials)
    return ms.search_strategy.EvolutionarySearch(population_size=population, init_min_unmeasured=min(50, population))


def _builder(workers: int, timeout_s: float, directory: str) -> tuple[Any, Any]:
    """A builder that writes to `directory`, and its processes.

    TVM's own starts new processes for each function and loads every hardware intrinsic it knows in each, 15 s in all.
    """
    from tvm.ir.utils import derived_object
    from tvm.s_tir import meta_schedule as ms
    from tvm.support.popen_pool import PopenPoolExecutor, StatusKind

    pool = PopenPoolExecutor(max_workers=workers, timeout=timeout_s, maximum_process_uses=500)

    @derived_object
    class Builder(ms.builder.PyBuilder):  # type: ignore[misc]
        def build(self, build_inputs: list[Any]) -> list[Any]:
            jobs = [(each.mod, each.target, directory) for each in build_inputs]
            return [
                ms.builder.BuilderResult(answer.value, None)
                if answer.status == StatusKind.COMPLETE
                else ms.builder.BuilderResult(None, str(answer.value) or "time limit")
                for answer in pool.map_with_error_catching(_build_job, jobs)
            ]

    return Builder(), pool


def _build_job(job: tuple[Any, Any, str]) -> str:
    """The path of a file with the built function; it lies alone in its directory, which the tuner removes."""
    import tvm
    from tvm.support.tar import tar

    module, target, directory = job
    path = Path(tempfile.mkdtemp(dir=directory), f"function.{tar.output_format}")
    with tvm.transform.PassContext(opt_level=3, config=BUILD_CONFIG):
        tvm.compile(module, target=target).export_library(str(path), fcompile=tar)
    return str(path)


@contextmanager
def _without_intrinsics() -> Iterator[None]:
    """While it lasts TVM believes to have loaded its hardware intrinsics.

    It would load all of them for every tuning, those of CUDA first, which takes 15 s; the rules above use none.
    """
    loaded = sys.modules.get(_INTRINSICS)
    sys.modules[_INTRINSICS] = loaded or ModuleType(_INTRINSICS)
    try:
        yield
    finally:
        if loaded is None:
            del sys.modules[_INTRINSICS]


def _quiet() -> None:
    """Keep the tuner's tables off stderr; what matters is told through the progress callback."""
    for name in ("tvm.s_tir.meta_schedule", __name__):
        logging.getLogger(name).setLevel(logging.ERROR)
