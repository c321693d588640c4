from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from edgeml.core.errors import UsageError
from edgeml.edge_bench.bench_settings import BenchSettings, Entry, Extras
from edgeml.edge_bench.conditions.device_state import DeviceState, read_state
from edgeml.edge_bench.conditions.throttling import Conditions
from edgeml.edge_bench.link import local_link
from edgeml.edge_bench.running import Running
from edgeml.edge_bench.sustain import interval_s, sustained, throttling_warning
from edgeml.runtime.onnx_file import open_artifact


class HotDevice:
    """Answers as a worker on a board that throttles from 80 degrees on, which it reaches after 300 s of load."""

    latency_ms = 2.0

    def __init__(self) -> None:
        self.clock_s = 1e6
        self.asked: list[str] = []

    def ask(self, command: str, *, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        assert timeout_s > arguments["seconds"]
        self.asked.append(command)
        self.clock_s += arguments["seconds"] + 0.02
        median_ms = 3.0 if self.hot else 2.0
        return {
            "runs": int(1e3 * arguments["seconds"] / median_ms),
            "median_ms": median_ms,
            "p90_ms": 1.1 * median_ms,
        }

    @property
    def hot(self) -> bool:
        return self.clock_s - 1e6 > 300

    def state(self) -> DeviceState:
        return DeviceState(
            conditions=Conditions(
                time_s=self.clock_s, busy_s=None, own_s=0.0, stolen_s=None, quota_stops_s=0.0, heat_stops=None
            ),
            frequency_mhz=1000.0 if self.hot else 1500.0,
            temperature_c=min(80.0, 40.0 + (self.clock_s - 1e6) * 40 / 300),
        )


def test_the_moment_of_throttling_is_told_with_frequency_and_temperature() -> None:
    device = HotDevice()
    found = sustained(cast("Running", device), 1800.0)
    assert found.seconds == 1800.0
    assert set(device.asked) == {"load"}
    assert len(found.points) == 180
    assert found.points[-1].time_s >= 1800
    assert found.throttling is not None
    assert abs(found.throttling.time_s - 300) <= 15
    assert found.throttling.slowdown == pytest.approx(1.5)
    assert found.throttling.frequency_drop == pytest.approx(1 / 3)
    assert found.throttling.cause == "heat"
    warning = throttling_warning(found)
    assert warning is not None
    assert "throttled for heat after" in warning
    assert "50% slower, frequency down by 33%, at 80 degrees Celsius" in warning


def test_a_load_that_holds_gives_points_and_no_warning(write_conv_net: Callable[..., Path]) -> None:
    artifact = open_artifact(write_conv_net())
    entry = Entry(artifact=artifact, runtime="onnxruntime", threads=1, samples=None, logits=None)
    with local_link() as link, ExitStack() as stack:
        running = Running(entry, 0, BenchSettings(seconds=0.1), link, stack)
        running.open()
        running.warm_up()
        found = sustained(running, 0.75)
    assert 1 <= len(found.points) <= 3
    assert found.points[-1].time_s >= 0.75
    assert all(point.runs > 0 and point.median_ms > 0 for point in found.points)
    assert [point.time_s for point in found.points] == sorted(point.time_s for point in found.points)
    assert throttling_warning(found) is None


@pytest.mark.parametrize(
    ("seconds", "expected"), [(10, 0.25), (120, 1.0), (1200, 10.0), (1800, 10.0), (3600, 10.0), (7200, 20.0)]
)
def test_a_load_has_at_most_a_few_hundred_points(seconds: float, expected: float) -> None:
    assert interval_s(seconds) == expected


def test_a_load_of_no_sensible_length_is_refused() -> None:
    for seconds in (9.0, 1e6, float("nan")):
        with pytest.raises(UsageError, match="must be from 10 to 86400 s"):
            Extras(sustained_s=seconds)


def test_the_state_of_this_machine_survives_json() -> None:
    state = read_state()
    assert DeviceState.from_json(state.to_json()) == state
    with pytest.raises(UsageError, match="the device's state is not of the form"):
        DeviceState.from_json({"conditions": {}})
