"""The outcome of one run on a clip: raw samples are kept, every figure is derived from them when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeml.core.bench_result import Comparison
from edgeml.core.host import HostInfo
from edgeml.edge_bench.video.agreement import Agreement

Form = Literal["stream", "dense", "fp32"]


@dataclass(frozen=True, kw_only=True)
class ClipLaunch:
    """One start of a contender's process.

    Attributes:
        latency_ms: of each pass over the clip, one sample a frame.
        warmup: how many frames were run and discarded before.
        stable: whether latency had settled when warm-up ended.
        load_ms: time to open the files.
        peak_memory_bytes: highest resident memory of the process, with the clip's frames in it.
    """

    latency_ms: tuple[tuple[float, ...], ...]
    warmup: int
    stable: bool
    load_ms: float
    peak_memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution that is computed in tiles.

    Attributes:
        name: of the step.
        macs: multiplications and additions of a whole frame.
    """

    name: str
    macs: int


@dataclass(frozen=True, kw_only=True)
class FrameFacts:
    """What a stream tells of one frame.

    Attributes:
        key: whether it was computed whole.
        reason: why; None for a residual frame.
        changed: share of changed pixels of each gated step, in order.
        active_tiles: share of each layer's pixels that lie in tiles which were computed, in order.
    """

    key: bool
    reason: str | None
    changed: tuple[float, ...]
    active_tiles: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class VideoContender:
    """One form of the network.

    Attributes:
        form: a pair of files as a stream, its int8 or its fp32 file on every frame.
        files: paths of its files.
        threads: threads inside one operator.
        size_bytes: of its files together.
        launches: raw samples.
        facts: of each frame, for a stream; else empty.
        bit_operations: of each frame, the sum over steps of macs x weight bits x activation bits x share of what is
            computed; None where nothing tells.
        gated_steps: names of the steps in `FrameFacts.changed`.
        layers: those of `FrameFacts.active_tiles`.
        state_bytes: memory of one stream's states; 0 for a file that is run on every frame.
        agreement: with fp32 and with the truth; None where its output holds no classes.
    """

    form: Form
    files: tuple[str, ...]
    threads: int
    size_bytes: int
    launches: tuple[ClipLaunch, ...]
    facts: tuple[FrameFacts, ...]
    bit_operations: tuple[float, ...] | None
    gated_steps: tuple[str, ...]
    layers: tuple[Layer, ...]
    state_bytes: int
    agreement: Agreement | None


@dataclass(frozen=True, kw_only=True)
class VideoResult:
    """Everything one run on a clip found.

    Attributes:
        network: what its files' names begin with.
        mode: what a residual frame is, "gated" or "resq".
        native_kernel: the instruction set of the kernels that run the stream's own operators; None for standard ones.
        in_place: whether the states are updated where they lie.
        key_interval: frames between key frames; None for no limit.
        clip: name of the clip.
        frame_shape: channels, height and width.
        frames: how many.
        contenders: the stream first.
        comparisons: of the stream with each of the others, in amortized latency.
        host: the machine.
        warnings: what makes the figures less certain than their intervals say.
    """

    network: str
    mode: str
    native_kernel: str | None
    in_place: bool
    key_interval: int | None
    clip: str
    frame_shape: tuple[int, int, int]
    frames: int
    contenders: tuple[VideoContender, ...]
    comparisons: tuple[Comparison, ...]
    host: HostInfo
    warnings: tuple[str, ...]
