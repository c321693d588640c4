"""Turns a contender's samples into figures with 95% intervals; launches are the units of replication."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeml.core.bench_result import Launch
from edgeml.edge_bench.statistics import Estimate, median
from edgeml.edge_bench.video.results import ClipLaunch, Layer, VideoContender


@dataclass(frozen=True, kw_only=True)
class VideoSummary:
    """What is said about one contender's latency, in milliseconds; each estimate is taken over launches.

    Attributes:
        key: of a key frame, the median; None where there is none.
        residual: of a residual frame, the median; None where there is none.
        amortized: mean over the clip's frames, the median over passes.
        worst: of the slowest frame of the clip; a frame's latency is the median over passes.
        frames_per_second: one over `amortized`.
        per_frame: of each frame, the median over all passes of all launches.
    """

    key: Estimate | None
    residual: Estimate | None
    amortized: Estimate
    worst: Estimate
    frames_per_second: Estimate
    per_frame: tuple[float, ...]


def summarize(contender: VideoContender) -> VideoSummary:
    """The figures of one contender."""
    keys = np.array([facts.key for facts in contender.facts], dtype=bool)
    amortized = median(pass_means(contender.launches))
    low, high = amortized.ci95
    return VideoSummary(
        key=_of_frames(contender.launches, keys),
        residual=_of_frames(contender.launches, ~keys),
        amortized=amortized,
        worst=median([_with(launch, [float(np.median(_samples(launch), 0).max())]) for launch in contender.launches]),
        frames_per_second=Estimate(value=1e3 / amortized.value, ci95=(1e3 / high, 1e3 / low)),
        per_frame=tuple(np.median(np.concatenate(list(map(_samples, contender.launches))), axis=0).tolist()),
    )


@dataclass(frozen=True, kw_only=True)
class LayerActivity:
    """What a layer did in residual frames on average.

    Attributes:
        layer: which.
        changed: share of its pixels whose codes changed; None where there is no residual frame, or nothing tells.
        active_tiles: share of its pixels in tiles that were computed; None where there is no residual frame.
    """

    layer: Layer
    changed: float | None
    active_tiles: float | None


def layer_activities(contender: VideoContender) -> tuple[LayerActivity, ...]:
    """Of each of a stream's layers."""
    residual = [facts for facts in contender.facts if not facts.key]
    places = {step: index for index, step in enumerate(contender.gated_steps)}
    found = []
    for index, layer in enumerate(contender.layers):
        place = places.get(layer.name)
        changed = [] if place is None else [facts.changed[place] for facts in residual]
        tiles = [facts.active_tiles[index] for facts in residual]
        found.append(LayerActivity(layer=layer, changed=_mean(changed), active_tiles=_mean(tiles)))
    return tuple(found)


def active_tiles(contender: VideoContender) -> tuple[float, ...]:
    """Of each frame, the share of a stream's convolutions that was computed: the mean over layers, weighted by macs."""
    macs = np.array([layer.macs for layer in contender.layers], dtype=np.float64)
    if not macs.sum() > 0:
        return ()
    return tuple(float(np.dot(facts.active_tiles, macs) / macs.sum()) for facts in contender.facts)


def residual_active_tiles(contender: VideoContender) -> float | None:
    """The mean of `active_tiles` over residual frames; None where there is none."""
    shares = active_tiles(contender)
    facts = contender.facts if shares else ()
    return _mean([share for share, each in zip(shares, facts, strict=True) if not each.key])


def pass_means(launches: Sequence[ClipLaunch]) -> list[Launch]:
    """Launches whose samples are the mean latency of a frame in each pass over the clip."""
    return [_with(launch, _samples(launch).mean(axis=1).tolist()) for launch in launches]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _of_frames(launches: Sequence[ClipLaunch], chosen: npt.NDArray[np.bool_]) -> Estimate | None:
    if not chosen.any():
        return None
    return median([_with(launch, _samples(launch)[:, chosen].ravel().tolist()) for launch in launches])


def _samples(launch: ClipLaunch) -> npt.NDArray[np.float64]:
    """Milliseconds (pass, frame)."""
    return np.asarray(launch.latency_ms)


def _with(launch: ClipLaunch, latency_ms: Sequence[float]) -> Launch:
    return Launch(
        latency_ms=tuple(latency_ms),
        block=tuple(range(len(latency_ms))),
        warmup=launch.warmup,
        stable=launch.stable,
        load_ms=launch.load_ms,
        peak_memory_bytes=launch.peak_memory_bytes,
    )
