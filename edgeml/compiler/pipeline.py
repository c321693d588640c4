"""From an ONNX model to machine code, as a list of steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeml.compiler.isa import isa_of
from edgeml.compiler.onnx_import import import_onnx
from edgeml.compiler.placed_operator import PlacedOperator
from edgeml.compiler.tvm_target import tvm_target

if TYPE_CHECKING:
    import onnx
    import tvm

    from edgeml.core.target import Target

# StorageRewrite would move a kernel's registers out of its parallel loops, into memory that is asked for at run time.
BUILD_CONFIG = {"tirx.disable_storage_rewrite": True}


@dataclass(frozen=True)
class Built:
    """A compiled model, in memory.

    Attributes:
        executable: TVM's executable; its `export_library` writes the library.
        operators: what became of the model's convolutions and dense layers, in order.
    """

    executable: Any
    operators: tuple[PlacedOperator, ...]


def build(
    model: onnx.ModelProto, target: Target, *, refine: Callable[[tvm.IRModule], tvm.IRModule] | None = None
) -> Built:
    """Machine code of a model for a processor.

    Args:
        model: the model.
        target: the processor.
        refine: changes functions that no kernel computes before they are scheduled: the tuner.

    Raises:
        tvm.error.TVMError, ValueError, NotImplementedError: TVM cannot import or compile an operator.
    """
    from tvm import relax, transform

    from edgeml.compiler.general.general_schedule import schedule_remaining
    from edgeml.compiler.lowering.lower import lower_to_kernels
    from edgeml.compiler.lowering.placement import placed_operators

    isa, machine = isa_of(target), tvm_target(target)
    module = import_onnx(model)
    with machine:  # operators that are library calls of TVM's: sorting, scans, sampling
        dispatch = [relax.backend.DispatchSampling(), relax.backend.DispatchSortScan()]
        module = transform.Sequential(dispatch)(module)
    lowered, groups = lower_to_kernels(module, isa)
    operators = placed_operators(model, module, groups)
    with machine, transform.PassContext(opt_level=3, config=BUILD_CONFIG):
        prepared = transform.Sequential(
            [
                relax.transform.DeadCodeElimination(),
                relax.transform.FoldConstant(),
                relax.transform.LegalizeOps(),
                relax.transform.AnnotateTIROpPattern(),
                relax.transform.FoldConstant(),
                relax.transform.FuseOps(),
                relax.transform.FuseTIR(),
                relax.transform.DeadCodeElimination(),
            ]
        )(lowered)
        if refine is not None:
            prepared = refine(prepared)
        scheduled = schedule_remaining(prepared, lanes=isa.lanes)
        executable = relax.build(scheduled, target=machine, relax_pipeline=_to_virtual_machine())
    return Built(executable, operators)


def _to_virtual_machine() -> tvm.transform.Pass:
    """From scheduled functions to the virtual machine's code.

    RewriteDataflowReshape is left out: it fails on functions without blocks, which our kernels are.
    """
    from tvm import relax, transform

    return transform.Sequential(
        [
            relax.transform.ToNonDataflow(),
            relax.transform.RemovePurityChecking(),
            relax.transform.CallTIRRewrite(),
            relax.transform.StaticPlanBlockMemory(),
            relax.transform.LowerAllocTensor(),
            relax.transform.KillAfterLastUse(),
            relax.transform.LowerRuntimeBuiltin(),
            relax.transform.ComputePrimValue(),
            relax.transform.VMShapeLower(),
            relax.transform.AttachGlobalSymbol(),
        ]
    )
