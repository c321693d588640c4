"""Results on a clip as JSON: the figures for whoever reads the file, and the raw samples they come from."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from edgeml.core.atomic import atomic_write_text
from edgeml.edge_bench.statistics import Estimate
from edgeml.edge_bench.video.agreement import Score
from edgeml.edge_bench.video.figures import active_tiles, layer_activities, residual_active_tiles, summarize
from edgeml.edge_bench.video.results import VideoContender, VideoResult
from edgeml.edge_bench.video.sentences import sentences

SCHEMA_VERSION = 1


def to_json(result: VideoResult, raw: bool = True) -> dict[str, Any]:
    """Plain values for JSON, as docs/schemas/bench_video.schema.json describes them.

    Args:
        result: the run.
        raw: whether to add every sample ("launches") and what each layer did in each frame, without which `from_json`
            cannot read the values back.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "network": result.network,
        "mode": result.mode,
        "native_kernel": result.native_kernel,
        "in_place": result.in_place,
        "key_interval": result.key_interval,
        "clip": {"name": result.clip, "frames": result.frames, "frame_shape": list(result.frame_shape)},
        "contenders": [_contender_json(contender, raw) for contender in result.contenders],
        "comparisons": [
            {
                "a": comparison.a,
                "b": comparison.b,
                "ratio": comparison.ratio,
                "ci95": list(comparison.ci95),
                "verdict": comparison.verdict,
            }
            for comparison in result.comparisons
        ],
        "sentences": list(sentences(result)),
        "host": json.loads(json.dumps(result.host.to_json())),  # tuples become lists
        "warnings": list(result.warnings),
    }


def write_results(result: VideoResult, path: Path) -> None:
    """Write the results with their raw samples, whole or not at all."""
    atomic_write_text(path, json.dumps(to_json(result), allow_nan=False) + "\n")


def _contender_json(contender: VideoContender, raw: bool) -> dict[str, Any]:
    summary, found = summarize(contender), contender.agreement
    costs = contender.bit_operations
    value: dict[str, Any] = {
        "form": contender.form,
        "files": list(contender.files),
        "threads": contender.threads,
        "size_bytes": contender.size_bytes,
        "latency_ms": {
            "key": _estimate_json(summary.key),
            "residual": _estimate_json(summary.residual),
            "amortized": _estimate_json(summary.amortized),
            "worst": _estimate_json(summary.worst),
            "per_frame": list(summary.per_frame),
        },
        "frames_per_second": _estimate_json(summary.frames_per_second),
        "bit_operations": None
        if costs is None
        else {"amortized": float(np.mean(costs)), "peak": max(costs), "per_frame": list(costs)},
        "key_frames": [
            {"frame": index, "reason": facts.reason} for index, facts in enumerate(contender.facts) if facts.key
        ],
        "activity": {
            step: [facts.changed[index] for facts in contender.facts]
            for index, step in enumerate(contender.gated_steps)
        },
        "active_tiles": _active_tiles_json(contender, raw) if contender.layers else None,
        "agreement": None
        if found is None
        else {
            "metric": found.metric,
            "with_fp32": _score_json(found.with_fp32),
            "with_truth": _score_json(found.with_truth),
        },
        "state_bytes": contender.state_bytes,
        "load_ms": statistics.median(launch.load_ms for launch in contender.launches),
        "peak_memory_bytes": max(launch.peak_memory_bytes for launch in contender.launches),
    }
    if raw:
        value["launches"] = [
            {
                "latency_ms": [list(samples) for samples in launch.latency_ms],
                "warmup": launch.warmup,
                "stable": launch.stable,
                "load_ms": launch.load_ms,
                "peak_memory_bytes": launch.peak_memory_bytes,
            }
            for launch in contender.launches
        ]
    return value


def _active_tiles_json(contender: VideoContender, raw: bool) -> dict[str, Any]:
    layers = []
    for index, activity in enumerate(layer_activities(contender)):
        value = {"name": activity.layer.name, "macs": activity.layer.macs, "mean": activity.active_tiles}
        if raw:
            value["per_frame"] = [facts.active_tiles[index] for facts in contender.facts]
        layers.append(value)
    return {
        "mean": residual_active_tiles(contender),
        "per_frame": list(active_tiles(contender)),
        "layers": layers,
    }


def _estimate_json(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else {"value": estimate.value, "ci95": list(estimate.ci95)}


def _score_json(score: Score | None) -> dict[str, Any] | None:
    if score is None:
        return None
    return {"value": score.value, "moving": score.moving, "per_frame": list(score.per_frame)}
