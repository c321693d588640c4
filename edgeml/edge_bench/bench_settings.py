"""What is to be measured, and how much of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from edgeml.core.artifact import Artifact
from edgeml.core.errors import UsageError
from edgeml.edge_bench.scenarios.settings import ScenarioSettings

WARM_UP_SHARE = 0.3
SAMPLES_LIMIT = 2000
"""Most samples of one launch: more would only swell the results file."""

ENERGY_S = 10.0
PROFILE_RUNS = 30
SHORTEST_SUSTAINED_S, LONGEST_SUSTAINED_S = 10.0, 86_400.0


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """How much to measure.

    Attributes:
        seconds: time for each contender's runs, warm-up included, over all launches together.
        launches: processes started for each contender, one after the other; at least 2.
        samples: timed runs of each contender over all launches, in place of the time limit.
        batch: samples fed in one run, where the model does not fix it.
        seed: decides the order of contenders and the random feeds.
    """

    seconds: float = 4.0
    launches: int = 5
    samples: int | None = None
    batch: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise UsageError(f"seconds is {self.seconds}; it must be above 0")
        if self.launches < 2:
            raise UsageError(
                f"launches is {self.launches}; it must be at least 2, since launches differ from each other"
            )
        if self.samples is not None and self.samples < self.launches:
            raise UsageError(f"samples is {self.samples}; it must be at least 1 for each of {self.launches} launches")
        if self.batch < 1:
            raise UsageError(f"batch is {self.batch}; it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What is measured of each contender after its launches, alone on the device.

    Attributes:
        scenario: a load scenario to run; None for none.
        sustained_s: seconds of uninterrupted load; None for none.
        profile: whether to tell where the time goes.
        energy: whether to measure the energy of a run.
    """

    scenario: ScenarioSettings | None = None
    sustained_s: float | None = None
    profile: bool = False
    energy: bool = False

    def __post_init__(self) -> None:
        seconds = self.sustained_s
        if seconds is not None and not SHORTEST_SUSTAINED_S <= seconds <= LONGEST_SUSTAINED_S:
            raise UsageError(
                f"sustained load of {seconds:g} s is asked for; it must be from {SHORTEST_SUSTAINED_S:g} to "
                f"{LONGEST_SUSTAINED_S:g} s"
            )

    @property
    def asked_for(self) -> tuple[str, ...]:
        """What is to be measured, in words."""
        wanted = {
            "energy": self.energy,
            "a load scenario": self.scenario is not None,
            "a profile": self.profile,
            "sustained load": self.sustained_s is not None,
        }
        return tuple(name for name, asked in wanted.items() if asked)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One contender to be measured.

    Attributes:
        artifact: the model file.
        runtime: name of the runtime.
        threads: threads inside one operator; None takes the cores that a process on the device may use.
        samples: file of float32 (sample, channels, height, width) inputs as .npy; None feeds random values.
        logits: where to write the first output for every sample; None leaves accuracy out.
    """

    artifact: Artifact
    runtime: str
    threads: int | None
    samples: Path | None
    logits: Path | None


def runs_of_launch(settings: BenchSettings, replicate: int, latency_ms: float) -> int:
    """Timed runs of one launch: its part of the samples asked for, or what fits the time, at least 2."""
    if settings.samples is not None:
        return settings.samples // settings.launches + (replicate < settings.samples % settings.launches)
    time_ms = (1 - WARM_UP_SHARE) * settings.seconds / settings.launches * 1e3
    return max(2, min(SAMPLES_LIMIT, int(time_ms / max(latency_ms, 1e-3))))
