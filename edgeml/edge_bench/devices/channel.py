"""What a program that runs on a device is to the coordinator: lines of text both ways, and why it ended."""

from typing import Protocol


class Channel(Protocol):
    """A program running on a device, its stdin and stdout as lines of UTF-8 text."""

    @property
    def lost(self) -> bool:
        """Whether the link was cut rather than the program ended; known once `receive` gave None."""
        ...

    def send(self, line: str) -> None:
        """Hand the program a line (without its newline). Raises nothing: a dead program is told of by `receive`."""
        ...

    def receive(self, timeout_s: float) -> str | None:
        """The program's next line without its newline; None where it ended or the link is cut.

        Raises:
            TimeoutError: there was none within `timeout_s` seconds.
        """
        ...

    def ended_because(self) -> str:
        """After `receive` gave None: one clause with what ended it, as far as is known."""
        ...

    def close(self, *, force: bool = False) -> None:
        """End the program by closing its stdin, after a few seconds by force, and free everything; twice is well.

        Args:
            force: end it by force at once: it may be in the middle of a long run.
        """
        ...
