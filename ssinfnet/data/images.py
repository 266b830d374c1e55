"""Intensity windows, resizing and edges of slices.

Single slices are NumPy arrays; batches for training are tensors that stay on the device they lie
on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    import torch

__all__ = [
    "lesion_edge",
    "mean_of_maps",
    "resize_image",
    "resize_mask",
    "resize_slices",
    "scaled_size",
    "window_hu",
]

LUNG_WINDOW_HU = (-1000.0, 400.0)

Kind = Literal["image", "prior", "labels"]  # of slices in a batch: labels must not be mixed


def window_hu(
    hu: NDArray[np.floating], window: tuple[float, float] = LUNG_WINDOW_HU
) -> NDArray[np.float32]:
    """Map Hounsfield units to [0, 1], clipping outside the window (D-03).

    Parameters
    ----------
    hu : float array of any shape
        Hounsfield units; air is -1000, water 0.
    window : (low, high)
        HU that become 0 and 1.

    Returns
    -------
    float32 array of the same shape, in [0, 1]

    Raises
    ------
    ValueError
        If an intensity is not finite.

    Examples
    --------
    >>> window_hu(np.array([-2000.0, -1000.0, -300.0, 400.0, 3000.0])).tolist()
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    low, high = window
    if not np.isfinite(hu).all():
        bad = int(np.size(hu) - np.isfinite(hu).sum())
        raise ValueError(f"{bad} intensities are NaN or infinite; expected Hounsfield units")
    return ((np.clip(hu, low, high) - low) / (high - low)).astype(np.float32)


def resize_image(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Resize a slice to a square, bilinear and antialiased when it shrinks (D-03).

    Parameters
    ----------
    image : (height, width) float array in [0, 1]
    size : int
        Side of the result in pixels.

    Returns
    -------
    (size, size) float32 array in [0, 1]
    """
    # Pillow's bilinear filter widens its support when it shrinks, which is the antialiasing.
    picture = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    resized = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))
    return np.clip(resized, 0.0, 1.0)


def resize_mask(mask: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize a label mask to a square with nearest neighbour, so no label is invented (D-03).

    Parameters
    ----------
    mask : (height, width) uint8 array of labels
    size : int
        Side of the result in pixels.

    Returns
    -------
    (size, size) uint8 array
    """
    picture = Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8))
    return np.asarray(picture.resize((size, size), Image.Resampling.NEAREST))


def scaled_size(size: int, scale: float) -> int:
    """Return the multiple of 32 nearest to `scale * size`; 352 px gives 256, 352 and 448.

    Examples
    --------
    >>> [scaled_size(352, scale) for scale in (0.75, 1.0, 1.25)]
    [256, 352, 448]
    """
    return max(32, int(size * scale / 32 + 0.5) * 32)


def resize_slices(slices: torch.Tensor, size: int, *, kind: Kind) -> torch.Tensor:
    """Resize a batch to (batch, channels, size, size): nearest for labels, else bilinear.

    Parameters
    ----------
    slices : (batch, channels, height, width) float tensor
    size : int
        Side of the result in pixels.
    kind : {"image", "prior", "labels"}
        Labels must not be mixed.
    """
    from torch.nn import functional as F

    if slices.shape[-2:] == (size, size):
        return slices
    if kind == "labels":
        return F.interpolate(slices, size=(size, size), mode="nearest-exact")
    return F.interpolate(
        slices, size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )


def lesion_edge(lesion: torch.Tensor) -> torch.Tensor:
    """Return the one-pixel morphological gradient of a lesion mask (D-04).

    Dilation minus erosion with a 3×3 square; outside the image counts as no change.

    Parameters
    ----------
    lesion : (batch, 1, height, width) float tensor of 0 and 1

    Returns
    -------
    (batch, 1, height, width) float tensor of 0 and 1
    """
    from torch.nn import functional as F

    dilated = F.max_pool2d(lesion, kernel_size=3, stride=1, padding=1)
    eroded = -F.max_pool2d(-lesion, kernel_size=3, stride=1, padding=1)
    return dilated - eroded


def mean_of_maps(maps: Sequence[NDArray[np.float16]]) -> NDArray[np.float16]:
    """Return the mean of equally shaped float16 maps, summed in float32; one is its own mean."""
    return maps[0] if len(maps) == 1 else np.mean(maps, axis=0, dtype=np.float32).astype(np.float16)
