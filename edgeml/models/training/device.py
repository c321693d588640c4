"""Chooses where training runs and at which precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from edgeml.core.errors import MissingError, UsageError, needs_extra

if TYPE_CHECKING:
    import torch

DeviceChoice = Literal["auto", "cpu", "cuda"]


def choose_device(choice: str) -> torch.device:
    """The device to train on; "auto" takes CUDA where there is a GPU.

    Raises:
        UsageError: the choice is not one of auto, cpu, cuda.
        MissingError: CUDA is asked for and torch finds no GPU, or torch is not installed.
    """
    with needs_extra("train"):
        import torch
    if choice not in get_args(DeviceChoice):
        raise UsageError(f"unknown training device {choice!r}; allowed: {', '.join(get_args(DeviceChoice))}")
    available = torch.cuda.is_available()
    if choice == "cuda" and not available:
        raise MissingError(
            "torch finds no CUDA GPU; use --device cpu, or install a torch built for CUDA and its driver"
        )
    return torch.device("cuda" if choice != "cpu" and available else "cpu")


def uses_bfloat16(device: torch.device) -> bool:
    """Whether forward passes run in bfloat16: on GPUs that compute in it.

    Not on CPUs: with AVX-512 BF16 a small network trained at half the speed of float32 (depthwise convolutions).
    """
    import torch

    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
