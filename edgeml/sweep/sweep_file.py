"""The file that describes a sweep, in TOML: what to combine, and the settings of the commands that do the work."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from edgeml.core.artifact import Precision
from edgeml.core.device import LOCAL
from edgeml.core.errors import UsageError
from edgeml.core.json_values import choice, integer, items, mapping, string
from edgeml.core.target import Target
from edgeml.edge_bench.devices.profiles import resolve_device
from edgeml.runtime.registry import names as runtime_names
from edgeml.sweep.settings import Settings, read_settings

_LIMIT_BYTES = 1 << 20
_KEYS = (
    "name",
    "models",
    "precisions",
    "runtimes",
    "threads",
    "devices",
    "targets",
    "data",
    "exclude",
    "export",
    "compile",
    "bench",
)
_MODEL_KEYS = ("source", "name", "weights", "classes", "in_channels", "resolution", "input_shape", "train")
_EXCLUDED = ("model", "precision", "runtime", "threads", "device")
_PRECISIONS = tuple(precision for precision in get_args(Precision) if precision != "mixed")


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model of a sweep.

    Attributes:
        source: as `edgeml export` takes it: a network, timm:NAME, file.py:factory, module:factory or file.onnx; or a
            library that `edgeml compile` made.
        name: what tables call it; unique in the sweep.
        weights: weights file, as written in the sweep file.
        options: of `edgeml export`, that make the network: classes, in_channels, resolution, input_shape.
        train: settings of `edgeml train`; None where the network is not trained.
    """

    source: str
    name: str
    weights: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    train: Settings | None = None


@dataclass(frozen=True, kw_only=True)
class SweepDevice:
    """A device of a sweep.

    Attributes:
        text: as written: a profile's name or an address.
        address: the device's address, equal for two names of one device.
        target: what code for TVM is generated for; None where the sweep needs none.
    """

    text: str
    address: str
    target: str | None

    @property
    def is_here(self) -> bool:
        """Whether it is this very machine, which builds would disturb."""
        return self.address == str(LOCAL)


@dataclass(frozen=True, kw_only=True)
class SweepFile:
    """What a sweep file says.

    Attributes:
        directory: where it lies; paths in it are relative to this.
        name: the sweep's name.
        models: models.
        precisions: "fp32", "fp16", "int8".
        runtimes: "onnxruntime", "tvm".
        threads: thread counts; empty for the device's available cores.
        devices: devices.
        data: what accuracy is measured on; None for latency alone.
        exclude: combinations that are left out: those equal in all that an entry gives.
        export: settings of `edgeml export`.
        compile: settings of `edgeml compile`.
        bench: settings of `edgeml bench`.
    """

    directory: Path
    name: str
    models: tuple[Model, ...]
    precisions: tuple[str, ...]
    runtimes: tuple[str, ...]
    threads: tuple[int, ...]
    devices: tuple[SweepDevice, ...]
    data: str | None
    exclude: tuple[tuple[tuple[str, str], ...], ...]
    export: Settings
    compile: Settings
    bench: Settings

    def excludes(self, **cell: object) -> bool:
        """Whether an entry of `exclude` is equal to the combination in all that it gives."""
        return any(all(str(cell[name]) == value for name, value in entry) for entry in self.exclude)


def read_sweep_file(path: Path) -> SweepFile:
    """The sweep that the file describes.

    Raises:
        UsageError: the file cannot be read, or something in it is not allowed.
    """
    import tomlkit

    try:
        if path.stat().st_size > _LIMIT_BYTES:
            raise UsageError(f"{path} is larger than {_LIMIT_BYTES} bytes, so it describes no sweep")
        values = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read the sweep {path}: {error}") from error
    try:
        return _sweep(values, path)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _sweep(values: dict[str, Any], path: Path) -> SweepFile:
    if unknown := [name for name in values if name not in _KEYS]:
        raise UsageError(f"unknown key {unknown[0]!r:.80}; allowed: {', '.join(_KEYS)}")
    if "models" not in values:
        raise UsageError('it names no models; give models = ["tinynet-e"], or a [[models]] table each')
    runtimes = _words("runtimes", values, ("onnxruntime",), allowed=runtime_names())
    targets = mapping("[targets]", values.get("targets", {}))
    devices = _words("devices", values, ("local",))
    if unknown := [name for name in targets if name not in devices]:
        raise UsageError(f"[targets] names {unknown[0]!r:.80}, which is none of the devices {', '.join(devices)}")
    data = values.get("data")
    sweep = SweepFile(
        directory=path.resolve().parent,
        name=string("name", values.get("name", path.stem)),
        models=tuple(_model(each, path.resolve().parent) for each in items("models", values["models"])),
        precisions=_words("precisions", values, ("fp32",), allowed=_PRECISIONS),
        runtimes=runtimes,
        threads=_threads(values.get("threads", [])),
        devices=tuple(_device(text, targets, "tvm" in runtimes) for text in devices),
        data=None if data is None else string("data", data),
        exclude=tuple(_excluded(each) for each in items("exclude", values.get("exclude", []))),
        export=read_settings("export", mapping("[export]", values.get("export", {}))),
        compile=read_settings("compile", mapping("[compile]", values.get("compile", {}))),
        bench=read_settings("bench", mapping("[bench]", values.get("bench", {}))),
    )
    _check(sweep)
    return sweep


def _check(sweep: SweepFile) -> None:
    if not sweep.models:
        raise UsageError("models is empty; name at least one")
    _refuse_twice("models", [file_name(model.name) for model in sweep.models], "give one of them another name")
    _refuse_twice("devices", [device.address for device in sweep.devices], "leave one out")
    if any(name == "limit" for name, _ in sweep.bench) and sweep.data is None:
        raise UsageError("limit in [bench] says how much of the data to use; give data too")


def _refuse_twice(what: str, names: list[str], mend: str) -> None:
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{what} has {twice[0]!r:.80} twice; {mend}")


def _model(value: object, directory: Path) -> Model:
    values = {"source": value} if isinstance(value, str) else mapping("a model", value)
    if unknown := [name for name in values if name not in _MODEL_KEYS]:
        raise UsageError(f"a model has the unknown key {unknown[0]!r:.80}; allowed: {', '.join(_MODEL_KEYS)}")
    if "source" not in values:
        raise UsageError("a model lacks its source")
    source = string("a model's source", values["source"])
    is_file = source.lower().endswith((".onnx", ".so"))
    if is_file and (given := sorted(values.keys() - {"source", "name"})):
        raise UsageError(f"the model {source} is a model file, so {given[0]} cannot be given; it is taken as it is")
    if is_file and not (directory / source).is_file():
        raise UsageError(f"there is no model file {source}")
    options = [
        (f"--{name.replace('_', '-')}", str(integer(name, values[name])))
        for name in ("classes", "in_channels", "resolution")
        if name in values
    ]
    if "input_shape" in values:
        shape = [integer("input_shape", size) for size in items("input_shape", values["input_shape"])]
        options.append(("--input-shape", ",".join(map(str, shape))))
    weights = values.get("weights")
    train = values.get("train")
    if weights is not None and train is not None:
        raise UsageError(f"the model {source} has both weights and train; give one of them")
    if train is not None and "data" not in mapping("train", train):
        raise UsageError(f"the model {source} is to be trained and train gives no data")
    return Model(
        source=source,
        name=string("a model's name", values.get("name", Path(source).stem if is_file else source)),
        weights=None if weights is None else string("weights", weights),
        options=tuple(options),
        train=None if train is None else read_settings("train", mapping("train", train)),
    )


def _device(text: str, targets: dict[str, Any], compiles: bool) -> SweepDevice:
    profile = resolve_device(text)
    # The same address behind two gateways is two devices.
    address = str(profile.device) if profile.through is None else f"{profile.device} through {profile.through}"
    target = targets.get(text, "host" if address == str(LOCAL) else None)
    if target is not None:
        Target.parse(string(f"the target of {text}", target))
    elif compiles:
        raise UsageError(
            f"the runtime tvm needs to know what code to generate for the device {text}: give [targets], such as "
            f'"{text}" = "rpi4" (`edgeml doctor` lists targets)'
        )
    return SweepDevice(text=text, address=address, target=target)


def _words(
    name: str, values: dict[str, Any], default: tuple[str, ...], *, allowed: Iterable[str] | None = None
) -> tuple[str, ...]:
    found = tuple(string(f"one of {name}", each) for each in items(name, values.get(name, list(default))))
    if not found:
        raise UsageError(f"{name} is empty; name at least one")
    if allowed is not None:
        for each in found:
            choice(f"one of {name}", each, allowed)
    _refuse_twice(name, list(found), "leave one out")
    return found


def _threads(value: object) -> tuple[int, ...]:
    found = tuple(integer("one of threads", each) for each in items("threads", value))
    if any(each < 1 for each in found):
        raise UsageError(f"threads has {min(found)}; each must be at least 1")
    return tuple(dict.fromkeys(found))


def _excluded(value: object) -> tuple[tuple[str, str], ...]:
    values = mapping("an entry of exclude", value)
    if unknown := [name for name in values if name not in _EXCLUDED]:
        raise UsageError(f"exclude has the unknown key {unknown[0]!r:.80}; allowed: {', '.join(_EXCLUDED)}")
    if not values:
        raise UsageError("an entry of exclude is empty and would leave everything out")
    return tuple((name, str(cast("object", each))) for name, each in values.items())


def file_name(name: str) -> str:
    """A name that files can bear."""
    return re.sub("[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "model"
