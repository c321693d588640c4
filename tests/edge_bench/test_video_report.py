"""The page about a run on a clip, from a run whose figures are made up."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from edgeml.core.errors import UsageError
from edgeml.edge_bench.video.figures import summarize
from edgeml.edge_bench.video.report import render
from edgeml.edge_bench.video.results import VideoResult
from edgeml.edge_bench.video.results_json import to_json
from edgeml.edge_bench.video.sentences import sentences
from edgeml.edge_bench.video.timeline_plot import timeline_plot


def test_figures_of_known_samples(clip_result: VideoResult) -> None:
    summary = summarize(clip_result.contenders[0])
    assert summary.key is not None
    assert summary.residual is not None
    assert summary.key.value == pytest.approx(4, rel=1e-3)
    assert summary.residual.value == pytest.approx(1, rel=1e-3)
    assert summary.amortized.value == pytest.approx(1.75, rel=1e-3)
    assert summary.worst.value == pytest.approx(4, rel=1e-3)
    low, high = summary.frames_per_second.ci95
    assert low < 1e3 / 1.75 < high
    assert summary.per_frame == pytest.approx((4, 1, 1, 1) * 2)


def test_sentences_say_what_was_found(clip_result: VideoResult) -> None:
    assert sentences(clip_result) == (
        "The stream is 2.0x [1.9, 2.1] faster than int8 on every frame, amortized over the clip.",
        "2 of 8 frames were computed whole; in the others 10.0% of the pixels changed at the first step and 20.0% on "
        "average, and 50.0% of the convolutions was computed, whole tiles at a time.",
        "The stream: mIoU 0.900 (0.800 where things move) against fp32.",
        "Int8 on every frame: mIoU 0.900 (0.800 where things move) against fp32.",
    )


def test_the_plot_marks_key_frames_and_stays_inside(clip_result: VideoResult) -> None:
    for narrow in (False, True):
        plot = timeline_plot(clip_result, narrow=narrow)
        assert len(plot.keys) == 2
        assert plot.keys[0] == plot.latency.left
        assert [line.label for line in plot.lines] == ["the stream", "int8 on every frame"]
        for path in (*(line.path for line in plot.lines), plot.mean_share, plot.range_share, plot.tile_share):
            numbers = [tuple(map(float, pair.split(","))) for pair in re.findall(r"[\d.]+,[\d.]+", path)]
            assert all(0 <= x <= plot.width and 0 <= y <= plot.height for x, y in numbers)


def test_a_stream_without_gated_steps_has_no_shares(clip_result: VideoResult) -> None:
    stream, dense = clip_result.contenders
    bare = replace(
        stream,
        facts=tuple(replace(facts, changed=(), active_tiles=()) for facts in stream.facts),
        gated_steps=(),
        layers=(),
    )
    plot = timeline_plot(replace(clip_result, contenders=(bare, dense)))
    assert plot.mean_share == plot.range_share == plot.tile_share == ""
    assert "<svg" in render(replace(clip_result, contenders=(bare, dense)))


def test_the_page_fetches_nothing_and_quotes_what_others_wrote(clip_result: VideoResult) -> None:
    pytest.importorskip("jinja2")
    page = render(clip_result)
    assert "<b>clip" not in page
    assert not re.findall(r'(?:src|href)="(?!data:,)', page)
    (raw,) = re.findall(r'<script type="application/json" id="results">(.*?)</script>', page, re.DOTALL)
    assert json.loads(raw) == to_json(clip_result)


def test_a_clip_too_long_for_a_page_is_refused(clip_result: VideoResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeml.edge_bench.video.report.SIZE_LIMIT_BYTES", 1000)
    with pytest.raises(UsageError, match="a report of 8 frames would be larger than 1,000 bytes; use --limit"):
        render(clip_result)
