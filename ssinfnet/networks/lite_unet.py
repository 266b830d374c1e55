"""A U-Net whose encoder is EfficientNet-Lite0: the network of the model in the box (D-202)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssinfnet.networks.blocks import scaled
from ssinfnet.networks.efficientnet import EfficientNetLite
from ssinfnet.networks.unet import UNetOutput, double_conv

__all__ = ["LiteUNet"]

CHANNELS = (48, 64, 128)  # of the decoder at 1/4, 1/8 and 1/16 of the input, at width 1


class LiteUNet(nn.Module):
    """Features of EfficientNet-Lite0, enlarged step by step beside their skips, to 1/4.

    With 3 input and 1 output channels it has 3,797,841 parameters at width 1. The logits are
    enlarged from 1/4 to the input's size: at 224 pixels that is finer than Inf-Net's 1/8, and costs
    a third of what two more steps up would.

    Parameters
    ----------
    in_channels, out_channels : int
    width : float
        Factor on the decoder's channel counts; the encoder is Lite0 as published.
    levels : {4, 3}
        Levels of the encoder that are read: all, or without the one at 1/32, which holds three
        quarters of the parameters.
    """

    heads = ("head",)

    def __init__(
        self, in_channels: int, out_channels: int, width: float = 1.0, levels: int = 4
    ) -> None:
        super().__init__()
        self.backbone = EfficientNetLite(in_channels=in_channels, levels=levels)
        skips = self.backbone.channels
        ups = [scaled(channels, width) for channels in CHANNELS[: levels - 1]]
        self.up = nn.ModuleList(
            double_conv(below + skip, out)
            for below, skip, out in zip([*ups[1:], skips[-1]], skips, ups, strict=False)
        )
        self.head = nn.Conv2d(ups[0], out_channels, 1)
        self.tells_classes = out_channels > 1

    def load_imagenet(self, file: str | Path) -> None:
        """Load ImageNet weights of the encoder; see `EfficientNetLite.load_imagenet`."""
        self.backbone.load_imagenet(file)

    def forward(self, x: Tensor) -> UNetOutput:
        """Map (batch, in_channels, size, size), a multiple of 32, to logits of that size."""
        size = x.shape[-2:]
        *skips, x = self.backbone(x)
        for skip, block in zip(reversed(skips), reversed(self.up), strict=True):
            x = block(torch.cat([_resize(x, skip.shape[-2:]), skip], dim=1))
        return UNetOutput(_resize(self.head(x), size))


def _resize(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
