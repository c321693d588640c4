"""Looks at a report in a real browser: it renders, fits a phone, follows light or dark, and asks for nothing."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import pytest

from edgeml.core.bench_result import BenchResult, Contender
from edgeml.edge_bench.report import write_report

MakeContender = Callable[..., Contender]
MakeResult = Callable[..., BenchResult]

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine; `make system-packages` installs it"),
]

_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
)  # fmt: skip
_TIMEOUT_S = 60.0


class Chromium:
    """A browser with one page, steered through its debugging pipe.

    `events` collects what the page reported (requests, console, exceptions).
    """

    def __init__(self, program: str) -> None:
        self._profile = tempfile.mkdtemp(prefix="edgeml-chromium-")
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()

        # The browser reads commands from descriptor 3 and writes answers to 4; bash puts the pipes there.
        wiring = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", wiring, "bash", program, *_QUIET, f"--user-data-dir={self._profile}",
             "--remote-debugging-pipe", "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._next_id = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = cast("str", self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._write)
        os.close(self._read)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Run one command of the DevTools protocol and return its result."""
        self._next_id += 1
        message: dict[str, Any] = {"id": self._next_id, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self._next_id:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return cast("dict[str, Any]", answer["result"])
            if "method" in answer:
                self.events.append(answer)

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if time.monotonic() > deadline:
                raise TimeoutError("the browser did not answer")
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise RuntimeError("the browser ended")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return cast("dict[str, Any]", json.loads(message))

    def open(self, page: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Show a file in a window of this size and wait until it is loaded."""
        self.show_as(dark=dark)
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.events.clear()
        self.send("Page.navigate", url=page.resolve().as_uri())
        self.evaluate(
            "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))"
        )

    def show_as(self, *, dark: bool = False, media: str = "screen") -> None:
        """Prefer light or dark colours, on the screen or in print."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media=media, features=[feature])

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression in the page; a promise is waited for."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def pdf(self) -> bytes:
        """The page as it prints on A4, for a reader who prefers dark screens."""
        self.show_as(dark=True, media="print")
        answer = self.send("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False)
        return base64.b64decode(answer["data"])


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
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_loads_without_errors_requests_or_overflow(
    chromium: Chromium, report: Path, width: int, dark: bool
) -> None:
    chromium.open(report, width=width, dark=dark)
    assert chromium.evaluate("document.querySelectorAll('svg.plot path').length") > 0
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    asked = [event["params"]["request"]["url"] for event in chromium.events if event["method"].endswith("WillBeSent")]
    assert asked == [report.resolve().as_uri()]
    troubles = {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"}
    assert [event for event in chromium.events if event["method"] in troubles] == []


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
    names = "[...document.querySelectorAll('tbody th')].map(th => th.dataset.value).join()"
    column = "[...document.querySelectorAll('thead th')].find(th => th.textContent.startsWith('Accuracy'))"
    assert chromium.evaluate(names) == "fp32,int8,fp16"
    for order, expected in (("ascending", "int8,fp32,fp16"), ("descending", "fp32,int8,fp16")):
        chromium.evaluate(f"{column}.querySelector('button').focus()")
        for kind in ("keyDown", "keyUp"):
            chromium.send(
                "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13
            )
        assert chromium.evaluate(names) == expected
        assert chromium.evaluate(f"{column}.getAttribute('aria-sort')") == order


def test_the_json_can_be_saved(chromium: Chromium, report: Path, tmp_path: Path) -> None:
    chromium.open(report)
    chromium.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    chromium.evaluate("document.getElementById('download').click()")
    deadline = time.monotonic() + _TIMEOUT_S
    while not (tmp_path / "results.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["contenders"]) == 3


def test_print_is_on_white_whatever_the_screen(chromium: Chromium, report: Path) -> None:
    chromium.open(report, dark=True)
    chromium.show_as(dark=True, media="print")
    assert chromium.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert chromium.evaluate("getComputedStyle(document.querySelector('.actions')).display") == "none"
    assert chromium.pdf().startswith(b"%PDF-")
