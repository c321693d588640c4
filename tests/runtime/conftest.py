"""Compiled models for the emulated ARM device, shared by the tests of what runs there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgeml.core.artifact import Artifact
from edgeml.core.errors import MissingError
from edgeml.runtime.emulated.machine import EmulatedMachine, emulated_machine


@pytest.fixture(scope="session")
def machine() -> EmulatedMachine:
    """The emulated machine, where it is set up."""
    try:
        return emulated_machine()
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def rpi4_libraries(
    machine: EmulatedMachine, tvm_libraries_of: Callable[[str], dict[str, Artifact]]
) -> dict[str, Artifact]:
    """The small libraries of `tvm_libraries`, for a Raspberry Pi 4."""
    return tvm_libraries_of("rpi4")
