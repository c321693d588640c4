"""Calls from a thread to the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from edgeml.serving.engine.callbacks import Callbacks


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_functions_are_called_in_order_on_the_loops_thread_and_nothing_stays_open() -> None:
    called: list[tuple[int, int]] = []

    async def run() -> None:
        before = open_descriptors()
        finished = asyncio.Event()
        callbacks = Callbacks(asyncio.get_running_loop())

        def work() -> None:
            for number in range(100_000):  # more than the pipe holds notices
                callbacks.call(lambda argument: called.append((argument, threading.get_ident())), number)
            callbacks.call(lambda _: finished.set(), None)
            callbacks.end()

        threading.Thread(target=work).start()
        await asyncio.wait_for(finished.wait(), 30)
        while open_descriptors() > before:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(run(), 60))
    assert called == [(number, threading.get_ident()) for number in range(100_000)]


def test_a_function_that_fails_is_told_of_and_the_next_is_called() -> None:
    told: list[Any] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        finished = asyncio.Event()
        callbacks = Callbacks(loop)
        callbacks.call(lambda argument: 1 // argument, 0)
        callbacks.call(lambda _: finished.set(), None)
        callbacks.end()
        await asyncio.wait_for(finished.wait(), 10)

    asyncio.run(run())
    assert [type(error) for error in told] == [ZeroDivisionError]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs pipes that a loop can wait for")
def test_a_loop_that_was_closed_is_no_error_for_the_thread() -> None:
    async def make() -> Callbacks:
        return Callbacks(asyncio.get_running_loop())

    before = open_descriptors()
    callbacks = asyncio.run(make())
    callbacks.call(print, "never")
    callbacks.end()
    del callbacks
    assert open_descriptors() == before
