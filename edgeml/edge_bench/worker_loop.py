"""What the programs that measure share: they obey commands, one JSON object a line, and time calls alike."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO, TypeVar

from edgeml.core.errors import EdgeMLError
from edgeml.edge_bench.conditions.device_state import read_state
from edgeml.edge_bench.conditions.environment import host_info
from edgeml.edge_bench.memory import peak_memory_bytes

T = TypeVar("T")
Command = Callable[..., dict[str, Any]]
Open = Callable[..., tuple[Mapping[str, Command], dict[str, Any]]]
"""The command "open": takes its arguments by name; gives the commands that now work, by name, and its answer."""


def timed(call: Callable[[T], object], turn: Sequence[T]) -> list[int]:
    """Latency in nanoseconds of `call` on each of these values, which lie ready."""
    clock = time.perf_counter_ns
    latencies = []
    collecting = gc.isenabled()
    gc.disable()  # a collection would land in some sample
    try:
        for value in turn:
            start = clock()
            call(value)
            latencies.append(clock() - start)
    finally:
        if collecting:
            gc.enable()
    return latencies


def serve(requests: TextIO, replies: TextIO, open: Open) -> None:  # noqa: A002 (the command's name)
    """Obey the commands of `requests` until one is "stop" or there are no more.

    "memory" -> peak_memory_bytes, "host" -> the values of a HostInfo and "conditions" -> those of a DeviceState are
    known from the start, the rest once a model is open. An answer is {"ok": {...}} or {"error": message, "kind": name
    of the EdgeMLError}.

    Args:
        requests: one JSON object a line, the command's name under "command", its arguments beside it.
        replies: one JSON object a line is written to it.
        open: the command of that name.
    """
    commands: dict[str, Command] = {
        "memory": lambda: {"peak_memory_bytes": peak_memory_bytes()},
        "host": lambda: host_info().to_json(),
        "conditions": lambda: read_state().to_json(),
    }
    for line in requests:
        request = json.loads(line)
        command = request.pop("command")
        if command == "stop":
            return
        try:
            if command == "open":
                opened, answer = open(**request)
                commands |= opened
            else:
                answer = commands[command](**request)
            reply: dict[str, Any] = {"ok": answer}
        except MemoryError:
            reply = {"error": "it needs more memory than this machine has available", "kind": EdgeMLError.__name__}
        except EdgeMLError as error:
            reply = {"error": str(error), "kind": type(error).__name__}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def run_worker(open: Open) -> None:  # noqa: A002 (the command's name)
    """Serve on this process's stdin and stdout."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the coordinator, which then closes stdin
    # Whatever a library prints goes to stderr: the answers have a channel of their own.
    channel = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with os.fdopen(channel, "w", encoding="utf-8") as replies, suppress(BrokenPipeError):
        serve(sys.stdin, replies, open)
