"""Intensity windows, resizing and augmentation of slices.

Single slices are NumPy arrays; batches for training are tensors that stay on the device they lie
on. Random code draws parameters (`draw_augmentation`), deterministic code applies them
(`augment`), so that a run can be replayed and image and mask always share one draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssinfnet.config import AugmentationConfig

if TYPE_CHECKING:
    import torch

__all__ = [
    "Augmentation",
    "augment",
    "draw_augmentation",
    "lesion_edge",
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


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """One draw for each slice of a batch; `augment` applies it. Arrays have length batch."""

    flip_vertical: NDArray[np.bool_]
    flip_horizontal: NDArray[np.bool_]
    quarter_turns: NDArray[np.int64]  # 0 to 3, counter-clockwise
    crop: NDArray[np.float32]  # (batch, 3): side kept (1 = whole), top and left, as shares
    cutout: NDArray[np.float32]  # (batch, 5): top, left, height, width as shares; grey value


def draw_augmentation(
    rng: np.random.Generator, batch: int, config: AugmentationConfig
) -> Augmentation:
    """Draw the random changes for `batch` slices.

    The cutout rectangle has the area `config.cutout_fraction` of the slice, a side ratio between
    1/2 and 2 (as far as it fits) and one grey value, uniform in [0, 1]; the sources give its area
    and that it is grey (V §V-C).
    """
    side = np.where(
        rng.random(batch) < config.crop, rng.uniform(config.crop_smallest, 1, batch), 1.0
    )
    fraction = config.cutout_fraction
    # Both sides must stay below the slice's, which bounds the ratio by the area.
    ratio = np.clip(2.0 ** rng.uniform(-1, 1, batch), fraction, 1 / fraction)
    height, width = np.sqrt(fraction * ratio), np.sqrt(fraction / ratio)
    erased = rng.random(batch) < config.cutout
    return Augmentation(
        flip_vertical=rng.random(batch) < config.flip_vertical,
        flip_horizontal=rng.random(batch) < config.flip_horizontal,
        quarter_turns=np.where(rng.random(batch) < config.rotate, rng.integers(1, 4, batch), 0),
        crop=np.stack(
            [side, rng.random(batch) * (1 - side), rng.random(batch) * (1 - side)], axis=1
        ).astype(np.float32),
        cutout=np.stack(
            [
                rng.random(batch) * (1 - height),
                rng.random(batch) * (1 - width),
                np.where(erased, height, 0),
                np.where(erased, width, 0),
                rng.random(batch),
            ],
            axis=1,
        ).astype(np.float32),
    )


def augment(slices: torch.Tensor, draw: Augmentation, *, kind: Kind) -> torch.Tensor:
    """Apply one draw to a batch, on the device the batch lies on.

    Parameters
    ----------
    slices : (batch, channels, size, size) float tensor
        Images or priors in [0, 1], or label masks.
    draw : Augmentation
        The same object for image, mask and prior, which keeps them aligned.
    kind : {"image", "prior", "labels"}
        Labels are cropped with nearest neighbour. Cutout erases images alone: erased tissue is
        still diseased, and the prior is what stage 1 said of the whole slice.

    Returns
    -------
    Tensor of the same shape and dtype
    """
    import torch

    def on_device(values: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(slices.device)

    def choose(flags: NDArray[np.bool_], changed: torch.Tensor) -> torch.Tensor:
        return torch.where(on_device(flags)[:, None, None, None], changed, slices)

    if draw.flip_vertical.any():
        slices = choose(draw.flip_vertical, slices.flip(-2))
    if draw.flip_horizontal.any():
        slices = choose(draw.flip_horizontal, slices.flip(-1))
    for turns in np.unique(draw.quarter_turns[draw.quarter_turns > 0]):
        slices = choose(draw.quarter_turns == turns, torch.rot90(slices, int(turns), (-2, -1)))
    if (draw.crop[:, 0] < 1).any():
        slices = _crop(slices, on_device(draw.crop), labels=kind == "labels")
    if kind == "image" and (draw.cutout[:, 2] > 0).any():
        slices = _erase(slices, on_device(draw.cutout))
    return slices


def _crop(slices: torch.Tensor, crop: torch.Tensor, *, labels: bool) -> torch.Tensor:
    """Enlarge each slice's crop box back to the whole slice."""
    import torch
    from torch.nn import functional as F

    side, top, left = crop.unbind(dim=1)
    matrix = torch.zeros(len(slices), 2, 3, device=slices.device)
    matrix[:, 0, 0] = matrix[:, 1, 1] = side
    # affine_grid's coordinates run from -1 to 1, so a box centre c lies at 2c - 1.
    matrix[:, 0, 2] = 2 * left + side - 1
    matrix[:, 1, 2] = 2 * top + side - 1
    grid = F.affine_grid(matrix, list(slices.shape), align_corners=False)
    cropped = F.grid_sample(
        slices.float(),
        grid,
        mode="nearest" if labels else "bilinear",
        padding_mode="border",
        align_corners=False,
    ).to(slices.dtype)
    return torch.where((side < 1)[:, None, None, None], cropped, slices)


def _erase(slices: torch.Tensor, cutout: torch.Tensor) -> torch.Tensor:
    """Paint each slice's cutout rectangle with its grey value."""
    import torch

    top, left, height, width, grey = cutout.unbind(dim=1)
    rows = (torch.arange(slices.shape[-2], device=slices.device) + 0.5) / slices.shape[-2]
    columns = (torch.arange(slices.shape[-1], device=slices.device) + 0.5) / slices.shape[-1]
    in_rows = (rows >= top[:, None]) & (rows < (top + height)[:, None])
    in_columns = (columns >= left[:, None]) & (columns < (left + width)[:, None])
    erased = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
    return torch.where(erased, grey[:, None, None, None].to(slices.dtype), slices)
