"""The losses, as pure functions: stage 1 (J eq 4, 5), stage 2 (J eq 6, 7), inpainting (D-11).

The weights of D-06 stay per pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "boundary_weights",
    "edge_loss",
    "focal_loss",
    "reconstruction_error",
    "reconstruction_loss",
    "segmentation_loss",
    "sobel_magnitude",
    "stage1_loss",
]

ERASED_WEIGHT, KEPT_WEIGHT = 0.99, 0.01  # of the reconstruction error, D-11
LARGEST_ERROR = 2.0  # at which the squared error is clipped, D-11


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
    segmentations: Sequence[Tensor],
    lesion: Tensor,
    edge_map: Tensor | None,
    edge: Tensor,
    bce_share: float = 1.0,
) -> Tensor:
    """Return L_total = Σ L_seg over all lesion maps, plus L_edge where there is one (J eq 5).

    Parameters
    ----------
    segmentations : sequence of (batch, 1, height, width) logits
        S_g, S_5, S_4 and S_3 of Inf-Net; the one map of a U-Net.
    lesion, edge : (batch, 1, height, width) float tensors of 0 and 1
    edge_map : logits of that shape, or None
        None for a network without an edge branch.
    bce_share : float
        λ of J eq 4.
    """
    weights = boundary_weights(lesion)
    total = sum(segmentation_loss(logits, lesion, weights, bce_share) for logits in segmentations)
    return total if edge_map is None else total + edge_loss(edge_map, edge)


def focal_loss(
    logits: Tensor,
    classes: Tensor,
    gamma: float = 2.0,
    class_weights: Sequence[float] | None = None,
) -> Tensor:
    """Return the mean over pixels and classes of α_t · (1 − p_t)^γ · BCE on sigmoids (J eq 7).

    p_t is the probability that the network gives to what is true of a class. γ = 0 is the binary
    cross-entropy of J eq 6, with the minus sign it lacks in print.

    Parameters
    ----------
    logits : (batch, classes, height, width) float tensor
    classes : float tensor of the same shape
        1 where the pixel is of the class, else 0.
    gamma : float
        At least 0; how much less a pixel counts that is already right.
    class_weights : sequence of float or None
        α_t: how much a pixel counts, by the class that it truly is (D-82). The mean is a weighted
        one, so that only ratios matter. None weighs all pixels alike, as the paper does.
    """
    loss = F.binary_cross_entropy_with_logits(logits, classes, reduction="none")
    if gamma:
        # 1 − p_t = sigmoid of minus the logit of the truth: stable, where 1 − exp(−bce) cancels.
        wrong = torch.where(classes > 0.5, -logits, logits).sigmoid()
        loss = wrong**gamma * loss
    if class_weights is None:
        return loss.mean()
    weights = _constant(tuple(class_weights), logits.dtype, logits.device)
    of_pixels = (weights[:, None, None] * classes).sum(1)
    return (of_pixels * loss.mean(1)).sum() / of_pixels.sum()


def sobel_magnitude(slices: Tensor) -> Tensor:
    """Return the length of the Sobel gradient, scaled so that a step of 1 gives 1 beside it.

    Parameters
    ----------
    slices : (batch, channels, height, width) float tensor
        Continued beyond the border by its last pixels.

    Returns
    -------
    Tensor of the same shape, at least 0, in the slices' unit
    """
    rows = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))
    kernel = _constant(rows, slices.dtype, slices.device) / 4
    both = torch.stack([kernel, kernel.T])[:, None]
    flat = F.pad(slices.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    return F.conv2d(flat, both).norm(dim=1).view_as(slices)


@lru_cache
def _constant(values: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers as a tensor, moved to the device once: a recorded step may not wait for it."""
    with torch.inference_mode(False):  # it may serve a training later
        return torch.tensor(values, dtype=dtype, device=device)


def reconstruction_error(
    reconstruction: Tensor, target: Tensor, kind: Literal["mse", "bce"] = "mse"
) -> Tensor:
    """Return each pixel's error of an inpainting, averaged over its channels (D-11).

    Parameters
    ----------
    reconstruction : (..., channels, height, width) float tensor
        Output of the linear head.
    target : float tensor of the same shape
        Normalised for "mse", in [0, 1] for "bce".
    kind : {"mse", "bce"}
        Squared error clipped at 2, or the cross-entropy that Algorithm 1 of S names.

    Returns
    -------
    (..., height, width) float tensor, at least 0
    """
    if kind == "bce":
        error = F.binary_cross_entropy_with_logits(reconstruction, target, reduction="none")
    else:
        error = (reconstruction - target).square().clamp(max=LARGEST_ERROR)
    return error.mean(-3)


def reconstruction_loss(error: Tensor, mask: Tensor) -> Tensor:
    """Return L_rec, the weighted mean error of each slice: erased 0.99, kept 0.01 (D-11).

    The mean is over pixels and outputs. Dividing by the weights' sum keeps L_rec an error: a
    coach cannot raise it by erasing more, only by erasing what is hard.

    Parameters
    ----------
    error : (batch, outputs, height, width) float tensor
        From `reconstruction_error`.
    mask : (batch, 1, height, width) float tensor
        1 where kept, 0 where erased; between them while the coach trains.

    Returns
    -------
    (batch,) float tensor
    """
    weights = (ERASED_WEIGHT + (KEPT_WEIGHT - ERASED_WEIGHT) * mask).expand_as(error)
    return (weights * error).sum((1, 2, 3)) / weights.sum((1, 2, 3))
