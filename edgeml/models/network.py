"""A network ready to be trained, exported or measured, with what must be known to feed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeml.core.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Network:
    """An image classifier and its interface.

    Attributes:
        name: the source as the user wrote it ("tinynet-e", "nets.py:make").
        module: float32 (batch, channels, height, width) to float32 (batch, class) logits; in evaluation mode.
        preprocessing: how an image becomes its input.
        family: the architecture ("tinynet"), or the kind of source.
        classes: class names in logit order; empty where they are not known.
        notes: what the user should know about it, such as a transform that could only be approximated.
    """

    name: str
    module: nn.Module
    preprocessing: Preprocessing
    family: str
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one input: (channels, height, width)."""
        return (self.preprocessing.channels, self.preprocessing.height, self.preprocessing.width)
