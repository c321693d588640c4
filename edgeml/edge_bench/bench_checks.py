"""Refuses what does not fit together, before a device is reached and before anything is measured on it."""

from __future__ import annotations

from collections.abc import Sequence

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.errors import MissingError, UsageError
from edgeml.core.host import HostInfo
from edgeml.core.samples import Samples
from edgeml.edge_bench.accuracy import check_labels
from edgeml.edge_bench.bench_settings import Extras
from edgeml.edge_bench.devices.connection import Connection
from edgeml.edge_bench.reference import check_reference
from edgeml.runtime.registry import get_runtime, runtime_of_format

LOADGEN = "mlcommons-loadgen"


def check_artifacts(
    artifacts: Sequence[Artifact],
    device: Device,
    runtimes: Sequence[str],
    threads: Sequence[int] | None,
    data: Sequence[Samples | None],
    references: Sequence[Artifact | None],
) -> None:
    """Refuse files, options and data that do not fit together.

    Raises:
        UsageError: they do not.
        MissingError: a runtime is not installed where its worker runs on this machine.
    """
    if not artifacts:
        raise UsageError("there is nothing to measure; give at least one model file")
    if len(data) != len(artifacts):
        raise UsageError(f"there are {len(data)} sets of samples for {len(artifacts)} artifacts")
    if threads is not None and min(threads) < 1:
        raise UsageError(f"threads is {min(threads)}; it must be at least 1")
    if threads is None and device.scheme in {"rpc", "rpc-tracker"}:
        raise UsageError(f"device {device} does not tell how many cores it has; give the number of threads")
    for artifact, runtime, known, reference in zip(artifacts, runtimes, data, references, strict=True):
        _check_runtime(artifact, runtime, device)
        if known is not None and len(artifact.inputs) == 1:
            expected, found = artifact.inputs[0].shape[1:], known.inputs.shape[1:]
            if len(expected) != len(found) or any(
                isinstance(axis, int) and axis != size for axis, size in zip(expected, found, strict=True)
            ):
                raise UsageError(f"{artifact.path} takes inputs of shape {expected}; {known.name} gives {found}")
            check_labels(known, artifact.outputs[0].shape[-1] if artifact.outputs and artifact.outputs[0].shape else 0)
        if reference is not None:
            check_reference(reference, artifact)


def check_device(connection: Connection, extras: Extras, data: Sequence[Samples | None]) -> None:
    """Refuse what the device cannot tell.

    Raises:
        UsageError: figures are asked for that mean nothing on this device.
    """
    device = connection.device
    if not connection.measures_latency:
        if extras.asked_for:
            raise UsageError(
                f"{' and '.join(extras.asked_for)} on {device} is asked for; times on an emulator mean nothing, so "
                "only accuracy can be measured there"
            )
        if all(samples is None for samples in data):
            raise UsageError(
                f"times on {device} mean nothing, since it is an emulator, so only accuracy can be measured there; "
                "give data"
            )
    elif connection.worker_device != "local":
        beside = [name for name in extras.asked_for if name != "sustained load"]
        if beside:
            raise UsageError(
                f"{' and '.join(beside)} on {device} is asked for; that takes edgeml on the device itself, and over "
                "RPC only latency, accuracy and sustained load can be measured: reach it by ssh:// or adb://"
            )


def check_packages(host: HostInfo, extras: Extras, device: Device) -> None:
    """Refuse before the measurement what the device lacks for what follows it.

    Raises:
        MissingError: MLCommons LoadGen is not installed where the worker runs.
    """
    if extras.scenario is not None and LOADGEN not in dict(host.versions):
        where = "" if device.scheme == "local" else f" on {device}"
        raise MissingError(
            f"mlcommons_loadgen is not installed{where}; install it there with: pip install 'edgeml[scenarios]'"
        )


def _check_runtime(artifact: Artifact, runtime: str, device: Device) -> None:
    try:
        formats = get_runtime(runtime).formats
    except MissingError:
        if device.scheme not in {"ssh", "adb"}:
            raise
        formats = frozenset({artifact.format}) if runtime_of_format(artifact.format) == runtime else frozenset()
    if artifact.format not in formats:
        opened = ", ".join(sorted(formats)) or "other formats"
        raise UsageError(f"{artifact.path} has the format {artifact.format}; {runtime} opens {opened}")
