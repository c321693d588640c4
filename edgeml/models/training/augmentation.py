"""Varies batches of training images as tensors; every draw comes from one generator, so that a run can be repeated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgeml.models.training.recipe import Augmentation

if TYPE_CHECKING:
    import torch

# Szegedy et al. (2015), as torchvision's RandomResizedCrop has them.
AREA = (0.08, 1.0)
ASPECT = (3 / 4, 4 / 3)


def augment(pixels: torch.Tensor, augmentation: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Varied images.

    Args:
        pixels: uint8 (batch, channels, height, width).
        augmentation: what to do.
        generator: source of all draws, on the CPU.

    Returns:
        float32 (batch, channels, height, width) in [0, 255].
    """
    if augmentation.crop == "shift":
        pixels = shift(pixels, augmentation.shift, generator)
    if augmentation.flip:
        pixels = flip(pixels, generator)
    images = pixels.float()
    if augmentation.crop == "random-resized":
        images = random_resized_crop(images, generator)
    return jitter(images, augmentation.jitter, generator) if augmentation.jitter else images


def flip(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror each image left to right with probability one half."""
    import torch

    chosen = torch.rand(len(pixels), generator=generator).to(pixels.device) < 0.5
    return torch.where(chosen[:, None, None, None], pixels.flip(3), pixels)


def shift(pixels: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Move each image by up to `share` of its side in both directions; the edge pixels are repeated outwards."""
    import torch

    count, channels, height, width = pixels.shape

    def indices(side: int) -> torch.Tensor:
        reach = round(share * side)
        moves = torch.randint(-reach, reach + 1, (count, 1), generator=generator)
        return (torch.arange(side) + moves).clamp_(0, side - 1).to(pixels.device)

    rows = indices(height)[:, None, :, None].expand(-1, channels, -1, width)
    columns = indices(width)[:, None, None, :].expand(-1, channels, height, -1)
    return pixels.gather(2, rows).gather(3, columns)


def random_resized_crop(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random part of each image, resized to the image's own size (bilinear).

    Args:
        images: float32 (batch, channels, height, width).
        generator: source of the draws.

    Returns:
        float32 (batch, channels, height, width).
    """
    import torch
    from torch.nn import functional

    boxes = random_boxes(len(images), images.shape[2], images.shape[3], generator).to(images.device)
    left, top, right, bottom = boxes.unbind(1)
    # affine_grid spans [-1, 1] over the image: scale is the box's share of the side, offset its centre.
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 0, 2] = right - left, left + right - 1
    theta[:, 1, 1], theta[:, 1, 2] = bottom - top, top + bottom - 1
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def random_boxes(count: int, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """Crop boxes, float32 (count, 4): left, top, right, bottom as shares of the side, of random area and aspect.

    A box that would be larger than the image is cut to it (torchvision draws again instead).
    """
    import torch

    draws = torch.rand(4, count, generator=generator)
    area = AREA[0] + draws[0] * (AREA[1] - AREA[0])
    low, high = math.log(ASPECT[0]), math.log(ASPECT[1])
    aspect = torch.exp(low + draws[1] * (high - low)) * height / width
    box_width = (area * aspect).sqrt().clamp(max=1.0)
    box_height = (area / aspect).sqrt().clamp(max=1.0)
    left = draws[2] * (1 - box_width)
    top = draws[3] * (1 - box_height)
    return torch.stack([left, top, left + box_width, top + box_height], dim=1)


def jitter(images: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Change brightness, contrast and, for RGB, saturation by factors of 1 - strength to 1 + strength.

    In this fixed order (torchvision shuffles it); float32 in [0, 255] in and out.
    """
    import torch

    factors = 1 + strength * (2 * torch.rand(3, len(images), 1, 1, 1, generator=generator) - 1)
    brightness, contrast, saturation = factors.to(images.device)
    images = (images * brightness).clamp(0, 255)
    grey = _luma(images)
    images = torch.lerp(grey.mean((2, 3), keepdim=True), images, contrast).clamp(0, 255)
    if images.shape[1] == 3:
        images = torch.lerp(_luma(images), images, saturation).clamp(0, 255)
    return images


def _luma(images: torch.Tensor) -> torch.Tensor:
    if images.shape[1] == 1:
        return images
    weights = images.new_tensor([0.299, 0.587, 0.114])
    return (images * weights[:, None, None]).sum(1, keepdim=True)
