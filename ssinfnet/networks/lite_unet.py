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

CHANNELS = (48, 64)  # of the decoder at 1/4 and 1/8 of the input, at width 1


class LiteUNet(nn.Module):
    """Features of EfficientNet-Lite0, enlarged step by step beside their skips, to 1/4.

    With 3 input and 1 output channels it has 884,657 parameters at width 1. The encoder is read
    down to 1/16: its stages behind that hold three quarters of its parameters, and gained nothing
    (D-202). The logits are enlarged from 1/4 to the input's size, where Inf-Net's are from 1/8.

    Parameters
    ----------
    in_channels, out_channels : int
    width : float
        Factor on the decoder's channel counts; the encoder is Lite0 as published.
    """

    heads = ("head",)

    def __init__(self, in_channels: int, out_channels: int, width: float = 1.0) -> None:
        super().__init__()
        self.backbone = EfficientNetLite(in_channels=in_channels, levels=3)
        x1, x2, x3 = self.backbone.channels
        c4, c8 = (scaled(channels, width) for channels in CHANNELS)
        self.up8 = double_conv(x3 + x2, c8)
        self.up4 = double_conv(c8 + x1, c4)
        self.head = nn.Conv2d(c4, out_channels, 1)
        self.tells_classes = out_channels > 1

    def load_imagenet(self, file: str | Path) -> None:
        """Load ImageNet weights of the encoder; see `EfficientNetLite.load_imagenet`."""
        self.backbone.load_imagenet(file)

    def forward(self, x: Tensor) -> UNetOutput:
        """Map (batch, in_channels, size, size), a multiple of 16, to logits of that size."""
        x1, x2, x3 = self.backbone(x)
        y = self.up8(torch.cat([_resize(x3, x2), x2], dim=1))
        y = self.up4(torch.cat([_resize(y, x1), x1], dim=1))
        return UNetOutput(_resize(self.head(y), x))


def _resize(x: Tensor, beside: Tensor) -> Tensor:
    """Enlarge features to the height and width of others."""
    return F.interpolate(x, size=beside.shape[-2:], mode="bilinear", align_corners=False)
