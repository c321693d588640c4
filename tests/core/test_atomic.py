from pathlib import Path

import pytest

from edgeml.core.atomic import atomic_write, atomic_write_text
from edgeml.core.errors import EdgeMLError, UsageError


def test_a_file_appears_whole_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("old")
    with atomic_write(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".onnx"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("old")

    def interrupted() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_can_be_written_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    with atomic_write(path) as temporary:
        temporary.mkdir()
        (temporary / "part").write_text("text")
    assert (path / "part").read_text() == "text"


def test_a_half_written_directory_is_removed(tmp_path: Path) -> None:
    def stopped() -> None:
        with atomic_write(tmp_path / "bundle") as temporary:
            temporary.mkdir()
            (temporary / "part").write_text("text")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        stopped()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "missing/model.onnx", "x" * 300 + ".onnx"])
def test_a_place_that_cannot_be_written_is_a_usage_error_before_any_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot write"), atomic_write(tmp_path / name):
        pytest.fail("the body must not run")


def test_a_body_that_writes_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(EdgeMLError, match="cannot write"), atomic_write(tmp_path / "model.onnx"):
        pass


def test_a_refusal_of_the_file_system_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(EdgeMLError, match="No space left") as caught, atomic_write(tmp_path / "model.onnx"):
        raise OSError(28, "No space left on device")
    assert isinstance(caught.value.__cause__, OSError)


def test_text_is_written_as_utf8(tmp_path: Path) -> None:
    atomic_write_text(tmp_path / "a.txt", "é\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\n".encode()
