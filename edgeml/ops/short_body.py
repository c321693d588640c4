"""Makes an operator's body take few bytes, since every file that calls the operator carries it."""

from __future__ import annotations

from string import ascii_letters
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def shorten(function: onnx.FunctionProto) -> None:
    """Merge the nodes that compute the same, and give inner values names of one or two letters.

    Args:
        function: changed in place; each node has one output, and no node draws random numbers or holds a graph.
    """
    kept: list[onnx.NodeProto] = []
    known: dict[bytes, str] = {}
    names = {name: name for name in (*function.input, *function.output)}
    for node in function.node:
        [output] = node.output
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [""]
        content = node.SerializeToString(deterministic=True)
        if content in known and output not in function.output:
            names[output] = known[content]
            continue
        names[output] = known[content] = names.get(output) or _letters(len(kept), set(names))
        node.output[:] = [names[output]]
        kept.append(node)
    del function.node[:]
    function.node.extend(kept)


def _letters(number: int, taken: set[str]) -> str:
    """A name for value `number`, which no input or output has."""
    first, second = divmod(number, len(ascii_letters))
    name = (ascii_letters[first - 1] if first else "") + ascii_letters[second]
    return f"{name}_" if name in taken else name
