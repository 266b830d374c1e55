"""Phenotypes against the values that the Image Biomarker Standardisation Initiative publishes.

tests/reference/ibsi.csv holds its values (theibsi/data_sets, CC BY 4.0; Zwanenburg et al. 2020);
the images lie outside the project.
"""

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from ssinfnet.patients.phenotypes import FEATURES, ibsi, measure_region, measure_slice
from ssinfnet.patients.phenotypes.catalogue import features_of
from ssinfnet.patients.phenotypes.regions import discretised, resampled
from ssinfnet.study.config import TextureConfig

PUBLISHED = pd.read_csv(
    Path(__file__).parent / "reference" / "ibsi.csv",
    dtype={"code": str},  # one looks like a number
)
KEYS = [feature.key for feature in FEATURES]
# IBSI normalises these by the highest level of the whole volume, ours by that of the slice.
OF_THE_VOLUME = {("glcm", "Idn"), ("glcm", "Idmn")}


def volume(oracles, name):
    """Return image, mask and spacing of a phantom, slices first."""
    folder = oracles / "ibsi" / name
    image, mask = (nibabel.load(folder / f"{part}.nii.gz") for part in ("image", "mask"))
    spacing = tuple(float(step) for step in image.header.get_zooms()[::-1])
    values, inside = (np.asarray(part.dataobj).transpose(2, 1, 0) for part in (image, mask))
    return values.astype(float), inside > 0, spacing


def differing(name, values):
    """Return the features of a set that leave IBSI's tolerance, or the digits that it prints."""
    rows = PUBLISHED[PUBLISHED["set"] == name]
    rows = rows[[key in values for key in zip(rows["family"], rows["feature"], strict=True)]]
    found = set()
    for row in rows.itertuples():
        value = ibsi.reference_value((row.family, row.feature), values[row.family, row.feature])
        # Three digits are printed.
        digit = 10 ** (np.floor(np.log10(abs(row.value))) - 2) if row.value else 0
        if not abs(value - row.value) <= row.tolerance + digit / 2:
            found.add((row.family, row.feature))
    return found, len(rows)


def by_slice(image, mask, texture):
    """Return the features of a volume as IBSI has them in two dimensions.

    Textures are means over slices, first-order features those of all voxels together.
    """
    slices = [measure_slice(grey, {"roi": own}, texture)["roi"].values
              for grey, own in zip(image, mask, strict=True) if own.any()]  # fmt: skip
    values = dict(zip(KEYS, np.nanmean(slices, axis=0), strict=True))
    row = image[mask][None]
    whole = measure_slice(row, {"roi": np.ones_like(row)}, texture)["roi"].values
    firsts = {key: value for key, value in zip(KEYS, whole, strict=True) if key[0] == "firstorder"}
    return values | firsts


MORE = {"dimensions": 3, "families": ("glrlm", "glszm", "shape")}
IN_SPACE = {  # set → folder of its images, settings
    "digital_3d": ("digital_phantom", TextureConfig(**MORE, bin_width=1, lower_bound=1)),
    "ct_c": ("ct_phantom", TextureConfig(**MORE, lower_bound=-1000, pixel_mm=2,
                                         resegment=(-1000, 400))),
    "ct_d": ("ct_phantom", TextureConfig(**MORE, bins=32, pixel_mm=2, outliers=3)),
    "ct_e": ("ct_phantom", TextureConfig(**MORE, bins=32, pixel_mm=2, interpolation="cubic",
                                         resegment=(-1000, 400), outliers=3)),
}  # fmt: skip
# PyRadiomics takes the corners of voxels for their extent, IBSI their centres: a tenth of a voxel
# in the phantom of 4 × 4 × 5 voxels, and nothing that shows in CT.
OF_FEW_VOXELS = {("shape", "MinorAxisLength"), ("shape", "LeastAxisLength")}


def of_region(image, mask, texture, spacing):
    values = measure_region(image, mask, texture, spacing).values
    return {f.key: value for f, value in zip(features_of(texture), values, strict=True)}


@pytest.mark.parametrize("name", IN_SPACE)
def test_volumes_agree_in_all_107_features(oracles, name):
    folder, texture = IN_SPACE[name]
    values = of_region(*volume(oracles, folder)[:2], texture, volume(oracles, folder)[2])
    assert differing(name, values) == (OF_FEW_VOXELS if name == "digital_3d" else set(), 107)


@pytest.mark.parametrize("name", ["ct_a", "ct_b"])
def test_slices_agree_in_96_features_where_levels_are_the_volumes(oracles, name):
    """Slices of configuration B share 32 levels between the extremes of the whole volume."""
    image, mask, spacing = volume(oracles, "ct_phantom")
    levels, plane = {"lower_bound": -500}, {"resegment": (-500, 400)}
    if name == "ct_b":
        levels, fine = {"bins": 32}, TextureConfig(pixel_mm=2)
        slices = [resampled(*one, spacing[1:], fine) for one in zip(image, mask, strict=True)]
        image, mask = (np.stack(part) for part in zip(*slices, strict=True))
        spacing = (spacing[0], 2.0, 2.0)
    mask &= (image >= plane["resegment"][0]) & (image <= plane["resegment"][1])
    graded = discretised(image, mask, TextureConfig(dimensions=3, **levels)).astype(float)
    counted = TextureConfig(bin_width=1, lower_bound=1, families=("glrlm", "glszm"))
    by_slice_ = [of_region(grey, own, counted, spacing[1:])
                 for grey, own in zip(graded, mask, strict=True) if own.any()]  # fmt: skip
    values = {key: np.nanmean([one[key] for one in by_slice_]) for key in by_slice_[0]}
    whole = of_region(image, mask, TextureConfig(dimensions=3, **levels), spacing)
    values |= {key: value for key, value in whole.items() if key[0] == "firstorder"}
    assert differing(name, values) == (OF_THE_VOLUME, 96)


def test_64_of_our_68_features_are_in_ibsi():
    named = set(ibsi.CODES) & set(KEYS)
    assert len(named) == 64
    assert set(KEYS) - named == {("firstorder", "Area"), ("firstorder", "TotalEnergy"),
                                 ("firstorder", "StandardDeviation"), ("glcm", "MCC")}  # fmt: skip
    published = PUBLISHED.groupby(["family", "feature"])["code"].agg(["nunique", "first"])
    assert (published["nunique"] == 1).all()
    assert {key: code.code for key, code in ibsi.CODES.items()} == published["first"].to_dict()


def test_the_digital_phantom_agrees_in_all_features(oracles):
    image, mask, _ = volume(oracles, "digital_phantom")
    values = by_slice(image, mask, TextureConfig(bin_width=1, lower_bound=1))
    assert differing("digital_2d", values) == (set(), 64)


def test_configuration_a_agrees_with_a_fixed_bound_alone(oracles):
    image, mask, _ = volume(oracles, "ct_phantom")
    mask &= (image >= -500) & (image <= 400)
    values = by_slice(image, mask, TextureConfig(lower_bound=-500))
    assert differing("ct_a", values) == (OF_THE_VOLUME, 64)
    values = by_slice(image, mask, TextureConfig(lower_bound=None))
    assert len(differing("ct_a", values)[0]) == 9
