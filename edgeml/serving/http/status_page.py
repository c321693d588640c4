"""A page for people: which models are served and how they fare. No script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from edgeml import __version__
from edgeml.core.tensor_spec import TensorSpec
from edgeml.serving.engine_protocol import IndexEntry, ModelMetadata

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

_TEXTS = ("Model", "Version", "State", "Inputs", "Outputs")
_NUMBERS = ("Samples", "Failures", "Mean time")
_STYLE = """
:root { color-scheme: light dark; --line: #8883; --good: light-dark(#156c2f, #6fd08c);
        --bad: light-dark(#a3211d, #ff9d97); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h1 small { font-weight: normal; opacity: .7; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.ready { color: var(--good); } .other { color: var(--bad); }
code { font-size: .9em; } .reason { display: block; font-size: .9em; }
@media (max-width: 44rem) {
  thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  tr { display: block; padding: .6rem 0; border-bottom: 1px solid var(--line); }
  td, td.number { display: flex; gap: 1rem; border: 0; padding: .1rem 0; text-align: left; overflow-wrap: anywhere; }
  td::before { content: attr(data-name); flex: 0 0 5.5rem; opacity: .7; }
  td:empty { display: none; }
}
"""


def status_page(
    index: Sequence[IndexEntry], models: Mapping[str, ModelMetadata], statistics: Sequence[Mapping[str, Any]]
) -> str:
    """The page as HTML.

    Args:
        index: every model and version.
        models: those that are ready.
        statistics: the "model_stats" of the statistics extension.
    """
    told = {(entry["name"], entry["version"]): entry for entry in statistics}
    rows = "".join(_row(entry, models.get(entry.name), told.get((entry.name, entry.version))) for entry in index)
    heads = "".join(f"<th>{name}</th>" for name in _TEXTS) + "".join(
        f'<th class="number">{name}</th>' for name in _NUMBERS
    )
    table = f"""<div class="scroll"><table>
<thead><tr>{heads}</tr></thead>
<tbody>{rows}</tbody></table></div>"""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="10"><link rel="icon" href="data:,">
<title>edgeml: models</title><style>{_STYLE}</style></head>
<body><h1>Models <small>edgeml {escape(__version__)}</small></h1>
{table if index else "<p>No models are served.</p>"}
<p>For programs: <a href="/openapi.json">/openapi.json</a>, <a href="/metrics">/metrics</a>, <a href="/v2">/v2</a></p>
</body></html>
"""


def _row(entry: IndexEntry, metadata: ModelMetadata | None, statistics: Mapping[str, Any] | None) -> str:
    state = "ready" if entry.state == "READY" else "other"
    reason = f'<span class="reason">{escape(entry.reason)}</span>' if entry.reason else ""
    inputs = "" if metadata is None else _tensors(metadata.inputs)
    outputs = "" if metadata is None else _tensors(metadata.outputs)
    count, failures, mean = "", "", ""
    if statistics is not None:
        success = statistics["inference_stats"]["success"]
        count = str(statistics["inference_count"])
        failures = str(statistics["inference_stats"]["fail"]["count"])
        mean = f"{success['ns'] / success['count'] / 1e6:.2f} ms" if success["count"] else ""
    told = f'<span><span class="{state}">{escape(entry.state.lower())}</span>{reason}</span>'
    texts = (escape(entry.name), escape(entry.version), told, inputs, outputs)
    return (
        "<tr>"
        + "".join(f'<td data-name="{name}">{text}</td>' for name, text in zip(_TEXTS, texts, strict=True))
        + "".join(
            f'<td data-name="{name}" class="number">{number}</td>'
            for name, number in zip(_NUMBERS, (count, failures, mean), strict=True)
        )
        + "</tr>"
    )


def _tensors(specs: Sequence[TensorSpec]) -> str:
    told = "<br>".join(
        f"<code>{escape(spec.name)}</code> {escape(spec.dtype)} ({escape(', '.join(map(str, spec.shape)))})"
        for spec in specs
    )
    return f"<span>{told}</span>"
