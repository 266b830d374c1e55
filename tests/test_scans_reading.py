"""Any input becomes a scan: series, volumes, pictures; what cannot be used says why."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from scan_files import HU, LPS, write_nifti, write_pictures, write_series

from ssinfnet.data.sources.files import UnreadableFile
from ssinfnet.scans import Excluded, Place, find_scans, read_scan

pytestmark = pytest.mark.usefixtures("inputs_stay")


def read(path):
    return read_scan(Place("a", Path(path)))


def test_every_kind_of_input_is_found_and_named(tmp_path):
    write_series(tmp_path / "ward" / "case 1")
    write_nifti(tmp_path / "volumes" / "b.nii.gz")
    write_nifti(tmp_path / "volumes" / "c.nii")
    write_pictures(tmp_path / "d")
    (tmp_path / "d" / ".DS_Store").write_bytes(b"x")
    one = write_pictures(tmp_path / "e")[0]
    places, excluded = find_scans(
        [tmp_path / "ward", tmp_path / "volumes", tmp_path / "d", str(one)]
    )
    assert [place.name for place in places] == ["case 1", "b", "c", "d", "slice2"]
    assert excluded == []
    kinds = [read_scan(place).kind for place in places]
    assert kinds == ["DICOM", "NIfTI", "NIfTI", "pictures", "pictures"]
    assert [len(read_scan(place)) for place in places] == [4, 4, 4, 3, 1]


def test_scans_of_one_name_get_names_of_their_own(tmp_path):
    for patient in ("p1", "p2"):
        write_nifti(tmp_path / patient / "ct.nii.gz")
        write_nifti(tmp_path / "again" / patient / "ct.nii.gz")
    places, _ = find_scans([tmp_path / "p1", tmp_path / "p2", tmp_path / "again"])
    assert [place.name for place in places] == ["p1_ct", "p2_ct", "p1_ct_2", "p2_ct_2"]


def test_what_is_not_there_or_there_twice_is_listed(tmp_path):
    path = write_nifti(tmp_path / "b.nii.gz")
    (tmp_path / "empty").mkdir()
    places, excluded = find_scans([path, tmp_path / "no", tmp_path / "empty", path])
    assert len(places) == 1
    assert [one.reason for one in excluded] == [
        "it does not exist",
        "it is empty",
        "it is given twice",
    ]


def test_slices_of_pictures_come_in_the_order_of_their_numbers(tmp_path):
    paths = write_pictures(tmp_path / "d")
    scan = read(tmp_path / "d")
    assert [path.name for path in scan.pictures] == ["slice2.png", "slice10.jpg", "slice11.png"]
    np.testing.assert_array_equal(scan.slices[0], np.asarray(Image.open(paths[0])))
    np.testing.assert_allclose(scan.grey(0), scan.slices[0] / 255, atol=1e-7)
    assert scan.spacing_mm is None
    assert scan.voxel_ml is None


def test_a_single_dicom_file_is_a_scan_of_one_slice(tmp_path):
    write_series(tmp_path / "s")
    scan = read(tmp_path / "s" / "8.dcm")
    np.testing.assert_array_equal(scan.slices, HU[1:2])
    assert scan.voxel_ml == pytest.approx(0.8 * 0.7 * 5 / 1000)


def test_a_single_slice_that_hides_its_thickness_has_no_volume(tmp_path):
    write_series(tmp_path / "s", SliceThickness=None)
    assert read(tmp_path / "s" / "8.dcm").voxel_ml is None
    assert read(tmp_path / "s").voxel_ml == pytest.approx(0.8 * 0.7 * 2.5 / 1000)


def test_a_tilted_gantry_does_not_inflate_the_volume(tmp_path):
    """The axes are not at right angles: base times height, not the product of the edges."""
    sheared = np.diag([0.7, 0.8, 2.0, 1])
    sheared[1, 2] = 1.5
    write_nifti(tmp_path / "a.nii", affine=sheared)
    assert read(tmp_path / "a.nii").voxel_ml == pytest.approx(0.7 * 0.8 * 2.0 / 1000)


def test_a_volume_in_other_units_than_millimetres_has_no_volume(tmp_path):
    image = nibabel.Nifti1Image(HU.transpose(2, 1, 0).astype(np.int16), LPS)
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "a.nii")
    assert read(tmp_path / "a.nii").voxel_ml is None


def test_hounsfield_units_are_windowed_as_asked_and_eight_bits_are_not(tmp_path):
    write_nifti(tmp_path / "a.nii")
    expected = np.clip((HU[2] + 600) / 500, 0, 1)
    np.testing.assert_allclose(read(tmp_path / "a.nii").grey(2, (-600, -100)), expected, atol=1e-6)
    grey = np.arange(60).reshape(1, 6, 10) * 4
    write_nifti(tmp_path / "b.nii", grey)
    np.testing.assert_allclose(read(tmp_path / "b.nii").grey(0, (-600, -100)), grey[0] / 255)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.nii.gz", lambda p: p.write_bytes(b"\x1f\x8b" + b"0" * 99), "truncated or no NIfTI"),
        ("a.png", lambda p: p.write_bytes(b"\x89PNG"), "is no PNG, JPEG or TIFF"),
        ("a.dcm", lambda p: p.write_text("no"), "is no DICOM file"),
        ("a.nii", lambda p: write_nifti(p, np.full((2, 3, 4), 90000)), "slice 0: intensities from"),
        ("a.nii", lambda p: write_nifti(p, np.full((1, 2, 2), np.nan)), "4 intensities are NaN"),
        ("a.png", lambda p: Image.new("RGB", (8, 8), "red").save(p), "in colour"),
    ],
)
def test_an_input_that_cannot_be_read_says_why(tmp_path, name, make, message):
    make(tmp_path / name)
    with pytest.raises(UnreadableFile, match=message):
        read(tmp_path / name)


def test_pictures_of_different_sizes_are_no_scan(tmp_path):
    write_pictures(tmp_path / "d")
    Image.new("L", (9, 9)).save(tmp_path / "d" / "slice12.png")
    with pytest.raises(UnreadableFile, match=r"slice12\.png has \(9, 9\) pixels"):
        read(tmp_path / "d")


def test_files_that_are_no_slice_are_listed(tmp_path):
    write_pictures(tmp_path / "d")
    (tmp_path / "d" / "readme.txt").write_text("scanned in March")
    write_series(tmp_path / "s")
    (tmp_path / "s" / "notes.txt").write_text("kV 120")
    assert read(tmp_path / "d").left_out == (Excluded("a", "readme.txt", "is no picture"),)
    assert read(tmp_path / "s").left_out == (Excluded("a", "notes.txt", "is no DICOM file"),)
