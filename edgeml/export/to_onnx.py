"""Turns a torch module into an ONNX graph with torch's dynamo exporter."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeml.core.errors import EdgeMLError, UsageError, needs_extra
from edgeml.export.binary_translation import binary_translations
from edgeml.ops.attach import attach_functions

if TYPE_CHECKING:
    import onnx
    import torch

DEFAULT_OPSET = 20
OPSETS = range(18, 24)
_EXAMPLE_BATCH = 2  # a batch of 1 would be taken for a constant by torch.export


@dataclass(frozen=True)
class Exported:
    """A graph and the program it was made from.

    Attributes:
        model: the ONNX model as the exporter left it, with torch's names in the nodes' metadata.
        program: the exported program, whose graph nodes carry the names that the metadata mentions.
    """

    model: onnx.ModelProto
    program: torch.export.ExportedProgram


def to_onnx(
    module: torch.nn.Module, input_shape: tuple[int, ...], *, opset: int = DEFAULT_OPSET, static_batch: bool = False
) -> Exported:
    """The ONNX form of `module` in evaluation mode; the module's own mode is restored.

    The exporter is torch.onnx's dynamo path. Its input is named "input", a single output "logits", several "output_0"
    and so on; the first axis is "batch" unless `static_batch`, which fixes it to 1. Binary layers become nodes of
    edgeml's own operators with packed weights, and their bodies in standard operators are put into the model.

    Args:
        module: takes one float32 tensor (batch, *input_shape).
        input_shape: one sample's shape, usually (channels, height, width).
        opset: version of the default ONNX operator set.
        static_batch: fix the batch to 1.

    Raises:
        UsageError: the opset is not one of `OPSETS`.
        EdgeMLError: torch cannot export the module.
        MissingError: torch or onnxscript is not installed.
    """
    if opset not in OPSETS:
        raise UsageError(f"opset is {opset}; allowed: {OPSETS.start} to {OPSETS.stop - 1}")
    with needs_extra("train"):
        import onnxscript  # noqa: F401
        import torch
    example = torch.zeros(1 if static_batch else _EXAMPLE_BATCH, *input_shape)
    from edgeml.models.binary.deploy import deployed

    with evaluation(module), silence(), torch.no_grad():
        packed = deployed(module)
        try:
            outputs = packed(example)
            program = torch.onnx.export(
                packed,
                (example,),
                dynamo=True,
                opset_version=opset,
                input_names=["input"],
                output_names=_output_names(outputs),
                dynamic_shapes=None if static_batch else ({0: torch.export.Dim("batch")},),
                custom_translation_table=binary_translations(),
                verbose=False,
            )
        except Exception as error:  # torch's exporter has no error class of its own that covers what it raises
            raise EdgeMLError(f"torch cannot export this network to ONNX: {_first_line(error)}") from error
    assert program is not None
    assert program.exported_program is not None
    model = program.model_proto
    attach_functions(model)
    return Exported(model, program.exported_program)


@contextlib.contextmanager
def evaluation(module: torch.nn.Module) -> Iterator[None]:
    """Run the block with every sub-module in evaluation mode, then restore each one's own mode."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep torch's progress, warnings and log lines off the terminal."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def _output_names(outputs: Any) -> list[str]:
    import torch

    if isinstance(outputs, torch.Tensor):
        return ["logits"]
    if isinstance(outputs, (tuple, list)) and all(isinstance(value, torch.Tensor) for value in outputs):
        return ["logits"] if len(outputs) == 1 else [f"output_{index}" for index in range(len(outputs))]
    raise UsageError(f"the network returns a {type(outputs).__name__}; edgeml exports networks that return tensors")


def _first_line(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = " ".join(str(cause).split()) or type(cause).__name__
    return text if len(text) <= 300 else text[:300] + "..."
