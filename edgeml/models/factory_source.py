"""The user's own networks: a function in a Python file or in an installed module that returns one."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgeml.core.errors import EdgeMLError, UsageError, needs_extra
from edgeml.core.preprocessing import Preprocessing
from edgeml.models.network import Network

if TYPE_CHECKING:
    from torch import nn


def from_factory(
    source: str,
    *,
    classes: int | None,
    in_channels: int | None,
    resolution: int | None,
    input_shape: tuple[int, int, int] | None,
) -> Network:
    """The network that the factory returns; see docs/add-a-model.md for what it may declare.

    The factory is called with those of `classes`, `in_channels` and `resolution` that were given and that it has
    parameters for. Running the user's own code is the point: name no factory you would not run yourself.

    Raises:
        UsageError: there is no such factory, it makes no network, or the network does not fit what was asked for.
        EdgeMLError: the user's code failed.
        MissingError: torch is not installed.
    """
    with needs_extra("train"):
        from torch import nn

    place, _, name = source.rpartition(":")
    if not place or not name:
        raise UsageError(f"the source {source!r} is incomplete; the forms are file.py:factory and module:factory")
    factory = _find(source, place, name)
    asked = {"classes": classes, "in_channels": in_channels, "resolution": resolution}
    accepted = _parameters(factory)
    arguments = {word: value for word, value in asked.items() if value is not None and word in accepted}
    try:
        module = factory(**arguments)
    except Exception as error:  # the user's code may raise anything
        raise EdgeMLError(f"{source} failed: {_one_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"{source} returned a {type(module).__name__}; it must return a torch.nn.Module")
    module.eval()
    defaults = {word: value for word, value in accepted.items() if isinstance(value, int)}
    wanted = defaults | {word: value for word, value in asked.items() if value is not None}
    owners = (module, factory, sys.modules.get(getattr(factory, "__module__", ""), factory))
    preprocessing = _declared(source, owners, input_shape, wanted)
    shape = (preprocessing.channels, preprocessing.height, preprocessing.width)
    _check_channels(source, shape, in_channels)
    _check_logits(source, module, shape, classes)
    names = tuple(str(each) for each in _attribute(owners, "classes") or ())
    return Network(name=source, module=module, preprocessing=preprocessing, family="factory", classes=names)


def _find(source: str, place: str, name: str) -> Callable[..., Any]:
    module = _import_file(source, Path(place)) if place.endswith(".py") else _import_module(source, place)
    factory = getattr(module, name, None)
    if callable(factory):
        return factory  # type: ignore[no-any-return]  # callable() narrows to an unknown signature
    own = [
        each
        for each, value in vars(module).items()
        if inspect.isroutine(value) and value.__module__ == module.__name__ and not each.startswith("_")
    ]
    raise UsageError(f"{place} has no function {name!r}; it has: {', '.join(own) or 'none'}")


def _import_file(source: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"the file {path} of {source} does not exist")
    name = f"_edgeml_user_{path.stem}_{abs(hash(path.resolve())):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up there
    try:
        with _importable(path.resolve().parent):
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise EdgeMLError(f"{path} cannot be loaded: {_one_line(error)}") from error
    return module


def _import_module(source: str, name: str) -> ModuleType:
    try:
        with _importable(Path.cwd()):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(
                f"the source {source!r} names the module {name!r}, which is not installed and not in this directory; "
                "the forms are a network's name, timm:NAME, file.py:factory and module:factory"
            ) from error
        raise EdgeMLError(f"the module {name!r} cannot be imported: {_one_line(error)}") from error
    except Exception as error:
        raise EdgeMLError(f"the module {name!r} cannot be imported: {_one_line(error)}") from error


@contextlib.contextmanager
def _importable(directory: Path) -> Iterator[None]:
    """Let modules in `directory` be imported meanwhile; last in the path, so that they hide no installed one."""
    sys.path.append(str(directory))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(directory))


def _parameters(factory: Callable[..., Any]) -> dict[str, Any]:
    """Named parameters of the factory with their defaults."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # some callables written in C have no signature
        return {}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {each.name: each.default for each in parameters if each.kind in named}


def _attribute(owners: tuple[Any, ...], name: str) -> Any:
    """The declaration `name` on the network, the factory or its module, in this order."""
    for owner in owners:
        value = getattr(owner, name, None)
        if value is not None and not callable(value):
            return value
    return None


def _declared(
    source: str, owners: tuple[Any, ...], input_shape: tuple[int, int, int] | None, wanted: dict[str, int]
) -> Preprocessing:
    preprocessing = _attribute(owners, "preprocessing")
    if isinstance(preprocessing, Preprocessing) and input_shape is None:
        return preprocessing
    shape = input_shape if input_shape is not None else _attribute(owners, "input_shape")
    if shape is None and "resolution" in wanted:
        shape = (wanted.get("in_channels", 3), wanted["resolution"], wanted["resolution"])
    if not (isinstance(shape, tuple | list) and len(shape) == 3 and all(isinstance(n, int) and n > 0 for n in shape)):
        stated = "it declares none" if shape is None else f"it declares {shape!r}"
        raise UsageError(
            f"the input shape of {source} is not known ({stated}); put input_shape = (channels, height, width) "
            "beside the factory, or give the shape on the command line"
        )
    channels, height, width = shape
    if isinstance(preprocessing, Preprocessing) and preprocessing.channels == channels:
        mean, std = preprocessing.mean, preprocessing.std
    else:
        mean, std = (0.0,) * channels, (1.0,) * channels
    return Preprocessing(height=height, width=width, mean=mean, std=std)


def _check_channels(source: str, shape: tuple[int, int, int], in_channels: int | None) -> None:
    if in_channels is not None and shape[0] != in_channels:
        raise UsageError(
            f"the network of {source} takes {shape[0]} input channels, not {in_channels}; "
            "give its factory a parameter in_channels, or use data of that many channels"
        )


def _check_logits(source: str, module: nn.Module, shape: tuple[int, int, int], classes: int | None) -> None:
    import torch

    first = next(module.parameters(), torch.empty(0))
    try:
        with torch.no_grad():
            logits = module(torch.zeros((1, *shape), dtype=first.dtype, device=first.device))
    except Exception as error:  # the user's code may raise anything
        raise UsageError(f"{source} does not take an input of shape {shape}: {_one_line(error)}") from error
    if not isinstance(logits, torch.Tensor):
        raise UsageError(f"{source} makes a network that returns a {type(logits).__name__}; edgeml needs one tensor")
    if classes is not None and tuple(logits.shape) != (1, classes):
        raise UsageError(
            f"the network of {source} returns the shape {tuple(logits.shape)} for one image, not (1, {classes}); "
            "give its factory a parameter classes"
        )


def _one_line(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:300]}"
