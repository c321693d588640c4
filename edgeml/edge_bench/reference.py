"""Holds a device's answers to those of a reference on the host, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeml.core.artifact import Artifact, sha256_file
from edgeml.core.bench_result import Accuracy, Difference, Reference
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.core.samples import Samples
from edgeml.edge_bench.accuracy import paired_difference, top1
from edgeml.edge_bench.client import start_worker
from edgeml.runtime.onnx_file import open_artifact

RUNTIME = "onnxruntime"
NO_CLASS = -1
"""Stands for the class of a sample with a logit that is no number."""

_OPEN_TIMEOUT_S = 600.0
_DATA_TIMEOUT_S = 3600.0


def default_reference(artifact: Artifact) -> Artifact | None:
    """What a device's answers are held to where nothing else is named; None where there is nothing.

    An ONNX file is its own reference: the host's onnxruntime computes it in other kernels. A compiled library is held
    to the ONNX file that it was made from, where that lies beside it.
    """
    if artifact.format == "onnx":
        return artifact
    if artifact.parent_sha256 is None:
        return None
    digest = artifact.parent_sha256
    return next((open_artifact(path) for path in artifact.path.parent.glob("*.onnx") if _digest(path) == digest), None)


def check_reference(reference: Artifact, artifact: Artifact) -> None:
    """Refuse a reference that the artifact's answers cannot be held to.

    Raises:
        UsageError: it is no ONNX file, or its inputs or outputs are of another shape.
    """
    if reference.format != "onnx":
        raise UsageError(f"{reference.path} has the format {reference.format}; a reference is an ONNX file")
    for kind, found, wanted in (
        ("inputs", reference.inputs, artifact.inputs),
        ("outputs", reference.outputs[:1], artifact.outputs[:1]),
    ):
        shapes = [spec.shape[1:] for spec in found], [spec.shape[1:] for spec in wanted]
        if shapes[0] != shapes[1] and all(isinstance(axis, int) for each in (*shapes[0], *shapes[1]) for axis in each):
            one, other = (", ".join(map(str, each)) or "none" for each in shapes)
            raise UsageError(
                f"{reference.path} has {kind} of shape {one}, {artifact.path} of {other}; a reference computes the "
                "same thing"
            )


def _digest(path: Path) -> str | None:
    with suppress(OSError, EdgeMLError):
        return sha256_file(path)
    return None  # what cannot be read is no reference


class References:
    """Answers of references to data, each computed once on this machine."""

    def __init__(self, directory: Path) -> None:
        """Keep the answers in a directory, which the caller removes."""
        self._directory = directory
        self._logits: dict[tuple[str, Path], npt.NDArray[np.float32]] = {}

    def logits(self, reference: Artifact, samples: Path) -> npt.NDArray[np.float32]:
        """The first output for every sample: float32 (sample, class).

        Raises:
            EdgeMLError: the reference cannot be run.
        """
        key = (reference.sha256, samples)
        if key not in self._logits:
            output = self._directory / f"reference-{len(self._logits)}.npy"
            label = str(reference.path)
            with start_worker(label) as worker:
                worker.ask(
                    "open",
                    timeout_s=_OPEN_TIMEOUT_S,
                    artifact=reference.to_json(),
                    path=str(reference.path.absolute()),
                    runtime=RUNTIME,
                    threads=None,
                    batch=1,
                    seed=0,
                    samples=str(samples),
                )
                worker.ask("predict", timeout_s=_DATA_TIMEOUT_S, samples=str(samples), output=str(output))
            self._logits[key] = np.load(output)
        return self._logits[key]


def with_reference(
    accuracy: Accuracy,
    found: npt.NDArray[np.float32],
    expected: npt.NDArray[np.float32],
    reference: Artifact,
    samples: Samples,
) -> Accuracy:
    """The accuracy with what the reference says of the same samples.

    Args:
        accuracy: on the device.
        found: the device's logits, float32 (sample, class).
        expected: the reference's, of the same shape.
        reference: the file.
        samples: what both were computed from.

    Raises:
        UsageError: the reference is no classifier of these labels.
    """
    known = top1(expected, samples)
    difference, interval = paired_difference(accuracy.correct, known.correct)
    return replace(
        accuracy,
        reference=Reference(
            artifact=str(reference.path),
            runtime=RUNTIME,
            value=known.value,
            difference=difference,
            ci95=interval,
            differences=tuple(differences(found, expected, samples.labels.tolist())),
        ),
    )


def differences(
    found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32], labels: Sequence[int]
) -> list[Difference]:
    """Every sample that the two classify differently, in data order.

    Args:
        found: float32 (sample, class).
        expected: the same.
        labels: one a sample.
    """
    here, there = _classes(found), _classes(expected)
    return [
        Difference(sample=index, label=labels[index], found=int(here[index]), expected=int(there[index]))
        for index in np.flatnonzero(here != there).tolist()
    ]


def _classes(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    return np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), NO_CLASS)
