"""Tuning never makes a function slower, changes no result, and a run that was killed goes on where it was."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.compiler.tuning.measure import Bench, Contest, contest
from edgeml.compiler.tuning.records import TuningRecord, TuningRecords
from edgeml.compiler.tuning.tune import check_tunable, tune_functions
from edgeml.core.errors import MissingError, UsageError
from edgeml.core.target import Target

pytestmark = pytest.mark.tvm

HOST = Target.parse("host")
FASTER = Contest(ratio=0.5, ci95=(0.4, 0.6), agree=True)
TIE = Contest(ratio=0.9, ci95=(0.79, 1.01), agree=True)
WRONG = Contest(ratio=0.5, ci95=(0.4, 0.6), agree=False)

# A run that is killed while its second function is searched; the first one's record is written by then.
KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.compiler.test_tuning import HOST, FASTER, FakeBench, FakeSearch, net
from edgeml.compiler.tuning.tune import tune_functions

class Endless(FakeSearch):
    def best(self, function, trials):
        if self.searched:
            print("second", flush=True)
            time.sleep(600)
        return super().best(function, trials)

tune_functions(net(), HOST, trials=30, work_dir=Path({directory!r}), search=Endless(), bench=FakeBench(FASTER))
"""


class FakeSearch:
    """Finds for each function the schedule that unrolls nothing and orders nothing anew: the function as it is."""

    def __init__(self) -> None:
        self.searched: list[int] = []

    def best(self, function: Any, trials: int) -> Any | None:
        self.searched.append(trials)
        return function

    def close(self) -> None:
        pass


class FakeBench:
    """Says what it is told to say."""

    def __init__(self, answer: Contest | None) -> None:
        self._answer = answer

    def seconds(self, function: Any) -> float | None:
        return 1e-3

    def contest(self, first: Any, second: Any) -> Contest | None:
        return self._answer

    def close(self) -> None:
        pass


def net(batch: int | str = 1, softmax: str = "softmax") -> Any:
    """softmax(relu(x w)) twice over, fused: a matrix product with its activation, and a softmax, of fixed shape."""
    from tvm import relax, tirx

    rows = tirx.Var(batch, "int64") if isinstance(batch, str) else batch
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((rows, 24), "float32"))
    weight = relax.Var("weight", relax.TensorType((24, 24), "float32"))
    with builder.function("main", [x, weight]):
        with builder.dataflow():
            value = x
            for _ in range(2):
                product = builder.emit(relax.op.nn.relu(builder.emit(relax.op.matmul(value, weight))))
                value = builder.emit(getattr(relax.op.nn, softmax)(product))
            result = builder.emit_output(value)
        builder.emit_func_output(result)
    return relax.get_pipeline("zero")(builder.get())


def names(mod: Any) -> set[str]:
    """The module's functions without the Relax one."""
    return {variable.name_hint for variable in mod.get_global_vars()} - {"main"}


def run(mod: Any, *arrays: Any) -> Any:
    """The model's output."""
    import tvm
    from tvm import relax

    from edgeml.compiler.general.general_schedule import schedule_remaining

    executable = tvm.compile(schedule_remaining(mod, lanes=4), target=tvm.target.Target("llvm"))
    return relax.VirtualMachine(executable, tvm.cpu())["main"](*map(tvm.runtime.tensor, arrays)).numpy()


@pytest.fixture(scope="module")
def mod() -> Any:
    return net()


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    from edgeml.compiler.tvm_target import tvm_target

    found = Bench(tvm_target(HOST))
    yield found
    found.close()


@pytest.mark.parametrize("answer", [TIE, WRONG, None], ids=["tie", "wrong result", "cannot be run"])
def test_what_is_not_faster_for_certain_and_right_is_not_kept(mod: Any, tmp_path: Path, answer: Contest | None) -> None:
    import tvm

    tuned = tune_functions(mod, HOST, trials=20, work_dir=tmp_path, search=FakeSearch(), bench=FakeBench(answer))
    assert {function.kept for function in tuned.functions} == {"untuned"}
    tvm.ir.assert_structural_equal(tuned.module, mod)


def test_what_is_faster_takes_the_place_of_the_untuned_function(mod: Any, tmp_path: Path) -> None:
    lines = []
    tuned = tune_functions(
        mod,
        HOST,
        trials=20,
        work_dir=tmp_path,
        search=FakeSearch(),
        bench=FakeBench(FASTER),
        progress=lambda done, trials, line: lines.append((done, trials, line)),
    )
    assert {function.name for function in tuned.functions} == names(mod)
    assert {function.kept for function in tuned.functions} == {"tuned"}
    assert all("tirx.is_scheduled" in tuned.module[name].attrs for name in names(mod))
    assert lines[-1][:2] == (20, 20)
    assert "0.50 [0.40, 0.60] of the untuned time" in lines[-1][2]
    assert "tirx.is_scheduled" not in (mod[next(iter(names(mod)))].attrs or {})


def test_functions_that_are_called_more_often_get_more_trials(mod: Any, tmp_path: Path) -> None:
    search = FakeSearch()
    tuned = tune_functions(mod, HOST, trials=20, work_dir=tmp_path, search=search, bench=FakeBench(TIE))
    assert sum(search.searched) == 20
    assert len(search.searched) == len(tuned.functions)


def test_a_finished_run_repeats_nothing_and_more_trials_are_tried(mod: Any, tmp_path: Path) -> None:
    first, second, third = FakeSearch(), FakeSearch(), FakeSearch()
    for search, trials in ((first, 20), (second, 20), (third, 40)):
        tune_functions(mod, HOST, trials=trials, work_dir=tmp_path, search=search, bench=FakeBench(FASTER))
    assert first.searched
    assert not second.searched
    assert sum(third.searched) == 40


def test_a_killed_run_loses_the_function_it_was_at_and_no_other(mod: Any, tmp_path: Path) -> None:
    script = KILLED.format(root=str(Path(__file__).parents[2]), directory=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "second\n"
        os.kill(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    search = FakeSearch()
    tuned = tune_functions(mod, HOST, trials=30, work_dir=tmp_path, search=search, bench=FakeBench(FASTER))
    assert len(search.searched) == len(names(mod)) - 1
    assert {function.kept for function in tuned.functions} == {"tuned"}
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_a_function_of_symbolic_shape_is_left_alone_and_named(tmp_path: Path) -> None:
    symbolic, search, lines = net("batch"), FakeSearch(), []
    tuned = tune_functions(
        symbolic,
        HOST,
        trials=20,
        work_dir=tmp_path,
        search=search,
        bench=FakeBench(FASTER),
        progress=lambda _done, _trials, line: lines.append(line),
    )
    assert all(name in lines[0] for name in names(symbolic))
    assert set(tuned.symbolic) == names(symbolic)
    assert not search.searched
    assert not tuned.functions


def test_a_scheduled_function_is_left_alone_unless_it_has_an_alternative(mod: Any, tmp_path: Path) -> None:
    from edgeml.compiler.general.general_schedule import schedule_remaining

    kernels, search = schedule_remaining(mod, lanes=4), FakeSearch()
    options: dict[str, Any] = {"trials": 20, "work_dir": tmp_path, "search": search, "bench": FakeBench(FASTER)}
    assert not tune_functions(kernels, HOST, **options).functions
    (name, *_) = sorted(names(mod))
    tuned = tune_functions(kernels, HOST, kernel_alternatives={name: mod[name]}, **options)
    assert [function.name for function in tuned.functions] == [name]
    assert search.searched == [20]


@pytest.mark.slow
def test_schedules_found_by_real_trials_compute_what_the_untuned_do(mod: Any, tmp_path: Path) -> None:
    tuned = tune_functions(mod, HOST, trials=8, work_dir=tmp_path, bench=FakeBench(FASTER))
    assert "tuned" in {function.kept for function in tuned.functions}
    generator = np.random.default_rng(0)
    x = generator.standard_normal((1, 24), np.float32)
    weight = generator.standard_normal((24, 24), np.float32)
    value = x.astype(np.float64)
    for _ in range(2):
        value = np.exp(np.maximum(value @ weight, 0))
        value /= value.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(run(tuned.module, x, weight), value, rtol=1e-5)
    np.testing.assert_allclose(run(tuned.module, x, weight), run(mod, x, weight), rtol=1e-5)


def test_two_functions_that_compute_different_things_do_not_agree(mod: Any, bench: Bench) -> None:
    from edgeml.compiler.general.general_schedule import schedule_remaining

    other_net = net(softmax="log_softmax")
    (name,) = (name for name in names(mod) if "softmax" in name)
    plain, scheduled = mod[name], schedule_remaining(mod, lanes=4)[name]
    same = bench.contest(plain, scheduled)
    assert same is not None
    assert same.agree
    assert 0 < same.ci95[0] <= same.ratio <= same.ci95[1]
    (other,) = (function for name, function in other_net.functions_items() if "softmax" in name.name_hint)
    different = bench.contest(plain, other)  # the same arguments, another result
    assert different is not None
    assert not different.agree
    assert not different.second_is_better


def test_a_contest_is_won_only_where_its_interval_lies_below_one() -> None:
    generator = np.random.default_rng(0)
    noise = np.exp(generator.normal(0, 0.2, (2, 20, 2)))
    even = contest((*map(tuple, noise[0]), *((second, first) for first, second in noise[0])), agree=True)
    assert even.ci95[0] < 1 < even.ci95[1]
    assert not even.second_is_better
    faster = contest(tuple((first, second / 2) for first, second in noise[1]), agree=True)
    assert faster.second_is_better
    assert faster.ratio == pytest.approx(0.5, rel=0.2)
    assert not contest(tuple((first, second / 2) for first, second in noise[1]), agree=False).second_is_better


def test_a_record_reads_as_it_was_written_and_a_broken_one_counts_as_absent(tmp_path: Path) -> None:
    records = TuningRecords(tmp_path)
    for record in (TuningRecord(trials=3), TuningRecord(trials=9, ratio=0.5, ci95=(0.4, 0.6), tuned="{}")):
        records.save("key", record)
        assert records.load("key") == record
    records.save_times({"key": 0.25})
    assert records.load_times() == {"key": 0.25}
    for text in ("", "[]", "{}", json.dumps({"format": 1, "trials": 3}), json.dumps({"format": 99, "trials": 3})):
        (tmp_path / "key.json").write_text(text)
        assert records.load("key") is None
    assert records.load("absent") is None


@pytest.mark.parametrize("target", ["rpi4", "jetson-orin", "llvm -cpu=pentium4"])
def test_a_target_that_is_not_this_machine_is_refused_with_the_way_round(target: str) -> None:
    with pytest.raises(MissingError, match="--target host --tune N` on the device itself"):
        check_tunable(Target.parse(target))


def test_a_missing_package_of_the_tuner_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(MissingError, match=r"xgboost is not installed.*edgeml\[tune\]"):
        check_tunable(HOST)


def test_records_made_under_other_conditions_are_not_used(
    monkeypatch: pytest.MonkeyPatch, mod: Any, tmp_path: Path
) -> None:
    search = FakeSearch()
    for threads in ("1", "2", "1"):
        monkeypatch.setenv("TVM_NUM_THREADS", threads)
        tune_functions(mod, HOST, trials=20, work_dir=tmp_path, search=search, bench=FakeBench(TIE))
    assert sum(search.searched) == 40


def test_no_trials_at_all_is_a_usage_error(mod: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 trials"):
        tune_functions(mod, HOST, trials=0, work_dir=tmp_path)
