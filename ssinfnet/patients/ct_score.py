"""CT severity score of a volume (CT-SS; D): twenty regions of the lungs, by a rule."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["ct_severity_score", "lung_regions"]

LEVELS, REGIONS = 5, 20  # of each lung, along the body; in all


def lung_regions(lungs: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Divide the lungs of a volume into twenty regions by a rule, since no scan has segments.

    Each lung is cut along the body into five parts of equal volume, and each part into a front and
    a back half of equal volume. D divides the eighteen segments into twenty regions by anatomy; a
    mask has none.

    Parameters
    ----------
    lungs : ndarray of bool, shape (slices, rows, columns)
        From head to feet or back, rows to the back, columns to one side.

    Returns
    -------
    ndarray of uint8
        0 outside, 1 to 20 within: lung, then part along the body, then half.

    Raises
    ------
    ValueError
        If there are not three axes, or one half of the volume (by columns) has no lung.
    """
    if lungs.ndim != 3:
        raise ValueError(f"lungs must have three axes, got shape {lungs.shape}")
    regions = np.zeros(lungs.shape, np.uint8)
    z, rows, columns = np.nonzero(lungs)
    if not z.size:
        raise ValueError("the volume has no lung; find the lungs first")
    middle = (columns.min() + columns.max()) / 2
    for side, own in enumerate((columns < middle, columns >= middle)):
        if not own.any():
            raise ValueError(f"lung {side + 1} is missing; a volume needs both for CT-SS")
        part = _equal_parts(z[own], LEVELS)
        half = np.zeros_like(part)
        for level in range(LEVELS):
            half[part == level] = _equal_parts(rows[own][part == level], 2)
        place = z[own], rows[own], columns[own]
        regions[place] = 1 + side * REGIONS // 2 + part * 2 + half
    return regions


def _equal_parts(position: NDArray[np.int_], parts: int) -> NDArray[np.int_]:
    """Return the part, 0 to `parts` − 1, of each voxel when they are cut into equal numbers.

    Voxels of one position stay together, so parts are as equal as whole slices or rows allow.
    """
    voxels = np.bincount(position)
    middle = (np.cumsum(voxels) - voxels / 2) / position.size
    return np.minimum((middle * parts).astype(np.int_), parts - 1)[position]


def ct_severity_score(lesion: NDArray[np.bool_], regions: NDArray[np.uint8]) -> pd.DataFrame:
    """Score each region 0, 1 or 2 for no, less than half, or half or more of it opacified (D).

    Parameters
    ----------
    lesion : ndarray of bool, shape (slices, rows, columns)
    regions : ndarray of uint8
        From `lung_regions`.

    Returns
    -------
    DataFrame
        ``region``, ``opacified`` (share, NaN for a region without a voxel) and ``score``. The sum
        of the scores, 0 to 40, is CT-SS.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if lesion.shape != regions.shape:
        raise ValueError(f"lesion has shape {lesion.shape}, regions {regions.shape}")
    voxels = np.bincount(regions.ravel(), minlength=REGIONS + 1)[1:]
    ill = np.bincount(regions[lesion], minlength=REGIONS + 1)[1:]
    with np.errstate(invalid="ignore"):
        share = ill / voxels
    score = pd.Series(np.where(share >= 0.5, 2, np.where(share > 0, 1, 0)), dtype="Int64")
    return pd.DataFrame(
        {
            "region": range(1, REGIONS + 1),
            "opacified": share,
            "score": score.mask(voxels == 0),
        }
    )
