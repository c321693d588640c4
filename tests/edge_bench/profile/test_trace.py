"""onnxruntime's trace is read as onnxruntime writes it, and as Chrome's format may say it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeml.core.errors import EdgeMLError
from edgeml.edge_bench.profile.trace import Tensor, read_trace

Event = dict[str, Any]


def run(start: int, duration: int) -> Event:
    return {"cat": "Session", "name": "model_run", "ts": start, "dur": duration, "args": {}}


def call(name: str, start: int, duration: int, operator: str = "Relu", index: int = 0, **sizes: int) -> Event:
    args = {
        "op_name": operator,
        "provider": "CPUExecutionProvider",
        "node_index": str(index),
        "input_type_shape": [{"float": [1, 4]}, {"uint8": []}],
        "output_type_shape": [{"float": [1, 4]}],
        **{f"{size}_size": str(value) for size, value in sizes.items()},
    }
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": duration, "args": args}


def write(directory: Path, events: list[Event]) -> Path:
    path = directory / "trace.json"
    path.write_text(json.dumps(events))
    return path


def test_times_are_medians_of_whole_microseconds_rounded_down(tmp_path: Path) -> None:
    events = []
    for index, duration in enumerate([900, 4, 5, 5]):
        events += [call("a", 1000 * index, duration), run(1000 * index, 990)]
    trace = read_trace(write(tmp_path, events), runs=3)
    # Classes [4, 5) of one and [5, 6) of two: half of the three lie below 5.25.
    assert trace.nodes[0].milliseconds == pytest.approx(5.25e-3)
    assert (trace.runs, trace.run_ms) == (3, 0.99)


def test_shapes_and_sizes_are_kept_and_weights_apart(tmp_path: Path) -> None:
    events = [call("a", 1, 2, activation=16, parameter=1, output=16), run(0, 10)]
    (node,) = read_trace(write(tmp_path, events), runs=1).nodes
    assert node.inputs == (Tensor("float32", (1, 4)), Tensor("uint8", ()))
    assert (node.inputs[0].bytes, node.inputs[1].bytes) == (16, 1)
    assert (node.activation_bytes, node.weight_bytes, node.output_bytes) == (16, 1, 16)


@pytest.mark.parametrize(
    ("inputs", "outputs", "dtype"),
    [
        ([{"bool": [4]}, {"float": [4]}], [{"float": [4]}], "float32"),
        ([{"bool": [4]}], [{"bool": [4]}], "bool"),
        ([], [{"int64": [4]}], "int64"),
        ([], [], ""),
    ],
)
def test_a_condition_is_not_what_an_operator_computes_with(
    tmp_path: Path, inputs: list[dict[str, list[int]]], outputs: list[dict[str, list[int]]], dtype: str
) -> None:
    event = call("a", 1, 2, "Where")
    event["args"] |= {"input_type_shape": inputs, "output_type_shape": outputs}
    (node,) = read_trace(write(tmp_path, [event, run(0, 10)]), runs=1).nodes
    assert node.dtype == dtype


def test_nodes_come_in_the_order_executed_and_calls_of_a_run_are_added_up(tmp_path: Path) -> None:
    events = [call("b", 10, 3, index=7), call("a", 14, 2), call("b", 17, 5, index=7, activation=8), run(9, 20)]
    first, second = read_trace(write(tmp_path, events), runs=1).nodes
    assert (first.name, first.calls, first.activation_bytes) == ("b", 2, 8)
    assert first.milliseconds == pytest.approx(9e-3)  # 3.5 and 5.5
    assert second.name == "a"


def test_what_runs_inside_a_loop_is_taken_off_the_loop(tmp_path: Path) -> None:
    inside = [call("step", 12 + 10 * index, 8, index=1) for index in range(3)]
    events = [*inside, call("loop", 10, 40, "Loop", index=2), call("after", 51, 3), run(9, 60)]
    by_name = {node.name: node for node in read_trace(write(tmp_path, events), runs=1).nodes}
    assert by_name["loop"].milliseconds == pytest.approx(15e-3)  # 40.5 less three times 8.5
    assert by_name["step"].calls == 3
    assert by_name["after"].milliseconds == pytest.approx(3.5e-3)


def test_runs_that_the_trace_has_no_room_for_are_told_of(tmp_path: Path) -> None:
    with pytest.raises(EdgeMLError, match="holds 1 runs of 2"):
        read_trace(write(tmp_path, [call("a", 1, 2), run(0, 10)]), runs=2)


@pytest.mark.parametrize("text", ["", "[{", "{}", "[1]", '[{"name": "model_run"}]', '[{"cat": "Node", "name": "a"}]'])
def test_what_is_no_trace_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trace.json"
    path.write_text(text)
    with pytest.raises(EdgeMLError, match="trace"):
        read_trace(path, runs=1)
