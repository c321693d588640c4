"""The bench stage: measures model files on a device, compares them, and says under which conditions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgeml.core.artifact import Artifact
from edgeml.core.bench_result import Accuracy, BenchResult, Comparison, Contender
from edgeml.core.device import Device
from edgeml.core.samples import Samples
from edgeml.edge_bench.accuracy import paired_difference, top1
from edgeml.edge_bench.bench_checks import check_artifacts, check_device, check_packages
from edgeml.edge_bench.bench_settings import BenchSettings, Entry, Extras
from edgeml.edge_bench.devices.connection import Connection
from edgeml.edge_bench.devices.profiles import DeviceProfile
from edgeml.edge_bench.link import Connect, Link
from edgeml.edge_bench.measure import Measurement, Progress, measure
from edgeml.edge_bench.noise import noise_warnings
from edgeml.edge_bench.reference import References, default_reference, with_reference
from edgeml.edge_bench.statistics import compare, verdicts
from edgeml.edge_bench.sustain import throttling_warning
from edgeml.edge_bench.verdicts.labels import contender_labels
from edgeml.edge_bench.verdicts.verdict import baseline_index
from edgeml.runtime.registry import runtime_of_format
from edgeml.runtime.threads import available_threads


def bench(
    artifacts: Sequence[Artifact],
    *,
    device: Device,
    profile: DeviceProfile | None = None,
    runtime: str | None = None,
    threads: Sequence[int] | None = None,
    samples: Sequence[Samples | None] | None = None,
    reference: Artifact | None = None,
    settings: BenchSettings | None = None,
    extras: Extras | None = None,
    progress: Progress = lambda _task, _share: None,
    remarks: Sequence[str] = (),
    connect: Connect | None = None,
) -> BenchResult:
    """Measure latency, memory, load time and accuracy of model files on a device, interleaved in one run.

    Args:
        artifacts: what to measure; the same file may be given twice (an A/A test).
        device: where to run.
        profile: how the device is reached; None takes its address and the defaults.
        runtime: what executes the models; None takes for each file the runtime that opens its format.
        threads: thread counts to measure every artifact with; None takes the cores that a process there may use.
        samples: labelled inputs for each artifact, or None to feed it random values and leave accuracy out.
        reference: an ONNX file whose answers on this machine the device's are held to; on another device than this
            machine, None takes for each file the one that `default_reference` finds.
        settings: how much to measure.
        extras: what to measure of each contender alone, after its launches.
        progress: told what is being done.
        remarks: warnings that the caller already has on this run; they head the result's.
        connect: opens the connection to the device; None takes `edgeml.edge_bench.devices.connect.connect`.

    Returns:
        The raw samples and what follows from them. Contenders are in the order of `artifacts`, each with every thread
        count; each is compared with its baseline: a binary network's int8 peer, the fp32 file of the same model and
        settings, else the first one. On an emulator there is accuracy alone, and nothing is compared.

    Raises:
        UsageError: options or files do not fit together.
        MissingError: the runtime or device, or what they need, is not there.
        DeviceLostError: the link to the device was cut and could not be restored.
        EdgeMLError: a model could not be loaded or run, or the device is in use.
    """
    settings = BenchSettings() if settings is None else settings
    extras = Extras() if extras is None else extras
    if extras.scenario is not None:
        extras.scenario.check_batch(settings.batch)  # LoadGen looks again, at the batch that the model fixes
    data = tuple(samples) if samples is not None else (None,) * len(artifacts)
    thread_counts = tuple(dict.fromkeys(threads)) if threads else None
    runtimes = [runtime_of_format(artifact.format) if runtime is None else runtime for artifact in artifacts]
    references = [
        default_reference(artifact) if reference is None and device.scheme != "local" else reference
        for artifact in artifacts
    ]
    check_artifacts(artifacts, device, runtimes, thread_counts, data, references)
    if thread_counts is None and device.scheme not in {"ssh", "adb"}:
        thread_counts = (available_threads(),)
    with (
        tempfile.TemporaryDirectory(prefix="edgeml-bench-") as name,
        Link(_connect(device, profile) if connect is None else connect) as link,
    ):
        directory = Path(name)
        check_device(link.connection, extras, data)
        entries, origins = _entries(artifacts, runtimes, thread_counts or (None,), data, directory)
        measurement = measure(entries, settings, progress, link, extras, check=check_packages)
        known = References(directory)
        accuracies = [
            _accuracy(entry, data[origin], references[origin], known)
            for entry, origin in zip(entries, origins, strict=True)
        ]
        told = _device_warnings(link.connection)
    contenders = tuple(
        _contender(entry, device, measurement, index, accuracies[index]) for index, entry in enumerate(entries)
    )
    return BenchResult(
        contenders=contenders,
        comparisons=_comparisons(contenders),
        host=measurement.host,
        warnings=(
            *remarks,
            *told,
            *measurement.warnings,
            *_contender_warnings(contenders, settings),
            *_energy_warnings(measurement),
        ),
        readings=measurement.readings,
    )


def _connect(device: Device, profile: DeviceProfile | None) -> Connect:
    @contextmanager
    def opened() -> Iterator[Connection]:
        from edgeml.edge_bench.devices.connect import connect

        with connect(device, profile) as connection:
            yield connection

    return opened


def _entries(
    artifacts: Sequence[Artifact],
    runtimes: Sequence[str],
    threads: Sequence[int | None],
    data: Sequence[Samples | None],
    directory: Path,
) -> tuple[list[Entry], list[int]]:
    """What to measure, each set of samples written once; and the index of the artifact of each."""
    files: dict[int, Path] = {}
    entries: list[Entry] = []
    origins: list[int] = []
    for origin, (artifact, runtime, known) in enumerate(zip(artifacts, runtimes, data, strict=True)):
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
            origins.append(origin)
    return entries, origins


def _accuracy(entry: Entry, samples: Samples | None, reference: Artifact | None, known: References) -> Accuracy | None:
    if samples is None or entry.logits is None or entry.samples is None:
        return None
    logits = np.load(entry.logits)
    accuracy = top1(logits, samples)
    if reference is None:
        return accuracy
    return with_reference(accuracy, logits, known.logits(reference, entry.samples), reference, samples)


def _contender(
    entry: Entry, device: Device, measurement: Measurement, index: int, accuracy: Accuracy | None
) -> Contender:
    findings = measurement.findings[index]
    return Contender(
        artifact=str(entry.artifact.path),
        model=entry.artifact.model,
        precision=entry.artifact.precision,
        runtime=entry.runtime,
        device=str(device),
        threads=measurement.threads[index],
        batch=measurement.batches[index],
        size_bytes=entry.artifact.size_bytes,
        sha256=entry.artifact.sha256,
        launches=measurement.launches[index],
        accuracy=accuracy,
        binary=entry.artifact.binary is not None,
        int8_peer=None if entry.artifact.int8_peer is None else entry.artifact.int8_peer.sha256,
        scenario=findings.scenario,
        sustained=findings.sustained,
        profile=findings.profile,
        energy=findings.energy,
    )


def _comparisons(contenders: Sequence[Contender]) -> tuple[Comparison, ...]:
    """Each contender against its baseline."""
    pairs = [
        (a, b)
        for a in range(len(contenders))
        if (b := baseline_index(contenders, a)) != a and contenders[a].launches and contenders[b].launches
    ]
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


def _device_warnings(connection: Connection) -> list[str]:
    """What a reader must know of figures from this kind of device."""
    device = connection.device
    if not connection.measures_latency:
        return [f"{device} is an emulator: its times mean nothing, so none were taken; the host told is the emulator's"]
    if connection.worker_device != "local":
        return [
            f"{device} is reached over RPC: latency is by its own clock, load time holds the way there, and memory, "
            "frequency and temperature are not told; contenders ran one after the other in each launch, since TVM's "
            "server takes one connection at a time; the host told is the machine that holds the connection"
        ]
    return []


def _energy_warnings(measurement: Measurement) -> list[str]:
    reasons = dict.fromkeys(each.no_energy for each in measurement.findings if each.no_energy is not None)
    return [f"energy was not measured: {reason}" for reason in reasons]


def _contender_warnings(contenders: Sequence[Contender], settings: BenchSettings) -> list[str]:
    labels = contender_labels(contenders)
    found = []
    for label, contender in zip(labels, contenders, strict=True):
        own = list(noise_warnings(contender)) if contender.launches else []
        if contender.sustained is not None and (slowed := throttling_warning(contender.sustained)) is not None:
            own.append(slowed)
        if contender.scenario is not None and not contender.scenario.valid:
            own.append(
                f"LoadGen's {contender.scenario.scenario} run is INVALID: {'; '.join(contender.scenario.reasons)}"
            )
        found += [f"{label}: {warning}" for warning in own]
    if settings.batch > 1:
        found += [
            f"{label}: its batch is fixed, so it was measured at batch {contender.batch}, not {settings.batch}"
            for label, contender in zip(labels, contenders, strict=True)
            if contender.batch != settings.batch
        ]
    if len({contender.batch for contender in contenders}) > 1:
        found.append("contenders were measured at different batches; a latency is that of one run, not of one sample")
    return found
