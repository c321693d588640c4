import re
from dataclasses import asdict
from pathlib import Path

import pytest

from edgeml.core.errors import UsageError
from edgeml.core.onnx_guard import OnnxLimits

DOCUMENT = Path(__file__).parents[2] / "docs" / "safe-loading.md"


def test_the_document_gives_every_limit_with_its_value() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| \S", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {name: int(value) for name, value in rows} == asdict(OnnxLimits())


@pytest.mark.parametrize("name", asdict(OnnxLimits()))
def test_a_limit_below_one_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=rf"OnnxLimits\.{name} is 0; it must be at least 1"):
        OnnxLimits(**{name: 0})


def test_a_depth_beyond_what_protobuf_reads_is_refused() -> None:
    with pytest.raises(UsageError, match="at most 100"):
        OnnxLimits(depth=101)
