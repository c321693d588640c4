"""From what a user types to a network."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from edgeml.core.errors import EdgeMLError, MissingError, UsageError
from edgeml.core.preprocessing import Preprocessing
from edgeml.models.checkpoint import save_weights
from edgeml.models.source import is_onnx_source, load_source

pytestmark = pytest.mark.torch

NETS = """
from torch import nn
from parts import head  # a module beside the file

input_shape = (1, 8, 8)
classes = ("no", "yes")

def fixed():
    return nn.Sequential(nn.Flatten(), head(64, 2))

def flexible(classes=5, in_channels=3, resolution=6, width=4):
    net = nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head(width, classes))
    net.input_shape = (in_channels, resolution, resolution)
    return net

def list_of_layers():
    return [nn.Linear(1, 1)]

def broken():
    raise KeyError("no such layer\\nand more")

def two_outputs():
    class Two(nn.Module):
        def forward(self, x):
            return x, x
    return Two()
"""


@pytest.fixture
def nets(tmp_path: Path) -> Iterator[Path]:
    """A user's Python file with factories, and a module beside it."""
    path = tmp_path / "nets.py"
    path.write_text(NETS)
    (tmp_path / "parts.py").write_text("from torch import nn\ndef head(a, b):\n    return nn.Linear(a, b)\n")
    yield path
    sys.modules.pop("parts", None)


@pytest.mark.parametrize("name", ["tinynet-e", "tinynet-r28-w0.35-d0.5-small", "efficientnet-b0"])
def test_a_name_gives_its_network_ready_for_evaluation(name: str) -> None:
    network = load_source(name)
    assert network.name == name
    assert not network.module.training
    assert network.family == name.partition("-")[0]
    assert network.classes == ()
    with torch.no_grad():
        assert network.module(torch.zeros(1, *network.input_shape)).shape == (1, 1000)


@pytest.mark.parametrize("name", ["tinynet-a", "tinynet-e", "tinynet-r28-w0.35-d0.5-small"])
def test_a_fresh_network_answers_different_images_differently(name: str) -> None:
    network = load_source(name)
    shape = network.input_shape
    with torch.no_grad():
        logits = network.module(torch.randn(4, *shape, generator=torch.Generator().manual_seed(1)))
    assert 0.03 < float((logits[0] - logits[1]).abs().max()) < 10
    for norm in network.module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert not norm.training
            assert norm.momentum == 0.1
            assert norm.num_batches_tracked == 0


def test_imagenet_networks_get_imagenets_evaluation_transform() -> None:
    assert load_source("tinynet-e").preprocessing == Preprocessing(
        height=106,
        width=106,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        interpolation="bicubic",
        crop_fraction=0.875,
    )
    small = load_source("tinynet-e", in_channels=1, resolution=28)
    assert small.preprocessing.crop_fraction == 1
    assert small.input_shape == (1, 28, 28)


def test_classes_and_channels_are_read_off_the_weights(tmp_path: Path) -> None:
    name = "tinynet-r28-w0.1-d0.1-small"
    saved = load_source(name, classes=7, in_channels=1)
    save_weights(saved.module, tmp_path / "w.safetensors")
    loaded = load_source(name, weights=tmp_path / "w.safetensors")
    x = torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(loaded.module(x), saved.module(x))
    assert loaded.input_shape == (1, 28, 28)
    with pytest.raises(UsageError, match=r"classifier\.weight is \(7, 1280\) in the file and \(10, 1280\)"):
        load_source(name, classes=10, weights=tmp_path / "w.safetensors")


def test_what_training_wrote_into_the_weights_is_used_and_can_be_overruled(tmp_path: Path) -> None:
    name, path = "tinynet-r28-w0.1-d0.1-small", tmp_path / "w.safetensors"
    told = Preprocessing(height=32, width=32, mean=(0.3,), std=(0.4,), interpolation="bilinear")
    value = {
        "format": 1,
        "network": name,
        "classes": ["cat", "dog"],
        "preprocessing": told.to_json(),
        "data": "folder:pets",
        "recipe": "quick",
        "epochs": 3,
    }
    save_weights(load_source(name, classes=2, in_channels=1).module, path, {"edgeml": json.dumps(value)})
    network = load_source(name, weights=path)
    assert network.preprocessing == told
    assert network.classes == ("cat", "dog")
    assert load_source(name, weights=path, resolution=40).input_shape == (1, 40, 40)


def test_a_factory_without_parameters_is_called_and_its_files_declarations_are_used(nets: Path) -> None:
    network = load_source(f"{nets}:fixed", classes=2, in_channels=1, resolution=8)
    assert network.input_shape == (1, 8, 8)
    assert network.classes == ("no", "yes")
    assert network.family == "factory"
    assert str(nets.parent) not in sys.path


def test_a_factory_gets_the_arguments_it_has_parameters_for(nets: Path) -> None:
    network = load_source(f"{nets}:flexible", classes=3, in_channels=1, resolution=12)
    assert network.input_shape == (1, 12, 12)
    assert network.module(torch.zeros(1, 1, 12, 12)).shape == (1, 3)
    assert load_source(f"{nets}:flexible").input_shape == (3, 6, 6)


def test_an_input_shape_can_be_given(nets: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.py"
    path.write_text("from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))\n")
    assert load_source(f"{path}:make", input_shape=(3, 2, 2)).input_shape == (3, 2, 2)
    with pytest.raises(UsageError, match=r"input shape of .*plain\.py:make is not known .*input_shape = \(channels"):
        load_source(f"{path}:make")
    with pytest.raises(UsageError, match=r"does not take an input of shape \(3, 5, 5\)"):
        load_source(f"{path}:make", input_shape=(3, 5, 5))
    with pytest.raises(UsageError, match=r"has the shape \(3, 106, 106\), not \(1, 2, 2\)"):
        load_source("tinynet-e", input_shape=(1, 2, 2))


def test_a_preprocessing_declared_beside_the_factory_is_used(tmp_path: Path) -> None:
    path = tmp_path / "declared.py"
    path.write_text(
        "from torch import nn\nfrom edgeml.core.preprocessing import Preprocessing\n"
        "preprocessing = Preprocessing(height=2, width=3, mean=(0.1,), std=(0.2,), interpolation='nearest')\n"
        "def make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(6, 3))\n"
    )
    network = load_source(f"{path}:make")
    assert network.preprocessing == Preprocessing(
        height=2, width=3, mean=(0.1,), std=(0.2,), interpolation="nearest", crop_fraction=1.0
    )


def test_weights_are_loaded_into_a_factorys_network(nets: Path, tmp_path: Path) -> None:
    saved = load_source(f"{nets}:fixed")
    save_weights(saved.module, tmp_path / "w.safetensors")
    loaded = load_source(f"{nets}:fixed", weights=tmp_path / "w.safetensors")
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(loaded.module(x), saved.module(x))


def test_an_importable_module_is_a_source_also_from_the_current_directory(
    nets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(nets.parent)
    nets.rename(nets.with_name("edgeml_test_nets.py"))
    assert load_source("edgeml_test_nets:fixed").input_shape == (1, 8, 8)
    del sys.modules["edgeml_test_nets"]


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("missing", r"has no function 'missing'; it has: fixed, flexible, list_of_layers, broken, two_outputs"),
        ("list_of_layers", "returned a list; it must return a torch.nn.Module"),
        ("broken", "KeyError: 'no such layer"),
        ("two_outputs", "returns a tuple; edgeml needs one tensor"),
    ],
)
def test_a_factory_that_does_not_work_is_told_in_one_line(nets: Path, factory: str, message: str) -> None:
    with pytest.raises(EdgeMLError, match=message) as caught:
        load_source(f"{nets}:{factory}")
    assert "\n" not in str(caught.value)


def test_a_factory_that_cannot_give_what_is_asked_is_refused(nets: Path) -> None:
    with pytest.raises(UsageError, match=r"returns the shape \(1, 2\) for one image, not \(1, 10\)"):
        load_source(f"{nets}:fixed", classes=10)
    with pytest.raises(UsageError, match="takes 1 input channels, not 3"):
        load_source(f"{nets}:fixed", in_channels=3)


def test_code_that_does_not_load_is_told_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def make(:\n")
    with pytest.raises(EdgeMLError, match=r"broken\.py cannot be loaded: SyntaxError"):
        load_source(f"{path}:make")
    path.write_text("import no_such_package_here\n")
    with pytest.raises(EdgeMLError, match="No module named 'no_such_package_here'"):
        load_source(f"{path}:make")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("net.onnx", "is an ONNX file, not a torch network"),
        ("w.pth", r"holds weights only; .*--weights w\.pth"),
        ("w.safetensors", "holds weights only"),
        ("nets.py", r"name the function in it that makes the network: nets\.py:make"),
        ("no_such.py:make", r"the file no_such\.py of no_such\.py:make does not exist"),
        ("no_such_module_here:make", "names the module 'no_such_module_here', which is not installed"),
        ("tinynet_e", "did you mean tinynet-e"),
        ("", "unknown network ''"),
        (":make", "':make' is incomplete"),
        ("os:", "'os:' is incomplete"),
    ],
)
def test_sources_of_no_known_form_are_refused_with_the_forms(source: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_source(source)


def test_onnx_files_are_known_by_their_name() -> None:
    assert is_onnx_source("a/b.onnx")
    assert is_onnx_source("B.ONNX")
    assert not is_onnx_source("tinynet-e")
    assert not is_onnx_source("onnx.py:make")


def test_a_missing_timm_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingError, match=r"edgeml\[timm\]"):
        load_source("timm:tinynet_e")


def test_a_missing_torch_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "edgeml.models.tinynet.network", raising=False)
    monkeypatch.delitem(sys.modules, "edgeml.models.tinynet.blocks", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingError, match=r"edgeml\[train\]"):
        load_source("tinynet-e")


def test_a_network_that_is_a_plain_module_stays_what_it_is(nets: Path) -> None:
    assert isinstance(load_source(f"{nets}:fixed").module, nn.Sequential)
