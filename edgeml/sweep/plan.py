"""From a sweep file to its work: which files have to be made, which cells there are, what is measured together."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from edgeml.core.errors import UsageError
from edgeml.models.datasets.spec import DatasetSpec
from edgeml.runtime.onnx_file import open_artifact
from edgeml.sweep.settings import option_words
from edgeml.sweep.sweep_file import Model, SweepDevice, SweepFile, file_name
from edgeml.sweep.task import Given, Made, Output, Task, Word

RESULT_FILE = "results.json"
_WEIGHTS = "train/model.safetensors"
# Settings of [export] that only a torch network takes, and only an int8 file.
_OF_NETWORKS = ("opset", "static_batch")
_OF_INT8 = ("calibration",)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination of a sweep.

    Attributes:
        model: the model's name.
        precision: its precision.
        runtime: what executes it.
        threads: threads inside one operator; None for the device's available cores.
        device: the device, as written in the sweep file.
        artifact: the model file to measure.
    """

    model: str
    precision: str
    runtime: str
    threads: int | None
    device: str
    artifact: Given | Made

    @property
    def label(self) -> str:
        """What messages call it."""
        threads = "" if self.threads is None else f", {self.threads} threads"
        return f"{self.model} {self.precision}, {self.runtime}{threads}, {self.device}"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Cells of one model on one device: their samples are taken in turn, so that drift cancels in their ratios.

    Attributes:
        model: the model's name.
        device: the device.
        cells: the cells.
        alone: whether it is a part of a group that could not be measured together.
    """

    model: str
    device: SweepDevice
    cells: tuple[Cell, ...]
    alone: bool = False

    @property
    def label(self) -> str:
        """What messages call it."""
        first = self.cells[0]
        what = f"{self.model} {first.precision}, {first.runtime}, alone" if self.alone else self.model
        return f"measure {what} on {self.device.text}"

    def split(self) -> tuple[Group, ...]:
        """A group for each model file of this one."""
        return tuple(
            Group(
                model=self.model,
                device=self.device,
                cells=tuple(cell for cell in self.cells if cell.artifact == artifact),
                alone=True,
            )
            for artifact in dict.fromkeys(cell.artifact for cell in self.cells)
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The work of a sweep.

    Attributes:
        sweep: what it was made from.
        tasks: what makes model files, each behind those it needs.
        groups: what is measured.
    """

    sweep: SweepFile
    tasks: tuple[Task, ...]
    groups: tuple[Group, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All combinations."""
        return tuple(cell for group in self.groups for cell in group.cells)


def plan(sweep: SweepFile) -> Plan:
    """The work of a sweep; nothing is run.

    Raises:
        UsageError: combinations need what the file does not give.
        CheckFailedError: a model file was changed after its manifest was written.
    """
    tasks: dict[str, Task] = {}
    groups = []
    for model in sweep.models:
        for device in sweep.devices:
            cells = _cells(sweep, model, device, tasks)
            if cells:
                groups.append(Group(model=model.name, device=device, cells=cells))
    if not groups:
        raise UsageError("nothing is left to measure: exclude leaves every combination out")
    needed = {label for group in groups for cell in group.cells for label in _needed(cell.artifact, tasks)}
    return Plan(
        sweep=sweep, tasks=tuple(task for label, task in tasks.items() if label in needed), groups=tuple(groups)
    )


def measurement(sweep: SweepFile, group: Group) -> Task:
    """The task that measures the cells of a group in one run; its output is `RESULT_FILE`."""
    artifacts = tuple(dict.fromkeys(cell.artifact for cell in group.cells))
    counts = dict.fromkeys(cell.threads for cell in group.cells if cell.threads is not None)
    words: list[Word] = ["bench", *artifacts, "--device", group.device.text]
    for count in counts:
        words += ["--threads", str(count)]
    if sweep.data is not None:
        words += ["--data", data_word(sweep.data)]
    words += [*option_words(sweep.bench), "--no-store", "--output", Output(RESULT_FILE)]
    return Task(label=group.label, kind="measure", words=tuple(words))


def data_word(text: str) -> Word:
    """How a data set is named on a command line."""
    spec = DatasetSpec.parse(text)
    if not spec.location:
        return text
    return Given(spec.location, before=f"{spec.kind}:", behind="" if spec.split is None else f":{spec.split}")


def _cells(sweep: SweepFile, model: Model, device: SweepDevice, tasks: dict[str, Task]) -> tuple[Cell, ...]:
    found = []
    for precision, runtime, artifact in _artifacts(sweep, model, device, tasks):
        for threads in sweep.threads or (None,):
            cell = {"model": model.name, "precision": precision, "runtime": runtime, "threads": threads}
            if not sweep.excludes(**cell, device=device.text):
                found.append(
                    Cell(
                        model=model.name,
                        precision=precision,
                        runtime=runtime,
                        threads=threads,
                        device=device.text,
                        artifact=artifact,
                    )
                )
    return tuple(found)


def _artifacts(
    sweep: SweepFile, model: Model, device: SweepDevice, tasks: dict[str, Task]
) -> list[tuple[str, str, Given | Made]]:
    """Precision, runtime and file of each combination; the tasks that make the files are added to `tasks`."""
    suffix = Path(model.source).suffix.lower()
    own = open_artifact(sweep.directory / model.source).precision if suffix in {".onnx", ".so"} else None
    if suffix == ".so":
        return [(str(own), "tvm", Given(model.source))]
    found: list[tuple[str, str, Given | Made]] = []
    # What is not fp32 any more cannot be converted: it is measured as it is.
    precisions = sweep.precisions if own in {None, "fp32"} else (str(own),)
    for precision in precisions:
        onnx = Given(model.source) if own == precision else _exported(sweep, model, precision, own is None, tasks)
        for runtime in sweep.runtimes:
            if runtime == "tvm":
                assert device.target is not None
                found.append((precision, runtime, _compiled(sweep, model, precision, onnx, device.target, tasks)))
            else:
                found.append((precision, runtime, onnx))
    return found


def _exported(sweep: SweepFile, model: Model, precision: str, from_torch: bool, tasks: dict[str, Task]) -> Made:
    label, output = f"export {model.name} {precision}", f"{file_name(model.name)}-{precision}.onnx"
    if label in tasks:
        return Made(label, output)
    words: list[Word] = ["export"]
    hidden: tuple[Path, ...] = ()
    if from_torch and precision == "fp32":
        source, hidden = source_word(model.source, sweep.directory)
        words.append(source)
        for option, value in model.options:
            words += [option, value]
        words += _weights(sweep, model, tasks)
        settings = option_words(sweep.export, leave_out=_OF_INT8)
    else:
        words.append(_exported(sweep, model, "fp32", True, tasks) if from_torch else Given(model.source))
        words += ["--precision", precision]
        settings = option_words(sweep.export, leave_out=(*_OF_NETWORKS, *_OF_INT8))
        if precision == "int8":
            calibration = dict(sweep.export).get("calibration", sweep.data)
            if calibration is None:
                raise UsageError("int8 needs data to take ranges from; give data, or calibration in [export]")
            words += ["--calibration", data_word(str(calibration))]
    if sweep.data is not None:
        words += ["--data", data_word(sweep.data)]
    tasks[label] = Task(
        label=label, kind="export", words=(*words, *settings, "--output", Output(output)), hidden=hidden
    )
    return Made(label, output)


def _weights(sweep: SweepFile, model: Model, tasks: dict[str, Task]) -> list[Word]:
    if model.weights is not None:
        return ["--weights", Given(model.weights)]
    if model.train is None:
        return []
    label = f"train {model.name}"
    if label not in tasks:
        source, hidden = source_word(model.source, sweep.directory)
        data = data_word(str(dict(model.train)["data"]))
        options = option_words(model.train, leave_out=("data",))
        words: tuple[Word, ...] = ("train", source, "--data", data, *options, "--resume", "--output", Output("train"))
        tasks[label] = Task(label=label, kind="train", words=words, hidden=hidden)
    return ["--weights", Made(label, _WEIGHTS)]


def _compiled(
    sweep: SweepFile, model: Model, precision: str, onnx: Given | Made, target: str, tasks: dict[str, Task]
) -> Made:
    label = f"compile {model.name} {precision} for {target}"
    output = f"{file_name(model.name)}-{precision}-{file_name(target)}.so"
    if label not in tasks:
        options = option_words(sweep.compile)
        words: tuple[Word, ...] = (
            "compile",
            onnx,
            "--target",
            target,
            *options,
            "--no-measure",
            "--output",
            Output(output),
        )
        tasks[label] = Task(label=label, kind="compile", words=words)
    return Made(label, output)


def source_word(source: str, directory: Path) -> tuple[Word, tuple[Path, ...]]:
    """How a network is named on a command line, and the files of the module that makes it; nothing is imported."""
    place, colon, name = source.rpartition(":")
    if not colon or place == "timm":
        return source, ()
    if place.endswith(".py"):
        return Given(place, behind=f":{name}"), ()
    spec = PathFinder.find_spec(place.partition(".")[0], [str(directory), *sys.path])
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return source, ()
    origin = Path(spec.origin)
    return source, tuple(sorted(origin.parent.rglob("*.py"))) if origin.name == "__init__.py" else (origin,)


def _needed(artifact: Given | Made, tasks: dict[str, Task]) -> set[str]:
    """Labels of the tasks that a file takes, directly or through others."""
    if isinstance(artifact, Given):
        return set()
    found = {artifact.task}
    for word in tasks[artifact.task].words:
        if isinstance(word, Made):
            found |= _needed(word, tasks)
    return found
