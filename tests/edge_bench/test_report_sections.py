"""What the sections of a report say of load, profiles, energy, references and several machines."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from edgeml.core.bench_result import BenchResult, Contender, Reading
from edgeml.core.bench_sustained import Sustained, Throttling
from edgeml.core.errors import UsageError
from edgeml.edge_bench.report import SIZE_LIMIT_BYTES, render
from edgeml.edge_bench.report.cumulative_plot import TABLE_SHARES, cumulative_plot
from edgeml.edge_bench.report.encoding import device_names, encode
from edgeml.edge_bench.report.figures import rows
from edgeml.edge_bench.report.host_facts import host_facts
from edgeml.edge_bench.report.load_view import readings_views, sustained_views
from edgeml.edge_bench.report.profile_view import TOP, profile_view
from edgeml.edge_bench.report.reference_view import reference_view
from edgeml.edge_bench.report.roofline_plot import roofline_plot
from edgeml.edge_bench.report.spread_plot import spread_bands
from edgeml.edge_bench.report.time_plot import clock, readings_plot, sustained_plot
from edgeml.edge_bench.report.tradeoff_plot import tradeoff_plot
from edgeml.edge_bench.results import runs_from_json
from tests.edge_bench.report_runs import (
    PEAKS,
    contender,
    emulated_run,
    full_run,
    host,
    launches,
    many_devices,
    profile,
    run,
    scenario,
    sustained,
)
from tests.edge_bench.test_report import HOSTILE, Page, embedded


@pytest.fixture(scope="module")
def full() -> BenchResult:
    return full_run()


@pytest.fixture(scope="module")
def several() -> list[BenchResult]:
    return many_devices()


@pytest.fixture(scope="module")
def full_text(full: BenchResult) -> str:
    return said([full])


def said(results: list[BenchResult]) -> str:
    """The text of the report, without line breaks."""
    return " ".join("".join(Page(render(results)).text).replace("\N{NO-BREAK SPACE}", " ").split())


def test_a_full_report_is_small_and_its_json_is_the_run(full: BenchResult) -> None:
    page = render([full])
    assert len(page.encode()) < SIZE_LIMIT_BYTES
    assert runs_from_json(embedded(page)) == (full,)
    identifiers = re.findall(r'\sid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))


def test_names_in_every_section_are_text() -> None:
    whole = full_run()
    loaded = whole.contenders[0]
    assert loaded.profile is not None
    assert loaded.accuracy is not None
    assert loaded.accuracy.reference is not None
    assert loaded.energy is not None
    operators = tuple(
        replace(each, name=HOSTILE, operator=HOSTILE, kernel=HOSTILE, fallback=HOSTILE, bound=HOSTILE)
        for each in loaded.profile.operators
    )
    hostile = replace(
        loaded,
        model=HOSTILE,
        profile=replace(loaded.profile, source=HOSTILE, operators=operators),
        scenario=replace(scenario(valid=False), reasons=(HOSTILE,), version=HOSTILE, settings={HOSTILE: 1.0}),
        accuracy=replace(loaded.accuracy, reference=replace(loaded.accuracy.reference, artifact=HOSTILE)),
        energy=replace(loaded.energy, source=HOSTILE),
    )
    parsed = Page(render([replace(whole, contenders=(hostile, *whole.contenders[1:]), comparisons=())]))
    assert len(parsed.all("script")) == 3
    assert parsed.all("img") == []
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)
    assert "".join(parsed.text).count(HOSTILE) > 10


class TestColoursAndShapes:
    def test_colour_tells_the_device_shape_the_precision_and_filling_the_runtime(
        self, several: list[BenchResult]
    ) -> None:
        shown = rows(several, 0.5)
        channels: tuple[set[tuple[object, str]], ...] = (
            {(row.style.colour, row.device) for row in shown},
            {(row.style.mark, row.contender.precision) for row in shown},
            {(row.style.hollow, row.contender.runtime) for row in shown},
        )
        for pairs in channels:
            assert len(pairs) == len({drawn for drawn, _ in pairs}) == len({value for _, value in pairs}) == 2

    def test_one_model_on_one_device_needs_no_legend(self, full: BenchResult) -> None:
        styles, legend = encode(full.contenders, ["board"] * 4)
        assert legend.colour_of == ""
        assert len({(style.colour, style.mark) for style in styles}) == 4

    def test_one_address_of_two_processors_is_two_devices(self) -> None:
        both = [contender("fp32", 1.0, None, device="local")] * 2
        assert device_names(both, ["A", "B"]) == ["local (A)", "local (B)"]
        assert device_names(both, ["A", "A"]) == ["local", "local"]

    def test_each_device_has_a_front_of_its_own(self, several: list[BenchResult]) -> None:
        plot = tradeoff_plot(rows(several, 0.5))
        assert plot is not None
        assert [front.device for front in plot.fronts] == ["ssh://pi@board", "local"]
        slow, fast = ([point for point in plot.points if point.front == index] for index in (0, 1))
        assert min(point.x for point in slow) > min(point.x for point in fast)
        # tvm's int8 beats onnxruntime's in both, so four of the board's five are on its front.
        corners = plot.fronts[0].path.count("L") // 2
        assert corners == 4


class TestDistributions:
    def test_both_modes_are_hills_with_a_gap_and_are_named(self) -> None:
        result = run([replace(contender("fp32", 5.0, None), launches=launches(5.0, bimodal=True))], host())
        (band,) = spread_bands(rows([result], 0.5))
        assert [mode.text for mode in band.modes] == ["5.04 ms", "6.03 ms"]
        assert band.path.count("M") >= 2
        assert "two modes: 5.04 ms and 6.03 ms" in said([result])

    def test_a_cumulative_curve_rises_and_passes_its_quantiles(self, full: BenchResult) -> None:
        plot = cumulative_plot(rows([full], 0.5))
        assert plot is not None
        for curve in plot.curves:
            pixels = [tuple(map(float, pair.split(","))) for pair in curve.path[1:].split("L")]
            assert pixels == sorted(pixels, key=lambda pixel: (pixel[0], -pixel[1]))
            ordered = sorted(curve.row.contender.latency_ms)
            for share, quantile in zip(TABLE_SHARES, curve.quantiles_ms, strict=True):
                assert quantile == ordered[math.ceil(share * len(ordered)) - 1]

    def test_a_quantile_of_too_few_samples_is_not_given(self) -> None:
        few = replace(contender("fp32", 5.0, None), launches=launches(5.0, samples=10))
        plot = cumulative_plot(rows([run([few], host())], 0.5))
        assert plot is not None
        known = dict(zip(TABLE_SHARES, plot.curves[0].quantiles_ms, strict=True))
        assert known[0.5] is not None
        assert known[0.99] is None


class TestLoad:
    def test_the_moment_of_throttling_is_named_and_lies_on_its_time(self, full: BenchResult) -> None:
        throttled, held = sustained_views(rows([full], 0.5))
        assert throttled.moment == "throttled at 10:15 min"
        assert throttled.sentence == (
            "From 10:15 min on it was 1.31x slower: the device throttled at 79 °C, its frequency fell by 24%."
        )
        plot, _ = throttled.plots[0]
        assert plot.moment is not None
        frame = plot.panels[0].frame
        assert (plot.moment - frame.left) / (frame.right - frame.left) == pytest.approx(615 / 1800, abs=1e-3)
        assert [panel.kind for panel in plot.panels] == ["latency", "frequency", "temperature"]
        assert held.moment == ""
        assert held.sentence.startswith("Latency held for 30 min: 12.4 ms at the beginning, 12.4 ms at the end")

    def test_a_slowdown_that_nothing_explains_is_called_so(self) -> None:
        slower = replace(
            sustained(throttles=True),
            throttling=Throttling(
                time_s=615, slowdown=1.31, frequency_drop=0.0, temperature_c=None, cause="unexplained"
            ),
        )
        (view,) = sustained_views(rows([run([replace(contender("fp32", 5.0, None), sustained=slower)], host())], 0.5))
        assert view.moment == "slower from 10:15 min"
        assert view.sentence.endswith("unexplained: the device told of no throttling, though its frequency held.")

    def test_what_the_device_does_not_tell_has_no_panel_and_gaps_stay_gaps(self) -> None:
        points = sustained(throttles=False).points[:6]
        silent = tuple(replace(point, frequency_mhz=None, p90_ms=None) for point in points)
        broken = (*silent[:3], replace(silent[3], temperature_c=None), *silent[4:])
        plot = sustained_plot(Sustained(seconds=60, points=broken, throttling=None))
        assert plot is not None
        assert [panel.kind for panel in plot.panels] == ["latency", "temperature"]
        assert plot.panels[0].area == ""
        assert plot.panels[1].line.count("M") == 2

    def test_load_without_a_finished_interval_is_said(self) -> None:
        empty = Sustained(seconds=60, points=(), throttling=None)
        text = said([run([replace(contender("fp32", 5.0, None), sustained=empty)], host())])
        assert "No interval of load was finished." in text

    def test_readings_are_drawn_where_the_device_tells_any(self, full: BenchResult) -> None:
        (view,) = readings_views([full])
        assert view.sentence == "Its clock ran at 1500 to 1800 MHz and it was 48 to 60 °C warm."
        mute = Reading(time_s=1.0, frequency_mhz=None, temperature_c=None)
        assert readings_plot([mute]) is None
        assert readings_views([replace(full, readings=(mute,))]) == []

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(4.25, "4.2 s"), (45, "45 s"), (59.7, "1 min"), (500, "8:20 min"), (1800, "30 min"), (3900, "1:05:00 h")],
    )
    def test_times_are_said_as_on_a_clock(self, seconds: float, text: str) -> None:
        assert clock(seconds) == text


class TestProfile:
    def test_the_strip_holds_all_the_time_and_the_top_most_of_it(self) -> None:
        view = profile_view(profile(int8=True))
        assert sum(segment.share for segment in view.strip) == pytest.approx(1)
        assert [segment.share for segment in view.strip[:-1]] == sorted(
            (segment.share for segment in view.strip[:-1]), reverse=True
        )
        assert len(view.top) == TOP
        assert view.rest_share + sum(operator.share for operator in view.top) == pytest.approx(1)
        assert [operator.name for operator in view.fallbacks] == ["head/Conv", "blocks.3/act/HardSwish"]

    def test_fallbacks_are_named_with_their_reason(self, full_text: str) -> None:
        assert "2 of them, 7% of the time, are not executed as asked" in full_text
        assert "▲ float32 in an int8 model" in full_text

    def test_every_operator_lies_where_its_figures_say_and_under_its_roof(self) -> None:
        plot = roofline_plot(profile())
        assert plot is not None
        slope, *levels = plot.roofs
        assert [roof.text for roof in plot.roofs] == ["memory 4.1 GB/s", "float32 28.4 Gop/s", "int8 91 Gop/s"]
        start, end = (tuple(map(float, pair.split(","))) for pair in slope.path[1:].split("L"))
        ridge = float(levels[0].path[1:].split(",")[0])
        level = float(levels[0].path[1:].split(",")[1].split("H")[0])
        for point in plot.points:
            on_slope = start[1] + (point.x - start[0]) * (end[1] - start[1]) / (end[0] - start[0])
            roof = on_slope if point.x < ridge else level
            assert point.y >= roof - 0.1  # pixels count down the screen
            allowed = min(PEAKS.gflops_float32, point.intensity * PEAKS.gigabytes_per_second)
            assert (point.operator.gflops or 0) <= allowed + 1e-9
        assert plot.left_out == 1

    def test_without_peaks_there_is_no_roofline(self) -> None:
        assert roofline_plot(replace(profile(), peaks=None)) is None
        unknown = tuple(replace(each, macs=None) for each in profile().operators)
        assert roofline_plot(replace(profile(), operators=unknown)) is None

    def test_a_profile_of_nothing_is_no_error(self) -> None:
        empty = replace(profile(), operators=())
        assert "in 0 operators" in said([run([replace(contender("fp32", 5.0, None), profile=empty)], host())])


def test_scenarios_say_whether_they_are_valid_and_why_not(full_text: str) -> None:
    assert "VALID 13.2 ms90th percentile latency" in full_text
    assert "INVALID 81.3Samples per second" in full_text
    assert "int8, onnxruntime is not valid: Min duration satisfied : NO" in full_text
    assert "min duration 60 s" in full_text


def test_energy_has_its_interval_and_its_counter(full_text: str) -> None:
    assert "61.4 mJ[59.6 mJ, 63.2 mJ]" in full_text
    assert "INA3221 VDD_IN" in full_text


def test_the_device_beside_the_host_counts_who_is_right(full: BenchResult, full_text: str) -> None:
    accuracy = full.contenders[0].accuracy
    assert accuracy is not None
    view = reference_view(accuracy)
    assert view is not None
    assert (view.device_right, view.reference_right, view.both_wrong) == (2, 5, 0)
    assert (view.difference, view.agreement) == ("-0.13", 1 - 7 / 2000)
    assert "the device alone is right on 2, the host alone on 5, neither on 0" in full_text
    assert reference_view(replace(accuracy, reference=None)) is None


def test_conditions_that_differ_between_runs_are_marked(several: list[BenchResult]) -> None:
    facts = host_facts([result.host for result in several])
    assert [fact.name for fact in facts if fact.differs] == ["Processor", "Governor", "onnxruntime"]
    assert "Governor ≠ differsondemandperformance" in said(several)
    alike = host_facts([several[0].host, replace(several[0].host, time="2026-03-05T00:00:00+00:00")])
    assert not any(fact.differs for fact in alike)


class TestWithoutLatency:
    def test_an_emulator_alone_has_accuracy_and_no_plots(self) -> None:
        page = render([emulated_run()])
        text = " ".join("".join(Page(page).text).split())
        assert "Latency was not measured on this device" in text
        assert "the device alone is right on 2" in text
        assert 'class="plot' not in page
        assert runs_from_json(embedded(page)) == (emulated_run(),)

    def test_beside_others_it_is_named_under_the_plot(self, full: BenchResult) -> None:
        text = said([full, emulated_run()])
        assert "Not shown, since latency was not measured: int8, onnxruntime, qemu://aarch64." in text


class TestChoices:
    def test_only_what_differs_can_be_chosen_by_and_once(self, several: list[BenchResult]) -> None:
        page = render(several)
        match = re.search(r'id="choices">(.*?)</script>', page)
        assert match is not None
        # The runs divide the contenders as the devices do.
        assert re.findall(r'"(\w+)":\[', match[1].split('"rows"')[0]) == ["Device", "Model", "Precision", "Runtime"]


class TestImplausible:
    @staticmethod
    def of(**changes: object) -> BenchResult:
        changed: Contender = replace(contender("fp32", 5.0, None), **changes)  # type: ignore[arg-type]
        return run([changed], host())

    def test_a_figure_that_is_no_number(self) -> None:
        energy = full_run().contenders[0].energy
        assert energy is not None
        with pytest.raises(UsageError, match="a figure of its energy is not a finite number"):
            render([self.of(energy=replace(energy, joules_per_run=math.nan))])
        hot = replace(self.of(), readings=(Reading(time_s=math.inf, frequency_mhz=None, temperature_c=None),))
        with pytest.raises(UsageError, match="a reading of the device is not a finite number"):
            render([hot])

    def test_load_out_of_order(self) -> None:
        backwards = tuple(reversed(sustained(throttles=False).points))
        with pytest.raises(UsageError, match="not in order of time"):
            render([self.of(sustained=Sustained(seconds=1, points=backwards, throttling=None))])

    def test_a_latency_under_load_that_no_run_can_have(self) -> None:
        points = tuple(replace(point, median_ms=0.0) for point in sustained(throttles=False).points[:1])
        with pytest.raises(UsageError, match="a latency under load lies outside"):
            render([self.of(sustained=Sustained(seconds=1, points=points, throttling=None))])

    def test_a_share_that_is_none(self) -> None:
        whole = profile()
        wrong = (replace(whole.operators[0], share=1.5), *whole.operators[1:])
        with pytest.raises(UsageError, match=r"has share 1\.5"):
            render([self.of(profile=replace(whole, operators=wrong))])


def test_a_page_that_grows_too_large_leaves_out_samples_first_and_then_what_repeats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    precisions = ("fp32", "fp16", "int8")
    few = [replace(contender(each, 5.0, None), launches=launches(5.0, samples=80)) for each in precisions]
    result = run(few, host())
    monkeypatch.setattr("edgeml.edge_bench.report.content.DISTRIBUTIONS", 2)
    found = []
    for _ in range(3):
        page = render([result])
        found.append(page)
        monkeypatch.setattr("edgeml.edge_bench.report.page.SIZE_LIMIT_BYTES", len(page.encode()))
    everything, figures, little = (" ".join("".join(Page(page).text).split()) for page in found)
    assert "carries every raw sample" in everything
    assert "raw samples are left out" in figures
    assert "left out to keep the page small" not in figures
    assert "1 further contender is left out to keep the page small" in little
    with pytest.raises(UsageError, match="report fewer runs"):
        render([result])
