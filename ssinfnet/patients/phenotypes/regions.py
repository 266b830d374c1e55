"""A region of a slice or a volume, prepared as IBSI has it and measured by PyRadiomics' classes.

The order is that of the IBSI reference manual (arXiv:1612.07003, chapter 2): resampling, rounding,
re-segmentation, discretisation. PyRadiomics' own preparation differs in all four: it aligns grids
at their corners, does not round, and counts levels from the darkest pixel. Its feature classes do
the rest; nothing of them is replaced but where the levels come from.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK
from numpy.typing import ArrayLike, NDArray
from radiomics import firstorder, glcm, gldm, glrlm, glszm, imageoperations, ngtdm, shape, shape2D
from scipy import ndimage

from ssinfnet.patients.phenotypes.catalogue import AREA, TWINS, Feature, columns, features_of
from ssinfnet.patients.phenotypes.extraction import (
    ALL,
    Measured,
    measure_slice,
    refuse_one_level,
    within_mask,
)
from ssinfnet.study.config import DEFAULT_TEXTURE, TextureConfig

__all__ = ["discretised", "measure_mask", "measure_masks", "measure_region", "resampled"]

logging.getLogger("radiomics").setLevel(logging.ERROR)  # it warns of features that S1 names
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
HALF = 0.5  # of a resampled pixel, from which it is of the mask (IBSI)
ORDER = {"linear": 1, "cubic": 3}  # of the splines


def measure_masks(
    image: ArrayLike,
    masks: Mapping[str, ArrayLike],
    texture: TextureConfig,
    spacing_mm: tuple[float, ...] | None = None,
) -> dict[str, Measured]:
    """Measure what a configuration asks for of several masks, as fast as it allows.

    Parameters
    ----------
    image, masks, texture
        See `measure_slice` and `measure_region`.
    spacing_mm : tuple of float or None
        Spacing along the axes; None where it is unknown.

    Returns
    -------
    dict
        Name → `Measured`, values in the order of `catalogue.features_of`.
    """
    if texture.by_pyradiomics:
        return {
            name: measure_region(image, within_mask(mask, name), texture, spacing_mm)
            for name, mask in masks.items()
        }
    return measure_slice(image, masks, texture, float(np.prod(spacing_mm)) if spacing_mm else 1.0)


def measure_mask(
    image: ArrayLike,
    mask: ArrayLike,
    texture: TextureConfig = DEFAULT_TEXTURE,
    spacing_mm: tuple[float, ...] | None = None,
    *,
    name: str = "lesion",
) -> pd.Series:
    """Measure one mask, each phenotype by its name; `measure_masks` is quicker for many.

    Parameters
    ----------
    image : array, shape (h, w), or (n, h, w) where `texture.dimensions` is 3
        Grey values from 0 to 255, or HU where the texture's bin width and lower bound are in HU.
    mask : array, same shape
        True or non-zero within.
    texture : TextureConfig
        What is measured, 68 features by default (S table S1), and of which levels.
    spacing_mm : tuple of float or None
        Spacing along the axes; None where it is unknown.
    name : str
        Name of the mask, with which the names of its phenotypes begin.

    Returns
    -------
    Series of float
        Called `name`; indexed by the names of a table of phenotypes, ``lesion_glcm_contrast`` and
        the like. ``attrs["reasons"]`` says why some are NaN: family, phenotype or "all but area" →
        words.

    Raises
    ------
    ValueError
        As `measure_slice` and `measure_region` do.

    Examples
    --------
    >>> image = np.arange(16).reshape(4, 4) * 10
    >>> measured = measure_mask(image, image > 40)
    >>> measured["lesion_firstorder_area"], measured.attrs["reasons"]
    (np.float64(11.0), {})
    """
    values, reasons = measure_masks(image, {name: mask}, texture, spacing_mm)[name]
    measured = pd.Series(values, columns([name], texture), name=name)
    measured.attrs["reasons"] = reasons
    return measured


def measure_region(
    image: ArrayLike,
    mask: ArrayLike,
    texture: TextureConfig,
    spacing_mm: tuple[float, ...] | None = None,
) -> Measured:
    """Measure all features that a configuration asks for of one region.

    Parameters
    ----------
    image : array, shape (h, w) or (n, h, w)
        Grey values, or HU.
    mask : array, same shape
        True or non-zero within.
    texture : TextureConfig
    spacing_mm : tuple of float or None
        Spacing along the axes; None where it is unknown, which leaves resampling and the
        filters in millimetres undefined, and shape in pixels.

    Returns
    -------
    Measured
        Values in the order of `catalogue.features_of`, and why some are NaN.

    Raises
    ------
    ValueError
        If image and mask differ in shape, or have other axes than `texture.dimensions`, the mask
        holds NaN (`extraction.within_mask`), or one level would hold all grey values
        (`extraction.refuse_one_level`).
    """
    grey, within = np.asarray(image, np.float64), within_mask(mask)
    if grey.shape != within.shape or grey.ndim != texture.dimensions:
        raise ValueError(
            f"image {grey.shape} and mask {within.shape} must have one shape of "
            f"{texture.dimensions} axes, as dimensions says"
        )
    refuse_one_level(np.asarray(image), texture)
    features = features_of(texture)
    found, reasons = _found(grey, within, texture, spacing_mm)
    values = np.array([found.get((f.filter, *f.key), np.nan) for f in features])
    for feature, value in zip(features, values, strict=True):
        known = {ALL, feature.family, feature.filter} & set(reasons)
        if np.isnan(value) and not known:
            reasons[feature.column] = "undefined for so few pixels"
    return Measured(values, reasons)


Found = dict[tuple[str, str, str], float]


def _found(
    image: Floats, mask: Mask, texture: TextureConfig, spacing_mm: tuple[float, ...] | None
) -> tuple[Found, dict[str, str]]:
    """Return (filter, family, name) → value of what is defined, and why the rest is not."""
    area = ("", *AREA)
    counted = {area: float(np.count_nonzero(mask))}
    if not mask.any():
        return counted, {ALL: "the mask is empty"}
    if not np.isfinite(image[mask]).all():
        return counted, {ALL: "an intensity within the mask is not finite"}
    if texture.pixel_mm:
        if spacing_mm is None:
            return counted, {ALL: "the pixel size is unknown, so that nothing is resampled"}
        image, mask = resampled(image, mask, spacing_mm, texture)
        spacing_mm = (texture.pixel_mm,) * image.ndim
    inside = _resegmented(image, mask, texture)
    counted[area] = float(np.count_nonzero(inside))
    if not inside.any():
        return counted, {ALL: "resampling or resegmentation leaves no pixel of the mask"}
    bound = None if texture.bins else texture.lower_bound
    if bound is not None and image[inside].min() < bound:
        return counted, {ALL: f"an intensity within the mask is below the lower bound of {bound:g}"}
    features = features_of(texture)
    reasons = _undefined_families(inside, {feature.family for feature in features})
    found = dict(counted)
    asked: dict[tuple[str, str], list[Feature]] = {}
    for feature in features:
        if feature.key != AREA and feature.key not in TWINS and feature.family not in reasons:
            asked.setdefault((feature.filter, feature.family), []).append(feature)
    filtered = dict(_filtered(image, texture, spacing_mm))
    for (name, family), own in asked.items():
        if name and name not in filtered:
            reasons[name] = "the image is too small for the filter, or its pixel size unknown"
            continue
        within = mask if family == "shape" else inside
        numbers = _computed(filtered.get(name, image), within, own, texture, spacing_mm)
        found |= {(name, family, feature): value for feature, value in numbers.items()}
    for (name, *key), value in list(found.items()):
        found |= {
            (name, *twin): value
            for twin, same in TWINS.items()
            if same == tuple(key) and twin[0] not in reasons
        }
    return found, reasons


def resampled(
    image: Floats, mask: Mask, spacing_mm: tuple[float, ...], texture: TextureConfig
) -> tuple[Floats, Mask]:
    """Return image and mask with pixels, or voxels, of equal edges, as IBSI aligns them.

    The new grid has the old one's centre and covers it; beyond the outermost pixels their
    intensity is continued. Intensities are rounded to whole numbers; a pixel is of the mask if at
    least half of it is.
    """
    old, new = np.array(spacing_mm), texture.pixel_mm
    if new is None:
        return image, mask
    shape_ = np.ceil(np.round(np.array(image.shape) * old / new, 6)).astype(int)
    step = new / old
    first = (np.array(image.shape) - 1) / 2 - (shape_ - 1) / 2 * step
    grid = {"offset": first, "output_shape": tuple(shape_), "mode": "nearest"}
    order = ORDER[texture.interpolation]
    values = ndimage.affine_transform(image, step, order=order, **grid)
    within = ndimage.affine_transform(mask.astype(np.float64), step, order=1, **grid)
    return np.rint(values), within >= HALF


def _resegmented(image: Floats, mask: Mask, texture: TextureConfig) -> Mask:
    """Return the mask without what lies outside the range, or too many deviations from the mean."""
    inside = mask.copy()
    if texture.resegment:
        low, high = texture.resegment
        inside &= (image >= low) & (image <= high)
    if texture.outliers and inside.any():
        mean, deviation = image[inside].mean(), image[inside].std()
        inside &= np.abs(image - mean) <= texture.outliers * deviation
    return inside


def _undefined_families(mask: Mask, families: set[str]) -> dict[str, str]:
    """Return family → why a mask has none of it (D-56)."""
    extents = [1 + np.ptp(positions) for positions in np.nonzero(mask)]
    if sum(extent > 1 for extent in extents) < 2:
        words = "one pixel" if max(extents) == 1 else "a line"
        return dict.fromkeys(sorted(families - {"firstorder"}), f"the mask is {words}")
    _, pieces = ndimage.label(mask, np.ones((3,) * mask.ndim))
    if pieces == np.count_nonzero(mask):
        return dict.fromkeys(("glcm", "ngtdm"), "no two pixels of the mask are neighbours")
    return {}


def _filtered(
    image: Floats, texture: TextureConfig, spacing_mm: tuple[float, ...] | None
) -> Iterator[tuple[str, Floats]]:
    """Yield name and intensities of each filtered image, of those `TextureConfig.filters` names."""
    picture = _picture(image, spacing_mm)
    names = iter(texture.filters)
    for width in texture.log_mm:
        name = next(names)
        made = imageoperations.getLoGImage(picture, None, sigma=[width]) if spacing_mm else ()
        yield from ((name, SimpleITK.GetArrayFromImage(one)) for one, _, _ in made)
    if texture.wavelet:
        for one, name, _ in imageoperations.getWaveletImage(picture, None):
            yield name.replace("-", "").lower(), SimpleITK.GetArrayFromImage(one)


def _picture(array: NDArray[Any], spacing_mm: tuple[float, ...] | None) -> SimpleITK.Image:
    picture = SimpleITK.GetImageFromArray(array)
    if spacing_mm is not None:
        picture.SetSpacing(tuple(float(step) for step in spacing_mm[::-1]))
    return picture


def _computed(
    image: Floats,
    mask: Mask,
    features: list[Feature],
    texture: TextureConfig,
    spacing_mm: tuple[float, ...] | None,
) -> dict[str, float]:
    """Return name → value of the features of one family."""
    box = tuple(
        slice(max(0, positions.min() - 1), positions.max() + 2) for positions in np.nonzero(mask)
    )
    pictures = (_picture(part[box], spacing_mm) for part in (image, mask.astype(np.uint8)))
    family, filtered = features[0].family, bool(features[0].filter)
    measure = CLASSES[family, image.ndim if family == "shape" else 0]
    extractor = measure(*pictures, texture=texture, filtered=filtered)
    for feature in features:
        extractor.enableFeatureByName(feature.name)
    found = extractor.execute()
    return {name: float(np.real(np.asarray(value)).ravel()[0]) for name, value in found.items()}


def discretised(
    values: Floats, mask: Mask, texture: TextureConfig, filtered: bool = False
) -> NDArray[np.intc]:
    """Return the grey level, from 1, of each pixel of the mask, and 0 elsewhere.

    Filtered intensities have no fixed bound: levels then count from the mask's own darkest bin, as
    PyRadiomics has them.
    """
    inside = values[mask]
    low, high = inside.min(), inside.max()
    if texture.bins:
        share = (inside - low) / (high - low) if high > low else np.zeros_like(inside)
        of_mask = np.minimum(np.floor(texture.bins * share) + 1, texture.bins)
    elif filtered or texture.lower_bound is None:
        whole = np.floor_divide(inside, texture.bin_width)
        of_mask = whole - whole.min() + 1
    else:
        of_mask = np.floor_divide(inside - texture.lower_bound, texture.bin_width) + 1
    levels = np.zeros(values.shape, np.intc)
    levels[mask] = of_mask
    return levels


class _Levelled:
    """What makes a feature class of PyRadiomics take its levels from a configuration."""

    settings: dict[str, Any]  # as PyRadiomics' classes have them
    maskArray: Mask  # noqa: N815, its own name
    coefficients: dict[str, Any]

    def _applyBinning(self, matrix: NDArray[Any]) -> NDArray[np.intc]:  # noqa: N802, its own name
        texture, filtered = self.settings["texture"], self.settings["filtered"]
        levels = discretised(np.asarray(matrix, np.float64), self.maskArray, texture, filtered)
        self.coefficients["grayLevels"] = np.unique(levels[self.maskArray])
        self.coefficients["Ng"] = int(levels.max())
        return levels


CLASSES = {
    (family, 0): type(
        f"Levelled{family.upper()}", (_Levelled, original), {"__module__": original.__module__}
    )
    for family, original in {
        "firstorder": firstorder.RadiomicsFirstOrder,
        "glcm": glcm.RadiomicsGLCM,
        "gldm": gldm.RadiomicsGLDM,
        "ngtdm": ngtdm.RadiomicsNGTDM,
        "glrlm": glrlm.RadiomicsGLRLM,
        "glszm": glszm.RadiomicsGLSZM,
    }.items()
} | {("shape", 2): shape2D.RadiomicsShape2D, ("shape", 3): shape.RadiomicsShape}
