"""Training: it learns, repeats exactly, resumes exactly, and keeps its files whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from edgeml.core.errors import EdgeMLError, MissingError, UntrustedFileError, UsageError
from edgeml.models.datasets import default_preprocessing, open_dataset, to_samples
from edgeml.models.training import Recipe, TrainResult, get_recipe, read_weights_metadata, train
from edgeml.models.training.progress import Progress

pytestmark = pytest.mark.torch

RECIPE = get_recipe("quick", epochs=4, batch_size=64)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.SiLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


def run(output: Path, recipe: Recipe = RECIPE, module: nn.Module | None = None, **options: Any) -> TrainResult:
    training = open_dataset("digits:train")
    return train(
        network() if module is None else module,
        **{
            "network": "tiny",
            "preprocessing": default_preprocessing(training),
            "training": training,
            "test": open_dataset("digits:test"),
            "recipe": recipe,
            "output": output,
            "device": "cpu",
            **options,
        },
    )


def without_times(result: TrainResult) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in metrics.items() if key not in {"seconds", "images_per_second"}}
        for metrics in result.history
    ]


def interrupt_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C in the middle of the epoch after `epochs`."""
    advance: Callable[[Progress, int], None] = Progress.advance
    batches = 0

    def counted(self: Progress, images: int) -> None:
        nonlocal batches
        batches += 1
        if batches > epochs * 22 + 5:
            raise KeyboardInterrupt
        advance(self, images)

    monkeypatch.setattr(Progress, "advance", counted)


def test_it_learns_and_leaves_its_files(tmp_path: Path) -> None:
    module = network()
    result = run(tmp_path / "run", module=module)
    assert result.top1 > 0.9
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoint.pth",
        "metrics.jsonl",
        "model.safetensors",
        "train.json",
    ]
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines == list(result.history)
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    summary = json.loads((tmp_path / "run" / "train.json").read_text())
    assert summary["top1"] == result.top1
    assert summary["recipe"]["name"] == "quick"
    assert summary["data_sha256"] == open_dataset("digits:train").sha256
    metadata = read_weights_metadata(result.weights)
    assert metadata is not None
    assert metadata.classes == open_dataset("digits").classes


def test_the_kept_weights_have_the_reported_accuracy_through_the_evaluation_transform(tmp_path: Path) -> None:
    result = run(tmp_path)
    module = network().eval()
    module.load_state_dict(load_file(result.weights))
    data = open_dataset("digits:test")
    samples = to_samples(data, default_preprocessing(data))
    with torch.inference_mode():
        predicted = module(torch.from_numpy(samples.inputs)).argmax(1).numpy()
    assert float(np.mean(predicted == samples.labels)) == result.top1


def test_the_same_seed_repeats_and_another_differs(tmp_path: Path) -> None:
    first, second, other = run(tmp_path / "a"), run(tmp_path / "b"), run(tmp_path / "c", seed=1)
    assert first.sha256 == second.sha256
    assert without_times(first) == without_times(second)
    assert first.sha256 != other.sha256


@pytest.mark.parametrize("recipe", ["quick", "tinynet"])
def test_an_interrupted_run_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    chosen = get_recipe(recipe, epochs=4, batch_size=64)
    straight = run(tmp_path / "straight", chosen)
    interrupt_after(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", chosen)
    monkeypatch.undo()
    assert not (tmp_path / "broken" / "model.safetensors").exists()
    torch.rand(17)  # whatever else drew from torch's generator between must not matter
    resumed = run(tmp_path / "broken", chosen, resume=True)
    assert resumed.sha256 == straight.sha256
    assert without_times(resumed) == without_times(straight)
    both = [torch.load(tmp_path / name / "checkpoint.pth", weights_only=True) for name in ("straight", "broken")]
    for key in ("model", "model_ema"):
        assert all(torch.equal(both[0][key][name], both[1][key][name]) for name in both[0][key])


def test_an_interrupt_in_the_first_epoch_can_be_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_after(0, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken")
    monkeypatch.undo()
    assert run(tmp_path / "broken", resume=True).sha256 == run(tmp_path / "straight").sha256


def test_resuming_a_finished_run_trains_no_more(tmp_path: Path) -> None:
    first = run(tmp_path)
    again = run(tmp_path, resume=True)
    assert again.sha256 == first.sha256
    assert again.history == first.history


def test_another_recipe_network_or_seed_is_not_resumed(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(UsageError, match="with recipe"):
        run(tmp_path, get_recipe("quick", epochs=5, batch_size=64), resume=True)
    with pytest.raises(UsageError, match="with network 'tiny', this one has 'large'"):
        run(tmp_path, network="large", resume=True)
    with pytest.raises(UsageError, match="with seed 0, this one has 3"):
        run(tmp_path, seed=3, resume=True)


def test_a_run_is_not_written_over(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(UsageError, match="go on with --resume, or name another output"):
        run(tmp_path)


def test_a_damaged_or_hostile_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
            return open, (str(tmp_path / "owned"), "w")

    checkpoint = tmp_path / "checkpoint.pth"
    run(tmp_path)
    whole = checkpoint.read_bytes()
    for content in (b"", b"nonsense", whole[:1000], whole[: len(whole) // 2]):
        checkpoint.write_bytes(content)
        with pytest.raises(UsageError, match=r"checkpoint\.pth"):
            run(tmp_path, resume=True)
    torch.save({"format": 1, "identity": Evil()}, checkpoint)
    with pytest.raises((UsageError, UntrustedFileError), match=r"checkpoint\.pth"):
        run(tmp_path, resume=True)
    assert not (tmp_path / "owned").exists()


def test_a_diverging_run_says_so(tmp_path: Path) -> None:
    module = network()
    nn.init.constant_(next(module.parameters()), float("inf"))
    with pytest.raises(EdgeMLError, match="training diverged in epoch 1"):
        run(tmp_path, module=module)
    assert not (tmp_path / "model.safetensors").exists()


def test_a_gpu_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MissingError, match="torch finds no CUDA GPU"):
        run(tmp_path, device="cuda")
    with pytest.raises(UsageError, match="allowed: auto, cpu, cuda"):
        run(tmp_path, device="tpu")


def test_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is a file; name a directory"):
        run(path)


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0\nmore")

    run(tmp_path)
    before = (tmp_path / "checkpoint.pth").read_bytes()
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(EdgeMLError, match=r"cannot write .*checkpoint\.pth"):
        run(tmp_path / "other")
    assert (tmp_path / "checkpoint.pth").read_bytes() == before
    assert list((tmp_path / "other").iterdir()) == []


def test_files_decoded_while_training_repeat_too(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for label in ("dark", "light"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for index in range(40):
            side = 12 + index % 5
            values = generator.integers(0, 120, (side, side + 3, 3)) + (120 if label == "light" else 0)
            Image.fromarray(values.astype(np.uint8)).save(tmp_path / "data" / label / f"{index}.png")
    spec = f"folder:{tmp_path / 'data'}"
    training, test = open_dataset(f"{spec}:train"), open_dataset(f"{spec}:test")
    results = []
    for name in ("a", "b"):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        results.append(
            run(
                tmp_path / name,
                get_recipe("tinynet", epochs=2, batch_size=8, learning_rate=0.01),
                module,
                training=training,
                test=test,
                preprocessing=default_preprocessing(training, resolution=8),
            )
        )
    assert results[0].sha256 == results[1].sha256
    assert results[0].top1_last == 1.0
