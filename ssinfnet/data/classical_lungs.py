"""The lungs of a slice by classical means: threshold, components, and closing over dense lesions.

Works on whole slices and on slices cropped to the lungs, in HU windows or 8 bits. No network is
involved, so it serves where no lung masks were to learn from; a quality rule says where it fails.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

__all__ = ["find_lungs", "lung_fault", "shows_air_around"]

Mask = NDArray[np.bool_]

GROUND_GLASS = 0.5  # between Otsu's threshold and soft tissue: what is darker is lung
AIR_AROUND = 0.25  # of the border, as one piece: more is air around a body, less a lung that is cut
SMALLEST = 0.004  # of the slice: less is no lung but a bronchus
WINDPIPE = 0.15  # of the larger piece: a second piece below is the windpipe or a bowel loop
CLOSING = 0.045  # radius, of the slice's longer side: dense lesions at the pleura stay inside
LEAST, MOST = 0.02, 0.75  # of the slice
LEAST_WIDTH = 0.45  # of the body's longer side that two lungs in one piece span


def find_lungs(image: NDArray[np.floating]) -> Mask:
    """Return the lungs of a slice, lesions inside included.

    Parameters
    ----------
    image : ndarray of float, shape (h, w)
        In [0, 1], lungs dark, whole or cropped to the lungs, turned in any way.

    Returns
    -------
    ndarray of bool, shape (h, w)
        Empty where nothing is dark and enclosed; see `lung_fault` before using it.

    Raises
    ------
    ValueError
        If the image has not two axes, or an intensity that is not finite.
    """
    if image.ndim != 2 or not np.isfinite(image).all():
        raise ValueError(f"a slice must be finite with two axes, got shape {image.shape}")
    if image.min() == image.max():
        return np.zeros(image.shape, bool)
    dark = _dark(image)
    enclosed = dark & ~_air_around(dark)
    lungs = np.zeros(image.shape, bool)
    for lung in _two_largest(enclosed):
        lungs |= _closed(lung, CLOSING * max(image.shape))
    return lungs


def shows_air_around(image: NDArray[np.floating]) -> bool:
    """Say whether a slice shows the air around the body: it is whole, not cropped to the lungs.

    Parameters
    ----------
    image : ndarray of float, shape (h, w)
        Grey values of the slice, as `find_lungs` takes them.
    """
    return bool(image.min() < image.max() and _air_around(_dark(image)).any())


def _dark(image: NDArray[np.floating]) -> Mask:
    return ndimage.binary_opening(image < _tissue_from(image))


def _tissue_from(image: NDArray[np.floating]) -> float:
    """Return the grey value from which a pixel counts as dense: ground glass lies below it."""
    middle = threshold_otsu(image)
    tissue = np.median(image[image >= middle])
    return float(middle + GROUND_GLASS * (tissue - middle))


def _air_around(dark: Mask) -> Mask:
    """Return the dark pieces that lie along much of the border: air around the body."""
    labels, count = ndimage.label(dark)
    border = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    share = np.bincount(border, minlength=count + 1) / border.size
    around = share > AIR_AROUND
    around[0] = False
    if not around.any():
        return np.zeros(dark.shape, bool)
    touching = share > 0  # where there is air around, whatever else touches the border is air too
    touching[0] = False
    return touching[labels]


def _two_largest(pieces: Mask) -> list[Mask]:
    labels, count = ndimage.label(pieces)
    area = np.bincount(labels.ravel(), minlength=count + 1)
    area[0] = 0
    largest = np.argsort(-area)[:2]
    enough = max(SMALLEST * pieces.size, WINDPIPE * area.max())
    return [labels == piece for piece in largest if area[piece] >= enough]


def _closed(lung: Mask, radius: float) -> Mask:
    """Return a lung without holes or bays narrower than twice the radius."""
    reach = int(np.ceil(radius)) + 1
    # Beyond the border lies what lies at it, so that a lung the picture cuts is not eaten there.
    filled = np.pad(ndimage.binary_fill_holes(lung), reach, mode="edge")
    grown = ndimage.distance_transform_edt(~filled) <= radius
    shrunk = ndimage.distance_transform_edt(grown) > radius
    return ndimage.binary_fill_holes(shrunk | filled)[reach:-reach, reach:-reach]


def lung_fault(image: NDArray[np.floating], lungs: Mask) -> str:
    """Say what is wrong with lungs found in a slice; an empty text if nothing is.

    Parameters
    ----------
    image : ndarray of float, shape (h, w)
    lungs : ndarray of bool, shape (h, w)
        From `find_lungs`.
    """
    share = lungs.mean()
    if share < LEAST:
        return f"lungs cover {share:.1%} of the slice, less than {LEAST:.0%}"
    if share > MOST:
        return f"lungs cover {share:.1%} of the slice, more than {MOST:.0%}"
    body = _sides(_body(image) | lungs)
    across = int(np.argmax(body))  # lungs lie side by side along the longer side
    if len(_two_largest(lungs)) < 2 and _sides(lungs)[across] < LEAST_WIDTH * body[across]:
        return "one lung is missing"
    return ""


def _body(image: NDArray[np.floating]) -> Mask:
    """Return the largest bright piece: the body, or what a cropped slice shows of it."""
    labels, _ = ndimage.label(image >= threshold_otsu(image))
    area = np.bincount(labels.ravel())
    area[0] = 0
    return labels == np.argmax(area)


def _sides(piece: Mask) -> tuple[int, int]:
    """Return height and width of the box around a piece."""
    rows, columns = (np.flatnonzero(piece.any(axis=axis)) for axis in (1, 0))
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
