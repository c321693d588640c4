"""The bench stage: measures model files on a device, compares them, and says under which conditions."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeml.core.artifact import Artifact
from edgeml.core.bench_result import Accuracy, BenchResult, Comparison, Contender
from edgeml.core.device import Device
from edgeml.core.errors import MissingError, UsageError
from edgeml.core.samples import Samples
from edgeml.edge_bench.accuracy import check_labels, paired_difference, top1
from edgeml.edge_bench.environment import host_info
from edgeml.edge_bench.labels import contender_labels
from edgeml.edge_bench.measure import BenchSettings, Entry, Measurement, Progress, measure
from edgeml.edge_bench.noise import noise_warnings
from edgeml.edge_bench.statistics import compare, verdicts
from edgeml.edge_bench.throttling import condition_warnings, read_conditions
from edgeml.edge_bench.verdict import baseline_index
from edgeml.runtime.registry import get_runtime, runtime_of_format
from edgeml.runtime.threads import available_threads


def bench(
    artifacts: Sequence[Artifact],
    *,
    device: Device,
    runtime: str | None = None,
    threads: Sequence[int] | None = None,
    samples: Sequence[Samples | None] | None = None,
    settings: BenchSettings | None = None,
    progress: Progress = lambda _task, _share: None,
    remarks: Sequence[str] = (),
) -> BenchResult:
    """Measure latency, memory, load time and accuracy of model files, interleaved in one run.

    Args:
        artifacts: what to measure; the same file may be given twice (an A/A test).
        device: where to run.
        runtime: what executes the models; None takes for each file the runtime that opens its format.
        threads: thread counts to measure every artifact with; None takes the cores this process may use.
        samples: labelled inputs for each artifact, or None to feed it random values and leave accuracy out.
        settings: how much to measure.
        progress: told what is being done.
        remarks: warnings that the caller already has on this run; they head the result's.

    Returns:
        The raw samples and what follows from them. Contenders are in the order of `artifacts`, each with every thread
        count; each is compared with its baseline: a binary network's int8 peer, the fp32 file of the same model and
        settings, else the first one.

    Raises:
        UsageError: options or files do not fit together.
        MissingError: the runtime or device is not there.
        EdgeMLError: a model could not be loaded or run.
    """
    settings = BenchSettings() if settings is None else settings
    data = tuple(samples) if samples is not None else (None,) * len(artifacts)
    thread_counts = tuple(dict.fromkeys(threads)) if threads else (available_threads(),)
    runtimes = [runtime_of_format(artifact.format) if runtime is None else runtime for artifact in artifacts]
    _check(artifacts, device, runtimes, thread_counts, data)
    host, before = host_info(), read_conditions()
    with tempfile.TemporaryDirectory(prefix="edgeml-bench-") as directory:
        entries, labels_of = _entries(artifacts, runtimes, thread_counts, data, Path(directory))
        measurement = measure(entries, settings, progress)
        accuracies = [_accuracy(entry, known) for entry, known in zip(entries, labels_of, strict=True)]
    contenders = tuple(
        _contender(entry, device, measurement, index, accuracies[index]) for index, entry in enumerate(entries)
    )
    conditions = condition_warnings(
        before,
        read_conditions(),
        frequencies_mhz=measurement.frequencies_mhz,
    )
    return BenchResult(
        contenders=contenders,
        comparisons=_comparisons(contenders),
        host=host,
        warnings=(*remarks, *conditions, *_contender_warnings(contenders, settings)),
    )


def _check(
    artifacts: Sequence[Artifact],
    device: Device,
    runtimes: Sequence[str],
    threads: Sequence[int],
    data: Sequence[Samples | None],
) -> None:
    if not artifacts:
        raise UsageError("there is nothing to measure; give at least one model file")
    if len(data) != len(artifacts):
        raise UsageError(f"there are {len(data)} sets of samples for {len(artifacts)} artifacts")
    if device.scheme != "local":
        raise MissingError(f"device {device} cannot be reached: this edgeml measures on the device 'local' only")
    if min(threads) < 1:
        raise UsageError(f"threads is {min(threads)}; it must be at least 1")
    for artifact, runtime, known in zip(artifacts, runtimes, data, strict=True):
        formats = get_runtime(runtime).formats
        if artifact.format not in formats:
            raise UsageError(
                f"{artifact.path} has the format {artifact.format}; {runtime} opens {', '.join(sorted(formats))}"
            )
        if known is not None and len(artifact.inputs) == 1:
            expected, found = artifact.inputs[0].shape[1:], known.inputs.shape[1:]
            if len(expected) != len(found) or any(
                isinstance(axis, int) and axis != size for axis, size in zip(expected, found, strict=True)
            ):
                raise UsageError(f"{artifact.path} takes inputs of shape {expected}; {known.name} gives {found}")
            check_labels(known, artifact.outputs[0].shape[-1] if artifact.outputs and artifact.outputs[0].shape else 0)


def _entries(
    artifacts: Sequence[Artifact],
    runtimes: Sequence[str],
    threads: Sequence[int],
    data: Sequence[Samples | None],
    directory: Path,
) -> tuple[list[Entry], list[Samples | None]]:
    """What to measure, with the samples written where every worker can read them, each set once."""
    files: dict[int, Path] = {}
    entries: list[Entry] = []
    labels_of: list[Samples | None] = []
    for artifact, runtime, known in zip(artifacts, runtimes, data, strict=True):
        if known is not None and id(known) not in files:
            files[id(known)] = directory / f"samples-{len(files)}.npy"
            np.save(files[id(known)], known.inputs)
        for count in threads:
            entries.append(
                Entry(
                    artifact=artifact,
                    runtime=runtime,
                    threads=count,
                    samples=None if known is None else files[id(known)],
                    logits=None if known is None else directory / f"logits-{len(entries)}.npy",
                )
            )
            labels_of.append(known)
    return entries, labels_of


def _accuracy(entry: Entry, samples: Samples | None) -> Accuracy | None:
    if samples is None or entry.logits is None:
        return None
    return top1(np.load(entry.logits), samples)


def _contender(
    entry: Entry, device: Device, measurement: Measurement, index: int, accuracy: Accuracy | None
) -> Contender:
    return Contender(
        artifact=str(entry.artifact.path),
        model=entry.artifact.model,
        precision=entry.artifact.precision,
        runtime=entry.runtime,
        device=str(device),
        threads=entry.threads,
        batch=measurement.batches[index],
        size_bytes=entry.artifact.size_bytes,
        sha256=entry.artifact.sha256,
        launches=measurement.launches[index],
        accuracy=accuracy,
        binary=entry.artifact.binary is not None,
        int8_peer=None if entry.artifact.int8_peer is None else entry.artifact.int8_peer.sha256,
    )


def _comparisons(contenders: Sequence[Contender]) -> tuple[Comparison, ...]:
    """Each contender against its baseline."""
    pairs = [(a, b) for a in range(len(contenders)) if (b := baseline_index(contenders, a)) != a]
    ratios = [compare(contenders[a].launches, contenders[b].launches) for a, b in pairs]
    found = []
    for (a, b), ratio, verdict in zip(pairs, ratios, verdicts(ratios), strict=True):
        difference, interval = _accuracy_difference(contenders[a].accuracy, contenders[b].accuracy)
        found.append(
            Comparison(
                a=a,
                b=b,
                ratio=ratio.value,
                ci95=ratio.ci95,
                verdict=verdict,
                accuracy_difference=difference,
                accuracy_ci95=interval,
            )
        )
    return tuple(found)


def _accuracy_difference(a: Accuracy | None, b: Accuracy | None) -> tuple[float | None, tuple[float, float] | None]:
    if a is None or b is None or (a.data, a.samples) != (b.data, b.samples):
        return None, None
    return paired_difference(a.correct, b.correct)


def _contender_warnings(contenders: Sequence[Contender], settings: BenchSettings) -> list[str]:
    labels = contender_labels(contenders)
    found = [
        f"{label}: {warning}"
        for label, contender in zip(labels, contenders, strict=True)
        for warning in noise_warnings(contender)
    ]
    if settings.batch > 1:
        found += [
            f"{label}: its batch is fixed, so it was measured at batch {contender.batch}, not {settings.batch}"
            for label, contender in zip(labels, contenders, strict=True)
            if contender.batch != settings.batch
        ]
    if len({contender.batch for contender in contenders}) > 1:
        found.append("contenders were measured at different batches; a latency is that of one run, not of one sample")
    return found
