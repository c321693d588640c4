"""What TVM's virtual machine tells of a compiled library, function by function."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgeml.core.artifact import Artifact
from edgeml.core.errors import UsageError
from edgeml.core.target import Target
from edgeml.edge_bench.feeds import random_feeds
from edgeml.edge_bench.profile.kernel_costs import kernel_macs
from edgeml.edge_bench.profile.trace import Tensor
from edgeml.edge_bench.profile.tvm_profile import profile_tvm
from tests.conftest import WriteConvNet


@pytest.mark.tvm
@pytest.mark.parametrize("threads", [1, 2])
def test_functions_have_times_arguments_and_shares(tvm_libraries: dict[str, Artifact], threads: int) -> None:
    artifact = tvm_libraries["net"]
    found = profile_tvm(artifact, threads, random_feeds(artifact.inputs, 2, 0), 20)
    assert (found.source, found.runs) == ("TVM's virtual machine", 20)
    assert sum(each.share for each in found.operators) == pytest.approx(1)
    assert all(each.kernel == "tvm" and each.precision == "float32" and each.calls == 1 for each in found.operators)
    assert not any(each.name.startswith("vm.builtin") for each in found.operators)
    assert 0 < sum(each.milliseconds for each in found.operators) < found.run_ms
    convolution = next(each for each in found.operators if "conv2d" in each.name)
    assert convolution.bytes_moved == 4 * (2 * 3 * 256 + 8 * 27 + 2 * 8 * 256)
    assert convolution.macs is None  # no kernel of edgeml's


@pytest.mark.tvm
def test_a_library_for_a_gpu_is_refused(tvm_libraries: dict[str, Artifact]) -> None:
    artifact = replace(tvm_libraries["net"], target=Target.parse("jetson-orin"))
    with pytest.raises(UsageError, match="is for cuda; only libraries for processors can be profiled"):
        profile_tvm(artifact, 1, [], 1)


def sized(*sizes: int, dtype: str = "float32") -> list[Tensor]:
    return [Tensor(dtype, (1, size)) for size in sizes]


@pytest.mark.parametrize(
    ("kernel", "sizes", "count"),
    [
        # input, weights, bias, output: 53 x 53 pixels of 3 and 32 channels, 3 x 3.
        ("convolution", (3 * 106 * 106, 27 * 32, 32, 53 * 53 * 32), 53 * 53 * 27 * 32),
        # input, weights, bias, gate, residual, output
        ("pointwise", (49 * 240, 240 * 48, 48, 240, 49 * 48, 49 * 48), 49 * 240 * 48),
        ("dense", (1280, 1280 * 1024, 1024, 1024), 1280 * 1024),
        # input, weights, bias, output, means of the output
        ("depthwise", (53 * 53 * 32, 9 * 32, 32, 53 * 53 * 32, 32), 53 * 53 * 9 * 32),
        ("depthwise", (53 * 53 * 32, 9 * 32, 32, 53 * 53 * 32), 53 * 53 * 9 * 32),
        # means, weights, bias, weights, bias, gates: 32 channels to 8 and back, filled up to 16
        ("squeeze_excite", (32, 32 * 16, 16, 8 * 32, 32, 32), 2 * 32 * 8),
        # input, weights, starts, scales, bias, output
        ("quantized_pointwise", (16 * 96, 96 * 576, 576, 576, 576, 16 * 576), 16 * 96 * 576),
        ("binary_convolution", (64, 64, 64, 64, 64), None),
        ("add", (64, 64, 64), None),
        ("dense", (64, 64), None),
    ],
)
def test_kernels_count_what_they_compute(kernel: str, sizes: tuple[int, ...], count: int | None) -> None:
    assert kernel_macs(kernel, sized(*sizes)) == count


@pytest.mark.slow
@pytest.mark.tvm
def test_edgemls_own_kernels_are_counted(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    from edgeml.compiler.compile import compile_onnx

    path = write_conv_net(channels=16, layers=2, size=16, classes=16)
    artifact = compile_onnx(path, Target.parse("host"), tmp_path / "net.so", check_parity=False).artifact
    found = profile_tvm(artifact, 1, random_feeds(artifact.inputs, 1, 0), 5)
    assert sum(each.macs or 0 for each in found.operators) == 256 * 16 * 9 + 256 * 16 * 16 * 9 + 16 * 16
