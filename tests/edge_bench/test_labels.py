from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edgeml.core.bench_result import Contender
from edgeml.edge_bench.verdicts.labels import contender_labels

MakeContender = Callable[..., Contender]


def test_contenders_of_one_model_are_called_by_their_precision(make_contender: MakeContender) -> None:
    assert contender_labels([make_contender("fp32"), make_contender("int8")]) == ("fp32", "int8")


def test_what_differs_is_added_and_what_does_not_is_left_out(make_contender: MakeContender) -> None:
    contenders = [make_contender(), make_contender(threads=1), make_contender(model="tinynet-a")]
    assert contender_labels(contenders) == (
        "tinynet-e fp32, 2 threads",
        "tinynet-e fp32, 1 thread",
        "tinynet-a fp32, 2 threads",
    )


def test_a_file_measured_against_itself_is_numbered(make_contender: MakeContender) -> None:
    assert contender_labels([make_contender(), make_contender()]) == ("fp32 #1", "fp32 #2")


def test_two_files_of_the_same_kind_are_told_apart_by_their_names(make_contender: MakeContender) -> None:
    contenders = [make_contender(artifact="a/old.onnx"), make_contender(artifact="b/new.onnx"), make_contender("int8")]
    assert contender_labels(contenders) == ("fp32 (old.onnx)", "fp32 (new.onnx)", "int8")


def test_the_run_is_named_only_where_it_is_needed(make_contender: MakeContender) -> None:
    contenders = [make_contender(), make_contender("int8"), make_contender()]
    assert contender_labels(contenders, [1, 1, 2]) == ("fp32 (run 1)", "int8", "fp32 (run 2)")


_contender = Contender(
    artifact="a.onnx", model="m", precision="fp32", runtime="onnxruntime", device="local", threads=1, batch=1,
    size_bytes=1, sha256="", launches=(), accuracy=None,
)  # fmt: skip


@given(
    st.lists(
        st.builds(
            lambda model, precision, threads, artifact: replace(
                _contender, model=model, precision=precision, threads=threads, artifact=artifact
            ),
            st.sampled_from(["a", "b"]),
            st.sampled_from(["fp32", "int8"]),
            st.sampled_from([1, 2]),
            st.sampled_from(["x/1.onnx", "y/1.onnx", "2.onnx"]),
        ),
        max_size=8,
    )
)
def test_labels_are_always_distinct(contenders: list[Contender]) -> None:
    labels = contender_labels(contenders)
    assert len(set(labels)) == len(contenders)
