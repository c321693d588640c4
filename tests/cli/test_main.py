"""The command line as a whole: exit codes, one-line errors, quiet ends."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from edgeml import __version__
from edgeml.cli import main as main_module
from edgeml.core.errors import CheckFailedError, EdgeMLError, MissingError, UntrustedFileError, UsageError


def edgeml(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgeml.cli.main", *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EdgeMLError("it failed"), 1),
        (UntrustedFileError("it failed"), 1),
        (UsageError("it failed"), 2),
        (MissingError("it failed"), 3),
        (CheckFailedError("it failed"), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_failure_has_its_exit_code_and_one_line(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command("fail")
    def fail() -> None:
        raise error

    monkeypatch.setattr(main_module.cli, "get_command", lambda _context, _name: fail)
    monkeypatch.setattr(sys, "argv", ["edgeml", "fail"])
    with pytest.raises(SystemExit) as left:
        main_module.main()
    assert left.value.code == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.err.startswith("edgeml: ") or code == 130


def test_the_version_is_the_packages() -> None:
    assert edgeml("--version").stdout.strip() == f"edgeml, version {__version__}"


@pytest.mark.parametrize("arguments", [["no-such-command"], ["bench"], ["export", "tinynet-e", "--precision", "fp8"]])
def test_a_wrong_call_exits_with_2_and_no_traceback(arguments: list[str]) -> None:
    completed = edgeml(*arguments)
    assert completed.returncode == 2
    assert completed.stdout == ""
    assert "Traceback" not in completed.stderr


def test_a_reader_that_leaves_early_sees_no_traceback() -> None:
    # The reader's end is closed before edgeml writes, as by `edgeml … | head -0`.
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeml.cli.main", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert "Traceback" not in process.stderr.read()
    process.wait()
