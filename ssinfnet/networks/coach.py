"""The coach: slice → score map, from which the mask of the inpainting task is cut (J eq 1–3).

J says only that its backbone resembles Inf-Net's; the sizes are those of the paper's public code
(D-32): ResNet-18 without max-pool, so that scores lie at 1/16, and a random bottleneck.
Attribute names of the backbone are those of published ResNet-18 weights.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.fx
from torch import Tensor, nn
from torch.nn import functional as F

from ssinfnet.networks.blocks import scaled

__all__ = ["Coach", "CoachOutput"]

LATENT = 100  # channels of the bottleneck


class CoachOutput(NamedTuple):
    """The coach's output for a batch."""

    scores: Tensor  # (batch, 1, size / 16, size / 16): the higher, the rather kept
    divergence: Tensor  # (batch,): KL of the bottleneck from a standard normal, per cell


class BasicBlock(nn.Module):
    """One ResNet block of two 3×3 convolutions and its shortcut (He et al. 2016)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        nn.init.zeros_(self.bn2.weight)  # a random block starts at the identity (D-75)
        self.downsample = (
            nn.Identity()
            if stride == 1 and in_channels == out_channels
            else nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in, h, w) to (batch, out, h / stride, w / stride)."""
        inner = F.relu(self.bn1(self.conv1(x)))
        # A 1×1 convolution with a stride reads only these pixels. Read here, because torch 2.13's
        # strided form crashes on a processor (8 channels, channels-last, 64 pixels, backward).
        read = x[:, :, :: self.stride, :: self.stride]
        return F.relu(self.bn2(self.conv2(inner)) + self.downsample(read))


class Coach(nn.Module):
    """ResNet-18 without max-pool and classifier, a reparameterised bottleneck, one score a cell.

    Parameters
    ----------
    in_channels : int
        3 for a slice, 6 for slice and prior.
    width : float
        Factor on every channel count; 1 is the published size.
    """

    def __init__(self, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        c = [scaled(channels, width) for channels in (64, 128, 256, 512)]
        self.latent = scaled(LATENT, width)
        self.conv1 = nn.Conv2d(in_channels, c[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(c[0])
        self.layer1 = nn.Sequential(BasicBlock(c[0], c[0], 1), BasicBlock(c[0], c[0], 1))
        self.layer2 = nn.Sequential(BasicBlock(c[0], c[1], 2), BasicBlock(c[1], c[1], 1))
        self.layer3 = nn.Sequential(BasicBlock(c[1], c[2], 2), BasicBlock(c[2], c[2], 1))
        self.layer4 = nn.Sequential(BasicBlock(c[2], c[3], 2), BasicBlock(c[3], c[3], 1))
        self.bottleneck = nn.Conv2d(c[3], 2 * self.latent, 1)
        self.score = nn.Conv2d(self.latent, 1, 1)

    def forward(self, x: Tensor) -> CoachOutput:
        """Score the cells of slices (batch, in_channels, size, size), size a multiple of 16.

        In training mode the bottleneck is drawn from its normal; in evaluation it is the mean
        (D-10).
        """
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        mean, log_variance = _unrounded(self.bottleneck(x)).chunk(2, dim=1)
        divergence = (mean**2 + log_variance.exp() - 1 - log_variance) / 2
        if self.training:
            mean = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return CoachOutput(_unrounded(self.score(mean)), divergence.sum(1).mean((1, 2)))


@torch.fx.wrap  # a diagram need not look inside
def _unrounded(x: Tensor) -> Tensor:
    """Leave the half precision of autocast, in which exponentials and sorting go wrong."""
    return x.float() if x.dtype == torch.bfloat16 else x
