import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.core.errors import UsageError
from edgeml.core.target import PRESETS, Target

WORDS = st.from_regex(re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,12}"), fullmatch=True)
FEATURES = st.lists(st.from_regex(re.compile(r"[+-][a-z0-9_][a-z0-9_.-]{0,8}"), fullmatch=True), max_size=4).map(tuple)
LLVM = st.builds(Target, st.just("llvm"), WORDS | st.just(""), WORDS | st.just(""), FEATURES)
CUDA = st.builds(
    Target,
    st.just("cuda"),
    arch=st.from_regex(re.compile(r"sm_[0-9]{2,3}[a-z]?"), fullmatch=True),
    host=st.sampled_from([name for name, target in PRESETS.items() if target.kind == "llvm"]),
)


@given(LLVM | CUDA | st.sampled_from(list(PRESETS.values())))
def test_parse_undoes_str(target: Target) -> None:
    assert Target.parse(str(target)) == target
    assert target.name == str(target)


@given(st.text() | st.from_regex(r"(llvm|cuda)( -(triple|cpu|features|arch|host)=[ -~]{0,8}){0,3}", fullmatch=True))
def test_any_text_is_a_target_that_str_gives_back_or_a_usage_error(text: str) -> None:
    try:
        target = Target.parse(text)
    except UsageError:
        return
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_found_by_its_name(name: str) -> None:
    assert Target.parse(name) == PRESETS[name]
    assert PRESETS[str(PRESETS[name])] == PRESETS[name]


def test_free_form_targets_are_read() -> None:
    target = Target.parse("llvm -features=+neon,-sve -cpu=cortex-a55 -triple=aarch64-linux-gnu")
    assert target == Target("llvm", "aarch64-linux-gnu", "cortex-a55", ("+neon", "-sve"))
    assert Target.parse("cuda -arch=sm_90a") == Target("cuda", arch="sm_90a", host="host")
    assert Target.parse("llvm") == PRESETS["host"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "opencl",
        "llvm -mcpu=x",
        "llvm -cpu=a -cpu=b",
        "llvm -cpu=",
        "llvm -cpu=-x",
        "llvm -features=neon",
        "llvm -features=,",
        "llvm -arch=sm_75",
        "llvm -cpu=a;reboot",
        "cuda",
        "cuda -arch=75",
        "cuda -arch=sm_75 -host=cuda-sm_75",
        "cuda -arch=sm_75 -host=nothing",
        "cuda -arch=sm_75 -cpu=x",
        "cuda -arch=sm_\u0667\u0665",
    ],
)
def test_other_texts_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(UsageError, match="allowed: "):
        Target.parse(text)


@pytest.mark.parametrize(
    ("board", "arch", "cpu"), [("jetson-nano", "sm_53", "cortex-a57"), ("jetson-xavier", "sm_72", "carmel")]
)
def test_a_board_too_old_for_cuda_13_is_refused_with_the_target_of_its_processor(
    board: str, arch: str, cpu: str
) -> None:
    with pytest.raises(UsageError, match=f"{arch}, and CUDA 13 makes code for sm_75 and newer only") as refused:
        Target.parse(board)
    mend = re.search("'(llvm [^']+)'", str(refused.value))
    assert mend is not None
    assert Target.parse(mend[1]).cpu == cpu


def test_a_target_that_has_no_text_form_cannot_be_made() -> None:
    with pytest.raises(UsageError, match="unknown target"):
        Target("llvm", cpu="two words")
    with pytest.raises(UsageError, match="unknown target"):
        Target("cuda", arch="sm_87")
