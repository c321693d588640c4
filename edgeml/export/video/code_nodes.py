"""One step of a network in codes as a node of domain ai.edgeml."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgeml.export.video.onnx_writer import OnnxWriter
from edgeml.models.video.quantized import (
    CodeAdd,
    CodeConcat,
    CodeConv,
    CodeGraph,
    CodePool,
    CodeResize,
    CodeStep,
    CodeTable,
    code_inputs,
)
from edgeml.ops.residual import (
    residual_add,
    residual_concat,
    residual_conv,
    residual_pool,
    residual_resize,
    residual_table,
)

if TYPE_CHECKING:
    import onnx


def step_node(
    writer: OnnxWriter,
    graph: CodeGraph,
    step: CodeStep,
    *,
    codes: Callable[[str], str],
    maps: Callable[[str], str],
    previous: str,
    outputs: tuple[str, str],
    exact: bool,
) -> onnx.NodeProto:
    """The node of a step.

    Args:
        writer: where its constants go.
        graph: that the step is of.
        step: the step.
        codes: name of a value's codes in the ONNX graph, by its name in `graph`.
        maps: name of its pixel map.
        previous: name of the step's own codes of the frame before.
        outputs: names of its codes and of their pixel map.
        exact: leave thresholds out.
    """
    ranges = graph.ranges
    read = [name for value in code_inputs(step) for name in (codes(value), maps(value))]
    match step:
        case CodeConv():
            constants = [
                writer.constant(array, f"{step.name}/{word}")
                for word, array in (
                    ("weight", step.weight),
                    ("multiplier", step.multiplier),
                    ("bias", step.bias),
                    ("table", step.table),
                )
            ]
            return residual_conv.node(
                [*read, *constants, previous], outputs, name=outputs[0], kernel_shape=step.weight.shape[2:],
                x_zero_point=ranges[step.x].zero_point, y_zero_point=step.before.zero_point, group=step.group,
                strides=step.strides, pads=step.pads, dilations=step.dilations, tile=step.tile,
                threshold=0 if exact else step.threshold,
            )  # fmt: skip
        case CodeAdd():
            a, b = ranges[step.a], ranges[step.b]
            table = writer.constant(step.table, f"{step.name}/table")
            return residual_add.node(
                [*read, table, previous], outputs, name=outputs[0], a_multiplier=step.multiplier(a),
                b_multiplier=step.multiplier(b), a_zero_point=a.zero_point, b_zero_point=b.zero_point,
                y_zero_point=step.before.zero_point,
            )  # fmt: skip
        case CodeConcat():
            tables = [
                writer.constant(table, f"{step.name}/table_{part}")
                for part, table in (("a", step.table_a), ("b", step.table_b))
            ]
            return residual_concat.node([*read, *tables, previous], outputs, name=outputs[0])
        case CodeTable():
            table = writer.constant(step.table, f"{step.name}/table")
            return residual_table.node([*read, table, previous], outputs, name=outputs[0])
        case CodePool():
            return residual_pool.node(
                [*read, previous], outputs, name=outputs[0], kernel_shape=step.kernel_shape,
                zero_point=ranges[step.x].zero_point, strides=step.strides, pads=step.pads,
                average=int(step.mode == "average"),
            )  # fmt: skip
        case CodeResize():
            linear = int(step.mode == "linear")
            return residual_resize.node([*read, previous], outputs, name=outputs[0], factor=step.factor, linear=linear)
