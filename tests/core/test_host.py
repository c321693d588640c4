import json
from dataclasses import replace
from typing import Any

import pytest

from edgeml.core.errors import UsageError
from edgeml.core.host import HostInfo

FULL = HostInfo(
    machine="aarch64",
    system="Linux 6.6",
    cpu_model="Cortex-A76",
    cpu_features=("asimddp", "fphp"),
    logical_cores=4,
    available_cores=2,
    cgroup_cpu_quota=1.5,
    memory_bytes=8 << 30,
    governor="performance",
    frequency_mhz=(2400.0, 2400.0),
    temperature_c=51.5,
    load_average=(0.5, 0.25, 0.125),
    virtualized="none",
    versions=(("python", "3.11.7"), ("numpy", "2.4.0")),
    time="2025-01-01T00:00:00+00:00",
)
BARE = replace(
    FULL,
    cgroup_cpu_quota=None,
    memory_bytes=None,
    governor=None,
    temperature_c=None,
    load_average=None,
    virtualized=None,
)


@pytest.mark.parametrize("host", [FULL, BARE])
def test_json_gives_the_host_back(host: HostInfo) -> None:
    assert HostInfo.from_json(json.loads(json.dumps(host.to_json()))) == host


@pytest.mark.parametrize(
    "change",
    [
        {"load_average": [1.0]},
        {"load_average": "123"},
        {"versions": ["numpy"]},
        {"versions": {"numpy": 2}},
        {"logical_cores": "4"},
        {"cpu_features": "avx2"},
        {"temperature_c": float("nan")},
        {"unknown": 1},
    ],
)
def test_json_of_another_form_is_a_usage_error(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        HostInfo.from_json(FULL.to_json() | {"cpu_features": [], "frequency_mhz": []} | change)
