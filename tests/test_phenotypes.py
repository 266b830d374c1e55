"""Phenotypes against PyRadiomics itself, by identity, and by hand."""

import logging

import numpy as np
import pandas as pd
import pytest
import SimpleITK
from PIL import Image
from radiomics.featureextractor import RadiomicsFeatureExtractor
from scipy.ndimage import gaussian_filter

from ssinfnet.data.phantom.lesions import CONSOLIDATION, GROUND_GLASS
from ssinfnet.data.phantom.slices import Findings, draw_patient
from ssinfnet.patients import phenotypes
from ssinfnet.patients.phenotypes import (
    FEATURES,
    catalogue,
    measure_mask,
    measure_slice,
    patient_means,
)
from ssinfnet.study.config import TextureConfig

logging.getLogger("radiomics").setLevel(logging.CRITICAL)
AS_PYRADIOMICS = TextureConfig(lower_bound=None)
ATTRIBUTES = {feature.key: place for place, feature in enumerate(FEATURES)}


def by_pyradiomics(image, mask, bin_width=25, spacing=(1.0, 1.0)):
    """All features that PyRadiomics computes, by its own extractor, NaN elsewhere."""
    extractor = RadiomicsFeatureExtractor(
        binWidth=bin_width,
        force2D=True,
        force2Ddimension=0,
        additionalInfo=False,
        minimumROIDimensions=2,
    )
    extractor.disableAllFeatures()
    for family in phenotypes.FAMILIES:
        extractor.enableFeatureClassByName(family)
    extractor.enableFeaturesByName(
        **{
            family: [
                f.name
                for f in FEATURES
                if f.family == family and f.key != catalogue.AREA and f.key not in catalogue.TWINS
            ]
            for family in phenotypes.FAMILIES
        }
    )
    pictures = [
        SimpleITK.GetImageFromArray(np.asarray(array)[None].astype(kind))
        for array, kind in ((image, np.float64), (mask, np.uint8))
    ]
    for picture in pictures:
        picture.SetSpacing((*spacing, 1.0))
    found = extractor.execute(*pictures)
    values = np.full(len(FEATURES), np.nan)
    for name, value in found.items():
        _, family, feature = name.split("_")
        values[ATTRIBUTES[family, feature]] = value
    values[ATTRIBUTES[catalogue.AREA]] = np.count_nonzero(mask)
    for twin, same in catalogue.TWINS.items():
        values[ATTRIBUTES[twin]] = values[ATTRIBUTES[same]]
    return values


def measured(image, mask, *texture):
    """The bare numbers of a mask, and why some are NaN."""
    return measure_slice(image, {"own": mask}, *texture)["own"]


def assert_parity(image, mask, **settings):
    theirs = by_pyradiomics(image, mask, **settings)
    texture = TextureConfig(lower_bound=None, bin_width=settings.get("bin_width", 25))
    measured = measure_mask(image, mask, texture, settings.get("spacing"))
    assert not measured.attrs["reasons"]
    assert np.isfinite(measured.values).all()
    for feature, ours, their in zip(FEATURES, measured.values, theirs, strict=True):
        assert ours == pytest.approx(their, rel=1e-10, abs=1e-12), feature.column


def textured(rng, size=48, smoothness=1.5):
    noise = gaussian_filter(rng.normal(size=(size, size)), smoothness)
    return np.rint((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)


def blob(rng, size=48, share=0.2):
    field = gaussian_filter(rng.normal(size=(size, size)), 4)
    return field > np.quantile(field, 1 - share)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("smoothness", [0.0, 1.5, 6.0])
def test_all_68_equal_pyradiomics_on_random_textures(rng, share, smoothness):
    assert_parity(textured(rng, smoothness=smoothness), blob(rng, share=share))


@pytest.mark.parametrize("seed", range(4))
def test_all_68_equal_pyradiomics_on_lesions_of_the_phantom(seed):
    findings = Findings(extent=0.2, consolidation_share=0.4)
    (drawn,) = draw_patient(np.random.default_rng(seed), [0.5], 192, findings)
    image = np.rint(np.clip((drawn.hu + 1000) / 1400, 0, 1) * 255).astype(np.uint8)
    for label in (GROUND_GLASS, CONSOLIDATION):
        assert_parity(image, drawn.label == label)


@pytest.mark.parametrize("name", ["0", "17", "34"])
def test_all_68_equal_pyradiomics_on_real_lesions(real_data, name):
    train = real_data / "covid-semiseg" / "TrainingSet"
    image = np.asarray(
        Image.open(train / f"LungInfection-Train/Doctor-label/Imgs/{name}.jpg").convert("L")
    )
    classes = np.asarray(Image.open(train / f"MultiClassInfection-Train/GT/{name}.png"))
    masks = {"lesion": classes > 0, "ggo": classes == 1, "consolidation": classes == 2}
    compared = 0
    for mask in masks.values():
        if np.count_nonzero(mask) > 20:
            assert_parity(image, mask)
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize("bin_width", [5, 12.5, 25, 300])
def test_bin_widths_are_pyradiomics_own(rng, bin_width):
    assert_parity(textured(rng), blob(rng), bin_width=bin_width)


def test_intensities_below_zero_and_between_whole_numbers_are_measured_too(rng):
    assert_parity(textured(rng) * 5.25 - 1000, blob(rng))


def test_the_spacing_scales_total_energy_alone(rng):
    image, mask = textured(rng), blob(rng)
    assert_parity(image, mask, spacing=(0.7, 0.8))
    one, other = measure_mask(image, mask), measure_mask(image, mask, spacing_mm=(0.7, 0.8))
    differing = np.flatnonzero(one.values != other.values)
    assert [FEATURES[place].name for place in differing] == ["TotalEnergy"]


def test_a_mask_at_the_border_and_of_the_whole_image(rng):
    image, mask = textured(rng), np.zeros((48, 48), bool)
    mask[:7, 40:] = True
    assert_parity(image, mask)
    assert_parity(image, np.ones_like(mask))


def test_constant_intensity_keeps_pyradiomics_conventions(rng):
    assert_parity(np.full((48, 48), 100, np.uint8), blob(rng))


def test_other_memory_layouts_give_the_same(rng):
    image, mask = textured(rng), blob(rng)
    straight = measure_mask(image, mask).values
    for other in (
        (np.asfortranarray(image), np.asfortranarray(mask)),
        (np.repeat(image, 2, axis=1)[:, ::2], np.repeat(mask, 2, axis=0)[::2]),
        (image.astype(np.float32), mask.astype(np.int64) * 7),
        (image[::-1][::-1], mask[::-1][::-1]),
    ):
        assert np.array_equal(measure_mask(*other).values, straight)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [([(5, 5)], "one pixel"), ([(5, 5), (5, 6), (5, 8)], "a line"), ([(4, 5), (5, 5)], "a line")],
)
def test_one_pixel_or_a_line_has_first_order_alone(rng, pixels, words):
    image, mask = textured(rng), np.zeros((48, 48), bool)
    mask[tuple(zip(*pixels, strict=True))] = True
    with pytest.raises(ValueError, match="too few dimensions|only contains 1 segmented voxel"):
        by_pyradiomics(image, mask)
    values, reasons = measured(image, mask)
    for family in ("glcm", "gldm", "ngtdm"):
        assert reasons.pop(family) == f"the mask is {words}"
    few = ["firstorder_robustmeanabsolutedeviation"] * (len(pixels) == 2)  # none from P10 to P90
    assert list(reasons) == few
    first = [f.family == "firstorder" and f.column not in few for f in FEATURES]
    assert np.array_equal(np.isfinite(values), first)
    assert values[ATTRIBUTES["firstorder", "Mean"]] == pytest.approx(image[mask].mean())


def test_scattered_pixels_have_no_co_occurrence(rng):
    mask = np.zeros((48, 48), bool)
    mask[::3, ::3] = True
    values, reasons = measured(textured(rng), mask)
    words = "no two pixels of the mask are neighbours"
    assert reasons == {"glcm": words, "ngtdm": words}
    finite = {FEATURES[place].family for place in np.flatnonzero(np.isfinite(values))}
    assert finite == {"firstorder", "gldm"}


def test_an_empty_mask_has_area_0_and_nothing_else(rng):
    values, reasons = measured(textured(rng), np.zeros((48, 48), bool))
    assert values[0] == 0
    assert np.isnan(values[1:]).all()
    assert reasons == {"all but area": "the mask is empty"}


def test_a_nan_matters_only_within_the_mask(rng):
    image, mask = textured(rng).astype(float), blob(rng)
    outside = np.where(mask, image, np.nan)
    assert np.array_equal(measure_mask(outside, mask).values, measure_mask(image, mask).values)
    image[tuple(np.argwhere(mask)[0])] = np.nan
    values, reasons = measured(image, mask)
    assert np.isnan(values[1:]).all()
    assert reasons == {"all but area": "an intensity within the mask is not finite"}


def test_known_identities_hold(rng):
    values = dict(
        zip(
            ATTRIBUTES,
            measure_mask(textured(rng), blob(rng), TextureConfig(bin_width=10), (0.5, 1.0)).values,
            strict=True,
        )
    )
    for twin, same in catalogue.TWINS.items():
        assert values[twin] == values[same]
    glcm = {name: value for (family, name), value in values.items() if family == "glcm"}
    assert glcm["SumAverage"] == pytest.approx(2 * glcm["JointAverage"])
    assert glcm["SumSquares"] == pytest.approx((glcm["ClusterTendency"] + glcm["Contrast"]) / 4)
    energy = values["firstorder", "Energy"]
    assert values["firstorder", "TotalEnergy"] == pytest.approx(energy * 0.5)
    assert values["firstorder", "Variance"] == pytest.approx(
        values["firstorder", "StandardDeviation"] ** 2
    )


def test_a_checkerboard_by_hand():
    image = np.indices((4, 4)).sum(0) % 2 * 25  # grey levels 1 and 2
    values = dict(zip(ATTRIBUTES, measure_mask(image, np.ones((4, 4))).values, strict=True))
    assert values["firstorder", "Uniformity"] == 0.5
    assert values["firstorder", "Entropy"] == pytest.approx(1)
    assert values["glcm", "Contrast"] == pytest.approx(0.5)  # 1 along rows and columns, else 0
    assert values["glcm", "JointAverage"] == pytest.approx((1.5 * 2 + 14 / 9 + 13 / 9) / 4)
    # Alike neighbours are the diagonal ones: 4 of an inner pixel, 2 of a side's, 1 of a corner's.
    assert values["gldm", "SmallDependenceEmphasis"] == pytest.approx((4 / 25 + 8 / 9 + 4 / 4) / 16)


def test_a_fixed_bound_keeps_the_levels_where_a_dark_pixel_would_move_them():
    image = 130 + np.indices((20, 20)).sum(0) % 2 * 25  # bins 5 and 6 of 25, levels 6 and 7 from 0
    dark = image.copy()
    dark[10, 10] = 10  # a vessel or a bubble, of level 1
    high = ATTRIBUTES["gldm", "HighGrayLevelEmphasis"]
    mask = np.ones((20, 20))

    def emphasis(grey, texture):
        return measure_mask(grey, mask, texture).values[high]

    assert emphasis(image, TextureConfig()) == (6**2 + 7**2) / 2
    assert emphasis(dark, TextureConfig()) == (199 * 6**2 + 200 * 7**2 + 1) / 400
    assert emphasis(image, AS_PYRADIOMICS) == (1 + 2**2) / 2
    assert emphasis(dark, AS_PYRADIOMICS) == (199 * 6**2 + 200 * 7**2 + 1) / 400


@pytest.mark.parametrize("bound", [-1000, -987.5])
def test_a_bound_at_the_darkest_bin_is_pyradiomics_way_shifted(rng, bound):
    image, mask = textured(rng), blob(rng)
    image[np.argwhere(mask)[0][0], np.argwhere(mask)[0][1]] = 0
    theirs = measure_mask(image, mask, AS_PYRADIOMICS)
    ours = measure_mask(image + float(bound), mask, TextureConfig(lower_bound=bound))
    shift_free = [f.family != "firstorder" or f.name in ("Entropy", "Uniformity") for f in FEATURES]
    assert np.array_equal(ours.values[shift_free], theirs.values[shift_free])


def test_an_intensity_below_the_bound_is_a_reason_and_no_level(rng):
    image, mask = textured(rng).astype(float) - 1000, blob(rng)
    values, reasons = measured(image, mask)
    assert np.isnan(values[1:]).all()
    assert reasons == {"all but area": "an intensity within the mask is below the lower bound of 0"}
    assert not measured(image, mask, TextureConfig(lower_bound=-1000)).reasons
    one_below = np.full((4, 4), 100.0)
    one_below[0, 0] = 99.9
    assert measured(one_below, np.ones((4, 4)), TextureConfig(lower_bound=100)).reasons


def test_masks_of_a_slice_do_not_disturb_each_other(rng):
    image, masks = textured(rng), {name: blob(rng) for name in phenotypes.CLASSES}
    together = measure_slice(image, masks)
    for name, mask in masks.items():
        assert np.array_equal(together[name].values, measure_mask(image, mask).values)


@pytest.mark.parametrize(
    ("image", "mask", "settings", "words"),
    [
        (np.zeros((2, 3, 4)), np.ones((3, 4)), {}, "two axes, got shape"),
        (np.zeros((3, 4)), np.ones((4, 3)), {}, r"shape \(4, 3\), the image \(3, 4\)"),
        (np.zeros((3, 4)), np.ones((3, 4)), {"pixel_mm2": float("nan")}, "above 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(image, mask, settings, words):
    with pytest.raises(ValueError, match=words):
        measure_slice(image, {"own": mask}, **settings)


def test_a_mask_is_measured_as_a_series_by_the_names_of_the_tables(rng):
    image, mask = textured(rng), blob(rng)
    found = measure_mask(image, mask, name="ggo")
    assert isinstance(found, pd.Series)
    assert (found.name, list(found.index)) == ("ggo", phenotypes.columns(["ggo"]))
    assert found["ggo_firstorder_mean"] == pytest.approx(image[mask].mean())
    empty = measure_mask(image, np.zeros_like(mask))
    assert empty["lesion_firstorder_area"] == 0
    assert empty.attrs["reasons"] == {"all but area": "the mask is empty"}
    more = TextureConfig(families=("glrlm",))
    assert list(measure_mask(image, mask, more).index) == phenotypes.columns(["lesion"], more)


@pytest.mark.parametrize("texture", [TextureConfig(), TextureConfig(families=("glrlm",))])
def test_an_image_from_0_to_1_is_refused_where_one_level_would_hold_it(rng, texture):
    """Its entropy would be 0 of one level; in narrower levels it is that of 0 to 255."""
    image, mask = textured(rng).astype(np.uint8), blob(rng)
    shares = image / 256  # exactly
    with pytest.raises(ValueError, match=r"float64 values from 0.* expected grey values.* 255"):
        measure_mask(shares, mask, texture)
    narrower = texture.model_copy(update={"bin_width": 25 / 256})
    entropy = "lesion_firstorder_entropy"
    expected = measure_mask(image, mask, texture)[entropy]
    assert measure_mask(shares, mask, narrower)[entropy] == pytest.approx(expected)
    measure_mask((mask * 1).astype(np.uint8), mask, texture)  # nearly black, and of 8 bits


def test_the_catalogue_is_s_table_1():
    counted = pd.Series([feature.family for feature in FEATURES]).value_counts().to_dict()
    assert counted == {"glcm": 28, "firstorder": 20, "gldm": 15, "ngtdm": 5}
    assert len(set(phenotypes.columns())) == 204
    table = phenotypes.table_s1()
    assert table.notna().all(axis=None)
    without = table.loc[table["ibsi"] == "none", "feature"].tolist()
    assert without == [
        "Area",
        "Total Energy",
        "Standard Deviation",
        "Maximal Correlation Coefficient (MCC)",
    ]
    assert table.set_index("feature").loc["Kurtosis", "ibsi"].endswith("(IPH6); ours minus 3")
    assert table["feature"].str.len().gt(0).all()


def test_patient_means_leave_nan_slices_out_and_count_the_others():
    slices = pd.DataFrame(
        {
            "slice_id": list("abcd"),
            "patient_id": ["p", "p", "q", "q"],
            "area": [1.0, 0.0, 2.0, 4.0],
            "texture": [3.0, np.nan, np.nan, np.nan],
        }
    )
    means, counts = patient_means(slices, ["area", "texture"])
    assert means.loc["p"].tolist() == [0.5, 3.0]
    assert np.isnan(means.loc["q", "texture"])
    assert counts.to_numpy().tolist() == [[2, 1], [2, 0]]


def test_slices_weighted_by_area_make_the_mean_of_the_whole_lesion():
    slices = pd.DataFrame(
        {
            "slice_id": list("abcd"),
            "patient_id": ["p", "p", "p", "q"],
            "ggo_firstorder_area": [10.0, 30.0, 60.0, 0.0],
            "ggo_firstorder_mean": [100.0, 140.0, np.nan, np.nan],
        }
    )
    names = ["ggo_firstorder_area", "ggo_firstorder_mean"]
    means, counts = patient_means(slices, names, "area")
    assert means.loc["p"].tolist() == [100 / 3, (10 * 100 + 30 * 140) / 40]
    assert np.isnan(means.loc["q", "ggo_firstorder_mean"])
    assert counts.loc["p"].tolist() == [3, 2]
    assert patient_means(slices, names)[0].loc["p", "ggo_firstorder_mean"] == 120


def test_the_order_of_slices_leaves_patient_means_alone(rng):
    slices = pd.DataFrame(
        {
            "slice_id": [f"s{i:03d}" for i in range(60)],
            "patient_id": [f"p{i % 7}" for i in range(60)],
            "x": rng.normal(size=60) * 1e8,
        }
    )
    straight, _ = patient_means(slices, ["x"])
    shuffled, _ = patient_means(slices.sample(frac=1, random_state=1), ["x"])
    assert straight.equals(shuffled)


def test_a_slice_counts_once():
    slices = pd.DataFrame({"slice_id": ["a", "a"], "patient_id": ["p", "p"], "x": [1.0, 2.0]})
    with pytest.raises(ValueError, match=r"got \['a'\] twice"):
        patient_means(slices, ["x"])
