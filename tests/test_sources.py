"""Every source on tiny files in its true layout, and on the real data where they are."""

import gzip

import numpy as np
import pytest
from raw_files import AFFINE, nifti, save, truncate

from ssinfnet.data import cohort, inspection, sources
from ssinfnet.data.sources import covid_semiseg, medseg, volume_files
from ssinfnet.data.sources.files import UnreadableFile, read_labels, read_picture
from ssinfnet.data.sources.volume_files import read_volume
from ssinfnet.study.config import SourceConfig


@pytest.fixture
def med(tmp_path, rng):
    """Two single slices and one volume of three; labels 1, 2 and 3 in known places."""
    folder = tmp_path / "Med Seg ü"
    hu = rng.integers(-1000, 400, (8, 6, 5)).astype(np.int16)
    mask = np.zeros((8, 6, 5), np.uint8)
    mask[0, 0, 0], mask[1:3, 0, 2], mask[0, 1:4, 2], mask[5, 5, 4] = 1, 2, 3, 1
    nifti(folder / "tr_im.nii.gz", hu[..., :2])
    nifti(folder / "tr_mask.nii.gz", mask[..., :2])
    nifti(folder / "rp_im" / "1.nii.gz", hu[..., 2:])
    nifti(folder / "rp_msk" / "1.nii.gz", mask[..., 2:])
    lungs = np.zeros((8, 6, 3), np.uint8)
    lungs[1:7, 1:5] = 1
    nifti(folder / "rp_lung_msk" / "1.nii.gz", lungs)
    return folder, hu, mask


def test_medseg_counts_slices_patients_and_labels(med):
    slices = medseg.list_slices(med[0]).slices
    assert slices["patient_id"].tolist() == ["tr_000", "tr_001", "rp_1", "rp_1", "rp_1"]
    assert slices["has_lesion"].tolist() == [True, False, True, False, True]
    assert slices["has_consolidation"].tolist() == [False, False, True, False, False]
    assert slices["lesion_pixels"].tolist() == [1, 0, 2, 0, 1]
    assert slices["lung_path"].isna().tolist() == [True, True, False, False, False]


def test_medseg_takes_effusion_as_background_and_counts_it(med):
    listing = medseg.list_slices(med[0])
    assert listing.slices["effusion_pixels"].tolist() == [0, 0, 3, 0, 0]
    row = list(listing.slices.itertuples(index=False))[2]
    assert set(np.unique(medseg.read(med[0], row)[1])) == {0, 2}


def test_a_volume_its_mask_and_its_lungs_are_decoded_once(med, monkeypatch):
    decoded = []

    def read_and_count(path):
        decoded.append(path.parent.name)
        return read_volume(path)

    listing = medseg.list_slices(med[0])
    monkeypatch.setattr(volume_files, "read_volume", read_and_count)
    volume_files._decoded.cache_clear()
    rows = listing.slices[listing.slices["lung_path"].notna()]
    assert len(list(sources.read_lungs({"medseg": med[0]}, rows))) == 3
    assert sorted(decoded) == ["rp_im", "rp_lung_msk", "rp_msk"]


def test_medseg_shows_anterior_on_top_and_windows_hu(med):
    folder, hu, mask = med
    row = next(medseg.list_slices(folder).slices.itertuples(index=False))
    image, labels = medseg.read(folder, row)
    # The file runs to the patient's left and back, so its transpose is the radiological view.
    np.testing.assert_allclose(image, np.clip((hu[..., 0].T + 1000.0) / 1400, 0, 1), atol=1e-6)
    np.testing.assert_array_equal(labels, mask[..., 0].T)
    assert (row.height, row.width) == image.shape == (6, 8)
    spacing = (row.spacing_slice_mm, row.spacing_row_mm, row.spacing_column_mm)
    assert spacing == pytest.approx((5.0, 0.7, 0.8))


def test_the_orientation_of_the_file_does_not_change_the_slice(tmp_path, med):
    folder, hu, _ = med
    turned = nifti(tmp_path / "t.nii.gz", hu[::-1, ::-1], np.diag([0.8, 0.7, 5.0, 1.0]))
    as_stored = read_volume(folder / "tr_im.nii.gz").slices
    np.testing.assert_array_equal(read_volume(turned).slices[:2], as_stored)


@pytest.mark.parametrize("part", ["rp_im", "rp_msk"])
def test_a_medseg_volume_without_its_partner_is_listed(med, part):
    nifti(med[0] / part / "2.nii.gz", np.zeros((8, 6, 3), np.int16))
    listing = medseg.list_slices(med[0])
    assert listing.exclusions["file"].tolist() == [f"{part}/2.nii.gz"]
    assert "no mask at" in listing.exclusions["reason"][0] or part == "rp_msk"
    assert len(listing.slices) == 5


def test_a_truncated_volume_is_listed_and_the_others_stay(med):
    truncate(med[0] / "rp_im" / "1.nii.gz")
    listing = medseg.list_slices(med[0])
    assert "truncated" in listing.exclusions["reason"][0]
    assert len(listing.slices) == 2


@pytest.mark.parametrize(
    ("mask", "affine", "reason"),
    [
        (np.zeros((8, 6, 4), np.uint8), AFFINE, "shape"),
        (np.zeros((8, 6, 3), np.uint8), np.diag([-1.0, -1.0, 5.0, 1.0]), "affine"),
    ],
)
def test_a_mask_that_does_not_overlie_its_image_is_listed(med, mask, affine, reason):
    nifti(med[0] / "rp_msk" / "1.nii.gz", mask, affine)
    assert reason in medseg.list_slices(med[0]).exclusions["reason"][0]


def test_nan_intensities_exclude_their_slice_alone(med):
    hu = np.full((8, 6, 3), -900, np.float32)
    hu[4, 3, 1] = np.nan  # not at the edge, where it would lie outside the field of view
    nifti(med[0] / "rp_im" / "1.nii.gz", hu)
    listing = medseg.list_slices(med[0])
    (reason,) = listing.exclusions["reason"]
    assert reason == "slice 1: 1 intensities are NaN or infinite"
    assert listing.slices["image_index"].tolist() == [0, 1, 0, 2]


def test_a_lung_mask_of_another_shape_is_listed_and_not_used(med):
    nifti(med[0] / "rp_lung_msk" / "1.nii.gz", np.ones((8, 6, 2), np.uint8))
    listing = medseg.list_slices(med[0])
    assert "lung mask (2, 6, 8)" in listing.exclusions["reason"][0]
    assert listing.slices["lung_path"].isna().all()


def test_a_file_that_is_written_again_is_read_again(med):
    folder, hu, _ = med
    row = next(medseg.list_slices(folder).slices.itertuples(index=False))
    first, _ = medseg.read(folder, row)
    nifti(folder / "tr_im.nii.gz", np.full((8, 6, 2), 400, np.int16))
    again, _ = medseg.read(folder, row)
    assert again.min() == 1
    assert first.min() < 1


def test_exclusions_name_no_folder_of_this_machine(med):
    truncate(med[0] / "rp_im" / "1.nii.gz")
    assert str(med[0]) not in medseg.list_slices(med[0]).exclusions.to_csv()


def test_a_foreign_label_stops_the_run_and_names_file_and_label(med):
    nifti(med[0] / "rp_msk" / "1.nii.gz", np.full((8, 6, 3), 4, np.uint8))
    with pytest.raises(ValueError, match=r"1\.nii\.gz holds labels \[4\]"):
        medseg.list_slices(med[0])


def test_a_gzip_that_is_no_nifti_is_unreadable(tmp_path):
    path = tmp_path / "x.nii.gz"
    path.write_bytes(gzip.compress(b"not a volume"))
    with pytest.raises(UnreadableFile, match=r"x\.nii\.gz"):
        read_volume(path)


@pytest.fixture
def semiseg(tmp_path, rng):
    """Two training slices, one test slice, three unlabelled ones of two patients."""
    folder = tmp_path / "covid semiseg"
    classes = np.zeros((9, 7), int)
    classes[:2], classes[4:6] = 1, 2
    for stem in ("0", "12"):
        save(folder / covid_semiseg.TRAIN / "Imgs" / f"{stem}.jpg", rng.integers(0, 255, (9, 7)))
        save(folder / covid_semiseg.TRAIN / "GT" / f"{stem}.png", (classes > 0) * 255)
        save(folder / covid_semiseg.TRAIN_CLASSES / f"{stem}.png", classes, palette=True)
    save(folder / covid_semiseg.TEST / "Imgs" / "5.jpg", rng.integers(0, 255, (4, 4)))
    save(folder / covid_semiseg.TEST / "GT" / "5.png", np.eye(4) * 255)
    for name in ("10_85902_1-dcm_3", "10_85902_3-dcm_3", "4_85506_1-dcm_1"):
        stem = f"Data-1_radiopaedia_org_covid-19-pneumonia-{name}"
        save(folder / covid_semiseg.UNLABELLED / f"{stem}.jpg", rng.integers(0, 255, (6, 6)))
    return folder


def test_covid_semiseg_lists_train_test_and_unlabelled_slices(semiseg):
    listing = covid_semiseg.list_slices(semiseg)
    slices = listing.slices
    assert slices["source_split"].fillna("-").tolist() == ["train", "train", "test", "-", "-", "-"]
    assert slices["lesion_pixels"].fillna(-1).tolist() == [28, 28, 4, -1, -1, -1]
    assert slices["patient_id"].nunique() == 3 + 2  # two series of one case are one patient
    assert listing.exclusions.empty


def test_a_palette_mask_is_read_by_index_and_a_binary_one_as_unknown_class(semiseg):
    rows = list(covid_semiseg.list_slices(semiseg).slices.itertuples(index=False))
    _, classes = covid_semiseg.read(semiseg, rows[0])
    _, binary = covid_semiseg.read(semiseg, rows[2])
    assert np.unique(classes).tolist() == [0, 1, 2]
    assert np.unique(binary).tolist() == [0, 255]
    assert rows[2].has_ggo is not True
    assert covid_semiseg.read(semiseg, rows[3])[1] is None


def test_image_without_mask_and_mask_without_image_are_listed(semiseg):
    (semiseg / covid_semiseg.TRAIN / "GT" / "0.png").unlink()
    (semiseg / covid_semiseg.TRAIN_CLASSES / "0.png").unlink()
    (semiseg / covid_semiseg.TRAIN / "Imgs" / "12.jpg").unlink()
    reasons = covid_semiseg.list_slices(semiseg).exclusions["reason"].tolist()
    assert reasons == ["no image of that name", "no mask of that name"]


def test_a_class_mask_alone_is_enough_and_one_without_image_is_listed(semiseg):
    (semiseg / covid_semiseg.TRAIN / "GT" / "0.png").unlink()
    save(semiseg / covid_semiseg.TRAIN_CLASSES / "77.png", np.zeros((9, 7)))
    listing = covid_semiseg.list_slices(semiseg)
    assert listing.exclusions["reason"].tolist() == ["no image of that name"]
    assert listing.slices["lesion_pixels"][0] == 28


def test_two_pictures_of_one_name_are_not_both_used(semiseg):
    save(semiseg / covid_semiseg.TRAIN / "Imgs" / "0.png", np.zeros((9, 7)))
    listing = covid_semiseg.list_slices(semiseg)
    assert "has the same name" in listing.exclusions["reason"][0]
    assert len(listing.slices) == 6


def test_names_in_other_alphabets_stay_apart(semiseg):
    for name in ("é", "ü"):
        save(semiseg / covid_semiseg.UNLABELLED / f"{name}_1.jpg", np.zeros((4, 4)))
    names = covid_semiseg.list_slices(semiseg).slices["slice_id"]
    assert names.is_unique
    assert names.str.fullmatch(r"[A-Za-z0-9._-]+").all()


def test_sizes_that_differ_are_listed(semiseg):
    save(semiseg / covid_semiseg.TRAIN / "GT" / "0.png", np.zeros((3, 3)))
    (semiseg / covid_semiseg.TRAIN_CLASSES / "0.png").unlink()
    (reason,) = covid_semiseg.list_slices(semiseg).exclusions["reason"]
    assert reason == "image has (9, 7) pixels and its mask (3, 3)"


@pytest.mark.parametrize(
    "part", [covid_semiseg.TRAIN / "GT" / "0.png", covid_semiseg.TRAIN / "Imgs" / "0.jpg"]
)
def test_a_truncated_picture_is_listed(semiseg, part):
    truncate(semiseg / part, 0.7)
    listing = covid_semiseg.list_slices(semiseg)
    assert "truncated" in listing.exclusions["reason"][0]
    assert len(listing.slices) == 5


def test_masks_that_disagree_are_listed(semiseg):
    save(semiseg / covid_semiseg.TRAIN / "GT" / "0.png", np.zeros((9, 7)))
    (reason,) = covid_semiseg.list_slices(semiseg).exclusions["reason"]
    assert reason == "lesion mask and class mask disagree"


@pytest.mark.parametrize(
    ("labels", "binary"), [([[0, 4]], False), ([[0, 100]], True), ([[0, 255]], False)]
)
def test_labels_outside_the_coding_stop_the_run(tmp_path, labels, binary):
    path = save(tmp_path / "m.png", np.array(labels))
    with pytest.raises(ValueError, match=r"m\.png holds labels"):
        read_labels(path, binary=binary)


def test_a_colour_picture_is_refused_and_a_grey_rgb_one_is_read(tmp_path):
    grey = save(tmp_path / "grey.png", np.full((4, 4, 3), 9))
    assert read_picture(grey).tolist() == [[9] * 4] * 4
    colour = np.zeros((4, 4, 3))
    colour[..., 0] = 200
    with pytest.raises(UnreadableFile, match="in colour"):
        read_picture(save(tmp_path / "colour.png", colour))


def test_a_missing_folder_says_what_was_looked_for(tmp_path):
    source = SourceConfig(name="medseg", folder="medseg")
    with pytest.raises(FileNotFoundError, match=r"no medseg data at .*medseg.*--source medseg`"):
        sources.list_slices(source, tmp_path)


def test_a_folder_that_is_inspected_is_named_once(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        inspection.inspect(tmp_path, "volumes")
    assert str(caught.value) == (
        f"no volumes data at {tmp_path}; docs/servers.md shows the layout it needs"
    )


def test_the_data_folder_may_be_the_source_itself(semiseg):
    source = SourceConfig(name="covid_semiseg", folder="elsewhere")
    assert sources.list_slices(source, semiseg).folder == semiseg


def test_the_real_covid_semiseg_lists_completely(real_data):
    listing = sources.list_slices(
        SourceConfig(name="covid_semiseg", folder="covid-semiseg"), real_data
    )
    counts = listing.slices["source_split"].value_counts(dropna=False).tolist()
    assert counts == [1600, 50, 25]
    assert listing.exclusions.empty
    labelled = listing.slices[listing.slices["labelled"]]
    assert labelled["has_lesion"].all()
    assert cohort.COLUMNS.keys() >= set(listing.slices.columns)
