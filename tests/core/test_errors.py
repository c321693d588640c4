import importlib
import pickle

import pytest

from edgeml.core.errors import (
    CheckFailedError,
    EdgeMLError,
    MissingError,
    UntrustedFileError,
    UsageError,
    needs_extra,
)


@pytest.mark.parametrize(
    ("kind", "code"),
    [(EdgeMLError, 1), (UsageError, 2), (UntrustedFileError, 1), (MissingError, 3), (CheckFailedError, 4)],
)
def test_each_error_has_its_documented_exit_code(kind: type[EdgeMLError], code: int) -> None:
    assert kind("text").exit_code == code


def test_a_message_is_one_line_however_it_was_written() -> None:
    assert str(UsageError("one\n  two\tthree\r\n")) == "one two three"


def test_a_message_cannot_drive_the_terminal() -> None:
    assert str(UsageError("name \x1b[2J\x07 \udc80 é")) == r"name \x1b[2J\x07 \udc80 é"


def test_an_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(CheckFailedError("accuracy fell")))
    assert isinstance(error, CheckFailedError)
    assert str(error) == "accuracy fell"


def test_a_missing_package_names_the_extra_that_brings_it() -> None:
    expected = r"no_such_package is not installed.*'edgeml\[train\]'"
    with pytest.raises(MissingError, match=expected) as caught, needs_extra("train"):
        importlib.import_module("no_such_package.inside")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_other_import_errors_pass_through() -> None:
    with pytest.raises(ImportError, match="broken"), needs_extra("train"):
        raise ImportError("broken")
