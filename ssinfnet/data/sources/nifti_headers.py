"""Read from the header of a NIfTI file where its voxels lie, and what it leaves open of that."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PIXEL_MM", "geometry_doubt", "known_spacing", "length_mm"]

LENGTH_MM = {1: 1000.0, 3: 0.001}  # by NIfTI's codes of metre and micron; others are millimetres
PIXEL_MM = (0.14, 10)  # of CT; 36 cm on 512 pixels are 0.7 mm
UNCODED = (
    "its header does not say how its axes lie in the patient (both codes are 0); they were taken "
    "to run to the left, front and head, as nibabel takes them"
)
IDENTITY = (
    "its header has voxels of 1 mm that begin at 0, as arrays have that were saved without their "
    "geometry; ml are as wrong then"
)
SAME_FORM = 0.01  # share of a voxel's size by which two forms may differ


def _stated_mm(header: Any) -> float:
    """Return how many mm the unit of a NIfTI header is.

    By the code itself, since nibabel raises on one that it does not know.
    """
    return LENGTH_MM.get(int(header["xyzt_units"]) % 8, 1.0)


def length_mm(header: Any, affine: NDArray[np.float64]) -> float:
    """Return how many mm a length of a NIfTI file is: 1 where its unit makes no pixels of a CT.

    Micron or metre is a mistake of the header then as likely as not, and the spacing is unknown.

    Parameters
    ----------
    header : nibabel header
    affine : (4, 4) float array
        By the file's own unit.
    """
    mm = _stated_mm(header)
    sizes = np.sort(np.linalg.norm(affine[:3, :3], axis=0))[:2] * mm  # the two finest
    return mm if PIXEL_MM[0] <= sizes[0] <= sizes[1] <= PIXEL_MM[1] else 1.0


def known_spacing(header: Any, mm: float, dimensions: int) -> tuple[bool, bool]:
    """Say whether a header tells the spacing of all axes, and of rows and columns.

    Parameters
    ----------
    header : nibabel header
        The stored one.
    mm : float
        From `length_mm`.
    dimensions : int
        How many the file has; a slice that stands alone has no thickness.
    """
    if mm != _stated_mm(header):
        return False, False
    told = header["pixdim"][1:4] > 0
    plane, whole = (bool(header["sform_code"] or told[:n].all()) for n in (2, 3))
    return whole and dimensions > 2, plane


def geometry_doubt(header: Any, affine: NDArray[np.float64]) -> str:
    """Say what a NIfTI header leaves open about where its voxels lie, "" if nothing."""
    if not (header["qform_code"] or header["sform_code"]):
        return UNCODED
    if np.array_equal(affine, np.eye(4)):
        return IDENTITY
    if not (header["qform_code"] and header["sform_code"]):
        return ""
    from nibabel import aff2axcodes

    forms = [header.get_sform(), header.get_qform()]
    first, second = ("".join(map(str, aff2axcodes(form))) for form in forms)
    if first != second:
        return (
            f"its sform says that its axes run to {first}, its qform {second}; the sform was taken"
        )
    ours, others = (np.linalg.norm(form[:3, :3], axis=0) for form in forms)
    if np.allclose(ours, others, rtol=SAME_FORM):
        return ""
    first, second = (" × ".join(f"{size:.3g}" for size in own) for own in (ours, others))
    return f"its sform says that voxels are {first} mm, its qform {second} mm; the sform was taken"
