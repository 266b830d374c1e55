"""Random changes of training slices: drawn from a generator, then applied to a batch on its device.

Random code draws parameters (`draw_augmentation`), deterministic code applies them (`augment`), so
that a run can be replayed and image, mask and prior always share one draw. Flips, crop and cutout
are the paper's (V §V-C); the others and their ranges are those that made nnU-Net robust (Isensee et
al., Nature Methods 2021, supplementary note 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ssinfnet.data.images import Kind
from ssinfnet.study.config import AugmentationConfig

__all__ = ["Augmentation", "augment", "draw_augmentation"]

SCALING = (0.7, 1.4)  # times the size
NOISE = 0.1  # largest deviation, in grey values of [0, 1]
BLUR = (0.5, 1.0)  # deviation in pixels
BRIGHTNESS = (0.75, 1.25)  # factor
CONTRAST = (0.75, 1.25)  # factor
LOW_RESOLUTION = (0.5, 1.0)  # of the side
GAMMA = (0.7, 1.5)  # exponent
BLUR_RADIUS = 3  # pixels, three deviations


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """One draw for each slice of a batch; `augment` applies it. Arrays have length batch.

    A value that changes nothing stands where a slice was not to be changed.
    """

    flip_vertical: NDArray[np.bool_]
    flip_horizontal: NDArray[np.bool_]
    quarter_turns: NDArray[np.int64]  # 0 to 3, counter-clockwise
    crop: NDArray[np.float32]  # (batch, 3): side kept (1 = whole), top and left, as shares
    rotation: NDArray[np.float32]  # radians, counter-clockwise; 0 = none
    scaling: NDArray[np.float32]  # factor; 1 = none
    cutout: NDArray[np.float32]  # (batch, 5): top, left, height, width as shares; grey value
    noise: NDArray[np.float32]  # deviation; 0 = none
    noise_seed: int
    blur: NDArray[np.float32]  # deviation in pixels; 0 = none
    brightness: NDArray[np.float32]  # factor; 1 = none
    contrast: NDArray[np.float32]  # factor; 1 = none
    low_resolution: NDArray[np.bool_]
    low_resolution_side: float  # share of the side, one for all slices of the batch
    gamma: NDArray[np.float32]  # exponent; 1 = none


def draw_augmentation(
    rng: np.random.Generator, batch: int, config: AugmentationConfig
) -> Augmentation:
    """Draw the random changes for `batch` slices.

    The cutout rectangle has the area `config.cutout_fraction` of the slice, a side ratio between
    1/2 and 2 (as far as it fits) and one grey value, uniform in [0, 1]; the sources give its area
    and that it is grey (V §V-C).
    """

    def happens(probability: float) -> NDArray[np.bool_]:
        return rng.random(batch) < probability

    def between(
        probability: float, bounds: tuple[float, float], unchanged: float
    ) -> NDArray[np.float32]:
        drawn = np.where(happens(probability), rng.uniform(*bounds, batch), unchanged)
        return drawn.astype(np.float32)

    side = between(config.crop, (config.crop_smallest, 1), 1.0)
    angle = np.deg2rad(config.rotation_degrees)
    return Augmentation(
        flip_vertical=happens(config.flip_vertical),
        flip_horizontal=happens(config.flip_horizontal),
        quarter_turns=np.where(happens(config.quarter_turn), rng.integers(1, 4, batch), 0),
        crop=np.stack([side, *(rng.random((2, batch)) * (1 - side))], axis=1).astype(np.float32),
        rotation=between(config.rotation, (-angle, angle), 0.0),
        scaling=between(config.scaling, SCALING, 1.0),
        cutout=_draw_cutout(rng, batch, config),
        noise=between(config.noise, (0, NOISE), 0.0),
        noise_seed=int(rng.integers(2**31)),
        blur=between(config.blur, BLUR, 0.0),
        brightness=between(config.brightness, BRIGHTNESS, 1.0),
        contrast=between(config.contrast, CONTRAST, 1.0),
        low_resolution=happens(config.low_resolution),
        low_resolution_side=float(rng.uniform(*LOW_RESOLUTION)),
        gamma=between(config.gamma, GAMMA, 1.0),
    )


def _draw_cutout(
    rng: np.random.Generator, batch: int, config: AugmentationConfig
) -> NDArray[np.float32]:
    """Draw the rectangles that cutout erases; one without height or width erases nothing."""
    fraction = config.cutout_fraction
    # Both sides must stay below the slice's, which bounds the ratio by the area.
    ratio = np.clip(2.0 ** rng.uniform(-1, 1, batch), fraction, 1 / fraction)
    height, width = np.sqrt(fraction * ratio), np.sqrt(fraction / ratio)
    erased = rng.random(batch) < config.cutout
    top, left, grey = rng.random((3, batch))
    corners = [top * (1 - height), left * (1 - width)]
    sides = [np.where(erased, height, 0), np.where(erased, width, 0)]
    return np.stack([*corners, *sides, grey], axis=1).astype(np.float32)


def augment(slices: Tensor, draw: Augmentation, *, kind: Kind) -> Tensor:
    """Apply one draw to a batch, on the device the batch lies on.

    Parameters
    ----------
    slices : (batch, channels, size, size) float tensor
        Images or priors in [0, 1], or label masks.
    draw : Augmentation
        The same object for image, mask and prior, which keeps them aligned.
    kind : {"image", "prior", "labels"}
        Labels are moved with nearest neighbour. Cutout and what changes grey values touch images
        alone: erased tissue is still diseased, and the prior is what stage 1 said of the slice.

    Returns
    -------
    Tensor of the same shape and dtype
    """
    slices = _move(slices, draw, labels=kind == "labels")
    if kind != "image":
        return slices
    slices = _change_grey(slices, draw)
    if (draw.cutout[:, 2] > 0).any():
        slices = _erase(slices, _on_device(draw.cutout, slices))
    return slices


def _on_device(values: NDArray[np.generic], slices: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(slices.device)


def _one_a_slice(values: NDArray[np.generic], slices: Tensor) -> Tensor:
    """Return values (batch,) so that they broadcast over (batch, channels, height, width)."""
    return _on_device(values, slices)[:, None, None, None]


def _move(slices: Tensor, draw: Augmentation, *, labels: bool) -> Tensor:
    """Flip, turn, crop, rotate and scale."""

    def where(flags: NDArray[np.bool_], changed: Tensor) -> Tensor:
        return torch.where(_one_a_slice(flags, slices), changed, slices)

    if draw.flip_vertical.any():
        slices = where(draw.flip_vertical, slices.flip(-2))
    if draw.flip_horizontal.any():
        slices = where(draw.flip_horizontal, slices.flip(-1))
    for turns in np.unique(draw.quarter_turns[draw.quarter_turns > 0]):
        slices = where(draw.quarter_turns == turns, torch.rot90(slices, int(turns), (-2, -1)))
    moved = (draw.crop[:, 0] < 1) | (draw.rotation != 0) | (draw.scaling != 1)
    if moved.any():
        slices = where(moved, _resample(slices, draw, labels=labels))
    return slices


def _resample(slices: Tensor, draw: Augmentation, *, labels: bool) -> Tensor:
    """Enlarge each slice's crop box to the whole slice, rotated and scaled around its middle."""
    side, top, left = draw.crop.T
    cosine, sine = np.cos(draw.rotation), np.sin(draw.rotation)
    step = side / draw.scaling
    # Rows map a place in the result to the place that is read, both from -1 to 1 across and down;
    # a box centre c, a share of the side, lies at 2c - 1.
    across = np.stack([cosine * step, -sine * step, 2 * left + side - 1], axis=1)
    down = np.stack([sine * step, cosine * step, 2 * top + side - 1], axis=1)
    matrix = _on_device(np.stack([across, down], axis=1).astype(np.float32), slices)
    grid = F.affine_grid(matrix, list(slices.shape), align_corners=False)
    moved = F.grid_sample(
        slices.float(),
        grid,
        mode="nearest" if labels else "bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return moved.to(slices.dtype)


def _change_grey(slices: Tensor, draw: Augmentation) -> Tensor:
    """Add noise, blur, brighten, stretch, coarsen and bend grey values, in nnU-Net's order."""
    if (draw.noise > 0).any():
        generator = torch.Generator(slices.device).manual_seed(draw.noise_seed)
        noise = torch.randn(slices.shape, generator=generator, device=slices.device)
        slices = slices + noise * _one_a_slice(draw.noise, slices)
    if (draw.blur > 0).any():
        slices = _blur(slices, _on_device(draw.blur, slices))
    if (draw.brightness != 1).any():
        slices = slices * _one_a_slice(draw.brightness, slices)
    if (draw.contrast != 1).any():
        mean = slices.mean((2, 3), keepdim=True)
        slices = mean + (slices - mean) * _one_a_slice(draw.contrast, slices)
    if draw.low_resolution.any():
        coarse = _coarsen(slices, draw.low_resolution_side)
        slices = torch.where(_one_a_slice(draw.low_resolution, slices), coarse, slices)
    if (draw.gamma != 1).any():
        slices = slices.clamp(0, 1) ** _one_a_slice(draw.gamma, slices)
    changed = (draw.noise > 0) | (draw.brightness != 1) | (draw.contrast != 1)
    return slices.clamp(0, 1) if changed.any() else slices


def _blur(slices: Tensor, deviation: Tensor) -> Tensor:
    """Blur each slice with a Gaussian of its own deviation in pixels; 0 leaves it as it is."""
    batch, channels, height, width = slices.shape
    distance = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=slices.device)
    weights = torch.exp(-0.5 * (distance / deviation.clamp(min=1e-3)[:, None]) ** 2)
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = slices.reshape(1, batch * channels, height, width)
    margin = (BLUR_RADIUS,) * 4
    flat = F.pad(flat, margin, mode="replicate")
    flat = F.conv2d(flat, weights[:, None, :, None], groups=batch * channels)
    flat = F.conv2d(flat, weights[:, None, None, :], groups=batch * channels)
    return flat.view_as(slices)


def _coarsen(slices: Tensor, side: float) -> Tensor:
    """Shrink slices to a share of their side and enlarge them back."""
    size = slices.shape[-2:]
    coarse = [max(1, round(length * side)) for length in size]
    small = F.interpolate(slices, size=coarse, mode="nearest-exact")
    return F.interpolate(small, size=size, mode="bilinear", align_corners=False)


def _erase(slices: Tensor, cutout: Tensor) -> Tensor:
    """Paint each slice's cutout rectangle with its grey value."""
    top, left, height, width, grey = cutout.unbind(dim=1)
    rows = (torch.arange(slices.shape[-2], device=slices.device) + 0.5) / slices.shape[-2]
    columns = (torch.arange(slices.shape[-1], device=slices.device) + 0.5) / slices.shape[-1]
    in_rows = (rows >= top[:, None]) & (rows < (top + height)[:, None])
    in_columns = (columns >= left[:, None]) & (columns < (left + width)[:, None])
    erased = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
    return torch.where(erased, grey[:, None, None, None].to(slices.dtype), slices)
