"""The emulated ARM device qemu://aarch64."""
