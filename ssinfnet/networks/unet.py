"""The bilinear U-Net 64-128-256-512-512: the baseline, and stage 2's network (D-09)."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssinfnet.networks.blocks import scaled

__all__ = ["UNet", "UNetOutput", "double_conv"]


class UNetOutput(NamedTuple):
    """Logits at the input's size, (batch, classes, size, size)."""

    logits: Tensor

    @property
    def segmentations(self) -> tuple[Tensor, ...]:
        """The one map there is, named as in `InfNetOutput`."""
        return (self.logits,)


class UNet(nn.Module):
    """Four max-pools down, four bilinear enlargements up, a skip at each level.

    With 6 input and 3 output channels it has 17,269,251 parameters at width 1.

    Parameters
    ----------
    in_channels, out_channels : int
    width : float
        Factor on every channel count; 1 is the published network.
    """

    heads = ("head",)

    def __init__(self, in_channels: int, out_channels: int, width: float = 1.0) -> None:
        super().__init__()
        c = [scaled(channels, width) for channels in (64, 128, 256, 512, 512)]
        self.first = double_conv(in_channels, c[0])
        self.down = nn.ModuleList(double_conv(c[i], c[i + 1]) for i in range(4))
        # What comes from below has as many channels as the skip beside it: c[3], c[2], c[1], c[0].
        self.up = nn.ModuleList(
            double_conv(2 * skip, out, between=skip)
            for skip, out in ((c[3], c[2]), (c[2], c[1]), (c[1], c[0]), (c[0], c[0]))
        )
        self.head = nn.Conv2d(c[0], out_channels, 1)
        self.tells_classes = out_channels > 1

    def forward(self, x: Tensor) -> UNetOutput:
        """Map (batch, in_channels, size, size) to logits of that size."""
        skips = [self.first(x)]
        for block in self.down:
            skips.append(block(F.max_pool2d(skips[-1], 2)))
        x = skips.pop()
        for block in self.up:
            skip = skips.pop()
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=True)
            x = block(torch.cat([skip, x], dim=1))
        return UNetOutput(self.head(x))


def double_conv(in_channels: int, out_channels: int, between: int | None = None) -> nn.Sequential:
    """Twice a 3×3 convolution (with bias), batch norm and ReLU."""
    channels = (in_channels, between or out_channels, out_channels)
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)
