from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ssinfnet.data import phantom
from ssinfnet.data.phantom import sites
from ssinfnet.data.sources import ccii, ictcf
from ssinfnet.study.config import PhantomConfig

SMALL = PhantomConfig(
    size=64,
    volumes=2,
    slices_per_volume=3,
    single_slices=5,
    small_site_train=3,
    small_site_test=2,
    small_site_volumes=2,
)


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


@pytest.mark.parametrize("site", ["site_a", "site_b"])
def test_every_single_slice_shows_lesion_as_the_sources_do(site):
    for number in range(sites.SINGLES_FROM, sites.SINGLES_FROM + 24):  # three eighths among them
        drawn = sites._single_slice(SMALL, site, number)
        assert np.isin(drawn.label, (1, 2)).any()


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
    with pytest.raises(FileExistsError, match=r"thesis\.txt"):
        phantom.write_phantom(tmp_path, SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "three years"


@pytest.mark.parametrize("name", ["site_a/notes.txt", ".notes", "site_a/tr_im.nii.gz"])
def test_a_phantom_that_holds_a_file_of_somebodys_is_not_replaced(tmp_path, name):
    config = SMALL.model_copy(update={"volumes": 1, "single_slices": 1, "small_site_volumes": 0})
    folder = phantom.write_phantom(tmp_path / "raw", config)
    (folder / name).write_text("three years")
    before = files_of(folder)
    with pytest.raises(FileExistsError, match=name):
        phantom.write_phantom(folder, config.model_copy(update={"seed": 7}))
    assert files_of(folder) == before


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
