from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from edgeml.core.errors import UsageError
from edgeml.core.samples import Samples
from edgeml.export import quantize as stage
from edgeml.export.calibration import split_calibration
from edgeml.export.clean import to_bytes
from edgeml.export.fp16 import to_fp16
from edgeml.export.run_onnx import run_samples
from tests.export.conftest import Case
from tests.export.faults import scale_weights


def test_activations_are_unsigned_and_weights_signed_per_channel(case: Case, samples: Samples) -> None:
    model = stage.quantize(case.model, samples).model
    kinds = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            assert kinds[node.input[2]].data_type == onnx.TensorProto.UINT8
    signed = [
        tensor for tensor in kinds.values() if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert signed
    assert all(
        list(kinds[entry.name.removesuffix("_quantized") + "_scale"].dims) == [entry.dims[0]] for entry in signed
    )


def test_float_nodes_and_shares_account_for_all_work(case: Case, samples: Samples) -> None:
    quantized = stage.quantize(case.model, samples)
    total = quantized.share_of_macs + sum(node.share_of_macs for node in quantized.float_nodes)
    assert total == pytest.approx(1.0)
    assert any("negligible" in node.reason for node in quantized.float_nodes)


def test_quantizing_twice_gives_the_same_bytes(case: Case, samples: Samples) -> None:
    first, second = (to_bytes(stage.quantize(case.model, samples).model) for _ in range(2))
    assert first == second


def test_the_test_split_is_refused(samples: Samples) -> None:
    with pytest.raises(UsageError, match="noise:test"):
        split_calibration(replace(samples, name="noise:test"))


def test_the_most_harmful_parts_go_back_to_float(case: Case, samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stage.quantize(case.model, samples)
    monkeypatch.setattr(stage, "TARGET_SQNR_DB", before.sqnr_db + 3)
    monkeypatch.setattr(stage, "TARGET_AGREEMENT", 1.01)
    after = stage.quantize(case.model, samples)
    assert any("sensitive" in node.reason for node in after.float_nodes)
    assert after.sqnr_db >= before.sqnr_db + 3


def test_float16_keeps_float32_inputs_and_outputs(case: Case, samples: Samples) -> None:
    model, blocked = to_fp16(case.model, samples.inputs[:4])
    assert blocked == ()
    assert {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)} == {1}
    expected, actual = run_samples(case.model, samples.inputs), run_samples(model, samples.inputs)
    np.testing.assert_allclose(actual, expected, atol=0.01 * np.abs(expected).max())


def test_a_layer_that_float16_cannot_hold_stays_float32(case: Case, samples: Samples) -> None:
    large = scale_weights(case.copy(), "blocks.1.conv_pw.weight", 1e6)
    model, blocked = to_fp16(large, samples.inputs[:4])
    assert blocked
    assert np.isfinite(run_samples(model, samples.inputs)).all()
