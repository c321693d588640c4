from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from edgeml.core.bench_result import BenchResult, Contender
from edgeml.core.errors import MissingError, UsageError
from edgeml.edge_bench.report import SIZE_LIMIT_BYTES, palette, render, write_report
from edgeml.edge_bench.results import from_json, runs_from_json
from edgeml.edge_bench.verdicts.verdict import verdicts

MakeContender = Callable[..., Contender]
MakeResult = Callable[..., BenchResult]

HOSTILE = '<script>alert("x")</script>&\'"</svg><img src=x onerror=alert(1)>'
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Checks that tags nest, and collects elements, text and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"script", "style"}:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def embedded(html: str) -> Any:
    match = re.search(r'<script type="application/json" id="results">(.*?)</script>', html, re.DOTALL)
    assert match is not None
    return json.loads(match[1])


@pytest.fixture
def run(make_contender: MakeContender, make_result: MakeResult) -> BenchResult:
    return make_result([make_contender("fp32", 2.0, 0.92), make_contender("int8", 1.0, 0.918, size_bytes=300_000)])


def test_the_page_says_every_verdict_and_every_warning(make_contender: MakeContender, make_result: MakeResult) -> None:
    result = make_result([make_contender("fp32", 2.0), make_contender("int8", 1.0)], warnings=["noisy: a storm"])
    text = " ".join("".join(Page(render([result])).text).replace("\N{NO-BREAK SPACE}", " ").split())
    for verdict in verdicts(result):
        assert verdict.sentence in text
        assert all(note in text for note in verdict.notes)
    assert "noisy: a storm" in text


def test_names_are_text_wherever_they_come_from(make_contender: MakeContender, make_result: MakeResult) -> None:
    contenders = [
        make_contender("fp32", model=HOSTILE, artifact=f"a/{HOSTILE.replace('/', '-')}"),
        make_contender(HOSTILE, 1.0, None, model=HOSTILE),
    ]
    page = render([make_result(contenders, warnings=[HOSTILE], cpu_model=HOSTILE)], title=HOSTILE)
    parsed = Page(page)
    assert len(parsed.all("script")) == 3  # the results, what can be chosen, the program
    assert parsed.all("img") == []
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)
    assert HOSTILE in "".join(parsed.text)
    assert embedded(page)["contenders"][0]["model"] == HOSTILE


def test_the_page_needs_nothing_from_outside(run: BenchResult) -> None:
    page = render([run])
    assert not re.search(r"https?:|//\w|url\(|@import|src=", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    (policy,) = [meta["content"] for meta in Page(page).all("meta") if "http-equiv" in meta]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_the_embedded_json_is_the_run_with_every_sample(run: BenchResult) -> None:
    assert from_json(embedded(render([run]))) == run


def test_several_runs_are_judged_each_on_its_own(
    run: BenchResult, make_contender: MakeContender, make_result: MakeResult
) -> None:
    other = make_result([make_contender("fp32", 4.0, None), make_contender("int8", 8.0, None)], cpu_model="Other CPU")
    page = render([run, other])
    text = "".join(Page(page).text)
    assert "fp32 (run 2) is the baseline" in text
    assert "slower than fp32 (run 2), accuracy" in text
    assert "Not shown, since accuracy was not measured: fp32 (run 2); int8 (run 2)." in text
    assert "Other CPU" in text
    assert runs_from_json(embedded(page)) == (run, other)


def test_percentiles_that_too_few_samples_bear_are_a_dash(
    make_contender: MakeContender, make_result: MakeResult
) -> None:
    text = "".join(Page(render([make_result([make_contender(samples=10, launches=2)])])).text)
    assert "too few samples" in text
    assert "too few samples" not in "".join(Page(render([make_result([make_contender()])])).text)


def test_a_run_without_accuracy_shows_latency_alone(make_contender: MakeContender, make_result: MakeResult) -> None:
    text = "".join(Page(render([make_result([make_contender(accuracy=None), make_contender("int8", 1.0, None)])])).text)
    assert "Accuracy was not measured in this run" in text
    assert "Pareto" not in text


def test_plots_have_names_and_descriptions_of_their_own(run: BenchResult) -> None:
    page = Page(render([run]))
    plots = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(plots) == 8  # accuracy and latency, two histograms and a cumulative plot, each for two widths
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for svg in plots:
        assert set((svg["aria-labelledby"] or "").split()) <= set(identifiers)
    assert all(svg.get("role") == "img" or svg.get("aria-hidden") == "true" for svg in page.all("svg"))
    assert page.all("html")[0]["lang"] == "en"


def test_a_report_of_too_many_samples_leaves_them_out_and_says_so(
    make_contender: MakeContender, make_result: MakeResult
) -> None:
    contenders = [make_contender("fp32", artifact=f"{index}.onnx", samples=3000) for index in range(8)]
    page = render([make_result(contenders)])
    assert len(page.encode()) < SIZE_LIMIT_BYTES
    assert "raw samples are left out" in "".join(Page(page).text)
    assert "launches" not in embedded(page)["contenders"][0]


def test_a_report_that_cannot_be_small_is_refused(make_contender: MakeContender, make_result: MakeResult) -> None:
    contenders = [make_contender(model="m" * 200_000, samples=2, launches=2)]
    with pytest.raises(UsageError, match="larger than 1,000,000 bytes"):
        render([make_result(contenders)])


def test_nothing_to_report_is_a_usage_error(make_result: MakeResult, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to report"):
        write_report([make_result([])], tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("median", [1e-300, 1e300])
def test_latencies_that_no_run_can_have_are_a_usage_error(
    make_contender: MakeContender, make_result: MakeResult, median: float
) -> None:
    with pytest.raises(UsageError, match="a latency lies outside 1e-06 to 1e"):
        render([make_result([make_contender(median=median)])])


@pytest.mark.parametrize("accuracy", [-0.5, 91.7])
def test_an_accuracy_that_is_no_share_is_a_usage_error(
    make_contender: MakeContender, make_result: MakeResult, accuracy: float
) -> None:
    with pytest.raises(UsageError, match="no share between 0 and 1"):
        render([make_result([make_contender(accuracy=accuracy)])])


def test_a_missing_jinja2_names_the_extra(run: BenchResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(MissingError, match=r"edgeml\[report\]"):
        render([run])


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2."""
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_and_marks_stand_out_in_light_and_in_dark(run: BenchResult) -> None:
    schemes = re.findall(r"--page: .*?--c0", render([run]), re.DOTALL)
    assert len(schemes) == 3  # light, dark by the system, dark by choice
    for scheme, marks in zip(schemes, (palette.LIGHT, palette.DARK, palette.DARK), strict=True):
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", scheme))
        for background in ("page", "raised"):
            for text in ("ink", "soft", "good", "bad", "care"):
                assert contrast(colours[text], colours[background]) >= 4.5, (text, background)
        for mark in (*marks, colours["focus"]):
            assert contrast(mark, colours["page"]) >= 3, mark
