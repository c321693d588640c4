"""What must be alike for two runs to be compared: where it differs, latencies differ for that reason alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeml.core.bench_result import BenchResult, Contender
from edgeml.core.host import HostInfo

_HOST_FIELDS = {
    "machine": "machine",
    "processor": "cpu_model",
    "available cores": "available_cores",
    "CPU quota": "cgroup_cpu_quota",
    "governor": "governor",
    "virtualization": "virtualized",
    "system": "system",
}
# Packages that every timed call goes through, and those of one runtime. Others (scipy, onnx) run before or after.
_PACKAGES = ("python", "edgeml", "numpy")
_RUNTIME_PACKAGES = {"onnxruntime": ("onnxruntime",), "tvm": ("apache-tvm", "apache-tvm-ffi")}
_UNKNOWN = "not told"


@dataclass(frozen=True, kw_only=True)
class ContextDifference:
    """A condition that two runs do not share; as a string, with both its values.

    Attributes:
        name: the condition.
        baseline: its value in the baseline's run.
        judged: its value in the run that is judged.
    """

    name: str
    baseline: str
    judged: str

    def __str__(self) -> str:
        return f"{self.name} ({self.baseline}, then {self.judged})"


def context_differences(
    baseline: BenchResult, judged: BenchResult, pairs: Sequence[tuple[Contender, Contender]]
) -> tuple[ContextDifference, ...]:
    """Every condition that differs between two runs.

    Compared are the device, the machine and its processor, the cores and the quota that are left to a process, the
    governor, the hypervisor, the operating system's version, the versions of Python, numpy, edgeml and the runtimes in
    use, and for each pair of contenders threads, batch, runtime and the data that was fed. What one run does not tell
    and the other does counts as a difference; model files may differ.

    Args:
        baseline: the earlier run.
        judged: the later run.
        pairs: contenders that are compared, that of the baseline first.
    """
    found = [
        (name, _told(getattr(baseline.host, field)), _told(getattr(judged.host, field)))
        for name, field in _HOST_FIELDS.items()
    ]
    runtimes = dict.fromkeys(contender.runtime for pair in pairs for contender in pair)
    packages = [*_PACKAGES, *(name for runtime in runtimes for name in _RUNTIME_PACKAGES.get(runtime, ()))]
    found += [(name, _version(baseline.host, name), _version(judged.host, name)) for name in packages]
    for before, after in pairs:
        found += _of_contenders(before, after)
    return _distinct(found)


def _of_contenders(before: Contender, after: Contender) -> list[tuple[str, str, str]]:
    return [
        ("device", before.device, after.device),
        ("runtime", before.runtime, after.runtime),
        ("threads", str(before.threads), str(after.threads)),
        ("batch", str(before.batch), str(after.batch)),
        ("data", _data(before), _data(after)),
    ]


def _data(contender: Contender) -> str:
    """What was fed while timing: random values where there is no data."""
    accuracy = contender.accuracy
    return "random values" if accuracy is None else f"{accuracy.samples} samples of {accuracy.data}"


def _version(host: HostInfo, package: str) -> str:
    return dict(host.versions).get(package, _UNKNOWN)


def _told(value: object) -> str:
    return _UNKNOWN if value is None else str(value)


def _distinct(found: Iterable[tuple[str, str, str]]) -> tuple[ContextDifference, ...]:
    return tuple(
        ContextDifference(name=name, baseline=baseline, judged=judged)
        for name, baseline, judged in dict.fromkeys(found)
        if baseline != judged
    )
