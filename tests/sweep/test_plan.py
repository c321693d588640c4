"""From a sweep file to tasks, cells and keys."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeml.core.errors import UsageError
from edgeml.sweep.plan import Plan, data_word, measurement, plan, source_word
from edgeml.sweep.run import task_keys
from edgeml.sweep.sweep_file import read_sweep_file
from edgeml.sweep.task import Given, Made, Output
from tests.sweep.conftest import FakeSweep

TWO = """
models = ["tinynet-e"]
data = "digits"
precisions = ["fp32", "int8"]
runtimes = ["onnxruntime", "tvm"]
threads = [1, 2]
"""


def labels(planned: Plan) -> list[str]:
    return [task.label for task in planned.tasks]


def test_files_are_made_once_and_in_order(fake_sweep: FakeSweep) -> None:
    planned = fake_sweep.plan(TWO)
    assert labels(planned) == [
        "export tinynet-e fp32",
        "compile tinynet-e fp32 for host",
        "export tinynet-e int8",
        "compile tinynet-e int8 for host",
    ]
    assert len(planned.cells) == 8
    export = planned.tasks[2]
    assert export.words == (
        "export",
        Made("export tinynet-e fp32", "tinynet-e-fp32.onnx"),
        "--precision",
        "int8",
        "--calibration",
        "digits",
        "--data",
        "digits",
        "--output",
        Output("tinynet-e-int8.onnx"),
    )
    (group,) = planned.groups
    words = measurement(planned.sweep, group).words
    assert words.count("--threads") == 2
    assert sum(isinstance(word, Made) for word in words) == 4


def test_fp32_is_made_for_int8_even_where_it_is_not_measured(fake_sweep: FakeSweep) -> None:
    planned = fake_sweep.plan('models = ["a"]\ndata = "digits"\nprecisions = ["int8"]')
    assert labels(planned) == ["export a fp32", "export a int8"]
    assert [cell.precision for cell in planned.cells] == ["int8"]


def test_what_is_excluded_is_not_made_either(fake_sweep: FakeSweep) -> None:
    planned = fake_sweep.plan(TWO + '[[exclude]]\nprecision = "int8"\nruntime = "tvm"\n')
    assert "compile tinynet-e int8 for host" not in labels(planned)
    assert len(planned.cells) == 6
    with pytest.raises(UsageError, match="nothing is left"):
        fake_sweep.plan(TWO + '[[exclude]]\nmodel = "tinynet-e"\n')


def test_training_comes_first_and_is_shared(fake_sweep: FakeSweep) -> None:
    planned = fake_sweep.plan(
        'precisions = ["fp32", "fp16"]\n[[models]]\nsource = "a"\ntrain = {data = "digits", epochs = 3}\n'
    )
    assert labels(planned) == ["train a", "export a fp32", "export a fp16"]
    assert planned.tasks[0].words == (
        *("train", "a", "--data", "digits", "--epochs", "3", "--resume", "--output"),
        Output("train"),
    )
    assert Made("train a", "train/model.safetensors") in planned.tasks[1].words


def test_an_onnx_file_is_measured_as_it_is_and_converted_from(
    fake_sweep: FakeSweep, write_conv_net: Callable[..., Path]
) -> None:
    write_conv_net("net.onnx")
    planned = fake_sweep.plan('models = ["net.onnx"]\ndata = "digits"\nprecisions = ["fp32", "int8"]')
    assert labels(planned) == ["export net int8"]
    assert [cell.artifact for cell in planned.cells] == [
        Given("net.onnx"),
        Made("export net int8", "net-int8.onnx"),
    ]


def test_int8_without_data_is_refused(fake_sweep: FakeSweep) -> None:
    with pytest.raises(UsageError, match="int8 needs data"):
        fake_sweep.plan('models = ["a"]\nprecisions = ["int8"]')


def test_data_and_sources_that_are_files_are_known_as_such(tmp_path: Path) -> None:
    assert data_word("digits:test") == "digits:test"
    assert data_word("folder:my/images:train") == Given("my/images", before="folder:", behind=":train")
    assert source_word("timm:resnet18", tmp_path) == ("timm:resnet18", ())
    assert source_word("nets.py:make", tmp_path) == (Given("nets.py", behind=":make"), ())
    package = tmp_path / "my_nets"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('a plan imports nothing')")
    (package / "small.py").write_text("")
    word, hidden = source_word("my_nets.small:make", tmp_path)
    assert word == "my_nets.small:make"
    assert [path.name for path in hidden] == ["__init__.py", "small.py"]


def test_keys_follow_the_command_and_the_content_of_its_files(fake_sweep: FakeSweep) -> None:
    nets, other = fake_sweep.directory / "nets.py", fake_sweep.directory / "parts.py"
    nets.write_text("a = 1")
    text = 'models = ["nets.py:make"]\nprecisions = ["fp32", "fp16"]\n'

    def keys(text: str) -> list[str]:
        return list(task_keys(fake_sweep.plan(text)).values())

    before = keys(text)
    assert keys(text) == before
    os.utime(nets, (1, 1))
    assert keys(text) == before
    assert all(a != b for a, b in zip(keys(text + "[export]\nmax_accuracy_drop = 2\n"), before, strict=True))
    # Only fp32 is made of the network itself: an option of torch's exporter reaches fp16 through its file.
    assert all(a != b for a, b in zip(keys(text + "[export]\nopset = 18\n"), before, strict=True))
    nets.write_text("a = 2")
    changed = keys(text)
    assert all(a != b for a, b in zip(changed, before, strict=True))
    other.write_text("what nets.py may import")
    assert all(a != b for a, b in zip(keys(text), changed, strict=True))


def test_a_folder_is_known_by_its_listing(fake_sweep: FakeSweep) -> None:
    images = fake_sweep.directory / "images"
    images.mkdir()
    (images / "one.png").write_bytes(b"1")
    text = 'models = ["a"]\ndata = "folder:images"\n'
    before = task_keys(fake_sweep.plan(text))
    (images / "two.png").write_bytes(b"2")
    assert task_keys(fake_sweep.plan(text)) != before
    with pytest.raises(UsageError, match="cannot read"):
        task_keys(fake_sweep.plan('models = ["a"]\ndata = "folder:nowhere"\n'))


def test_the_example_can_be_planned() -> None:
    planned = plan(read_sweep_file(Path(__file__).parents[2] / "examples/sweep.toml"))
    assert planned.cells
