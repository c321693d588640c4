"""Gives a network with fresh weights a signal, so that an untrained export can be compared and measured in earnest."""

from __future__ import annotations

from edgeml.models.network import Network

_PIXELS = 1 << 18
_IMAGES = (4, 32)


def settle_statistics(network: Network) -> None:
    """Set the running statistics of batch normalization to those of one batch of noise, in place.

    Fresh statistics (mean 0, variance 1) are those of no input: in evaluation, activations then shrink from block to
    block, TinyNet-E's logits to some 1e-6, below every tolerance that a conversion is checked with. Training replaces
    them. torch's own random numbers are not drawn from.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    norms = [
        module for module in network.module.modules() if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    if not norms:
        return
    channels, height, width = network.input_shape
    images = min(max(_PIXELS // (height * width), _IMAGES[0]), _IMAGES[1])
    noise = torch.randn(images, channels, height, width, generator=torch.Generator().manual_seed(0))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches, here of one
    try:
        with torch.no_grad():
            network.module(noise)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.zero_()
