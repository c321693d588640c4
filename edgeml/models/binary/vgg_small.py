"""VGG-small: six plain convolutions for 32x32 images, the usual network of binary-network papers on CIFAR-10.

It has no shortcuts: between its binary layers only signs are needed.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgeml.models.binary.layers import BinaryConv2d

_FIRST_CHANNELS = 128
# Output channels of the binary convolutions, and whether pooling follows.
_LAYERS = ((128, True), (256, False), (256, True), (512, False), (512, True))


class VggSmall(nn.Module):
    """VGG-small as an image classifier: a real first convolution, five binary ones, a real classifier.

    Args:
        resolution: height and width of the images, which the classifier's width follows from; at least 8.
        classes: logits.
        in_channels: channels of the images.
    """

    def __init__(self, *, resolution: int = 32, classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, _FIRST_CHANNELS, 3, padding=1, bias=False),
            nn.BatchNorm2d(_FIRST_CHANNELS),
        ]
        channels, side = _FIRST_CHANNELS, resolution
        for width, pools in _LAYERS:
            # Normalized before pooling, so that the normalization can become the convolution's scale and bias.
            layers += [BinaryConv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width)]
            if pools:
                layers.append(nn.MaxPool2d(2))
                side //= 2
            channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels * side * side, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float32 (batch, class), of images, float32 (batch, channels, height, width)."""
        logits: Tensor = self.classifier(self.features(x).clamp(-1, 1).flatten(1))
        return logits
