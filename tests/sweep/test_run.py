"""Sweeps while they run: order, failures, the cache, and what is left of a sweep that was killed."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeml.edge_bench.store.store import Store
from tests.sweep.conftest import FakeSweep

SWEEP = """
models = ["a", "b"]
data = "digits"
precisions = ["fp32", "int8"]
runtimes = ["onnxruntime", "tvm"]
threads = [1, 2]
"""
ONE = SWEEP.replace('"a", "b"', '"a"')
BUILDS = 4  # of ONE


def together(fake_sweep: FakeSweep, text: str) -> list[tuple[list[str], list[str]]]:
    """The pairs of commands that ran at the same time and of which one has this word."""
    ended = {line["pid"]: line["time"] for line in fake_sweep.journal("end")}
    found = []
    for one, other in itertools.combinations(fake_sweep.journal("start"), 2):
        overlap = one["time"] < ended[other["pid"]] and other["time"] < ended[one["pid"]]
        if overlap and (text in one["words"] or text in other["words"]):
            found.append((one["words"], other["words"]))
    return found


def test_every_cell_is_built_measured_and_stored(fake_sweep: FakeSweep) -> None:
    outcome = fake_sweep.run(SWEEP)
    assert [cell.state for cell in outcome.cells] == ["done"] * 16
    assert {cell.run for cell in outcome.cells} == {1, 2}
    assert all(cell.median_ms == pytest.approx(2.003) for cell in outcome.cells)
    assert all(cell.artifact is not None and Path(cell.artifact).is_file() for cell in outcome.cells)
    assert [task.kind for task in outcome.tasks].count("measure") == 2
    assert len(fake_sweep.commands()) == 2 * BUILDS + 2
    with Store.open(fake_sweep.store) as store:
        # One model's cells are one run, so that their ratios are of samples taken in turn.
        assert [len(run.contenders) for run in store.runs()] == [8, 8]
    int8 = next(cell for cell in outcome.cells if cell.precision == "int8")
    assert int8.artifact is not None
    assert Path(int8.artifact).read_text() == "export of (export of (a))"


def test_builds_run_side_by_side_and_a_measurement_here_alone(
    fake_sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MEET", "a-fp32-host.so|a-int8.onnx")
    outcome = fake_sweep.run(ONE, jobs=3)
    assert not outcome.failed
    started = fake_sweep.journal("start")
    assert started[-1]["words"][0] == "bench"
    assert not together(fake_sweep, "bench")


def test_devices_are_measured_side_by_side_and_each_one_run_at_a_time(
    fake_sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MEET", "ssh://pi@one|ssh://pi@two")
    outcome = fake_sweep.run('models = ["a", "b"]\ndevices = ["ssh://pi@one", "ssh://pi@two", "local"]\n')
    assert not outcome.failed
    assert not together(fake_sweep, "local")
    for device in ("ssh://pi@one", "ssh://pi@two"):
        assert not [pair for pair in together(fake_sweep, device) if all(device in words for words in pair)]


def test_a_second_sweep_does_nothing_and_tells_the_same(fake_sweep: FakeSweep) -> None:
    first = fake_sweep.run(ONE)
    commands = len(fake_sweep.commands())
    second = fake_sweep.run(ONE)
    assert len(fake_sweep.commands()) == commands
    assert {cell.state for cell in second.cells} == {"cached"}
    assert [(cell.run, cell.median_ms) for cell in second.cells] == [(cell.run, cell.median_ms) for cell in first.cells]
    with Store.open(fake_sweep.store) as store:
        assert store.count() == 1


def test_only_what_changed_is_done_again(fake_sweep: FakeSweep) -> None:
    fake_sweep.run(ONE)
    before = len(fake_sweep.commands())
    fake_sweep.run(ONE + "[compile]\ntune = 5\n")
    again = fake_sweep.commands()[before:]
    assert sorted(command.split()[0] for command in again) == ["bench"] + ["compile"] * 2


def test_measuring_again_makes_no_file_again(fake_sweep: FakeSweep) -> None:
    fake_sweep.run(ONE)
    before = len(fake_sweep.commands())
    outcome = fake_sweep.run(ONE, again=True)
    assert [command.split()[0] for command in fake_sweep.commands()[before:]] == ["bench"]
    assert {cell.run for cell in outcome.cells} == {2}


def test_a_file_that_cannot_be_made_costs_only_the_cells_that_need_it(
    fake_sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "a-int8.onnx")
    outcome = fake_sweep.run(ONE)
    lost = [cell for cell in outcome.cells if cell.precision == "int8"]
    assert {cell.state for cell in lost} == {"not run"}
    assert {cell.reason for cell in lost} == {
        "export a int8 failed: a-int8.onnx cannot be made",
    } | {"export a int8 failed"}
    assert {cell.state for cell in outcome.cells if cell not in lost} == {"done"}
    assert len(outcome.failed) == 4
    failed = next(task for task in outcome.tasks if task.state == "failed")
    assert failed.log is not None
    assert "about to fail" in Path(failed.log).read_text()
    monkeypatch.delenv("FAKE_FAIL")
    assert not fake_sweep.run(ONE).failed


def test_a_file_that_cannot_be_measured_does_not_cost_the_others_theirs(
    fake_sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_sweep.run(ONE + "[bench]\nseconds = 9\n")  # makes the files
    monkeypatch.setenv("FAKE_FAIL", "a-fp32-host.so")
    outcome = fake_sweep.run(ONE)
    states = {(cell.precision, cell.runtime): cell.state for cell in outcome.cells}
    assert states.pop(("fp32", "tvm")) == "failed"
    assert set(states.values()) == {"done"}
    assert {cell.run for cell in outcome.cells} == {None, 2, 3, 4}
    assert "measure a fp32, tvm, alone on local" in [task.label for task in outcome.tasks]


def test_a_command_that_writes_nothing_has_failed(fake_sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LOSE", "a-fp32.onnx")
    outcome = fake_sweep.run('models = ["a"]')
    assert outcome.failed[0].reason == "export a fp32 failed: it ended well and did not write a-fp32.onnx"


def test_a_result_that_is_none_is_measured_anew(fake_sweep: FakeSweep) -> None:
    fake_sweep.run('models = ["a"]')
    (result,) = fake_sweep.cache.glob("*/results.json")
    result.write_text("{}")
    assert fake_sweep.run('models = ["a"]').failed
    assert not fake_sweep.run('models = ["a"]').failed


RUNNER = """
import sys
from pathlib import Path
from tests.sweep.conftest import FakeSweep
sweep = FakeSweep(Path(sys.argv[1]))
sweep.run()
print("whole", flush=True)
"""


def start(fake_sweep: FakeSweep) -> subprocess.Popen[str]:
    fake_sweep.file.write_text(ONE)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{os.environ['PYTHONPATH']}{os.pathsep}{root}"}
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, fake_sweep.directory], stdout=subprocess.PIPE, text=True, env=environment
    )


def wait_for(text: str, fake_sweep: FakeSweep) -> None:
    deadline = time.monotonic() + 60
    while not any(text in command for command in fake_sweep.commands()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def assert_nobody_is_left(fake_sweep: FakeSweep) -> None:
    deadline = time.monotonic() + 30
    while left := [line["pid"] for line in fake_sweep.journal() if alive(line["pid"])]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("how", "hangs"),
    [(signal.SIGKILL, "a-int8-host.so"), (signal.SIGKILL, "results.json"), (signal.SIGINT, "results.json")],
)
def test_a_killed_sweep_goes_on_where_it_was(
    fake_sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch, how: signal.Signals, hangs: str
) -> None:
    monkeypatch.setenv("FAKE_HANG", hangs)
    process = start(fake_sweep)
    wait_for(hangs, fake_sweep)
    process.send_signal(how)
    assert "whole" not in (process.communicate(timeout=60)[0] or "")
    assert process.returncode != 0
    assert_nobody_is_left(fake_sweep)
    monkeypatch.delenv("FAKE_HANG")
    kept = {path.name for path in fake_sweep.cache.iterdir() if (path / "task.json").is_file()}
    outcome = fake_sweep.run()
    assert not outcome.failed
    assert len(kept) == BUILDS if hangs == "results.json" else 2 <= len(kept) < BUILDS
    assert sum(task.state == "cached" for task in outcome.tasks) == len(kept)
    # What hung was begun twice, and beside it what was under way when the sweep was killed.
    assert BUILDS + 2 <= len(fake_sweep.commands()) <= BUILDS + 3
    with Store.open(fake_sweep.store) as store:
        assert store.count() == 1
    assert not list(fake_sweep.cache.glob("*.part"))


def test_two_sweeps_at_once_share_the_work(fake_sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_MEET", "a-fp32-host.so|a-int8.onnx")
    processes = [start(fake_sweep), start(fake_sweep)]
    assert [process.communicate(timeout=100)[0] for process in processes] == ["whole\n"] * 2
    assert len(fake_sweep.commands()) == BUILDS + 1
    with Store.open(fake_sweep.store) as store:
        assert store.count() == 1


def test_what_a_command_left_running_ends_with_it(fake_sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = str(100_000 + os.getpid())  # told apart from other suites on this machine
    monkeypatch.setenv("FAKE_CHILD", seconds)
    fake_sweep.run('models = ["a"]')
    left = subprocess.run(["pgrep", "-fx", f"sleep {seconds}"], capture_output=True, text=True, check=False).stdout
    assert left == ""
