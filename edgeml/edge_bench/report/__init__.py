"""Reports: benchmark results as one HTML file that needs nothing else, to look at, to print and to keep."""

from edgeml.edge_bench.report.page import SIZE_LIMIT_BYTES, render, write_report

__all__ = ["SIZE_LIMIT_BYTES", "render", "write_report"]
