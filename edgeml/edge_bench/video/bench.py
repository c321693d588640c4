"""The stage: measures a network for video on a clip, beside its int8 and fp32 files on every frame."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from edgeml.core.artifact import Artifact
from edgeml.core.bench_result import Comparison
from edgeml.core.errors import UsageError
from edgeml.core.session import SessionOptions
from edgeml.edge_bench.conditions.environment import host_info
from edgeml.edge_bench.conditions.throttling import condition_warnings, read_conditions
from edgeml.edge_bench.measure import Progress
from edgeml.edge_bench.statistics import compare
from edgeml.edge_bench.statistics import verdicts as ratio_verdicts
from edgeml.edge_bench.video.agreement import Answers, agreement, moving_pixels
from edgeml.edge_bench.video.clip_samples import ClipSamples
from edgeml.edge_bench.video.figures import pass_means
from edgeml.edge_bench.video.measure import ClipEntry, ClipMeasurement, VideoSettings, measure_clip
from edgeml.edge_bench.video.results import Form, FrameFacts, VideoContender, VideoResult
from edgeml.runtime.onnx_file import open_artifact
from edgeml.runtime.streaming.metadata import check_key_interval
from edgeml.runtime.streaming.model import FILES_OWN, StreamingModel
from edgeml.runtime.streaming.video_files import VideoFiles, video_files
from edgeml.runtime.threads import available_threads

_BITS: dict[Form, int] = {"dense": 8 * 8, "fp32": 32 * 32}


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What is read of the stream's files before anything is measured."""

    mode: str
    native_kernel: str | None
    in_place: bool
    key_interval: int | None
    frame_shape: tuple[int, int, int]
    gated_steps: tuple[str, ...]
    state_bytes: int
    macs: int


def bench_video(
    path: Path,
    samples: ClipSamples,
    *,
    threads: int | None = None,
    key_interval: int | Literal["file"] | None = FILES_OWN,
    settings: VideoSettings | None = None,
    progress: Progress = lambda _task, _share: None,
    remarks: Sequence[str] = (),
) -> VideoResult:
    """Measure a pair of files as a stream, and those of NAME.dense.onnx and NAME.onnx that lie beside it.

    Args:
        path: NAME.residual.onnx.
        samples: the clip.
        threads: inside one operator; None takes the cores this process may use.
        key_interval: frames between key frames; None for no limit, "file" for what the files say.
        settings: how much to measure.
        progress: told what is being done.
        remarks: warnings that the caller already has on this run; they head the result's.

    Raises:
        UsageError: options, files and clip do not fit together.
        MissingError: onnxruntime is not installed.
        EdgeMLError: a model could not be loaded or run.
    """
    settings = VideoSettings() if settings is None else settings
    threads = available_threads() if threads is None else threads
    if isinstance(key_interval, int):
        check_key_interval(key_interval)
    files = video_files(path)
    facts = _facts(path, threads)
    if samples.shape != facts.frame_shape:
        raise UsageError(
            f"{files.residual} takes frames of (channels, height, width) = {facts.frame_shape}; {samples.name} gives "
            f"{samples.shape}: convert the network for that size, or resize the clip"
        )
    siblings: dict[Form, Path] = {"dense": files.dense, "fp32": files.fp32}
    found: dict[Form, Artifact | None] = {"stream": None}
    found |= {form: open_artifact(file) for form, file in siblings.items() if file.is_file()}
    missing = [
        f"there is no {file.name}: the stream is not compared with it"
        for form, file in siblings.items()
        if form not in found
    ]
    host, before = host_info(), read_conditions()
    with tempfile.TemporaryDirectory(prefix="edgeml-bench-") as name:
        directory = Path(name)
        np.save(directory / "clip.npy", samples.frames)
        entries = [
            ClipEntry(
                path=files.residual if artifact is None else artifact.path,
                artifact=artifact,
                threads=threads,
                key_interval=key_interval,
                answers=directory / f"{form}.npy",
            )
            for form, artifact in found.items()
        ]
        measurements, frequencies_mhz = measure_clip(
            entries,
            directory / "clip.npy",
            frames=len(samples),
            cuts=samples.cuts,
            settings=settings,
            progress=progress,
        )
        answers: dict[Form, Answers] = {
            form: np.load(entry.answers)
            for form, entry, measured in zip(found, entries, measurements, strict=True)
            if measured.description.answered
        }
    contenders = [
        _contender(form, files, facts, threads, measured) for form, measured in zip(found, measurements, strict=True)
    ]
    return VideoResult(
        network=files.name,
        mode=facts.mode,
        native_kernel=facts.native_kernel,
        in_place=facts.in_place,
        key_interval=facts.key_interval if key_interval == FILES_OWN else key_interval,
        clip=samples.name,
        frame_shape=facts.frame_shape,
        frames=len(samples),
        contenders=_with_agreement(contenders, answers, samples),
        comparisons=_comparisons(contenders),
        host=host,
        warnings=(
            *remarks,
            *missing,
            *condition_warnings(before, read_conditions(), frequencies_mhz=frequencies_mhz),
            *_unsettled(contenders),
        ),
    )


def _facts(path: Path, threads: int) -> _Facts:
    model = StreamingModel.open(path, SessionOptions(threads=threads))
    try:
        return _Facts(
            mode=model.mode,
            native_kernel=model.native_kernel,
            in_place=model.in_place,
            key_interval=model.key_interval,
            frame_shape=model.interface.frame_shape,
            gated_steps=model.gated_steps,
            state_bytes=model.stream_bytes,
            macs=model.macs,
        )
    finally:
        model.close()


def _contender(form: Form, files: VideoFiles, known: _Facts, threads: int, measured: ClipMeasurement) -> VideoContender:
    paths = {"stream": (files.key, files.residual), "dense": (files.dense,), "fp32": (files.fp32,)}[form]
    facts = tuple(
        FrameFacts(
            key=told["kind"] == "key",
            reason=told["reason"],
            changed=tuple(told["changed"]),
            active_tiles=tuple(told["active_tiles"]),
        )
        for told in measured.description.frames
    )
    frames = len(measured.launches[0].latency_ms[0])
    return VideoContender(
        form=form,
        files=tuple(map(str, paths)),
        threads=threads,
        size_bytes=sum(path.stat().st_size for path in paths),
        launches=measured.launches,
        facts=facts,
        bit_operations=tuple(float(told["bit_operations"]) for told in measured.description.frames)
        if form == "stream"
        else (float(known.macs * _BITS[form]),) * frames,
        gated_steps=known.gated_steps if form == "stream" else (),
        layers=measured.description.layers,
        state_bytes=known.state_bytes if form == "stream" else 0,
        agreement=None,
    )


def _with_agreement(
    contenders: Sequence[VideoContender], answers: dict[Form, Answers], samples: ClipSamples
) -> tuple[VideoContender, ...]:
    fp32 = answers.get("fp32")
    moving = None if fp32 is None or fp32.ndim != 3 else moving_pixels(fp32, samples)
    return tuple(
        replace(
            contender,
            agreement=agreement(answers[contender.form], None if contender.form == "fp32" else fp32, samples, moving),
        )
        if contender.form in answers
        else contender
        for contender in contenders
    )


def _comparisons(contenders: Sequence[VideoContender]) -> tuple[Comparison, ...]:
    """The stream against each of the others, in amortized latency."""
    stream, *others = contenders
    ratios = [compare(pass_means(stream.launches), pass_means(other.launches)) for other in others]
    return tuple(
        Comparison(a=0, b=index, ratio=ratio.value, ci95=ratio.ci95, verdict=verdict)
        for index, (ratio, verdict) in enumerate(zip(ratios, ratio_verdicts(ratios), strict=True), 1)
    )


def _unsettled(contenders: Sequence[VideoContender]) -> list[str]:
    found = []
    for contender in contenders:
        unstable = sum(not launch.stable for launch in contender.launches)
        if unstable * 2 > len(contender.launches):
            found.append(
                f"{contender.form}: latency had not settled when warm-up ended in {unstable} of "
                f"{len(contender.launches)} launches"
            )
    return found
