"""The outcome of a benchmark run: raw samples are kept, every figure is derived from them when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeml.core.bench_profile import Energy, Profile
from edgeml.core.bench_scenario import ScenarioResult
from edgeml.core.bench_sustained import Sustained
from edgeml.core.host import HostInfo

Verdict = Literal["faster", "slower", "no difference shown"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A sample that the device and the reference on the host classify differently.

    Attributes:
        sample: its index in the data.
        label: its class in the data.
        found: the class found on the device.
        expected: the class found by the reference.
    """

    sample: int
    label: int
    found: int
    expected: int


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The same samples through a reference on the host, sample by sample.

    Attributes:
        artifact: the reference's file.
        runtime: what executed it on the host.
        value: the reference's accuracy.
        difference: accuracy on the device less the reference's.
        ci95: 95% interval of `difference`, paired by sample.
        differences: every sample that the two classify differently, in data order.
    """

    artifact: str
    runtime: str
    value: float
    difference: float
    ci95: tuple[float, float]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Share of samples classified right, through the same Session that is timed.

    Attributes:
        metric: "top-1".
        value: fraction in [0, 1].
        ci95: 95% interval of `value`.
        data: data set and split.
        samples: how many samples.
        correct: one flag a sample, in data order; lets two contenders be compared sample by sample.
        reference: the same samples on the host; None where no reference was asked for.
    """

    metric: str
    value: float
    ci95: tuple[float, float]
    data: str
    samples: int
    correct: tuple[bool, ...] = ()
    reference: Reference | None = None


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One start of a contender's process: its samples and what the start cost.

    Attributes:
        latency_ms: raw samples in the order taken, warm-up excluded.
        block: index of the interleaving round of each sample.
        warmup: how many runs were discarded before.
        stable: whether latency had settled when warm-up ended.
        load_ms: time to open the Session.
        peak_memory_bytes: highest resident memory of the process.
    """

    latency_ms: tuple[float, ...]
    block: tuple[int, ...]
    warmup: int
    stable: bool
    load_ms: float
    peak_memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One model file measured under one configuration.

    Attributes:
        artifact: path of the model file.
        model: the source it was made from.
        precision: arithmetic of what is not binary.
        runtime: what executed it.
        device: where.
        threads: threads inside one operator.
        batch: samples in one run.
        size_bytes: size of the model file.
        sha256: the file's digest.
        launches: raw samples, one entry a process; empty on a device whose timings mean nothing (an emulator).
        accuracy: None where no data was given.
        binary: whether it has binary layers.
        int8_peer: digest of the int8 network that a binary one is to be judged against, where its manifest names one.
        scenario: a load scenario run after the launches; None where none was asked for.
        sustained: minutes of load after the launches; None where none were asked for.
        profile: where the time goes; None where it was not asked for.
        energy: energy of a run; None where it was not asked for or the device has no counter.
    """

    artifact: str
    model: str
    precision: str
    runtime: str
    device: str
    threads: int
    batch: int
    size_bytes: int
    sha256: str
    launches: tuple[Launch, ...]
    accuracy: Accuracy | None
    binary: bool = False
    int8_peer: str | None = None
    scenario: ScenarioResult | None = None
    sustained: Sustained | None = None
    profile: Profile | None = None
    energy: Energy | None = None

    @property
    def latency_ms(self) -> tuple[float, ...]:
        """All samples of all launches."""
        return tuple(sample for launch in self.launches for sample in launch.latency_ms)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Contender `a` against contender `b`, as one ratio of time with its interval.

    Attributes:
        a: index of the contender judged.
        b: index of the contender it is judged against.
        ratio: latency of b over latency of a (above 1: a is faster), of medians.
        ci95: 95% interval of `ratio`.
        verdict: "faster" or "slower" (a than b) only where the interval excludes 1.
        accuracy_difference: accuracy of a less that of b; None where either was not measured.
        accuracy_ci95: 95% interval of that difference, paired by sample.
    """

    a: int
    b: int
    ratio: float
    ci95: tuple[float, float]
    verdict: Verdict
    accuracy_difference: float | None = None
    accuracy_ci95: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The device's state at one moment of a run.

    Attributes:
        time_s: seconds since the run began.
        frequency_mhz: of the fastest core; None where the device does not tell.
        temperature_c: of the hottest thermal zone; None where the device does not tell.
    """

    time_s: float
    frequency_mhz: float | None
    temperature_c: float | None


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """Everything one run of `edgeml bench` found on one device.

    Attributes:
        contenders: what was measured.
        comparisons: each against its baseline.
        host: the device's conditions.
        warnings: what a reader must know, a sentence each.
        readings: the device's state after each block of samples.
    """

    contenders: tuple[Contender, ...]
    comparisons: tuple[Comparison, ...]
    host: HostInfo
    warnings: tuple[str, ...]
    readings: tuple[Reading, ...] = ()
