"""Volumes and masks of a study, as people keep them; see docs/inputs.md."""

import shutil

import numpy as np
import pytest
from PIL import Image
from scan_files import HU, LPS, write_nifti, write_series

from ssinfnet.data.sources import volumes
from ssinfnet.data.sources.files import UnreadableFile, read_labels

pytestmark = pytest.mark.usefixtures("inputs_stay")


# Masks (D-102)


def moved(affine, mm):
    affine = affine.copy()
    affine[:3, 3] += mm
    return affine


FLIPPED = LPS @ np.array([[-1, 0, 0, 4], [0, 1, 0, 0], [0, 0, -1, 3], [0, 0, 0, 1]])


@pytest.mark.parametrize("part", ["lesions", "classes", "lungs"])
@pytest.mark.parametrize(
    ("affine", "flip", "fits"),
    [
        (moved(LPS, 0.005), (), True),
        (FLIPPED, (2, 0), True),
        (moved(LPS, 100), (), False),
        (np.diag([-0.7, -0.8, -2.5, 1]), (), False),
    ],
    ids=["5 µm off", "stored flipped", "100 mm off", "upside down"],
)
def test_a_mask_is_used_where_it_lies_on_the_image_and_listed_elsewhere(
    tmp_path, part, affine, flip, fits
):
    write_nifti(tmp_path / "images" / "a.nii")
    mask = np.zeros(HU.shape, np.uint8)
    mask[0, 1, 2] = 1
    write_nifti(tmp_path / part / "a.nii", np.flip(mask, flip), affine)
    if not fits and part != "lungs":
        write_nifti(tmp_path / "images" / "b.nii")  # a listing needs a slice
    listing = volumes.list_slices(tmp_path)
    if not fits:
        assert "affine" in listing.exclusions["reason"][0]
        return
    assert listing.exclusions.empty
    row = next(listing.slices.itertuples(index=False))
    read_part = volumes.read_lungs if part == "lungs" else lambda *args: volumes.read(*args)[1]
    assert np.argwhere(read_part(tmp_path, row)).tolist() == [[1, 2]]


@pytest.mark.parametrize("value", [1, 200, 254, 255])
def test_lesion_is_one_or_above_127_in_volumes_and_pictures(tmp_path, value):
    mask = np.zeros(HU.shape, np.uint8)
    mask[0, 1, 2] = value
    write_nifti(tmp_path / "images" / "a.nii")
    write_nifti(tmp_path / "lesions" / "a.nii", mask)
    row = next(volumes.list_slices(tmp_path).slices.itertuples(index=False))
    assert np.argwhere(volumes.read(tmp_path, row)[1] == 255).tolist() == [[1, 2]]
    for mode in ("L", "RGB", "RGBA", "LA"):
        Image.fromarray(mask[0]).convert(mode).save(tmp_path / "m.png")
        found = read_labels(tmp_path / "m.png", binary=True)
        assert np.argwhere(found == 255).tolist() == [[1, 2]]


def test_a_jpeg_mask_is_its_lesion_without_the_noise(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[20:41, 13:37] = 255
    Image.fromarray(mask).save(tmp_path / "m.jpg", quality=75)
    assert len(np.unique(np.asarray(Image.open(tmp_path / "m.jpg")))) > 2
    np.testing.assert_array_equal(read_labels(tmp_path / "m.jpg", binary=True), mask)


@pytest.mark.parametrize("name", ["m.jpg", "m.tif"])
def test_a_jpeg_of_classes_is_refused(tmp_path, name):
    classes = np.zeros((32, 32), np.uint8)
    classes[4:12, 4:20] = 1
    classes[20:28, 4:20] = 2
    Image.fromarray(classes).save(tmp_path / name, compression="jpeg", quality=95)
    assert set(np.unique(np.asarray(Image.open(tmp_path / name)))) == {0, 1, 2, 3}  # noise
    for names in (None, {"3": 2}, {"#010101": 1, "#020202": 2, "#030303": 3}):
        with pytest.raises(UnreadableFile, match="stored as JPEG"):
            read_labels(tmp_path / name, names=names)
    Image.fromarray(classes).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "m.png"), classes)


def test_the_message_names_only_labels_that_are_allowed(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(ValueError, match=r"labels \[255\]; expected \[0, 1, 2, 3\]") as error:
        read_labels(tmp_path / "m.png")
    assert "255 lesion" not in str(error.value)
    Image.fromarray(np.array([[0, 85, 170, 255]], np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(ValueError, match="has 0 and 1, or 0 and values above 127"):
        read_labels(tmp_path / "m.png", binary=True)


# Folders of a study


def test_no_volume_of_a_folder_is_lost_and_a_patients_volumes_are_one_patient(tmp_path):
    images = tmp_path / "images"
    for path in write_series(images / "p1" / "study" / "first"):
        path.rename(path.with_suffix(".IMA"))
    for path in write_series(images / "p1" / "study" / "second"):
        path.rename(path.with_suffix(""))
    write_series(images / "p2" / "deep" / "down")
    write_nifti(images / "x.nii.gz").rename(images / "P3.NII.GZ")
    (images / "list.txt").write_text("x")
    write_nifti(tmp_path / "lungs" / "nobody.nii", (HU > -500).astype(int))
    listing = volumes.list_slices(tmp_path)
    counts = listing.slices.groupby("patient_id")["slice_id"].count()
    assert counts.to_dict() == {"P3": 4, "p1": 8, "p2": 4}
    names = {name.rsplit(".", 1)[0] for name in listing.slices["slice_id"]}
    assert names == {
        f"volumes.{name}" for name in ("P3", "p2", "p1_study_first", "p1_study_second")
    }
    left = dict(zip(listing.exclusions["file"], listing.exclusions["reason"], strict=True))
    assert left == {"images/list.txt": "is no image", "lungs/nobody.nii": "no image of that name"}
    for row in listing.slices.itertuples(index=False):
        assert volumes.read(tmp_path, row)[0].shape == (6, 5)


@pytest.mark.parametrize("part", ["images", "classes", "lungs"])
def test_a_link_to_nothing_is_listed_and_ends_no_inspection(tmp_path, part):
    write_nifti(tmp_path / "images" / "a.nii")
    (tmp_path / part).mkdir(exist_ok=True)
    name = "gone.nii" if part == "images" else "a.nii"
    (tmp_path / part / name).symlink_to(tmp_path / "nowhere.nii")
    listing = volumes.list_slices(tmp_path)
    assert len(listing.slices) == len(HU)
    (row,) = listing.exclusions.itertuples(index=False)
    assert row.file == f"{part}/{name}"
    assert "link" in row.reason


def test_volumes_of_one_name_and_series_of_one_folder_are_listed(tmp_path):
    write_nifti(tmp_path / "images" / "a.nii")
    write_nifti(tmp_path / "images" / "a.nii.gz")
    write_series(tmp_path / "images" / "b")
    for path in write_series(tmp_path / "more"):
        shutil.move(path, tmp_path / "images" / "b" / f"x{path.name}")
    listing = volumes.list_slices(tmp_path)
    assert set(listing.slices["patient_id"]) == {"a"}
    assert sorted(listing.exclusions["file"]) == ["images/a.nii.gz", "images/b", "images/b", "more"]
