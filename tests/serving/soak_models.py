"""A repository of models whose answers tell which file they came from, and how its files are replaced.

Every model computes y = 2 x + c, and c is the generation of its file: a whole number that grows with each file that is
written for the model. Inputs are whole numbers too, so an answer is right to the last bit or wrong.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

BATCHED = "max_batch_size: 32\ndynamic_batching {}\n"
Vectors = npt.NDArray[np.float32]


def write_model(path: Path, generation: int, elements: int) -> None:
    """Write y = 2 x + generation for x of shape (batch, elements), all at once."""
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", elements]) for name in "xy")
    constants = [
        numpy_helper.from_array(np.full((1, 1), value, np.float32), name)
        for name, value in (("two", 2), ("generation", generation))
    ]
    nodes = [helper.make_node("Mul", ["x", "two"], ["twice"]), helper.make_node("Add", ["twice", "generation"], ["y"])]
    graph = helper.make_graph(nodes, "soak", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_name("model.part")
    whole.write_bytes(model.SerializeToString())
    whole.replace(path)


def generation_of(x: Vectors, y: Vectors) -> int | None:
    """The generation that answered y to x; None where none did."""
    if y.shape != x.shape:
        return None
    difference = y - 2 * x
    first = float(difference.flat[0])
    return int(first) if first.is_integer() and bool((difference == first).all()) else None


@dataclass
class SoakModel:
    """A model of the repository.

    Attributes:
        name: of it.
        elements: in each input.
        version: that requests ask for; "" for the newest.
        replace: makes its next generation the one that is to be served.
        written: the newest generation whose file may be read.
        answered: the newest generation that has answered.
        seen: all that have.
        named: whether the generation is the version's name.
    """

    name: str
    elements: int
    replace: Callable[[SoakModel, int], None]
    version: str = ""
    written: int = 1
    answered: int = 1
    seen: int = 1
    named: bool = False

    def next(self) -> None:
        """Replace it by its next generation."""
        self.written += 1  # from here on the server may find it
        self.replace(self, self.written)

    def check(self, x: Vectors, y: Vectors, version: str, least: int) -> str:
        """What is wrong with an answer; "" where it is right.

        Args:
            x: the request's.
            y: the answer's.
            version: that answered.
            least: the newest generation that had answered when the request was sent: what is served never goes back.
        """
        generation = generation_of(x, y)
        if generation is None or not least <= generation <= self.written:
            return f"{self.name} answered by generation {generation}; {least} to {self.written} may have"
        expected = str(generation) if self.named else self.version or "1"
        if version != expected:
            return f"{self.name} answered by version {version}; it is {expected}"
        if generation > self.answered:
            self.answered = generation
            self.seen += 1
        return ""


def make_repository(path: Path, wide: int) -> list[SoakModel]:
    """Models whose files are replaced in the ways that files are.

    - small: at once, by renaming;
    - wide: by copying over the old file, slowly, so that the server may find half of it;
    - newest: by a directory for each version, of which the oldest go;
    - one, two: two versions that are served both, of which the first is replaced.
    """

    def rename(model: SoakModel, generation: int) -> None:
        write_model(path / model.name / (model.version or "1") / "model.onnx", generation, model.elements)

    def copy(model: SoakModel, generation: int) -> None:
        aside = path / ".aside" / "model.onnx"
        write_model(aside, generation, model.elements)
        data = aside.read_bytes()
        target = path / model.name / "1" / "model.onnx"
        target.parent.mkdir(exist_ok=True)
        with target.open("wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            time.sleep(0.05)
            file.write(data[len(data) // 2 :])

    def add_version(model: SoakModel, generation: int) -> None:
        write_model(path / model.name / str(generation) / "model.onnx", generation, model.elements)
        shutil.rmtree(path / model.name / str(generation - 3), ignore_errors=True)

    def stay(model: SoakModel, generation: int) -> None:
        if generation == 1:
            rename(model, generation)
        model.written = 1

    models = [
        SoakModel("small", 8, rename),
        SoakModel("wide", wide, copy),
        SoakModel("newest", 8, add_version, named=True),
        SoakModel("both", 8, rename, version="1"),
        SoakModel("both", 8, stay, version="2"),
    ]
    for model in models:
        (path / model.name).mkdir(parents=True, exist_ok=True)
        policy = "version_policy { all {} }\n" if model.version else ""
        (path / model.name / "config.pbtxt").write_text(BATCHED + policy)
        model.replace(model, 1)
    return models
