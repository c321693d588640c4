"""Weights from files: what is read, and what is refused."""

from __future__ import annotations

import collections
import io
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgeml.core.errors import EdgeMLError, UntrustedFileError, UsageError
from edgeml.models.checkpoint import load_weights, read_state, save_weights
from edgeml.models.registry import find

pytestmark = pytest.mark.torch


def small_network() -> nn.Module:
    name = "tinynet-r28-w0.1-d0.1-small"
    return find(name).build(classes=4, in_channels=1, resolution=None).module


@pytest.fixture
def network() -> nn.Module:
    """A network of the family with statistics that are not the fresh ones."""
    torch.manual_seed(1)
    module = small_network()
    module.train()
    with torch.no_grad():
        module(torch.randn(8, 1, 28, 28))
    return module.eval()


def outputs(module: nn.Module) -> torch.Tensor:
    torch.manual_seed(2)
    with torch.no_grad():
        logits: torch.Tensor = module.eval()(torch.randn(4, 1, 28, 28))
    return logits


def test_safetensors_round_trip_to_the_same_outputs(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network, path, {"made": "here"})
    other = small_network()
    load_weights(other, path)
    assert torch.equal(outputs(other), outputs(network))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_of_torch_is_read_in_both_of_its_formats(
    network: nn.Module, tmp_path: Path, suffix: str, legacy: bool
) -> None:
    path = tmp_path / f"w{suffix}"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    other = small_network()
    load_weights(other, path)
    assert torch.equal(outputs(other), outputs(network))


@pytest.mark.parametrize("key", ["model_ema", "state_dict_ema", "model", "state_dict"])
def test_a_training_checkpoint_gives_its_averaged_weights_first(network: nn.Module, tmp_path: Path, key: str) -> None:
    path = tmp_path / "checkpoint.pth"
    wrong = {"model_ema": "model", "state_dict_ema": "state_dict"}.get(key)
    content: dict[str, Any] = {"epoch": 3, "optimizer": {"state": {}}, key: network.state_dict()}
    if wrong is not None:
        content[wrong] = small_network().state_dict()
    torch.save(content, path)
    other = small_network()
    load_weights(other, path)
    assert torch.equal(outputs(other), outputs(network))


def test_the_prefix_and_the_counter_of_averaged_models_are_taken_off(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model_ema": torch.optim.swa_utils.AveragedModel(network).state_dict()}, path)
    other = small_network()
    load_weights(other, path)
    assert torch.equal(outputs(other), outputs(network))


def test_half_precision_weights_are_widened(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({name: value.half() for name, value in network.state_dict().items()}, path)
    other = small_network()
    load_weights(other, path)
    assert next(other.parameters()).dtype == torch.float32
    assert torch.allclose(outputs(other), outputs(network), atol=0.05)


def test_keys_that_do_not_fit_are_named_and_nothing_is_loaded(network: nn.Module, tmp_path: Path) -> None:
    state = network.state_dict()
    state["fc.weight"] = state.pop("classifier.weight")
    path = tmp_path / "w.pth"
    torch.save(state, path)
    before = outputs(network)
    with pytest.raises(
        UsageError, match=r"lacks classifier\.weight \(1 missing\) and it holds fc\.weight \(1 unknown\)"
    ):
        load_weights(network, path)
    assert torch.equal(outputs(network), before)


def test_a_shape_that_differs_is_told_with_both_sides(network: nn.Module, tmp_path: Path) -> None:
    state = network.state_dict()
    state["classifier.weight"] = torch.zeros(9, 1280)
    path = tmp_path / "w.pth"
    torch.save(state, path)
    before = outputs(network)
    with pytest.raises(
        UsageError, match=r"classifier\.weight is \(9, 1280\) in the file and \(4, 1280\) in the network"
    ):
        load_weights(network, path)
    assert torch.equal(outputs(network), before)


class _Command:
    """A pickle that runs a command when it is opened carelessly."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_would_run_code_is_refused_unopened(tmp_path: Path, legacy: bool) -> None:
    path, target = tmp_path / "evil.pth", tmp_path / "touched"
    torch.save({"w": torch.zeros(1), "x": _Command(target)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UntrustedFileError, match=r"not only weights .*not opened") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)
    assert not target.exists()


def test_a_whole_pickled_model_is_refused_with_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(UntrustedFileError, match=r"state_dict\(\) alone"):
        read_state(path)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(4 << 20)}, buffer)
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(buffer) as stored, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for entry in stored.infolist():
            bomb.writestr(entry.filename, stored.read(entry))
    assert path.stat().st_size < 100_000
    with pytest.raises(UntrustedFileError, match=r"unpacks to 16\d{6} bytes"):
        read_state(path)


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"x" * 5000)
        first = archive.infolist()[0]
        for number in range(9):
            again = zipfile.ZipInfo(f"a/data/{number}")
            again.file_size, again.compress_size, again.CRC = first.file_size, first.compress_size, first.CRC
            again.header_offset = first.header_offset
            archive.filelist.append(again)
    with pytest.raises(UntrustedFileError, match="unpacks to 50000 bytes"):
        read_state(path)


def _declared_larger(legacy: bool) -> bytes:
    """A checkpoint of a 4-element tensor whose pickle says that it has 2**40 elements."""
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(65521)}, buffer, _use_new_zipfile_serialization=not legacy)
    old, new = b"J" + struct.pack("<i", 65521), b"\x8a\x06" + struct.pack("<q", 1 << 40)[:6]
    small = b"M" + struct.pack("<H", 65521)
    data = buffer.getvalue()
    if legacy:
        assert old in data or small in data
        return data.replace(old, new).replace(small, new)
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(changed, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("data.pkl"):
                content = content.replace(old, new).replace(small, new)
            target.writestr(entry.filename, content)
    assert changed.getvalue() != data
    return changed.getvalue()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_tensor_that_declares_more_than_the_file_holds_takes_no_memory(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "bomb.pth"
    path.write_bytes(_declared_larger(legacy))
    code = (
        "import resource, sys; from pathlib import Path; import torch\n"
        "from edgeml.core.errors import EdgeMLError; from edgeml.models.checkpoint import read_state\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_state(Path(sys.argv[1]))\n"
        "except EdgeMLError as error: print(error.exit_code, error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    told, grown_kib = done.stdout.splitlines()
    assert told[0] in "12"
    assert int(grown_kib) < 200_000


class _Deep:
    """Nested far beyond what a state dict is."""

    @staticmethod
    def pickled(levels: int) -> bytes:
        return b"\x80\x02" + b"(" * levels + b"l" * levels + b"."


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a checkpoint at all",
        b"PK\x03\x04 a broken archive",
        pickle.dumps({"w": [1, 2]}),
        pickle.dumps(collections.OrderedDict()),
        _Deep.pickled(100_000),
        bytes(range(256)) * 40,
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_of_rubbish_give_one_line(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(EdgeMLError) as caught:
        read_state(path)
    assert caught.value.exit_code in (1, 2)
    assert str(path) in str(caught.value)


def test_a_cut_file_of_either_kind_is_refused(network: nn.Module, tmp_path: Path) -> None:
    save_weights(network, tmp_path / "w.safetensors")
    torch.save(network.state_dict(), tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(UsageError, match="not a readable"):
            read_state(path)


def test_a_safetensors_header_larger_than_any_network_needs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    with pytest.raises(UntrustedFileError, match="header of 1099511627776 bytes"):
        read_state(path)


def test_values_that_are_no_tensors_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"conv.weight": torch.zeros(1), "epoch": 3}, path)
    with pytest.raises(UsageError, match=r'no state dict: "epoch" is a int'):
        read_state(path)


def test_a_sparse_file_over_the_limit_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with path.open("wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(UntrustedFileError, match="5368709120 bytes"):
        read_state(path)


def test_other_names_directories_and_missing_files_are_refused(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"allowed: \.safetensors, \.pth, \.pt"):
        read_state(tmp_path / "w.bin")
    with pytest.raises(UsageError, match="No such file"):
        read_state(tmp_path / "w.pth")
    (tmp_path / "d.pth").mkdir()
    with pytest.raises(UsageError, match="no regular file"):
        read_state(tmp_path / "d.pth")
    with pytest.raises(UsageError, match=r"must end in \.safetensors"):
        save_weights(network, tmp_path / "w.pth")
    with pytest.raises(UsageError, match="does not exist"):
        save_weights(network, tmp_path / "no" / "w.safetensors")
