"""Weights from files: read without running what a stranger put into them, written whole or not at all."""

from __future__ import annotations

import json
import pickle
import stat
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeml.core.atomic import atomic_write
from edgeml.core.errors import EdgeMLError, UntrustedFileError, UsageError, needs_extra

if TYPE_CHECKING:
    from torch import Tensor, nn

SUFFIXES = (".safetensors", ".pth", ".pt")

_LIMIT_BYTES = 4 << 30
_HEADER_LIMIT_BYTES = 16 << 20
# Where training scripts keep the state dict, the averaged weights first: edgeml's own, then timm's.
_STATE_KEYS = ("model_ema", "state_dict_ema", "model", "state_dict")


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill `module` from a state dict in `path`; every key must be there, and no other.

    Args:
        module: takes the weights; left as it was when they do not fit.
        path: .safetensors, or .pth and .pt as torch.save writes them: a state dict, or a training checkpoint that
            holds one under "model_ema", "state_dict_ema", "model" or "state_dict" (the first found counts).

    Raises:
        UsageError: not such a file, or not the weights of this network.
        UntrustedFileError: opening it would run code or take more memory than its size.
        MissingError: torch or safetensors is not installed.
    """
    apply_state(module, read_state(path), path)


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in `path`, on the CPU; see `load_weights` for the files and the errors."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path} is not a weights file edgeml reads; allowed: {', '.join(SUFFIXES)}")
    _check_file(path)
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def apply_state(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy `state`, which was read from `path`, into `module`; all of it or nothing.

    Raises:
        UsageError: keys or shapes differ; the first of them is named.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state]
    unknown = [name for name in state if name not in own]
    if missing or unknown:
        parts = [f"it lacks {missing[0]} ({len(missing)} missing)"] if missing else []
        parts += [f"it holds {unknown[0]:.120} ({len(unknown)} unknown)"] if unknown else []
        raise UsageError(
            f"the weights {path} do not fit the network: {' and '.join(parts)}; "
            "name the network that they were saved from"
        )
    for name, value in own.items():
        if state[name].shape != value.shape:
            raise UsageError(
                f"the weights {path} do not fit the network: {name} is {tuple(state[name].shape)} in the file and "
                f"{tuple(value.shape)} in the network; check its width, depth, classes and input channels"
            )
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        raise UsageError(f"cannot use the weights {path}: {_first_line(error)}") from error


def save_weights(module: nn.Module, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write the state dict of `module` to `path` as .safetensors, whole or not at all.

    Raises:
        UsageError: the name does not end in .safetensors, or the directory does not exist.
        EdgeMLError: the file could not be written.
        MissingError: safetensors is not installed.
    """
    if path.suffix != ".safetensors":
        raise UsageError(f"cannot write weights to {path}: the name must end in .safetensors")
    with needs_extra("train"):
        from safetensors import SafetensorError
        from safetensors.torch import save_file

    # Cloned, since safetensors refuses tensors that share memory.
    state = {name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}
    with atomic_write(path) as temporary:
        try:
            save_file(state, temporary, metadata=dict(metadata) if metadata else None)
        except SafetensorError as error:
            raise EdgeMLError(f"cannot write {path}: {_first_line(error)}") from error


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise UsageError(f"cannot read the weights {path}: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"cannot read the weights {path}: it is no regular file")
    if status.st_size > _LIMIT_BYTES:
        raise UntrustedFileError(f"{path} has {status.st_size} bytes; weights of at most {_LIMIT_BYTES} are read")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with needs_extra("train"):
        from safetensors import SafetensorError
        from safetensors.torch import load_file

    try:
        # The library trusts a header of up to 100 MB, which as Python objects is many times that.
        with path.open("rb") as file:
            start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if length > _HEADER_LIMIT_BYTES:
            raise UntrustedFileError(f"{path} declares a header of {length} bytes; allowed: {_HEADER_LIMIT_BYTES}")
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise UsageError(f"{path} is not a readable .safetensors file: {_first_line(error)}") from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    with needs_extra("train"):
        import torch

    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on old pickle protocols; what counts is what it returns
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UntrustedFileError(
            f"{path} is not only weights ({_refused(error)}), so it was not opened; "
            "save the model's state_dict() alone, as .safetensors where you can"
        ) from error
    except (MemoryError, RecursionError) as error:
        raise UntrustedFileError(f"{path} asks for more memory than its size warrants; it was not opened") from error
    except Exception as error:  # a damaged pickle fails anywhere in torch, in any way
        raise UsageError(f"{path} is not a readable torch checkpoint: {_first_line(error)}") from error
    return _find_state(content, path)


def _check_archive(path: Path) -> None:
    """Refuse an archive that would unpack to more than it weighs; torch itself stores tensors uncompressed."""
    try:
        if not zipfile.is_zipfile(path):  # torch's format before 1.6
            return
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UsageError(f"{path} is not a readable torch checkpoint: {_first_line(error)}") from error
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > path.stat().st_size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise UntrustedFileError(
            f"{path} is a compressed archive that unpacks to {unpacked} bytes, which torch.save never writes; "
            "it was not opened"
        )


def _find_state(content: Any, path: Path) -> dict[str, Tensor]:
    import torch

    for key in _STATE_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content:
        raise UsageError(f"{path} holds no state dict: found {type(content).__name__}")
    state = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise UsageError(
                f"{path} holds no state dict: {json.dumps(str(name)[:80])} is a {type(value).__name__}, not a tensor"
            )
        if name != "n_averaged":  # torch's AveragedModel counts its updates beside the weights
            state[name] = value
    if all(name.startswith("module.") for name in state):  # wrapped by DataParallel or AveragedModel
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def _refused(error: Exception) -> str:
    for line in str(error).splitlines():
        if "GLOBAL" in line or "Unsupported" in line:
            return line.strip()[:160]
    return "its pickle does more than hold tensors"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
