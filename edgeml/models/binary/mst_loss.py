"""A training loss that draws the binary filters of a layer together along their tree, so that fewer bits differ.

Vo et al., "MST-compression" (ICCV 2023), train with the tree's total distance as a second loss; its exact form here is
ours: the sum over all edges (i, j) of (N - <b_i, b_j>) / (2 N), the share of their N bits in which two filters differ,
where b are the signs of the latent weights and gradients pass as through the sign of the forward pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeml.models.binary.mst import TreeStatistics, spanning_tree, statistics
from edgeml.ops.bits import pack_signs

if TYPE_CHECKING:
    import torch

    from edgeml.models.binary.layers import BinaryConv2d


class TreeLoss:
    """The loss of the trees as they are at construction; build a new one each epoch, as filters move to other parents.

    Args:
        module: a network. Its binary convolutions count, except those whose weights are still real.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        import torch

        self._edges: list[tuple[BinaryConv2d, torch.Tensor, torch.Tensor]] = []
        for _, layer in _convolutions(module):
            filters = layer.weight.detach().flatten(1)
            if not layer.binarize_weights or len(filters) < 2:
                continue
            parents = torch.from_numpy(spanning_tree(pack_signs(filters.cpu().numpy()), filters.shape[1]))
            children = torch.nonzero(parents != torch.arange(len(parents)))[:, 0]
            device = layer.weight.device
            self._edges.append((layer, children.to(device), parents[children].to(device)))

    def __call__(self) -> torch.Tensor:
        """The loss of the weights as they are now, float32 (): from 0 to the number of edges."""
        import torch

        from edgeml.models.binary.estimators import clipped_identity

        total = torch.zeros(())
        for layer, children, parents in self._edges:
            signs = clipped_identity(layer.weight.flatten(1))
            agreement = (signs[children] * signs[parents]).sum() / signs.shape[1]
            total = total.to(agreement.device) + (len(children) - agreement) / 2
        return total


def layer_statistics(module: torch.nn.Module) -> dict[str, TreeStatistics]:
    """What trees save in each binary convolution of `module`, by the layer's name."""
    found = {}
    for name, layer in _convolutions(module):
        filters = layer.weight.detach().flatten(1)
        found[name] = statistics(pack_signs(filters.cpu().numpy()), filters.shape[1])
    return found


def mean_edge(module: torch.nn.Module) -> float:
    """Mean share of a filter's bits that differ from its parent's, over the bits of all binary convolutions."""
    found = layer_statistics(module).values()
    places = sum((each.filters - 1) * each.filter_bits for each in found)
    return sum(each.differing_bits for each in found) / max(1, places)


def _convolutions(module: torch.nn.Module) -> list[tuple[str, BinaryConv2d]]:
    from edgeml.models.binary.layers import BinaryConv2d, binary_layers

    return [(name, layer) for name, layer in binary_layers(module) if isinstance(layer, BinaryConv2d)]
