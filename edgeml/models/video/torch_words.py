"""Torch's words for what networks call, and what is said of those that video networks cannot have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import fx

SAME_PADDING = frozenset({"Conv2dSame", "MaxPool2dSame"})  # timm's, whose padding follows from the size
ALLOWED = (
    "convolutions, BatchNorm, functions of each value alone (ReLU, SiLU, ...), sums and concatenations of maps, max "
    "and average pooling, upsampling by whole factors, global average pooling and linear layers"
)
REASONS = {
    "mul": "a product of two computed values, as in squeeze-and-excitation",
    "matmul": "a product of two computed values, as in attention",
    "MultiheadAttention": "attention",
    "LSTM": "a recurrent layer",
    "GRU": "a recurrent layer",
    "ConvTranspose2d": "a transposed convolution; use upsampling and a convolution",
    "conv_transpose2d": "a transposed convolution; use upsampling and a convolution",
    "LayerNorm": "a normalization by the frame's own statistics; use BatchNorm2d",
    "GroupNorm": "a normalization by the frame's own statistics; use BatchNorm2d",
    "InstanceNorm2d": "a normalization by the frame's own statistics; use BatchNorm2d",
    "PixelShuffle": "a rearrangement of pixels; use upsampling and a convolution",
}
# Calls that give the same numbers in the same order, some in another shape.
UNCHANGED = frozenset({
    "Identity", "Dropout", "Dropout1d", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout", "Flatten", "Unflatten",
    "dropout", "dropout2d", "alpha_dropout", "flatten", "reshape", "view", "squeeze", "unsqueeze", "contiguous",
    "detach", "clone", "float", "to", "type_as", "cpu",
})  # fmt: skip
_WORDS = {
    "iadd": "add", "imul": "mul", "isub": "sub", "itruediv": "truediv", "multiply": "mul", "subtract": "sub",
    "div": "truediv", "divide": "truediv", "true_divide": "truediv", "concat": "cat", "concatenate": "cat",
    "upsample": "interpolate",
}  # fmt: skip


def word_of(node: fx.Node, called: Any) -> str:
    """What a node calls, in torch's word: "add" for operator.iadd, Tensor.add_ and torch.add alike."""
    if node.op == "call_module":
        return type(called).__name__
    word = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))
    word = word.strip("_")
    return _WORDS.get(word, word)


def is_in_place(node: fx.Node, called: Any) -> bool:
    """Whether a call writes its result over its first argument."""
    if node.op == "call_module":
        return bool(getattr(called, "inplace", False)) and type(called).__name__ not in UNCHANGED
    word = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", "")
    in_place = node.kwargs.get("inplace", False) or word in {"iadd", "imul", "isub", "itruediv"}
    return bool(in_place) or (word.endswith("_") and not word.startswith("_"))
