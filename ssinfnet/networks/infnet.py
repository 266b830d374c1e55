"""Inf-Net: Res2Net features → partial decoder, edge branch and three reverse attentions.

J §Supervised InfNet, S fig S1; sizes are those of Inf-Net's code. The reverse attention follows the
corrected equation R = C(f ⊙ A, down(e)): what is attended is what the coarser map has not found.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssinfnet.networks.blocks import (
    ConvNorm,
    PartialDecoder,
    ReceptiveFieldBlock,
    Res2Net50,
    scaled,
)

__all__ = ["InfNet", "InfNetOutput"]


class InfNetOutput(NamedTuple):
    """Logits at the input's size, (batch, 1, size, size) each, from coarse to fine."""

    s_g: Tensor
    s_5: Tensor
    s_4: Tensor
    s_3: Tensor  # the prediction is sigmoid(s_3)
    edge: Tensor

    @property
    def segmentations(self) -> tuple[Tensor, ...]:
        """All lesion maps, the prediction last."""
        return (self.s_g, self.s_5, self.s_4, self.s_3)


class EdgeBranch(nn.Module):
    """x1 → edge guidance (64 channels) and one edge map at 1/4."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.guidance = nn.Sequential(
            ConvNorm(in_channels, channels, 1),
            ConvNorm(channels, channels, 3),
            ConvNorm(channels, channels, 3),
        )
        self.head = ConvNorm(channels, 1, 3)

    def forward(self, x1: Tensor) -> tuple[Tensor, Tensor]:
        """Return the edge guidance and the edge map."""
        guidance = self.guidance(x1)
        return guidance, self.head(guidance)


class ReverseAttention(nn.Module):
    """Refine a coarser lesion map where it has found nothing yet."""

    def __init__(
        self, in_channels: int, channels: int, edge_channels: int, convs: int, kernel: int
    ) -> None:
        super().__init__()
        self.reduce = ConvNorm(in_channels, channels, 1)
        layers: list[nn.Module] = []
        for index in range(convs):
            layers.append(ConvNorm(channels + edge_channels * (index == 0), channels, kernel))
            layers.append(nn.ReLU())
        self.refine = nn.Sequential(*layers)
        # x4's head is 1×1 and follows 5×5 convolutions, the finer ones' is 3×3 (Inf-Net's code).
        self.head = ConvNorm(channels, 1, 1 if kernel == 5 else 3)

    def forward(self, x: Tensor, coarser: Tensor, guidance: Tensor) -> Tensor:
        """Return the refined map at x's size.

        Parameters
        ----------
        x : (batch, in, h, w)
            Backbone feature.
        coarser : (batch, channels, h', w')
            Logits of the coarser map, one channel; its reconstruction in pretraining.
        guidance : (batch, 64, h'', w'')
            Edge guidance.
        """
        coarser = _resize(coarser, x.shape[-2:])
        # In pretraining the coarser map is a reconstruction of several channels.
        attention = 1 - torch.sigmoid(coarser.mean(1, keepdim=True))
        attended = self.reduce(attention * x)
        refined = self.refine(torch.cat([attended, _resize(guidance, x.shape[-2:])], dim=1))
        return self.head(refined) + coarser


class InfNet(nn.Module):
    """Single Inf-Net; 31,072,721 parameters and 13.84 GMAC at 352 px at width 1.

    Parameters
    ----------
    width : float
        Factor on every channel count; 1 is the published network.
    backbone : Module, optional
        Maps a slice to features at 1/4, 1/8, 1/16 and 1/32, whose numbers of channels are its
        ``channels``; by default Res2Net-50 of that width. Another one makes another network than
        the paper's.
    """

    tells_classes = False
    heads = ("decoder.head", "attention5.head", "attention4.head", "attention3.head", "edge.head")

    def __init__(self, width: float = 1.0, backbone: Any = None) -> None:
        super().__init__()
        c32, c64, c256 = scaled(32, width), scaled(64, width), scaled(256, width)
        self.backbone = Res2Net50(width) if backbone is None else backbone
        x1, x2, x3, x4 = self.backbone.channels
        self.rfb2 = ReceptiveFieldBlock(x2, c32)
        self.rfb3 = ReceptiveFieldBlock(x3, c32)
        self.rfb4 = ReceptiveFieldBlock(x4, c32)
        self.decoder = PartialDecoder(c32)
        self.edge = EdgeBranch(x1, c64)
        self.attention5 = ReverseAttention(x4, c256, c64, convs=3, kernel=5)
        self.attention4 = ReverseAttention(x3, c64, c64, convs=2, kernel=3)
        self.attention3 = ReverseAttention(x2, c64, c64, convs=2, kernel=3)

    def forward(self, x: Tensor) -> InfNetOutput:
        """Map slices (batch, 3, size, size) to five logit maps of that size."""
        size = x.shape[-2:]
        x1, x2, x3, x4 = self.backbone(x)
        s_g = self.decoder(self.rfb4(x4), self.rfb3(x3), self.rfb2(x2))
        guidance, edge = self.edge(x1)
        s_5 = self.attention5(x4, s_g, guidance)
        s_4 = self.attention4(x3, s_5, guidance)
        s_3 = self.attention3(x2, s_4, guidance)
        return InfNetOutput(*(_resize(logits, size) for logits in (s_g, s_5, s_4, s_3, edge)))


def _resize(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
