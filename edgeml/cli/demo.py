"""`edgeml demo`: the whole journey on real data, from fresh weights to a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeml.cli.output import json_option, note, print_json
from edgeml.core.errors import MissingError

if TYPE_CHECKING:
    from edgeml.core.artifact import Artifact
    from edgeml.core.bench_result import BenchResult
    from edgeml.models.training.run import TrainResult

NETWORK = "tinynet-r28-w0.35-d0.5-small"
# The 1,437 images of digits make short epochs.
EPOCHS = {"fashion-mnist": 6, "digits": 24}
# Points of accuracy that fp16 and int8 may lose: one of digits' 360 test images is 0.28 points, too coarse for 0.5.
MAX_ACCURACY_DROP = {"fashion-mnist": 0.5, "digits": 1.5}


@click.command("demo")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Directory for the weights, model files, results and report.",
)
@click.option(
    "--data",
    type=click.Choice(list(EPOCHS)),
    default="fashion-mnist",
    show_default=True,
    help="Data set; where Fashion-MNIST cannot be had, digits takes its place.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training split.")
@json_option
def command(output: Path, data: str, epochs: int | None, as_json: bool) -> None:
    """Train, export, compile, benchmark and report on real data, in minutes.

    A small TinyNet is trained, exported to ONNX in fp32, fp16 and int8, compiled for this machine where TVM is
    installed, each file proven equal to its source, and all are measured; report.html says which precision and which
    runtime pays. A second run goes on where the first one stopped.
    """
    from edgeml.edge_bench.report import write_report
    from edgeml.edge_bench.verdicts.verdict import verdicts

    data = _available(data)
    output.mkdir(parents=True, exist_ok=True)
    trained = _train(output / "train", data, epochs or EPOCHS[data])
    exported = _export(trained.weights, output, data)
    result = _bench([*exported, *_compile(exported, output)], output, data)
    report = output / "report.html"
    note("5/5 writing the report")
    write_report([result], report)
    sentences = [str(verdict) for verdict in verdicts(result)]
    if as_json:
        print_json({"data": data, "top1": trained.top1, "report": str(report), "verdicts": sentences})
        return
    for sentence in sentences:
        click.echo(sentence)
    click.echo(f"report: {report}")


def _available(data: str) -> str:
    from edgeml.models.datasets import open_dataset

    try:
        open_dataset(f"{data}:test")
    except MissingError as error:
        if data == "digits":
            raise
        note(f"{error}\nFashion-MNIST cannot be had here; going on with the digits of scikit-learn instead")
        return "digits"
    return data


def _train(output: Path, data: str, epochs: int) -> TrainResult:
    from edgeml.models.training.source_training import TrainOptions, train_source
    from edgeml.runtime.threads import available_threads

    note(f"1/5 training {NETWORK} on {data}, {epochs} epochs")
    options = TrainOptions(recipe="quick", epochs=epochs, threads=available_threads(), resume=True)
    trained = train_source(NETWORK, data, output, options)
    note(f"    top-1 {trained.top1:.2%} on the test split after {trained.seconds:.0f} s")
    return trained


def _export(weights: Path, output: Path, data: str) -> list[Artifact]:
    """The fp32, fp16 and int8 files, each having passed its parity gate on the test split."""
    from edgeml.export.data import calibration_samples, evaluation_samples
    from edgeml.export.export import export, export_onnx
    from edgeml.models.source import load_source

    network = load_source(NETWORK, weights=weights)
    calibration = calibration_samples(data, network.preprocessing)
    evaluation = evaluation_samples(data, network.preprocessing)
    note("2/5 exporting to ONNX in fp32, fp16 and int8, each compared with its source")
    fp32 = output / "fp32.onnx"
    results = [export(network, fp32, weights=weights, evaluation_data=evaluation)]
    for precision in ("fp16", "int8"):
        file = output / f"{precision}.onnx"
        results.append(
            export_onnx(
                fp32,
                file,
                precision=precision,
                calibration=calibration,
                evaluation_data=evaluation,
                max_accuracy_drop=MAX_ACCURACY_DROP[data],
            )
        )
    for result in results:
        for warning in result.warnings:
            note(f"    {result.artifact.precision}: {warning}")
    return [result.artifact for result in results]


def _compile(artifacts: list[Artifact], output: Path) -> list[Artifact]:
    """Libraries of the fp32 and int8 files for this machine; none where TVM is not installed."""
    from edgeml.compiler.compile import compile_onnx
    from edgeml.core.target import Target

    note("3/5 compiling for this machine with TVM, each library compared with its file")
    libraries = []
    for artifact in artifacts:
        if artifact.precision == "fp16":  # the kernels compute in float32 and int8
            continue
        library = output / f"{artifact.path.stem}.so"
        try:
            libraries.append(compile_onnx(artifact.path, Target.parse("host"), library).artifact)
        except MissingError as error:
            note(f"    left out: {error}")
            break
    return libraries


def _bench(artifacts: list[Artifact], output: Path, data: str) -> BenchResult:
    """All files measured in one run, kept as results.json."""
    import json

    from edgeml.core.atomic import atomic_write_text
    from edgeml.core.device import LOCAL
    from edgeml.edge_bench.bench import bench
    from edgeml.edge_bench.results import to_json
    from edgeml.export.data import evaluation_samples

    note("4/5 measuring latency and accuracy on this machine")
    preprocessing = {artifact.path.stem: artifact.path for artifact in artifacts if artifact.format == "onnx"}
    samples = [evaluation_samples(data, preprocessing[artifact.path.stem]) for artifact in artifacts]
    result = bench(artifacts, device=LOCAL, samples=samples)
    atomic_write_text(output / "results.json", json.dumps(to_json(result, raw=True)) + "\n")
    for warning in result.warnings:
        note(f"    {warning}")
    return result
