from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import statsmodels.api as sm
from PIL import Image
from scipy.ndimage import binary_erosion, distance_transform_edt
from skimage.morphology import convex_hull_image

from ssinfnet import phantom
from ssinfnet.config import PhantomConfig
from ssinfnet.phantom import anatomy, clinical, sites, slices, vessels
from ssinfnet.sources import ccii, ictcf

SMALL = PhantomConfig(
    size=64,
    volumes=2,
    slices_per_volume=3,
    single_slices=5,
    small_site_train=3,
    small_site_test=2,
    small_site_volumes=2,
)
ILL = phantom.Findings(extent=0.25, consolidation_share=0.4)
NINE_LEVELS = {  # J, mediation analysis: "severity is measured with 9 levels"
    "Control (Healthy)",
    "Control",
    "Control (Community-acquired pneumonia)",
    "Suspected",
    "Suspected (COVID-19-confirmed later)",
    "Mild",
    "Regular",
    "Severe",
    "Critically ill",
}


def displayed(path):
    """All slices of a NIfTI file as a viewer shows them, (z, row, column)."""
    image = nib.as_closest_canonical(nib.load(path))
    return np.asarray(image.dataobj)[::-1, ::-1].transpose(2, 1, 0)


def files_of(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def pixels(path):
    with Image.open(path) as image:
        return image.mode, np.array(image)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return phantom.write_phantom(tmp_path_factory.mktemp("small") / "raw", SMALL)


@pytest.fixture(scope="module")
def patients():
    """Three slices of each of thirty ill patients."""
    return [
        phantom.draw_patient(np.random.default_rng(seed), [0.35, 0.55, 0.75], 128, ILL)
        for seed in range(30)
    ]


@pytest.fixture(scope="module")
def default_site_a():
    """HU, lesion and lung of every slice of site A at the default configuration."""
    config = PhantomConfig()
    drawn = []
    for number in range(1, config.volumes + 1):
        rng = sites.patient_rng(config, "site_a", number)
        levels, _ = sites._volume_levels(rng, config.slices_per_volume)
        findings = sites._site_a_findings(rng, number)
        drawn += phantom.draw_patient(rng, levels, config.size, findings)
    for i in range(config.single_slices):
        drawn.append(sites._single_slice(config, "site_a", sites.SINGLES_FROM + i))
    return [(s.hu, np.isin(s.label, (1, 2)), s.lung > 0) for s in drawn]


def test_no_fixed_threshold_inside_the_lungs_finds_the_lesions(default_site_a):
    both, either = [], []
    for threshold in range(-950, 151, 10):
        found = [(hu > threshold) & lung for hu, _, lung in default_site_a]
        pairs = list(zip(found, [lesion for _, lesion, _ in default_site_a], strict=True))
        both.append([(bright & lesion).sum() for bright, lesion in pairs])
        either.append([bright.sum() + lesion.sum() for bright, lesion in pairs])
    both, either = np.array(both, float), np.array(either, float)  # (thresholds, slices)
    ill = np.array([lesion.any() for _, lesion, _ in default_site_a])
    pooled = 2 * both.sum(axis=1) / either.sum(axis=1)
    per_slice = (2 * both[:, ill] / either[:, ill]).mean(axis=1)
    assert 0.2 < pooled.max() < 0.45
    assert 0.2 < per_slice.max() < 0.45


def test_site_a_has_healthy_and_ill_slices(default_site_a):
    ill = np.mean([lesion.any() for _, lesion, _ in default_site_a])
    assert 0.5 < ill < 0.85


def test_lesions_lie_inside_the_lungs_and_effusion_outside():
    findings = phantom.Findings(extent=0.3, consolidation_share=0.3, effusion=True)
    drawn = phantom.draw_patient(np.random.default_rng(4), [0.5, 0.7, 0.85], 128, findings)
    for one in drawn:
        assert (one.lung[np.isin(one.label, (1, 2))] > 0).all()
        assert (one.lung[one.label == 3] == 0).all()
    assert sum((one.label == 3).sum() for one in drawn) > 100
    assert sum((one.label == 1).sum() for one in drawn) > 100


def test_effusion_is_fluid_at_the_back():
    findings = phantom.Findings(effusion=True)
    one = phantom.draw_slice(np.random.default_rng(4), 0.8, 128, findings)
    fluid = one.label == 3
    assert -40 < np.median(one.hu[fluid]) < 50
    assert np.nonzero(fluid)[0].mean() > np.nonzero(one.lung)[0].mean()


def test_tissues_have_plausible_hu():
    one = phantom.draw_slice(np.random.default_rng(1), 0.6, 256, phantom.Findings())
    healthy = one.hu[one.lung > 0]
    assert -1010 < np.median(one.hu[:10]) < -960  # air in front of the patient
    assert -920 < np.median(healthy) < -700
    middle = one.hu[105:115, 140:155]  # inside the heart
    assert 20 < np.median(middle) < 220
    bone = (one.hu > 300).mean()
    assert 0.005 < bone < 0.06
    assert one.hu.min() >= -1024
    assert one.hu.max() <= 3071


def test_lung_area_grows_from_apex_to_hilum_and_shrinks_at_the_diaphragm():
    drawn = phantom.draw_patient(
        np.random.default_rng(2), [0.08, 0.4, 0.95], 64, phantom.Findings()
    )
    apex, hilum, base = ((one.lung > 0).sum() for one in drawn)
    assert apex < 0.6 * hilum
    assert base < 0.9 * hilum


def test_lung_is_denser_at_the_back():
    front, back = [], []
    for seed in range(8):
        one = phantom.draw_slice(np.random.default_rng(seed), 0.4, 96, phantom.Findings())
        rows = np.nonzero(one.lung)[0]
        low, high = np.quantile(rows, [0.25, 0.75])
        row = np.arange(96)[:, None]
        front.append(np.median(one.hu[(one.lung > 0) & (row < low)]))
        back.append(np.median(one.hu[(one.lung > 0) & (row > high)]))
    assert (np.array(back) > np.array(front) + 20).all()


def test_right_lung_is_on_the_viewers_left():
    one = phantom.draw_slice(np.random.default_rng(2), 0.5, 64, phantom.Findings())
    assert np.nonzero(one.lung == 1)[1].max() < 32 <= np.nonzero(one.lung == 2)[1].min()


def test_ground_glass_lies_between_lung_and_consolidation(patients):
    drawn = [one for patient in patients for one in patient]
    ground_glass, consolidation, lung = (
        np.concatenate([one.hu[(one.label == label) & (one.lung > 0)] for one in drawn])
        for label in (1, 2, 0)
    )
    assert np.median(lung) + 100 < np.median(ground_glass)
    assert -650 < np.median(ground_glass) < -300
    assert -150 < np.median(consolidation) < 80


def test_vessels_stay_visible_inside_ground_glass(monkeypatch):
    def bright_share():
        rngs = [np.random.default_rng(seed) for seed in range(6)]
        drawn = [phantom.draw_slice(r, 0.5, 128, phantom.Findings(extent=0.25)) for r in rngs]
        glass = np.concatenate([one.hu[binary_erosion(one.label == 1)] for one in drawn])
        return (glass > np.median(glass) + 200).mean()

    with_vessels = bright_share()
    monkeypatch.setattr(vessels, "TERMINAL_RADIUS_MM", 1e-3)
    assert with_vessels > 0.02 + bright_share()


def test_lesions_prefer_the_back_and_the_pleura():
    lesion, behind, depth_mm = [], [], []
    findings = phantom.Findings(extent=0.1, consolidation_share=0.3)
    for seed in range(30):
        one = phantom.draw_slice(np.random.default_rng(seed), 0.6, 128, findings)
        lung = one.lung > 0
        rows = np.nonzero(lung)[0]
        # The hull of both lungs is the rib cage, so depth counts from the chest wall.
        depth_mm.append(2.8 * distance_transform_edt(convex_hull_image(lung))[lung])
        lesion.append((one.label > 0)[lung])
        behind.append(rows > np.median(rows))
    lesion, behind, depth_mm = (np.concatenate(part) for part in (lesion, behind, depth_mm))
    assert lesion[behind].mean() > 2 * lesion[~behind].mean()
    assert lesion[depth_mm < 20].mean() > 1.3 * lesion[depth_mm > 35].mean()


def test_the_wanted_extent_and_consolidation_share_are_drawn():
    levels = np.linspace(0.1, 0.93, 18)
    extents, shares = [], []
    for seed in range(6):
        drawn = phantom.draw_patient(np.random.default_rng(seed), levels, 64, ILL)
        label, lung = (np.stack([getattr(s, name) for s in drawn]) for name in ("label", "lung"))
        extents.append((label > 0).sum() / (lung > 0).sum())
        shares.append((label == 2).sum() / (label > 0).sum())
    assert np.mean(extents) == pytest.approx(0.25, abs=0.03)
    assert np.mean(shares) == pytest.approx(0.4, abs=0.06)


def test_a_healthy_patient_has_no_lesion():
    drawn = phantom.draw_patient(np.random.default_rng(0), [0.3, 0.6], 64, phantom.Findings())
    assert not any(one.label.any() for one in drawn)


def test_lesions_continue_into_the_next_slice():
    near = phantom.draw_patient(np.random.default_rng(3), [0.6, 0.61], 128, ILL)
    first, second = (one.label > 0 for one in near)
    assert 2 * (first & second).sum() / (first.sum() + second.sum()) > 0.85


def test_a_patient_is_the_same_at_another_resolution():
    coarse = phantom.draw_slice(np.random.default_rng(3), 0.6, 64, ILL)
    fine = phantom.draw_slice(np.random.default_rng(3), 0.6, 128, ILL)
    assert (coarse.lung == fine.lung[::2, ::2]).mean() > 0.96


def test_same_seed_gives_the_same_slice_and_another_seed_another():
    first, again, other = (
        phantom.draw_slice(np.random.default_rng(seed), 0.5, 64, ILL) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.hu, again.hu)
    np.testing.assert_array_equal(first.label, again.label)
    assert (first.lung != other.lung).any()


def test_scanners_of_the_sites_differ_in_noise():
    air = [
        phantom.draw_slice(np.random.default_rng(1), 0.5, 64, ILL, scanner).hu[20:44, 30:34].std()
        for scanner in (slices.SITE_A_SCANNER, slices.SITE_B_SCANNER)
    ]
    assert air[1] > air[0]


@pytest.mark.parametrize(
    ("level", "size", "findings"),
    [
        (1.2, 64, {}),
        (0.5, 16, {}),
        (0.5, 64, {"extent": 0.95}),
        (0.5, 64, {"consolidation_share": -0.1}),
    ],
)
def test_impossible_inputs_are_refused(level, size, findings):
    with pytest.raises(ValueError, match="got"):
        phantom.draw_slice(np.random.default_rng(0), level, size, phantom.Findings(**findings))


def test_random_field_is_standard_and_equal_on_grid_and_points():
    field = anatomy.draw_field(np.random.default_rng(0), 8)
    grid = anatomy.Grid(64)
    plane = field.on_grid(grid, 30.0)
    x, y = np.broadcast_arrays(grid.x, grid.y)
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 30, np.float32)], axis=1)
    np.testing.assert_allclose(field.at(points), plane.ravel(), atol=1e-3)
    assert plane.mean() == pytest.approx(0, abs=0.1)
    assert plane.std() == pytest.approx(1, abs=0.15)


def test_site_a_has_the_layout_of_medseg(small):
    folder = small / "site_a"
    assert sorted(files_of(folder)) == sorted(
        ["tr_im.nii.gz", "tr_mask.nii.gz"]
        + [f"{part}/{n}.nii.gz" for part in ("rp_im", "rp_msk", "rp_lung_msk") for n in (1, 2)]
    )
    for image, mask, count in (
        ("tr_im.nii.gz", "tr_mask.nii.gz", 5),
        ("rp_im/1.nii.gz", "rp_msk/1.nii.gz", 3),
    ):
        hu, label = displayed(folder / image), displayed(folder / mask)
        assert hu.shape == label.shape == (count, 64, 64)
        assert hu.dtype == np.int16
        assert set(np.unique(label)) <= {0, 1, 2, 3}
        assert nib.aff2axcodes(nib.load(folder / image).affine) == ("R", "A", "S")
    spacing = nib.load(folder / "rp_im/1.nii.gz").header.get_zooms()
    assert spacing[:2] == pytest.approx([0.7 * 512 / 64] * 2)
    assert 5 <= spacing[2] <= 10


def test_site_a_displays_the_front_on_top_and_the_right_lung_left(small):
    lung = displayed(small / "site_a" / "rp_lung_msk" / "1.nii.gz")
    hu = displayed(small / "site_a" / "rp_im" / "1.nii.gz")
    assert np.nonzero(lung == 1)[2].mean() < 32 < np.nonzero(lung == 2)[2].mean()
    # The spine is the largest bone of the midline and lies behind.
    bone_rows = np.nonzero(hu[:, :, 29:35] > 250)[1]
    assert np.median(bone_rows) > 36


def test_volumes_run_from_base_to_apex(tmp_path):
    config = SMALL.model_copy(update={"volumes": 1, "slices_per_volume": 20, "single_slices": 0})
    lung = displayed(sites.write_site_a(tmp_path, config) / "rp_lung_msk" / "1.nii.gz") > 0
    width = [np.ptp(np.nonzero(plane)[1]) for plane in lung]
    assert width[-1] < 0.8 * width[0]  # the top of RAS is the narrow apex
    assert not (tmp_path / "tr_im.nii.gz").exists()


def test_site_b_has_the_layout_of_covid_semiseg(small):
    found = sorted(files_of(small / "site_b"))
    single, multi = "TrainingSet/LungInfection-Train", "TrainingSet/MultiClassInfection-Train"
    expected = [f"{single}/Doctor-label/Imgs/{i}.jpg" for i in range(3)]
    expected += [f"{single}/Doctor-label/{p}/{i}.png" for p in ("GT", "Edge") for i in range(3)]
    expected += [f"{multi}/Imgs/{i}.jpg" for i in range(3)]
    expected += [f"{multi}/{p}/{i}.png" for p in ("GT", "Prior") for i in range(3)]
    expected += [
        f"{single}/Pseudo-label/Imgs/Data-1_phantom_org_{v:03d}_{i}.jpg"
        for v in (1, 2)
        for i in (1, 2, 3)
    ]
    single, multi = "TestingSet/LungInfection-Test", "TestingSet/MultiClassInfection-Test"
    expected += [f"{part}/Imgs/{i}.jpg" for part in (single, multi) for i in (3, 4)]
    expected += [f"{single}/GT/{i}.png" for i in (3, 4)]
    expected += [f"{multi}/{p}/{i}.png" for p in ("GT", "GT-1", "GT-2") for i in (3, 4)]
    assert found == sorted(expected)


def test_site_b_masks_agree_with_each_other(small):
    train, test = small / "site_b" / "TrainingSet", small / "site_b" / "TestingSet"
    single, multi = (
        train / "LungInfection-Train" / "Doctor-label",
        train / "MultiClassInfection-Train",
    )
    for i in range(3):
        class_mode, classes = pixels(multi / "GT" / f"{i}.png")
        image_mode, image = pixels(single / "Imgs" / f"{i}.jpg")
        assert (class_mode, image_mode) == ("P", "L")
        assert classes.shape == image.shape != (64, 64)
        np.testing.assert_array_equal(pixels(single / "GT" / f"{i}.png")[1], (classes > 0) * 255)
        np.testing.assert_array_equal(pixels(multi / "Prior" / f"{i}.png")[1], (classes > 0) * 255)
    multi = test / "MultiClassInfection-Test"
    for i in (3, 4):
        label = pixels(multi / "GT" / f"{i}.png")[1]
        for part, kind in (("GT-1", 1), ("GT-2", 2)):
            mode, binary = pixels(multi / part / f"{i}.png")
            assert mode == "1"
            np.testing.assert_array_equal(binary, label == kind)


def test_site_b_slices_are_turned_so_that_the_spine_is_on_the_right(small):
    folder = small / "site_b" / "TrainingSet" / "LungInfection-Train" / "Pseudo-label" / "Imgs"
    grey = pixels(folder / "Data-1_phantom_org_001_2.jpg")[1]
    middle = grey[grey.shape[0] // 2 - 4 : grey.shape[0] // 2 + 4] > 240
    columns = np.nonzero(middle)[1]
    assert np.median(columns) > grey.shape[1] / 2


def test_a_second_write_of_the_same_configuration_touches_nothing(small):
    before = {p: p.stat().st_mtime_ns for p in small.rglob("*")}
    assert phantom.write_phantom(small, SMALL) == small
    assert {p: p.stat().st_mtime_ns for p in small.rglob("*")} == before


def test_the_same_seed_writes_the_same_bytes(small, tmp_path):
    assert files_of(phantom.write_phantom(tmp_path / "raw", SMALL)) == files_of(small)


def test_another_configuration_replaces_the_folder(tmp_path):
    config = SMALL.model_copy(update={"volumes": 1, "single_slices": 1, "small_site_volumes": 0})
    folder = phantom.write_phantom(tmp_path / "raw", config)
    first = files_of(folder)
    phantom.write_phantom(folder, config.model_copy(update={"seed": 7}))
    assert files_of(folder)["site_a/tr_im.nii.gz"] != first["site_a/tr_im.nii.gz"]
    assert json.loads((folder / sites.MARKER).read_text())["config"]["seed"] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_an_interrupted_write_leaves_no_folder_and_is_redone(tmp_path, monkeypatch):
    def fail(folder, config):
        raise OSError("disk full")

    monkeypatch.setitem(sites.SITES, "site_b", fail)
    with pytest.raises(OSError, match="disk full"):
        phantom.write_phantom(tmp_path / "raw", SMALL)
    assert not (tmp_path / "raw").exists()
    monkeypatch.undo()
    folder = phantom.write_phantom(tmp_path / "raw", SMALL)
    assert (folder / sites.MARKER).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_folder_without_its_marker_is_redone(small, tmp_path):
    (tmp_path / "raw" / "site_a").mkdir(parents=True)
    assert files_of(phantom.write_phantom(tmp_path / "raw", SMALL)) == files_of(small)


def test_a_folder_with_other_files_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(ValueError, match=r"thesis\.txt"):
        phantom.write_phantom(tmp_path, SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "three years"


def test_more_patients_leave_the_others_as_they_were(small, tmp_path):
    larger = SMALL.model_copy(update={"volumes": 3, "single_slices": 6, "small_site_train": 4})
    folder = sites.write_site_a(tmp_path / "a", larger)
    assert files_of(folder)["rp_im/2.nii.gz"] == files_of(small / "site_a")["rp_im/2.nii.gz"]
    few, many = (displayed(f / "tr_im.nii.gz") for f in (small / "site_a", folder))
    np.testing.assert_array_equal(many[:5], few)


def test_site_c_is_read_as_ccii_and_shows_more_lung_in_the_middle(tmp_path):
    config = SMALL.model_copy(update={"lung_site_patients": 2})
    folder = sites.write_site_c(tmp_path, config)
    slices = ccii.list_slices(folder).slices
    assert slices.groupby("patient_id").size().to_dict() == {"ccii_1": 5, "ccii_2": 5}
    assert slices["has_lesion"].any()
    masks = [pixels(folder / path)[1] for path in slices["mask_path"]]
    lungs = np.array([(mask > 0).sum() for mask in masks]).reshape(2, 5)
    assert (lungs[:, 2] > 1.5 * lungs[:, 0]).all()
    assert set(np.unique(masks)) <= {0, 1, 2, 3}
    grey, _ = ccii.read(folder, next(slices.itertuples(index=False)))
    assert grey[masks[0] == 1].mean() < grey[masks[0] == 0].mean()


def test_site_d_is_read_as_ictcf_and_every_ninth_patient_has_no_scan(tmp_path):
    config = SMALL.model_copy(update={"cohort_patients": 10})
    folder = sites.write_site_d(tmp_path, config)
    listing = ictcf.list_slices(folder)
    assert listing.slices["patient_id"].nunique() == 9
    assert "patient_9" not in set(listing.slices["patient_id"])
    assert len(listing.slices) == 45
    assert len(ictcf.read_clinical(folder / ictcf.TABLE)) == 10


def test_a_site_without_patients_writes_nothing(small):
    assert not (small / "site_c").exists()
    assert not (small / "site_d").exists()


@pytest.fixture(scope="module")
def cohort():
    return clinical.clinical_table(np.random.default_rng(0), 40_000)


def test_clinical_table_speaks_ictcf(cohort):
    table, truth = cohort
    assert table.columns.tolist() == [
        "ID",
        "Hospital",
        "Age",
        "Gender",
        "Underlying diseases",
        "Morbidity outcome",
    ]
    assert set(table["Morbidity outcome"]) == NINE_LEVELS
    assert set(table["Gender"]) == {"Male", "Female"}
    assert table["Hospital"].nunique() == 2
    assert table["Age"].between(18, 92).all()
    text = table["Underlying diseases"]
    counted = np.where(text == "No", 0, text.str.count(",") + 1)
    np.testing.assert_array_equal(counted, truth["n_underlying"])
    assert table["ID"].tolist() == truth["ID"].tolist()
    assert table["ID"].is_unique


def test_outcomes_agree_with_the_truth(cohort):
    table, truth = cohort
    outcome = table["Morbidity outcome"]
    free = outcome.isin(
        [
            "Control",
            "Control (Healthy)",
            "Control (Community-acquired pneumonia)",
            "Suspected",
        ]
    )
    np.testing.assert_array_equal(free, truth["infected"] == 0)
    severe = outcome.isin(["Severe", "Critically ill"])
    np.testing.assert_array_equal(severe, truth["severe"] == 1)
    assert (truth.loc[outcome == "Control (Healthy)", "lesion_extent"] == 0).all()
    assert truth["lesion_extent"].between(0, 0.9).all()
    assert truth["consolidation_share"].between(0, 1).all()


def test_regression_recovers_the_planted_coefficients(cohort):
    table, truth = cohort
    effects = clinical.EffectSizes()
    exposures = {
        "age": (table["Age"] - clinical.MEAN_AGE) / clinical.SPREAD_AGE,
        "disease": truth["n_underlying"],
        "gender": (table["Gender"] == "Male").astype(float),
    }
    for mediator in ("extent", "texture"):
        design = sm.add_constant(truth[[]].assign(**exposures))
        fit = sm.OLS(truth[f"{mediator}_score"], design).fit()
        assert fit.params["age"] == pytest.approx(getattr(effects, f"{mediator}_age"), abs=0.02)
        planted = getattr(effects, f"{mediator}_disease")
        assert fit.params["disease"] == pytest.approx(planted, abs=0.02)
        assert fit.params["gender"] == pytest.approx(0, abs=0.04)
    mediators = {"extent": truth["extent_score"], "texture": truth["texture_score"]}
    design = sm.add_constant(truth[[]].assign(**exposures, **mediators))
    fit = sm.OLS(truth["severity_score"], design).fit()
    for name in ("age", "disease", "gender", "extent", "texture"):
        planted = getattr(effects, f"severity_{name}")
        assert fit.params[name] == pytest.approx(planted, abs=0.04)


def test_population_indirect_effect_is_the_product_of_two_regressions(cohort):
    table, truth = cohort
    age = sm.add_constant(table["Age"].astype(float))
    beta21 = sm.OLS(truth["lesion_extent"], age).fit().params["Age"]
    both = age.assign(m=truth["lesion_extent"])
    beta32 = sm.OLS(truth["infected"], both).fit().params["m"]
    population = clinical.population_indirect_effect("Age", "lesion_extent", "infected", n=200_000)
    assert population == pytest.approx(beta21 * beta32, rel=0.06)


def test_gender_has_no_indirect_effect_and_age_has():
    gender, age = (
        clinical.population_indirect_effect(x, "extent_score", "severity_score", n=200_000)
        for x in ("Male", "Age")
    )
    assert abs(gender) < 0.02
    assert age > 0.02  # per year; 0.4 / 16 * 0.9 = 0.0225 through age alone


def test_clinical_table_is_reproducible_and_refuses_an_empty_cohort():
    first, again = (clinical.clinical_table(np.random.default_rng(5), 20)[0] for _ in range(2))
    assert first.equals(again)
    with pytest.raises(ValueError, match="n_patients"):
        clinical.clinical_table(np.random.default_rng(5), 0)
    with pytest.raises(ValueError, match="exposure"):
        clinical.population_indirect_effect("Weight")


def test_a_table_row_can_be_rendered(cohort):
    _, truth = cohort
    row = truth.sort_values("lesion_extent").iloc[-1]
    findings = phantom.Findings(
        extent=float(row["lesion_extent"]), consolidation_share=float(row["consolidation_share"])
    )
    drawn = phantom.draw_patient(np.random.default_rng(1), [0.5, 0.6], 64, findings)
    assert all((one.label > 0).any() for one in drawn)
