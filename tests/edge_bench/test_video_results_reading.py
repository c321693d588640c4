"""Results on a clip read back, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeml.core.bench_result import BenchResult
from edgeml.core.errors import UsageError
from edgeml.edge_bench import results
from edgeml.edge_bench.video.report import render
from edgeml.edge_bench.video.results import VideoResult
from edgeml.edge_bench.video.results_json import to_json, write_results
from edgeml.edge_bench.video.results_reading import from_json, read_any


def test_what_was_written_is_read_back(clip_result: VideoResult, tmp_path: Path) -> None:
    write_results(clip_result, tmp_path / "r.json")
    assert read_any(tmp_path / "r.json") == (clip_result,)


def test_the_page_is_that_of_the_run(clip_result: VideoResult, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    write_results(clip_result, tmp_path / "r.json")
    (read,) = read_any(tmp_path / "r.json")
    assert isinstance(read, VideoResult)
    assert render(read) == render(clip_result)


def test_results_that_are_not_on_a_clip_are_read_too(
    make_result: Callable[..., BenchResult], make_contender: Any, tmp_path: Path
) -> None:
    plain = make_result([make_contender()])
    results.write_results(plain, tmp_path / "r.json")
    assert read_any(tmp_path / "r.json") == results.read_runs(tmp_path / "r.json")


def test_results_without_raw_samples_are_refused(clip_result: VideoResult) -> None:
    with pytest.raises(UsageError, match="a contender lacks launches"):
        from_json(to_json(clip_result, raw=False))


def _at(value: Any, place: str) -> tuple[Any, Any]:
    """What holds a place such as contenders.0.form, and its key there."""
    *outer, last = (int(part) if part.isdigit() else part for part in place.split("."))
    for key in outer:
        value = value[key]
    return value, last


@pytest.mark.parametrize(
    ("place", "wrong", "message"),
    [
        ("schema_version", 9, "schema_version is 9"),
        ("extra", 1, "unknown key 'extra'"),
        ("mode", "fast", "mode is 'fast'"),
        ("in_place", 1, "in_place is 1"),
        ("key_interval", 0, "key_interval is 0; it must be at least 1"),
        ("clip.frames", 1, "frames is 1; it must be at least 2"),
        ("clip.frames", 9, "has 8 values for 9 frames"),
        ("clip.frame_shape", [1, 2], "frame_shape has 2 values"),
        ("contenders", [], "the contenders are []"),
        ("contenders.0.form", "dense", "'dense' has activity or key frames"),
        ("contenders.1.form", "stream", "the contenders are ['stream', 'stream']"),
        ("contenders.0.launches", [], "has no launches"),
        ("contenders.0.launches.0.latency_ms", [], "has no pass"),
        ("contenders.0.launches.0.latency_ms.0", [1.0], "latency_ms of a pass has 1 values for 8 frames"),
        ("contenders.0.launches.0.latency_ms.0.3", 0, "latency_ms of a pass is 0"),
        ("contenders.0.launches.0.stable", None, "stable is None"),
        ("contenders.0.activity.gate.2", 1.5, "activity of 'gate' is 1.5; it must be a share"),
        ("contenders.0.active_tiles.layers.0.per_frame.2", -1, "per_frame of 'conv' is -1"),
        ("contenders.0.active_tiles.layers.0.macs", -1, "macs of 'conv' is -1"),
        ("contenders.0.key_frames.0.frame", 8, "a key frame's index is 8"),
        ("contenders.0.key_frames.0.reason", "whim", "reason is 'whim'"),
        ("contenders.0.bit_operations.per_frame.0", -1, "bit_operations of a frame are -1"),
        ("contenders.0.agreement.metric", "top-5", "metric is 'top-5'"),
        ("contenders.0.agreement.with_fp32.per_frame.0", 2, "with_fp32's per_frame is 2"),
        ("contenders.1.activity", {"gate": [0.0] * 8}, "'dense' has activity or key frames"),
        ("comparisons.0.b", 2, "a comparison is of contenders 0 and 2"),
        ("comparisons.0.ratio", 0, "a ratio above 0"),
        ("comparisons.0.verdict", "nice", "verdict is 'nice'"),
        ("host", {}, "host lacks"),
        ("warnings", [1], "a warning is int"),
    ],
)
def test_wrong_values_are_refused(
    clip_result: VideoResult, place: str, wrong: Any, message: str, tmp_path: Path
) -> None:
    value = json.loads(json.dumps(to_json(clip_result)))
    holder, key = _at(value, place)
    holder[key] = wrong
    (tmp_path / "r.json").write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_any(tmp_path / "r.json")
    assert message in str(caught.value)
    assert str(tmp_path / "r.json") in str(caught.value)
