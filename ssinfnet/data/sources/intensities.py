"""Tell Hounsfield units and windowed grey values from what is neither, by the numbers alone.

A network answers to any numbers. Volumes that were normalised, shifted by 1024 or that are masks
would get a wrong answer without a sign of it, so they are refused unless somebody declares how
their numbers become Hounsfield units (D-104).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Declared", "air_outside", "grey_doubt", "is_mask", "labels_fault", "slice_fault",
           "units_doubt", "units_fault"]  # fmt: skip

LOOKED_AT = 16  # slices; the extremes are those of all
FEW_LEVELS = 8  # of a mask; a CT slice has hundreds
MOST_LABELS = 256
EVEN = 0.7  # of neighbours that are equal: noise leaves under half of them so in any CT
AIR_HU = -500  # the lungs, and the air around a body, lie below
DENSE_HU = 600  # cortical bone and metal alone lie above …
MOST_DENSE = 0.15  # … in a few percent of a chest
CORNER_HU = -300  # pictures end in the air around a body, or in one that is cut, whose lungs …
BELOW_LUNG_HU, MOST_EMPTY = -950, 0.2  # … are denser than this, but for a fifth
BELOW_AIR_HU, MOST_DEEP = -1500, 0.05  # noise in air ends above; padding blurs at its edges alone
PADDINGS = (-2000, -2048, -3024)
SOFT_HU = (-200, 200)  # fat, water, muscle
LEAST_SOFT = 0.01
DEEPEST = 65535  # of 16 bits; what spans less than half of it has other ends
LUNG_HU = -900  # a chest has voxels below it: air, or lungs
LEAST_BRIGHT = 128  # of 255, that soft tissue reaches in a window of lungs
HIGHEST_HU = 30_000  # metal reaches 30,710 in the extended scale; tissue never a percent of a slice
OVERFLOWN_SHARE = 0.01
OUTSIDE_HU = -1024  # air, as scanners fill what lies outside their circle
MOST_OUTSIDE = 0.5  # of a slice; a circle leaves 0.21 of its square
LEAST_GREY = 32  # of 255, that a windowed volume reaches


@dataclass(frozen=True)
class Declared:
    """What somebody says the intensities are: HU = slope · stored + offset, or grey of a window.

    A stored number is what the file says after its own slope and intercept: RescaleSlope and
    RescaleIntercept of DICOM, scl_slope and scl_inter of NIfTI, ElementSlope of MetaImage.

    Attributes
    ----------
    slope, offset : float or None
        1 and 0 where only the other one is given.
    window_hu : (low, high) or None
        Grey values span this window: 0 to 1, −1 to 1, 0 to 255 or 65,535, whichever
        they fit.

    Raises
    ------
    ValueError
        If both are given, a number is not finite, the slope is 0 or the window is empty.
    """

    slope: float | None = None
    offset: float | None = None
    window_hu: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        line = self.slope is not None or self.offset is not None
        if line and self.window_hu is not None:
            raise ValueError("give slope and offset, or the window of grey values; not both")
        for name, value in (("slope", self.slope), ("offset", self.offset)):
            if value is not None and (not np.isfinite(value) or (name == "slope" and value == 0)):
                raise ValueError(
                    f"got {name} {value:g}; expected finite numbers for slope and offset, the "
                    "slope not 0, as in HU = slope · stored + offset"
                )
        if self.window_hu is not None:
            low, high = self.window_hu
            if not (np.isfinite([low, high]).all() and low < high):
                raise ValueError(
                    f"got window {low:g},{high:g}; expected two finite numbers, the lower one "
                    "first, such as -1000,400"
                )

    def __bool__(self) -> bool:
        return self != Declared()

    def settings(self) -> dict[str, Any]:
        """Return what was declared, for a record."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def hounsfield(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Return Hounsfield units.

        Raises
        ------
        ValueError
            If the numbers fit no span of grey values.
        """
        if self.window_hu is None:
            slope = 1.0 if self.slope is None else self.slope
            return (stored * np.float64(slope) + (self.offset or 0.0)).astype(np.float32)
        low, high = float(np.min(stored)), float(np.max(stored))
        known = [(0, 1), (-1, 1), (0, 255)] + [(0, DEEPEST)] * (high > DEEPEST / 2)
        spans = [span for span in known if span[0] <= low and high <= span[1]]
        if not spans:
            raise ValueError(
                f"grey values from {low:g} to {high:g} span neither 0 to 1, -1 to 1, 0 to 255 nor "
                f"0 to {DEEPEST}; declare slope and offset instead of a window"
            )
        (black, white), (dark, bright) = spans[0], self.window_hu
        share = (stored.astype(np.float32) - black) / (white - black)
        return (share * (bright - dark) + dark).astype(np.float32)


def units_fault(slices: NDArray[Any], *, declared: bool = False) -> str:
    """Say why the numbers of a volume are neither Hounsfield units nor 8-bit grey, "" if they are.

    Parameters
    ----------
    slices : (n, height, width) array
        Finite.
    declared : bool
        Somebody said what they are already, so that the advice is to look at that again.
    """
    if fault := labels_fault(slices):
        return fault
    low, high = float(slices.min()), float(slices.max())
    span = f"intensities from {low:.4g} to {high:.4g}"
    check = "check --slope, --offset or --window, which were given"
    declare = check if declared else "declare them: --window, or --slope and --offset"
    if low >= 0 and high <= 255:  # D-40
        return (
            "" if high >= LEAST_GREY else f"{span} are normalised, no Hounsfield units; {declare}"
        )
    if low > AIR_HU:
        why = "are normalised" if high - low < 100 else f"hold no air, which lies below {AIR_HU}"
        return f"{span} {why}, so they are no Hounsfield units; {declare}"
    seen = _some(slices)
    corners = seen[:, [[0], [-1]], [[0, -1]]]
    if np.median(corners) > CORNER_HU and (seen < BELOW_LUNG_HU).mean() > MOST_EMPTY:
        return f"{span} look inverted: air around a body that is empty; {declare}"
    deep = float(((seen < BELOW_AIR_HU) & (seen > seen.min()) & ~np.isin(seen, PADDINGS)).mean())
    if deep > MOST_DEEP:
        return (
            f"{span}, {deep:.0%} of them below {BELOW_AIR_HU}, where nothing is: no Hounsfield "
            f"units, as if they were multiplied; {declare}"
        )
    dense = float((seen > DENSE_HU).mean())
    if dense > MOST_DENSE:
        return (
            f"{dense:.0%} of the voxels exceed {DENSE_HU}, as bone alone does: no Hounsfield "
            f"units, as if 1024 were added; {check if declared else 'declare them: --offset -1024'}"
        )
    return ""


def slice_fault(stored: NDArray[Any]) -> str | None:
    """Say what is wrong with the intensities of one slice, None if nothing is."""
    if bad := int((~np.isfinite(stored)).sum()):
        return f"{bad} intensities are NaN or infinite"
    low, high = float(stored.min()), float(stored.max())
    if low < np.iinfo(np.int16).min or high > np.iinfo(np.int16).max:
        return f"intensities from {low:g} to {high:g} are no Hounsfield units, which fit 16 bits"
    if (share := float((stored > HIGHEST_HU).mean())) > OVERFLOWN_SHARE:
        return f"{share:.0%} of the intensities exceed {HIGHEST_HU}: an integer has overflowed"
    return None


def air_outside(slices: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """Return a volume with air where it has no number outside the field of view, and say so.

    Some programs store NaN outside the circle that a scanner sees. It must reach the edge of its
    slice and cover half of it at most; NaN anywhere else stays, and `slice_fault` refuses it.

    Parameters
    ----------
    slices : (n, height, width) array

    Returns
    -------
    slices : (n, height, width) array
        The same where nothing is to be filled.
    said : str
        How much was filled, "" if nothing.
    """
    if slices.dtype.kind != "f" or not (unknown := np.isnan(slices)).any():
        return slices, ""
    if unknown.all() or not np.nanmin(slices) < AIR_HU:  # in other units air is another number
        return slices, ""
    outside = np.stack([_at_the_edge(one) for one in unknown])
    shares = outside.mean(axis=(1, 2))
    outside[shares > MOST_OUTSIDE] = False
    if not outside.any():
        return slices, ""
    filled = np.where(outside, np.asarray(OUTSIDE_HU, slices.dtype), slices)
    most = float(shares[shares <= MOST_OUTSIDE].max())
    return filled, f"NaN at the edges of slices, {most:.0%} of one at most, was taken for air"


def _at_the_edge(unknown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the regions of a mask (height, width) that reach its edge."""
    from scipy import ndimage

    regions, _ = ndimage.label(unknown)
    edge = np.concatenate([regions[[0, -1]].ravel(), regions[:, [0, -1]].ravel()])
    return np.isin(regions, edge[edge > 0])


def labels_fault(slices: NDArray[Any]) -> str:
    """Say that a volume or pictures are a mask, "" if they are none."""
    seen = _some(slices)
    if (seen != np.rint(seen)).any():
        return ""
    levels = np.unique(seen)
    if 1 < len(levels) <= FEW_LEVELS:  # a blank slice shows no lungs, which its row says
        shown = ", ".join(f"{level:g}" for level in levels)
        return f"it holds {len(levels)} values, {shown}: a mask, no CT"
    if len(levels) > MOST_LABELS or seen.shape[-1] < 2:
        return ""
    left, right = seen[..., :-1], seen[..., 1:]
    # Windows and padding make wide areas of the lowest and the highest value.
    inner = ~(np.isin(left, levels[[0, -1]]) & np.isin(right, levels[[0, -1]]))
    if inner.any() and (even := float((left == right)[inner].mean())) > EVEN:
        return f"it holds {len(levels)} labels in areas ({even:.0%} of neighbours are equal), no CT"
    return ""


def is_mask(page: NDArray[Any]) -> bool:
    """Say whether a picture among slices is a mask: a few values, far apart.

    A dark slice at an end of a chest has a few values too, close together.
    """
    levels = np.unique(page)
    return 1 < len(levels) <= FEW_LEVELS and float(levels[-1]) - float(levels[0]) >= LEAST_BRIGHT


def units_doubt(slices: NDArray[Any]) -> str:
    """Say what is odd about a volume in Hounsfield units that is read all the same."""
    seen = _some(slices)
    if (low := float(slices.min())) > LUNG_HU:
        return (
            f"nothing lies below {low:.4g}: numbers, and the lungs with them, were cut or shifted"
        )
    soft = float(((seen >= SOFT_HU[0]) & (seen <= SOFT_HU[1])).mean())
    if soft < LEAST_SOFT:
        return f"{soft:.1%} of the voxels are soft tissue ({SOFT_HU[0]} to {SOFT_HU[1]} HU)"
    return ""


def grey_doubt(slices: NDArray[Any]) -> str:
    """Say that numbers from 0 to 255 may be others than 8-bit grey, "" if they seem to be that."""
    high = float(slices.max())
    if high >= LEAST_BRIGHT:
        return ""
    return f"numbers from {slices.min():.4g} to {high:.4g} were taken for grey of 0 to 255"


def _some(slices: NDArray[Any]) -> NDArray[Any]:
    """Return slices from all over a volume."""
    at = np.unique(np.linspace(0, len(slices) - 1, LOOKED_AT).round().astype(int))
    return np.asarray(slices[at])
