"""The page about one run on a clip: what it says, the plot over time, every figure; nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from edgeml import __version__
from edgeml.core.atomic import atomic_write_text
from edgeml.core.errors import UsageError, needs_extra
from edgeml.edge_bench.report import palette, words
from edgeml.edge_bench.report.page import SIZE_LIMIT_BYTES
from edgeml.edge_bench.report.palette import style as style_of
from edgeml.edge_bench.video.figures import layer_activities, summarize
from edgeml.edge_bench.video.results import VideoResult
from edgeml.edge_bench.video.results_json import to_json
from edgeml.edge_bench.video.sentences import NAMES, sentences
from edgeml.edge_bench.video.timeline_plot import timeline_plot

_HERE = Path(__file__).parent
_SHARED = _HERE.parent / "report"


def write_report(result: VideoResult, output: Path, *, title: str | None = None) -> None:
    """Write the page to `output`, whole or not at all.

    Raises:
        UsageError: `output` cannot be written, or the clip is too long for a page.
        MissingError: jinja2 is not installed.
    """
    atomic_write_text(output, render(result, title=title))


def render(result: VideoResult, *, title: str | None = None) -> str:
    """The page as one HTML document of less than `SIZE_LIMIT_BYTES`; raw samples stay out where they do not fit.

    Args:
        result: a run on a clip.
        title: heading of the page; by default the name of the network.

    Raises:
        UsageError: the clip is too long for a page.
        MissingError: jinja2 is not installed.
    """
    for with_samples in (True, False):
        page = _fill_template(result, title or result.network, with_samples=with_samples)
        if len(page.encode()) < SIZE_LIMIT_BYTES:
            return page
    raise UsageError(f"a report of {result.frames} frames would be larger than {SIZE_LIMIT_BYTES:,} bytes; use --limit")


def _fill_template(result: VideoResult, title: str, *, with_samples: bool) -> str:
    with needs_extra("report"):
        import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([_HERE, _SHARED]), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(words.FILTERS)
    shared = environment.get_template("style.css").render(light_palette=palette.LIGHT, dark_palette=palette.DARK)
    style = shared + (_HERE / "timeline.css").read_text(encoding="utf-8")
    rows = [
        {
            "contender": contender,
            "name": NAMES[contender.form],
            "style": style_of(index),
            "latency": summarize(contender),
            "comparison": next((each for each in result.comparisons if each.b == index), None),
        }
        for index, contender in enumerate(result.contenders)
    ]
    # Inside a script element, "<" could end it.
    raw = json.dumps(to_json(result, raw=with_samples), separators=(",", ":")).replace("<", "\\u003c")
    return environment.get_template("video_page.html").render(
        title=title,
        result=result,
        rows=rows,
        layers=layer_activities(result.contenders[0]),
        sentences=sentences(result),
        plots=[timeline_plot(result), timeline_plot(result, narrow=True)],
        style=style,
        style_hash="sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        version=__version__,
        with_samples=with_samples,
        raw=raw,
    )
