"""Regions against PyRadiomics' own extractor, IBSI, scipy, and the fast way of measuring slices."""

import numpy as np
import pandas as pd
import pytest
from comparisons import FOUR, MORE, blob, extracted, textured
from scipy import ndimage

from ssinfnet.patients.phenotypes import measure_mask
from ssinfnet.patients.phenotypes.catalogue import AREA, columns, features_of
from ssinfnet.patients.phenotypes.regions import measure_masks, measure_region, resampled
from ssinfnet.study.config import TextureConfig


def named(measured, texture):
    return dict(zip((f.column for f in features_of(texture)), measured.values, strict=True))


@pytest.mark.parametrize(
    ("texture", "settings", "filters", "compared"),
    [
        ({"lower_bound": None}, {"binWidth": 25}, {}, 108),
        ({"bins": 16}, {"binCount": 16}, {}, 108),
        ({"lower_bound": None, "resegment": (60, 180)},
         {"binWidth": 25, "resegmentRange": [60, 180]}, {}, 108),
        ({"lower_bound": None, "outliers": 1.5},
         {"binWidth": 25, "resegmentRange": [-1.5, 1.5], "resegmentMode": "sigma"}, {}, 108),
        ({"lower_bound": None, "bin_width": 10, "log_mm": (1.5,)},
         {"binWidth": 10}, {"LoG": {"sigma": [1.5]}}, 202),
        ({"bins": 8, "wavelet": True}, {"binCount": 8}, {"Wavelet": {}}, 860),
    ],
    ids=["width", "number", "range", "outliers", "log", "wavelet"],
)  # fmt: skip
def test_volumes_equal_pyradiomics_own_extractor(rng, texture, settings, filters, compared):
    image, mask, spacing = textured(rng, (9, 14, 15)), blob(rng, (9, 14, 15)), (2.0, 1.0, 1.25)
    config = TextureConfig(**MORE, **texture)
    measured = measure_region(image, mask, config, spacing)
    assert not measured.reasons
    theirs = extracted(image, mask, spacing, (*FOUR, *MORE["families"]), filters, **settings)
    assert len(theirs) == compared
    ours = {
        (f.filter, *f.key): value
        for f, value in zip(features_of(config), measured.values, strict=True)
    }
    for key, value in theirs.items():
        assert ours[key] == pytest.approx(value, rel=1e-9, abs=1e-11), key


def test_slices_measured_by_pyradiomics_classes_equal_the_fast_way(rng):
    image, mask = textured(rng, (40, 40)), blob(rng, (40, 40))
    for bound in (None, 0.0, -12.5):
        texture = TextureConfig(families=("glrlm",), lower_bound=bound)
        values = measure_region(image, mask, texture, (0.7, 0.8)).values
        fast = measure_mask(image, mask, TextureConfig(lower_bound=bound), (0.7, 0.8)).values
        assert values[:68] == pytest.approx(fast, rel=1e-10, abs=1e-12)
        assert np.isfinite(values).all()


def test_a_ramp_resampled_keeps_its_centre_and_its_values():
    image = np.tile(np.arange(0, 400, 100.0), (4, 1))  # pixels of 1 mm at −1.5, −0.5, 0.5, 1.5
    mask = np.zeros((4, 4), bool)
    mask[:, 1:] = True
    for pixel_mm, columns_at in ((0.5, np.arange(-1.75, 2, 0.5)), (0.9, [-1.8, -0.9, 0, 0.9, 1.8])):
        values, inside = resampled(image, mask, (1.0, 1.0), TextureConfig(pixel_mm=pixel_mm))
        expected = np.clip((np.array(columns_at) + 1.5) * 100, 0, 300)
        assert values.shape == (len(columns_at),) * 2
        assert np.array_equal(values, np.tile(np.rint(expected), (len(columns_at), 1)))
        # The mask's share grows from 0 at −1.5 to 1 at −0.5: half of it is at −1.
        assert np.array_equal(inside.all(axis=0), np.array(columns_at) >= -1)


def test_the_grid_covers_a_size_that_no_whole_number_of_pixels_fills():
    values, _ = resampled(
        np.zeros((3, 5)), np.ones((3, 5), bool), (1.0, 1.0), TextureConfig(pixel_mm=2)
    )
    assert values.shape == (2, 3)


def test_a_laplacian_of_a_slice_is_scipys(rng):
    image = ndimage.gaussian_filter(rng.normal(size=(64, 64)), 3) * 1000
    mask = np.zeros((64, 64), bool)
    mask[20:44, 20:44] = True
    texture = TextureConfig(bins=8, log_mm=(2,))
    ours = named(measure_region(image, mask, texture, (0.5, 0.5)), texture)
    theirs = ndimage.gaussian_laplace(image, 2 / 0.5) * (2 / 0.5) ** 2  # normalised across scales
    scale = theirs[mask].std()
    assert ours["log2mm_firstorder_mean"] == pytest.approx(theirs[mask].mean(), abs=0.02 * scale)
    assert ours["log2mm_firstorder_standarddeviation"] == pytest.approx(scale, rel=0.02)


def test_wavelets_of_a_slice_add_up_to_the_slice(rng):
    image, mask = textured(rng, (32, 32)), np.ones((32, 32), bool)
    texture = TextureConfig(bins=8, wavelet=True)
    assert texture.filters == ("waveletll", "waveletlh", "wavelethl", "wavelethh")
    ours = named(measure_region(image, mask, texture), texture)
    energies = [ours[f"{name}_firstorder_energy"] for name in texture.filters]
    # Orthogonal, but decimated nowhere: each of two axes doubles the energy.
    assert sum(energies) == pytest.approx(4 * np.square(image.astype(float)).sum(), rel=1e-6)


@pytest.mark.parametrize(
    ("texture", "spacing", "place", "words"),
    [
        ({"pixel_mm": 2.0}, None, "all but area", "the pixel size is unknown"),
        ({"resegment": (300, 400)}, (1.0, 1.0), "all but area", "leaves no pixel of the mask"),
        ({"lower_bound": 200, "log_mm": (2,)}, None, "all but area", "below the lower bound"),
        ({"log_mm": (2.0,)}, None, "log2mm", "too small for the filter, or its pixel size unknown"),
        ({"log_mm": (40.0,)}, (1.0, 1.0), "log40mm", "too small for the filter"),
    ],
)
def test_what_is_not_defined_is_nan_with_a_reason(rng, texture, spacing, place, words):
    image, mask, config = textured(rng, (24, 24)), blob(rng, (24, 24)), TextureConfig(**texture)
    measured = measure_region(image, mask, config, spacing)
    assert list(measured.reasons) == [place]
    assert words in measured.reasons[place]
    features = features_of(config)
    missing = [f for f, v in zip(features, measured.values, strict=True) if np.isnan(v)]
    of_filter = place.startswith("log")
    assert missing == [f for f in features if f.key != AREA and (f.filter or not of_filter)]


def test_thin_and_scattered_masks_keep_what_is_defined(rng):
    texture = TextureConfig(families=("glrlm", "shape"))
    image, mask = textured(rng, (24, 24)), np.zeros((24, 24), bool)
    mask[4, 3:9] = True
    line = measure_region(image, mask, texture)
    assert set(line.reasons) == {"glcm", "gldm", "ngtdm", "glrlm", "shape"}
    assert set(line.reasons.values()) == {"the mask is a line"}
    assert np.isfinite(named(line, texture)["firstorder_uniformity"])
    mask[:] = False
    mask[::3, ::3] = True
    scattered = measure_region(image, mask, texture)
    assert set(scattered.reasons) == {"glcm", "ngtdm"}
    found = named(scattered, texture)
    assert found["glrlm_runpercentage"] == 1
    assert np.isnan([found["glcm_dissimilarity"], found["glcm_contrast"]]).all()


def test_masks_are_measured_the_fast_way_where_that_is_enough(rng):
    image, mask = textured(rng, (24, 24)).astype(np.uint8), blob(rng, (24, 24))
    plain = TextureConfig(bin_width=10, slice_weights="area")
    assert not plain.by_pyradiomics
    fast = measure_masks(image, {"lesion": mask}, plain, (0.5, 0.5))["lesion"].values
    assert np.array_equal(fast, measure_mask(image, mask, plain, (0.5, 0.5)).values)
    assert len(columns(("lesion",), plain)) == len(fast) == 68


def test_columns_of_other_families_and_filters_have_names_of_their_own():
    texture = TextureConfig(families=("glszm", "shape"), log_mm=(1.5,), wavelet=True)
    names = columns(("ggo",), texture)
    assert len(names) == len(set(names)) == 68 + 16 + 9 + 5 * (67 + 16)
    assert {
        "ggo_glszm_zoneentropy",
        "ggo_shape_perimeter",
        "ggo_log1_5mm_glcm_contrast",
        "ggo_wavelethl_glszm_zoneentropy",
    } <= set(names)
    assert not [name for name in names if "log" in name and ("shape" in name or "_area" in name)]


def test_a_region_of_other_axes_is_refused():
    with pytest.raises(ValueError, match="one shape of 3 axes, as dimensions says"):
        measure_region(np.zeros((4, 4)), np.ones((4, 4)), TextureConfig(dimensions=3))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"bins": 32, "bin_width": 10}, "takes the place of"),
        ({"intensities": "hu"}, "need a lower_bound in HU"),
        ({"resegment": (400, -1000)}, "low, high"),
        ({"log_mm": (2, 2)}, "different widths"),
        ({"families": ("glszm", "glszm")}, "different names"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        TextureConfig(**given)


@pytest.mark.parametrize("texture", [TextureConfig(), TextureConfig(families=("glrlm",))])
def test_nan_in_a_mask_is_no_lesion_and_refused_with_the_remedy(rng, texture):
    """NaN is not 0: all outside counted as lesion too, and the area was that of the image."""
    image, mask = textured(rng, (48, 48)), blob(rng, (48, 48))
    unknown = np.where(mask, 1.0, np.nan)
    with pytest.raises(ValueError, match=f"'ggo' is NaN in {(~mask).sum()} of {mask.size} pixels"):
        measure_mask(image, unknown, texture, name="ggo")
    whole, given = (measure_mask(image, m, texture) for m in (mask, np.nan_to_num(unknown)))
    pd.testing.assert_series_equal(whole, given)
