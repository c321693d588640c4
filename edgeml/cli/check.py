"""`edgeml check`: compare an ONNX file with its reference."""

from __future__ import annotations

from pathlib import Path

import click

from edgeml.cli.export import parity_rows
from edgeml.cli.output import json_option, note, print_json, print_rows
from edgeml.cli.source_options import source_options

_FAILED = 4


@click.command("check")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--reference", required=True, metavar="SOURCE", help="The network, or an .onnx file, it should equal.")
@source_options
@click.option("--data", help="Data to judge the loss of accuracy on; its test split by default.")
@click.option("--max-accuracy-drop", type=click.FloatRange(min=0), default=0.5, show_default=True, help="In points.")
@json_option
def command(
    model: Path,
    reference: str,
    weights: Path | None,
    classes: int | None,
    in_channels: int | None,
    resolution: int | None,
    input_shape: tuple[int, int, int] | None,
    data: str | None,
    max_accuracy_drop: float,
    as_json: bool,
) -> int:
    """Compare an ONNX file with its reference, layer by layer.

    Ends with exit code 4 where they differ, and names the first layer that does.
    """
    from edgeml.export.check import check
    from edgeml.export.data import evaluation_samples
    from edgeml.export.reference_network import reference_network
    from edgeml.models.source import is_onnx_source
    from edgeml.runtime.onnx_file import open_artifact

    artifact = open_artifact(model)
    if is_onnx_source(reference):
        samples = None if data is None else evaluation_samples(data, artifact.path)
        report = check(artifact, Path(reference), data=samples, max_accuracy_drop=max_accuracy_drop)
    else:
        network = reference_network(
            reference,
            classes=classes,
            in_channels=in_channels,
            resolution=resolution,
            weights=weights,
            input_shape=input_shape,
        )
        samples = None if data is None else evaluation_samples(data, network.preprocessing)
        report = check(artifact, network, data=samples, max_accuracy_drop=max_accuracy_drop)
    if as_json:
        print_json({"artifact": artifact.to_json(), "parity": report.to_json()})
    else:
        print_rows([("file", str(model)), ("reference", report.reference), *parity_rows(report)])
    if report.passed:
        return 0
    layer = report.first_difference
    note(
        f"edgeml: {model} does not agree with {report.reference}; "
        + ("no single layer is to blame" if layer is None else f"the first layer that differs: {layer}")
    )
    return _FAILED
