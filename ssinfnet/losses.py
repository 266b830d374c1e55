"""The losses of stage 1, as pure functions of logits and masks (J eq 4 and 5).

The weights of D-06 stay per pixel. All maps are (batch, 1, height, width).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

__all__ = ["boundary_weights", "edge_loss", "segmentation_loss", "stage1_loss"]


def boundary_weights(lesion: Tensor, window: int = 31, gain: float = 5.0) -> Tensor:
    """Return w = 1 + gain·|mean of the lesion mask around the pixel − the mask|.

    Parameters
    ----------
    lesion : (batch, 1, height, width) float tensor of 0 and 1
    window : int
        Odd side of the averaging square in pixels. The border is padded with zeros that count in
        the mean, as in Inf-Net.
    gain : float

    Returns
    -------
    Tensor of the same shape, in [1, 1 + gain]; largest along the lesion's boundary
    """
    # A square mean is a mean of rows of means: 2 × 31 additions a pixel instead of 31 × 31.
    half = window // 2
    along_rows = F.avg_pool2d(lesion, (1, window), stride=1, padding=(0, half))
    around = F.avg_pool2d(along_rows, (window, 1), stride=1, padding=(half, 0))
    return 1 + gain * (around - lesion).abs()


def segmentation_loss(
    logits: Tensor, lesion: Tensor, weights: Tensor | None = None, bce_share: float = 1.0
) -> Tensor:
    """Return the mean over slices of L_IoU + λ·L_BCE, both weighted per pixel (J eq 4, D-06).

    L_IoU = 1 − (Σ w p y + 1) / (Σ w (p + y − p y) + 1) with p = sigmoid(logits); the ones keep an
    empty slice finite. L_BCE = Σ w·bce / Σ w.

    Parameters
    ----------
    logits, lesion : (batch, 1, height, width) float tensors
        `lesion` is 0 or 1.
    weights : tensor of the same shape or None
        `boundary_weights(lesion)` if None; given when several maps share one mask.
    bce_share : float
        λ of J eq 4.

    Returns
    -------
    Scalar tensor, at least 0

    Raises
    ------
    ValueError
        If the shapes differ: broadcasting would train on the wrong pixels.
    """
    if logits.shape != lesion.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} and lesion {tuple(lesion.shape)} must have equal shapes"
        )
    if weights is None:
        weights = boundary_weights(lesion)
    pixels = (1, 2, 3)
    bce = F.binary_cross_entropy_with_logits(logits, lesion, reduction="none")
    weighted_bce = (weights * bce).sum(pixels) / weights.sum(pixels)
    probability = logits.sigmoid()
    both = probability * lesion
    intersection = (weights * both).sum(pixels)
    union = (weights * (probability + lesion - both)).sum(pixels)
    iou = (intersection + 1) / (union + 1)
    return (1 - iou + bce_share * weighted_bce).mean()


def edge_loss(logits: Tensor, edge: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of the edge map (J eq 5, L_edge)."""
    return F.binary_cross_entropy_with_logits(logits, edge)


def stage1_loss(
    segmentations: Sequence[Tensor], lesion: Tensor, edge_map: Tensor | None, edge: Tensor
) -> Tensor:
    """Return L_total = Σ L_seg over all lesion maps, plus L_edge where there is one (J eq 5).

    Parameters
    ----------
    segmentations : sequence of (batch, 1, height, width) logits
        S_g, S_5, S_4 and S_3 of Inf-Net; the one map of a U-Net.
    lesion, edge : (batch, 1, height, width) float tensors of 0 and 1
    edge_map : logits of that shape, or None
        None for a network without an edge branch.
    """
    weights = boundary_weights(lesion)
    total = sum(segmentation_loss(logits, lesion, weights) for logits in segmentations)
    return total if edge_map is None else total + edge_loss(edge_map, edge)
