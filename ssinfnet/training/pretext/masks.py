"""Masks of the inpainting task, and what fills them without learning (J eq 2, 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ssinfnet.data.batches import COACH_STRIDE

__all__ = ["hard_mask", "local_mean_fill", "soft_mask"]

LOCAL_MEAN_CELLS = 3  # cells a side of the square whose kept pixels fill an erased one


def hard_mask(scores: Tensor, kept: float) -> Tensor:
    """Keep exactly the share `kept` of the cells, those with the highest scores (J eq 3, α → ∞).

    Parameters
    ----------
    scores : (batch, 1, cells, cells) float tensor
        The coach's, or random ones.
    kept : float
        k in (0, 1); ⌊k·cells² + ½⌋ cells are kept, at least one and not all. Among equal scores
        the cell nearer to the top left is kept.

    Returns
    -------
    (batch, 1, cells, cells) float tensor of 0 (erased) and 1 (kept)
    """
    flat = scores.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)
    mask = torch.zeros_like(flat)
    mask.scatter_(1, order[:, : _count(flat.shape[1], kept)], 1.0)
    return mask.view_as(scores)


def soft_mask(scores: Tensor, kept: float, sharpness: float = 1.0) -> Tensor:
    """Return M = σ(α·B̂), B̂ the scores less their k-th largest (J eq 2, 3).

    Parameters
    ----------
    scores : (batch, 1, cells, cells) float tensor
    kept : float
        Share of the cells that stay, as for `hard_mask`.
    sharpness : float
        α; 1 while the coach trains.

    Returns
    -------
    (batch, 1, cells, cells) float tensor in (0, 1), at least ½ where `hard_mask` keeps
    """
    flat = scores.flatten(1)
    last_kept = flat.topk(_count(flat.shape[1], kept), dim=1).values[:, -1:]
    return torch.sigmoid(sharpness * (flat - last_kept)).view_as(scores)


def _count(cells: int, kept: float) -> int:
    return min(max(math.floor(kept * cells + 0.5), 1), cells - 1)


def local_mean_fill(slices: Tensor, mask: Tensor) -> Tensor:
    """Fill each erased pixel with the mean of the kept ones around it: the rival of inpainting.

    Around is a square of three cells' side; where it holds no kept pixel, the whole slice.

    Parameters
    ----------
    slices : (batch, channels, size, size) float tensor
    mask : (batch, 1, size, size) float tensor
        1 kept, 0 erased.
    """
    side = LOCAL_MEAN_CELLS * COACH_STRIDE + 1

    def around(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, side, stride=1, padding=side // 2)

    share = around(mask)
    whole = (slices * mask).mean((2, 3), keepdim=True) / mask.mean((2, 3), keepdim=True)
    mean = torch.where(share > 0, around(slices * mask) / share.clamp(min=1e-6), whole)
    return slices * mask + mean * (1 - mask)
