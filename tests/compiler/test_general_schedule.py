"""Functions scheduled by the general pass compute what numpy says, for fixed and dynamic shapes and all lane counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgeml.compiler.general import general_schedule
from edgeml.compiler.general.general_schedule import schedule_remaining

pytestmark = pytest.mark.tvm

Array = npt.NDArray[Any]
Case = tuple[tuple[tuple[int | str, ...], ...], Callable[..., Any], Callable[..., Array]]
_BATCH = 3


def _softmax(x: Array, axis: int) -> Array:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis, keepdims=True))


def _layer_norm(x: Array, scale: Array, shift: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5) * scale + shift)


def _conv(x: Array, weight: Array, pad: int, stride: int = 1, groups: int = 1) -> Array:
    x = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    kernel = weight.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
    parts = [
        np.einsum("nchwij,ocij->nohw", part, block)
        for part, block in zip(np.split(windows, groups, 1), np.split(weight, groups, 0), strict=True)
    ]
    return np.concatenate(parts, 1)


def _max_pool(x: Array) -> Array:
    x = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))[:, :, ::2, ::2].max((4, 5)))


def _cases() -> dict[str, Case]:
    """Shapes of the inputs ("n" is the batch), the graph, and what numpy says."""
    from tvm.relax import op
    from tvm.relax.op import nn

    return {
        "relu": ((("n", 7, 33),), lambda bb, x: nn.relu(x), lambda x: np.maximum(x, 0)),
        "broadcast chain": (
            (("n", 8, 12, 16), (1, 8, 1, 1)),
            lambda bb, x, y: op.multiply(op.exp(bb.emit(op.add(x, y))), x),
            lambda x, y: np.exp(x + y) * x,
        ),
        "softmax of rows": ((("n", 9, 64),), lambda bb, x: nn.softmax(x, -1), lambda x: _softmax(x, -1)),
        "softmax of odd rows": ((("n", 9, 33),), lambda bb, x: nn.softmax(x, -1), lambda x: _softmax(x, -1)),
        "softmax of channels": ((("n", 5, 8, 8),), lambda bb, x: nn.softmax(x, 1), lambda x: _softmax(x, 1)),
        "layer norm": (
            (("n", 10, 48), (48,), (48,)),
            lambda bb, x, g, b: nn.layer_norm(x, g, b, axes=[-1]),
            _layer_norm,
        ),
        "mean of maps": (
            (("n", 6, 28, 28),),
            lambda bb, x: op.mean(x, [2, 3], keepdims=True),
            lambda x: x.mean((2, 3), keepdims=True),
        ),
        "sum of rows": ((("n", 6, 256),), lambda bb, x: op.sum(x, [2]), lambda x: x.sum(2)),
        "sum of everything": ((("n", 6, 20),), lambda bb, x: op.sum(op.abs(x)), lambda x: np.abs(x).sum()),
        "sum over the batch": ((("n", 6, 64),), lambda bb, x: op.sum(x, [0]), lambda x: x.sum(0)),
        "largest of the middle": ((("n", 20, 64),), lambda bb, x: op.max(x, [1]), lambda x: x.max(1)),
        "argmax": ((("n", 100),), lambda bb, x: op.argmax(x, 1), lambda x: x.argmax(1)),
        "matmul, bias, relu": (
            (("n", 18, 24), (24, 80), (80,)),
            lambda bb, x, y, z: nn.relu(bb.emit(op.add(bb.emit(op.matmul(x, y)), z))),
            lambda x, y, z: np.maximum(x @ y + z, 0),
        ),
        "matmul of a transpose": (
            (("n", 18, 96), (20, 96)),
            lambda bb, x, y: op.matmul(x, bb.emit(op.permute_dims(y))),
            lambda x, y: x @ y.T,
        ),
        "matmul by batch": (
            (("n", 4, 17, 32), ("n", 4, 32, 19)),
            lambda bb, x, y: op.matmul(x, y),
            lambda x, y: x @ y,
        ),
        "convolution with relu": (
            (("n", 8, 14, 14), (16, 8, 3, 3)),
            lambda bb, x, w: nn.relu(bb.emit(nn.conv2d(x, w, padding=1))),
            lambda x, w: np.maximum(_conv(x, w, 1), 0),
        ),
        "convolution with stride": (
            (("n", 8, 15, 15), (16, 8, 3, 3)),
            lambda bb, x, w: nn.conv2d(x, w, padding=1, strides=2),
            lambda x, w: _conv(x, w, 1, 2),
        ),
        "depthwise convolution": (
            (("n", 8, 14, 14), (8, 1, 5, 5)),
            lambda bb, x, w: nn.conv2d(x, w, padding=2, groups=8),
            lambda x, w: _conv(x, w, 2, 1, 8),
        ),
        "max pooling": (
            (("n", 8, 14, 14),),
            lambda bb, x: nn.max_pool2d(x, (3, 3), strides=(2, 2), padding=(1, 1, 1, 1)),
            _max_pool,
        ),
        "transpose": (
            (("n", 8, 14, 16),),
            lambda bb, x: op.permute_dims(x, [0, 2, 3, 1]),
            lambda x: x.transpose(0, 2, 3, 1),
        ),
        "concat": (
            (("n", 8, 16), ("n", 3, 16)),
            lambda bb, x, y: op.concat([x, y], 1),
            lambda x, y: np.concatenate([x, y], 1),
        ),
        "pad and slice": (
            (("n", 5, 64),),
            lambda bb, x: op.strided_slice(bb.emit(nn.pad(x, [0, 0, 1, 1, 2, 3])), [2], [1], [60], [2]),
            lambda x: np.pad(x, [(0, 0), (1, 1), (2, 3)])[:, :, 1:60:2],
        ),
        "resize": (
            (("n", 4, 7, 8),),
            lambda bb, x: op.image.resize2d(
                x,
                (14, 16),
                layout="NCHW",
                method="nearest_neighbor",
                coordinate_transformation_mode="asymmetric",
                rounding_method="floor",
            ),
            lambda x: x.repeat(2, 2).repeat(2, 3),
        ),
        "running sum": ((("n", 5, 16),), lambda bb, x: op.cumsum(x, axis=1), lambda x: x.cumsum(1)),
        "sort": ((("n", 40),), lambda bb, x: op.sort(x, 1), lambda x: np.sort(x, 1)),
        "choice": (
            (("n", 6, 32),),
            lambda bb, x: op.where(op.greater(x, op.zeros_like(x)), x, op.negative(x)),
            np.abs,
        ),
    }


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return _cases()


_NAMES = (
    "relu",
    "broadcast chain",
    "softmax of rows",
    "softmax of odd rows",
    "softmax of channels",
    "layer norm",
    "mean of maps",
    "sum of rows",
    "sum of everything",
    "sum over the batch",
    "largest of the middle",
    "argmax",
    "matmul, bias, relu",
    "matmul of a transpose",
    "matmul by batch",
    "convolution with relu",
    "convolution with stride",
    "depthwise convolution",
    "max pooling",
    "transpose",
    "concat",
    "pad and slice",
    "resize",
    "running sum",
    "sort",
    "choice",
)


def test_every_case_is_run(cases: dict[str, Case]) -> None:
    assert tuple(cases) == _NAMES


@pytest.mark.parametrize("batch", ["static", "dynamic"])
@pytest.mark.parametrize("name", _NAMES)
def test_a_scheduled_function_computes_what_numpy_says(cases: dict[str, Case], name: str, batch: str) -> None:
    shapes, build, expected = cases[name]
    module = legalized(shapes, build, dynamic=batch == "dynamic")
    generator = np.random.default_rng(0)
    feeds = [generator.standard_normal([_BATCH if axis == "n" else int(axis) for axis in shape]) for shape in shapes]
    wanted = expected(*feeds)
    for lanes in (4, 16) if batch == "dynamic" else (8,):
        found = run(schedule_remaining(module, lanes=lanes), [feed.astype(np.float32) for feed in feeds])
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(wanted).max())))


@pytest.mark.parametrize("name", ["softmax of rows", "layer norm"])
def test_a_row_wise_function_is_one_loop_over_its_rows(cases: dict[str, Case], name: str) -> None:
    shapes, build, _ = cases[name]
    text = str(schedule_remaining(legalized(shapes, build, dynamic=True), lanes=16))
    assert text.count("T.parallel") == 1
    assert "T.vectorized" in text


@pytest.mark.parametrize("name", ["matmul, bias, relu", "convolution with relu"])
def test_a_reduction_keeps_its_results_in_registers_up_to_the_epilogue(cases: dict[str, Case], name: str) -> None:
    shapes, build, _ = cases[name]
    text = str(schedule_remaining(legalized(shapes, build, dynamic=True), lanes=8))
    assert 'scope="local"' in text
    assert "T.vectorized" in text
    assert "T.unroll" in text


def test_what_is_scheduled_already_stays_as_it_is(cases: dict[str, Case]) -> None:
    once = schedule_remaining(legalized(*cases["relu"][:2], dynamic=False), lanes=8)
    twice = schedule_remaining(once, lanes=16)
    assert str(twice) == str(once)
    assert str(once).count("tirx.is_scheduled") == 1


def test_a_schedule_that_tvm_refuses_is_replaced_by_a_simpler_one(
    cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("no")

    shapes, build, expected = cases["matmul, bias, relu"]
    module = legalized(shapes, build, dynamic=True)
    feeds = [np.ones([_BATCH if axis == "n" else int(axis) for axis in shape], np.float32) for shape in shapes]
    for broken in (("_by_nests",), ("_by_nests", "_simple")):
        for name in broken:
            monkeypatch.setattr(general_schedule, name, refused)
        scheduled = schedule_remaining(module, lanes=8)
        assert "tirx.is_scheduled" in str(scheduled)
        np.testing.assert_allclose(run(scheduled, feeds), expected(*feeds), rtol=1e-5)


def legalized(shapes: tuple[tuple[int | str, ...], ...], build: Callable[..., Any], *, dynamic: bool) -> Any:
    """A Relax module of one function, its operators turned into loops and fused."""
    import tvm
    from tvm import relax

    batch = tvm.tirx.Var("n", "int64") if dynamic else _BATCH
    builder = relax.BlockBuilder()
    inputs = [
        relax.Var(f"x{index}", relax.TensorType([batch if axis == "n" else axis for axis in shape], "float32"))
        for index, shape in enumerate(shapes)
    ]
    with builder.function("main", inputs):
        with builder.dataflow():
            result = builder.emit_output(build(builder, *inputs))
        builder.emit_func_output(result)
    with tvm.target.Target("llvm"):
        return tvm.transform.Sequential(
            [
                relax.backend.DispatchSortScan(),
                relax.transform.LegalizeOps(),
                relax.transform.AnnotateTIROpPattern(),
                relax.transform.FoldConstant(),
                relax.transform.FuseOps(),
                relax.transform.FuseTIR(),
            ]
        )(builder.get())


def run(module: Any, feeds: list[Array]) -> Array:
    """The module's result on this machine."""
    import tvm
    from tvm import relax

    steps = relax.transform
    pipeline = tvm.transform.Sequential(
        [
            steps.ToNonDataflow(),
            steps.RemovePurityChecking(),
            steps.CallTIRRewrite(),
            steps.StaticPlanBlockMemory(),
            steps.LowerAllocTensor(),
            steps.KillAfterLastUse(),
            steps.LowerRuntimeBuiltin(),
            steps.ComputePrimValue(),
            steps.VMShapeLower(),
            steps.AttachGlobalSymbol(),
        ]
    )
    machine = relax.VirtualMachine(relax.build(module, target="llvm", relax_pipeline=pipeline), tvm.cpu())
    return np.asarray(machine["main"](*[tvm.runtime.tensor(feed) for feed in feeds]).numpy())
