"""Runs on clips: small pairs of files whose answers are known, in processes of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.edge_bench.client import start_worker
from edgeml.edge_bench.video.bench import bench_video
from edgeml.edge_bench.video.clip_samples import ClipSamples
from edgeml.edge_bench.video.figures import summarize
from edgeml.edge_bench.video.measure import _COMMAND, VideoSettings, _passes
from edgeml.edge_bench.video.results import VideoResult
from edgeml.edge_bench.video.results_json import to_json, write_results
from edgeml.edge_bench.video.sentences import sentences
from tests.runtime.streaming_pair import clip, expected, write_pair

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/bench_video.schema.json").read_text(encoding="utf-8"))
QUICK = VideoSettings(launches=2, passes=2, seconds=0.1)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> VideoResult:
    path = write_pair(tmp_path_factory.mktemp("pair"))
    frames = clip(20)
    masks = np.stack([expected(frame)[0].argmax(axis=0) for frame in frames])
    samples = ClipSamples(name="moving square", frames=frames, cuts=(5,), masks=masks)
    return bench_video(path, samples, threads=1, key_interval=8, settings=QUICK)


def test_contenders_are_the_stream_and_its_siblings(result: VideoResult) -> None:
    assert [contender.form for contender in result.contenders] == ["stream", "dense", "fp32"]
    assert [(each.a, each.b) for each in result.comparisons] == [(0, 1), (0, 2)]
    for contender in result.contenders:
        assert [np.shape(launch.latency_ms) for launch in contender.launches] == [(2, 20)] * 2
        assert contender.size_bytes > 0


def test_key_frames_activity_and_costs_are_told_of_every_frame(result: VideoResult) -> None:
    stream, dense, fp32 = result.contenders
    reasons = {index: facts.reason for index, facts in enumerate(stream.facts) if facts.key}
    assert reasons == {0: "first", 5: "cut", 13: "interval"}
    assert all(list(facts.changed) == [1, 1] for facts in stream.facts if facts.key)
    assert all(0 < facts.changed[0] < 0.2 for facts in stream.facts if not facts.key)
    assert stream.bit_operations is not None
    assert max(stream.bit_operations) == 1000 * 64 + 10 * 1024
    assert dense.bit_operations is not None
    assert list(dense.bit_operations) == [1010 * 64] * 20
    assert fp32.bit_operations is not None
    assert list(fp32.bit_operations) == [1010 * 1024] * 20
    assert stream.state_bytes == 2 * 2 * 2 * 16 * 24


def test_answers_are_compared_with_fp32_and_the_truth(result: VideoResult) -> None:
    stream, dense, fp32 = result.contenders
    assert stream.agreement is not None
    assert dense.agreement is not None
    assert fp32.agreement is not None
    assert stream.agreement == dense.agreement  # the stream is exact
    assert stream.agreement.with_truth is not None
    assert stream.agreement.with_truth.value == 1  # which is what the int8 network answers
    assert stream.agreement.with_fp32 is not None
    assert 0.9 < stream.agreement.with_fp32.value < 1
    assert stream.agreement.with_fp32.moving is not None
    assert fp32.agreement.with_fp32 is None


def test_figures_follow_from_the_samples(result: VideoResult) -> None:
    for contender in result.contenders:
        summary = summarize(contender)
        samples = np.concatenate([launch.latency_ms for launch in contender.launches])
        assert samples.mean(axis=1).min() <= summary.amortized.value <= samples.mean(axis=1).max()
        assert summary.frames_per_second.value == pytest.approx(1e3 / summary.amortized.value)
        assert summary.per_frame == pytest.approx(tuple(np.median(samples, axis=0)))
        assert summary.worst.value <= samples.max()
        assert (summary.key is None) == (contender.form != "stream")


def test_json_is_that_of_the_schema_and_the_sentences_say_what_was_found(result: VideoResult, tmp_path: Path) -> None:
    for raw in (True, False):
        jsonschema.validate(to_json(result, raw), SCHEMA)
    write_results(result, tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text()) == to_json(result)
    said = sentences(result)
    assert any("3 of 20 frames were computed whole; in the others" in sentence for sentence in said)
    assert any(sentence.startswith("The stream: mIoU ") for sentence in said)


def test_a_classifier_without_siblings_is_measured_too(tmp_path: Path) -> None:
    path = write_pair(tmp_path, classifier=True)
    (tmp_path / "net.dense.onnx").unlink()
    frames = clip(6)
    labels = np.array([expected(frame, classifier=True).argmax() for frame in frames])
    samples = ClipSamples(name="moving square", frames=frames, labels=labels)
    result = bench_video(path, samples, threads=1, settings=QUICK)
    assert [contender.form for contender in result.contenders] == ["stream", "fp32"]
    assert "there is no net.dense.onnx: the stream is not compared with it" in result.warnings
    found = result.contenders[0].agreement
    assert found is not None
    assert found.metric == "top-1"
    assert found.with_truth is not None
    assert found.with_truth.value == 1
    jsonschema.validate(to_json(result), SCHEMA)


def test_a_clip_of_another_size_is_refused(tmp_path: Path) -> None:
    samples = ClipSamples(name="a clip", frames=clip(2, (2, 8, 8)))
    with pytest.raises(UsageError, match=r"\(2, 16, 24\); a clip gives \(2, 8, 8\): convert"):
        bench_video(write_pair(tmp_path), samples)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"launches": 1}, "launches is 1"), ({"seconds": 0.0}, "seconds is 0"), ({"passes": 0}, "passes is 0")],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        VideoSettings(**settings)


def test_passes_fill_the_time_and_are_one_at_least() -> None:
    settings = VideoSettings(seconds=10, launches=5)
    assert _passes(settings, [2.0, 6.0], 100) == 4  # 2 contenders x 2 s x 80% in passes of 800 ms
    assert _passes(settings, [2000.0], 100) == 1
    assert _passes(VideoSettings(passes=3), [2000.0], 100) == 3


def test_a_refusal_keeps_its_kind_and_the_worker_goes_on(tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", clip(3))
    path = write_pair(tmp_path)
    known = {
        "path": str(path), "threads": 1, "clip": str(tmp_path / "clip.npy"), "artifact": None, "key_interval": "file",
        "cuts": [],
    }  # fmt: skip
    with start_worker("net", _COMMAND) as worker:
        with pytest.raises(UsageError, match="there is no file"):
            worker.ask("open", timeout_s=60, **known | {"path": str(tmp_path / "other.residual.onnx")})
        assert worker.ask("open", timeout_s=60, **known)["load_ms"] > 0
        assert len(worker.ask("sample", timeout_s=60, start=0, count=3)["latency_ns"]) == 3
        assert worker.ask("memory", timeout_s=60)["peak_memory_bytes"] > 1 << 20
        with pytest.raises(EdgeMLError):
            worker.ask("describe", timeout_s=60, output=str(tmp_path / "no" / "such" / "place.npy"))
