"""Phenotypes against the values that the Image Biomarker Standardisation Initiative publishes.

tests/reference/ibsi.csv holds its values (theibsi/data_sets, CC BY 4.0; Zwanenburg et al. 2020);
the images lie outside the project.
"""

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd

from ssinfnet.patients.phenotypes import FEATURES, ibsi, measure_slice
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
