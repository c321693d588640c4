"""Where a model's time and energy go, as measured on the device it ran on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OperatorTime:
    """One operator of the graph that was executed, after the runtime's own optimizations.

    Attributes:
        name: the node's name; of a compiled library, the function's.
        operator: its type ("Conv", "QLinearConv", "BinaryConv"); of a compiled library, the kernel it became.
        kernel: what executed it: onnxruntime's execution provider, "edgeml" for a kernel of ours, "tvm".
        precision: dtype of what it reads ("float32", "uint8"); of a quantized operator that of its codes.
        milliseconds: median over runs of the time spent in it, all its calls in a run together.
        share: that time over the sum of all operators' times, in [0, 1].
        calls: calls in one run.
        macs: multiply-accumulates of one run; None where they are not known.
        bytes_moved: bytes read and written at least once in one run: inputs, weights and outputs; None where unknown.
        gflops: 2 * macs / time, in 1e9 operations a second; None where macs are not known.
        share_of_roof: gflops over what the roofline allows at this operator's bytes (Williams, Waterman, Patterson,
            CACM 2009); None without peaks.
        bound: which roof is the lower one there: "compute" or "memory"; None without peaks.
        fallback: why it is not executed as asked, in words ("float32 in an int8 model", "runs as its body in standard
            operators"); None where it is.
    """

    name: str
    operator: str
    kernel: str
    precision: str
    milliseconds: float
    share: float
    calls: int
    macs: int | None = None
    bytes_moved: int | None = None
    gflops: float | None = None
    share_of_roof: float | None = None
    bound: str | None = None
    fallback: str | None = None


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """What the device can do at most, measured right beside the model with as many threads.

    Attributes:
        gflops_float32: largest rate of a float32 matrix product, in 1e9 operations (2 a multiply-accumulate) a second.
        gops_int8: the same for 8-bit integers; None where nothing measures it.
        gigabytes_per_second: largest rate of reading and writing memory that exceeds the caches.
        method: what measured them, in words.
    """

    gflops_float32: float
    gops_int8: float | None
    gigabytes_per_second: float
    method: str


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Per-operator times of one contender.

    Attributes:
        source: the profiler ("onnxruntime's profiler", "TVM's virtual machine").
        runs: runs it was taken over.
        run_ms: median time of a whole run while profiling, which is slower than without.
        operators: in the order executed.
        peaks: None where they were not measured.
    """

    source: str
    runs: int
    run_ms: float
    operators: tuple[OperatorTime, ...]
    peaks: Peaks | None


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Energy of one run.

    Attributes:
        source: the counter or sensor ("RAPL package-0", "INA3221 VDD_IN").
        joules_per_run: what the whole device took, idle power included.
        ci95: 95% interval of `joules_per_run`.
        net_joules_per_run: less what the idle device would have taken in that time.
        idle_watts: power while nothing ran, measured just before.
        seconds: time measured.
    """

    source: str
    joules_per_run: float
    ci95: tuple[float, float]
    net_joules_per_run: float
    idle_watts: float
    seconds: float
