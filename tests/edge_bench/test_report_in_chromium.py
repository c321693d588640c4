"""Looks at a report in a real browser: it renders, fits a phone, follows light or dark, and asks for nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeml.core.bench_result import BenchResult, Contender
from edgeml.edge_bench.report import write_report
from tests.edge_bench.chromium import PROGRAM, TIMEOUT_S, TROUBLES, Chromium

MakeContender = Callable[..., Contender]
MakeResult = Callable[..., BenchResult]

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine; `make system-packages` installs it"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    assert PROGRAM is not None
    with Chromium(PROGRAM) as browser:
        yield browser


@pytest.fixture
def report(make_contender: MakeContender, make_result: MakeResult, tmp_path: Path) -> Path:
    contenders = [
        make_contender("fp32", 2.0, 0.92),
        make_contender("int8", 1.0, 0.918, artifact=f"{'a-long-name-' * 9}.onnx"),
        make_contender("fp16", 9.0, None),
    ]
    path = tmp_path / "report.html"
    write_report([make_result(contenders, warnings=["noisy: a storm"])], path)
    return path


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_loads_without_errors_requests_or_overflow(
    chromium: Chromium, report: Path, width: int, dark: bool
) -> None:
    chromium.open(report, width=width, dark=dark)
    assert chromium.evaluate("document.querySelectorAll('svg.plot path').length") > 0
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    asked = [event["params"]["request"]["url"] for event in chromium.events if event["method"].endswith("WillBeSent")]
    assert asked == [report.resolve().as_uri()]
    assert [event for event in chromium.events if event["method"] in TROUBLES] == []


def test_names_in_the_plots_cover_neither_each_other_nor_a_mark(chromium: Chromium, report: Path) -> None:
    for width in (390, 1200):
        chromium.open(report, width=width)
        assert (
            chromium.evaluate("""(() => {
            const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
            for (const plot of document.querySelectorAll("svg.plot")) {
                const boxes = [...plot.querySelectorAll(".label, .mark")].map(e => e.getBoundingClientRect());
                const frame = plot.getBoundingClientRect();
                if (frame.width === 0) continue;  // drawn for another width of the window
                for (const [i, a] of boxes.entries()) {
                    if (a.left < frame.left || a.right > frame.right) return "outside";
                    for (const b of boxes.slice(i + 1)) if (overlap(a, b)) return "overlap";
                }
            }
            return "clear";
        })()""")
            == "clear"
        )


def test_dark_differs_from_light_and_the_button_changes_between_them(chromium: Chromium, report: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    chromium.open(report)
    light, light_picture = chromium.evaluate(background), chromium.screenshot()
    chromium.open(report, dark=True)
    dark, dark_picture = chromium.evaluate(background), chromium.screenshot()
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(20, 22, 26)")
    assert light_picture != dark_picture
    chromium.evaluate("document.getElementById('theme').click()")
    assert chromium.evaluate(background) == light
    assert chromium.evaluate("document.getElementById('theme').textContent") == "Dark"
    chromium.evaluate("document.getElementById('theme').click()")
    assert chromium.evaluate(background) == dark
    chromium.evaluate("localStorage.clear()")


def test_the_table_sorts_by_keyboard_and_keeps_the_unmeasured_last(chromium: Chromium, report: Path) -> None:
    chromium.open(report)
    names = "[...document.querySelectorAll('#figures tbody th')].map(th => th.dataset.value).join()"
    column = "[...document.querySelectorAll('#figures thead th')].find(th => th.textContent.startsWith('Accuracy'))"
    assert chromium.evaluate(names) == "fp32,int8,fp16"
    for order, expected in (("ascending", "int8,fp32,fp16"), ("descending", "fp32,int8,fp16")):
        chromium.evaluate(f"{column}.querySelector('button').focus()")
        chromium.press("Enter")
        assert chromium.evaluate(names) == expected
        assert chromium.evaluate(f"{column}.getAttribute('aria-sort')") == order


def test_the_json_can_be_saved(chromium: Chromium, report: Path, tmp_path: Path) -> None:
    chromium.open(report)
    chromium.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    chromium.evaluate("document.getElementById('download').click()")
    deadline = time.monotonic() + TIMEOUT_S
    while not (tmp_path / "results.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["contenders"]) == 3


def test_print_is_on_white_whatever_the_screen(chromium: Chromium, report: Path) -> None:
    chromium.open(report, dark=True)
    chromium.show_as(dark=True, media="print")
    assert chromium.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert chromium.evaluate("getComputedStyle(document.querySelector('.actions')).display") == "none"
    assert chromium.pdf().startswith(b"%PDF-")
