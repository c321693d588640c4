"""What can go wrong in a way the user can mend, and the exit code each kind gives the command line.

Exit codes: 0 ok, 1 failed, 2 usage, 3 missing dependency or device, 4 a check failed.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class EdgeMLError(Exception):
    """A failure told in one line: what is wrong, the value, what is allowed, the mend."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        # Messages quote names from files; what is not printable (an escape sequence, say) must not reach the terminal.
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line))


class UsageError(EdgeMLError):
    """An argument, option or input file is not of the form asked for."""

    exit_code = 2


class UntrustedFileError(EdgeMLError):
    """A file from outside breaks a safety limit and was not opened."""

    exit_code = 1


class MissingError(EdgeMLError):
    """A package, tool, data set or device that the work needs is not there."""

    exit_code = 3


class CheckFailedError(EdgeMLError):
    """The work was done and its result does not pass: parity, accuracy, integrity, regression."""

    exit_code = 4


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn a failed import inside the block into a MissingError that names the pip extra.

    Example:
        with needs_extra("train"):
            import torch
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        raise MissingError(f"{package} is not installed; install it with: pip install 'edgeml[{extra}]'") from error
