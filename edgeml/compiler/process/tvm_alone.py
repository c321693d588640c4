"""Imports TVM without the packages that it would drag in and that compiling has no use for."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def import_tvm() -> ModuleType:
    """The tvm module.

    It imports torch where that is installed, which takes seconds and half a gigabyte; torch is made to look absent
    meanwhile, and only meanwhile, because other packages look it up among the loaded modules.
    """
    modules: dict[str, Any] = sys.modules
    hidden = "torch" not in modules
    if hidden:
        modules["torch"] = None
    try:
        import tvm
    finally:
        if hidden:
            del modules["torch"]
    return tvm  # type: ignore[no-any-return]
