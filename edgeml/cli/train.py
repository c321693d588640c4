"""`edgeml train`: train a network on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgeml.cli.output import json_option, note, print_json
from edgeml.core.errors import UsageError

_DEFAULT_RECIPE = "tinynet"


@click.command("train")
@click.argument("network", metavar="NAME")
@click.option(
    "--data", required=True, help="fashion-mnist, digits, folder:DIR, npz:FILE, or video:generated (segmentation)."
)
@click.option("--epochs", type=int, help="Passes over the training split.  [default: the recipe's]")
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for checkpoint.pth, metrics.jsonl, model.safetensors and train.json.",
)
@click.option(
    "--recipe",
    default=_DEFAULT_RECIPE,
    show_default=True,
    help="tinynet (as published), quick (minutes) or binary (binary networks).",
)
@click.option("--batch-size", type=int, help="Images per step; the learning rate follows.  [default: the recipe's]")
@click.option("--lr", "learning_rate", type=float, help="Peak learning rate.  [default: the recipe's]")
@click.option(
    "--tree-weight",
    type=click.FloatRange(min=0),
    help="Of the loss that makes the filters of a binary layer alike (docs/compress-a-binary-network.md).  "
    "[default: the recipe's]",
)
@click.option("--seed", type=click.IntRange(min=0, max=2**63 - 1), default=0, show_default=True, help="Of all draws.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the output directory.")
@click.option("--resolution", type=int, help="Input size in pixels.  [default: the name's, else the images']")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to train; auto takes a GPU where there is one.",
)
@click.option(
    "--init-weights", type=click.Path(path_type=Path), help="Weights to start from (.safetensors, or .pth of tensors)."
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: the cores this process may use]")
@json_option
def command(
    network: str,
    data: str,
    epochs: int | None,
    output: Path,
    recipe: str,
    batch_size: int | None,
    learning_rate: float | None,
    tree_weight: float | None,
    seed: int,
    resume: bool,
    resolution: int | None,
    device: str,
    init_weights: Path | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Train a network on a data set.

    NAME is a network (see `edgeml models list`), timm:NAME, file.py:factory or module:factory. Classes, channels and
    size follow the data. After Ctrl-C, --resume goes on from the last full epoch.
    """
    from edgeml.runtime.threads import available_threads

    if data.startswith("video:"):
        refused = {
            "--resume": resume,
            "--resolution": resolution,
            "--tree-weight": tree_weight,
            "--recipe": recipe not in {_DEFAULT_RECIPE, "scenes"},
            "--device": device == "cuda",
        }
        if names := [name for name, given in refused.items() if given]:
            raise UsageError(f"{', '.join(names)} cannot be given with drawn scenes; leave it out")
        threads = threads or available_threads()
        _train_on_scenes(network, data, output, epochs, batch_size, learning_rate, seed, init_weights, threads, as_json)
        return
    from edgeml.models.training.source_training import TrainOptions, train_source

    options = TrainOptions(
        recipe=recipe,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        tree_weight=tree_weight,
        seed=seed,
        device=device,
        resolution=resolution,
        init_weights=init_weights,
        threads=threads or available_threads(),
        resume=resume,
    )
    try:
        result = train_source(network, data, output, options)
    except KeyboardInterrupt:
        note(f"edgeml: interrupted; go on from the last full epoch with --resume and the same options ({output})")
        raise click.exceptions.Exit(130) from None
    if as_json:
        print_json({"network": network, "data": data, "recipe": recipe, "seed": seed, **result.to_json()})
        return
    click.echo(
        f"{network}: top-1 {result.top1:.2%} on the test split of {data} after {result.epochs} epochs "
        f"({result.seconds:.0f} s)\nweights: {result.weights}"
    )


def _train_on_scenes(
    network: str,
    data: str,
    output: Path,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    seed: int,
    init_weights: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    from dataclasses import replace

    from edgeml.models.video.clips.segmentation_training import SegmentationRecipe
    from edgeml.models.video.scene_run import train_on_scenes

    given: dict[str, Any] = {"epochs": epochs, "batch": batch_size, "peak_learning_rate": learning_rate}
    recipe = replace(
        SegmentationRecipe(seed=seed), **{name: value for name, value in given.items() if value is not None}
    )
    result = train_on_scenes(network, data, output, recipe=recipe, init_weights=init_weights, threads=threads)
    if as_json:
        print_json({"network": network, "data": data, "seed": seed, **result.to_json()})
        return
    click.echo(
        f"{network}: mean IoU {result.mean_iou:.2%} on unseen scenes after {result.epochs} epochs "
        f"({result.seconds:.0f} s)\nweights: {result.weights}"
    )
