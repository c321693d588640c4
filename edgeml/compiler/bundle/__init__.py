"""Packs a compiled model with all it needs to run on a board."""

from edgeml.compiler.bundle.elf_needs import SystemNeeds
from edgeml.compiler.bundle.write import BundleResult, write_bundle

__all__ = ["BundleResult", "SystemNeeds", "write_bundle"]
