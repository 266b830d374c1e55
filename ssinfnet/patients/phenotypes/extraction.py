"""From a slice and its masks to 68 features each, and from slices to patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ssinfnet.patients.phenotypes import families
from ssinfnet.patients.phenotypes.catalogue import AREA, FEATURES, TWINS
from ssinfnet.study.config import DEFAULT_TEXTURE, TextureConfig

__all__ = ["ALL", "Measured", "measure_slice", "patient_means", "refuse_one_level", "within_mask"]

ALL = "all but area"  # in a reason's place: no family of the mask is defined
PLACE = {feature.key: place for place, feature in enumerate(FEATURES)}


class Measured(NamedTuple):
    """The features of one mask, and why some are NaN."""

    values: NDArray[np.float64]  # shape (68,), in the order of FEATURES
    reasons: dict[str, str]  # family, feature's column or ALL → why it is NaN


def measure_slice(
    image: ArrayLike,
    masks: Mapping[str, ArrayLike],
    texture: TextureConfig = DEFAULT_TEXTURE,
    pixel_mm2: float = 1.0,
) -> dict[str, Measured]:
    """Measure all 68 features (S table S1) of each mask of a slice.

    Discretisation, the work on the whole slice, is shared by the masks; the rest is done within
    each mask's bounding box, which changes no value, since only pixels of the mask count.

    Parameters
    ----------
    image : array, shape (h, w)
        Grey values; on the 8-bit scale (0 to 255) where bin width and lower bound are the default.
    masks : mapping
        Name → array of the same shape, true or non-zero within.
    texture : TextureConfig
        How grey values are divided into levels.
    pixel_mm2 : float
        Area of a pixel, which scales TotalEnergy alone.

    Returns
    -------
    dict
        Name → `Measured`. Where a pixel of a mask is darker than the lower bound, all but the area
        is NaN, with that reason.

    Raises
    ------
    ValueError
        If the image is not two-dimensional, a mask of another shape or of NaN (`within_mask`),
        `pixel_mm2` not above 0, or one level would hold all grey values (`refuse_one_level`).
    """
    image = np.asarray(image)
    if image.ndim != 2:
        raise ValueError(f"image must have two axes, got shape {image.shape}; pass one slice")
    if not pixel_mm2 > 0:
        raise ValueError(f"pixel_mm2 must be above 0, got {pixel_mm2}")
    refuse_one_level(image, texture)
    known = np.isfinite(image)
    bins = _whole_bins(image, known, texture)
    measured = {}
    for name, given in masks.items():
        mask = within_mask(given, name)
        if mask.shape != image.shape:
            raise ValueError(f"mask {name!r} has shape {mask.shape}, the image {image.shape}")
        measured[name] = _measure(image, bins, mask, known, texture, pixel_mm2)
    return measured


def within_mask(mask: ArrayLike, name: str = "lesion") -> NDArray[np.bool_]:
    """Return which pixels lie within a mask, those that are true or not 0.

    Parameters
    ----------
    mask : array
    name : str
        What an error calls it.

    Raises
    ------
    ValueError
        If a value is NaN, which is not 0 and would count as lesion, and for some means outside,
        for others not looked at.
    """
    given = np.asarray(mask)
    if given.dtype.kind == "f" and (unknown := int(np.isnan(given).sum())):
        raise ValueError(
            f"mask {name!r} is NaN in {unknown} of {given.size} pixels; expected 0 outside and 1 "
            "within. If NaN stands for outside, pass np.nan_to_num(mask)"
        )
    return given != 0


def refuse_one_level(image: NDArray[np.generic], texture: TextureConfig) -> None:
    """Refuse grey values of which one level holds all, such as those from 0 to 1.

    Every texture would be that of an even grey, and the entropy 0, without a word. They
    are not scaled: means and energies would then be of another unit than what was passed, and
    whether 1 stood for 255 or for a window's upper end in HU, the array does not say. Whole numbers
    but 0 and 1 pass: a nearly black slice of 8 bits is one. So does an image that does not vary.

    Raises
    ------
    ValueError
        Saying what to pass instead.
    """
    if image.dtype.kind != "f" or texture.bins:
        return
    known = image[np.isfinite(image)]
    if not known.size:
        return
    low, high = float(known.min()), float(known.max())
    width, origin = texture.bin_width, texture.lower_bound or 0.0
    shares = 0 <= low and 0 < high <= 1 <= width
    if not shares:
        one_level = low < high and (low - origin) // width == (high - origin) // width
        if not one_level or not (known % 1).any():
            return
    scale = "np.rint(image * 255).astype(np.uint8), or " if shares else ""
    raise ValueError(
        f"image has {image.dtype} values from {low:g} to {high:g}, which one level, {width:g} "
        f"wide, would hold together; expected grey values from 0 to 255. Pass {scale}a "
        "TextureConfig of a narrower bin_width"
    )


def _measure(
    image: NDArray[np.generic],
    bins: NDArray[np.intc],
    mask: NDArray[np.bool_],
    known: NDArray[np.bool_],
    texture: TextureConfig,
    pixel_mm2: float,
) -> Measured:
    values = np.full(len(FEATURES), np.nan)
    values[PLACE[AREA]] = np.count_nonzero(mask)
    if not mask.any():
        return Measured(values, {ALL: "the mask is empty"})
    if not known[mask].all():
        return Measured(values, {ALL: "an intensity within the mask is not finite"})
    box = _bounding_box(mask)
    mask = np.ascontiguousarray(mask[box])
    inside = bins[box][mask]
    darkest = int(inside.min())
    if texture.lower_bound is not None and darkest < 0:
        bound = f"the lower bound of {texture.lower_bound:g}"
        return Measured(values, {ALL: f"an intensity within the mask is below {bound}"})
    before_first = (darkest if texture.lower_bound is None else 0) - 1  # level 1 is the next bin
    level_counts = np.bincount(inside - before_first)
    top = level_counts.size - 1
    levels = np.where(mask, bins[box] - np.intc(before_first), np.intc(0))
    found = {
        "firstorder": families.first_order(*_histogram(image[box][mask]), level_counts, pixel_mm2)
    }
    reasons = {}
    if min(mask.shape) == 1:
        shape = "one pixel" if mask.size == 1 else "a line"
        reasons = {family: f"the mask is {shape}" for family in ("glcm", "gldm", "ngtdm")}
    else:
        found["gldm"] = families.dependence(levels, mask, top)
        if glcm := families.cooccurrence(levels, mask, level_counts):
            found |= {"glcm": glcm, "ngtdm": families.tone_difference(levels, mask, top)}
        else:
            alone = "no two pixels of the mask are neighbours"
            reasons = {"glcm": alone, "ngtdm": alone}
    for family, features in found.items():
        for name, value in features.items():
            values[PLACE[family, name]] = value
            if np.isnan(value):
                reasons[f"{family}_{name}".lower()] = "undefined for so few pixels"
    for twin, same in TWINS.items():
        values[PLACE[twin]] = values[PLACE[same]]
    if "gldm" in reasons:  # its twin of first order is defined, but no feature of this family is
        values[PLACE["gldm", "GrayLevelNonUniformityNormalized"]] = np.nan
    return Measured(values, reasons)


def _whole_bins(
    image: NDArray[np.generic], known: NDArray[np.bool_], texture: TextureConfig
) -> NDArray[np.intc]:
    """Return how many whole bins from the lower bound, or from 0, each pixel lies.

    It is 0 where the intensity is not finite.
    """
    origin = texture.lower_bound or 0.0
    if image.dtype == np.uint8:  # looking up is far quicker than dividing
        return np.floor_divide(np.arange(256.0) - origin, texture.bin_width).astype(np.intc)[image]
    finite = np.where(known, image, origin).astype(np.float64)
    return np.floor_divide(finite - origin, texture.bin_width).astype(np.intc)


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _histogram(values: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """Return the different values, ascending, and how many pixels have each."""
    if values.dtype == np.uint8:  # counting is far quicker than sorting
        counts = np.bincount(values, minlength=256)
        tones = np.flatnonzero(counts)
        return tones.astype(np.float64), counts[tones]
    tones, counts = np.unique(values, return_counts=True)
    return tones.astype(np.float64), counts


def patient_means(
    slices: pd.DataFrame, names: list[str], weights: Literal["equal", "area"] = "equal"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Average phenotypes over each patient's slices; NaN slices do not count (D-19).

    Parameters
    ----------
    slices : DataFrame
        One row a slice with ``patient_id`` and the phenotypes.
    names : list of str
        The phenotypes.
    weights : str
        ``equal``; or ``area``: a slice counts as many times as the mask has pixels there, which
        makes a mean over the whole lesion. The area itself stays a mean over slices (D-125).

    Returns
    -------
    means : DataFrame
        Indexed by patient; NaN where no slice has the phenotype.
    counts : DataFrame
        A frame of the same form: the slices behind each mean.

    Raises
    ------
    ValueError
        If a slice is there twice.
    """
    if slices["slice_id"].duplicated().any():
        twice = sorted(slices.loc[slices["slice_id"].duplicated(), "slice_id"])[:5]
        raise ValueError(f"each slice counts once, got {twice} twice or more")
    # Sorted, so that the order of the slices leaves the sums' rounding alone.
    ordered = slices.sort_values("slice_id")
    grouped = ordered.groupby("patient_id", sort=True)[names]
    means = grouped.mean()
    if weights == "area":
        means = _weighted_by_area(ordered, means)
    return means, grouped.count()


def _weighted_by_area(slices: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """Return the means with slices weighted by the pixels of the mask, but for the area's own."""
    area_of = {name: f"{name.split('_')[0]}_{'_'.join(AREA)}".lower() for name in means}
    names = [name for name in means if name != area_of[name]]
    values = slices[names]
    areas = slices[[area_of[name] for name in names]].set_axis(names, axis=1).where(values.notna())
    total, pixels = (
        (table.groupby(slices["patient_id"], sort=True).sum(min_count=1))
        for table in (values * areas, areas)
    )
    return means.assign(**(total / pixels))
