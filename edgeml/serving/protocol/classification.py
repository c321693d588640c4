"""The classification extension: the largest values of an output in place of the whole of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeml.serving.errors import InvalidRequestError
from edgeml.serving.inference import Tensor


def classify(name: str, tensor: Tensor, count: int, labels: Sequence[str], *, batched: bool) -> Tensor:
    """The `count` largest values of each row as strings "value:index" or "value:index:label", largest first.

    Args:
        name: of the output, for messages.
        tensor: (batch, ...) where it is batched, else (...); each row is taken as flat.
        count: how many; at most as many as a row has.
        labels: name of each class; may be empty.
        batched: whether the first axis is the batch.

    Returns:
        BYTES (batch, count), or (count,) where it is not batched.

    Raises:
        InvalidRequestError: the output is not of numbers.
    """
    if tensor.dtype.kind not in "fiub" and tensor.dtype.name != "bfloat16":
        raise InvalidRequestError(f"output {name!r:.80} is not of numbers, so it cannot be classified")
    rows = tensor.reshape(len(tensor), -1) if batched and tensor.ndim else tensor.reshape(1, -1)
    count = min(count, rows.shape[1])
    values = rows.astype(np.float64)
    # Numbers that are none are never the largest; of equals the first is taken.
    order = np.argsort(-np.where(np.isnan(values), -np.inf, values), axis=1, kind="stable")[:, :count]
    found = np.empty(order.shape, dtype=object)
    for row, column in np.ndindex(*order.shape):
        index = int(order[row, column])
        text = f"{values[row, index]:f}:{index}"
        if index < len(labels):
            text += f":{labels[index]}"
        found[row, column] = text.encode()
    return found if batched and tensor.ndim else found[0]
