"""Gives every operator of a model a GPU schedule: how its loops are dealt out to blocks and threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeml.compiler.cuda.counting import counting_rule

if TYPE_CHECKING:
    import tvm


def schedule_for_gpu(mod: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    """The module with its operators fused and scheduled by dlight, TVM's rules for GPUs; none needs measuring."""
    import tvm
    from tvm.relax import transform
    from tvm.s_tir import dlight

    rules = (
        dlight.gpu.Matmul(),
        dlight.gpu.GEMV(),
        dlight.gpu.Reduction(),
        dlight.gpu.GeneralReduction(),
        dlight.gpu.Fallback(),
    )
    passes = [
        transform.LegalizeOps(),
        transform.AnnotateTIROpPattern(),
        transform.FoldConstant(),
        transform.FuseOps(),
        transform.FuseTIR(),
        dlight.ApplyDefaultSchedule(counting_rule(), *map(_skipping_failures, rules)),
    ]
    with target:
        return tvm.transform.Sequential(passes)(mod)


def _skipping_failures(rule: Any) -> Any:
    """The rule, made to decline where it fails: the next rule then takes the function.

    The rule for matrix products takes convolutions too and stumbles over some of their epilogues.
    """
    from tvm.s_tir.dlight.base import ScheduleRule

    class Skipping(ScheduleRule):  # type: ignore[misc]
        def apply(self, func: Any, target: Any, tunable: bool) -> Any:
            try:
                return rule.apply(func, target, tunable)
            except Exception:  # noqa: BLE001  of whatever type, a rule that failed has scheduled nothing
                return None

    return Skipping()
