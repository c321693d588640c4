"""What compression makes of a binary network, for `edgeml export` and `edgeml models show` to tell."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgeml.cli.speed import Speed
    from edgeml.core.artifact import Artifact
    from edgeml.export.compress_binary import CompressionReport


@dataclass(frozen=True)
class Compression:
    """What trees make of a network's binary layers.

    Attributes:
        report: bits, bit-operations and depth.
        speed: time; None where it was not measured.
    """

    report: CompressionReport
    speed: Speed | None


def compression_of(name: str, weights: Path, *, measure: bool) -> Compression:
    """What trees make of the network `name` with these weights; it is exported for that, and the file dropped.

    Raises:
        UsageError: the weights are not the network's.
        EdgeMLError: the export failed.
    """
    from edgeml.export.export import export
    from edgeml.export.reference_network import reference_network

    network = reference_network(name, weights=weights)
    with tempfile.TemporaryDirectory(prefix="edgeml-trees-") as directory:
        result = export(network, Path(directory) / "trees.onnx", compress_binary="mst")
        assert result.compression is not None
        return Compression(result.compression, measure_trees(result.artifact) if measure else None)


def measure_trees(artifact: Artifact) -> Speed | None:
    """The compressed file against the same network with its filters as they are, on this machine.

    None where no operator of the file is a tree, because none is smaller or the operators were inlined.
    """
    import onnx

    from edgeml.cli.speed import measure_speed
    from edgeml.ops.attach import attach_functions
    from edgeml.ops.tree_expansion import expand_trees, is_tree
    from edgeml.runtime.onnx_file import open_artifact

    model = onnx.load(artifact.path)
    if not any(is_tree(node) for node in model.graph.node):
        return None
    with tempfile.TemporaryDirectory(prefix="edgeml-trees-") as directory:
        dense = expand_trees(model)
        attach_functions(dense)
        path = Path(directory) / "dense.onnx"
        onnx.save(dense, path)
        return measure_speed(artifact, open_artifact(path), threads=None, progress=lambda _: None)


def compression_rows(report: CompressionReport, speed: Speed | None) -> list[tuple[str, str]]:
    """Bits, bit-operations, depth and time, before and after."""
    trees = sum(layer.compressed for layer in report.layers)
    rows = [
        ("trees", f"{trees} of {len(report.layers)} binary convolutions; {report.mean_edge:.1%} of bits differ"),
        ("binary weights", f"{report.bits_before:,} bits before, {report.bits_after:,} after"),
    ]
    if report.bit_operations_before is not None and report.bit_operations_after is not None:
        before, after = report.bit_operations_before, report.bit_operations_after
        rows.append(("bit-operations", f"{before / 1e6:,.1f}M before, {after / 1e6:,.1f}M after"))
    rows.append(("tree depth", f"0 before, {report.depth} at most after"))
    if speed is None:
        rows.append(("time", "not measured" if trees else "the same, as no layer became a tree"))
        return rows
    rows.append(
        (
            "time",
            f"{speed.other_milliseconds:.3f} ms before, {speed.milliseconds:.3f} ms after: "
            f"{speed.than('the same filters without trees')}",
        )
    )
    return [*rows, *(("warning", text) for text in speed.warnings)]


def print_layers(report: CompressionReport) -> None:
    """Every binary convolution, one a line."""
    width = max(len("binary layer"), *(len(layer.name) for layer in report.layers))
    click.echo(
        f"\n{'binary layer':<{width}} {'filters':>7} {'of bits':>7} {'differ':>6} {'depth':>5} {'bits':>9} "
        f"{'as a tree':>9}  stored as"
    )
    for layer in report.layers:
        tree = layer.tree
        click.echo(
            f"{layer.name:<{width}} {tree.filters:>7} {tree.filter_bits:>7} {tree.mean_edge:>6.1%} {tree.depth:>5} "
            f"{tree.dense_storage_bits:>9,} {tree.tree_storage_bits:>9,}  "
            f"{'a tree' if layer.compressed else 'they are'}"
        )
