"""Put a volume whose axes are not at right angles onto a grid whose axes are."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ssinfnet.data.sources.volume_files import Volume, as_stored, from_stored

__all__ = ["upright"]

AIR_HU = -1024
ROUNDING = 1e-3  # of a voxel: headers keep single precision


def upright(volume: Volume) -> Volume:
    """Return a volume on the smallest grid at right angles that holds all of it (D-105).

    Rows and columns keep their directions and spacings; the third axis stands upright on them, its
    step the distance of the slices' planes. Intensities are interpolated linearly between the eight
    neighbours; what lies outside the volume is air.

    Parameters
    ----------
    volume : Volume

    Returns
    -------
    Volume
        float32; without the header and files of the input, whose grid it no longer has.
    """
    stored = as_stored(volume.slices, volume).astype(np.float32)
    axes, origin = volume.affine[:3, :3], volume.affine[:3, 3]
    grid = _right_angled(axes)
    ends = np.array(list(product(*[(0, size - 1) for size in stored.shape])))
    corners = ends @ (np.linalg.inv(grid) @ axes).T
    low = corners.min(axis=0)
    spans = corners.max(axis=0) - low
    shape = tuple(int(np.ceil(span - ROUNDING)) + 1 for span in spans)
    # Voxels of the new grid → of the old one
    back = np.linalg.inv(axes) @ grid
    outside = 0 if volume.windowed else AIR_HU
    voxels = ndimage.affine_transform(
        stored, back, back @ low, shape, order=1, mode="constant", cval=outside
    )
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = grid, origin + grid @ low
    return from_stored(
        voxels,
        affine,
        spacing_known=volume.spacing_known,
        plane_known=volume.plane_known,
        declared=volume.declared,
        left_out=volume.left_out,
        resampled=volume.resampled,
    )


def _right_angled(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return axes at right angles: the first as it is, what each other one adds to those before."""
    directions, triangle = np.linalg.qr(axes)
    steps = np.diag(triangle)
    grid = directions * steps
    # The second keeps its length, which is a pixel's; the third keeps the distance of planes.
    grid[:, 1] *= np.linalg.norm(axes[:, 1]) / abs(steps[1])
    return grid
