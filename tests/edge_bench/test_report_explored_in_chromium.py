"""Uses a report in a real browser: by pointer, by keyboard, by assistive technology, in each size and colour scheme."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edgeml.edge_bench.report import write_report
from tests.edge_bench.chromium import PROGRAM, TROUBLES, Chromium
from tests.edge_bench.report_runs import emulated_run, full_run, many_devices
from tests.edge_bench.test_report import contrast

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine; `make system-packages` installs it"),
]

# Every colour of text with the background behind it, whether it is HTML or SVG.
COLOURS_OF_TEXT = """(() => {
  const found = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    const hidden = !element.checkVisibility() || element.closest(".skip, .quiet, script, style, title, desc");
    if (!walk.currentNode.textContent.trim() || hidden) continue;
    let behind = element;
    while (behind && getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
    const style = getComputedStyle(element);
    const ink = element instanceof SVGElement ? style.fill : style.color;
    found.add(`${ink}|${getComputedStyle(behind || document.body).backgroundColor}`);
  }
  return [...found];
})()"""

# What reaches out of the window and belongs to no region that scrolls by itself.
OVERFLOWING = """[...document.querySelectorAll("main *, header *, footer *")]
  .filter((element) => element.checkVisibility() && !element.closest(".scroll, .quiet, svg, .skip"))
  .filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map((element) => element.outerHTML.slice(0, 80))"""

# Text of a visible plot that is cut off at an edge of its drawing.
CUT_OFF = """[...document.querySelectorAll("svg.plot")].filter((plot) => plot.getBoundingClientRect().width > 0)
  .flatMap((plot) => [...plot.querySelectorAll("text")].filter((text) => {
    const box = text.getBoundingClientRect(), frame = plot.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1
      || box.bottom > frame.bottom + 1;
  })).map((text) => text.textContent)"""

TIP = "(() => { const tip = document.getElementById('tip'); return tip.hidden ? '' : tip.innerText; })()"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    assert PROGRAM is not None
    with Chromium(PROGRAM) as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same three reports for all tests: they only look at them."""
    folder = tmp_path_factory.mktemp("reports")
    reports = {"full": [full_run()], "devices": many_devices(), "emulated": [emulated_run()]}
    for name, results in reports.items():
        write_report(results, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in reports}


def in_hex(colour: str) -> str:
    """rgb(1, 2, 3) as #010203."""
    return "#" + "".join(f"{int(part):02x}" for part in colour[colour.index("(") + 1 : -1].split(",")[:3])


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["full", "devices", "emulated"])
def test_a_report_fits_its_window_and_is_legible(
    chromium: Chromium, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    chromium.open(pages[name], width=width, dark=dark)
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert chromium.evaluate(OVERFLOWING) == []
    assert chromium.evaluate(CUT_OFF) == []
    pairs = [pair.split("|") for pair in chromium.evaluate(COLOURS_OF_TEXT)]
    assert pairs
    for ink, background in pairs:
        assert contrast(in_hex(ink), in_hex(background)) >= 4.5, (ink, background)
    assert [event for event in chromium.events if event["method"] in TROUBLES] == []


@pytest.mark.parametrize("name", ["full", "devices", "emulated"])
def test_assistive_technology_finds_a_name_for_everything(
    chromium: Chromium, pages: dict[str, Path], name: str
) -> None:
    chromium.open(pages[name])
    tree: list[dict[str, Any]] = chromium.send("Accessibility.getFullAXTree")["nodes"]
    named = {"image", "img", "button", "slider", "link", "heading", "region", "columnheader", "rowheader"}
    nodes = [node for node in tree if not node.get("ignored") and node.get("role", {}).get("value") in named]
    assert len(nodes) > 10
    assert [node for node in nodes if not node.get("name", {}).get("value", "").strip()] == []
    levels = chromium.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(each => +each.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    unnamed = "[...document.querySelectorAll('svg')].filter(s => !s.ariaHidden && !s.getAttribute('aria-labelledby'))"
    assert chromium.evaluate(f"{unnamed}.length") == 0
    broken = """[...document.querySelectorAll("[aria-labelledby]")].flatMap(
        (each) => each.getAttribute("aria-labelledby").split(" ").filter((id) => !document.getElementById(id)))"""
    assert chromium.evaluate(broken) == []
    ids = "[...document.querySelectorAll('[id]')].map(each => each.id)"
    assert chromium.evaluate(f"{ids}.length === new Set({ids}).size") is True
    links = "[...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.getAttribute('href')))"
    assert chromium.evaluate(f"{links}.length") == 0


def test_a_mark_tells_of_itself_by_pointer_and_by_keyboard(chromium: Chromium, pages: dict[str, Path]) -> None:
    chromium.open(pages["devices"], width=1280)
    spot = "document.querySelectorAll('svg.tradeoff.wide .spot')"
    chromium.evaluate(f"{spot}[0].scrollIntoView({{block: 'center'}})")
    box = chromium.evaluate(
        f"(() => {{ const b = {spot}[0].querySelector('.mark').getBoundingClientRect();"
        " return [b.left + b.width / 2, b.top + b.height / 2]; })()"
    )
    chromium.send("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    first: str = chromium.evaluate(TIP)
    assert first.startswith("tinynet-e fp32, onnxruntime, ssh://pi@board\n12.")
    chromium.send("Input.dispatchMouseEvent", type="mouseMoved", x=5, y=5)
    assert chromium.evaluate(TIP) == ""

    assert chromium.evaluate(f"[...{spot}].filter(each => each.tabIndex === 0).length") == 1
    chromium.evaluate(f"{spot}[0].focus()")
    chromium.press("ArrowRight")
    assert chromium.evaluate("document.activeElement.getAttribute('aria-label')").startswith("tinynet-e int8")
    assert chromium.evaluate(TIP).startswith("tinynet-e int8")
    chromium.press("End")
    assert chromium.evaluate(TIP).startswith("resnet18 int8, onnxruntime, local")
    chromium.press("Escape")
    assert chromium.evaluate(TIP) == ""


def test_time_is_walked_through_by_keyboard_and_followed_by_the_pointer(
    chromium: Chromium, pages: dict[str, Path]
) -> None:
    chromium.open(pages["full"], width=1280)
    plot = "document.querySelector('svg.timeline.wide')"
    chromium.evaluate(f"{plot}.focus()")
    chromium.press("End")
    value = f"{plot}.getAttribute('aria-valuetext')"
    assert chromium.evaluate(value).startswith("30 min, Runs ")
    assert "Frequency 1370 MHz" in chromium.evaluate(value)
    chromium.press("Home")
    assert chromium.evaluate(value).startswith("10 s, Runs ")
    chromium.press("PageUp")
    assert chromium.evaluate(value).startswith("3:10 min")
    x, y = chromium.evaluate(
        f"(() => {{ {plot}.scrollIntoView({{block: 'center'}}); const b = {plot}.getBoundingClientRect();"
        " return [b.left + b.width / 2, b.top + b.height / 2]; })()"
    )
    chromium.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert chromium.evaluate(TIP).startswith("14:")
    assert chromium.evaluate(f"{plot}.querySelectorAll('.cross').length") == 1


def test_a_choice_of_contenders_holds_in_every_plot_and_table_and_the_front_follows(
    chromium: Chromium, pages: dict[str, Path]
) -> None:
    chromium.open(pages["devices"], width=1280)
    press = "[...document.querySelectorAll('#facets button')].find(b => b.textContent === '{}').click()"
    rows = "[...document.querySelectorAll('#figures tbody tr')].filter(r => r.checkVisibility()).length"
    fronts = "[...document.querySelectorAll('svg.tradeoff.wide .front')].map(f => f.getAttribute('d'))"
    corners = f"{fronts}.map(d => d.split('L').length)"
    assert chromium.evaluate(rows) == 9
    drawn = chromium.evaluate(corners)
    chromium.evaluate(press.format("tvm"))
    assert chromium.evaluate(rows) == 8
    assert chromium.evaluate("document.getElementById('chosen').textContent") == "8 of 9 contenders are shown."
    # Without tvm's int8, onnxruntime's takes its place on the board's front.
    assert chromium.evaluate(corners) == drawn
    chromium.evaluate(press.format("ssh://pi@board"))
    assert chromium.evaluate(rows) == 4
    assert chromium.evaluate(f"{fronts}[0]") == ""
    bands = "[...document.querySelectorAll('.bands > div')].filter(b => b.checkVisibility()).length"
    assert chromium.evaluate(bands) == 4
    curves = "[...document.querySelectorAll('svg.plot.wide .curve')].filter(c => c.checkVisibility()).length"
    assert chromium.evaluate(curves) == 4
    chromium.evaluate(press.format("local"))
    assert chromium.evaluate("document.getElementById('chosen').textContent") == "No contender is left to show."
    assert chromium.evaluate("document.getElementById('spread').checkVisibility()") is False
    chromium.evaluate(press.format("Show all"))
    assert chromium.evaluate(rows) == 9
    assert chromium.evaluate("document.getElementById('spread').checkVisibility()") is True


def test_the_front_drawn_by_the_page_is_the_one_in_the_file(chromium: Chromium, pages: dict[str, Path]) -> None:
    chromium.open(pages["devices"], width=1280)
    corners = "[...document.querySelectorAll('svg.tradeoff.wide .front')].map(f => f.getAttribute('d'))"
    drawn: list[str] = chromium.evaluate(corners)
    for path, front in zip(drawn, _fronts_in_the_file(pages["devices"]), strict=True):
        assert _corners(path) == _corners(front)


def _fronts_in_the_file(page: Path) -> list[str]:
    wide = page.read_text(encoding="utf-8").split('<svg class="plot wide tradeoff"')[1].split("</svg>")[0]
    return [piece.split(' d="')[1].split('"')[0] for piece in wide.split('<path class="front')[1:]]


def _corners(path: str) -> list[tuple[float, ...]]:
    """The corners of a path, without those that repeat."""
    points = [tuple(round(float(part), 1) for part in pair.split(",")) for pair in path.strip("M").split("L")]
    return [point for index, point in enumerate(points) if index == 0 or point != points[index - 1]]


def test_every_table_sorts(chromium: Chromium, pages: dict[str, Path]) -> None:
    chromium.open(pages["full"])
    count = chromium.evaluate("document.querySelectorAll('table.sortable').length")
    assert count > 5
    shares = "[...document.querySelector('table.operators').tBodies[0].rows].map(r => +r.cells[1].dataset.value)"
    assert chromium.evaluate(shares) == sorted(chromium.evaluate(shares), reverse=True)
    chromium.evaluate("document.querySelector('table.operators thead th:nth-child(2) button').click()")
    assert chromium.evaluate(shares) == sorted(chromium.evaluate(shares))


@pytest.mark.parametrize("name", ["full", "devices", "emulated"])
def test_a_report_prints_on_paper(chromium: Chromium, pages: dict[str, Path], name: str) -> None:
    chromium.open(pages[name], width=720, dark=True)
    chromium.show_as(dark=True, media="print")
    assert chromium.evaluate("document.documentElement.scrollWidth") <= 720
    for selector in ("nav", "#facets", "details", ".actions", "#tip"):
        shown = f"[...document.querySelectorAll({selector!r})].some(each => each.checkVisibility())"
        assert chromium.evaluate(shown) is False
    if name == "full":
        assert chromium.pdf().startswith(b"%PDF-")


def test_without_scripts_the_page_reads_whole(chromium: Chromium, pages: dict[str, Path]) -> None:
    chromium.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chromium.show_as()
        chromium.events.clear()
        chromium.send("Page.navigate", url=pages["full"].resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in chromium.events):
            chromium.send("Network.enable")  # anything that is answered
        tree: list[dict[str, Any]] = chromium.send("Accessibility.getFullAXTree")["nodes"]
        names = {node.get("name", {}).get("value") for node in tree}
        assert "Accuracy against median latency of each contender" in str(names)
        assert "Where it was measured" in names
        assert "Download JSON" not in names
        assert "Show" not in names
    finally:
        chromium.send("Emulation.setScriptExecutionDisabled", value=False)
